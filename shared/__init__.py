"""Snapkeep: snapshots, verified backups and mirrors for Azure Blob Storage and ADLS Gen2."""

__version__ = "0.2.0"

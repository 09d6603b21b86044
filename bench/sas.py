"""Signatures and addresses for those who work without the SDK: read from a connection string."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from azure.storage.blob import AccountSasPermissions, ResourceTypes, Services, generate_account_sas


def account_sas(text: str) -> str:
    """An account SAS for everything that the benchmarks do with blobs and queues, valid for a day."""
    parts = _parts(text)
    return generate_account_sas(
        parts["AccountName"],
        parts["AccountKey"],
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(read=True, write=True, delete=True, list=True, add=True, create=True, process=True),
        datetime.now(UTC) + timedelta(days=1),
        services=Services(blob=True, queue=True),
    )


def blob_endpoint(text: str) -> str:
    return _parts(text)["BlobEndpoint"].rstrip("/")


def queue_endpoint(text: str) -> str:
    return _parts(text)["QueueEndpoint"].rstrip("/")


def _parts(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(";") if part)

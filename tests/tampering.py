"""Protects a container's blobs, and damages their backups as a defect, a disk or an attacker would."""

from __future__ import annotations

from typing import Any

from azure.storage.blob import BlobBlock, ContentSettings
from azure.storage.blob.aio import ContainerClient

from shared.operations.protect import protect
from shared.services import Services
from tests.protection import backup_names
from tests.queue_reader import QueueReader


async def write(
    container: ContainerClient, name: str, content: bytes, md5: bytes | bytearray | None = None, **options: Any
) -> None:
    """Writes a block blob whose Content-MD5 is what the writer says, or none: Put Block List takes any word for it."""
    blob = container.get_blob_client(name)
    await blob.stage_block("AAAA", content)
    settings = ContentSettings(content_md5=bytearray(md5) if md5 else None)
    await blob.commit_block_list([BlobBlock("AAAA")], content_settings=settings, **options)


async def protected(services: Services, container: ContainerClient, reader: QueueReader) -> None:
    await protect(services, container.container_name, elapsed=lambda: 0.0)
    await reader.drain(services)


async def backup_of(backups: ContainerClient, name: str) -> str:
    """The name of the one backup of this blob."""
    [only] = [found for found in await backup_names(backups) if found.startswith(f"{name}/")]
    return only


async def tamper(backups: ContainerClient, name: str, content: bytes) -> None:
    """Gives a backup other bytes, and leaves all that a listing tells of it as it was."""
    blob = backups.get_blob_client(name)
    was = await blob.get_blob_properties()
    md5 = was.content_settings.content_md5
    await write(backups, name, content, md5, metadata=was.metadata)

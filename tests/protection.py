"""Checks from outside what protection means: each version has its snapshot, and one backup with its every byte.

Names and metadata are compared with the contract as the demo spells it out, not with the code under test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobClient, ContainerClient

from local.demo import contract


def backup_name(source: BlobProperties) -> str:
    """The name of a version's backup, as the contract has it."""
    return contract.backup_name(source.name, source.etag.strip('"'), source.last_modified)


async def entries(container: ContainerClient) -> list[BlobProperties]:
    """All live blobs and snapshots; none where there is no such container."""
    try:
        return [entry async for entry in container.list_blobs(include=["snapshots", "metadata"])]
    except ResourceNotFoundError:
        return []


async def snapshots(container: ContainerClient, name: str) -> list[BlobProperties]:
    """The snapshots of one blob, oldest first."""
    found = [entry for entry in await entries(container) if entry.name == name and entry.snapshot]
    return sorted(found, key=lambda entry: str(entry.snapshot))


async def backup_names(backups: ContainerClient) -> list[str]:
    """The names in a backup container; none where it does not exist."""
    return [entry.name for entry in await entries(backups)]


async def content(container: ContainerClient, name: str, snapshot: str | None = None) -> bytes:
    client: BlobClient = container.get_blob_client(name, snapshot=snapshot)
    stored: bytes = await (await client.download_blob(decompress=False)).readall()
    return stored


async def versions(container: ContainerClient) -> AsyncIterator[tuple[BlobProperties, str | None]]:
    """Each version that stands in a container, once, with the snapshot that holds it."""
    seen: set[tuple[str, str]] = set()
    for entry in sorted(await entries(container), key=lambda entry: str(entry.snapshot or "~")):
        if (entry.name, entry.etag) not in seen:
            seen.add((entry.name, entry.etag))
            yield entry, entry.snapshot


async def assert_protected(source: ContainerClient, backups: ContainerClient) -> int:
    """Asserts that all versions of a container are protected, and nothing but them is backed up.

    Returns how many versions there are.
    """
    expected = []
    async for version, snapshot in versions(source):
        assert snapshot is not None, f"{version.name!r} {version.etag} has no snapshot"
        name = backup_name(version)
        expected.append(name)
        original = source.get_blob_client(version.name, snapshot=snapshot)
        await _assert_same(original, backups.get_blob_client(name))
    assert Counter(await backup_names(backups)) == Counter(expected)
    return len(expected)


async def _assert_same(original: BlobClient, backup: BlobClient) -> None:
    # As the bytes are stored: a gzip-encoded blob is not unpacked.
    source, copy = await original.download_blob(decompress=False), await backup.download_blob(decompress=False)
    want, have = source.properties, copy.properties
    assert have.size == want.size
    assert have.blob_type == want.blob_type
    assert await copy.readall() == await source.readall()
    for header in ("content_type", "content_encoding", "content_language", "content_disposition", "cache_control"):
        assert getattr(have.content_settings, header) == getattr(want.content_settings, header), header
    assert have.metadata[contract.ETAG] == want.etag.strip('"')
    assert {
        key: value for key, value in have.metadata.items() if not key.startswith("snapkeep_source_")
    } == want.metadata

"""What end-to-end tests write to the source, and how they judge snapshots and backups: from the blobs alone."""

import asyncio
from base64 import b64decode
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

Key = tuple[str, str]
"""A version as these tests tell them apart: name and ETag, without quotes."""


@dataclass(frozen=True)
class Backup:
    """One blob of a backup container."""

    blob: str
    content: bytes
    etag: str


async def write(container: ContainerClient, contents: Mapping[str, bytes]) -> dict[Key, bytes]:
    """Writes blobs; gives the versions that came of it."""
    places = asyncio.Semaphore(16)

    async def one(name: str, content: bytes) -> tuple[Key, bytes]:
        async with places:
            written = await container.get_blob_client(name).upload_blob(content, overwrite=True)
        return (name, written["etag"].strip('"')), content

    return dict(await asyncio.gather(*(one(name, content) for name, content in contents.items())))


async def snapshots_in(container: ContainerClient) -> dict[Key, int]:
    """How many snapshots there are of each version."""
    found: dict[Key, int] = defaultdict(int)
    async for blob in container.list_blobs(include=["snapshots"]):
        if blob.snapshot:
            found[(blob.name, blob.etag.strip('"'))] += 1
    return dict(found)


async def backups_in(container: ContainerClient) -> dict[Key, list[Backup]]:
    """All backups, by the version that their metadata claims; read to the last byte."""
    found: dict[Key, list[Backup]] = defaultdict(list)
    places = asyncio.Semaphore(16)

    async def read(name: str, key: Key) -> None:
        async with places:
            stream = await container.get_blob_client(name).download_blob()
            content = await stream.readall()
        found[key].append(Backup(name, content, stream.properties.etag))

    try:
        listed = [
            (blob.name, (_source_name(blob.metadata), blob.metadata["snapkeep_source_etag"]))
            async for blob in container.list_blobs(include=["metadata"])
        ]
    except ResourceNotFoundError:
        return {}
    await asyncio.gather(*(read(name, key) for name, key in listed))
    return dict(found)


def _source_name(metadata: Mapping[str, str]) -> str:
    if "snapkeep_source_name_base64" in metadata:
        return b64decode(metadata["snapkeep_source_name_base64"]).decode()
    return unquote(metadata["snapkeep_source_name"])


class Pair:
    """A source container of one test, and its backups."""

    def __init__(self, source: BlobServiceClient, backup: BlobServiceClient, name: str) -> None:
        self.name = name
        self.source = source.get_container_client(name)
        self.backups = backup.get_container_client(f"{name}bak")
        self.versions: dict[Key, bytes] = {}

    async def write(self, contents: Mapping[str, bytes]) -> None:
        """Writes blobs, and remembers their versions with what is to be found in their backups."""
        self.versions |= await write(self.source, contents)

    async def copies(self) -> dict[Key, list[Backup]]:
        """All backups there are, by version."""
        return await backups_in(self.backups)

    async def problems(self, *, snapshots: int | None = 1, others: bool = False) -> list[str]:
        """What differs from: each version has `snapshots` snapshots (None: one or more) and one right backup.

        Versions that this object has not written are a problem too, unless there may be `others`.
        """
        taken = await snapshots_in(self.source)
        found = await self.copies()
        problems = []
        if not others:
            problems += [f"a backup of an unknown version: {key}" for key in found.keys() - self.versions.keys()]
            problems += [f"a snapshot of an unknown version: {key}" for key in taken.keys() - self.versions.keys()]
        for key, content in self.versions.items():
            count = taken.get(key, 0)
            if count != snapshots if snapshots is not None else count < 1:
                problems.append(f"{key}: {count} snapshots")
            copies = found.get(key, [])
            if len(copies) != 1:
                problems.append(f"{key}: {len(copies)} backups")
            problems += [f"{key}: {copy.blob} has other bytes" for copy in copies if copy.content != content]
        return [f"{self.name}: {problem}" for problem in problems]

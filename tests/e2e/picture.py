"""What blobs are made of, and pictures of whole containers: what a restore must bring back, and what it did."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any

from azure.storage.blob import BlobType, ContentSettings, StandardBlobTier
from azure.storage.blob.aio import ContainerClient

HEADERS = ("content_type", "content_encoding", "content_language", "content_disposition", "cache_control")
DEFAULT_TYPE = "application/octet-stream"
PARALLEL = 16


@dataclass(frozen=True)
class Blob:
    """A blob's bytes and all that its owner gave it. `headers` are named as the SDK names them."""

    content: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    kind: BlobType = BlobType.BLOCKBLOB
    tier: StandardBlobTier | None = None


Picture = dict[str, Blob]


async def write(container: ContainerClient, blobs: Mapping[str, Blob]) -> dict[str, str]:
    """Writes blobs over whatever has their names; gives their ETags, without quotes."""
    etags: dict[str, str] = {}
    places = asyncio.Semaphore(PARALLEL)

    async def one(name: str, blob: Blob) -> None:
        options: dict[str, Any] = {"standard_blob_tier": blob.tier} if blob.tier else {}  # other types know none
        settings = ContentSettings()
        for header, value in blob.headers.items():
            settings[header] = value
        async with places:
            answer = await container.get_blob_client(name).upload_blob(
                blob.content,
                blob_type=blob.kind,
                overwrite=True,
                content_settings=settings,
                metadata=dict(blob.metadata),
                tags=dict(blob.tags) or None,
                **options,
            )
        etags[name] = answer["etag"].strip('"')

    await asyncio.gather(*(one(name, blob) for name, blob in blobs.items()))
    return etags


async def delete(container: ContainerClient, names: Iterable[str]) -> None:
    """Deletes blobs and their snapshots, as whoever wants them gone does."""
    places = asyncio.Semaphore(PARALLEL)

    async def one(name: str) -> None:
        async with places:
            await container.get_blob_client(name).delete_blob(delete_snapshots="include")

    await asyncio.gather(*(one(name) for name in names))


async def picture(container: ContainerClient) -> Picture:
    """All live blobs of a container, read to the last byte."""
    found: Picture = {}
    places = asyncio.Semaphore(PARALLEL)

    async def one(listed: Any) -> None:
        async with places:
            blob = container.get_blob_client(listed.name)
            stream = await blob.download_blob(decompress=False)
            content: bytes = await stream.readall()
            tags = await blob.get_blob_tags() if stream.properties.tag_count else {}
        claimed = stream.properties.content_settings.content_md5
        actual = md5(content, usedforsecurity=False).digest()
        assert claimed in (None, actual), f"{listed.name!r} claims to have another MD5 than it has"
        explicit = listed.blob_tier and not listed.blob_tier_inferred
        tier = StandardBlobTier(listed.blob_tier) if explicit else None
        found[listed.name] = Blob(
            content, _headers(stream.properties), stream.properties.metadata, tags, stream.properties.blob_type, tier
        )

    await asyncio.gather(*[one(listed) async for listed in container.list_blobs()])
    return found


async def versions(container: ContainerClient) -> dict[tuple[str, str], bytes]:
    """All versions that a container holds, live or as snapshots: by name and ETag, with their bytes."""
    found: dict[tuple[str, str], bytes] = {}
    async for listed in container.list_blobs(include=["snapshots"]):
        key = (listed.name, listed.etag.strip('"'))
        if key not in found:
            blob = container.get_blob_client(listed.name, snapshot=listed.snapshot)
            found[key] = await (await blob.download_blob(decompress=False)).readall()
    return found


def differences(wanted: Picture, found: Picture) -> list[str]:
    """In what a container differs from what it should hold, blob by blob; nothing else may be in it."""
    problems = [f"{name!r} is missing" for name in wanted.keys() - found.keys()]
    problems += [f"{name!r} should not be there" for name in found.keys() - wanted.keys()]
    for name in wanted.keys() & found.keys():
        if wanted[name].content != found[name].content:
            problems.append(f"{name!r} has other bytes: {found[name].content[:40]!r}")
        elif wanted[name] != found[name]:
            problems.append(f"{name!r} is {found[name]}, and should be {wanted[name]}")
    return sorted(problems)


def _headers(properties: Any) -> dict[str, str]:
    headers = {name: properties.content_settings[name] for name in HEADERS}
    if headers["content_type"] == DEFAULT_TYPE:
        del headers["content_type"]  # what the service says where the owner said nothing
    return {name: value for name, value in headers.items() if value}

"""Writes one version where it is to stand: copied by the service where it can, else piece by piece through the app.

What is read is conditional on the source's ETag; what makes the blob appear, on nothing being there, or on the
very blob that it replaces.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobBlock, StandardBlobTier

from shared.adapters.accounts import Account
from shared.adapters.copying_pieces import PIECE_BYTES, append, promote, write_pages
from shared.adapters.properties import content_settings
from shared.adapters.source import SourceStorage
from shared.adapters.target import Target, given
from shared.adapters.translate import azure_errors
from shared.containers import STAGING_CONTAINER
from shared.errors import Unprotectable
from shared.model import BlobState, Reason
from shared.parallel import for_each

MAX_COPY_BLOB_BYTES = 256 * 1024 * 1024
"""Copy Blob From URL takes block blobs up to this size, in one synchronous and atomic call."""

MAX_BLOCKS = 50_000
BLOCK_BYTES = 64 * 1024 * 1024
PARALLEL_BLOCKS = 8

MAX_SOURCE_URL_CHARACTERS = 2048
"""What the service reads of the address to copy from: a long name outside ASCII, percent-encoded, passes it."""

_TIERS = {"Hot": StandardBlobTier.HOT, "Cool": StandardBlobTier.COOL, "Cold": StandardBlobTier.COLD}


async def copy_version(origin: SourceStorage, container: str, source: BlobState, target: Target) -> None:
    """Writes `source`, a live blob, a snapshot or a backup in `origin`'s `container`, to `target`.

    Block blobs are copied by the service, append and page blobs pass through here piece by piece:
    Copy Blob From URL takes block blobs alone. So do all blobs whose address is too long for the service to read.
    Each comes out as the type it was.

    Raises:
        BackupExists: a blob stands there already, where none may; nothing was written.
        BlobChanged, BlobGone: the source is not that version any more, or what is to be replaced is another
            blob by now; nothing was written, or an unfinished blob was left as it is.
        BackupConflict: an unfinished backup there is not this version's.
        Unprotectable: archived, or of a type that is not known.
    """
    if source.blob_type == "BlockBlob" and target.replaced_type not in {"", "BlockBlob"}:
        target = replace(target, replaces=await _make_room(source, target), replaced_type="BlockBlob")
    readable = await origin.account.readable_url(container, source.version.name, source.snapshot)
    short = len(readable[0]) <= MAX_SOURCE_URL_CHARACTERS
    if source.blob_type in {"AppendBlob", "PageBlob"} and short and _promotes(origin, source, target):
        await promote(origin, container, source, target)
    elif source.blob_type == "BlockBlob" and short:
        await _copy_whole(readable, container, source, target)
    elif source.blob_type in _PIECE_BY_PIECE:
        async with origin.passing_through:
            await _PIECE_BY_PIECE[source.blob_type](origin, container, source, target)
    else:
        raise Unprotectable(Reason.UNSUPPORTED_TYPE, f"{source.version.name}: blob type {source.blob_type}")


async def _copy_whole(readable: tuple[str, str | None], container: str, source: BlobState, target: Target) -> None:
    """Has the service copy a block blob: in one call up to `MAX_COPY_BLOB_BYTES`, else block by block.

    A copy that is to have no metadata goes by blocks too: told none, the one call would keep the source's.
    """
    if source.version.size > MAX_COPY_BLOB_BYTES or (source.metadata and not target.metadata):
        await _by_blocks(readable, container, source, source, target)
        return
    url, authorization = readable
    tier = _tier(source)
    await target.account.calls.send(
        "PUT",
        target.account.path(target.container, target.name),
        "copy",
        f"copy {container}/{source.version.name}",
        headers={
            "x-ms-copy-source": url,
            "x-ms-requires-sync": "true",
            "x-ms-source-if-match": f'"{source.version.etag}"',
            **target.condition_headers,
            **{f"x-ms-meta-{key}": value.strip() for key, value in target.metadata.items()},
            **given(
                **{
                    "x-ms-access-tier": tier and str(tier.value),
                    "x-ms-tags": urlencode(target.tags, quote_via=quote) or None,
                    "x-ms-copy-source-authorization": authorization,
                }
            ),
        },
        write_once=target.write_once,
    )


async def copy_staged(origin: Account, staged: BlobState, properties: BlobState, target: Target) -> None:
    """Has the service copy what Data Factory staged: the content is the staged blob's, all else of `properties`.

    Always by blocks: Copy Blob From URL gives a copy the headers of what it copies.

    Raises:
        BackupExists: a blob stands there already; nothing was written.
        BlobChanged, BlobGone: the staged blob is not that one any more; nothing was written.
    """
    readable = await origin.readable_url(STAGING_CONTAINER, staged.version.name, staged.snapshot)
    await _by_blocks(readable, STAGING_CONTAINER, staged, properties, target)


async def _by_blocks(
    readable: tuple[str, str | None], container: str, source: BlobState, properties: BlobState, target: Target
) -> None:
    blocks = await _stage_blocks(target, *readable, container, source)
    await _commit(target, blocks, properties)


async def _commit(target: Target, blocks: list[BlobBlock], properties: BlobState) -> None:
    with azure_errors(f"commit {target.container}/{target.name}", write_once=target.write_once):
        await target.client.commit_block_list(
            blocks,
            content_settings=content_settings(properties),
            metadata=target.metadata,
            **target.condition,
            **given(**_tier_and_tags(properties, target)),
        )


async def _stage_blocks(
    target: Target, url: str, authorization: str | None, container: str, source: BlobState
) -> list[BlobBlock]:
    """Stages all blocks, in parallel, but for those that an earlier attempt left: they are this version's.

    A backup's name holds the version's ETag, as a restored blob's blocks do, and every block was read on the
    condition of an ETag, or from a staged blob that was proven to be that version.
    """
    client = target.client
    size = source.version.size
    block_bytes = max(BLOCK_BYTES, -(-size // MAX_BLOCKS))
    spans = [(offset, min(block_bytes, size - offset)) for offset in range(0, size, block_bytes)]
    staged = await _staged_blocks(target) if len(spans) > 1 else set()

    async def stage(block: tuple[int, int]) -> None:
        offset, length = block
        if _block_id(target, offset, length) in staged:
            return
        with azure_errors(f"copy {container}/{source.version.name} from byte {offset}"):
            await client.stage_block_from_url(
                _block_id(target, offset, length),
                url,
                source_offset=offset,
                source_length=length,
                # Put Block From URL takes this condition; the SDK's method has no parameter for it.
                headers={"x-ms-source-if-match": f'"{source.version.etag}"'},
                **given(source_authorization=authorization),
            )

    await for_each(spans, stage, PARALLEL_BLOCKS)
    return [BlobBlock(_block_id(target, *span)) for span in spans]


async def _staged_blocks(target: Target) -> set[str]:
    with azure_errors(f"list the staged blocks of {target.container}/{target.name}"):
        try:
            _, uncommitted = await target.client.get_block_list("uncommitted")
        except ResourceNotFoundError:
            return set()
        return {block.id for block in uncommitted}


async def _blocks(origin: SourceStorage, container: str, source: BlobState, target: Target) -> None:
    """Reads a block blob and writes it as blocks, one at a time: a blob that needs this is rare."""
    size = source.version.size
    block_bytes = max(PIECE_BYTES, -(-size // MAX_BLOCKS))
    blocks: list[BlobBlock] = []
    for offset in range(0, size, block_bytes):
        piece = await origin.read(container, source, offset, min(block_bytes, size - offset))
        blocks.append(BlobBlock(_block_id(target, offset, len(piece))))
        with azure_errors(f"copy {container}/{source.version.name} from byte {offset}"):
            await target.client.stage_block(blocks[-1].id, piece, validate_content=True)
    await _commit(target, blocks, source)


def _block_id(target: Target, offset: int, length: int) -> str:
    """Says which bytes of which version a block holds, so that one left by any earlier attempt is what it says.

    All ids of a blob have one length, as the service wants it of those that are not committed yet.
    """
    version = f"-{sha256(target.restoring.encode()).hexdigest()[:16]}" if target.restoring else ""
    return f"{offset:016d}-{length:012d}{version}"


def _tier_and_tags(properties: BlobState, target: Target) -> dict[str, Any]:
    return {"standard_blob_tier": _tier(properties), "tags": target.tags or None}


def _tier(properties: BlobState) -> StandardBlobTier | None:
    """The source's own tier, so that a cool blob's backup is as cheap; an inferred one is left to the account."""
    return None if properties.tier_inferred else _TIERS.get(properties.tier)


def _promotes(origin: SourceStorage, source: BlobState, target: Target) -> bool:
    """Whether a restored blob goes where it came from: its account, over its type, with the metadata it has there."""
    same_account = origin.account.connection.blob_endpoint == target.account.connection.blob_endpoint
    same_type = target.replaced_type in {"", source.blob_type}
    return bool(target.restoring) and same_account and same_type and target.metadata == source.metadata


async def _make_room(source: BlobState, target: Target) -> str:
    """Puts an empty block blob in the place of one of another type, onto which no blocks can go; gives its ETag.

    It bears the mark of a restored blob that is unfinished.
    """
    with azure_errors(f"replace {target.container}/{target.name}"):
        put = await target.client.upload_blob(
            b"",
            overwrite=True,
            content_settings=content_settings(replace(source, md5=None)),
            metadata=target.metadata_until_whole,
            **target.condition,
        )
        return str(put["etag"])


_PIECE_BY_PIECE = {"BlockBlob": _blocks, "AppendBlob": append, "PageBlob": write_pages}

"""Writes one version to its write-once backup: copied by the service where it can, else piece by piece through the app.

What is read is conditional on the source's ETag, and what makes the backup appear on nothing being there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobBlock, BlobProperties, StandardBlobTier
from azure.storage.blob.aio import BlobClient

from shared.adapters.accounts import Account
from shared.adapters.properties import content_settings
from shared.adapters.source import SourceStorage
from shared.adapters.translate import azure_errors
from shared.containers import STAGING_CONTAINER
from shared.decisions.backups import UNFINISHED_PAGE_BYTES
from shared.errors import BackupConflict, Unprotectable
from shared.model import BlobState, Reason
from shared.parallel import for_each

MAX_COPY_BLOB_BYTES = 256 * 1024 * 1024
"""Copy Blob From URL takes block blobs up to this size, in one synchronous and atomic call."""

MAX_BLOCKS = 50_000
BLOCK_BYTES = 64 * 1024 * 1024
PARALLEL_BLOCKS = 8
PIECE_BYTES = 4 * 1024 * 1024
"""The most that Append Block and Put Page take in every service version."""

MAX_SOURCE_URL_CHARACTERS = 2048
"""What the service reads of the address to copy from: a long name outside ASCII, percent-encoded, passes it."""

_TIERS = {"Hot": StandardBlobTier.HOT, "Cool": StandardBlobTier.COOL, "Cold": StandardBlobTier.COLD}


@dataclass(frozen=True)
class Target:
    """A backup that is to be written: where, and what goes onto it besides the content."""

    account: Account
    container: str
    name: str
    metadata: dict[str, str]
    tags: dict[str, str]


async def copy_version(origin: SourceStorage, container: str, source: BlobState, target: Target) -> None:
    """Writes `source`, a live blob or a snapshot in `origin`'s `container`, to `target`.

    Block blobs are copied by the service, append and page blobs pass through here piece by piece:
    Copy Blob From URL takes block blobs alone. So do block blobs whose address is too long for it.
    Each comes out as the type it was.

    Raises:
        BackupExists: a blob stands there already; nothing was written.
        BlobChanged, BlobGone: the source is not that version any more; nothing was written.
        BackupConflict: an unfinished backup there is not this version's.
        Unprotectable: archived, or of a type that is not known.
    """
    if source.blob_type == "AppendBlob":
        await _append(origin, container, source, target)
    elif source.blob_type == "PageBlob":
        await _pages(origin, container, source, target)
    elif source.blob_type != "BlockBlob":
        raise Unprotectable(Reason.UNSUPPORTED_TYPE, f"{source.version.name}: blob type {source.blob_type}")
    else:
        url, _ = await origin.account.readable_url(container, source.version.name, source.snapshot)
        if len(url) > MAX_SOURCE_URL_CHARACTERS:
            await _blocks(origin, container, source, target)
        else:
            await copy_whole(origin.account, container, source, target)


async def copy_whole(origin: Account, container: str, source: BlobState, target: Target) -> None:
    """Has the service copy a block blob: in one call up to `MAX_COPY_BLOB_BYTES`, else block by block."""
    if source.version.size > MAX_COPY_BLOB_BYTES:
        await _by_blocks(origin, container, source, source, target)
        return
    url, authorization = await origin.readable_url(container, source.version.name, source.snapshot)
    with azure_errors(f"copy {container}/{source.version.name}", write_once=True):
        await target.account.blob(target.container, target.name).start_copy_from_url(
            url,
            metadata=target.metadata,
            requires_sync=True,
            source_etag=f'"{source.version.etag}"',
            source_match_condition=MatchConditions.IfNotModified,
            match_condition=MatchConditions.IfMissing,
            **_optional(source_authorization=authorization, **_tier_and_tags(source, target)),
        )


async def copy_staged(origin: Account, staged: BlobState, properties: BlobState, target: Target) -> None:
    """Has the service copy what Data Factory staged: the content is the staged blob's, all else of `properties`.

    Always by blocks: Copy Blob From URL gives a copy the headers of what it copies.

    Raises:
        BackupExists: a blob stands there already; nothing was written.
        BlobChanged, BlobGone: the staged blob is not that one any more; nothing was written.
    """
    await _by_blocks(origin, STAGING_CONTAINER, staged, properties, target)


async def _by_blocks(origin: Account, container: str, source: BlobState, properties: BlobState, target: Target) -> None:
    url, authorization = await origin.readable_url(container, source.version.name, source.snapshot)
    client = target.account.blob(target.container, target.name)
    blocks = await _stage_blocks(client, url, authorization, container, source)
    await _commit(client, blocks, properties, target)


async def _commit(client: BlobClient, blocks: list[BlobBlock], properties: BlobState, target: Target) -> None:
    with azure_errors(f"commit {target.container}/{target.name}", write_once=True):
        await client.commit_block_list(
            blocks,
            content_settings=content_settings(properties),
            metadata=target.metadata,
            match_condition=MatchConditions.IfMissing,
            **_optional(**_tier_and_tags(properties, target)),
        )


async def _stage_blocks(
    client: BlobClient, url: str, authorization: str | None, container: str, source: BlobState
) -> list[BlobBlock]:
    """Stages all blocks, in parallel, but for those that an earlier attempt left: they are this version's.

    A target's name holds the version's ETag, and every block was read on the condition of that ETag, or from
    a staged blob that was proven to be that version.
    """
    size = source.version.size
    block_bytes = max(BLOCK_BYTES, -(-size // MAX_BLOCKS))
    spans = [(offset, min(block_bytes, size - offset)) for offset in range(0, size, block_bytes)]
    staged = await _staged_blocks(client, source) if len(spans) > 1 else set()

    async def stage(block: tuple[int, int]) -> None:
        offset, length = block
        if _block_id(offset, length) in staged:
            return
        with azure_errors(f"copy {container}/{source.version.name} from byte {offset}"):
            await client.stage_block_from_url(
                _block_id(offset, length),
                url,
                source_offset=offset,
                source_length=length,
                # Put Block From URL takes this condition; the SDK's method has no parameter for it.
                headers={"x-ms-source-if-match": f'"{source.version.etag}"'},
                **_optional(source_authorization=authorization),
            )

    await for_each(spans, stage, PARALLEL_BLOCKS)
    return [BlobBlock(_block_id(*span)) for span in spans]


async def _staged_blocks(client: BlobClient, source: BlobState) -> set[str]:
    with azure_errors(f"list the staged blocks of {source.version.name}"):
        try:
            _, uncommitted = await client.get_block_list("uncommitted")
        except ResourceNotFoundError:
            return set()
        return {block.id for block in uncommitted}


async def _blocks(origin: SourceStorage, container: str, source: BlobState, target: Target) -> None:
    """Reads a block blob and writes it as blocks, one at a time: a blob that needs this is rare."""
    client = target.account.blob(target.container, target.name)
    size = source.version.size
    block_bytes = max(PIECE_BYTES, -(-size // MAX_BLOCKS))
    blocks: list[BlobBlock] = []
    for offset in range(0, size, block_bytes):
        piece = await origin.read(container, source, offset, min(block_bytes, size - offset))
        blocks.append(BlobBlock(_block_id(offset, len(piece))))
        with azure_errors(f"copy {container}/{source.version.name} from byte {offset}"):
            await client.stage_block(blocks[-1].id, piece, validate_content=True)
    await _commit(client, blocks, source, target)


async def _append(origin: SourceStorage, container: str, source: BlobState, target: Target) -> None:
    """Writes an append blob from where an earlier attempt left off: what is there is a prefix of this version."""
    client = target.account.blob(target.container, target.name)
    size = source.version.size
    doing = f"copy {container}/{source.version.name}"
    unfinished = await _unfinished(client, target)
    if unfinished is None:
        with azure_errors(doing, write_once=True):
            await client.create_append_blob(
                content_settings=content_settings(source),
                metadata=target.metadata,
                match_condition=MatchConditions.IfMissing,
                **_optional(tags=target.tags or None),
            )
    written = unfinished.size if unfinished else 0
    piece_bytes = max(PIECE_BYTES, -(-size // MAX_BLOCKS))
    while written < size:
        piece = await origin.read(container, source, written, min(piece_bytes, size - written))
        with azure_errors(doing):
            # The position makes it impossible that a repeated or a parallel attempt appends twice.
            await client.append_block(piece, appendpos_condition=written, validate_content=True)
        written += len(piece)


async def _pages(origin: SourceStorage, container: str, source: BlobState, target: Target) -> None:
    """Writes a page blob that is a little too large until all of its pages are in, and then has its size.

    So a backup of the right size is a whole one, here as everywhere, and one that a crash left
    behind is gone on with after the last of its pages: they are written in order. Each write is
    conditional on the one before, so that of two attempts at once only one goes on, and none
    touches a finished backup.
    """
    client = target.account.blob(target.container, target.name)
    size = source.version.size
    doing = f"copy {container}/{source.version.name}"
    written_to = 0
    unfinished = await _unfinished(client, target)
    if unfinished is None:
        with azure_errors(doing, write_once=True):
            created = await client.create_page_blob(
                size + UNFINISHED_PAGE_BYTES,
                content_settings=content_settings(source),
                metadata=target.metadata,
                match_condition=MatchConditions.IfMissing,
                **_optional(tags=target.tags or None),
            )
            etag = str(created["etag"])
    elif unfinished.size == size:
        return  # another attempt has just finished it
    else:
        etag = str(unfinished.etag)
        written_to = await _written_to(client, target)
    # Of an empty page blob the service lists no ranges, and answers 416.
    for start, length in await origin.page_ranges(container, source) if size else []:
        for offset in range(max(start, written_to), start + length, PIECE_BYTES):
            piece = await origin.read(container, source, offset, min(PIECE_BYTES, start + length - offset))
            with azure_errors(doing):
                written = await client.upload_page(
                    piece,
                    offset,
                    len(piece),
                    etag=etag,
                    match_condition=MatchConditions.IfNotModified,
                    validate_content=True,
                )
                etag = str(written["etag"])
    with azure_errors(doing):
        await client.resize_blob(size, etag=etag, match_condition=MatchConditions.IfNotModified)


async def _written_to(client: BlobClient, target: Target) -> int:
    """Up to which byte an earlier attempt wrote a page blob."""
    with azure_errors(f"list the pages of {target.container}/{target.name}"):
        ends = [span.end + 1 async for span in client.list_page_ranges() if span.end is not None and not span.cleared]
    return max(ends, default=0)


async def _unfinished(client: BlobClient, target: Target) -> BlobProperties | None:
    """What an earlier attempt left under the backup's name; None when there is nothing."""
    with azure_errors(f"look at {target.container}/{target.name}"):
        try:
            properties = await client.get_blob_properties()
        except ResourceNotFoundError:
            return None
    if dict(properties.metadata or {}) != target.metadata:
        raise BackupConflict(f"{target.container}/{target.name}: an unfinished blob there is not this version's")
    return properties


def _block_id(offset: int, length: int) -> str:
    """Says which bytes of the version a block holds, so that one left by any earlier attempt is what it says.

    All ids of a blob have one length, as the service wants it.
    """
    return f"{offset:016d}-{length:012d}"


def _tier_and_tags(properties: BlobState, target: Target) -> dict[str, Any]:
    """The source's own tier, so that a cool blob's backup is as cheap; an inferred one is left to the account."""
    tier = None if properties.tier_inferred else _TIERS.get(properties.tier)
    return {"standard_blob_tier": tier, "tags": target.tags or None}


def _optional(**arguments: Any) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}

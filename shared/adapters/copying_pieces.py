"""Writes append and page blobs, which no synchronous copy takes: piece by piece through the app.

While one is unfinished it can be told from a whole one, and a later attempt goes on where this one ended.
A backup is unfinished by its size, since its metadata never changes; a restored blob by a mark in its
metadata (`shared.decisions.restored.RESTORING`), since it must have the version's size in the end, and what
reads it meanwhile must not take it for whole.

Copy Blob (asynchronous) would take them too. Onto another account it has no time limit, no authorization by
identity and no condition at its end, and leaves what it has not finished as a blob of the full size. But within
an account it shares the pages and blocks of a snapshot with its base, at once and for nothing: so that is how a
snapshot comes back where it stands (`promote`).
Source: the service's reference, "Copy Blob", and its guide "Copy a blob with asynchronous scheduling".
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from time import monotonic

from azure.core import MatchConditions
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobClient

from shared.adapters.properties import content_settings
from shared.adapters.source import SourceStorage
from shared.adapters.target import Target, given, if_still
from shared.adapters.translate import azure_errors
from shared.decisions.backups import SOURCE_SIZE, UNFINISHED_PAGE_BYTES
from shared.decisions.restored import RESTORING
from shared.errors import BackupConflict, BackupExists, BlobChanged, StorageFailed
from shared.model import BlobState

PIECE_BYTES = 4 * 1024 * 1024
"""The most that Append Block and Put Page take in every service version."""

MAX_APPENDED_BLOCKS = 50_000
POLL_SECONDS = 2.0
COPY_SECONDS = 12 * 3600.0
"""How long a copy by the service may take before nobody waits for it any more."""


@dataclass
class _Half:
    """What there is of a blob: how long it is by now, and its ETag."""

    size: int
    etag: str


async def append(origin: SourceStorage, container: str, source: BlobState, target: Target) -> None:
    """Writes an append blob from where an earlier attempt left off, if what is there is a prefix of this version.

    To a backup only Snapkeep appends. Where a blob is restored in place, a logger may still append to the half as
    it did to the blob: each piece is conditional on the one before, and what an earlier attempt left is compared.
    """
    client = target.client
    size = source.version.size
    doing = f"copy {container}/{source.version.name}"
    half = await _begun(client, target)
    if half is not None and target.restoring and not await _is_prefix(origin, container, source, target, half):
        target = replace(target, replaces=half.etag)
        half = None
    if half is None:
        with azure_errors(doing, write_once=target.write_once):
            created = await client.create_append_blob(
                content_settings=content_settings(source),
                metadata=target.metadata_until_whole,
                **target.condition,
                **given(tags=target.tags or None),
            )
        half = _Half(0, str(created["etag"]))
    piece_bytes = max(PIECE_BYTES, -(-size // MAX_APPENDED_BLOCKS))
    while half.size < size:
        piece = await origin.read(container, source, half.size, min(piece_bytes, size - half.size))
        with azure_errors(doing):
            # The position makes it impossible that a repeated or a parallel attempt appends twice.
            appended = await client.append_block(
                piece,
                appendpos_condition=half.size,
                validate_content=True,
                **(if_still(half.etag) if target.restoring else {}),
            )
        half = _Half(half.size + len(piece), str(appended["etag"]))
    await _unmark(client, target, half.etag)


async def write_pages(origin: SourceStorage, container: str, source: BlobState, target: Target) -> None:
    """Writes a page blob, after the last of the pages that an earlier attempt wrote: they are written in order.

    A backup is a little too large until all of its pages are in, and then has its size. Each write is
    conditional on the one before, so that of two attempts at once only one goes on, and none touches a
    finished blob.
    """
    client = target.client
    size = source.version.size
    size_until_whole = size if target.restoring else size + UNFINISHED_PAGE_BYTES
    doing = f"copy {container}/{source.version.name}"
    written_to = 0
    half = await _begun(client, target)
    if half is None:
        with azure_errors(doing, write_once=target.write_once):
            created = await client.create_page_blob(
                size_until_whole,
                content_settings=content_settings(source),
                metadata=target.metadata_until_whole,
                **target.condition,
                **given(tags=target.tags or None),
            )
        half = _Half(size_until_whole, str(created["etag"]))
    elif half.size != size_until_whole:
        return  # another attempt has just finished it
    elif half.size:
        written_to = await _written_to(client, target)
    etag = half.etag
    # Of an empty page blob the service lists no ranges, and answers 416: the source may be one, and the half as well.
    for start, length in await origin.page_ranges(container, source) if size else []:
        for offset in range(max(start, written_to), start + length, PIECE_BYTES):
            piece = await origin.read(container, source, offset, min(PIECE_BYTES, start + length - offset))
            with azure_errors(doing):
                written = await client.upload_page(piece, offset, len(piece), validate_content=True, **if_still(etag))
            etag = str(written["etag"])
    if size_until_whole != size:
        with azure_errors(doing):
            await client.resize_blob(size, **if_still(etag))
    await _unmark(client, target, etag)


async def promote(origin: SourceStorage, container: str, source: BlobState, target: Target) -> None:
    """Has the service copy an append or page blob within its account, with its own metadata, and waits for it.

    The service carries the copy out whether or not anybody waits; until then a HEAD shows it as pending.
    """
    url, _ = await origin.account.readable_url(container, source.version.name, source.snapshot)
    with azure_errors(f"copy {container}/{source.version.name}", write_once=target.write_once):
        copy = await target.client.start_copy_from_url(
            url,
            source_etag=f'"{source.version.etag}"',
            source_match_condition=MatchConditions.IfNotModified,
            **target.condition,
            **given(tags=target.tags or None),
        )
    status = str(copy["copy_status"])
    give_up_at = monotonic() + COPY_SECONDS
    while status == "pending" and monotonic() < give_up_at:
        await asyncio.sleep(POLL_SECONDS)
        with azure_errors(f"look at {target.container}/{target.name}"):
            status = str((await target.client.get_blob_properties()).copy.status or "")
    if status in {"pending", "failed", "aborted"}:
        raise StorageFailed(
            f"copy {container}/{source.version.name}: the service's copy is {status}; restore it from the snapshot "
            f"{source.snapshot}, what stood there before is in its newest snapshot"
        )


async def _is_prefix(origin: SourceStorage, container: str, source: BlobState, target: Target, half: _Half) -> bool:
    """Whether the half holds what the version begins with, byte for byte."""
    if half.size > source.version.size:
        return False
    for offset in range(0, half.size, PIECE_BYTES):
        length = min(PIECE_BYTES, half.size - offset)
        with azure_errors(f"compare {target.container}/{target.name}"):
            stream = await target.client.download_blob(offset, length, decompress=False, **if_still(half.etag))
            there = await stream.readall()
        if there != await origin.read(container, source, offset, length):
            return False
    return True


async def _begun(client: BlobClient, target: Target) -> _Half | None:
    """What an earlier attempt left under the target's name; None where the blob is still to be created."""
    with azure_errors(f"look at {target.container}/{target.name}"):
        try:
            properties = await client.get_blob_properties()
        except ResourceNotFoundError:
            return None
    etag = str(properties.etag).strip('"')
    if target.restoring and properties.metadata.get(RESTORING) != target.restoring:
        if etag == target.replaces:
            return None
        text = f"{target.container}/{target.name}: another blob stands there by now"
        raise BackupExists(text) if target.write_once else BlobChanged(text)
    if not target.restoring and not _same_backup(properties, target):
        raise BackupConflict(f"{target.container}/{target.name}: an unfinished blob there is not this version's")
    return _Half(properties.size, etag)


def _same_backup(found: BlobProperties, target: Target) -> bool:
    """By its metadata; one that was begun before backups told the source's size lacks that alone."""
    has = dict(found.metadata or {})
    return has in (target.metadata, {key: value for key, value in target.metadata.items() if key != SOURCE_SIZE})


async def _written_to(client: BlobClient, target: Target) -> int:
    """Up to which byte an earlier attempt wrote a page blob."""
    with azure_errors(f"list the pages of {target.container}/{target.name}"):
        ends = [span.end + 1 async for span in client.list_page_ranges() if span.end is not None and not span.cleared]
    return max(ends, default=0)


async def _unmark(client: BlobClient, target: Target, etag: str) -> None:
    """Gives a restored blob its own metadata, which says that it is whole."""
    if target.restoring:
        with azure_errors(f"finish {target.container}/{target.name}"):
            await client.set_blob_metadata(target.metadata, **if_still(etag))

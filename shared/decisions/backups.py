"""What to do about one requested version: is it backed up, what is it copied from, and by which engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from shared.decisions.names import as_metadata
from shared.model import ARCHIVE, BlobState, Version

SOURCE_ETAG = "snapkeep_source_etag"
SOURCE_LAST_MODIFIED = "snapkeep_source_last_modified"
SOURCE_SIZE = "snapkeep_source_size"
"""Of append and page blobs, whose backups are written piece by piece: by it a half-written one is known."""

SOURCE_PREFIX = "snapkeep_source_"

UNFINISHED_PAGE_BYTES = 512
"""By how much a page blob's backup is too large until all its pages are in (`shared.adapters.copying`)."""

MAX_METADATA_BYTES = 8 * 1024
"""All names and values together, by the service's rules."""


class Standing(Enum):
    """What a blob under a backup's name is."""

    VERIFIED = "this version's backup"
    UNFINISHED = "this version's backup, still being written piece by piece"
    UNPROVEN = "a blob of the right size that does not say which version it is"
    CONFLICT = "another blob"


@dataclass(frozen=True)
class Stale:
    """Neither the live blob nor a snapshot is the requested version; `current` is what there is now."""

    current: BlobState | None


@dataclass(frozen=True)
class CopyFrom:
    """The very version that was requested, where it still stands."""

    source: BlobState


def standing(version: Version, found: BlobState) -> Standing:
    """What the blob that stands under the version's backup name is, from its HEAD alone.

    A backup is written together with its metadata in one atomic call that is conditional on the
    version's ETag. So its size and the ETag in its metadata prove it.
    """
    claims = found.metadata.get(SOURCE_ETAG)
    size = found.version.size
    if claims is not None and claims != version.etag:
        return Standing.CONFLICT
    if claims is not None and unfinished(found.blob_type, size, version.size):
        return Standing.UNFINISHED
    if size != version.size:
        return Standing.CONFLICT
    return Standing.VERIFIED if claims is not None else Standing.UNPROVEN


def unfinished(blob_type: str, size: int, version_size: int) -> bool:
    """Whether a backup of this type and size is one that is still being written, piece by piece."""
    if blob_type == "PageBlob":
        return size == version_size + UNFINISHED_PAGE_BYTES
    return blob_type == "AppendBlob" and size < version_size


def same_content(size: int, md5: str | None, other_size: int, other_md5: str | None) -> bool:
    """Whether two blobs can hold the same bytes: by size, and by MD5 where the service holds both."""
    return size == other_size and (md5 is None or other_md5 is None or md5 == other_md5)


def same_bytes(copy: BlobState, source: BlobState) -> bool:
    """Whether a finished copy can be the source."""
    return same_content(copy.version.size, copy.md5, source.version.size, source.md5)


def proven(copy: BlobState, source: BlobState) -> bool:
    """Whether a blob that does not claim a version is this source's copy all the same.

    Size and MD5 prove it, where both hold one. So does all of the source's metadata, where that is so
    much that it leaves no room for the claim: that, under a version's own name, is Snapkeep's copy.
    """
    if not same_bytes(copy, source):
        return False
    expected = backup_metadata(source)
    return (copy.md5 is not None and source.md5 is not None) or (
        SOURCE_ETAG not in expected and copy.metadata == expected
    )


def where_to_copy_from(version: Version, live: BlobState | None, snapshot: BlobState | None) -> CopyFrom | Stale:
    """Promise 6: the requested version where it still stands, else the request is stale.

    The live blob comes first, since Data Factory reads no other; but a blob that was archived may
    have a snapshot from before, which can still be read: tiers are each one's own.
    """
    standing_still = [state for state in (live, snapshot) if state is not None and state.version.etag == version.etag]
    if not standing_still:
        return Stale(live)
    return CopyFrom(min(standing_still, key=lambda state: state.tier == ARCHIVE))


def engine(
    configured: Literal["auto", "server", "adf"], adf_min_bytes: int, source: BlobState
) -> Literal["server", "adf"]:
    """Which engine copies this source.

    Data Factory reads live blobs alone and writes block blobs alone. What its connector does with
    empty or padded path segments and with wildcards in a name is documented nowhere, so that such
    names go by the Blob service, which takes any byte for byte.
    """
    name = source.version.name
    plain = all(segment and segment == segment.strip() for segment in name.split("/")) and not set("*?") & set(name)
    if configured == "server" or source.snapshot is not None or source.blob_type != "BlockBlob" or not plain:
        return "server"
    return "adf" if configured == "adf" or source.version.size >= adf_min_bytes else "server"


def backup_metadata(source: BlobState) -> dict[str, str]:
    """The source's metadata, and which version this is, as far as the service's limit leaves room."""
    version = source.version
    metadata = {key: value for key, value in source.metadata.items() if not key.lower().startswith(SOURCE_PREFIX)}
    name_key, name = as_metadata(version.name)
    additions = {SOURCE_ETAG: version.etag, SOURCE_LAST_MODIFIED: version.last_modified, name_key: name}
    if source.blob_type != "BlockBlob":
        additions[SOURCE_SIZE] = str(version.size)
    room = MAX_METADATA_BYTES - sum(len(key) + len(value) for key, value in metadata.items())
    for key, value in additions.items():
        room -= len(key) + len(value)
        if room >= 0:
            metadata[key] = value
    return metadata


def source_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The source's own metadata, out of that of its backup (`backup_metadata`)."""
    return {key: value for key, value in metadata.items() if not key.lower().startswith(SOURCE_PREFIX)}

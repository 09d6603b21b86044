"""What is missing for one blob: its snapshot, and backups of its versions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from shared.decisions.changes import Group, changed, unprotectable
from shared.decisions.names import backup_name
from shared.model import ARCHIVE, Entry, Reason, Version

UNFINISHED_PAGE_BYTES = 512
"""By how much a page blob's backup is too large until all its pages are in (`shared.adapters.copying`)."""


@dataclass(frozen=True)
class BackupFact:
    """What the backup account's listing says of one backup."""

    size: int
    md5: str | None
    blob_type: str


LookUp = Callable[[str], BackupFact | None]


@dataclass(frozen=True)
class Unprotected:
    """A version that stays unprotected until somebody acts, and why."""

    version: Version
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Coverage:
    """One blob's state of protection, and what would complete it."""

    versions: int = 0
    protected: int = 0
    missing_snapshot: Version | None = None
    missing_backups: tuple[Version, ...] = ()
    unprotectable: tuple[Unprotected, ...] = ()
    oldest_unprotected: str | None = None


@dataclass
class _Tally:
    protected: int = 0
    missing: list[Version] = field(default_factory=list)
    unprotectable: list[Unprotected] = field(default_factory=list)
    oldest: str | None = None


def coverage(group: Group, look_up: LookUp, history: Literal["all", "current"]) -> Coverage:
    """What one blob lacks.

    A version is the live blob or a snapshot (with `history` "current", the live blob alone), told
    apart by ETag. It is protected when a snapshot of it exists and a backup of its size, and of its
    MD5 where both sides hold one.
    """
    live = group.live if group.is_blob else None
    if group.live is not None and live is None:
        return Coverage()  # a directory
    refused = unprotectable(group)
    if refused:
        return _refused(live, refused)
    snapshotted = {entry.etag for entry in group.snapshots}
    versions = {entry.etag: entry for entry in group.snapshots}
    if live is not None and (live.tier != ARCHIVE or live.etag not in versions):
        versions[live.etag] = live  # an archived one's snapshot from before may still be read
    if history == "current":
        versions = {live.etag: versions[live.etag]} if live is not None else {}
    tally = _Tally()
    for entry in versions.values():
        _judge(entry, look_up(backup_name(entry.version)), entry.etag in snapshotted, tally)
    return Coverage(
        len(versions),
        tally.protected,
        changed(group),
        tuple(tally.missing),
        tuple(tally.unprotectable),
        tally.oldest,
    )


def _judge(entry: Entry, fact: BackupFact | None, snapshotted: bool, tally: _Tally) -> None:
    backed_up = fact is not None and not unfinished(entry, fact)
    if backed_up and fact is not None and not same_content(entry, fact):
        detail = f"its backup has {fact.size} bytes, MD5 {fact.md5}; the version {entry.size} bytes, MD5 {entry.md5}"
        tally.unprotectable.append(Unprotected(entry.version, Reason.CONFLICT, detail))
    elif backed_up and snapshotted:
        tally.protected += 1
        return
    elif not backed_up and entry.tier == ARCHIVE:
        detail = "in the archive tier, which can be neither read nor copied until it is rehydrated"
        tally.unprotectable.append(Unprotected(entry.version, Reason.ARCHIVED, detail))
    elif not backed_up:
        tally.missing.append(entry.version)
    tally.oldest = min(tally.oldest or entry.last_modified, entry.last_modified)


def same_content(entry: Entry, fact: BackupFact) -> bool:
    """Whether a backup can be this version's, as far as two listings can tell."""
    return fact.size == entry.size and (entry.md5 is None or fact.md5 is None or entry.md5 == fact.md5)


def unfinished(entry: Entry, fact: BackupFact) -> bool:
    """Whether this is a backup that is still being written, piece by piece, and will be gone on with."""
    if fact.blob_type == "PageBlob":
        return fact.size == entry.size + UNFINISHED_PAGE_BYTES
    return fact.blob_type == "AppendBlob" and fact.size < entry.size


def _refused(live: Entry | None, why: tuple[Reason, str]) -> Coverage:
    if live is None:
        return Coverage()
    reason, detail = why
    return Coverage(
        versions=1,
        unprotectable=(Unprotected(live.version, reason, detail),),
        oldest_unprotected=live.last_modified,
    )

"""What is missing for one blob: its snapshot, and backups of its versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from shared.decisions.backups import same_content, unfinished
from shared.decisions.changes import Group, changed, unprotectable
from shared.decisions.names import backup_name, refusal
from shared.model import ARCHIVE, Entry, IndexedBlob, Reason, Version

Backup = Entry | IndexedBlob
"""What a listing tells of a backup, as it came or as an index keeps it."""


@dataclass(frozen=True)
class Unprotected:
    """A version that stays unprotected until somebody acts, and why."""

    version: Version
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Coverage:
    """One blob's state of protection, and what would complete it.

    Attributes:
        protected: the versions that are, as the live blob or a snapshot of it.
    """

    versions: int = 0
    protected: tuple[Entry, ...] = ()
    missing_snapshot: Version | None = None
    missing_backups: tuple[Version, ...] = ()
    unprotectable: tuple[Unprotected, ...] = ()
    oldest_unprotected: str | None = None


@dataclass
class _Tally:
    protected: list[Entry] = field(default_factory=list)
    missing: list[Version] = field(default_factory=list)
    unprotectable: list[Unprotected] = field(default_factory=list)
    oldest: str | None = None


def is_as_it_was(group: Group, backup: Backup | None) -> bool:
    """Whether this is a blob of one version, which is protected: as nearly all are, so that no more need be asked."""
    _, live, snapshots = group
    return (
        backup is not None
        and live is not None
        and len(snapshots) == 1
        and snapshots[0].etag == live.etag
        and same_content(backup.size, backup.md5, live.size, live.md5)
        and not (live.directory or live.half or live.customer_key or snapshots[0].half or live.tier == ARCHIVE)
        and refusal(group.name) is None
    )


def coverage(group: Group, backups: Mapping[str, Backup], history: Literal["all", "current"]) -> Coverage:
    """What one blob lacks.

    A version is the live blob or a snapshot (with `history` "current", the live blob alone), told
    apart by ETag. It is protected when a snapshot of it exists and a backup of its size, and of its
    MD5 where both sides hold one.
    """
    live = group.blob
    if group.live is not None and live is None:
        return Coverage()  # a directory
    refused = unprotectable(group)
    half = refused is not None and refused[0] is Reason.HALF_RESTORED
    if refused and not half:
        return _refused(live, refused)
    snapshotted = {entry.etag for entry in group.snapshots}
    versions = {entry.etag: entry for entry in group.snapshots if not entry.half}
    if live is not None and not half and (live.tier != ARCHIVE or live.etag not in versions):
        versions[live.etag] = live  # an archived one's snapshot from before may still be read
    if history == "current":
        versions = {live.etag: versions[live.etag]} if live is not None and not half else {}
    tally = _Tally()
    if refused and live is not None:  # what was there before it stands in snapshots, and is judged as ever
        tally.unprotectable.append(Unprotected(live.version, *refused))
        tally.oldest = live.last_modified
    for entry in versions.values():
        _judge(entry, backups.get(backup_name(entry.version)), entry.etag in snapshotted, tally)
    return Coverage(
        len(versions) + half,
        tuple(tally.protected),
        None if half else changed(group),
        tuple(tally.missing),
        tuple(tally.unprotectable),
        tally.oldest,
    )


def _judge(entry: Entry, found: Backup | None, snapshotted: bool, tally: _Tally) -> None:
    version = entry.version
    backup = None if found is None or unfinished(found.blob_type, found.size, entry.size) else found
    if backup is not None and not same_content(backup.size, backup.md5, entry.size, entry.md5):
        detail = (
            f"its backup has {backup.size} bytes, MD5 {backup.md5}; the version {entry.size} bytes, MD5 {entry.md5}"
        )
        tally.unprotectable.append(Unprotected(version, Reason.CONFLICT, detail))
    elif backup is not None and snapshotted:
        tally.protected.append(entry)
        return
    elif backup is None and entry.tier == ARCHIVE:
        tally.unprotectable.append(archived(version))
    elif backup is None:
        tally.missing.append(version)
    tally.oldest = min(tally.oldest or entry.last_modified, entry.last_modified)


def archived(version: Version) -> Unprotected:
    """A version in the archive tier that has no backup."""
    detail = "in the archive tier, which can be neither read nor copied until it is rehydrated"
    return Unprotected(version, Reason.ARCHIVED, detail)


def _refused(live: Entry | None, why: tuple[Reason, str]) -> Coverage:
    if live is None:
        return Coverage()
    reason, detail = why
    return Coverage(
        versions=1,
        unprotectable=(Unprotected(live.version, reason, detail),),
        oldest_unprotected=live.last_modified,
    )

"""Which blobs of a listing changed since they were last snapshotted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.decisions.names import refusal
from shared.model import Entry, Reason, Version

HALF_RESTORED = "the half of a restore that was interrupted: run that restore again"


@dataclass(frozen=True)
class Group:
    """All entries that a listing holds of one name: the live blob, if there is one, and its snapshots."""

    name: str
    live: Entry | None
    snapshots: tuple[Entry, ...]

    @property
    def newest_snapshot(self) -> Entry | None:
        return max(self.snapshots, key=lambda entry: entry.snapshot or "", default=None)

    @property
    def blob(self) -> Entry | None:
        """The live blob; None for a directory, and for snapshots alone."""
        return None if self.live is None or self.live.directory else self.live


def changed(group: Group) -> Version | None:
    """The live version, when the newest snapshot is not of it; None when there is nothing to do.

    A snapshot has its base's ETag of that moment, and a blob never gets an old ETag again.
    """
    blob, newest = group.blob, group.newest_snapshot
    if blob is None or (newest is not None and newest.etag == blob.etag):
        return None
    return blob.version


def unprotectable(group: Group) -> tuple[Reason, str] | None:
    """Why no call for this live blob can succeed; None for nearly all."""
    refused = refusal(group.name)
    if refused:
        return Reason.REFUSED_NAME, refused
    if group.live is not None and group.live.customer_key:
        return Reason.CUSTOMER_KEY, "encrypted with a key that only its writer can give with each call"
    if group.live is not None and group.live.half:
        return Reason.HALF_RESTORED, HALF_RESTORED
    return None


@dataclass
class Grouper:
    """Turns a listing's entries, page after page, into groups.

    Within a name the entries may come in any order, and a name may straddle pages. Should a name's
    entries ever not be adjacent, it forms two groups, which costs a needless snapshot and no more.
    """

    carry: list[Entry] = field(default_factory=list)
    """The entries of the name that the last page ended in; the next page may bring more of them."""

    def feed(self, entries: Iterable[Entry]) -> list[Group]:
        """The groups that are complete now."""
        groups = []
        carry = self.carry
        for entry in entries:
            if carry and carry[0].name != entry.name:
                groups.append(_group(carry))
                carry = []
            carry.append(entry)
        self.carry = carry
        return groups

    def finish(self) -> list[Group]:
        """The last group, once the listing has ended."""
        groups = [_group(self.carry)] if self.carry else []
        self.carry = []
        return groups


def essence(entries: list[Entry]) -> list[Entry]:
    """The entries of one name that `changed` needs: the live blob and the newest snapshot."""
    if not entries:
        return []
    group = _group(entries)
    return [entry for entry in (group.live, group.newest_snapshot) if entry is not None]


def group_of(name: str, entries: Iterable[Entry]) -> Group:
    """The group of these entries, all of which are of this name."""
    live = None
    snapshots = []
    for entry in entries:
        if entry.snapshot is None:
            live = entry
        else:
            snapshots.append(entry)
    return Group(name, live, tuple(snapshots))


def _group(entries: list[Entry]) -> Group:
    return group_of(entries[0].name, entries)

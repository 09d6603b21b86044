"""Which blobs of a listing changed since they were last snapshotted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.decisions.names import refusal
from shared.model import Entry, Reason, Version

HALF_RESTORED = "the half of a restore that was interrupted: run that restore again"


class Group(NamedTuple):
    """All entries that a listing holds of one name: the live blob, if there is one, and its snapshots."""

    name: str
    live: Entry | None
    snapshots: tuple[Entry, ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self.snapshots if self.live is None else (*self.snapshots, self.live)

    @property
    def states(self) -> Collection[Entry]:
        """Each state of the blob that stands here, once."""
        return {entry.etag: entry for entry in self.entries}.values()

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
        name = carry[0].name if carry else None
        for entry in entries:
            if entry.name != name:
                if carry:
                    groups.append(grouped(carry))
                carry, name = [], entry.name
            carry.append(entry)
        self.carry = carry
        return groups

    def finish(self) -> list[Group]:
        """The last group, once the listing has ended."""
        groups = [grouped(self.carry)] if self.carry else []
        self.carry = []
        return groups


def essence(entries: list[Entry]) -> list[Entry]:
    """The entries of one name that `changed` needs: the live blob and the newest snapshot."""
    if not entries:
        return []
    group = grouped(entries)
    return [entry for entry in (group.live, group.newest_snapshot) if entry is not None]


def grouped(entries: Sequence[Entry]) -> Group:
    """The group of one name's entries, in whatever order."""
    if len(entries) == 2 and entries[0].snapshot is not None and entries[1].snapshot is None:  # nearly always
        return Group(entries[0].name, entries[1], (entries[0],))
    live = None
    snapshots = []
    for entry in entries:
        if entry.snapshot is None:
            live = entry
        else:
            snapshots.append(entry)
    return Group(entries[0].name, live, tuple(snapshots))

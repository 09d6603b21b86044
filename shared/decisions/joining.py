"""Joins a container's blobs with their backups, two listings side by side, holding no more than a page of each.

That takes listings which both come in the order that is expected, and each page is looked at before anything
is concluded from it. Where one does not, what was joined may be wrong: then the backups are kept in an index on
disk and asked by name, whatever their order (`shared.index.ListingIndex`). Of 10^6 unchanged blobs
each costs 19.4 µs of CPU with that index and 7.2 with the join, all decisions included; and nearly every listing is
in order, so the join is what is tried first.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

from shared.decisions.changes import Group, grouped
from shared.decisions.names import LONG_NAMES, folder_of_backup, name_of_backup
from shared.model import Entry

FLAT = "flat"
FOLDERS = "folders"
BY_NAME = "by name"
ORDERS = (FLAT, FOLDERS, BY_NAME)
"""How listings can be sorted, in the order in which that is tried: by UTF-16 units; with the slash before all other
characters, as hierarchical accounts do; or in a way that is not known."""


class OutOfOrder(Exception):
    """A listing does not come in the order that was expected."""


class Joined(NamedTuple):
    """All that the source has of a name, and what its versions' backups are called."""

    group: Group
    names: tuple[str, ...]

    @classmethod
    def of(cls, group: Group) -> Joined:
        name, live, snapshots = group
        if live is not None and len(snapshots) == 1 and snapshots[0].etag == live.etag:  # nearly always
            return cls(group, (name_of_backup(name, live.etag, live.last_modified),))
        return cls(group, tuple([name_of_backup(name, state.etag, state.last_modified) for state in group.states]))


class MergeJoin:
    """Takes both listings page by page, and tells of each name once all of its backups have been seen.

    Attributes:
        found: the backups of names that are not told of yet, and those of the last that were.
    """

    def __init__(self, order: str) -> None:
        self._order = order
        self.found: dict[str, Entry] = {}
        self._held: list[Joined] = []
        self._live: set[str] = set()
        self._wanted: set[str] = set()
        self._last = ""  # name of the source, and
        self._upto: str | None = None  # what sorts it
        self._source_ended = False
        self._entries: Sequence[Entry] = ()
        self._keys: Sequence[str] = ()
        self._at = 0
        self._after = ""  # the last backup that was looked at
        self._backups_ended = False

    def add_source(self, groups: Sequence[Group], *, last: bool) -> None:
        """Takes the names of a page; `last` when there are no more.

        Raises:
            OutOfOrder: of no name in this page may anything be concluded, nor of any before it.
        """
        keys = self._ascending([group.name for group in groups], self._upto)
        for group in groups:
            one = Joined.of(group)
            self._held.append(one)
            self._wanted.update(one.names)
            if group.blob is not None:
                self._live.add(group.name)
        if keys:
            self._last, self._upto = groups[-1].name, keys[-1]
        self._source_ended |= last

    @property
    def wants_backups(self) -> bool:
        """Whether another page of backups must be added before more names can be told of."""
        if self._backups_ended or (self._upto is None and not self._source_ended):
            return False
        return self._at == len(self._entries)

    def add_backups(self, entries: Sequence[Entry], *, last: bool) -> list[tuple[str, str]]:
        """Takes a page of backups; `last` when there are no more. Gives what `advance` does.

        Raises:
            OutOfOrder: as above.
        """
        keys = self._ascending([entry.name for entry in entries], self._keys[-1] if self._keys else None)
        if self._after and keys and keys[0] <= self._key(self._after):  # the page that an interrupted join was in
            done = bisect_right(keys, self._key(self._after))
            entries, keys = entries[done:], keys[done:]
        self._entries, self._at = entries, 0
        self._keys = keys or self._keys
        self._backups_ended |= last
        return self.advance()

    def advance(self) -> list[tuple[str, str]]:
        """Goes through the backups as far as the source's names came; gives those of no blob that is there.

        Of each its folder and its name in that.
        """
        end = len(self._entries)
        if not self._source_ended:
            end = bisect_right(self._keys, self._upto or "", self._at) if self._entries else 0
        unmatched = []
        wanted, live, found = self._wanted, self._live, self.found
        for entry in self._entries[self._at : end]:
            name = entry.name
            if name in wanted:
                found[name] = entry
            else:
                backup = folder_of_backup(name)
                if backup is not None and backup[0] not in live:
                    unmatched.append(backup)
        if end > self._at:
            self._at, self._after = end, self._entries[end - 1].name
        return unmatched

    def decided(self) -> list[Joined]:
        """The names of which all backups have been seen, each once. To be called when no backups are wanted."""
        told, self._held = self._held, []
        if not (self._source_ended and self._backups_ended):
            # All that begins with a name stands side by side: more can come only of those that the last begins with.
            open_names = {self._last[:length] for length in range(len(self._last) + 1)}
            self._held = [one for one in told if one.group.name in open_names]
            told = [one for one in told if one.group.name not in open_names]
        return told

    def forget(self) -> None:
        """Forgets the backups of names that were told of."""
        self._wanted = {name for one in self._held for name in one.names}
        self._live = {one.group.name for one in self._held if one.group.blob is not None}
        self.found = {name: entry for name, entry in self.found.items() if name in self._wanted}

    def document(self) -> dict[str, Any]:
        """Where it is, as a checkpoint holds it; to be called after `forget`."""
        return {
            "order": self._order,
            "last": self._last,
            "held": [[list(entry) for entry in one.group.entries] for one in self._held],
            "found": [list(entry) for entry in self.found.values()],
            "after": self._after,
        }

    @classmethod
    def of(cls, document: dict[str, Any]) -> MergeJoin:
        """The join that was saved. Its backups go on with the page in which it was, from its beginning."""
        join = cls(document["order"])
        groups = [grouped([Entry(*values) for values in entries]) for entries in document["held"]]
        join.add_source(groups, last=False)
        join._last, join._after = document["last"], document["after"]
        join._upto = join._key(join._last) if join._last else None
        join.found = {entry.name: entry for entry in (Entry(*values) for values in document["found"])}
        return join

    def _ascending(self, names: Sequence[str], after: str | None) -> Sequence[str]:
        """What sorts these names, all of which must come in order, after `after`."""
        keys = names
        if self._order == FOLDERS or not "".join(names).isascii():
            keys = [self._key(name) for name in names]
        rising = all(map(operator.lt, keys, islice(keys, 1, None)))
        if not rising or (keys and after is not None and keys[0] <= after):
            raise OutOfOrder
        return keys

    def _key(self, name: str) -> str:
        """What sorts a name as the listing does, when compared by code points."""
        if not name.isascii():
            name = "".join(_units(character) for character in name)
        return name.replace("/", "\0") if self._order == FOLDERS else name


def is_hashed(name: str) -> bool:
    """Whether a backup has a hashed name, which stands nowhere near its blob's in any order."""
    return name.startswith(f"{LONG_NAMES}/")


def _units(character: str) -> str:
    code = ord(character)
    if code < 0x10000:
        return character
    return chr(0xD800 + ((code - 0x10000) >> 10)) + chr(0xDC00 + (code & 0x3FF))

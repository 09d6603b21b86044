"""Keeps on disk where every version of millions of blobs stands, to be gone through name by name, in bounded memory.

The source's listing and the backups' come in different orders, and neither is relied on.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import ClassVar, NamedTuple

from shared.decisions.deletions import Back, Deletion, Gone, fold
from shared.decisions.restore_places import HALF_RESTORED
from shared.decisions.restoring import Held, Place
from shared.errors import SnapkeepError
from shared.model import Entry, Version
from shared.temporary_database import TemporaryDatabase, key_of, name_of

_INSERT = "INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LIVE, _SNAPSHOT, _BACKUP, _STANDING = range(4)
_KINDS = {Place.LIVE: _LIVE, Place.SNAPSHOT: _SNAPSHOT, Place.BACKUP: _BACKUP}
_PLACES = {kind: place for place, kind in _KINDS.items()}


class Found(NamedTuple):
    """All that is known of one name.

    `live` is what stands under it in the source container, `standing` in the target container.
    """

    name: str
    live: Entry | None
    held: tuple[Held, ...]
    standing: Entry | None


class VersionIndex(TemporaryDatabase):
    """Versions by name, each with where it stands."""

    tables: ClassVar[tuple[str, ...]] = (
        # A page that was listed twice, around a change, says the same thing twice: the last word counts.
        "CREATE TABLE versions (name BLOB NOT NULL, kind INTEGER NOT NULL, key BLOB NOT NULL, etag TEXT NOT NULL,"
        " last_modified TEXT NOT NULL, size INTEGER NOT NULL,"
        " place_etag TEXT NOT NULL, place_size INTEGER NOT NULL, md5 TEXT, blob_type TEXT NOT NULL,"
        " tier TEXT NOT NULL, directory INTEGER NOT NULL, created TEXT NOT NULL, unusable TEXT NOT NULL,"
        " PRIMARY KEY (name, kind, key)) WITHOUT ROWID",
        # When a name was missed, and last seen before that; or when it was back, and then it has no `last_seen`.
        "CREATE TABLE deletions (name BLOB NOT NULL, at TEXT NOT NULL, last_seen TEXT NOT NULL,"
        " PRIMARY KEY (name, at, last_seen)) WITHOUT ROWID",
    )

    def add_source(self, entries: Iterable[tuple[Entry, str]]) -> None:
        """Adds live blobs, snapshots and directories, each with why nothing can be taken from it, if so."""
        self._add(_Row.of(one, _SNAPSHOT if one.snapshot else _LIVE, unusable) for one, unusable in entries)

    def add_backups(self, held: Iterable[Held]) -> None:
        """Adds backups of versions."""
        self._add(map(_Row.of_backup, held))

    def add_standing(self, entries: Iterable[Entry]) -> None:
        """Adds what stands in the target container."""
        self._add(_Row.of(one, _STANDING) for one in entries)

    def add_deletions(self, gone: Iterable[Gone], back: Iterable[Back]) -> None:
        """Adds recorded events; one that stands there already changes nothing."""
        with _disk_errors():
            for rows in (
                ((key_of(one.name), one.first_missed, one.last_seen) for one in gone),
                ((key_of(one.name), one.seen_at, "") for one in back),
            ):
                self._change("INSERT OR IGNORE INTO deletions VALUES (?, ?, ?)", rows)

    def deletions_of(self, name: str) -> list[Deletion]:
        """The deletions of this name, oldest first."""
        with _disk_errors():
            query = "SELECT at, last_seen FROM deletions WHERE name = ?"
            events = self._database.execute(query, (key_of(name),)).fetchall()
        gone = [Gone(name, last_seen, at) for at, last_seen in events if last_seen]
        back = [Back(name, at) for at, last_seen in events if not last_seen]
        return fold(gone, back).get(name, [])

    def __iter__(self) -> Iterator[Found]:
        """All names that the source or the backups know, in the order of their UTF-8 bytes.

        Nothing may be added meanwhile.
        """
        with _disk_errors():
            rows = map(_Row._make, self._database.execute("SELECT * FROM versions ORDER BY name, kind, key"))
            for name, of_name in groupby(rows, key=lambda row: row.name):
                found = _found(name_of(name), of_name)
                if found.live is not None or found.held:
                    yield found

    def directories(self) -> Iterator[Entry]:
        """The source's directories, the deepest of each path before those that it stands in."""
        with _disk_errors():
            rows = self._database.execute(
                "SELECT * FROM versions WHERE kind = ? AND directory ORDER BY name DESC", (_LIVE,)
            )
            for row in rows:
                yield _Row._make(row).entry()

    def _add(self, rows: Iterable[_Row]) -> None:
        with _disk_errors():
            self._change(_INSERT, rows)


class _Row(NamedTuple):
    """A row of the table, column by column. `place_etag` and `place_size` differ from the version's own for backups."""

    name: bytes
    kind: int
    key: bytes
    etag: str
    last_modified: str
    size: int
    place_etag: str
    place_size: int
    md5: str | None
    blob_type: str
    tier: str
    directory: int
    created: str
    unusable: str

    @classmethod
    def of(cls, one: Entry, kind: int, unusable: str = "") -> _Row:
        return cls(
            name=key_of(one.name),
            kind=kind,
            key=key_of(one.snapshot or ""),
            etag=one.etag,
            last_modified=one.last_modified,
            size=one.size,
            place_etag=one.etag,
            place_size=one.size,
            md5=one.md5,
            blob_type=one.blob_type,
            tier=one.tier,
            directory=one.directory,
            created=one.created,
            unusable=unusable,
        )

    @classmethod
    def of_backup(cls, one: Held) -> _Row:
        return cls(
            name=key_of(one.version.name),
            kind=_KINDS[one.place],
            key=key_of(one.key),
            etag=one.version.etag,
            last_modified=one.version.last_modified,
            size=one.version.size,
            place_etag=one.etag,
            place_size=one.size,
            md5=one.md5,
            blob_type=one.blob_type,
            tier=one.tier,
            directory=False,
            created="",
            unusable=one.unusable,
        )

    def entry(self) -> Entry:
        return Entry(
            name_of(self.name),
            None,
            self.etag,
            self.last_modified,
            self.size,
            self.md5,
            self.blob_type,
            self.tier,
            bool(self.directory),
            created=self.created,
        )

    def held(self) -> Held | None:
        """The version that stands there; None where none does."""
        if self.kind not in _PLACES or self.directory or self.unusable == HALF_RESTORED:
            return None
        return Held(
            _PLACES[self.kind],
            Version(name_of(self.name), self.etag, self.last_modified, self.size),
            name_of(self.key),
            self.place_etag,
            self.place_size,
            self.md5,
            self.blob_type,
            self.tier,
            self.unusable,
        )


def _found(name: str, rows: Iterable[_Row]) -> Found:
    of_kind: dict[int, Entry] = {}
    held = []
    for row in rows:
        one = row.held()
        if one is not None:
            held.append(one)
        if row.kind in {_LIVE, _STANDING}:
            of_kind[row.kind] = row.entry()
    return Found(name, of_kind.get(_LIVE), tuple(held), of_kind.get(_STANDING))


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise SnapkeepError(
            f"the list of versions could not be kept in {tempfile.gettempdir()}: {error}; "
            "make room there, or name another folder in TMPDIR"
        ) from error

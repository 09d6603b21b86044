"""Keeps what a listing says of millions of blobs on disk, to be asked by name, in bounded memory.

Two listings of the same blobs need not come in the same order: a flat account sorts by UTF-16 units,
a hierarchical one by path segment. So they are compared by name and never side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from shared.model import Entry, IndexedBlob
from shared.temporary_database import NAMES_PER_QUERY, TemporaryDatabase, key_of, marks, name_of, parts


class ListingIndex(TemporaryDatabase):
    """Blobs by name. One that is added twice holds what was added last."""

    tables: ClassVar[tuple[str, ...]] = (
        "CREATE TABLE blobs (name BLOB PRIMARY KEY, size INTEGER NOT NULL, md5 TEXT, blob_type TEXT NOT NULL,"
        " last_modified TEXT NOT NULL) WITHOUT ROWID",
    )

    def add_many(self, entries: Iterable[Entry]) -> None:
        """Adds a listing's live blobs, in place of those of the same name."""
        self._change(
            "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?, ?)",
            ((key_of(one.name), one.size, one.md5, one.blob_type, one.last_modified) for one in entries),
        )

    def get(self, name: str) -> IndexedBlob | None:
        """The blob of this name; None when there is none."""
        return self.get_many([name]).get(name)

    def get_many(self, names: Sequence[str]) -> dict[str, IndexedBlob]:
        """The blobs of these names, as far as there are any."""
        found = {}
        for part in parts(names):
            rows = self._database.execute(
                f"SELECT name, size, md5, blob_type, last_modified FROM blobs WHERE name IN ({marks(part)})",  # noqa: S608 -- question marks alone
                part,
            )
            for row in rows:
                blob = _blob(row)
                found[blob.name] = blob
        return found

    def remove_many(self, names: Sequence[str]) -> None:
        """Forgets these names; one that is not there is fine."""
        self._database.execute("BEGIN")
        for part in parts(names):
            self._database.execute(f"DELETE FROM blobs WHERE name IN ({marks(part)})", part)  # noqa: S608 -- question marks alone
        self._database.execute("COMMIT")

    def __iter__(self) -> Iterator[IndexedBlob]:
        """All blobs, in the order of their names' UTF-8 bytes. Nothing may be added or removed meanwhile."""
        rows = self._database.execute("SELECT name, size, md5, blob_type, last_modified FROM blobs ORDER BY name")
        return map(_blob, rows)

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM blobs").fetchone()[0])


class FolderIndex(TemporaryDatabase):
    """The folders of a container's backups, each struck out as the blob whose versions it holds is seen.

    Beside them stand the blobs that are recorded as gone: from when on, and whether they were back. Such a one
    is known by its folder, or by any of the folders that its versions can have; the first of them is its own.
    """

    tables: ClassVar[tuple[str, ...]] = (
        "CREATE TABLE folders (folder BLOB PRIMARY KEY, newest TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE gone (folder BLOB PRIMARY KEY, own INTEGER NOT NULL, first_missed TEXT NOT NULL,"
        " seen_at TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE kept (folder BLOB PRIMARY KEY) WITHOUT ROWID",
        "CREATE TABLE struck (folder BLOB PRIMARY KEY) WITHOUT ROWID",
    )
    struck_any = False

    def add_many(self, backups: Iterable[tuple[str, str]]) -> None:
        """Adds backups as (folder, name in it); of each folder the greatest name is held."""
        newest: dict[str, str] = {}
        for folder, name in backups:
            if name > newest.get(folder, ""):
                newest[folder] = name
        self._change(
            "INSERT INTO folders VALUES (?, ?) ON CONFLICT DO UPDATE SET newest = max(newest, excluded.newest)",
            ((key_of(folder), name) for folder, name in newest.items()),
        )

    def strike_out(self, folders: Sequence[str]) -> None:
        """Forgets these folders; one that is not there is fine."""
        self._change("DELETE FROM folders WHERE folder = ?", ((key_of(folder),) for folder in folders))

    def strike_out_for_good(self, folders: Sequence[str]) -> None:
        """Forgets these folders once all are added (`settle_struck`), whichever are added after this."""
        if folders:
            self.struck_any = True
            self._change("INSERT OR IGNORE INTO struck VALUES (?)", ((key_of(folder),) for folder in folders))

    def struck_among(self, folders: Sequence[str]) -> list[str]:
        """Which of these are struck out for good."""
        found = []
        for part in parts(folders):
            rows = self._database.execute(f"SELECT folder FROM struck WHERE folder IN ({marks(part)})", part)  # noqa: S608 -- question marks alone
            found += [name_of(folder) for (folder,) in rows]
        return found

    def settle_struck(self) -> None:
        """Forgets the folders that are struck out for good."""
        self._database.execute("DELETE FROM folders WHERE folder IN struck")

    def strike_out_all_but(self, folders: Iterable[str]) -> None:
        """Forgets all folders but these."""
        self._change("INSERT OR IGNORE INTO kept VALUES (?)", ((key_of(folder),) for folder in folders))
        self._database.execute("DELETE FROM folders WHERE folder NOT IN kept")
        self._database.execute("DELETE FROM kept")

    def parts(self) -> Iterator[list[tuple[str, str]]]:
        """The folders that are left, some hundreds at a time, with the greatest name in each.

        Whatever is changed between two parts, none that is left comes twice, or not at all.
        """
        last = b""
        while True:
            rows = self._database.execute(
                f"SELECT folder, newest FROM folders WHERE folder > ? ORDER BY folder LIMIT {NAMES_PER_QUERY}",  # noqa: S608 -- a number
                (last,),
            ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield [(name_of(folder), newest) for folder, newest in rows]

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM folders").fetchone()[0])

    def record_gone(self, blobs: Iterable[tuple[tuple[str, ...], str]]) -> None:
        """Records (folders of a blob, when it was first missed), in any order; the last time counts."""
        self._change(
            "INSERT INTO gone VALUES (?, ?, ?, '')"
            " ON CONFLICT DO UPDATE SET first_missed = max(first_missed, excluded.first_missed)",
            _rows(blobs),
        )

    def record_back(self, blobs: Iterable[tuple[tuple[str, ...], str]]) -> None:
        """Records (folders of a blob, when it was seen again), in any order; the last time counts."""
        self._change(
            "INSERT INTO gone VALUES (?, ?, '', ?) ON CONFLICT DO UPDATE SET seen_at = max(seen_at, excluded.seen_at)",
            _rows(blobs),
        )

    def gone_among(self, folders: Sequence[str]) -> dict[str, str]:
        """Which of these are recorded as gone and not back since: when each was first missed."""
        found = {}
        for part in parts(folders):
            rows = self._database.execute(
                f"SELECT folder, first_missed FROM gone WHERE first_missed > seen_at AND folder IN ({marks(part)})",  # noqa: S608 -- question marks alone
                part,
            )
            found.update({name_of(folder): first_missed for folder, first_missed in rows})
        return found

    def gone_count(self, since: str = "") -> int:
        """How many blobs are recorded as gone and not back; of those, how many were first missed since then."""
        count = "SELECT count(*) FROM gone WHERE own AND first_missed > seen_at AND first_missed >= ?"
        return int(self._database.execute(count, (since,)).fetchone()[0])


def _rows(blobs: Iterable[tuple[tuple[str, ...], str]]) -> Iterator[tuple[bytes, bool, str]]:
    for folders, second in blobs:
        for position, folder in enumerate(folders):
            yield key_of(folder), position == 0, second


def _blob(row: tuple[bytes, int, str | None, str, str]) -> IndexedBlob:
    name, size, md5, blob_type, last_modified = row
    return IndexedBlob(name_of(name), size, md5, blob_type, last_modified)

"""Keeps what a listing says of millions of blobs on disk, to be asked by name, in bounded memory.

Two listings of the same blobs need not come in the same order: a flat account sorts by UTF-16 units,
a hierarchical one by path segment. So they are compared by name and never side by side.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from shared.model import Entry, IndexedBlob

_NAMES_PER_QUERY = 500
"""Below the number of parameters that any SQLite takes in one statement (999 in old ones)."""

_CACHE_KIB = 16 * 1024


class ListingIndex:
    """Blobs by name, in a temporary file of their own that `close` removes.

    A name that is added twice holds what was added last. Not for more than one thread at a time.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is where the file is made; None for the system's temporary folder."""
        self._folder = tempfile.TemporaryDirectory(prefix="snapkeep-index-", dir=folder)
        # The file is read by nobody after a crash: a journal and flushes would only cost time.
        self._database = sqlite3.connect(
            Path(self._folder.name) / "names.sqlite", isolation_level=None, check_same_thread=False
        )
        for statement in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "PRAGMA locking_mode = EXCLUSIVE",
            f"PRAGMA cache_size = -{_CACHE_KIB}",
            "CREATE TABLE blobs (name BLOB PRIMARY KEY, size INTEGER NOT NULL, md5 TEXT, blob_type TEXT NOT NULL,"
            " last_modified TEXT NOT NULL) WITHOUT ROWID",
        ):
            self._database.execute(statement)

    def add_many(self, entries: Iterable[Entry]) -> None:
        """Adds a listing's live blobs, in place of those of the same name."""
        self._database.execute("BEGIN")
        self._database.executemany(
            "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?, ?)",
            ((_key(one.name), one.size, one.md5, one.blob_type, one.last_modified) for one in entries),
        )
        self._database.execute("COMMIT")

    def get(self, name: str) -> IndexedBlob | None:
        """The blob of this name; None when there is none."""
        return self.get_many([name]).get(name)

    def get_many(self, names: Sequence[str]) -> dict[str, IndexedBlob]:
        """The blobs of these names, as far as there are any."""
        found = {}
        for part in _parts(names):
            rows = self._database.execute(
                f"SELECT name, size, md5, blob_type, last_modified FROM blobs WHERE name IN ({_marks(part)})",  # noqa: S608 -- question marks alone
                part,
            )
            for row in rows:
                blob = _blob(row)
                found[blob.name] = blob
        return found

    def remove_many(self, names: Sequence[str]) -> None:
        """Forgets these names; one that is not there is fine."""
        self._database.execute("BEGIN")
        for part in _parts(names):
            self._database.execute(f"DELETE FROM blobs WHERE name IN ({_marks(part)})", part)  # noqa: S608 -- question marks alone
        self._database.execute("COMMIT")

    def __iter__(self) -> Iterator[IndexedBlob]:
        """All blobs, in the order of their names' UTF-8 bytes. Nothing may be added or removed meanwhile."""
        rows = self._database.execute("SELECT name, size, md5, blob_type, last_modified FROM blobs ORDER BY name")
        return map(_blob, rows)

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM blobs").fetchone()[0])

    def close(self) -> None:
        """Removes the file. Closing twice is fine."""
        self._database.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


def _key(name: str) -> bytes:
    # Bytes, since SQLite's text ends at U+0000 for some of its functions; a name is compared byte by byte.
    return name.encode("utf-8", "surrogatepass")


def _blob(row: tuple[bytes, int, str | None, str, str]) -> IndexedBlob:
    name, size, md5, blob_type, last_modified = row
    return IndexedBlob(name.decode("utf-8", "surrogatepass"), size, md5, blob_type, last_modified)


def _parts(names: Sequence[str]) -> Iterator[list[bytes]]:
    for start in range(0, len(names), _NAMES_PER_QUERY):
        yield [_key(name) for name in names[start : start + _NAMES_PER_QUERY]]


def _marks(part: Sequence[bytes]) -> str:
    return ",".join("?" * len(part))

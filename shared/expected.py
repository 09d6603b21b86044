"""Keeps on disk which backups there should be, to be struck off one by one as they are found, in bounded memory.

As in `shared.index`, two listings are compared by name, whatever order each of them comes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from shared.model import Version
from shared.temporary_database import TemporaryDatabase, key_of, marks, name_of, parts


class Need(StrEnum):
    """Whether a version's backup must be there."""

    REQUIRED = "required"
    UNPROTECTABLE = "unprotectable"
    """It cannot be made as things are, which is the coverage report's business."""
    OPTIONAL = "optional"
    """The settings ask for none: an older version, with SNAPKEEP_HISTORY=current."""


class Expected(NamedTuple):
    """A version that the source account holds, and what its backup must therefore be.

    Attributes:
        backup: the name of the backup.
        snapshot: where the version can be read in the source: the snapshot's timestamp; None for the live blob.
        tier: of that place.
        md5: the source's Content-MD5, where it has one.
    """

    backup: str
    name: str
    etag: str
    last_modified: str
    size: int
    md5: str | None
    blob_type: str
    snapshot: str | None
    tier: str
    need: Need

    @property
    def version(self) -> Version:
        return Version(self.name, self.etag, self.last_modified, self.size)


class ExpectedBackups(TemporaryDatabase):
    """Expected backups by name."""

    tables = (
        "CREATE TABLE expected (backup BLOB PRIMARY KEY, name BLOB NOT NULL, etag TEXT NOT NULL,"
        " last_modified TEXT NOT NULL, size INTEGER NOT NULL, md5 TEXT, blob_type TEXT NOT NULL, snapshot TEXT,"
        " tier TEXT NOT NULL, need TEXT NOT NULL, found INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
    )

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder)
        self._has_content_index = False

    def add_many(self, expected: Iterable[Expected]) -> None:
        """Adds versions, in place of those whose backup has the same name."""
        self._change(
            "INSERT OR REPLACE INTO expected VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            ((key_of(one.backup), key_of(one.name), *one[2:-1], one.need.value) for one in expected),
        )

    def strike_off(self, names: Sequence[str]) -> dict[str, Expected]:
        """What the backups of these names must be, as far as they are expected; they are not missing then."""
        found = {}
        for part in parts(names):
            self._database.execute(f"UPDATE expected SET found = 1 WHERE backup IN ({marks(part)})", part)  # noqa: S608 -- question marks alone
            for row in self._database.execute(f"SELECT * FROM expected WHERE backup IN ({marks(part)})", part):  # noqa: S608 -- as above
                one = _expected(row)
                found[one.backup] = one
        return found

    def missing(self) -> Iterator[Expected]:
        """Those that were not found, in the order of their names' UTF-8 bytes. Nothing may be added meanwhile."""
        return map(_expected, self._database.execute("SELECT * FROM expected WHERE found = 0 ORDER BY backup"))

    def with_content(self, size: int, md5: str, other_than: str) -> Expected | None:
        """A version with this content, by its Content-MD5, and another backup than `other_than`."""
        if not self._has_content_index:  # which only a damaged backup asks for: most runs do without
            self._database.execute("CREATE INDEX content ON expected (md5, size)")
            self._has_content_index = True
        row = self._database.execute(
            "SELECT * FROM expected WHERE md5 = ? AND size = ? AND backup <> ? LIMIT 1", (md5, size, key_of(other_than))
        ).fetchone()
        return None if row is None else _expected(row)


def _expected(row: tuple[Any, ...]) -> Expected:
    backup, name, *values, need, _found = row
    return Expected._make((name_of(backup), name_of(name), *values, Need(need)))

"""A database in a temporary file: where listings of millions of blobs are kept while they are compared by name."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

NAMES_PER_QUERY = 500
"""Below the number of parameters that any SQLite takes in one statement (999 in old ones)."""

_CACHE_KIB = 16 * 1024


class TemporaryDatabase:
    """A file of its own, that `close` removes. Not for more than one thread at a time.

    Attributes:
        tables: the statements that make them.
    """

    tables: ClassVar[tuple[str, ...]]

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
            *self.tables,
        ):
            self._database.execute(statement)

    def _change(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        self._database.execute("BEGIN")
        try:
            self._database.executemany(statement, rows)
        finally:
            self._database.execute("COMMIT")  # without a journal there is no way back

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


def key_of(name: str) -> bytes:
    """A name as it is stored and compared: byte by byte. SQLite's text ends at U+0000 for some of its functions."""
    return name.encode("utf-8", "surrogatepass")


def name_of(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")


def parts(names: Sequence[str]) -> Iterator[list[bytes]]:
    """The keys of these names, as many at a time as one statement takes."""
    for start in range(0, len(names), NAMES_PER_QUERY):
        yield [key_of(name) for name in names[start : start + NAMES_PER_QUERY]]


def marks(part: Sequence[bytes]) -> str:
    """The question marks that stand for these keys in a statement."""
    return ",".join("?" * len(part))

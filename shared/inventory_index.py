"""Compares the inventories of both accounts on disk, in a bounded amount of memory (`shared.decisions.inventory_sql`).

A merge needs an order that inventories do not have, and SQLite, which holds one container's listing at a time, takes
many minutes for what DuckDB does in seconds on all cores. DuckDB fetches no extension: Parquet is built in.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import duckdb

from shared.containers import backup_container
from shared.decisions import inventory_sql as sql
from shared.decisions.inventory import REQUIRED, Side, field_in
from shared.errors import InventoryUnusable
from shared.model import Entry, second_of

ARCHIVED_NAMED = 1000
"""How many archived versions of each container are named; all are counted."""


class Totals(NamedTuple):
    """What the inventories tell of one container.

    Attributes:
        archived: versions that have no backup and cannot be read; the oldest of them is of `oldest_archived`.
        candidates: versions that are to be looked at.
        of_the_day: protected versions out of which those to prove were drawn.
    """

    blobs: int
    versions: int
    protected: int
    archived: int
    candidates: int
    oldest_archived: str | None
    of_the_day: int


class Candidate(NamedTuple):
    """A blob that is to be looked at, or several whose names have one hash; the counts are in the totals already."""

    container: str
    names: tuple[str, ...]
    blobs: int
    versions: int
    protected: int
    archived: int


class Named(StrEnum):
    """Why a version is named, that is else only counted."""

    TO_PROVE = "to prove"
    TO_RESTORE = "to restore"
    ARCHIVED = "archived"


class InventoryIndex:
    """Two inventories in a folder of their own. Not for more than one thread at a time."""

    def __init__(self, folder: Path, *, memory_mb: int, threads: int | None = None) -> None:
        """`threads`: as many as there are cores unless given."""
        self._folder = folder
        self._files: dict[Side, list[Path]] = {side: [] for side in Side}
        self._columns: dict[Side, dict[str, str]] = {}
        self._containers: dict[int, str] = {}
        self._history: Literal["all", "current"] = "all"
        config: dict[str, Any] = {
            "memory_limit": f"{memory_mb}MB",
            "temp_directory": str(folder / "spilled"),
            "preserve_insertion_order": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
        if threads is not None:
            config["threads"] = threads
        self._database = duckdb.connect(str(folder / "compared.duckdb"), config=config)

    def add(self, side: Side, path: Path, form: Literal["csv", "parquet"]) -> int:
        """Takes a part file, and gives how many rows it has. One of CSV is rewritten, in less room, and removed.

        Raises:
            InventoryUnusable: it cannot be read.
        """
        if form == "csv":
            path = self._rewritten(path)
        self._files[side].append(path)
        return self._number(f"SELECT sum(num_rows) FROM parquet_file_metadata('{path}')")

    def _rewritten(self, path: Path) -> Path:
        with path.open(encoding="utf-8", newline="") as file:
            header = next(csv.reader(file), [])
        rewritten = path.with_suffix(".parquet")
        rows = sql.only_needed(sql.csv(str(path), header), header)
        self._do(f"COPY ({rows}) TO '{rewritten}' (FORMAT parquet)")
        path.unlink()
        return rewritten

    def compare(
        self,
        containers: Sequence[str],
        history: Literal["all", "current"],
        draw: sql.Draw = sql.Draw(),  # noqa: B008 -- a tuple
    ) -> None:
        """Compares what the inventories hold of these source containers and their backups.

        Args:
            draw: which protected versions `named` gives.

        Raises:
            InventoryUnusable: a file cannot be read, lacks a column, or there is no room on the disk.
        """
        self._containers, self._history = dict(enumerate(containers)), history
        self._do("CREATE OR REPLACE TABLE containers (id INTEGER, name VARCHAR, backup VARCHAR)")
        if containers:
            rows = [[number, name, backup_container(name)] for number, name in self._containers.items()]
            self._database.executemany("INSERT INTO containers VALUES (?, ?, ?)", rows)
        for side in Side:
            self._columns[side] = self._described(side)
        by_etag = field_in(self._columns[Side.SOURCE], "Etag") is not None
        backup = sql.backup_keys(self._rows(Side.BACKUP), self._columns[Side.BACKUP], by_etag=by_etag)
        versions = sql.versions(self._source(), backup, history)
        self._do(f"CREATE OR REPLACE TABLE found AS {sql.totals(versions, draw)}")

    def _rows(self, side: Side) -> str:
        return sql.parquet([str(path) for path in self._files[side]])

    def _source(self) -> str:
        return sql.source_keys(self._rows(Side.SOURCE), self._columns[Side.SOURCE])

    def _described(self, side: Side) -> dict[str, str]:
        found = {name: kind for name, kind, *_ in self._all(f"DESCRIBE SELECT * FROM {self._rows(side)}")}
        missing = [name for name in REQUIRED[side] if field_in(found, name) is None]
        if missing:
            raise InventoryUnusable(f"the {side} account's inventory lacks the column {', '.join(missing)}")
        return found

    def totals(self) -> dict[str, Totals]:
        """Each container that the source's inventory knows."""
        rows = self._all(
            "SELECT container, sum(live), sum(versions), sum(protected), sum(archived), sum(candidates),"
            " make_timestamp(min(oldest)::BIGINT * 1000000), sum(of_the_day) FROM found GROUP BY container"
        )
        return {
            self._containers[container]: Totals(
                int(live), int(versions), int(protected), int(archived), int(candidates), _second(oldest), int(day)
            )
            for container, live, versions, protected, archived, candidates, oldest, day in rows
        }

    def candidates(self, at_most: int) -> Iterator[list[Candidate]]:
        """The blobs that are to be looked at, as many at a time as were asked for; each time all names are read.

        Nothing else may be asked for meanwhile.
        """
        last = -1
        while True:
            self._do(
                "CREATE OR REPLACE TABLE picked AS SELECT blob FROM found"
                f" WHERE candidates > 0 AND blob > {last} ORDER BY blob LIMIT {at_most}"
            )
            last = self._number("SELECT max(blob) FROM picked")
            if not last:
                return
            yield self._candidates()

    def _candidates(self) -> list[Candidate]:
        self._pick("container, blob, version, blob_name, snapshot IS NULL AS live", "blob IN (SELECT blob FROM picked)")
        rows = self._all("""
            SELECT container, names, rows.live, rows.versions, found.versions, found.archived
            FROM (
                SELECT container, blob, list(DISTINCT blob_name) AS names, count(DISTINCT version) AS versions,
                    count(DISTINCT version) FILTER (live) AS live
                FROM rows GROUP BY container, blob
            ) AS rows JOIN found USING (container, blob)""")
        found = []
        for number, names, live, versions, unprotected, archived in rows:
            container = self._containers[number]
            if self._history == "current":
                versions = live
            blobs = tuple(sorted(name[len(container) + 1 :] for name in names))
            found.append(Candidate(container, blobs, live, versions, versions - unprotected, archived))
        return found

    def named(self) -> Iterator[tuple[Named, str, Entry]]:
        """The protected versions that were drawn, and some of the archived ones, each with its container.

        None where there are no ETags: a version is not told from another then.
        """
        if field_in(self._columns[Side.SOURCE], "Etag") is None:
            return
        self._do(f"""
            CREATE OR REPLACE TABLE picked AS
            SELECT '{Named.TO_PROVE}' AS why, one.blob AS blob, one.version AS version
            FROM (SELECT unnest(to_prove::STRUCT(blob UBIGINT, version UBIGINT)[]) AS one FROM found)
            UNION ALL
            SELECT '{Named.TO_RESTORE}', one.blob, one.version
            FROM (SELECT unnest(to_restore::STRUCT(blob UBIGINT, version UBIGINT)[]) AS one FROM found)
            UNION ALL
            SELECT '{Named.ARCHIVED}', blob, NULL FROM (
                SELECT blob, row_number() OVER (PARTITION BY container) AS number FROM found
                WHERE archived > 0 AND candidates = 0
            ) WHERE number <= {ARCHIVED_NAMED}""")
        if not self._number("SELECT count(*) FROM picked"):
            return
        self._pick("*", "blob IN (SELECT blob FROM picked)")
        found = self._all(f"""
            SELECT why, container, arg_min(row, coalesce(snapshot, '')) FROM (
                SELECT why, container, rows.blob, rows.version, snapshot, {{
                    'name': blob_name, 'snapshot': snapshot, 'etag': etag, 'modified': modified, 'size': size,
                    'md5': md5, 'type': blob_type, 'tier': tier}} AS row
                FROM rows JOIN picked ON rows.blob = picked.blob AND (
                    rows.version = picked.version OR (why = '{Named.ARCHIVED}' AND rows.tier = 'Archive'))
            ) GROUP BY why, container, blob, version""")
        for why, number, row in found:
            container = self._containers[number]
            yield Named(why), container, _entry(row, container)

    def _pick(self, columns: str, condition: str) -> None:
        """Puts some of the source's rows into a table."""
        self._do(f"CREATE OR REPLACE TABLE rows AS SELECT {columns} FROM ({self._source()}) WHERE {condition}")

    def _number(self, query: str) -> int:
        return int(self._all(query)[0][0] or 0)

    def _all(self, query: str) -> list[tuple[Any, ...]]:
        with _errors(self._folder):
            return self._database.execute(query).fetchall()

    def _do(self, statement: str) -> None:
        with _errors(self._folder):
            self._database.execute(statement)

    def interrupt(self) -> None:
        """Ends what another thread has DuckDB do; that thread gets an error."""
        self._database.interrupt()

    def close(self) -> None:
        """Lets go of the files. Closing twice is fine."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


def _entry(row: dict[str, Any], container: str) -> Entry:
    return Entry(
        row["name"][len(container) + 1 :],
        row["snapshot"],
        row["etag"],
        _second(row["modified"]) or "",
        row["size"],
        row["md5"],
        row["type"] or "BlockBlob",
        row["tier"] or "",
    )


def _second(moment: datetime | None) -> str | None:
    return second_of(moment.replace(tzinfo=UTC)) if moment is not None else None


@contextmanager
def _errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise InventoryUnusable(
            f"the inventories could not be compared in {folder.parent}: {_line(error)}; make room there, name another "
            "folder in TMPDIR, or allow more memory with SNAPKEEP_INVENTORY_MEMORY_MB"
        ) from error
    except duckdb.Error as error:
        raise InventoryUnusable(f"an inventory is not understood: {_line(error)}") from error


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]

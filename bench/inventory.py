"""Synthetic Blob Inventories of both accounts, and how long it takes to compare them.

`python -m bench.inventory generate DIR --rows 1e8` writes, within minutes, what the service would: part files of a
million rows under `<account>/YYYY/MM/DD/HH-MM-SS/<rule>/`, each set with its manifest. `compare DIR` times the
comparison that `reconcile --from-inventory` makes of them, from files on disk, and checks its result against what
was generated.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import click
import duckdb

from bench.case import Case, Plan
from bench.measure import VoidError
from bench.report import Goal, goals, plain_table
from local.processes import Child
from shared.decisions.inventory import Manifest, Side, parse_manifest
from shared.inventory_index import InventoryIndex

Format = Literal["parquet", "csv"]

RULE = "snapkeep"
STARTED = "2026/11/20/00-10-00"
PART_ROWS = 1_000_000
CONTAINERS = ("lake", "logs", "raw")
MEMORY_MB = 2048
GENERATED = "generated.json"
GOAL_SECONDS = {10_000_000: 10.0, 100_000_000: 90.0}
LACKS_SNAPSHOT = 1_000_003
LACKS_BACKUP = 1_000_033
"""Of so many blobs one has changed since its last snapshot, or lacks the backup of its current version."""


@dataclass(frozen=True)
class Generated:
    """What stands in a pair of inventories, and so what a comparison must find."""

    source_rows: int
    backup_rows: int
    blobs: int
    versions: int
    protected: int
    seconds: float


@dataclass(frozen=True)
class Shape:
    """How many blobs there are, and how many snapshots of each: what `rows` and the share of snapshots come to."""

    blobs: int
    snapshots: int
    seed: int

    @classmethod
    def of(cls, rows: int, share: float, seed: int) -> Shape:
        snapshots = max(1, round(share / (1 - share)))
        return cls(rows // (1 + snapshots), snapshots, seed)

    @property
    def source_rows(self) -> int:
        return self.blobs * (1 + self.snapshots) - self.unsnapshotted

    @property
    def backup_rows(self) -> int:
        """One of each version with a snapshot, and of an older one of each blob, whose snapshot is gone."""
        return self.blobs * (1 + self.snapshots) - self.unbacked

    @property
    def unsnapshotted(self) -> int:
        return -(-self.blobs // LACKS_SNAPSHOT)

    @property
    def unbacked(self) -> int:
        return -(-(self.blobs - 1) // LACKS_BACKUP)

    @property
    def versions(self) -> int:
        return self.blobs * self.snapshots

    @property
    def protected(self) -> int:
        return self.versions - self.unsnapshotted - self.unbacked

    def source_rows_of(self, first: int, last: int) -> str:
        """The rows of blobs `first` to `last`: each live, and its snapshots, the newest of the live blob's version."""
        return f"""
            SELECT container || '/' || name AS "Name", etag AS "Etag", modified AS "Last-Modified",
                size AS "Content-Length", md5 AS "Content-MD5", 'BlockBlob' AS "BlobType", 'Hot' AS "AccessTier",
                CASE WHEN version >= 0 THEN '2026-11-' || lpad((19 - version % 18)::VARCHAR, 2, '0')
                    || 'T02:31:00.1234567Z' END AS "Snapshot"
            FROM ({self._versions(first, last, -1, self.snapshots)})
            WHERE NOT (version = 0 AND i % {LACKS_SNAPSHOT} = 0)"""

    def backup_rows_of(self, first: int, last: int) -> str:
        return f"""
            SELECT container || 'bak/' || name || '/' || strftime(modified, '%Y%m%dT%H%M%SZ-') || etag || '.parquet'
                AS "Name", '0x8DF' || right(etag, 12) AS "Etag", modified + INTERVAL 1 HOUR AS "Last-Modified",
                size AS "Content-Length", md5 AS "Content-MD5", 'BlockBlob' AS "BlobType", 'Cool' AS "AccessTier"
            FROM ({self._versions(first, last, 0, self.snapshots + 1)})
            WHERE NOT (version = 0 AND i % {LACKS_BACKUP} = 1)"""

    def _versions(self, first: int, last: int, oldest: int, newest: int) -> str:
        """Version -1 is the live blob: the same content as version 0."""
        return f"""
            SELECT i, version,
                (['{"', '".join(CONTAINERS)}'])[1 + i % {len(CONTAINERS)}] AS container,
                'sales/year=' || (2015 + i % 12) || '/month=' || (1 + i % 97 % 12) || '/part-' || i || '.snappy.parquet'
                    AS name,
                '0x8DE' || substr(hex(h | (1::UBIGINT << 60)), 2, 12) AS etag,
                make_timestamp(((1600000000 + (h % 100000000)::BIGINT) * 1000000)::BIGINT) AS modified,
                (h % 1000000007)::BIGINT AS size,
                substr(hex(h2 | (1::UBIGINT << 60)), 1, 10) || substr(hex(h | (1::UBIGINT << 60)), 2, 11) || 'A=='
                    AS md5
            FROM (
                SELECT i, version, hash(i * 64 + greatest(version, 0), {self.seed}) AS h,
                    hash(i, greatest(version, 0)) AS h2
                FROM range({first}, {last}) AS blobs(i), range({oldest}, {newest}) AS versions(version)
            )"""


def generate(folder: Path, rows: int, share: float, form: Format, seed: int) -> Generated:
    """Writes a pair of inventories of about `rows` rows each.

    Args:
        share: of the source's rows that are snapshots.
        seed: another one gives other sizes, times and ETags.
    """
    shape, began = Shape.of(rows, share, seed), time.monotonic()
    with duckdb.connect(config={"memory_limit": "2GB", "preserve_insertion_order": "false"}) as database:
        for side, made, count in (
            ("source", shape.source_rows_of, shape.source_rows),
            ("backup", shape.backup_rows_of, shape.backup_rows),
        ):
            place = folder / side / STARTED / RULE
            place.mkdir(parents=True)
            options = "FORMAT parquet, COMPRESSION snappy" if form == "parquet" else "FORMAT csv, HEADER"
            blobs = max(1, PART_ROWS // (1 + shape.snapshots))
            for number, first in enumerate(range(0, shape.blobs, blobs)):
                part = place / f"{RULE}_{PART_ROWS}_{number}.{form}"
                query = made(first, min(first + blobs, shape.blobs))
                if form == "csv":
                    query = f"""SELECT * REPLACE (strftime("Last-Modified", '%Y-%m-%dT%H:%M:%SZ') AS "Last-Modified")
                        FROM ({query})"""
                database.execute(f"COPY ({query}) TO '{part}' ({options})")
            manifest = _manifest(folder / side, side, place, form, count)
            (place / f"{RULE}-manifest.json").write_text(json.dumps(manifest, indent=1))
    return Generated(
        shape.source_rows,
        shape.backup_rows,
        shape.blobs,
        shape.versions,
        shape.protected,
        round(time.monotonic() - began, 1),
    )


def _manifest(root: Path, side: str, place: Path, form: str, rows: int) -> dict[str, Any]:
    fields = ["Name", "Etag", "Last-Modified", "Content-Length", "Content-MD5", "BlobType", "AccessTier"]
    return {
        "destinationContainer": "inventory",
        "endpoint": f"https://{side}.blob.core.windows.net",
        "files": [
            {"blob": path.relative_to(root).as_posix(), "size": path.stat().st_size}
            for path in sorted(place.iterdir())
            if path.suffix == f".{form}"
        ],
        "inventoryStartTime": "2026-11-20T00:10:00Z",
        "inventoryCompletionTime": "2026-11-20T01:10:00Z",
        "ruleDefinition": {
            "filters": {"blobTypes": ["blockBlob", "appendBlob", "pageBlob"], "includeSnapshots": side == "source"},
            "format": form,
            "objectType": "blob",
            "schedule": "daily",
            "schemaFields": [*fields, "Snapshot"] if side == "source" else fields,
        },
        "ruleName": RULE,
        "status": "Succeeded",
        "summary": {"objectCount": rows},
        "version": "1.0",
    }


@dataclass(frozen=True)
class Compared:
    """One timed comparison. `candidates` are the blobs that are to be looked at."""

    rows: int
    wall_seconds: float
    cpu_seconds: float
    peak_rss_mb: int
    versions: int
    protected: int
    candidates: int


def compare(folder: Path, memory_mb: int = MEMORY_MB, threads: int | None = None) -> Compared:
    """Compares a pair of inventories on disk, as `reconcile --from-inventory` does once it has fetched them."""
    with tempfile.TemporaryDirectory(prefix="bench-inventory-", dir=folder) as scratch:
        wall, cpu = time.perf_counter(), _cpu_seconds()
        with InventoryIndex(Path(scratch), memory_mb=memory_mb, threads=threads) as index:
            rows = 0
            for side in Side:
                manifest, files = _inventory(folder / side)
                for number, path in enumerate(files):
                    linked = Path(scratch) / f"{side}-{number}{path.suffix}"  # the index removes CSV files
                    linked.hardlink_to(path)
                    rows += index.add(side, linked, manifest.format)
            index.compare(CONTAINERS, history="all")
            found = index.totals()
            wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
            candidates = sum(one.candidates for one in found.values())
    return Compared(
        rows,
        round(wall, 2),
        round(cpu, 2),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        sum(one.versions for one in found.values()),
        sum(one.protected for one in found.values()),
        candidates,
    )


def _inventory(root: Path) -> tuple[Manifest, list[Path]]:
    [path] = root.rglob("*-manifest.json")
    manifest = parse_manifest(json.loads(path.read_text()), str(path))
    return manifest, [root / part.blob for part in manifest.files]


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


def check(folder: Path, compared: Compared) -> Iterator[str]:
    """In what a comparison differs from what was generated."""
    generated = Generated(**json.loads((folder / GENERATED).read_text()))
    expected = {
        "rows": generated.source_rows + generated.backup_rows,
        "versions": generated.versions,
        "protected": generated.protected,
        "candidates": generated.versions - generated.protected,
    }
    for name, value in expected.items():
        if getattr(compared, name) != value:
            yield f"{name}: {getattr(compared, name):,}, not {value:,}"


async def measure(plan: Plan) -> str:
    """Generates pairs of inventories, and has a process of its own compare each in every round."""
    found = {rows: await _compared(plan, rows) for rows in (plan.sizes["rows"], plan.sizes["many_rows"])}
    cells = [
        [f"{rows:,}", f"{one.wall_seconds}", f"{one.cpu_seconds}", f"{one.peak_rss_mb:,}", f"{one.candidates:,}"]
        for rows, series in found.items()
        for one in series
    ]
    shown = plain_table(["rows of each account", "wall s", "CPU s", "most memory, MB", "blobs to be looked at"], cells)
    reached = [
        Goal(
            f"seconds for {rows:,} rows of each account",
            statistics.median(one.wall_seconds for one in series),
            at_most=GOAL_SECONDS[rows],
        )
        for rows, series in found.items()
        if rows in GOAL_SECONDS
    ]
    return (
        "Two inventories of as many rows each, Parquet, half of the source's rows snapshots, compared as "
        f"`reconcile --from-inventory` does once it has fetched them; DuckDB's memory limit is {MEMORY_MB:,} MB.\n\n"
        f"{shown}\n\n{goals(reached)}"
    ).strip()


async def _compared(plan: Plan, rows: int) -> list[Compared]:
    found = []
    with tempfile.TemporaryDirectory(prefix="bench-inventory-") as scratch:
        plan.say(f"generating two inventories of {rows:,} rows")
        _generate_to(Path(scratch), rows)
        for _ in range(plan.rounds):
            found.append(await _compare_alone(Path(scratch)))
            plan.say(f"{found[-1]}")
    return found


def _generate_to(folder: Path, rows: int) -> None:
    generated = generate(folder, rows, 0.5, "parquet", 1)
    (folder / GENERATED).write_text(json.dumps(asdict(generated)))


async def _compare_alone(folder: Path) -> Compared:
    """Compares in a process of its own: its memory is that of the comparison. Raises VoidError when it is wrong."""
    child = await Child.start(
        [sys.executable, "-m", "bench.inventory", "compare", "--json", str(folder)],
        environment=os.environ,
        stdout=asyncio.subprocess.PIPE,
    )
    output = (await child.stdout.read()).decode()
    if await child.wait():
        raise VoidError(f"comparing two inventories: {output[-500:]}")
    return Compared(**json.loads(output))


CASE = Case(
    "inventory",
    "Comparing Blob Inventories",
    {"rows": 10_000_000, "many_rows": 100_000_000},
    {"rows": 300_000, "many_rows": 1_000_000},
    measure,
)


@click.group()
def main() -> None:
    """Synthetic Blob Inventories."""


@main.command("generate")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--rows", default=1e7, show_default=True, help="Rows of each inventory.")
@click.option("--snapshots", default=0.5, show_default=True, help="The share of the source's rows that are snapshots.")
@click.option("--format", "form", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True)
@click.option("--seed", default=1, show_default=True)
def generate_command(folder: Path, rows: float, snapshots: float, form: Format, seed: int) -> None:
    """Write a pair of inventories to FOLDER."""
    generated = generate(folder, int(rows), snapshots, form, seed)
    (folder / GENERATED).write_text(json.dumps(asdict(generated)))
    print(generated)


@main.command("compare")
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--memory-mb", default=MEMORY_MB, show_default=True)
@click.option("--threads", type=int, help="Default: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone, where it is as generated.")
def compare_command(folder: Path, memory_mb: int, threads: int | None, as_json: bool) -> None:
    """Compare the inventories of FOLDER, and tell how long it took."""
    compared = compare(folder, memory_mb, threads)
    wrong = list(check(folder, compared))
    if as_json and not wrong:
        print(json.dumps(asdict(compared)))
    else:
        print(compared)
        print("\n".join(wrong) or "as generated")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

"""The comparison of two inventories: it comes to what listings of the same blobs come to, whatever they hold."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.containers import backup_container
from shared.decisions.changes import Group, grouped
from shared.decisions.coverage import Coverage, coverage
from shared.decisions.inventory import Side
from shared.decisions.inventory_sql import Draw
from shared.decisions.names import backup_name
from shared.decisions.reporting import ContainerReport
from shared.errors import InventoryUnusable
from shared.inventory_index import Candidate, InventoryIndex, Named, Totals
from shared.model import ARCHIVE, Entry, IndexedBlob, Reason
from tests.inventories import FIELDS, Form, row, write_file
from tests.names import HARD_NAMES

CONTAINER = "raw"
MD5S = (None, "1B2M2Y8AsgTpgAmY7PhCfg==", "CY9rzUYh03PK3k6DJie09g==")
FORMS: tuple[Form, ...] = ("csv", "parquet", "parquet of numbers")
History = Literal["all", "current"]
Blobs = dict[str, tuple[list[tuple[str, str, str, str | None]], str]]
"""Of each name its versions, oldest first (where, backup, tier, MD5), and what is odd about the blob."""


@dataclass
class World:
    """What stands in the two accounts: entries of the source, and blobs of the backup container by name."""

    source: list[Entry] = field(default_factory=list)
    backups: dict[str, IndexedBlob] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)

    def back_up(self, entry: Entry, **changes: object) -> None:
        name = backup_name(entry.version)
        made = IndexedBlob(name, entry.size, entry.md5, entry.blob_type, "2026-11-20T15:00:00Z")
        self.backups[name] = made._replace(**changes)  # type: ignore[arg-type]

    def coverage(self, name: str, history: History) -> Coverage:
        return coverage(self.group(name), self.backups, history)

    def group(self, name: str) -> Group:
        return grouped([entry for entry in self.source if entry.name == name])

    def reported(self, history: History) -> ContainerReport:
        """What a reconciliation that lists comes to."""
        report = ContainerReport(CONTAINER)
        for name in {entry.name for entry in self.source}:
            report.blobs += self.group(name).blob is not None
            report.add(self.coverage(name, history))
        return report


VERSION = st.tuples(
    st.sampled_from(["live", "snapshot", "both", "both"]),
    st.sampled_from(["none", "good", "good", "good", "other size", "other md5", "other second"]),
    st.sampled_from(["", "Hot", ARCHIVE]),
    st.sampled_from([None, None, None, *MD5S]),
)
NAME = (
    st.sampled_from([name for name in HARD_NAMES.values() if not set(name.split("/")) & {".", ".."}])
    | st.text(st.sampled_from("ab./ -é😀,\"'\n"), min_size=1, max_size=12)
    | st.builds(
        lambda stem, length: stem * length + ".csv", st.sampled_from(["n", "é", "😀", "a/"]), st.integers(100, 600)
    )
).filter(lambda name: not set(name.split("/")) & {".", ".."} and not name.startswith(".snapkeep/"))
BLOBS = st.dictionaries(
    NAME,
    st.tuples(st.lists(VERSION, min_size=1, max_size=3), st.sampled_from(["", "", "", "", "key", "half", "folder"])),
    min_size=1,
    max_size=12,
)
FOREIGN = st.lists(
    st.sampled_from(
        ["mirrored.csv", "a/20261120T140501Z-0x1.other", "a/20261120T140501Z", "x/y", "20261120T140501Z-0x1"]
    )
)


def world_of(blobs: Blobs, foreign: Sequence[str]) -> World:
    """A world of these blobs, in which no version's ETag comes twice."""
    world, numbers = World(foreign=list(foreign)), count(1)
    for name, (versions, odd) in blobs.items():
        if odd == "folder":
            versions = versions[-1:]
        newest = len(versions) - 1
        for position, (where, backup, tier, md5) in enumerate(versions):
            number = next(numbers)
            entry = Entry(
                name, None, f"0x{number:X}", f"2026-11-20T14:{number // 60 % 60:02}:{number % 60:02}Z", number, md5
            )
            entry = entry._replace(tier=tier)
            is_live = position == newest and where != "snapshot"
            if odd and position == newest:  # nothing was ever done with such a blob
                world.source.append(
                    entry._replace(customer_key=odd == "key", half=odd == "half", directory=odd == "folder", size=0)
                )
                continue
            if is_live:
                world.source.append(entry)
            if where != "live" or not is_live:
                world.source.append(entry._replace(snapshot=f"2026-11-20T15:00:00.{number:07}Z"))
            if backup == "good":
                world.back_up(entry)
            elif backup == "other size":
                world.back_up(entry, size=entry.size + 1)
            elif backup == "other md5":
                world.back_up(entry, md5=MD5S[2])
            elif backup == "other second":
                world.back_up(entry._replace(last_modified="2026-11-20T23:00:00Z"))
    return world


def index_of(
    folder: Path,
    world: World,
    form: Form = "csv",
    fields: Sequence[str] = FIELDS,
    history: History = "all",
    draw: Draw = Draw(),  # noqa: B008 -- a tuple
) -> InventoryIndex:
    """The comparison of two inventories of the world, each in two files."""
    index = InventoryIndex(folder, memory_mb=256, threads=1)
    source = [row(CONTAINER, entry) for entry in world.source]
    backups = [
        row(
            backup_container(CONTAINER),
            Entry(one.name, None, "0xB", one.last_modified, one.size, one.md5, one.blob_type),
        )
        for one in world.backups.values()
    ]
    backups += [
        row(backup_container(CONTAINER), Entry(name, None, "0xC", "2026-11-20T14:05:01Z", 1)) for name in world.foreign
    ]
    for side, rows in ((Side.SOURCE, source), (Side.BACKUP, backups)):
        kept = [name for name in fields if side is Side.SOURCE or name != "Snapshot"]
        for number in range(2):
            path = folder / f"{side}-{number}.{form.partition(' ')[0]}"
            some = list(islice(rows, number, None, 2))
            write_file(path, some, form, kept)
            assert index.add(side, path, "csv" if form == "csv" else "parquet") == len(some)
    index.compare([CONTAINER], history, draw=draw)
    return index


def settled(index: InventoryIndex, world: World, history: History) -> tuple[ContainerReport, set[str]]:
    """What comes of it once the candidates are looked at, and which those were."""
    totals = index.totals().get(CONTAINER, Totals(0, 0, 0, 0, 0, None, 0))
    candidates: list[Candidate] = [one for batch in index.candidates(5) for one in batch]
    blobs, versions, protected, archived = totals[:4]
    report = ContainerReport(CONTAINER)
    for candidate in candidates:
        blobs, versions = blobs - candidate.blobs, versions - candidate.versions
        protected, archived = protected - candidate.protected, archived - candidate.archived
        for name in candidate.names:
            blobs += world.group(name).blob is not None
            report.add(world.coverage(name, history))
    report.blobs, report.versions, report.protected = blobs, report.versions + versions, report.protected + protected
    if archived:
        report.unprotectable_by_reason[Reason.ARCHIVED] = (
            report.unprotectable_by_reason.get(Reason.ARCHIVED, 0) + archived
        )
    return report, {name for candidate in candidates for name in candidate.names}


def counts(report: ContainerReport) -> tuple[int, int, int, dict[str, int]]:
    return report.blobs, report.versions, report.protected, report.unprotectable_by_reason


@given(BLOBS, FOREIGN, st.sampled_from(FORMS), st.sampled_from(["all", "current"]))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_it_comes_to_what_listings_come_to(
    blobs: Blobs,
    foreign: list[str],
    form: Form,
    history: History,
) -> None:
    world = world_of(blobs, foreign)
    with tempfile.TemporaryDirectory() as folder, index_of(Path(folder), world, form, history=history) as index:
        report, candidates = settled(index, world, history)
    assert counts(report) == counts(world.reported(history))
    for name in {entry.name for entry in world.source}:
        found = world.coverage(name, history)
        if found.missing_snapshot or found.missing_backups:
            assert name in candidates


def test_hard_names_and_names_too_long_for_a_backup_of_their_own_are_matched_byte_by_byte(tmp_path: Path) -> None:
    long = ["n" * 1020 + ".csv", "é" * 985 + ".csv", "😀" * 500 + ".csv", "a/" * 252 + "b.csv", "x." + "y" * 1000]
    names = [name for name in HARD_NAMES.values() if not set(name.split("/")) & {".", ".."}] + long
    world = world_of({name: ([("both", "good", "Hot", MD5S[1])], "") for name in names}, [])
    for form in FORMS:
        folder = tmp_path / form
        folder.mkdir()
        with index_of(folder, world, form) as index:
            assert index.totals()[CONTAINER][:5] == (len(names), len(names), len(names), 0, 0)


def test_a_blob_that_lacks_something_is_a_candidate_with_its_name_as_it_is(tmp_path: Path) -> None:
    names = [name for name in HARD_NAMES.values() if not set(name.split("/")) & {".", ".."}]
    world = world_of({name: ([("live", "none", "Hot", None)], "") for name in names}, [])
    with index_of(tmp_path, world) as index:
        _, candidates = settled(index, world, "all")
    assert candidates == set(names)


@pytest.mark.parametrize("form", FORMS)
def test_without_etags_versions_are_told_apart_by_time_and_size(tmp_path: Path, form: Form) -> None:
    world = world_of({"a.csv": ([("both", "good", "", None)], ""), "b.csv": ([("both", "none", "", None)], "")}, [])
    fields = [name for name in FIELDS if name != "Etag"]
    with index_of(tmp_path, world, form, fields) as index:
        assert index.totals()[CONTAINER][:5] == (2, 2, 1, 0, 1)
        assert settled(index, world, "all")[1] == {"b.csv"}
        assert list(index.named()) == []


@pytest.mark.parametrize(
    ("changes", "hidden"),
    [
        ({"Deleted": "true"}, True),
        ({"Deleted": "false"}, False),
        ({"VersionId": "2026-11-20T14:05:33.1Z"}, True),
        ({"VersionId": "2026-11-20T14:05:33.1Z", "IsCurrentVersion": "true"}, False),
    ],
)
def test_soft_deleted_and_older_versions_are_no_blobs(tmp_path: Path, changes: dict[str, str], hidden: bool) -> None:
    source = row(CONTAINER, Entry("a.csv", None, '"0x1"', "2026-11-20T14:05:33Z", 1)) | changes
    fields = (*FIELDS, "Deleted", "VersionId", "IsCurrentVersion")
    with InventoryIndex(tmp_path, memory_mb=256) as index:
        for side, rows in ((Side.SOURCE, [source]), (Side.BACKUP, [])):
            path = tmp_path / f"{side}.csv"
            write_file(path, rows, "csv", fields)
            index.add(side, path, "csv")
        index.compare([CONTAINER], "all")
        assert (CONTAINER not in index.totals()) is hidden


def test_protected_versions_are_drawn_and_archived_ones_named(tmp_path: Path) -> None:
    blobs: Blobs = {f"{number}.csv": ([("both", "good", "Hot", MD5S[1])], "") for number in range(20)}
    blobs |= {f"old-{number}.csv": ([("both", "none", ARCHIVE, None)], "") for number in range(3)}
    world = world_of(blobs, [])
    with index_of(tmp_path, world, draw=Draw(to_prove=5, to_restore=3, seed=7)) as index:
        named = list(index.named())
        totals = index.totals()[CONTAINER]
    live = {entry.name: entry for entry in world.source if entry.snapshot is None}
    assert (totals.protected, totals.archived, totals.of_the_day) == (20, 3, 20)
    for why, container, entry in named:
        assert container == CONTAINER
        assert entry == live[entry.name]
        assert (why is Named.ARCHIVED) == entry.name.startswith("old-")
    assert [sum(one[0] is why for one in named) for why in Named] == [5, 3, 3]


def test_containers_that_nobody_asked_for_are_left_out(tmp_path: Path) -> None:
    world = world_of({"a.csv": ([("both", "good", "", None)], "")}, [])
    with index_of(tmp_path, world) as index:
        index.compare(["other"], "all")
        assert index.totals() == {}


def test_a_file_that_is_none_of_an_inventory_is_refused(tmp_path: Path) -> None:
    with InventoryIndex(tmp_path, memory_mb=256) as index:
        for name, content in (("a.parquet", b"PAR1 and nothing else"), ("b.csv", b'Name,Etag\n"a')):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(InventoryUnusable, match="not understood"):
                index.add(Side.SOURCE, tmp_path / name, "csv" if name.endswith("csv") else "parquet")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    world = world_of({"a.csv": ([("both", "good", "", None)], "")}, [])
    with pytest.raises(InventoryUnusable, match="source account's inventory lacks the column Content-Length"):
        index_of(tmp_path, world, fields=[name for name in FIELDS if name != "Content-Length"])


def test_nothing_is_ever_fetched_from_the_network(tmp_path: Path) -> None:
    with InventoryIndex(tmp_path, memory_mb=256) as index:
        settings = dict(
            index._database.execute(
                "SELECT name, value FROM duckdb_settings() WHERE name LIKE 'auto%extensions'"
            ).fetchall()
        )
    assert settings == {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}

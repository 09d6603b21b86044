"""A run's checkpoint and a shard's document: they hold all that goes on, and one of another release is not taken."""

from __future__ import annotations

import json
from datetime import date

import pytest

from shared.decisions.joining import BY_NAME, FLAT, FOLDERS
from shared.decisions.reconcile_run import CHECKPOINT_SCHEMA, Position, Progress, Run, ShardRun
from shared.decisions.reporting import ContainerReport
from shared.decisions.sampling import Sampler
from shared.decisions.shards import Piece
from shared.model import Entry

ENTRY = Entry("é😀.csv", "s1", "0x1", "2026-11-20T14:05:33Z", 812, "bWQ1", "BlockBlob", "Hot")


def run(percent: float = 100, drill_blobs: int = 2) -> Run:
    return Run("r1", "2026-11-20T14:05:33Z", Sampler(percent, date(2026, 11, 20), drill_blobs, "r1"))


def saved(of: Run) -> Run:
    found = Run.of(json.loads(json.dumps(of.document())))
    assert found is not None
    return found


def progress() -> Progress:
    return Progress(
        ContainerReport("raw", blobs=3, snapshots_created=2, backups_requested=1),
        FLAT,
        Position(1, "m1"),
        Position(0, "m2"),
        [Piece("a", exact=True), Piece("a/", ranged=True)],
        [Piece("a/")],
        [ENTRY],
        {"order": FLAT},
        True,
        "2026-11-20T14:05:34Z",
        [".snapkeep/long/0"],
        ["a/1"],
        5,
    )


def test_a_run_is_gone_on_with_where_it_was() -> None:
    before = run()
    before.end(before.begin("done").report)
    before.current = progress()
    before.shards["large"] = 12
    before.sampler.offer("raw", ENTRY)
    after = saved(before)
    assert (after.run_id, after.started_at, after.shards) == ("r1", before.started_at, {"large": 12})
    assert (after.done, after.current) == ([ContainerReport("done")], progress())
    assert after.sampler.document() == before.sampler.document()
    assert [part.container for part in after.parts] == ["done", "raw"]
    assert after.begin("raw") == progress()


def test_another_container_is_begun_at_its_beginning() -> None:
    going = run()
    going.current = progress()
    assert going.begin("other") == Progress(ContainerReport("other"))


def test_a_container_that_ended_is_not_gone_on_with() -> None:
    going = run()
    going.shards["raw"] = 2
    going.end(going.begin("raw").report)
    assert (going.current, going.shards, [part.container for part in going.parts]) == (None, {}, ["raw"])


def test_what_another_release_saved_is_not_taken() -> None:
    assert Run.of(run().document() | {"schema": CHECKPOINT_SCHEMA - 1}) is None
    assert Run.of({}) is None
    assert ShardRun.of(None) is ShardRun.of({"schema": CHECKPOINT_SCHEMA - 1}) is None


def test_it_proves_something_unless_both_are_switched_off() -> None:
    assert [run(*asked).proves for asked in ((1, 0), (0, 1), (0, 0))] == [True, True, False]


def test_a_pass_that_is_restarted_tries_the_next_order_and_keeps_what_was_done_alone() -> None:
    going = progress()
    for order in (FOLDERS, BY_NAME):
        going.restart()
        kept = ContainerReport("raw", snapshots_created=2, backups_requested=1)
        assert going == Progress(kept, order, source_pieces=progress().source_pieces, backup_pieces=[Piece("a/")])
    with pytest.raises(IndexError):
        going.restart()


def test_names_are_noted_down_evenly_whatever_the_pages() -> None:
    names = [f"{number:04}" for number in range(1000)]
    for size in (1, 7, 10, 64, 1000):
        going = Progress(ContainerReport("raw"))
        for at in range(0, 1000, size):
            going.mark(names[at : at + size], shard_blobs=320)
        assert going.marks == names[9::10]


def test_a_shard_is_gone_on_with_where_it_was() -> None:
    sampler = Sampler(100, date(2026, 11, 20), 2, "r1")
    sampler.offer("raw", ENTRY)
    before = ShardRun(progress(), sampler, {"a": "20261120T140533Z-0x1"}, failures=1, begun=2, done=True)
    after = ShardRun.of(json.loads(json.dumps(before.document())))
    assert after is not None
    assert after.document() == before.document()
    assert (after.progress, after.strays, after.failures, after.begun, after.done) == (
        before.progress,
        before.strays,
        1,
        2,
        True,
    )

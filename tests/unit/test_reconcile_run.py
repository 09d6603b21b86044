"""A run's checkpoint: it holds all that the next invocation needs, and one of another release is not taken."""

from __future__ import annotations

import json
from datetime import date

from shared.decisions.reconcile_run import CHECKPOINT_SCHEMA, Run
from shared.decisions.reporting import ContainerReport
from shared.decisions.sampling import Sampler
from shared.model import Entry

ENTRY = Entry("é😀.csv", "s1", "0x1", "2026-11-20T14:05:33Z", 812, "bWQ1", "BlockBlob", "Hot")


def run(percent: float = 100, drill_blobs: int = 2) -> Run:
    return Run("r1", "2026-11-20T14:05:33Z", Sampler(percent, date(2026, 11, 20), drill_blobs, "r1"))


def saved(of: Run) -> Run:
    found = Run.of(json.loads(json.dumps(of.document())))
    assert found is not None
    return found


def test_a_run_is_gone_on_with_where_it_was() -> None:
    before = run()
    before.end(before.begin("done"))
    report = before.begin("raw")
    report.blobs, before.marker, before.carry, before.listed_from = 3, "m1", [ENTRY], "2026-11-20T14:05:34Z"
    before.sampler.offer("raw", ENTRY)
    after = saved(before)
    assert (after.run_id, after.started_at, after.listed_from) == ("r1", before.started_at, before.listed_from)
    assert (after.done, after.current, after.marker, after.carry) == ([ContainerReport("done")], report, "m1", [ENTRY])
    assert after.sampler.document() == before.sampler.document()
    assert [part.container for part in after.parts] == ["done", "raw"]
    assert after.begin("raw") == report
    assert after.marker == "m1"


def test_another_container_is_begun_at_its_beginning() -> None:
    going = run()
    going.begin("raw")
    going.marker, going.carry, going.listed_from = "m1", [ENTRY], "2026-11-20T14:05:34Z"
    assert going.begin("other") == ContainerReport("other")
    assert going.document()["marker"] is going.document()["listed_from"] is None
    assert going.document()["carry"] == []


def test_a_container_that_ended_is_not_gone_on_with() -> None:
    going = run()
    going.end(going.begin("raw"))
    assert (going.current, going.marker, [part.container for part in going.parts]) == (None, None, ["raw"])


def test_what_another_release_saved_is_not_taken() -> None:
    assert Run.of(run().document() | {"schema": CHECKPOINT_SCHEMA - 1}) is None
    assert Run.of({}) is None


def test_it_proves_something_unless_both_are_switched_off() -> None:
    assert [run(*asked).proves for asked in ((1, 0), (0, 1), (0, 0))] == [True, True, False]

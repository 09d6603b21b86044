"""When a share of overwritten or deleted blobs is unusual, what an alarm does, and what ends it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.decisions.alarms import (
    Alarm,
    Share,
    Thresholds,
    after_comparison,
    after_reconciliation,
    deletion_refusal,
    lately,
    share_of,
    written_since,
)
from shared.decisions.changes import Group
from shared.decisions.reporting import ContainerReport
from shared.model import Entry, second_of

NOW = datetime(2026, 11, 20, 15, 0, 0, tzinfo=UTC)
SINCE = "2026-11-19T13:00:00Z"
BEFORE, AFTER = "2026-11-19T12:59:59Z", SINCE
THRESHOLDS = Thresholds(20, 100)


def ago(hours: float) -> str:
    return second_of(NOW - timedelta(hours=hours))


def live(last_modified: str, *, directory: bool = False) -> Entry:
    return Entry("a.csv", None, "E9", last_modified, 1, directory=directory)


def snapshot(last_modified: str, etag: str = "E1") -> Entry:
    return Entry("a.csv", f"{last_modified[:-1]}.0000000Z", etag, last_modified, 1)


def part(**changes: Any) -> dict[str, Any]:
    report = ContainerReport("raw", blobs=1000, complete=True).to_json(NOW)
    return report | {"finished_at": ago(0)} | changes


KNOWN = Alarm("raw", ago(24), "reconcile", 0, 0, "x")


def alarm(**changes: Any) -> Alarm:
    return replace(KNOWN, **changes)


class TestWhatCounts:
    def test_a_run_looks_back_a_day_and_the_time_of_a_long_run(self) -> None:
        assert lately("2026-11-20T15:00:00Z") == SINCE

    @pytest.mark.parametrize(
        ("blob", "snapshots", "expected"),
        [
            (live(AFTER), (snapshot(BEFORE),), "overwritten"),
            (live(AFTER), (snapshot(AFTER, "E9"), snapshot(BEFORE)), "overwritten"),
            (live(AFTER), (), "created"),
            # Its own snapshot, as `protect` takes it, is no older version; nor is one of the same day.
            (live(AFTER), (snapshot(AFTER, "E9"),), "created"),
            (live(AFTER), (snapshot(AFTER, "E1"), snapshot(AFTER, "E9")), "created"),
            (live(BEFORE), (snapshot(BEFORE),), None),
            (None, (snapshot(BEFORE),), None),
            (live(AFTER, directory=True), (), None),
        ],
    )
    def test_a_blob_was_overwritten_when_an_older_version_stood_in_its_place(
        self, blob: Entry | None, snapshots: tuple[Entry, ...], expected: str | None
    ) -> None:
        assert written_since(Group("a.csv", blob, snapshots), SINCE) == expected

    def test_new_blobs_hide_nothing(self) -> None:
        report = ContainerReport("raw", blobs=10_000, created_lately=9_000, overwritten_lately=300, deleted_lately=200)
        share = share_of(report.to_json(NOW))
        assert share == Share(300, 200, 1200)
        assert (share.overwritten_percent, share.deleted_percent) == (25.0, 16.6)

    def test_a_container_without_any_blob_has_no_share(self) -> None:
        assert share_of(part(blobs=0)).overwritten_percent == 0


class TestUnusual:
    @pytest.mark.parametrize(
        ("overwritten", "deleted", "before", "expected"),
        [
            (100, 0, 500, True),
            (0, 100, 500, True),
            (60, 40, 500, True),
            (99, 0, 99, False),
            (100, 0, 501, False),
            (0, 0, 0, False),
            (1000, 0, 1000, True),
        ],
    )
    def test_both_the_share_and_the_number_have_to_be_large(
        self, overwritten: int, deleted: int, before: int, expected: bool
    ) -> None:
        assert Share(overwritten, deleted, before).unusual(THRESHOLDS) is expected

    def test_a_threshold_of_0_switches_alarms_off(self) -> None:
        assert not Share(1000, 0, 1000).unusual(Thresholds(0, 1))


class TestAfterReconciliation:
    def test_an_unusual_share_raises_one_that_says_how_many_of_how_many(self) -> None:
        raised = after_reconciliation(part(overwritten_lately=380, deleted_lately=21), None, THRESHOLDS, NOW)
        assert raised is not None
        assert (raised.container, raised.raised_at, raised.raised_by, raised.stands) == (
            "raw",
            ago(0),
            "reconcile",
            True,
        )
        assert raised.text == (
            "39.2 % of 1,021 blobs were overwritten (380) or deleted (21): possible mass encryption or deletion "
            "within a day of the run at 2026-11-20T15:00:00Z"
        )
        assert "snapkeep alarms acknowledge raw" in raised.finding

    @pytest.mark.parametrize("known", [None, alarm(), alarm(raised_by="sync"), alarm(acknowledged_at=ago(27))])
    def test_a_normal_run_ends_it(self, known: Alarm | None) -> None:
        assert after_reconciliation(part(overwritten_lately=99), known, THRESHOLDS, NOW) is None

    def test_what_was_acknowledged_is_excused_for_a_day_and_no_more(self) -> None:
        known = alarm(overwritten=380, acknowledged_at=ago(2))
        assert after_reconciliation(part(overwritten_lately=400), known, THRESHOLDS, NOW) == known
        deleted = alarm(deleted=300, acknowledged_at=ago(2))
        assert after_reconciliation(part(deleted_lately=310), deleted, THRESHOLDS, NOW) == deleted
        assert after_reconciliation(part(deleted_lately=800), deleted, THRESHOLDS, NOW) != deleted
        more = after_reconciliation(part(overwritten_lately=580), known, THRESHOLDS, NOW)
        assert more is not None
        assert more.stands
        assert more.overwritten == 580
        late = alarm(overwritten=380, acknowledged_at=ago(26))
        again = after_reconciliation(part(overwritten_lately=400), late, THRESHOLDS, NOW)
        assert again is not None
        assert again.stands


class TestDeletionsOfAMirror:
    def test_few_deletions_and_no_alarm_pause_nothing(self) -> None:
        assert after_comparison("raw", 99, 10, None, THRESHOLDS, NOW) is None
        assert deletion_refusal("raw", None) is None

    def test_an_unusual_share_of_deletions_raises_one_by_itself(self) -> None:
        raised = after_comparison("raw", 100, 400, None, THRESHOLDS, NOW)
        assert raised is not None
        assert raised.raised_by == "sync"
        refused = deletion_refusal("raw", raised)
        assert refused is not None
        assert refused.startswith("paused: nothing is deleted from the mirror while an alarm stands: 20 % of 500 blobs")
        assert refused.endswith("if that is meant: `snapkeep alarms acknowledge raw`")

    def test_one_that_stands_pauses_even_a_single_deletion(self) -> None:
        assert after_comparison("raw", 1, 10_000, alarm(), THRESHOLDS, NOW) == alarm()
        assert deletion_refusal("raw", alarm()) is not None

    def test_one_that_was_acknowledged_pauses_nothing_for_a_day(self) -> None:
        known = alarm().acknowledged(NOW)
        assert known.acknowledged(NOW + timedelta(hours=1)) == known
        assert after_comparison("raw", 400, 100, known, THRESHOLDS, NOW + timedelta(hours=25)) == known
        assert deletion_refusal("raw", known) is None
        again = after_comparison("raw", 400, 100, known, THRESHOLDS, NOW + timedelta(hours=26))
        assert again is not None
        assert again.stands


class TestStored:
    @pytest.mark.parametrize("known", [alarm(), alarm(raised_by="sync", acknowledged_at=ago(1))])
    def test_what_is_written_is_what_is_read(self, known: Alarm) -> None:
        assert Alarm.of(known.document()) == known

    @pytest.mark.parametrize(
        "document",
        [
            None,
            [],
            {},
            alarm().document() | {"schema": 2},
            alarm().document() | {"other": 1},
            {"schema": 1, "container": "raw"},
            alarm().document() | {"raised_at": "yesterday"},
        ],
        ids=repr,
    )
    def test_anything_else_is_refused(self, document: object) -> None:
        with pytest.raises(ValueError, match=r"alarm|time"):
            Alarm.of(document)

"""What a drill restores how, whether what came back is the version, and what its report says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.decisions.drilling import DrillReport, and_again, job_of, own_tags, step_of, to_try_again, unlike, within
from shared.decisions.restoring import Action, Mode, Place
from shared.decisions.sampling import Chosen
from shared.model import BlobState, ContentHeaders, Entry, Version

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
VERSION = Version("a.csv", "0x1", "2026-11-20T11:00:00Z", 5)


def state(**changes: Any) -> BlobState:
    made = BlobState(VERSION, None, "BlockBlob", "Hot", True, ContentHeaders("text/csv"), {"Owner": "finance"}, 0)
    return replace(made, **changes)


def chosen(number: int, size: int = 10) -> Chosen:
    return Chosen("raw", Entry(f"{number}", None, f"0x{number}", "2026-11-20T11:00:00Z", size))


def test_a_version_is_restored_from_its_backup_and_nowhere_else() -> None:
    backup = state(version=Version("a.csv/20261120T110000Z-0x1.csv", "0xB", "2026-11-20T11:05:00Z", 5))
    step = step_of(VERSION, backup)
    assert (step.action, step.name, step.version, step.replaces) == (Action.RESTORE, "a.csv", VERSION, None)
    [held] = step.places
    assert (held.place, held.key, held.etag, held.version) == (Place.BACKUP, backup.version.name, "0xB", VERSION)
    job = job_of("raw", VERSION, Mode.CONTAINER, "scratch")
    assert (job.origin, job.target_account, job.target, job.at) == (
        "backups",
        "backup",
        "scratch",
        VERSION.last_modified,
    )


def test_what_exceeds_the_bytes_is_left_and_smaller_ones_are_taken_all_the_same() -> None:
    all_of_them = [chosen(1, 60), chosen(2, 50), chosen(3, 40), chosen(4, 0)]
    taken, left = within(all_of_them, 100)
    assert [one.entry.name for one in taken] == ["1", "3", "4"]
    assert [one.entry.name for one in left] == ["2"]


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({}, None),
        ({"version": Version("a.csv", "0x9", "2026-11-20T12:00:00Z", 5)}, None),
        ({"version": Version("a.csv", "0x9", "2026-11-20T12:00:00Z", 6)}, "size"),
        ({"blob_type": "PageBlob"}, "type"),
        ({"metadata": {"owner": "finance"}}, None),
        ({"metadata": {}}, "metadata"),
        ({"metadata": {"Owner": "finance", "snapkeep_source_etag": "0x1"}}, "metadata"),
        ({"headers": ContentHeaders("text/plain")}, "content headers"),
        ({"tier": "Cool"}, None),
    ],
)
def test_what_came_back_is_compared_in_every_property(changes: dict[str, Any], differs: str | None) -> None:
    claims = {"Owner": "finance", "snapkeep_source_etag": "0x1", "snapkeep_source_name": "a.csv"}
    backup = state(metadata=claims)
    assert unlike(state(**changes), state(), backup) == differs
    assert unlike(state(**changes), backup, backup) == differs  # the source has lost it


def test_an_explicit_tier_of_the_backup_comes_back() -> None:
    backup = state(tier="Cool", tier_inferred=False)
    assert unlike(state(), state(), backup) == "access tier"
    assert unlike(state(tier="Cool", tier_inferred=False), state(), backup) is None


def test_a_kept_hash_is_none_of_the_versions_own_tags() -> None:
    assert own_tags({"a": "b", "snapkeep_md5": "x"}) == {"a": "b"}


class TestTheReport:
    def test_with_nothing_restored_it_did_not_succeed(self) -> None:
        report = DrillReport("run", NOW, [chosen(1)])
        report.add_skipped(chosen(1), "too large")
        assert report.to_json(NOW)["result"] == "nothing to restore"
        report.restored = 1
        assert report.to_json(NOW)["result"] == "succeeded"

    def test_one_failure_is_a_failed_drill(self) -> None:
        report = DrillReport("run", NOW, [chosen(1), chosen(2)], restored=1)
        report.add_failed(chosen(2), "damaged")
        document = report.to_json(NOW)
        assert document["result"] == "failed"
        assert document["failed"] == [
            {
                "container": "raw",
                "name": "2",
                "etag": "0x2",
                "reason": "damaged",
                "last_modified": "2026-11-20T11:00:00Z",
                "size": 10,
            }
        ]

    def test_what_failed_can_be_tried_again_out_of_the_report(self) -> None:
        report = DrillReport("run", NOW)
        report.add_failed(chosen(2), "damaged")
        report.add_unlisted("raw", "403")
        assert [to_try_again(failed) for failed in report.failed] == [chosen(2), None]
        assert and_again(report.failed, [chosen(1)]) == [chosen(2), chosen(1)]
        assert and_again(report.failed, [chosen(1), chosen(2, 11)]) == [chosen(1), chosen(2, 11)]

    def test_what_failed_before_and_was_not_tried_again_has_failed_still(self) -> None:
        earlier = DrillReport("earlier", NOW)
        for number in range(1, 6):
            earlier.add_failed(chosen(number), "damaged")
        report = DrillReport("run", NOW)
        report.add_restored(chosen(1))
        report.add_failed(chosen(2), "still damaged")
        report.add_gone(chosen(3))
        report.add_skipped(chosen(4), "no time")
        report.carry_over(earlier.failed)
        assert [(line["name"], line["reason"]) for line in report.failed] == [
            ("2", "still damaged"),
            ("4", "damaged"),
            ("5", "damaged"),
        ]

"""What a restore's report says, and when there is nothing more to be done under its plan."""

import pytest

from shared.decisions import restore_report
from shared.decisions.restore_report import Outcome, RestoreReport, Result, to_be_gone_on_with
from shared.decisions.restoring import Job, Mode


def report(*results: Result, complete: bool = True) -> RestoreReport:
    job = Job("raw", "2026-11-20T14:05:33Z", Mode.CONTAINER, "raw-restored")
    made = RestoreReport("id", job, "2026-11-20T15:00:00Z", "2026-11-20T15:01:00Z", complete)
    for number, result in enumerate(results):
        made.add(Outcome(f"{number}", result, f"why {number}", bytes=10, offered=("2026-11-19T00:00:00Z",)))
    return made


def test_it_counts_all_and_lists_what_did_not_happen() -> None:
    document = report(Result.RESTORED, Result.ALREADY, Result.LEFT, Result.DELETED, Result.DAMAGED).to_json()
    assert {key: count for key, count in document["totals"].items() if count} == {
        "restored": 1,
        "already": 1,
        "left": 1,
        "deleted": 1,
        "damaged": 1,
    }
    assert document["bytes_restored"] == 10
    assert document["listed"] == [
        {"name": "4", "result": "damaged", "reason": "why 4", "offered": ["2026-11-19T00:00:00Z"]}
    ]
    assert document["job"]["mode"] == "container"
    assert document["target"] == "raw-restored"


@pytest.mark.parametrize("bad", sorted(set(Result) - restore_report.WELL))
def test_all_is_well_only_when_everything_that_was_planned_has_happened(bad: Result) -> None:
    assert report(*restore_report.WELL).well
    assert not report(*restore_report.WELL, complete=False).well
    assert not report(Result.RESTORED, bad).well


@pytest.mark.parametrize("result", list(Result))
def test_a_plan_is_gone_on_with_when_it_was_interrupted_or_waits_for_rehydration(result: Result) -> None:
    assert to_be_gone_on_with(report(result).to_json()) == (result is Result.REHYDRATING)
    assert to_be_gone_on_with(report(Result.RESTORED, complete=False).to_json())


def test_the_list_is_bounded_and_the_counts_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore_report, "MAX_LISTED", 3)
    document = report(*[Result.FAILED] * 5).to_json()
    assert (len(document["listed"]), document["totals"]["failed"]) == (3, 5)

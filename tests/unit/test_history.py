"""The history of coverage: a run stands in it once, and the oldest make room."""

from __future__ import annotations

from typing import Any

import pytest

from shared.decisions.history import MAX_RUNS, appended


def part(name: str, versions: int, protected: int, age: int | None = None, **more: Any) -> dict[str, Any]:
    numbers = {"versions": versions, "protected": protected, "oldest_unprotected_seconds": age}
    return {"container": name, "blobs": 1, "deleted": 0} | numbers | more


def report(run_id: str, *parts: dict[str, Any], complete: bool = True, unprotectable: int = 0) -> dict[str, Any]:
    totals = {key: sum(one[key] for one in parts) for key in ("versions", "protected")}
    return {
        "run_id": run_id,
        "finished_at": "2026-11-20T14:05:33Z",
        "complete": complete,
        "totals": totals | {"unprotectable": unprotectable},
        "containers": list(parts),
    }


def runs(*reports: dict[str, Any]) -> list[dict[str, Any]]:
    history = None
    for one in reports:
        history = appended(history, one)
    assert history is not None
    found: list[dict[str, Any]] = history["runs"]
    return found


def test_an_entry_holds_what_a_chart_needs() -> None:
    made = appended(None, report("r1", part("raw", 10, 7, 90), part("lake", 5, 4, 3600), unprotectable=1))
    assert made == {
        "schema": 1,
        "runs": [
            {
                "run_id": "r1",
                "finished_at": "2026-11-20T14:05:33Z",
                "complete": True,
                "versions": 15,
                "protected": 11,
                "unprotectable": 1,
                "missing": 3,
                "oldest_unprotected_seconds": 3600,
                "containers": {
                    "raw": {"versions": 10, "protected": 7, "oldest_unprotected_seconds": 90},
                    "lake": {"versions": 5, "protected": 4, "oldest_unprotected_seconds": 3600},
                },
            }
        ],
    }


def test_where_all_is_protected_nothing_is_missing_and_nothing_has_an_age() -> None:
    [entry] = runs(report("r1", part("raw", 2, 2)))
    assert (entry["missing"], entry["oldest_unprotected_seconds"]) == (0, None)


def test_versions_that_no_listing_holds_any_more_make_nothing_less_than_missing() -> None:
    [entry] = runs(report("r1", part("raw", 2, 2), unprotectable=3))
    assert (entry["unprotectable"], entry["missing"]) == (3, 0)


def test_a_run_that_went_on_over_several_invocations_stands_there_once_as_it_ended() -> None:
    found = runs(
        report("r0", part("raw", 1, 1)),
        report("r1", part("raw", 1, 0), complete=False),
        report("r1", part("raw", 2, 2)),
    )
    assert [(one["run_id"], one["complete"], one["versions"]) for one in found] == [("r0", True, 1), ("r1", True, 2)]


def test_the_last_runs_stay_oldest_first() -> None:
    found = runs(*(report(f"r{number}") for number in range(MAX_RUNS + 3)))
    assert [one["run_id"] for one in found] == [f"r{number}" for number in range(3, MAX_RUNS + 3)]


@pytest.mark.parametrize("stored", [[], {}, {"schema": 2, "runs": []}, "x"])
def test_a_history_of_another_release_is_refused(stored: Any) -> None:
    with pytest.raises(ValueError, match="schema 1"):
        appended(stored, report("r1"))


def test_what_is_stored_is_not_changed_in_place() -> None:
    stored = appended(None, report("r1"))
    appended(stored, report("r2"))
    assert [one["run_id"] for one in stored["runs"]] == ["r1"]

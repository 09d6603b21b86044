"""The history of coverage: one short entry for each of the last reconciliations, for charts and trends."""

from __future__ import annotations

from typing import Any

SCHEMA = 1
MAX_RUNS = 90


def appended(history: Any, report: dict[str, Any]) -> dict[str, Any]:
    """The history with this report's run at its end; a run that is there already, unfinished, stands there once.

    Args:
        history: as it is stored; None where there is none.

    Raises:
        ValueError: another release stored it otherwise.
    """
    if history is not None and (not isinstance(history, dict) or history.get("schema") != SCHEMA):
        raise ValueError(f"expected a history of schema {SCHEMA}")
    others = [run for run in history["runs"] if run["run_id"] != report["run_id"]] if history else []
    return {"schema": SCHEMA, "runs": [*others, _entry(report)][-MAX_RUNS:]}


def _entry(report: dict[str, Any]) -> dict[str, Any]:
    totals, containers = report["totals"], report["containers"]
    versions, protected, unprotectable = totals["versions"], totals["protected"], totals["unprotectable"]
    ages = [part["oldest_unprotected_seconds"] for part in containers]
    shown = ("versions", "protected", "oldest_unprotected_seconds")
    return {
        "run_id": report["run_id"],
        "finished_at": report["finished_at"],
        "complete": report["complete"],
        "versions": versions,
        "protected": protected,
        "unprotectable": unprotectable,
        # Versions that were lost before they were copied are unprotectable, and in no listing.
        "missing": max(versions - protected - unprotectable, 0),
        "oldest_unprotected_seconds": max((age for age in ages if age is not None), default=None),
        "containers": {part["container"]: {key: part[key] for key in shown} for part in containers},
    }

"""What a status is made from, as the documents of the contract have it: everything good, to be changed by a test."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.decisions.proof_reports import ContainerProof
from shared.decisions.status import FUNCTIONS, Inputs
from shared.model import QueueOverview, second_of

NOW = datetime(2026, 11, 20, 20, 0, 0, tzinfo=UTC)
MIRRORS = (("lake", "lakebak"),)


def ago(hours: float) -> str:
    return second_of(NOW - timedelta(hours=hours))


def container(name: str = "raw", **changes: Any) -> dict[str, Any]:
    """One container's part of a coverage report: 100 versions, all protected."""
    return {
        "container": name,
        "blobs": 80,
        "versions": 100,
        "protected": 100,
        "backups_requested": 0,
        "unprotectable_by_reason": {},
        "unprotectable": [],
        "failed_count": 0,
        "failed": [],
        "oldest_unprotected": None,
        "complete": True,
        "error": None,
        "deleted": 3,
    } | changes


def coverage(*containers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": "reconcile",
        "run_id": "r1",
        "started_at": ago(5.5),
        "finished_at": ago(5),
        "complete": True,
        "containers": list(containers or [container()]),
    } | changes


def point(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "run_id": f"r{number}",
        "finished_at": ago(5 + 24 * number),
        "complete": True,
        "versions": 100,
        "protected": 100,
        "unprotectable": 0,
        "missing": 0,
        "oldest_unprotected_seconds": None,
        "containers": {},
    } | changes


def history(*points: dict[str, Any]) -> dict[str, Any]:
    return {"schema": 1, "runs": list(points or [point(1), point(0)])}


def sync(**changes: Any) -> dict[str, Any]:
    pair = {"source": "lake", "backup": "lakebak", "outcome": "succeeded", "reason": None}
    return {
        "kind": "sync",
        "started_at": ago(0.6),
        "finished_at": ago(0.5),
        "complete": True,
        "pairs": [pair],
    } | changes


def verify(**changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": "verify",
        "run_id": "5a1d",
        "started_at": ago(5),
        "finished_at": ago(4.9),
        "complete": True,
        "mode": "bytes",
        "percent": 1.0,
        "totals": {"versions": 100, "checked": 100, "bytes_checked": 1, "bytes_read": 812, "problems": 0},
        "containers": [asdict(ContainerProof("raw", versions=100, checked=100, bytes_checked=1, bytes_read=812))],
    } | changes


def drill(**changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": "drill",
        "run_id": "5a1e",
        "started_at": ago(4.9),
        "finished_at": ago(4.8),
        "result": "succeeded",
        "picked": 20,
        "restored": 20,
        "bytes": 812,
        "failed": [],
        "skipped": [],
    } | changes


def note(function: str, **changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "function": function,
        "started_at": ago(0.2),
        "finished_at": ago(0.1),
        "result": "succeeded",
        "detail": "all is well",
    } | changes


def inputs(**changes: Any) -> Inputs:
    """Everything read, recent and good, but for the changes."""
    good = Inputs(
        coverage=coverage(),
        history=history(),
        sync=sync(),
        verify=verify(),
        drill=drill(),
        runs={function: note(function) for function in FUNCTIONS},
        queue=QueueOverview(0, None, 0, None),
        discarded=0,
        mirrors=MIRRORS,
        verifies=True,
        drills=True,
    )
    return replace(good, **changes)

"""What the end of an invocation says in metrics: from the result of its operation, or from what it raised."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from shared.decisions.metrics import (
    COPIES,
    COPY_BYTES,
    COPY_DURATION,
    REQUEST_AGE,
    REQUESTS,
    SNAPSHOTS,
    Measurement,
    of_reconciliation,
    of_run,
    of_sync,
)
from shared.decisions.sync_report import SyncReport
from shared.errors import SnapkeepError, SyncFailed
from shared.model import moment_of
from shared.operations.backup import Outcome
from shared.operations.changefeed import Followed
from shared.operations.protect import Protected
from shared.operations.run_notes import ending_of

CHANGE_FEED = "changefeed"
"""What a run of `reconcile` counts as that read the change feed alone: it does not tell whether all is protected."""


def of_result(function: str, result: object, seconds: float, now: datetime) -> Iterator[Measurement]:
    """Of an invocation that gave this result after so many seconds."""
    yield from of_run(CHANGE_FEED if isinstance(result, Followed) else function, ending_of(result).result, seconds)
    if isinstance(result, Protected):
        where = {"function": function, "container": result.container}
        yield Measurement(SNAPSHOTS, result.snapshots_created, where)
        yield Measurement(REQUESTS, result.requested, where)
    elif isinstance(result, Followed):
        for metric, counts in ((SNAPSHOTS, result.snapshots), (REQUESTS, result.requests)):
            for container, count in counts.items():
                yield Measurement(metric, count, {"function": CHANGE_FEED, "container": container})
    elif isinstance(result, Outcome):
        yield from _of_message(result, now)
        if (report := result.reconciled) is not None:
            lasted = moment_of(report["finished_at"]) - moment_of(report["started_at"])
            yield from of_result("reconcile", report, lasted.total_seconds(), now)
    elif isinstance(result, SyncReport):
        yield from of_sync(result.to_json())
    elif isinstance(result, dict):
        yield from of_reconciliation(result)


def of_failure(function: str, error: Exception, seconds: float) -> Iterator[Measurement]:
    """Of an invocation that ended so: refused where the call was the fault, else failed."""
    refused = isinstance(error, SnapkeepError) and error.http_status < 500
    yield from of_run(function, "refused" if refused else "failed", seconds)
    if isinstance(error, SyncFailed):
        yield from of_sync(error.report)


def _of_message(outcome: Outcome, now: datetime) -> Iterator[Measurement]:
    where = {"container": outcome.container}
    for engine, copies in outcome.copies.items():
        yield Measurement(COPIES, copies.count, where | {"engine": engine, "outcome": "protected"})
        yield Measurement(COPY_BYTES, copies.size_bytes, where | {"engine": engine})
        for seconds in copies.seconds:
            yield Measurement(COPY_DURATION, seconds, {"engine": engine})
    counts = {
        "present": outcome.already,
        "stale": outcome.lost,
        "unprotectable": outcome.unprotectable,
        "retried": len(outcome.failures) - outcome.given_up,
        "failed": outcome.given_up,
    }
    for became, count in counts.items():
        if count:
            yield Measurement(COPIES, count, where | {"engine": "none", "outcome": became})
    if outcome.copies or any(counts.values()):  # else it is followed by another message, that tells
        age = (now - moment_of(outcome.requested_at)).total_seconds()
        yield Measurement(REQUEST_AGE, max(0.0, age), where)

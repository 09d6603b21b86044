"""What the end of an invocation says in metrics: from the result of its operation, or from what it raised."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from shared.decisions.metrics import (
    COPIES,
    COPIES_SIZE,
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
from shared.operations.protect import Protected
from shared.operations.run_notes import ending_of


def of_result(function: str, result: object, seconds: float, now: datetime) -> Iterator[Measurement]:
    """Of an invocation that gave this result after so many seconds."""
    yield from of_run(function, ending_of(result).result, seconds)
    if isinstance(result, Protected):
        where = {"function": function, "container": result.container}
        yield Measurement(SNAPSHOTS, result.snapshots_created, where)
        yield Measurement(REQUESTS, result.requested, where)
    elif isinstance(result, Outcome):
        yield from _of_message(result, now)
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
    by_factory = outcome.by_data_factory
    counts = (
        ("server", "copied", outcome.copied - by_factory),
        ("adf", "copied", by_factory),
        ("none", "already", outcome.already),
        ("none", "unprotectable", outcome.unprotectable),
        ("none", "lost", outcome.lost),
        ("none", "failed", len(outcome.failures)),
    )
    for engine, became, count in counts:
        if count:
            yield Measurement(COPIES, count, where | {"engine": engine, "outcome": became})
    for engine, size in (
        ("server", outcome.bytes_copied - outcome.bytes_by_data_factory),
        ("adf", outcome.bytes_by_data_factory),
    ):
        if size:
            yield Measurement(COPIES_SIZE, size, where | {"engine": engine})
    if any(count for _, _, count in counts):  # else it is followed by another message, that tells
        age = (now - moment_of(outcome.requested_at)).total_seconds()
        yield Measurement(REQUEST_AGE, max(0.0, age), where)

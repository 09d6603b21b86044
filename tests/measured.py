"""All that the app can say in metrics: of results of every kind, each made so that nothing of it is left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from shared.connections import Connection
from shared.decisions.metrics import Measurement, of_connections, of_queue
from shared.decisions.reporting import ContainerReport, Findings, coverage_report
from shared.decisions.retries import Failure
from shared.decisions.sync_report import PairOutcome, PairReport, SyncReport
from shared.errors import BadParameter, StorageFailed, SyncFailed
from shared.model import QueueOverview, Version, second_of
from shared.operations.backup import Outcome
from shared.operations.changefeed import Followed
from shared.operations.measurements import of_failure, of_result
from shared.operations.protect import Protected
from tests.status_inputs import drill, verify

NOW = datetime(2026, 11, 20, 15, 0, 0, tzinfo=UTC)
VERSION = Version("a.csv", "E1", "2026-11-20T14:00:00Z", 812)
SAS = "SharedAccessSignature=sv=2024&se=2026-11-20T16%3A00%3A00Z&sig=x"


def everything() -> Iterator[Measurement]:
    for complete in (True, False):
        yield from of_result("protect", Protected(container="raw", requested=1, complete=complete), 1, NOW)
        yield from of_result("reconcile", Followed(complete=complete), 1, NOW)
        yield from of_result("reconcile", _report(complete=complete), 1, NOW)
    yield from of_result("backup", _message(), 1, NOW)
    yield from of_result("backup", Outcome("raw", second_of(NOW), scanned="done"), 1, NOW)
    yield from of_result("sync", _sync(PairOutcome.SUCCEEDED), 1, NOW)
    failed = _sync(PairOutcome.FAILED)
    yield from of_failure("sync", SyncFailed("x", failed.to_json()), 1)
    for function in ("protect", "backup", "reconcile"):
        yield from of_failure(function, StorageFailed("x"), 1)
    yield from of_failure("protect", BadParameter("x"), 1)
    yield from of_queue(QueueOverview(1, NOW, 1, NOW), NOW)
    yield from of_connections(
        iter([Connection("SourceStorage", connection_string=f"BlobEndpoint=https://a/;{SAS}")]), NOW
    )


def _report(*, complete: bool) -> dict[str, object]:
    part = ContainerReport("raw", versions=2, unprotectable_by_reason={"archived": 1}, complete=True)
    report = coverage_report("r1", second_of(NOW), NOW, [part], Findings(verify(), drill()), complete=complete)
    report["containers"][0] |= {"overwritten_percent": 50.0, "deleted_percent": 0.0, "alarm": "x"}
    return report


def _message() -> Outcome:
    failures = [Failure(VERSION, "503")] * 2
    requested_at = second_of(NOW - timedelta(seconds=40))
    outcome = Outcome("raw", requested_at, already=1, unprotectable=1, lost=1, failures=failures, given_up=1)
    for engine in ("server", "adf"):
        outcome.add_copies(engine, [VERSION], 0.5)
    return outcome


def _sync(outcome: PairOutcome) -> SyncReport:
    return SyncReport(NOW, NOW, True, 50, (PairReport("lake", "lakebak", outcome, alarm=True),))

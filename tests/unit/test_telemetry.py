"""The metrics: which values come of which result, and that telemetry is never in the way of the work."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from shared.connections import Connection
from shared.decisions.metrics import ALARMS, COPY_DURATION, METRICS, RUNS, Measurement, of_connections, of_queue
from shared.decisions.reporting import ContainerReport, Findings, coverage_report
from shared.decisions.retries import Failure
from shared.decisions.sync_report import PairOutcome, PairReport, Problems, SyncReport
from shared.errors import AlreadyRunning, BadParameter, StorageFailed, SyncFailed
from shared.model import QueueOverview, Version, second_of
from shared.operations.backup import Outcome
from shared.operations.changefeed import Followed
from shared.operations.measurements import of_failure, of_result
from shared.operations.protect import Protected
from shared.services import Services
from shared.telemetry import QUEUE_SECONDS, Telemetry
from tests.measured import everything
from tests.status_inputs import drill, verify

NOW = datetime(2026, 11, 20, 15, 0, 0, tzinfo=UTC)
VERSION = Version("secret plans.csv", "E1", "2026-11-20T14:00:00Z", 812)
SAS = "SharedAccessSignature=sv=2024&se=2026-11-20T16%3A00%3A00Z&sig=x"
EMPTY = QueueOverview(0, None, 0, None)


def ago(seconds: float) -> str:
    return second_of(NOW - timedelta(seconds=seconds))


Values = dict[tuple[str, ...], float]


def values(measurements: Any) -> Values:
    """Each measurement by its name and its attributes' values; no two may be the same."""
    found: Values = {}
    for metric, value, attributes in measurements:
        key = (metric.name.removeprefix("snapkeep."), *attributes.values())
        assert key not in found
        found[key] = value
    return found


def finished(seconds: float = 2.5, **kept: object) -> Outcome:
    return Outcome("raw", second_of(NOW - timedelta(seconds=40)), **cast("Any", kept))


class TestWhatResultsSay:
    def test_of_a_scan(self) -> None:
        answer = Protected(container="raw", scanned=9, changed=3, snapshots_created=2, requested=3, complete=True)
        assert values(of_result("protect", answer, 2.5, NOW)) == {
            ("runs", "protect", "complete"): 1,
            ("run.duration", "protect", "complete"): 2.5,
            ("snapshots", "protect", "raw"): 2,
            ("requests", "protect", "raw"): 3,
        }

    def test_of_a_message(self) -> None:
        outcome = finished(already=1, unprotectable=2, lost=3, failures=[Failure(VERSION, "503")] * 5, given_up=1)
        outcome.add_copies("server", [VERSION], 0.5)
        outcome.add_copies("server", [VERSION], 0.7)
        outcome.add_copies("adf", [VERSION, VERSION], 60)
        outcome.add_copies("adf", [], 60)
        found = of_result("backup", outcome, 1, NOW)
        durations = [(one.value, one.attributes) for one in found if one.metric is COPY_DURATION]
        assert durations == [(0.5, {"engine": "server"}), (0.7, {"engine": "server"}), (60, {"engine": "adf"})]
        assert values(one for one in of_result("backup", outcome, 1, NOW) if one.metric is not COPY_DURATION) == {
            ("runs", "backup", "incomplete"): 1,
            ("run.duration", "backup", "incomplete"): 1,
            ("copies", "raw", "server", "protected"): 2,
            ("copy.bytes", "raw", "server"): 1624,
            ("copies", "raw", "adf", "protected"): 2,
            ("copy.bytes", "raw", "adf"): 1624,
            ("copies", "raw", "none", "present"): 1,
            ("copies", "raw", "none", "unprotectable"): 2,
            ("copies", "raw", "none", "stale"): 3,
            ("copies", "raw", "none", "retried"): 4,
            ("copies", "raw", "none", "failed"): 1,
            ("request.age", "raw"): 40,
        }

    def test_a_message_that_waits_for_data_factory_has_no_age_yet(self) -> None:
        assert values(of_result("backup", finished(), 1, NOW)).keys() == {
            ("runs", "backup", "complete"),
            ("run.duration", "backup", "complete"),
        }

    def test_of_a_reconciliation(self) -> None:
        raw = ContainerReport("raw", versions=100, protected=90, snapshots_created=4, backups_requested=6)
        raw.unprotectable_by_reason = {"archived": 3, "gone before it was copied": 5}
        raw.oldest_unprotected, raw.complete = second_of(NOW - timedelta(hours=2)), True
        unread = ContainerReport("lake", versions=1, snapshots_created=1, error="403")
        report = coverage_report("r1", second_of(NOW), NOW, [raw, unread], Findings(verify(), drill()), complete=True)
        report["containers"][0] |= {"overwritten_percent": 12.5, "deleted_percent": 1.0, "alarm": "x"}
        report["verify"]["totals"] |= {"checked": 10, "problems": 2}
        report["verify"]["containers"][0]["unproven"] = 1
        report["drill"] |= {"restored": 19, "failed": [{}], "skipped": [{}, {}]}
        found = values(of_result("reconcile", report, 60, NOW))
        assert found == {
            ("runs", "reconcile", "incomplete"): 1,
            ("run.duration", "reconcile", "incomplete"): 60,
            ("snapshots", "reconcile", "raw"): 4,
            ("requests", "reconcile", "raw"): 6,
            ("snapshots", "reconcile", "lake"): 1,
            ("requests", "reconcile", "lake"): 0,
            ("versions", "raw"): 100,
            ("versions.protected", "raw"): 90,
            ("versions.unprotected", "raw"): 10,
            ("versions.unprotected.age", "raw"): 7200,
            ("versions.unprotectable", "raw", "archived"): 3,
            ("versions.unprotectable", "raw", "gone before it was copied"): 5,
            ("changes.share", "raw", "changed"): 0.125,
            ("changes.share", "raw", "deleted"): 0.01,
            ("alarms", "raw"): 1,
            ("proofs", "verify", "good"): 7,
            ("proofs", "verify", "bad"): 2,
            ("proofs", "verify", "unknown"): 1,
            ("proofs", "drill", "good"): 19,
            ("proofs", "drill", "bad"): 1,
            ("proofs", "drill", "unknown"): 2,
        }

    def test_an_inventory_tells_nothing_of_changes_and_ends_no_alarm(self) -> None:
        part = ContainerReport("raw", listing="inventory", complete=True)
        report = coverage_report("r1", ago(90), NOW, [part], Findings(), complete=True)
        report["containers"][0] |= {"overwritten_percent": 0.0, "deleted_percent": 0.0, "alarm": "x"}
        found = values(of_result("reconcile", report, 60, NOW))
        assert found["alarms", "raw"] == 1
        assert "changes.share" not in {name for name, *_ in found}

    def test_a_reconciliation_that_ends_with_a_shard_is_told_of_as_any_other(self) -> None:
        report = coverage_report("r1", ago(90), NOW, [ContainerReport("raw", complete=True)], Findings(), complete=True)
        report["containers"][0] |= {"overwritten_percent": 0.0, "deleted_percent": 0.0}
        found = values(of_result("backup", Outcome("raw", ago(5), scanned="done", reconciled=report), 2.5, NOW))
        assert found == values(of_result("reconcile", report, 90, NOW)) | {
            ("runs", "backup", "complete"): 1,
            ("run.duration", "backup", "complete"): 2.5,
        }

    def test_following_the_change_feed_is_no_reconciliation(self) -> None:
        """It does not tell whether all is protected, and must not keep quiet who waits for a run that does."""
        followed = Followed(events=9, requests=Counter(raw=2), snapshots=Counter(raw=1, lake=1))
        assert (followed.requested, followed.snapshots_created) == (2, 2)
        assert values(of_result("reconcile", followed, 2.5, NOW)) == {
            ("runs", "changefeed", "complete"): 1,
            ("run.duration", "changefeed", "complete"): 2.5,
            ("requests", "changefeed", "raw"): 2,
            ("snapshots", "changefeed", "raw"): 1,
            ("snapshots", "changefeed", "lake"): 1,
        }

    def test_of_a_sync_whether_it_failed_or_not(self) -> None:
        differing = Problems(2)
        pair = PairReport(
            *("lake", "lakebak", PairOutcome.FAILED, "x", 9, 4, 3, 2, 1, 512, 7, 0, 1.5),
            differing=differing,
            alarm=True,
        )
        report = SyncReport(NOW, NOW, True, 50, (pair,))
        expected = {
            ("sync.pairs", "lake", "lakebak", "failed"): 1,
            ("azcopy.files", "lake", "lakebak", "completed"): 4,
            ("azcopy.files", "lake", "lakebak", "skipped"): 3,
            ("azcopy.files", "lake", "lakebak", "failed"): 2,
            ("azcopy.files", "lake", "lakebak", "deleted"): 1,
            ("azcopy.files", "lake", "lakebak", "differing"): 2,
            ("azcopy.bytes", "lake", "lakebak"): 512,
            ("sync.duration", "lake", "lakebak"): 1.5,
            ("alarms", "lake"): 1,
            ("runs", "sync", "failed"): 1,
            ("run.duration", "sync", "failed"): 3,
        }
        assert values(of_result("sync", report, 3, NOW)) == expected
        assert values(of_failure("sync", SyncFailed("x", report.to_json()), 3)) == expected
        good = replace(report, pairs=(replace(pair, outcome=PairOutcome.SUCCEEDED, alarm=False),))
        assert ("alarms", "lake") not in values(of_result("sync", good, 3, NOW))

    @pytest.mark.parametrize(
        ("error", "outcome"),
        [(StorageFailed("503"), "failed"), (KeyError("x"), "failed"), (BadParameter("x"), "refused")],
        ids=repr,
    )
    def test_a_call_that_is_at_fault_is_no_failure_of_the_app(self, error: Exception, outcome: str) -> None:
        assert values(of_failure("protect", error, 1)) == {
            ("runs", "protect", outcome): 1,
            ("run.duration", "protect", outcome): 1,
        }

    def test_of_the_queue(self) -> None:
        queue = QueueOverview(7, NOW - timedelta(minutes=5), 0, None)
        assert values(of_queue(queue, NOW)) == {
            ("queue.messages", "requests"): 7,
            ("queue.age", "requests"): 300,
            ("queue.messages", "poison"): 0,
            ("queue.age", "poison"): 0,
        }

    def test_of_connections_whose_signature_tells_its_end(self) -> None:
        connections = [
            Connection("SourceStorage", connection_string=f"BlobEndpoint=https://a/;{SAS}"),
            Connection("BackupStorage", connection_string="AccountName=b;AccountKey=x"),
        ]
        assert values(of_connections(iter(connections), NOW)) == {("sas.remaining", "SourceStorage"): 3600}


class TestNames:
    def test_each_value_is_a_number(self) -> None:
        """JSON has another form for what Python takes for 1 and 0, and a metric's value is none of that form."""
        assert {type(value) for _, value, _ in everything()} == {int, float}

    def test_each_name_stands_for_one_metric_of_snapkeep(self) -> None:
        names = [metric.name for metric in METRICS]
        assert len(set(names)) == len(names) == 23
        assert all(name.startswith("snapkeep.") for name in names)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Queue:
    """A queue that is looked at, and may fail."""

    def __init__(self) -> None:
        self.looks = 0
        self.error: Exception | None = None

    async def overview(self) -> QueueOverview:
        self.looks += 1
        if self.error:
            raise self.error
        return EMPTY


async def gives(result: Any) -> Any:
    return result


async def raises(error: BaseException) -> Any:
    raise error


class TestRecording:
    @pytest.fixture
    def reader(self) -> InMemoryMetricReader:
        return InMemoryMetricReader()

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def queue(self) -> Queue:
        return Queue()

    @pytest.fixture
    def services(self, queue: Queue) -> Services:
        connection = Connection("x")
        settings = SimpleNamespace(source=connection, backup=connection, queue=connection, state=connection)
        return cast("Services", SimpleNamespace(queue=queue, settings=settings, now=lambda: NOW))

    @pytest.fixture
    def telemetry(self, reader: InMemoryMetricReader, clock: Clock) -> Telemetry:
        return Telemetry(MeterProvider([reader]), None, clock)

    def exported(self, reader: InMemoryMetricReader) -> dict[str, list[tuple[dict[str, Any], Any]]]:
        data = reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: [
                (dict(point.attributes or {}), getattr(point, "value", getattr(point, "sum", None)))
                for point in metric.data.data_points
            ]
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    async def test_what_a_result_says_is_exported_under_its_name_and_unit(
        self, reader: InMemoryMetricReader, telemetry: Telemetry, services: Services, clock: Clock
    ) -> None:
        async def work() -> Outcome:
            clock.seconds += 2.5
            return finished(already=2)

        assert (await telemetry.observed(services, "backup", work())).already == 2
        found = self.exported(reader)
        assert found["snapkeep.runs"] == [({"function": "backup", "outcome": "complete"}, 1)]
        assert found["snapkeep.run.duration"] == [({"function": "backup", "outcome": "complete"}, 2.5)]
        assert found["snapkeep.copies"] == [({"container": "raw", "engine": "none", "outcome": "present"}, 2)]
        assert found["snapkeep.queue.messages"] == [({"queue": "requests"}, 0), ({"queue": "poison"}, 0)]

    def test_every_metric_can_be_recorded(self, reader: InMemoryMetricReader, telemetry: Telemetry) -> None:
        telemetry.record(Measurement(metric, 1, {}) for metric in METRICS)
        assert self.exported(reader).keys() == {metric.name for metric in METRICS}

    def test_a_gauge_is_sent_once_each_time_that_it_is_set(
        self, reader: InMemoryMetricReader, telemetry: Telemetry
    ) -> None:
        """Sent again each minute, what this instance found yesterday would hide what another one found today."""
        raw, lake = {"container": "raw"}, {"container": "lake"}
        telemetry.record([Measurement(ALARMS, 1, raw), Measurement(ALARMS, 1, lake), Measurement(ALARMS, 0, raw)])
        assert self.exported(reader) == {"snapkeep.alarms": [(raw, 0), (lake, 1)]}
        telemetry.record([Measurement(RUNS, 1, {})])
        assert "snapkeep.alarms" not in self.exported(reader)
        telemetry.record([Measurement(ALARMS, 0, lake)])
        assert self.exported(reader)["snapkeep.alarms"] == [(lake, 0)]

    async def test_a_failure_is_recorded_and_raised_as_it_is(
        self, reader: InMemoryMetricReader, telemetry: Telemetry, services: Services
    ) -> None:
        with pytest.raises(StorageFailed, match="503"):
            await telemetry.observed(services, "reconcile", raises(StorageFailed("503")))
        assert self.exported(reader)["snapkeep.runs"] == [({"function": "reconcile", "outcome": "failed"}, 1)]

    async def test_a_run_that_another_instance_makes_counts_there(
        self, telemetry: Telemetry, services: Services, queue: Queue
    ) -> None:
        with pytest.raises(AlreadyRunning):
            await telemetry.observed(services, "sync", raises(AlreadyRunning("x")))
        assert queue.looks == 0

    async def test_the_queue_is_looked_at_once_a_minute(
        self, telemetry: Telemetry, services: Services, queue: Queue, clock: Clock
    ) -> None:
        for _ in range(3):
            await telemetry.observed(services, "backup", gives(finished()))
        assert queue.looks == 1
        clock.seconds += QUEUE_SECONDS
        await telemetry.observed(services, "backup", gives(finished()))
        assert queue.looks == 2

    @pytest.mark.parametrize("error", [StorageFailed("503"), TimeoutError(), KeyError("defect")], ids=repr)
    async def test_what_cannot_be_measured_stops_no_work(
        self,
        telemetry: Telemetry,
        services: Services,
        queue: Queue,
        error: Exception,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        queue.error = error
        assert await telemetry.observed(services, "backup", gives(finished())) == finished()
        assert [record.levelno >= logging.WARNING for record in caplog.records] == [True]

    async def test_off_it_asks_for_nothing(self, services: Services, queue: Queue) -> None:
        work: Awaitable[Outcome] = gives(finished())
        assert await Telemetry().observed(services, "backup", work) == finished()
        with pytest.raises(StorageFailed):
            await Telemetry().observed(services, "backup", raises(StorageFailed("x")))
        assert queue.looks == 0

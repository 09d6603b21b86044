"""The metrics that the app emits: their names, which alerts and dashboards rely on, and what a report says in them.

An attribute is one of few values: a function, a container, an engine, an outcome, a reason; never the name of a blob.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

from shared.connections import Connection
from shared.decisions.mirroring import sas_expiry
from shared.model import QueueOverview, Reason


class Kind(Enum):
    """How values add up: a counter's are summed, a gauge's last one stands, a histogram keeps their distribution."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """One metric; `unit` as UCUM has it."""

    name: str
    kind: Kind
    unit: str
    description: str


class Measurement(NamedTuple):
    """One value of a metric."""

    metric: Metric
    value: float
    attributes: Mapping[str, str]


RUNS = Metric("snapkeep.runs", Kind.COUNTER, "{run}", "Invocations of functions, by how they ended")
RUN_DURATION = Metric("snapkeep.run.duration", Kind.HISTOGRAM, "s", "How long an invocation took")
SNAPSHOTS = Metric("snapkeep.snapshots", Kind.COUNTER, "{snapshot}", "Snapshots taken")
REQUESTS = Metric("snapkeep.requests", Kind.COUNTER, "{version}", "Versions whose backup was requested")
COPIES = Metric("snapkeep.copies", Kind.COUNTER, "{version}", "What became of versions that were to be backed up")
COPIES_SIZE = Metric("snapkeep.copies.size", Kind.COUNTER, "By", "Bytes of verified copies")
REQUEST_AGE = Metric("snapkeep.request.age", Kind.HISTOGRAM, "s", "From a request to the end of its message")
QUEUE_MESSAGES = Metric("snapkeep.queue.messages", Kind.GAUGE, "{message}", "Messages in the queue")
QUEUE_OLDEST_AGE = Metric("snapkeep.queue.oldest_age", Kind.GAUGE, "s", "Age of the oldest message that is seen")
VERSIONS = Metric("snapkeep.versions", Kind.GAUGE, "{version}", "Versions found by a reconciliation")
VERSIONS_PROTECTED = Metric("snapkeep.versions.protected", Kind.GAUGE, "{version}", "Protected ones of them")
VERSIONS_UNPROTECTED = Metric("snapkeep.versions.unprotected", Kind.GAUGE, "{version}", "Unprotected ones, and why")
UNPROTECTED_OLDEST_AGE = Metric(
    "snapkeep.unprotected.oldest_age", Kind.GAUGE, "s", "Age of the oldest unprotected version"
)
CHANGED_SHARE = Metric("snapkeep.blobs.changed_share", Kind.GAUGE, "%", "Share of blobs overwritten within a day")
DELETED_SHARE = Metric("snapkeep.blobs.deleted_share", Kind.GAUGE, "%", "Share of blobs found deleted by a run")
ALARMS = Metric("snapkeep.alarms", Kind.GAUGE, "{alarm}", "1 where a share was unusual, 0 where it was not")
SYNC_PAIRS = Metric("snapkeep.sync.pairs", Kind.COUNTER, "{pair}", "Mirrored pairs, by how that ended")
SYNC_FILES = Metric("snapkeep.sync.files", Kind.COUNTER, "{file}", "Files, by what azcopy and the comparison say")
SYNC_SIZE = Metric("snapkeep.sync.size", Kind.COUNTER, "By", "Bytes that azcopy copied")
SYNC_DURATION = Metric("snapkeep.sync.duration", Kind.HISTOGRAM, "s", "How long a pair took")
VERIFY_BACKUPS = Metric("snapkeep.verify.backups", Kind.COUNTER, "{backup}", "Verified backups, good and bad")
VERIFY_SIZE = Metric("snapkeep.verify.size", Kind.COUNTER, "By", "Bytes that were read back")
DRILLS = Metric("snapkeep.drills", Kind.COUNTER, "{drill}", "Drills, by how they ended")
DRILL_VERSIONS = Metric("snapkeep.drill.versions", Kind.COUNTER, "{version}", "Versions restored on trial, or not")
SAS_REMAINING = Metric("snapkeep.sas.remaining", Kind.GAUGE, "s", "Until a connection's SAS expires")

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))

_SYNC_OUTCOMES = ("scanned", "copied", "skipped", "failed", "deleted")


def of_run(function: str, outcome: str, seconds: float) -> Iterator[Measurement]:
    """Of every invocation."""
    attributes = {"function": function, "outcome": outcome}
    yield Measurement(RUNS, 1, attributes)
    yield Measurement(RUN_DURATION, seconds, attributes)


def of_reconciliation(report: Mapping[str, Any]) -> Iterator[Measurement]:
    """Of a coverage report. A container that was not looked at to its end is not known, and not measured."""
    for part in report["containers"]:
        where = {"function": "reconcile", "container": part["container"]}
        yield Measurement(SNAPSHOTS, part["snapshots_created"], where)
        yield Measurement(REQUESTS, part["backups_requested"], where)
        if part["complete"]:
            yield from _of_container(part)
    if report["verify"] is not None:
        yield from _of_verification(report["verify"]["totals"])
    if report["drill"] is not None:
        drill = report["drill"]
        yield Measurement(DRILLS, 1, {"outcome": drill["result"]})
        yield Measurement(DRILL_VERSIONS, drill["restored"], {"outcome": "restored"})
        yield Measurement(DRILL_VERSIONS, len(drill["failed"]), {"outcome": "failed"})


def _of_container(part: Mapping[str, Any]) -> Iterator[Measurement]:
    where = {"container": part["container"]}
    reasons: Mapping[str, int] = part["unprotectable_by_reason"]
    # Versions that were lost before they were copied stand in no listing any more.
    explained = sum(count for reason, count in reasons.items() if reason != Reason.LOST)
    missing = max(0, part["versions"] - part["protected"] - explained)
    yield Measurement(VERSIONS, part["versions"], where)
    yield Measurement(VERSIONS_PROTECTED, part["protected"], where)
    for reason, count in {"missing": missing, **reasons}.items():
        yield Measurement(VERSIONS_UNPROTECTED, count, where | {"reason": reason})
    yield Measurement(UNPROTECTED_OLDEST_AGE, part["oldest_unprotected_seconds"] or 0, where)
    yield Measurement(CHANGED_SHARE, part["overwritten_percent"], where)
    yield Measurement(DELETED_SHARE, part["deleted_percent"], where)
    yield Measurement(ALARMS, part["alarm"] is not None, where)


def _of_verification(totals: Mapping[str, int]) -> Iterator[Measurement]:
    yield Measurement(VERIFY_BACKUPS, max(0, totals["checked"] - totals["problems"]), {"outcome": "good"})
    yield Measurement(VERIFY_BACKUPS, totals["problems"], {"outcome": "bad"})
    yield Measurement(VERIFY_SIZE, totals["bytes_read"], {})


def of_sync(report: Mapping[str, Any]) -> Iterator[Measurement]:
    """Of the report of a sync."""
    for pair in report["pairs"]:
        where = {"container": pair["source"], "mirror": pair["backup"]}
        yield Measurement(SYNC_PAIRS, 1, where | {"outcome": pair["outcome"]})
        for outcome in _SYNC_OUTCOMES:
            yield Measurement(SYNC_FILES, pair[outcome], where | {"outcome": outcome})
        yield Measurement(SYNC_FILES, pair["differing_files"]["total"], where | {"outcome": "differing"})
        yield Measurement(SYNC_SIZE, pair["bytes"], where)
        yield Measurement(SYNC_DURATION, pair["elapsed_seconds"], where)
        if pair["alarm"]:
            yield Measurement(ALARMS, 1, {"container": pair["source"]})


def of_queue(queue: QueueOverview, now: datetime) -> Iterator[Measurement]:
    """How much waits, and since when."""
    for name, count, oldest in (
        ("waiting", queue.waiting, queue.oldest_waiting),
        ("poison", queue.poison, queue.oldest_poison),
    ):
        age = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
        yield Measurement(QUEUE_MESSAGES, count, {"queue": name})
        yield Measurement(QUEUE_OLDEST_AGE, age, {"queue": name})


def of_connections(connections: Iterator[Connection], now: datetime) -> Iterator[Measurement]:
    """How long the shared access signatures among the settings hold, where they tell; less than 0 once expired."""
    for connection in connections:
        expiry = sas_expiry(connection.sas) if connection.sas else None
        if expiry is not None:
            yield Measurement(SAS_REMAINING, (expiry - now).total_seconds(), {"connection": connection.name})

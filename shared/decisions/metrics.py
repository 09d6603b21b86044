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
from shared.model import QueueOverview


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
REQUEST_AGE = Metric("snapkeep.request.age", Kind.HISTOGRAM, "s", "From a request to the end of its message")
COPIES = Metric("snapkeep.copies", Kind.COUNTER, "{copy}", "Versions that were to be backed up, by what became of them")
COPY_BYTES = Metric("snapkeep.copy.bytes", Kind.COUNTER, "By", "Bytes of verified copies")
COPY_DURATION = Metric("snapkeep.copy.duration", Kind.HISTOGRAM, "s", "One version, or pipeline run, until verified")
QUEUE_MESSAGES = Metric("snapkeep.queue.messages", Kind.GAUGE, "{message}", "Messages in the queue")
QUEUE_AGE = Metric("snapkeep.queue.age", Kind.GAUGE, "s", "Age of the oldest message that shows; 0 without any")
VERSIONS = Metric("snapkeep.versions", Kind.GAUGE, "{version}", "Versions found by a reconciliation")
VERSIONS_PROTECTED = Metric("snapkeep.versions.protected", Kind.GAUGE, "{version}", "Protected ones of them")
VERSIONS_UNPROTECTED = Metric("snapkeep.versions.unprotected", Kind.GAUGE, "{version}", "The others")
UNPROTECTED_AGE = Metric("snapkeep.versions.unprotected.age", Kind.GAUGE, "s", "Age of the oldest; 0 without any")
UNPROTECTABLE = Metric(
    "snapkeep.versions.unprotectable", Kind.GAUGE, "{version}", "Versions that stay unprotected until somebody acts"
)
CHANGES_SHARE = Metric("snapkeep.changes.share", Kind.GAUGE, "1", "Share of blobs overwritten within a day, or deleted")
ALARMS = Metric("snapkeep.alarms", Kind.GAUGE, "{alarm}", "1 where that share was unusual, 0 where it was not")
SYNC_PAIRS = Metric("snapkeep.sync.pairs", Kind.COUNTER, "{pair}", "Mirrored pairs, by how that ended")
SYNC_DURATION = Metric("snapkeep.sync.duration", Kind.HISTOGRAM, "s", "How long a pair took")
AZCOPY_FILES = Metric("snapkeep.azcopy.files", Kind.COUNTER, "{file}", "Files, by what became of them")
AZCOPY_BYTES = Metric("snapkeep.azcopy.bytes", Kind.COUNTER, "By", "Bytes that azcopy copied")
PROOFS = Metric("snapkeep.proofs", Kind.COUNTER, "{backup}", "Backups verified, and restored on trial")
SAS_REMAINING = Metric("snapkeep.sas.remaining", Kind.GAUGE, "s", "Until a connection's SAS expires")

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))

_ENDINGS = {"succeeded": "complete"}
"""The words of run notes that are others in metrics."""


def of_run(function: str, outcome: str, seconds: float) -> Iterator[Measurement]:
    """Of every invocation."""
    attributes = {"function": function, "outcome": _ENDINGS.get(outcome, outcome)}
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
    if (verify := report["verify"]) is not None:
        bad = verify["totals"]["problems"]
        unknown = sum(part["unproven"] for part in verify["containers"])
        yield from _of_proof("verify", max(0, verify["totals"]["checked"] - bad - unknown), bad, unknown)
    if (drill := report["drill"]) is not None:
        yield from _of_proof("drill", drill["restored"], len(drill["failed"]), len(drill["skipped"]))


def _of_container(part: Mapping[str, Any]) -> Iterator[Measurement]:
    where = {"container": part["container"]}
    yield Measurement(VERSIONS, part["versions"], where)
    yield Measurement(VERSIONS_PROTECTED, part["protected"], where)
    yield Measurement(VERSIONS_UNPROTECTED, part["versions"] - part["protected"], where)
    yield Measurement(UNPROTECTED_AGE, part["oldest_unprotected_seconds"] or 0, where)
    for reason, count in part["unprotectable_by_reason"].items():
        yield Measurement(UNPROTECTABLE, count, where | {"reason": reason})
    if part["listing"] == "live":  # an inventory tells nothing of changes
        yield Measurement(CHANGES_SHARE, part["overwritten_percent"] / 100, where | {"change": "changed"})
        yield Measurement(CHANGES_SHARE, part["deleted_percent"] / 100, where | {"change": "deleted"})
    yield Measurement(ALARMS, int(part["alarm"] is not None), where)


def _of_proof(proof: str, good: int, bad: int, unknown: int) -> Iterator[Measurement]:
    for outcome, count in (("good", good), ("bad", bad), ("unknown", unknown)):
        yield Measurement(PROOFS, count, {"proof": proof, "outcome": outcome})


def of_sync(report: Mapping[str, Any]) -> Iterator[Measurement]:
    """Of the report of a sync."""
    for pair in report["pairs"]:
        where = {"container": pair["source"], "mirror": pair["backup"]}
        yield Measurement(SYNC_PAIRS, 1, where | {"outcome": pair["outcome"]})
        yield Measurement(SYNC_DURATION, pair["elapsed_seconds"], where)
        files = {name: pair[name] for name in ("failed", "skipped", "deleted")}
        files |= {"completed": pair["copied"], "differing": pair["differing_files"]["total"]}
        for outcome, count in files.items():
            yield Measurement(AZCOPY_FILES, count, where | {"outcome": outcome})
        yield Measurement(AZCOPY_BYTES, pair["bytes"], where)
        if pair["alarm"]:
            yield Measurement(ALARMS, 1, {"container": pair["source"]})


def of_queue(queue: QueueOverview, now: datetime) -> Iterator[Measurement]:
    """How much waits, and since when."""
    for name, count, oldest in (
        ("requests", queue.waiting, queue.oldest_waiting),
        ("poison", queue.poison, queue.oldest_poison),
    ):
        age = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
        yield Measurement(QUEUE_MESSAGES, count, {"queue": name})
        yield Measurement(QUEUE_AGE, age, {"queue": name})


def of_connections(connections: Iterator[Connection], now: datetime) -> Iterator[Measurement]:
    """How long the shared access signatures among the settings hold, where they tell; less than 0 once expired."""
    for connection in connections:
        expiry = sas_expiry(connection.sas) if connection.sas else None
        if expiry is not None:
            yield Measurement(SAS_REMAINING, (expiry - now).total_seconds(), {"connection": connection.name})

"""The status: from the latest reports and the queue, what is protected, what is not and why, and one verdict.

The verdict is `unknown` when something could not be read, else `at risk` as soon as one problem is known.
The unknowns are listed with it. Without a known problem, a single unknown makes it `unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Any, TypeVar

from shared.decisions import status_findings as findings
from shared.decisions.status_documents import (
    ContainerCoverage,
    Coverage,
    CoveragePoint,
    Drill,
    Found,
    History,
    Mirrors,
    RunNote,
    Unreadable,
    Verification,
    parsed,
)
from shared.decisions.status_findings import Finding, Verdict
from shared.model import QueueOverview, second_of

FUNCTIONS = ("protect", "backup", "sync", "reconcile")
MAX_LISTED = 1000
"""How many unprotected versions a status names."""
MAX_RUNS = 90
"""How many runs of the history it holds."""


@dataclass(frozen=True)
class Inputs:
    """What was read, or could not be.

    Attributes:
        runs: each function's last note.
        discarded: how many requests people have discarded.
        mirrors: the pairs of containers that the settings have mirrored.
        verifies: whether the settings have every reconciliation verify backups.
        drills: whether they have it try restores.
        alarms: what alarms say that nobody acknowledged.
    """

    coverage: Found
    history: Found
    sync: Found
    verify: Found
    drill: Found
    runs: Mapping[str, Found]
    queue: QueueOverview | Unreadable
    discarded: int | Unreadable
    mirrors: tuple[tuple[str, str], ...]
    verifies: bool
    drills: bool
    alarms: tuple[str, ...] | Unreadable = ()


@dataclass(frozen=True)
class ContainerStatus:
    """One container, or all of them together.

    Attributes:
        protected_percent: rounded down, so that 100 means all of them; None where there is nothing to protect.
        missing: versions that are neither protected nor reported with a reason: the next runs are to bring them.
        not_snapshotted: blobs that could not be snapshotted; they are among the missing.
        recovery_point_seconds: the age of the oldest unprotected version, None without one.
        deleted: names that are recorded as gone from the source; None when the report is older than such records.
        error: why the container was not looked at to its end.
    """

    container: str
    blobs: int
    versions: int
    protected: int
    protected_percent: float | None
    missing: int
    unprotectable: Mapping[str, int]
    not_snapshotted: int
    recovery_point_seconds: int | None
    deleted: int | None
    error: str | None


@dataclass(frozen=True)
class RunStatus:
    """The last run of a function, or of verify or drill; `result` is "never ran" or "unknown" without one."""

    what: str
    result: str
    started_at: str | None = None
    finished_at: str | None = None
    detail: str = ""


@dataclass(frozen=True)
class QueueStatus:
    """As `QueueOverview`, with ages."""

    waiting: int
    oldest_waiting_seconds: int | None
    poison: int
    oldest_poison_seconds: int | None


@dataclass(frozen=True)
class UnprotectedVersion:
    """A version that stays unprotected, or a blob that could not be snapshotted, and why."""

    container: str
    name: str
    last_modified: str | None
    reason: str
    detail: str


@dataclass(frozen=True)
class Status:
    """What is known at one moment. None stands for what is not.

    Attributes:
        reported_at: when the coverage report was written that most of this is from, or the inventory that it rests on.
        checks: the last verify and drill, by their reports.
        history: the last reconciliations, oldest first.
        unprotected: the first of the versions that stay unprotected; `unprotected_count` are all.
    """

    verdict: Verdict
    reasons: tuple[Finding, ...]
    as_of: str
    reported_at: str | None
    total: ContainerStatus | None
    containers: tuple[ContainerStatus, ...]
    functions: tuple[RunStatus, ...]
    checks: tuple[RunStatus, ...]
    queue: QueueStatus | None
    discarded: int | None
    history: tuple[CoveragePoint, ...]
    unprotected: tuple[UnprotectedVersion, ...]
    unprotected_count: int

    @property
    def knows_all(self) -> bool:
        """Whether everything could be read, whatever it says."""
        return all(reason.verdict is not Verdict.UNKNOWN for reason in self.reasons)

    def to_json(self) -> dict[str, Any]:
        """For machines. The history and the versions' names stand in the reports already."""
        left_out = {"history", "unprotected"}
        shown = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in left_out}
        return {"schema": 1, "kind": "status"} | {name: _plain(value) for name, value in shown.items()}


def status(inputs: Inputs, now: datetime) -> Status:
    """The status at `now`, from what was read."""
    coverage = parsed(Coverage, "reports/latest.json", inputs.coverage)
    history = parsed(History, "history/coverage.json", inputs.history)
    sync = parsed(Mirrors, "reports/sync-latest.json", inputs.sync) if inputs.mirrors else None
    verify = parsed(Verification, "reports/verify-latest.json", inputs.verify)
    drill = parsed(Drill, "reports/drill-latest.json", inputs.drill)
    runs = {name: parsed(RunNote, f"runs/{name}.json", inputs.runs.get(name)) for name in FUNCTIONS}
    known = coverage if isinstance(coverage, Coverage) else None
    reported_at = {
        "reconcile": known.finished_at if known else None,
        "sync": sync.finished_at if isinstance(sync, Mirrors) else None,
    }
    reasons = [
        *findings.coverage_findings(coverage, now),
        *findings.alarm_findings(inputs.alarms),
        *findings.queue_findings(inputs.queue, now),
        *findings.run_findings(runs, reported_at),
        *findings.sync_findings(sync, inputs.mirrors, now),
        *findings.verify_findings(verify, now, expected=inputs.verifies),
        *findings.drill_findings(drill, now, expected=inputs.drills),
        *findings.unreadable("the history of coverage", history),
        *findings.unreadable("the list of discarded requests", inputs.discarded),
    ]
    parts = known.containers if known else ()
    containers = tuple(_container(part, now) for part in parts)
    return Status(
        verdict=findings.verdict_of(reasons),
        reasons=tuple(sorted(reasons, key=lambda reason: reason.verdict is Verdict.UNKNOWN)),
        as_of=second_of(now),
        reported_at=second_of(known.as_of) if known else None,
        total=_total(containers) if known else None,
        containers=containers,
        functions=(
            _function("protect", runs["protect"]),
            _function("backup", runs["backup"]),
            _later(_function("sync", runs["sync"]), _reported("sync", sync, _mirrored)),
            _later(_function("reconcile", runs["reconcile"]), _reported("reconcile", coverage, _reconciled)),
        ),
        checks=(_reported("verify", verify, _verified), _reported("drill", drill, _drilled)),
        queue=None if isinstance(inputs.queue, Unreadable) else _queue(inputs.queue, now),
        discarded=None if isinstance(inputs.discarded, Unreadable) else inputs.discarded,
        history=history.runs[-MAX_RUNS:] if isinstance(history, History) else (),
        unprotected=tuple(version for part in parts for version in _unprotected(part))[:MAX_LISTED],
        unprotected_count=sum(sum(part.unprotectable_by_reason.values()) + part.failed_count for part in parts),
    )


def percent(part: int, whole: int) -> float | None:
    """To a tenth, rounded down: only the whole is 100. None of nothing."""
    return part * 1000 // whole / 10 if whole else None


def _container(part: ContainerCoverage, now: datetime) -> ContainerStatus:
    return ContainerStatus(
        container=part.container,
        blobs=part.blobs,
        versions=part.versions,
        protected=part.protected,
        protected_percent=percent(part.protected, part.versions),
        missing=findings.missing(part),
        unprotectable=part.unprotectable_by_reason,
        not_snapshotted=part.failed_count,
        recovery_point_seconds=_age(part.oldest_unprotected, now),
        deleted=part.deleted,
        error=part.error or (None if part.complete else "not looked at to its end"),
    )


def _total(parts: Sequence[ContainerStatus]) -> ContainerStatus:
    by_reason: dict[str, int] = {}
    for part in parts:
        for reason, count in part.unprotectable.items():
            by_reason[reason] = by_reason.get(reason, 0) + count
    versions, protected = sum(part.versions for part in parts), sum(part.protected for part in parts)
    deleted = [part.deleted for part in parts if part.deleted is not None]
    failed = sum(part.error is not None for part in parts)
    return ContainerStatus(
        container="all containers",
        blobs=sum(part.blobs for part in parts),
        versions=versions,
        protected=protected,
        protected_percent=percent(protected, versions),
        missing=sum(part.missing for part in parts),
        unprotectable=by_reason,
        not_snapshotted=sum(part.not_snapshotted for part in parts),
        recovery_point_seconds=max(
            (part.recovery_point_seconds for part in parts if part.recovery_point_seconds is not None), default=None
        ),
        deleted=sum(deleted) if len(deleted) == len(parts) else None,
        error=f"{failed} not looked at to the end" if failed else None,
    )


def _function(name: str, note: RunNote | Unreadable | None) -> RunStatus:
    if note is None:
        return RunStatus(name, "never ran")
    if isinstance(note, Unreadable):
        return RunStatus(name, "unknown", detail=note.reason)
    return RunStatus(name, note.result, second_of(note.started_at), second_of(note.finished_at), note.detail)


def _later(noted: RunStatus, reported: RunStatus) -> RunStatus:
    """A run by hand leaves a report and no note: where its report is the later one, that was the last run."""
    return reported if reported.finished_at and reported.finished_at > (noted.finished_at or "") else noted


Report = TypeVar("Report", Coverage, Mirrors, Verification, Drill)


def _reported(what: str, report: Report | Unreadable | None, outcome: Callable[[Report], tuple[str, str]]) -> RunStatus:
    if report is None:
        return RunStatus(what, "never ran")
    if isinstance(report, Unreadable):
        return RunStatus(what, "unknown", detail=report.reason)
    result, detail = outcome(report)
    return RunStatus(what, result, second_of(report.started_at), second_of(report.finished_at), detail)


def _reconciled(report: Coverage) -> tuple[str, str]:
    versions = sum(part.versions for part in report.containers)
    protected = sum(part.protected for part in report.containers)
    return "succeeded" if report.complete else "incomplete", f"{protected:,} of {versions:,} versions protected"


def _mirrored(report: Mirrors) -> tuple[str, str]:
    good = sum(pair.outcome == "succeeded" for pair in report.pairs)
    return "succeeded" if report.complete else "failed", f"{good:,} of {len(report.pairs):,} pairs are mirrors"


def _verified(report: Verification) -> tuple[str, str]:
    totals = report.totals
    done = f"{totals.checked:,} of {totals.versions:,} backups looked at, {totals.bytes_checked:,} read back"
    if totals.problems:
        return "failed", f"{done}; {totals.problems:,} bad"
    if report.complete and not totals.versions:
        return "nothing to verify", "no version was in the sample"
    return "succeeded" if report.complete else "incomplete", done


def _drilled(report: Drill) -> tuple[str, str]:
    return report.result, f"{report.restored:,} of {report.picked:,} versions restored and compared"


def _queue(queue: QueueOverview, now: datetime) -> QueueStatus:
    return QueueStatus(queue.waiting, _age(queue.oldest_waiting, now), queue.poison, _age(queue.oldest_poison, now))


def _unprotected(part: ContainerCoverage) -> Iterator[UnprotectedVersion]:
    for version in part.unprotectable:
        yield UnprotectedVersion(part.container, version.name, version.last_modified, version.reason, version.detail)
    for blob in part.failed:
        yield UnprotectedVersion(part.container, blob.name, None, "could not be snapshotted", blob.reason)


def _age(moment: datetime | None, now: datetime) -> int | None:
    return None if moment is None else max(0, int((now - moment).total_seconds()))


def _plain(value: Any) -> Any:
    """Made of what JSON can hold."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value

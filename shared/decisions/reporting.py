"""The coverage report: what a reconciliation found, did, and could not do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from shared.decisions.coverage import Coverage, Unprotected
from shared.model import Version, moment_of, second_of

MAX_ERRORS = 10
"""How many errors of its shards a container's report holds."""

MAX_LISTED = 1000
"""How many unprotected versions a report names for each container; it counts all."""


@dataclass
class ContainerReport:
    """One container's part, made of what JSON can hold, so that a checkpoint can.

    Attributes:
        vanished: blobs that were deleted between the listing and their snapshot.
        deleted: blobs that are recorded as gone from the source; `deleted_in_run` of them by this run, and
            `deleted_lately` by this one and those of the day before it.
        deletions_unconfirmed: blobs that were missed, of which it is not known whether they are gone.
        overwritten_lately, created_lately: blobs that were written in the day before the run, in place of an older
            version or not.
        alarm: what is unusual about the share of blobs that were overwritten or deleted.
        listing: what it was compared by: the accounts' own `live` listings, or their `inventory`.
    """

    container: str
    blobs: int = 0
    versions: int = 0
    protected: int = 0
    snapshots_created: int = 0
    backups_requested: int = 0
    vanished: int = 0
    unprotectable_by_reason: dict[str, int] = field(default_factory=dict)
    unprotectable: list[dict[str, str]] = field(default_factory=list)
    failed_count: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    oldest_unprotected: str | None = None
    deleted: int = 0
    deleted_in_run: int = 0
    deleted_lately: int = 0
    deletions_unconfirmed: int = 0
    overwritten_lately: int = 0
    created_lately: int = 0
    alarm: str | None = None
    listing: str = "live"
    duration_seconds: float = 0.0
    complete: bool = False
    error: str | None = None

    def restarted(self) -> ContainerReport:
        """A report of the same container with what was done, and nothing of what was found."""
        kept = ("snapshots_created", "backups_requested", "vanished", "failed_count", "failed", "duration_seconds")
        return ContainerReport(self.container, **{name: getattr(self, name) for name in kept})

    @classmethod
    def merged(cls, container: str, parts: Sequence[ContainerReport]) -> ContainerReport:
        """The report of a container out of those of its shards, each of which counts other blobs.

        It took as long as all of them together, whichever were gone through at the same time.
        """
        whole = cls(container, complete=all(part.complete for part in parts))
        for part in parts:
            for name in _COUNTS:
                setattr(whole, name, getattr(whole, name) + getattr(part, name))
            for reason, count in part.unprotectable_by_reason.items():
                whole.unprotectable_by_reason[reason] = whole.unprotectable_by_reason.get(reason, 0) + count
            whole.unprotectable = (whole.unprotectable + part.unprotectable)[:MAX_LISTED]
            whole.failed = (whole.failed + part.failed)[:MAX_LISTED]
        oldest = [part.oldest_unprotected for part in parts if part.oldest_unprotected is not None]
        whole.oldest_unprotected = min(oldest, default=None)
        whole.duration_seconds = round(whole.duration_seconds, 3)
        errors = list(dict.fromkeys(part.error for part in parts if part.error))
        more = [f"and {len(errors) - MAX_ERRORS} more of the kind"] if len(errors) > MAX_ERRORS else []
        whole.error = "; ".join(errors[:MAX_ERRORS] + more) or None
        return whole

    def add(self, coverage: Coverage) -> None:
        """Counts one blob."""
        self.versions += coverage.versions
        self.protected += len(coverage.protected)
        if coverage.oldest_unprotected is not None:
            self.oldest_unprotected = min(
                self.oldest_unprotected or coverage.oldest_unprotected, coverage.oldest_unprotected
            )
        for unprotected in coverage.unprotectable:
            self.add_unprotectable(unprotected)

    def count_written(self, how: Literal["overwritten", "created"] | None) -> None:
        """Counts a blob that was written lately."""
        self.overwritten_lately += how == "overwritten"
        self.created_lately += how == "created"

    def add_protected(self, blobs: int) -> None:
        """Counts so many blobs of one version each, which are protected."""
        self.blobs += blobs
        self.versions += blobs
        self.protected += blobs

    def add_unprotectable(self, unprotected: Unprotected) -> None:
        """Counts a version that stays unprotected, and names it while there is room."""
        version, reason = unprotected.version, str(unprotected.reason)
        self.unprotectable_by_reason[reason] = self.unprotectable_by_reason.get(reason, 0) + 1
        if len(self.unprotectable) < MAX_LISTED:
            self.unprotectable.append(_line(version, reason, unprotected.detail))

    def add_failed(self, failed: list[dict[str, str]]) -> None:
        """Counts blobs that could not be snapshotted, and names them while there is room."""
        self.failed_count += len(failed)
        self.failed = (self.failed + failed)[:MAX_LISTED]

    def lists(self, version: Version) -> bool:
        """Whether this version is among the unprotectable that are named."""
        return any(line["name"] == version.name and line["etag"] == version.etag for line in self.unprotectable)

    def to_json(self, now: datetime) -> dict[str, Any]:
        """As it stands in the report."""
        values = asdict(self)
        values["oldest_unprotected_seconds"] = (
            int((now - moment_of(self.oldest_unprotected)).total_seconds()) if self.oldest_unprotected else None
        )
        return values


_COUNTS = (
    *("blobs", "versions", "protected", "snapshots_created", "backups_requested", "vanished", "failed_count"),
    *("deleted", "deleted_in_run", "deleted_lately", "deletions_unconfirmed", "overwritten_lately", "created_lately"),
    "duration_seconds",
)


@dataclass(frozen=True)
class Findings:
    """What a run found out beside the coverage; None for what it did not look at.

    Attributes:
        verify, drill: the reports of the proofs that the run ends with.
        discarded: the poison messages that people have discarded.
        errors: what of all this failed, and why.
    """

    verify: dict[str, Any] | None = None
    drill: dict[str, Any] | None = None
    discarded: list[dict[str, Any]] | None = None
    errors: tuple[str, ...] = ()


def coverage_report(
    run_id: str,
    started_at: str,
    now: datetime,
    containers: list[ContainerReport],
    findings: Findings,
    *,
    complete: bool,
    listing: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole report of a run. It is complete when every container was looked at to its end.

    Args:
        listing: the inventories that the run rests on, and how; None for one that listed the accounts.
    """
    counts = ("blobs", "versions", "protected", "snapshots_created", "backups_requested")
    totals: dict[str, Any] = {name: sum(getattr(part, name) for part in containers) for name in counts}
    totals["unprotectable"] = sum(sum(part.unprotectable_by_reason.values()) for part in containers)
    discarded = findings.discarded
    return {
        "schema": 1,
        "kind": "reconcile",
        "run_id": run_id,
        "started_at": started_at,
        "finished_at": second_of(now),
        "complete": complete and all(part.complete for part in containers),
        "errors": list(findings.errors),
        "listing": listing,
        "totals": totals,
        "verify": findings.verify,
        "drill": findings.drill,
        "discarded": {"count": len(discarded), "listed": discarded[:MAX_LISTED]} if discarded is not None else None,
        "containers": [part.to_json(now) for part in containers],
    }


def _line(version: Version, reason: str, detail: str) -> dict[str, str]:
    return {
        "name": version.name,
        "etag": version.etag,
        "last_modified": version.last_modified,
        "reason": reason,
        "detail": detail,
    }

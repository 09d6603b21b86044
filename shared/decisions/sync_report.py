"""The report of a run of `sync`: what was done for each pair of containers, and what was not, with reasons."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from shared.model import second_of


class PairOutcome(StrEnum):
    """How a pair ended; these words stand in reports."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    STOPPED = "stopped"
    NOT_STARTED = "not started"


@dataclass
class Problems:
    """Files with what is wrong with each: all are counted, the first thousand listed."""

    LISTED: ClassVar[int] = 1000

    total: int = 0
    listed: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, reason: str) -> None:
        self.total += 1
        if len(self.listed) < self.LISTED:
            self.listed.append((name, reason))

    def __bool__(self) -> bool:
        return self.total > 0

    def to_json(self) -> dict[str, Any]:
        return {"total": self.total, "listed": [{"name": name, "reason": reason} for name, reason in self.listed]}


@dataclass(frozen=True)
class PairReport:
    """One pair of containers.

    Attributes:
        scanned: blobs of the source; those that azcopy got to see, when it did not end well.
        extraneous: files in the mirror that are not in the source, version backups aside, before any
            was deleted; None when the run did not get to comparing.
        sizes_alone: files that could be compared by size alone, since a side holds no MD5.
        differing: files whose mirror is not what the source is, although azcopy called it complete.
        kept_logs: the folder, within the app's temporary folder, that holds a failed run's logs.
        alarm: deletions were not mirrored, since an unusual share of files is gone from the source.
    """

    source: str
    backup: str
    outcome: PairOutcome
    reason: str | None = None
    scanned: int = 0
    copied: int = 0
    skipped: int = 0
    failed: int = 0
    deleted: int = 0
    bytes_copied: int = 0
    extraneous: int | None = None
    sizes_alone: int = 0
    elapsed_seconds: float = 0.0
    failures: Problems = field(default_factory=Problems)
    skips: Problems = field(default_factory=Problems)
    differing: Problems = field(default_factory=Problems)
    warnings: tuple[str, ...] = ()
    kept_logs: str | None = None
    alarm: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "backup": self.backup,
            "outcome": self.outcome.value,
            "reason": self.reason,
            "scanned": self.scanned,
            "copied": self.copied,
            "skipped": self.skipped,
            "failed": self.failed,
            "deleted": self.deleted,
            "bytes": self.bytes_copied,
            "extraneous": self.extraneous,
            "compared_by_size_alone": self.sizes_alone,
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "failed_files": self.failures.to_json(),
            "skipped_files": self.skips.to_json(),
            "differing_files": self.differing.to_json(),
            "warnings": list(self.warnings),
            "kept_logs": self.kept_logs,
            "alarm": self.alarm,
        }


@dataclass(frozen=True)
class SyncReport:
    """A whole run. It is complete when every pair succeeded; `reason` says why nothing was done at all."""

    started_at: datetime
    finished_at: datetime
    deletions: bool
    timeout_minutes: float
    pairs: tuple[PairReport, ...] = ()
    azcopy_version: str | None = None
    reason: str | None = None

    @property
    def complete(self) -> bool:
        return all(pair.outcome is PairOutcome.SUCCEEDED for pair in self.pairs)

    @property
    def failure(self) -> str | None:
        """What went wrong, pair by pair, on one line; None when nothing did."""
        failed = [
            f"{pair.source} to {pair.backup} {pair.outcome.value}: {pair.reason}"
            for pair in self.pairs
            if pair.outcome is not PairOutcome.SUCCEEDED
        ]
        return "; ".join(failed) or None

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "sync",
            "started_at": second_of(self.started_at),
            "finished_at": second_of(self.finished_at),
            "complete": self.complete,
            "reason": self.reason,
            "deletions_mirrored": self.deletions,
            "timeout_minutes": self.timeout_minutes,
            "azcopy_version": self.azcopy_version,
            "pairs": [pair.to_json() for pair in self.pairs],
        }

"""What a restore did with each blob, and the report of a whole restore."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shared.decisions.restoring import Job

SCHEMA = 1
MAX_LISTED = 10_000


class Result(StrEnum):
    """What became of one step."""

    RESTORED = "restored"
    ALREADY = "already"
    LEFT = "left"
    DELETED = "deleted"
    CHANGED = "changed"
    LEASED = "leased"
    DAMAGED = "damaged"
    REHYDRATING = "rehydrating"
    FAILED = "failed"
    IMPOSSIBLE = "impossible"


DONE = frozenset({Result.RESTORED, Result.ALREADY, Result.DELETED})
"""What was planned has happened: a resumed restore passes over it."""

WELL = DONE | {Result.LEFT}
ANEW = frozenset({Result.CHANGED, Result.LEASED, Result.FAILED})
"""What a new plan for the same moment may bring to an end."""


@dataclass(frozen=True)
class Outcome:
    """What became of one step.

    Attributes:
        reason: why it is not what was planned, or how it is.
        bytes: how much was written.
        etag: of what was written.
        offered: Last-Modified of older versions, where no place held the wanted one undamaged.
        outage: a service was not to be had: nothing is said of the blob.
    """

    name: str
    result: Result
    reason: str = ""
    bytes: int = 0
    etag: str | None = None
    offered: tuple[str, ...] = ()
    outage: bool = False


@dataclass
class RestoreReport:
    """All that a restore did so far, in this run and those before it."""

    id: str
    job: Job
    started_at: str
    finished_at: str = ""
    complete: bool = False
    totals: Counter[Result] = field(default_factory=Counter)
    bytes_restored: int = 0
    listed: list[Outcome] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.add_done(outcome.result, outcome.bytes)
        if outcome.result not in WELL and len(self.listed) < MAX_LISTED:
            self.listed.append(outcome)

    def add_done(self, result: Result, size: int) -> None:
        """Counts a step of which no more is to be told."""
        self.totals[result] += 1
        self.bytes_restored += size if result is Result.RESTORED else 0

    @property
    def well(self) -> bool:
        """Whether everything that was planned has happened, and nothing was impossible."""
        return self.complete and all(result in WELL for result, count in self.totals.items() if count)

    def to_json(self) -> dict[str, Any]:
        """The report in the contract's words and order."""
        return {
            "schema": SCHEMA,
            "kind": "restore",
            "id": self.id,
            "job": self.job.document(),
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "complete": self.complete,
            "totals": {result.value: self.totals[result] for result in Result},
            "bytes_restored": self.bytes_restored,
            "listed": [
                {"name": one.name, "result": one.result.value, "reason": one.reason, "offered": list(one.offered)}
                for one in sorted(self.listed, key=lambda one: one.name)
            ],
            "target": self.job.target,
            "warnings": self.warnings,
        }


def to_be_gone_on_with(report: Mapping[str, Any]) -> bool:
    """Whether the restore of this report (as `to_json` gave it) goes on with its plan when it is asked for again.

    One that came to its end does so for what is being rehydrated alone. What failed is planned anew: by the time
    that somebody has seen to it, the plan is old, and its moment may not be what the same words mean now.
    """
    return not report["complete"] or bool(report["totals"].get(Result.REHYDRATING.value))

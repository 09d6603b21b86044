"""Sums up what a plan would do, and what that would cost, for people to decide by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from shared.decisions.restoring import Action, Held, Job, Mode, Place, Step

MAX_LARGEST = 10
MAX_REASONS = 50
OTHER_REASONS = "other reasons"

DOLLARS_PER_REQUEST = {
    "list": 0.055 / 10_000,
    "write": 0.055 / 10_000,
    "read": 0.0044 / 10_000,
    "other": 0.0044 / 10_000,
}
"""Sample prices of the hot tier, by what the service counts a request as; deletions are free."""

MIB = 1024 * 1024
COPIED_AT_ONCE_BYTES = 256 * MIB
BLOCK_BYTES = 64 * MIB
READ_BYTES = 4 * MIB
"""In what portions content travels (`shared.adapters.copying`, and the SDK's downloads): for an estimate only."""


class Count(NamedTuple):
    """How many blobs, and how many bytes are in them."""

    blobs: int = 0
    bytes: int = 0

    def plus(self, size: int) -> Count:
        return Count(self.blobs + 1, self.bytes + size)


class Large(NamedTuple):
    """One of the largest blobs that are to be restored."""

    name: str
    size: int
    last_modified: str


@dataclass(frozen=True)
class Summary:
    """What a plan comes to.

    Attributes:
        actions: by the words of `Action`.
        reasons: for blobs that are left, deleted or impossible: by action, then by reason.
        places: where restored versions are taken from, by the words of `Place`.
        directories: how many of the deletions are directories.
        oldest: Last-Modified of the oldest version that is taken, and `newest` of the newest.
        requests: about how many it takes, by kind; listings are those that the plan itself took.
    """

    actions: dict[str, Count]
    reasons: dict[str, dict[str, Count]]
    places: dict[str, Count]
    directories: int
    largest: tuple[Large, ...]
    oldest: str | None
    newest: str | None
    requests: dict[str, int]
    warnings: tuple[str, ...]

    def count(self, action: Action) -> Count:
        return self.actions[action.value]

    @property
    def cost_usd(self) -> float:
        """At sample prices, without the transfer between regions or the retrieval of what is in cool tiers."""
        return sum(count * DOLLARS_PER_REQUEST[kind] for kind, count in self.requests.items())

    def to_json(self) -> dict[str, Any]:
        """All of it, as `--json` prints it and as it stands in the state."""
        return asdict(self) | {
            "actions": _documents(self.actions),
            "reasons": {action: _documents(reasons) for action, reasons in self.reasons.items()},
            "places": _documents(self.places),
            "largest": [one._asdict() for one in self.largest],
            "warnings": list(self.warnings),
            "cost_usd": round(self.cost_usd, 6),
        }

    @classmethod
    def of(cls, document: dict[str, Any]) -> Summary:
        """What `to_json` gave."""
        known = {key: value for key, value in document.items() if key != "cost_usd"}
        return cls(
            **known
            | {
                "actions": _counts(document["actions"]),
                "reasons": {action: _counts(reasons) for action, reasons in document["reasons"].items()},
                "places": _counts(document["places"]),
                "largest": tuple(Large(**one) for one in document["largest"]),
                "warnings": tuple(document["warnings"]),
            }
        )


@dataclass
class Tally:
    """Counts steps as a plan is made; `summary` gives what they come to."""

    job: Job
    actions: dict[str, Count] = field(default_factory=lambda: {action.value: Count() for action in Action})
    reasons: dict[str, dict[str, Count]] = field(default_factory=dict)
    places: dict[str, Count] = field(default_factory=lambda: {place.value: Count() for place in Place})
    cautions: dict[str, int] = field(default_factory=dict)
    directories: int = 0
    largest: list[Large] = field(default_factory=list)
    changed_since: int = 0
    oldest: str | None = None
    newest: str | None = None
    requests: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DOLLARS_PER_REQUEST, 0))

    def add(self, step: Step) -> None:
        size = step.version.size if step.version is not None else 0
        self.actions[step.action.value] = self.actions[step.action.value].plus(size)
        if step.action is Action.RESTORE and step.version is not None:
            self._restored(step, step.version.last_modified, size)
        else:
            reasons = self.reasons.setdefault(step.action.value, {})
            reason = step.reason if step.reason in reasons or len(reasons) < MAX_REASONS else OTHER_REASONS
            reasons[reason] = reasons.get(reason, Count()).plus(size)
        self.directories += step.directory and step.action is Action.DELETE
        for kind, count in _requests(self.job, step, size).items():
            self.requests[kind] += count

    def see(self, held: Iterable[Held]) -> None:
        """Counts a blob that has versions from after the moment."""
        self.changed_since += any(one.version.last_modified > self.job.at for one in held)

    def _restored(self, step: Step, last_modified: str, size: int) -> None:
        place = step.places[0].place.value
        self.places[place] = self.places[place].plus(size)
        self.oldest = min(self.oldest or last_modified, last_modified)
        self.newest = max(self.newest or last_modified, last_modified)
        if step.caution:
            self.cautions[step.caution] = self.cautions.get(step.caution, 0) + 1
        if len(self.largest) < MAX_LARGEST or size > self.largest[-1].size:
            self.largest.append(Large(step.name, size, last_modified))
            self.largest.sort(key=lambda one: -one.size)
            del self.largest[MAX_LARGEST:]

    def summary(self, lists: int, warnings: Iterable[str]) -> Summary:
        """What all steps come to.

        Args:
            lists: how many pages of listings were read for the plan.
        """
        told = list(warnings)
        if self.changed_since:
            told.append(f"versions newer than {self.job.at} exist, and are not taken: of {blobs(self.changed_since)}")
        told += [f"{caution}: {blobs(count)}" for caution, count in self.cautions.items()]
        return Summary(
            self.actions,
            self.reasons,
            self.places,
            self.directories,
            tuple(self.largest),
            self.oldest,
            self.newest,
            self.requests | {"list": lists},
            tuple(told),
        )


def _requests(job: Job, step: Step, size: int) -> dict[str, int]:
    """About what carrying out one step takes: looking, copying, looking again, reading back."""
    if step.action is Action.DELETE:
        return {"other": 1 if step.directory else 3}
    if step.action is not Action.RESTORE:
        return {}
    reads = max(1, -(-size // READ_BYTES))
    if job.mode is Mode.DIRECTORY:
        return {"other": 1, "read": reads}
    pieces = 1 if size <= COPIED_AT_ONCE_BYTES else -(-size // BLOCK_BYTES)
    snapshot = 1 if step.replaces is not None else 0
    return {"other": 2 + snapshot, "write": pieces if pieces == 1 else pieces + 1, "read": pieces + reads}


def blobs(number: int) -> str:
    """`1 blob`, `2,000 blobs`."""
    return "1 blob" if number == 1 else f"{number:,} blobs"


def _documents(counts: dict[str, Count]) -> dict[str, dict[str, int]]:
    return {key: count._asdict() for key, count in counts.items()}


def _counts(documents: dict[str, dict[str, int]]) -> dict[str, Count]:
    return {key: Count(**document) for key, document in documents.items()}

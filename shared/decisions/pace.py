"""How many calls to one account are made at once: more while it answers as quickly as before, half when it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

AT_FIRST = 16
"""How many calls there are at once before anything is known of the service."""

STEADY = 2.0
"""Up to how many times its usual time a call may take for the service to count as unburdened."""

_DRIFT = 1.05
"""By how much what counts as usual may rise in a round: a service may be slower for good."""


@dataclass(frozen=True)
class Pace:
    """How many calls are made at once.

    Attributes:
        limit: so many, at most.
        cap: the highest that `limit` may be.
        doubling: nothing has shown yet where the service's limit is.
        usual_seconds: what a call takes when the service is unburdened, by its kind: a copy takes longer than a HEAD.
    """

    limit: int
    cap: int
    doubling: bool = True
    usual_seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Took:
    """How long the calls of one kind took in a round."""

    calls: int
    seconds: float

    @property
    def mean_seconds(self) -> float:
        return self.seconds / self.calls


def begin(cap: int) -> Pace:
    """The pace at which calls begin."""
    return Pace(min(AT_FIRST, cap), cap)


def after_round(pace: Pace, took: Mapping[str, Took], *, wanted_more: bool) -> Pace:
    """The pace after as many calls as are made at once were answered.

    Args:
        took: what the round's calls took, by their kind.
        wanted_more: whether more calls were there to be made; if not, the round says nothing of a higher pace.
    """
    usual = dict(pace.usual_seconds)
    for kind, each in took.items():
        usual[kind] = min(each.mean_seconds, usual[kind] * _DRIFT) if kind in usual else each.mean_seconds
    expected = sum(each.calls * usual[kind] for kind, each in took.items())
    steady = sum(each.seconds for each in took.values()) <= STEADY * expected
    if not steady:
        return replace(pace, doubling=False, usual_seconds=usual)
    if not wanted_more:
        return replace(pace, usual_seconds=usual)
    more = pace.limit if pace.doubling else max(1, pace.limit // 8)
    return replace(pace, limit=min(pace.limit + more, pace.cap), usual_seconds=usual)


def after_refusal(pace: Pace) -> Pace:
    """The pace after the service answered that it is too busy (503, 429)."""
    return replace(pace, limit=max(1, pace.limit // 2), doubling=False)

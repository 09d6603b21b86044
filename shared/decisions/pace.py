"""How many calls to one account are made at once: more while it answers as quickly as before, half when it refuses."""

from __future__ import annotations

from dataclasses import dataclass, replace

AT_FIRST = 32
"""How many calls there are at once before anything is known of the service."""

STEADY = 2.0
"""Up to how many times its usual time a call may take for the service to count as unburdened."""

_DRIFT = 1.05
"""By how much what counts as usual may rise in a round: a service may be slower for good."""


@dataclass(frozen=True)
class Pace:
    """How many calls of one kind are made at once.

    Attributes:
        limit: so many, at most.
        cap: the highest that `limit` may be.
        doubling: nothing has shown yet where the service's limit is.
        usual_seconds: what a call takes when the service is unburdened; None before that is known.
    """

    limit: int
    cap: int
    doubling: bool = True
    usual_seconds: float | None = None


def begin(cap: int) -> Pace:
    """The pace at which calls begin."""
    return Pace(min(AT_FIRST, cap), cap)


def after_round(pace: Pace, mean_seconds: float, *, wanted_more: bool) -> Pace:
    """The pace after as many calls as are made at once were answered.

    Args:
        mean_seconds: what each of them took.
        wanted_more: whether more calls were there to be made; if not, the round says nothing of a higher pace.
    """
    usual = mean_seconds if pace.usual_seconds is None else min(mean_seconds, pace.usual_seconds * _DRIFT)
    if mean_seconds > STEADY * usual:
        return replace(pace, doubling=False, usual_seconds=usual)
    if not wanted_more:
        return replace(pace, usual_seconds=usual)
    more = pace.limit if pace.doubling else max(1, pace.limit // 8)
    return replace(pace, limit=min(pace.limit + more, pace.cap), usual_seconds=usual)


def after_refusal(pace: Pace) -> Pace:
    """The pace after the service answered that it is too busy (503, 429)."""
    return replace(pace, limit=max(1, pace.limit // 2), doubling=False)

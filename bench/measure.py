"""Measures contestants in turn: what each took, of the clock and of the processor."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Answer = TypeVar("Answer")


class VoidError(Exception):
    """The work was not done as it should have been: what was measured says nothing."""


@dataclass(frozen=True)
class Usage:
    """What one piece of work took. `done`: how many entries, calls, blobs or bytes it was about.

    CPU seconds are the client's alone: of this process with all its threads, or of a program and its children.
    """

    wall_seconds: float
    cpu_seconds: float
    done: int


@dataclass(frozen=True)
class Contestant:
    """One way of doing a comparison's work. `settings`, which the table shows, says how it is run.

    `run` does the work for a round (they count from 0), checks that it was done, and raises VoidError if not.
    """

    name: str
    settings: str
    run: Callable[[int], Awaitable[Usage]]


@dataclass(frozen=True)
class Series:
    """A contestant's usages, one for each round."""

    name: str
    settings: str
    usages: tuple[Usage, ...]


async def contest(contestants: Sequence[Contestant], rounds: int, say: Callable[[str], None]) -> list[Series]:
    """Runs all contestants in every round, forwards and backwards by turns, so that none is always first."""
    usages: dict[str, list[Usage]] = {contestant.name: [] for contestant in contestants}
    for number in range(rounds):
        for contestant in contestants if number % 2 == 0 else reversed(contestants):
            usage = await contestant.run(number)
            usages[contestant.name].append(usage)
            say(
                f"round {number + 1}, {contestant.name}: {usage.done:,} in {usage.wall_seconds:.2f} s, "
                f"{usage.cpu_seconds:.2f} s of CPU"
            )
    return [Series(each.name, each.settings, tuple(usages[each.name])) for each in contestants]


async def measured(work: Awaitable[Answer], done: Callable[[Answer], int]) -> Usage:
    """Awaits work of this process; `done` counts in what it gave."""
    wall, cpu = time.perf_counter(), time.process_time()
    answer = await work
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Usage(wall, cpu, done(answer))


def expect(found: object, expected: object, what: str) -> None:
    """Raises VoidError unless the two are equal."""
    if found != expected:
        raise VoidError(f"{what}: {found!r}, not {expected!r}: the comparison would be void")

"""Bytes pass at the rate that was asked for, over all who read at once; the clock is the test's own."""

from __future__ import annotations

import asyncio

from shared.adapters.reading import MIN_PIECE_BYTES, PIECE_BYTES, Rate


class Clock:
    """Time that passes when the test says so; who sleeps is told at once that it is over."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_whoever_takes_bytes_waits_for_all_that_were_taken_before() -> None:
    clock = Clock()
    rate = Rate(1000, clock, clock.sleep)
    for size in (500, 250, 1000, 1):
        await rate.take(size)
    assert clock.slept == [0.5, 0.75, 1.75]


async def test_many_readers_share_the_rate() -> None:
    clock = Clock()
    rate = Rate(1000, clock, clock.sleep)

    async def read() -> None:
        for _ in range(3):
            await rate.take(1000)

    await asyncio.gather(*(read() for _ in range(4)))
    assert sorted(clock.slept) == [float(second) for second in range(1, 12)]


async def test_time_that_reading_took_counts_and_time_in_which_nobody_reads_is_not_saved_up() -> None:
    clock = Clock()
    rate = Rate(1000, clock, clock.sleep)
    await rate.take(1000)
    clock.now += 0.75
    await rate.take(1000)
    assert clock.slept == [0.25]
    clock.now += 60
    await rate.take(1000)
    await rate.take(1000)
    assert clock.slept == [0.25, 1.0]


async def test_without_a_bound_nobody_waits() -> None:
    clock = Clock()
    rate = Rate(None, clock, clock.sleep)
    for _ in range(5):
        await rate.take(10**12)
    assert clock.slept == []


def test_a_piece_is_no_more_than_a_second_takes() -> None:
    assert Rate(None).piece_bytes == PIECE_BYTES
    assert Rate(10**9).piece_bytes == PIECE_BYTES
    assert Rate(1_000_000).piece_bytes == 1_000_000
    assert Rate(1).piece_bytes == MIN_PIECE_BYTES

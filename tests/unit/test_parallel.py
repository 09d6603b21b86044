"""Bounded parallel work: everything is done, never too much at once, and nothing goes on behind an error."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.parallel import for_each


@given(st.lists(st.integers()), st.integers(1, 40))
def test_every_item_is_worked_on_once(items: list[int], limit: int) -> None:
    done: list[int] = []

    async def work(item: int) -> None:
        await asyncio.sleep(0)
        done.append(item)

    asyncio.run(for_each(items, work, limit))
    assert sorted(done) == sorted(items)


async def test_no_more_than_the_limit_run_at_once_and_no_fewer() -> None:
    running = most = 0

    async def work(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await for_each(range(100), work, 7)
    assert (running, most) == (0, 7)


async def test_items_are_taken_as_places_get_free() -> None:
    taken = 0
    release = asyncio.Event()

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    async def work(_: int) -> None:
        await release.wait()

    task = asyncio.create_task(for_each(endless(), work, 3))
    for _ in range(10):
        await asyncio.sleep(0)
    assert taken == 3
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_one_slow_item_does_not_hold_up_the_others() -> None:
    slow = asyncio.Event()
    done: list[int] = []

    async def work(item: int) -> None:
        if item == 0:
            await slow.wait()
        done.append(item)
        if len(done) == 9:
            slow.set()

    await for_each(range(10), work, 2)
    assert done[-1] == 0


async def test_the_first_error_is_raised_as_it_is_and_ends_the_others() -> None:
    started: list[int] = []
    ended: list[int] = []

    async def work(item: int) -> None:
        started.append(item)
        if item == 3:
            await asyncio.sleep(0)
            raise LookupError("three")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(item)

    with pytest.raises(LookupError, match="three"):
        await for_each(range(100), work, 4)
    assert started == [0, 1, 2, 3]
    assert sorted(ended) == [0, 1, 2]


async def test_an_error_of_the_items_themselves_is_raised() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    async def work(_: int) -> None:
        await asyncio.sleep(0)

    with pytest.raises(LookupError, match="no more"):
        await for_each(failing(), work, 3)


async def test_cancelling_it_ends_all_its_work() -> None:
    ended: list[int] = []
    ready = asyncio.Event()

    async def work(item: int) -> None:
        if item == 4:
            ready.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(item)

    task = asyncio.create_task(for_each(range(100), work, 5))
    await ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [0, 1, 2, 3, 4]

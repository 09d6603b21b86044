"""Runs one piece of work for each of many items, a bounded number of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


async def for_each(items: Iterable[Item], work: Callable[[Item], Awaitable[None]], limit: int) -> None:
    """Awaits `work(item)` for every item, at most `limit` at a time; items are taken as places get free.

    The first exception ends the others and is raised as it is.
    """
    remaining = iter(items)

    async def worker(first: Item) -> None:
        await work(first)
        for item in remaining:
            await work(item)

    # As many as there are items for: most lists are far shorter than the limit.
    workers = [asyncio.ensure_future(worker(first)) for first in islice(remaining, limit)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def in_thread(work: Callable[[], Value], stop: Callable[[], None]) -> Value:
    """Does long work beside the event loop; when cancelled, it has `stop` end that work, and waits until it has."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([working])
        working.cancelled() or working.exception()  # what comes of it then is nobody's business
        raise

"""Waits for what happens elsewhere: in another task, in a proxy, in another thread."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Returns when the condition holds. Raises TimeoutError when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- what it depends on knows nothing of this test's events
            await asyncio.sleep(0.01)

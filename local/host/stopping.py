"""The wish to stop, and waits that end early on it."""

import asyncio


class StopSignal:
    """Set once, by the host; listeners finish what they hold and return."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    async def pause(self, seconds: float) -> None:
        """Waits `seconds`, or until the signal is set."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._event.wait()
        except TimeoutError:
            return

"""Writes down which blobs were deleted, and reads it again: documents in the state that nobody ever changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.adapters.state import State
from shared.decisions.deletions import MAX_NAMES, Back, Gone, document, events
from shared.errors import StorageFailed
from shared.parallel import for_each

PARALLEL_READS = 16


class DeletionRecords:
    """What is recorded of one container's blobs, and what a run adds to it: many events to a document.

    Attributes:
        gone_in_run: how many blobs this run had recorded as gone when that was read.
    """

    def __init__(
        self, state: State, container: str, run_id: str = "", check: Callable[[], None] = lambda: None
    ) -> None:
        """`check` raises when nothing may be written any more; it is called before each write."""
        self._state = state
        self._container = container
        self._folder = f"deletions/{container}/"
        self._run_id = run_id
        self.check = check
        self._documents = 0
        self.gone_in_run = 0
        self._gone: list[Gone] = []
        self._back: list[Back] = []

    async def read(self, take: Callable[[list[Gone], list[Back]], None]) -> None:
        """Hands over the events of each document, in whatever order they come.

        Raises:
            StorageFailed: one cannot be read, or is not as this release writes it.
        """

        async def read(name: str) -> None:
            try:
                stored: Any = await self._state.read(name)
                gone, back = events(stored)
                self.gone_in_run += len(gone) if _run_of(name) == self._run_id else 0
                take(gone, back)
            except ValueError as error:
                raise StorageFailed(f"{name} in the state is not what this release understands: {error}") from error

        names = await self._state.names(self._folder)
        self._documents = len(names)
        await for_each(names, read, PARALLEL_READS)

    async def add(self, event: Gone | Back) -> None:
        """Takes an event, and writes a document when there are enough of them."""
        if isinstance(event, Gone):
            self._gone.append(event)
        else:
            self._back.append(event)
        if len(self._gone) + len(self._back) >= MAX_NAMES:
            await self.flush()

    async def flush(self) -> None:
        """Writes what is not written yet. To be called after `read`, which tells how many documents there are."""
        gone, back = self._gone, self._back
        if not gone and not back:
            return
        self._gone, self._back = [], []
        latest = max([one.first_missed for one in gone] + [one.seen_at for one in back])
        stamp = latest.replace("-", "").replace(":", "")
        # One more than there ever were: a run that goes on after a crash never writes over its own.
        name = f"{self._folder}{stamp}-{self._run_id}-{self._documents}.json"
        self._documents += 1
        self.check()
        await self._state.write(name, document(self._container, gone, back))


def _run_of(name: str) -> str:
    """The run that wrote the document of this name."""
    return name.rpartition("/")[2].partition("-")[2].rpartition("-")[0]

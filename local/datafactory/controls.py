"""What a test can do to the stand-in: throttle, lose answers, fail, hold, forget. None of it exists in Azure.

The same methods are reachable from another process as `POST /standin/<method with dashes>` with the arguments
as a JSON object, for example `POST /standin/throttle-create-run {"count": 2, "retry_after_seconds": 1}`.
`GET /standin/runs` shows all runs with their parameters and every attempt of every activity,
`GET /standin/state` tells what is set and which copies are held; `POST /standin/reset` undoes everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.datafactory.copying import CopyPoint


@dataclass(frozen=True)
class HeldCopy:
    """A copy that waits for `release_copies`."""

    run_id: str
    source: str
    point: CopyPoint


class Controls:
    """The switches, and the places where runs and copies wait for them."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._forgotten: set[str] = set()
        self._held: list[HeldCopy] = []
        self._clear()

    def _clear(self) -> None:
        self._throttled = 0
        self._retry_after_seconds = 0
        self._answers_to_lose = 0
        self._lost_answer_status: int | None = None
        self._runs_to_fail = 0
        self._failure_message = ""
        self._runs_held = False
        self._run_limit: int | None = None
        self._query_lag_seconds = 0.0
        self._holds: set[tuple[CopyPoint, str | None]] = set()

    # For tests

    def throttle_create_run(self, count: int, retry_after_seconds: int = 1) -> None:
        """The next `count` createRun calls are answered 429 and start nothing."""
        self._throttled, self._retry_after_seconds = count, retry_after_seconds

    def lose_create_run_answers(self, count: int, status: int | None = None) -> None:
        """The next `count` createRun calls start their run, but don't say so.

        The connection closes without an answer, or the answer is the error `status`.
        """
        self._answers_to_lose, self._lost_answer_status = count, status

    def fail_runs(self, count: int, message: str = "The run was made to fail.") -> None:
        """The next `count` runs end as Failed without doing anything."""
        self._runs_to_fail, self._failure_message = count, message

    def hold_runs(self) -> None:
        """Runs that have not begun stay Queued until `release_runs`."""
        self._runs_held = True

    def release_runs(self) -> None:
        """Ends `hold_runs`."""
        self._runs_held = False
        self._wake()

    def limit_concurrent_runs(self, limit: int | None) -> None:
        """At most `limit` runs are in progress, the others Queued. None lifts the limit."""
        self._run_limit = limit
        self._wake()

    def hold_copies(self, point: str, source: str | None = None) -> None:
        """Copies (of the blob `source`, or all) stop at `before_reading` or `before_commit`."""
        self._holds.add((CopyPoint(point), source))

    def release_copies(self) -> None:
        """Ends every `hold_copies`."""
        self._holds.clear()
        self._wake()

    def forget_run(self, run_id: str) -> None:
        """The run is in no answer from now on, as after the 45 days that Data Factory keeps runs."""
        self._forgotten.add(run_id)

    def lag_queries(self, seconds: int | float) -> None:
        """Runs appear in queryPipelineRuns only when they are this old."""
        self._query_lag_seconds = float(seconds)

    def reset(self) -> None:
        """Everything back to normal; what was held goes on. Forgotten runs stay forgotten."""
        self._clear()
        self._wake()

    def held_copies(self) -> list[HeldCopy]:
        """The copies that wait right now."""
        return list(self._held)

    async def wait_for_held_copies(self, count: int = 1) -> list[HeldCopy]:
        """Returns when at least `count` copies are held."""
        await self._until(lambda: len(self._held) >= count)
        return self.held_copies()

    def state(self) -> dict[str, Any]:
        """What `GET /standin/state` answers."""
        return {
            "throttled_create_runs": self._throttled,
            "create_run_answers_to_lose": self._answers_to_lose,
            "runs_to_fail": self._runs_to_fail,
            "runs_held": self._runs_held,
            "concurrent_run_limit": self._run_limit,
            "query_lag_seconds": self._query_lag_seconds,
            "holds": [{"point": point, "source": source} for point, source in self._holds],
            "held_copies": [vars(held) for held in self._held],
        }

    # For the stand-in

    def take_throttle(self) -> int | None:
        """Retry-After in seconds when this createRun is to be refused."""
        if self._throttled <= 0:
            return None
        self._throttled -= 1
        return self._retry_after_seconds

    def take_lost_answer(self) -> bool:
        """Whether this createRun's answer is to be lost."""
        lost = self._answers_to_lose > 0
        self._answers_to_lose -= lost
        return lost

    @property
    def lost_answer_status(self) -> int | None:
        """What a lost answer is replaced with; None closes the connection."""
        return self._lost_answer_status

    def take_failure(self) -> str | None:
        """The message with which this new run is to fail."""
        if self._runs_to_fail <= 0:
            return None
        self._runs_to_fail -= 1
        return self._failure_message

    def is_forgotten(self, run_id: str) -> bool:
        return run_id in self._forgotten

    @property
    def query_lag_seconds(self) -> float:
        return self._query_lag_seconds

    async def until_run_may_begin(self, running: Callable[[], int]) -> None:
        """Returns when a queued run may go on, given how many are in progress."""
        await self._until(lambda: not self._runs_held and (self._run_limit is None or running() < self._run_limit))

    def run_ended(self) -> None:
        """A place among the concurrent runs is free."""
        self._wake()

    async def copy_reached(self, run_id: str, source: str, point: CopyPoint) -> None:
        """Waits while copies are held here."""
        if not self._is_held(source, point):
            return
        held = HeldCopy(run_id, source, point)
        self._held.append(held)
        self._wake()
        try:
            await self._until(lambda: not self._is_held(source, point))
        finally:
            self._held.remove(held)

    def _is_held(self, source: str, point: CopyPoint) -> bool:
        return not self._holds.isdisjoint({(point, source), (point, None)})

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self._changed.wait()

    def _wake(self) -> None:
        """Lets everything that waits look again: each waiter keeps the event that it began to wait for."""
        self._changed.set()
        self._changed = asyncio.Event()


CONTROLS = frozenset(
    {
        "throttle_create_run",
        "lose_create_run_answers",
        "fail_runs",
        "hold_runs",
        "release_runs",
        "limit_concurrent_runs",
        "hold_copies",
        "release_copies",
        "forget_run",
        "lag_queries",
        "reset",
    }
)
"""The methods that the HTTP side offers."""

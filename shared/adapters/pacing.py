"""Lets as many calls be under way as an account bears: carries out what `shared.decisions.pace` decides."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from time import monotonic

from shared.decisions.pace import after_refusal, after_round, begin

DEFAULT_CAP = 128


def cap_of(concurrency: int) -> int:
    """How many calls of one kind an account gets at once at most, from all invocations, each of which makes so many."""
    return max(concurrency, DEFAULT_CAP)


@dataclass(frozen=True)
class Turn:
    """A call's leave to be made."""

    began: float
    refusals: int
    """How many times the pace had been halved by then: of calls that are refused together, one halves it."""


class Pacer:
    """Of one kind of call to one account, shared by all parts of the app that make it.

    Of one kind, since kinds take their own time: large copies that are under way for long would keep looks waiting.
    """

    def __init__(self, cap: int = DEFAULT_CAP) -> None:
        self._pace = begin(cap)
        self._running = 0
        self._refusals = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._paused_until = 0.0
        self._took_seconds = 0.0
        self._answered = 0
        self._wanted_more = False

    @property
    def limit(self) -> int:
        """How many calls may be under way now."""
        return self._pace.limit

    async def begin(self) -> Turn:
        """Waits for a call's turn. Each is followed by `end`, however the call ends."""
        if self._waiting or not self._free():
            self._wanted_more = True
            await self._wait()
        else:
            self._running += 1
        return Turn(monotonic(), self._refusals)

    def end(self, turn: Turn, *, answered: bool, refused: bool = False, pause_seconds: float = 0.0) -> None:
        """Notes how a call ended.

        Args:
            answered: whether the service did what was asked, or said what is wrong with it.
            refused: whether the service said that it is too busy.
            pause_seconds: how long it asks to be left alone.
        """
        self._running -= 1
        if refused:
            self._refuse(turn, pause_seconds)
        elif answered:
            self._count(monotonic() - turn.began)
        self._wake()

    def _refuse(self, turn: Turn, pause_seconds: float) -> None:
        if turn.refusals == self._refusals:
            self._pace = after_refusal(self._pace)
            self._refusals += 1
            self._new_round()
        if pause_seconds:
            first = not self._paused_until
            self._paused_until = max(self._paused_until, monotonic() + pause_seconds)
            if first:
                self._go_on_after_pause()

    def _go_on_after_pause(self) -> None:
        left = self._paused_until - monotonic()
        if left > 0:
            asyncio.get_running_loop().call_later(left, self._go_on_after_pause)
        else:
            self._paused_until = 0.0
            self._wake()

    def _count(self, seconds: float) -> None:
        self._took_seconds += seconds
        self._answered += 1
        if self._answered >= self._pace.limit:
            mean_seconds = self._took_seconds / self._answered
            self._pace = after_round(self._pace, mean_seconds, wanted_more=self._wanted_more)
            self._new_round()

    def _new_round(self) -> None:
        self._took_seconds, self._answered, self._wanted_more = 0.0, 0, False

    def _free(self) -> bool:
        return self._running < self._pace.limit and not self._paused_until

    async def _wait(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was this call's turn already
                self._running -= 1
                self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting and self._free():
            turn = self._waiting.popleft()
            if not turn.done():
                self._running += 1
                turn.set_result(None)

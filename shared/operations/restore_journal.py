"""What a restore has done so far, kept in the state as it gets on: a later run passes over it.

Steps are known by their numbers in the plan, so that the journal of a million of them takes a million bits.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from shared.adapters.state import State
from shared.decisions.restore_report import Outcome, RestoreReport, Result
from shared.errors import SnapkeepError
from shared.parallel import for_each

LINES_AT_ONCE = 500
AT_LEAST_EVERY = timedelta(seconds=2)
MAX_APPENDS = 40_000
"""The service takes 50,000 appends to one blob; after so many the journal goes on in another."""

CHECKED_AT_ONCE = 32

Stands = Callable[[str, Result, str | None], Awaitable[bool]]

log = logging.getLogger(__name__)


class Journal:
    """The journal of one job; `Journal.open` reads what there is of it."""

    def __init__(self, state: State, job_id: str, now: Callable[[], datetime]) -> None:
        self._state = state
        self._folder = f"restores/{job_id}"
        self._now = now
        self._done = bytearray()
        self._pending: list[str] = []
        self._written_at = now()
        self._writing = asyncio.Lock()
        self._part = 0
        self._appends = 0
        self.begun = False

    @classmethod
    async def open(
        cls, state: State, job_id: str, now: Callable[[], datetime], report: RestoreReport, stands: Stands | None = None
    ) -> Journal:
        """Reads the journal; what was done, and still stands, is added to the report.

        Args:
            stands: whether the result of a step, under its name and with its ETag, is still what stands there:
                a step whose blob somebody changed since is not done. None to take them all for done.
        """
        journal = cls(state, job_id, now)
        parts = await state.names(f"{journal._folder}/done")
        for part in sorted(parts):
            lines: list[str] = []
            async for line in state.lines(part):
                lines.append(line)
                if len(lines) == LINES_AT_ONCE:
                    await journal._recall(lines, report, stands)
                    lines = []
            await journal._recall(lines, report, stands)
        journal._part = len(parts)  # a part of its own for each run: nobody has to know how full the last one is
        return journal

    async def _recall(self, lines: list[str], report: RestoreReport, stands: Stands | None) -> None:
        async def recall(line: str) -> None:
            document = json.loads(line)
            number, result = int(document["n"]), Result(document["result"])
            self.begun = True
            so = stands is None or await stands(document["name"], result, document["etag"])
            if so and not self.is_done(number):
                # A line stands there twice where the answer to the first attempt was lost.
                self._mark(number)
                report.add_done(result, int(document["bytes"]))

        await for_each(lines, recall, CHECKED_AT_ONCE)

    def is_done(self, number: int) -> bool:
        byte, bit = divmod(number, 8)
        return byte < len(self._done) and bool(self._done[byte] >> bit & 1)

    def _mark(self, number: int) -> None:
        byte, bit = divmod(number, 8)
        if byte >= len(self._done):
            self._done.extend(bytes(max(byte + 1 - len(self._done), len(self._done))))
        self._done[byte] |= 1 << bit

    async def add(self, number: int, outcome: Outcome) -> None:
        """Notes that a step is done; every now and then writes what was noted."""
        line = {
            "n": number,
            "name": outcome.name,
            "result": outcome.result.value,
            "bytes": outcome.bytes,
            "etag": outcome.etag,
        }
        self._pending.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")))
        if len(self._pending) >= LINES_AT_ONCE or self._now() - self._written_at >= AT_LEAST_EVERY:
            await self._write()

    async def _write(self) -> None:
        async with self._writing:
            while self._pending:
                lines = self._pending[:LINES_AT_ONCE]
                name = f"{self._folder}/done.jsonl" if self._part == 0 else f"{self._folder}/done-{self._part:06}.jsonl"
                await self._state.append_lines(name, lines)
                del self._pending[: len(lines)]
                self._appends += 1
                if self._appends >= MAX_APPENDS:
                    self._part, self._appends = self._part + 1, 0
            self._written_at = self._now()

    async def close(self) -> None:
        """Writes what is left. What cannot be written costs the next run a look at those blobs."""
        try:
            await asyncio.shield(self._write())
        except SnapkeepError as error:
            log.warning("the journal lacks the last steps: %s", error)

    async def note_container(self, container: str) -> None:
        """Remembers that this job made its target container."""
        await self._state.write(f"{self._folder}/target.json", {"schema": 1, "container": container, "created": True})

    async def conclude(self, report: RestoreReport) -> None:
        """Keeps the report beside the journal; `to_be_gone_on_with` tells whether a later run has anything to do."""
        await self._state.write(f"{self._folder}/report.json", report.to_json())

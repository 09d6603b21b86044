"""Notes in the state how the last run of each function ended: `runs/<function>.json`, for `snapkeep status`.

A note is about the work, never part of it: one that cannot be written is a warning in the log. A run that is
stopped or killed leaves the note of the run before it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from shared.decisions.sync_report import SyncReport
from shared.errors import AlreadyRunning, SnapkeepError
from shared.model import second_of
from shared.operations.backup import Outcome
from shared.operations.changefeed import Followed
from shared.operations.protect import Protected
from shared.services import Services

REPEATED_SECONDS = 60.0
"""A note that would say the same of the same function waits that long: the queue can bring thousands of messages."""
WRITE_SECONDS = 10.0
"""How long a function may be kept from ending by its note; `protect` has to answer in time."""
MAX_DETAIL = 500

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class Ending(NamedTuple):
    """How a run ended, as it stands in the note: succeeded, incomplete or failed; and a line that says more."""

    result: str
    detail: str


class RunNotes:
    """The notes that one process writes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._noted: dict[str, tuple[str, float]] = {}

    async def noted(self, services: Services, function: str, work: Awaitable[Result]) -> Result:
        """What `work` gives or raises, after noting how it ended."""
        started_at = second_of(services.now())
        try:
            result = await work
        except AlreadyRunning:
            raise  # the other run leaves the note
        except Exception as error:
            if not _callers_fault(error):
                await self._note(services, function, started_at, Ending("failed", _said(error)))
            raise
        await self._note(services, function, started_at, ending_of(result))
        return result

    async def _note(self, services: Services, function: str, started_at: str, ending: Ending) -> None:
        result, noted_at = self._noted.get(function, ("", 0.0))
        if result == ending.result and self._clock() - noted_at < REPEATED_SECONDS:
            return
        # Before the write: the other messages that end meanwhile are not to write the same.
        self._noted[function] = (ending.result, self._clock())
        note = {
            "schema": 1,
            "function": function,
            "started_at": started_at,
            "finished_at": second_of(services.now()),
            "result": ending.result,
            "detail": ending.detail[:MAX_DETAIL],
        }
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await services.state.write(f"runs/{function}.json", note)
        except (SnapkeepError, TimeoutError) as error:
            log.warning(
                "the run of %s could not be noted: %s", function, str(error) or "storage did not answer in time"
            )
        except Exception:
            log.exception("the run of %s could not be noted", function)


def ending_of(result: object) -> Ending:
    """How a run ended that gave this result."""
    if isinstance(result, Protected):
        return _protect_ending(result)
    if isinstance(result, Outcome):
        return _backup_ending(result)
    if isinstance(result, SyncReport):
        good = f"pairs of containers mirrored: {len(result.pairs)}"
        return Ending("succeeded" if result.complete else "failed", result.failure or result.reason or good)
    if isinstance(result, Followed):
        return _followed_ending(result)
    if isinstance(result, dict):
        return _reconcile_ending(result)
    raise TypeError(f"no function gives a {type(result).__name__}")


def _protect_ending(answer: Protected) -> Ending:
    if answer.error is not None:
        return Ending("failed", f"{answer.container}: {answer.error}")
    done = f"{answer.container}: {answer.scanned:,} blobs scanned, {answer.changed:,} changed"
    if answer.failed:
        return Ending("incomplete", f"{done}, {len(answer.failed):,} could not be snapshotted")
    return Ending("succeeded", done) if answer.complete else Ending("incomplete", f"{done}; to be continued")


def _backup_ending(outcome: Outcome) -> Ending:
    if outcome.scanned:
        return Ending("succeeded", outcome.scanned)
    done = f"{outcome.copied:,} versions copied, {outcome.already:,} were there"
    if outcome.failures:
        return Ending("incomplete", f"{done}, {len(outcome.failures):,} failed for now")
    return Ending("succeeded", done)


def _reconcile_ending(report: dict[str, Any]) -> Ending:
    totals = report["totals"]
    done = f"{totals['protected']:,} of {totals['versions']:,} versions protected"
    return Ending("succeeded", done) if report["complete"] else Ending("incomplete", f"{done}; not all looked at")


def _followed_ending(followed: Followed) -> Ending:
    done = f"change feed: {followed.events:,} events, {followed.requested:,} backups requested"
    if not followed.complete:
        return Ending("incomplete", f"change feed: {followed.reason}")
    if followed.failed:
        return Ending("incomplete", f"{done}, {followed.failed:,} blobs left to the next reconciliation")
    return Ending("succeeded", f"change feed: {followed.reason}" if followed.reason else done)


def _callers_fault(error: Exception) -> bool:
    """A call for something that does not exist, or is not allowed: the function did what it should."""
    return isinstance(error, SnapkeepError) and error.http_status < 500


def _said(error: Exception) -> str:
    # Only messages of ours are known to hold no secret.
    return str(error) if isinstance(error, SnapkeepError) else f"unexpected {type(error).__name__}; see the app's log"

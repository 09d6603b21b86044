"""The operation `protect`: finds what changed in one container, has it backed up, and snapshots it.

The request is always on the queue before the snapshot is taken. Whatever happens between the two,
the next scan still sees the change, and a request that comes twice does no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from shared.decisions.changes import Group, Grouper, changed, essence, unprotectable
from shared.decisions.continuation import Position, from_text, to_text
from shared.errors import ContainerNotFound, SnapkeepError, StorageFailed
from shared.model import Version
from shared.operations.filling import Filled, check_container, fill
from shared.services import Services
from shared.tracing import note, span

MAX_FAILED = 1000
"""The failures that one answer lists; with more, it ends early and is continued."""

FILLED_AT_ONCE = 500
"""After so many snapshots the time is looked at: a page of 5,000 new blobs can take half a minute."""

log = logging.getLogger(__name__)


@dataclass
class Protected(Filled):
    """The answer of one call, as far as the scan came. `error` is what ended it early, if anything did."""

    container: str = ""
    prefix: str = ""
    scanned: int = 0
    changed: int = 0
    complete: bool = False
    continuation: str | None = None
    elapsed_seconds: float = 0.0
    error: SnapkeepError | None = None

    def to_json(self) -> dict[str, Any]:
        """The answer in the contract's words and order."""
        counts = ("container", "prefix", "scanned", "changed", "snapshots_created", "requested", "vanished", "failed")
        answer = {key: getattr(self, key) for key in (*counts, "complete", "continuation", "elapsed_seconds")}
        if self.error is not None:
            answer["error"] = {"code": self.error.code, "message": str(self.error)}
        return answer


async def protect(
    services: Services,
    container: str,
    prefix: str = "",
    continuation: str | None = None,
    *,
    elapsed: Callable[[], float],
) -> Protected:
    """Protects what changed in a container since it was last looked at.

    Args:
        container: a container of the source account.
        prefix: only blobs whose names begin so.
        continuation: where an earlier call's answer says that it goes on.
        elapsed: seconds since the call began, for the time budget.

    Raises:
        BadParameter: malformed; nothing was done.
        ContainerExcluded: kept out by the settings; nothing was done.
        ContainerNotFound: it does not exist.
    """
    check_container(services, container)
    with span("protect", container=container):
        answer = await _protect(services, container, prefix, continuation, elapsed)
        note(scanned=answer.scanned, changed=answer.changed, requested=answer.requested, failed=len(answer.failed))
        note(outcome="failed" if answer.error else "succeeded" if answer.complete else "incomplete")
    return answer


async def _protect(
    services: Services, container: str, prefix: str, continuation: str | None, elapsed: Callable[[], float]
) -> Protected:
    start = from_text(continuation, container, prefix) if continuation else Position(container=container, prefix=prefix)
    answer = Protected(container=container, prefix=prefix, continuation=to_text(start))
    try:
        await _scan(services, start, answer, elapsed)
    except ContainerNotFound:
        raise ContainerNotFound(f"container: {container!r} does not exist in the source account") from None
    except StorageFailed as error:
        log.warning("protect %s ended early: %s", container, error)
        answer.error = error
    answer.elapsed_seconds = round(elapsed(), 3)
    log.info(
        "protect %s: %d scanned, %d changed, %d snapshots, %d requested, %d vanished, %d failed, complete: %s",
        container,
        answer.scanned,
        answer.changed,
        answer.snapshots_created,
        answer.requested,
        answer.vanished,
        len(answer.failed),
        answer.complete,
    )
    return answer


async def _scan(services: Services, start: Position, answer: Protected, elapsed: Callable[[], float]) -> None:
    grouper = Grouper(list(start.carry))
    budget_seconds = services.settings.protect_budget_seconds
    async with aclosing(services.source.pages(start.container, start.prefix, start.marker)) as pages:
        async for page in pages:
            groups = grouper.feed(page.entries)
            if page.next_marker is None:
                groups += grouper.finish()
            versions = _changed(groups, answer)
            for first in range(0, len(versions), FILLED_AT_ONCE):
                if first and elapsed() >= budget_seconds:
                    return  # goes on with this page: what is done of it has its snapshots by now
                await fill(services, start.container, versions[first : first + FILLED_AT_ONCE], answer)
            if page.next_marker is None:
                answer.continuation = None
                answer.complete = not answer.outages
                answer.error = answer.outages[0] if answer.outages else None
                return
            # Only now: what this page brought is requested, so that a caller may go on after it.
            position = start.model_copy(update={"marker": page.next_marker, "carry": essence(grouper.carry)})
            answer.continuation = to_text(position)
            if elapsed() >= budget_seconds or len(answer.failed) >= MAX_FAILED:
                return


def _changed(groups: Sequence[Group], answer: Protected) -> list[Version]:
    """The versions that lack a snapshot; counts them all, and names those that cannot have one."""
    versions = []
    for group in groups:
        answer.scanned += group.blob is not None
        version = changed(group)
        refused = unprotectable(group) if version else None
        if refused:
            answer.failed.append({"name": group.name, "reason": refused[1]})
        elif version:
            versions.append(version)
    answer.changed += len(versions)
    return versions

"""The operation `protect`: finds what changed in one container, has it backed up, and snapshots it.

The request is always on the queue before the snapshot is taken. Whatever happens between the two,
the next scan still sees the change, and a request that comes twice does no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from shared.containers import MAX_CONTAINER_CHARACTERS, backup_container, is_container_name
from shared.decisions.changes import Grouper, changed, essence, unprotectable
from shared.decisions.continuation import Position, from_text, to_text
from shared.decisions.messages import BackupRequest, requests
from shared.errors import (
    BadParameter,
    BlobChanged,
    BlobGone,
    ContainerExcluded,
    ContainerNotFound,
    SnapkeepError,
    StorageFailed,
)
from shared.model import Version, second_of
from shared.parallel import for_each
from shared.services import Services

MAX_LOOKS = 3
"""How often a blob that changes faster than it is snapshotted is looked at again in one run."""

MAX_FAILED = 1000
"""The failures that one answer lists; with more, it ends early and is continued."""

PARALLEL_MESSAGES = 4

log = logging.getLogger(__name__)


@dataclass
class Filled:
    """What was done for versions that lacked a snapshot."""

    snapshots_created: int = 0
    requested: int = 0
    vanished: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)


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
    start = from_text(continuation, container, prefix) if continuation else Position(container=container, prefix=prefix)
    answer = Protected(container=container, prefix=prefix, continuation=continuation)
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


def check_container(services: Services, container: str) -> None:
    """Whether the name is one, may be protected, and leaves room for its backup container's name."""
    if container.startswith("$"):
        raise ContainerExcluded(f"container: {container!r} is a system container, which is never protected")
    if not is_container_name(container):
        raise BadParameter(f"container: expects 3 to 63 of a-z, 0-9 and single hyphens; got {container[:80]!r}")
    if not services.settings.protects(container):
        raise ContainerExcluded(f"container: {container!r} is excluded by the settings of this app")
    if len(backup_container(container)) > MAX_CONTAINER_CHARACTERS:
        raise BadParameter(
            f"container: {container!r} is too long: its backup container {backup_container(container)!r} "
            f"would pass {MAX_CONTAINER_CHARACTERS} characters"
        )


async def _scan(services: Services, start: Position, answer: Protected, elapsed: Callable[[], float]) -> None:
    grouper = Grouper(list(start.carry))
    async with aclosing(services.source.pages(start.container, start.prefix, start.marker)) as pages:
        async for page in pages:
            groups = grouper.feed(page.entries)
            if page.next_marker is None:
                groups += grouper.finish()
            versions = []
            for group in groups:
                answer.scanned += group.is_blob
                version = changed(group)
                refused = unprotectable(group) if version else None
                if refused:
                    answer.failed.append({"name": group.name, "reason": refused[1]})
                elif version:
                    versions.append(version)
            answer.changed += len(versions)
            await fill(services, start.container, versions, answer)
            if page.next_marker is None:
                answer.continuation, answer.complete = None, True
                return
            # Only now: what this page brought is requested, so that a caller may go on after it.
            position = start.model_copy(update={"marker": page.next_marker, "carry": essence(grouper.carry)})
            answer.continuation = to_text(position)
            if elapsed() >= services.settings.protect_budget_seconds or len(answer.failed) >= MAX_FAILED:
                return


async def fill(services: Services, container: str, versions: Sequence[Version], done: Filled) -> None:
    """Requests these versions' backups and then snapshots them, many at once.

    Raises:
        StorageFailed: a request could not be put on the queue. What it asked for has no snapshot
            then, so that the next scan finds it again.
    """
    wanted = list(versions)
    for _ in range(MAX_LOOKS):
        await request_backups(services, container, wanted, done)
        wanted = await take_snapshots(services, container, wanted, done)
        if not wanted:
            return
    done.failed += [
        {"name": version.name, "reason": "changes faster than it can be snapshotted; the next run tries again"}
        for version in wanted
    ]


async def request_backups(services: Services, container: str, versions: Sequence[Version], done: Filled) -> None:
    """Puts requests for these versions on the queue, as few messages as hold them."""

    async def send(message: BackupRequest) -> None:
        await services.queue.send(message)
        done.requested += len(message.blobs)

    messages = requests(container, versions, second_of(services.now()))
    await for_each(messages, send, PARALLEL_MESSAGES)


async def take_snapshots(
    services: Services, container: str, versions: Sequence[Version], done: Filled
) -> list[Version]:
    """Snapshots these versions, and gives those that changed meanwhile, as they are now."""
    again: list[Version] = []

    async def snapshot(version: Version) -> None:
        try:
            await services.source.take_snapshot(container, version)
            done.snapshots_created += 1
        except (BlobChanged, BlobGone):
            state = await services.source.state(container, version.name)
            if state is None:
                done.vanished += 1
            else:
                again.append(state.version)

    async def attempt(version: Version) -> None:
        try:
            await snapshot(version)
        except SnapkeepError as error:
            log.warning("%s", error)
            done.failed.append({"name": version.name, "reason": str(error)})

    await for_each(versions, attempt, services.settings.concurrency)
    return again

"""The operations on what stands in the queues: list and show it, ask again for what failed, or discard it on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from shared.adapters.requests import HELD_SECONDS
from shared.decisions.poison import Inspected, inspect, replay_refusal, replayed
from shared.errors import SnapkeepError
from shared.model import QueuedMessage, second_of
from shared.parallel import for_each
from shared.services import Services

DISCARDED = "discarded/"

NOT_THERE = (
    "no such message is visible in the poison queue: another command may be at work on it, which hides it for up to "
    "a minute; `snapkeep requests list --all` lists those that are there"
)


@dataclass(frozen=True)
class Listed:
    """One queue: some of its messages, and how many there are in all, delayed and invisible ones included."""

    queue: str
    messages: list[Inspected]
    total: int

    def to_json(self) -> dict[str, Any]:
        return {
            "queue": self.queue,
            "shown": len(self.messages),
            "total": self.total,
            "messages": [message.row() for message in self.messages],
        }


@dataclass
class Settled:
    """What became of the messages that somebody chose; `failed` says of each why it stands where it stood."""

    done: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


async def list_requests(services: Services, *, every: bool = False) -> tuple[Listed, Listed]:
    """The waiting and the poison messages: the first 32 of each, or `every` one of the poison queue.

    Raises:
        StorageFailed: a queue could not be read.
    """
    queue = services.queue
    overview = await queue.overview()
    waiting = [inspect(message) for message in await queue.peek(queue.name)]
    if every:
        async with _taken(services) as taken:
            poison = [inspect(message) for message in taken]
    else:
        poison = [inspect(message) for message in await queue.peek(queue.poison_name)]
    return (
        Listed(queue.name, waiting, max(overview.waiting, len(waiting))),
        Listed(queue.poison_name, poison, max(overview.poison, len(poison))),
    )


async def find_request(services: Services, message_id: str) -> Inspected:
    """The message of this id, poison or (among the first 32) waiting.

    Raises:
        SnapkeepError: it is in neither.
    """
    queue = services.queue
    for message in [*await queue.peek(queue.poison_name), *await queue.peek(queue.name)]:
        if message.message_id == message_id:
            return inspect(message)
    async with _taken(services) as taken:
        for message in taken:
            if message.message_id == message_id:
                return inspect(message)
    raise SnapkeepError(f"{message_id}: {NOT_THERE}, and the first 32 of those that wait")


async def replay(services: Services, ids: Collection[str] | None) -> Settled:
    """Asks anew for what these poison messages asked for (None: all of them).

    Each is sent before it is deleted: a crash between the two costs a duplicate, never the request.
    """

    async def one(inspected: Inspected) -> None:
        message = inspected.message
        protected = message is not None and services.settings.protects(message.container)
        refused = replay_refusal(inspected, protected=protected)
        if refused is not None or message is None:
            raise SnapkeepError(refused or "")
        await services.queue.send(replayed(message))

    return await _settle(services, ids, one)


async def discard(services: Services, ids: Collection[str], reason: str) -> Settled:
    """Removes poison messages for good. What they were, and the reason given, is on record before they are gone."""

    async def one(inspected: Inspected) -> None:
        await services.state.write(
            f"{DISCARDED}{inspected.message_id}.json",
            {
                "schema": 1,
                "queue": inspected.queued.queue,
                "message_id": inspected.message_id,
                "discarded_at": second_of(services.now()),
                "reason": reason,
                "message": inspected.content(),
            },
        )

    return await _settle(services, ids, one)


async def discarded(services: Services) -> list[dict[str, Any]]:
    """The records of all messages that somebody discarded, the latest first.

    Raises:
        StorageFailed: they could not be read.
    """
    records: list[dict[str, Any]] = []

    async def read(name: str) -> None:
        record = await services.state.read(name)
        if record is not None:
            records.append(record)

    await for_each(await services.state.names(DISCARDED), read, services.settings.concurrency)
    return sorted(records, key=lambda record: (record["discarded_at"], record["message_id"]), reverse=True)


async def _settle(
    services: Services, ids: Collection[str] | None, work: Callable[[Inspected], Awaitable[None]]
) -> Settled:
    """Does `work` with each chosen poison message, and deletes it then; one that fails stays, and stops no other."""
    settled = Settled()
    held: dict[str, QueuedMessage] = {}
    open_ids = set(ids or ())
    try:
        async with aclosing(services.queue.take_poison()) as pages:
            async for page in pages:
                fresh = [message for message in page if message.message_id not in held]
                held |= {message.message_id: message for message in page}
                for message in fresh:
                    if ids is not None and message.message_id not in open_ids:
                        continue
                    open_ids.discard(message.message_id)
                    if await _settle_one(services, message, work, settled):
                        del held[message.message_id]
                if ids is not None and not open_ids:
                    break
    finally:
        await services.queue.give_back(held.values())
    settled.failed += [{"id": message_id, "reason": NOT_THERE} for message_id in sorted(open_ids)]
    return settled


async def _settle_one(
    services: Services, queued: QueuedMessage, work: Callable[[Inspected], Awaitable[None]], settled: Settled
) -> bool:
    """Whether the message is gone from the poison queue."""
    inspected = inspect(queued)
    try:
        await work(inspected)
        try:
            await services.queue.delete(queued)
        except SnapkeepError as error:
            raise SnapkeepError(f"it was done, but the message may still stand there: {error}; do it again") from error
    except SnapkeepError as error:
        settled.failed.append({"id": queued.message_id, "reason": str(error)})
        return False
    settled.done.append(inspected.row())
    return True


@asynccontextmanager
async def _taken(services: Services) -> AsyncIterator[list[QueuedMessage]]:
    """The poison messages, which nobody else sees while the block runs.

    It stops taking more well before the first are visible again: with very many of them these are not all.
    """
    held: dict[str, QueuedMessage] = {}
    loop = asyncio.get_running_loop()
    until = loop.time() + HELD_SECONDS / 2
    try:
        async with aclosing(services.queue.take_poison()) as pages:
            async for page in pages:
                held |= {message.message_id: message for message in page}
                if loop.time() >= until:
                    break
        yield list(held.values())
    finally:
        await services.queue.give_back(held.values())

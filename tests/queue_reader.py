"""Reads the backup queue as the Functions host does, without a host: for tests of the operations alone.

    async with QueueReader(connection_string, "backup-requests") as reader:
        outcomes = await reader.drain(services)
        assert await reader.poison() == []

A message that raises or is interrupted is seen again at once; after five deliveries that raised, it goes to
the poison queue.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from shared.operations.backup import Outcome, back_up
from shared.services import Services

MAX_DEQUEUE_COUNT = 5
_POLL_SECONDS = 0.02
_VISIBILITY_SECONDS = 600


class QueueReader:
    """One queue, and its poison queue."""

    def __init__(self, connection_string: str, name: str) -> None:
        self._queue = QueueClient.from_connection_string(connection_string, name)
        self._poison = QueueClient.from_connection_string(connection_string, f"{name}-poison")

    async def drain(self, services: Services, deadline_seconds: float = 30) -> list[Outcome]:
        """Carries out messages one after another until none is left, delayed ones too.

        Raises:
            TimeoutError: the queue does not get empty in time.
        """
        outcomes = []
        async with asyncio.timeout(deadline_seconds):
            while await self.waiting():
                message = await self._receive()
                if message is None:
                    await asyncio.sleep(_POLL_SECONDS)
                    continue
                outcome = await self._deliver(services, message)
                if outcome is not None:
                    outcomes.append(outcome)
        return outcomes

    async def deliver_one(self, services: Services, deadline_seconds: float = 30) -> Outcome | None:
        """Carries out the next message as soon as one can be seen; None when it raised and went back."""
        async with asyncio.timeout(deadline_seconds):
            message = await self._receive()
            while message is None:
                await asyncio.sleep(_POLL_SECONDS)
                message = await self._receive()
        return await self._deliver(services, message)

    async def waiting(self) -> int:
        """How many messages there are, whether they can be seen now or later."""
        try:
            return int((await self._queue.get_queue_properties()).approximate_message_count or 0)
        except ResourceNotFoundError:
            return 0

    async def requests(self) -> list[dict[str, Any]]:
        """The messages that can be seen now, decoded; they stay where they are."""
        return await _peek(self._queue)

    async def poison(self) -> list[dict[str, Any]]:
        """What the poison queue holds, decoded."""
        return await _peek(self._poison)

    async def put(self, message: dict[str, Any] | bytes) -> None:
        """Puts a message of the test's own on the queue."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self.create()
        await self._queue.send_message(b64encode(body).decode())

    async def create(self) -> None:
        """Makes the queue, if it is not there yet."""
        with suppress(ResourceExistsError):
            await self._queue.create_queue()

    async def clear(self) -> None:
        """Forgets all messages, as the service does with those that nobody reads in time."""
        await self._queue.clear_messages()

    async def close(self) -> None:
        await self._queue.close()
        await self._poison.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _receive(self) -> QueueMessage | None:
        try:
            return await self._queue.receive_message(visibility_timeout=_VISIBILITY_SECONDS)
        except ResourceNotFoundError:
            return None

    async def _deliver(self, services: Services, message: QueueMessage) -> Outcome | None:
        try:
            outcome = await back_up(services, b64decode(message.content), message.id, redelivered=_redelivered(message))
        except asyncio.CancelledError:
            # A host that stops leaves it invisible for up to ten minutes; here they are over at once.
            await asyncio.shield(self._queue.update_message(message, visibility_timeout=0))
            raise
        except Exception:  # noqa: BLE001 -- whatever it is, the host delivers the message again
            if (message.dequeue_count or 0) < MAX_DEQUEUE_COUNT:
                await self._queue.update_message(message, visibility_timeout=0)
                return None
            with suppress(ResourceExistsError):
                await self._poison.create_queue()
            await self._poison.send_message(message.content)
            outcome = None
        await self._queue.delete_message(message)
        return outcome


def _redelivered(message: QueueMessage) -> bool:
    return (message.dequeue_count or 1) > 1


async def _peek(queue: QueueClient) -> list[dict[str, Any]]:
    try:
        messages = await queue.peek_messages(max_messages=32)
    except ResourceNotFoundError:
        return []
    return [json.loads(b64decode(message.content)) for message in messages]

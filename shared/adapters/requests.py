"""Sends messages to the backup queue, and shows and settles what stands in it and in its poison queue."""

from __future__ import annotations

import contextlib
from base64 import b64encode
from datetime import datetime

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue.aio import QueueClient

from shared.adapters.accounts import client_options, credential_of
from shared.adapters.translate import azure_errors
from shared.connections import Connection
from shared.containers import POISON_SUFFIX
from shared.decisions.messages import Message, encode
from shared.model import QueueOverview

_NEVER = -1
"""A message's time to live: without it the service drops a message after seven days, in silence."""

_MAX_PEEKED = 32
"""What the service shows at most of a queue to somebody who takes nothing from it."""


class RequestQueue:
    """The backup queue, as its producers see it; the Functions host is its consumer."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.name = name
        options = client_options() | {"read_timeout": 30}
        self._credential = None if connection.connection_string else credential_of(connection)
        self._queues = {
            queue: QueueClient.from_connection_string(connection.connection_string, queue, **options)
            if connection.connection_string
            else QueueClient(connection.queue_endpoint, queue, credential=self._credential, **options)
            for queue in (name, f"{name}{POISON_SUFFIX}")
        }

    async def send(self, message: Message, delay_seconds: float = 0) -> None:
        """Puts a message on the queue, to be seen after the delay; returns once the service has it.

        Raises:
            StorageFailed: it may or may not be there; sending it again is safe.
        """
        await self._put(self.name, message, delay_seconds)

    async def give_up(self, message: Message) -> None:
        """Puts a message, its reason in it, on the poison queue, where people look for what failed."""
        await self._put(f"{self.name}{POISON_SUFFIX}", message, 0)

    async def overview(self) -> QueueOverview:
        """How many messages there are, those that are being worked on or delayed included, and the oldest of them.

        The oldest is that of the 32 which a peek shows: those are the next to be seen, so the oldest
        in most cases, but one that is delayed or being worked on is invisible to a peek and older.
        A queue that does not exist yet holds nothing.

        Raises:
            StorageFailed: a queue could not be read; nothing is known of it then.
        """
        waiting, oldest_waiting = await self._extent(self.name)
        poison, oldest_poison = await self._extent(f"{self.name}{POISON_SUFFIX}")
        return QueueOverview(waiting, oldest_waiting, poison, oldest_poison)

    async def _extent(self, queue: str) -> tuple[int, datetime | None]:
        client = self._queues[queue]
        with azure_errors(f"look at {queue}"):
            try:
                count = (await client.get_queue_properties()).approximate_message_count or 0
                peeked = await client.peek_messages(_MAX_PEEKED)
            except ResourceNotFoundError:
                return 0, None
        inserted = [message.inserted_on for message in peeked if message.inserted_on]
        return max(count, len(peeked)), min(inserted, default=None)

    async def _put(self, queue: str, message: Message, delay_seconds: float) -> None:
        text = b64encode(encode(message)).decode()
        client = self._queues[queue]
        with azure_errors(f"put a message on {queue}"):
            try:
                await client.send_message(text, visibility_timeout=round(delay_seconds), time_to_live=_NEVER)
            except ResourceNotFoundError:
                with contextlib.suppress(ResourceExistsError):  # another instance was quicker
                    await client.create_queue()
                await client.send_message(text, visibility_timeout=round(delay_seconds), time_to_live=_NEVER)

    async def close(self) -> None:
        for client in self._queues.values():
            await client.close()
        if self._credential is not None:
            await self._credential.close()

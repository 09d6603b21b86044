"""Sends messages to the backup queue, and shows and settles what stands in it and in its poison queue."""

from __future__ import annotations

import contextlib
import logging
from base64 import b64encode
from collections.abc import AsyncGenerator, Iterable
from datetime import datetime

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import AccountSasPermissions, Services
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from shared.adapters.accounts import client_options, credential_of
from shared.adapters.calls import Calls
from shared.adapters.signing import Bearer, Signature
from shared.adapters.translate import azure_errors
from shared.connections import Connection
from shared.containers import POISON_SUFFIX
from shared.decisions.messages import Queued, encode, traced
from shared.errors import BlobGone, StorageFailed
from shared.model import QueuedMessage, QueueOverview
from shared.parallel import for_each
from shared.tracing import traceparent

_NEVER = -1
"""A message's time to live: without it the service drops a message after seven days, in silence."""

_NO_EXPIRY_YEAR = 9999
"""The year in which the service says that such a message expires."""

MAX_PEEKED = 32
"""What the service shows at most of a queue to somebody who takes nothing from it."""

HELD_SECONDS = 60
"""How long a poison message that was taken is invisible to others, if whoever took it ends before giving it back."""

log = logging.getLogger(__name__)


class RequestQueue:
    """The backup queue, as its producers see it; the Functions host is its consumer."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.name = name
        self.poison_name = f"{name}{POISON_SUFFIX}"
        options = client_options(connection.queue_endpoint) | {"read_timeout": 30}
        self._credential = None if connection.connection_string else credential_of(connection)
        self._queues = {
            queue: QueueClient.from_connection_string(connection.connection_string, queue, **options)
            if connection.connection_string
            else QueueClient(connection.queue_endpoint, queue, credential=self._credential, **options)
            for queue in (name, self.poison_name)
        }
        self._calls = Calls(
            connection.queue_endpoint,
            Signature(connection, self._credential, AccountSasPermissions(add=True), services=Services(queue=True)),
            Bearer(self._credential) if self._credential else None,
        )

    async def send(self, message: Queued, delay_seconds: float = 0) -> None:
        """Puts a message on the queue, to be seen after the delay; returns once the service has it.

        Raises:
            StorageFailed: it may or may not be there; sending it again is safe.
        """
        await self._put(self.name, message, delay_seconds)

    async def give_up(self, message: Queued) -> None:
        """Puts a message, its reason in it, on the poison queue, where people look for what failed."""
        await self._put(self.poison_name, message, 0)

    async def overview(self) -> QueueOverview:
        """How many messages there are, those that are being worked on or delayed included, and the oldest of them.

        The oldest is that of the 32 which a peek shows: those are the next to be seen, so the oldest
        in most cases, but one that is delayed or being worked on is invisible to a peek and older.
        A queue that does not exist yet holds nothing.

        Raises:
            StorageFailed: a queue could not be read; nothing is known of it then.
        """
        waiting, oldest_waiting = await self._extent(self.name)
        poison, oldest_poison = await self._extent(self.poison_name)
        return QueueOverview(waiting, oldest_waiting, poison, oldest_poison)

    async def _extent(self, queue: str) -> tuple[int, datetime | None]:
        client = self._queues[queue]
        with azure_errors(f"look at {queue}"):
            try:
                count = (await client.get_queue_properties()).approximate_message_count or 0
                peeked = await client.peek_messages(MAX_PEEKED)
            except ResourceNotFoundError:
                return 0, None
        inserted = [message.inserted_on for message in peeked if message.inserted_on]
        return max(count, len(peeked)), min(inserted, default=None)

    async def peek(self, queue: str) -> list[QueuedMessage]:
        """The first 32 visible messages of one of the two queues. Nothing is taken, and no dequeue count grows."""
        with azure_errors(f"look at {queue}"):
            try:
                return [_queued(queue, found) for found in await self._queues[queue].peek_messages(MAX_PEEKED)]
            except ResourceNotFoundError:
                return []

    async def take_poison(self) -> AsyncGenerator[list[QueuedMessage]]:
        """The visible poison messages, in pages, until none is left; each is invisible to others until it is settled.

        Whoever takes them deletes each (`delete`) or gives it back (`give_back`). One of which neither was
        done, since the program was killed, is visible again within `HELD_SECONDS`: nothing is lost. So is one
        that is held for longer, and it comes a second time then. The live queue is never read so: that would
        count as a delivery.
        """
        client = self._queues[self.poison_name]
        with azure_errors(f"read {self.poison_name}"), contextlib.suppress(ResourceNotFoundError):
            pages = client.receive_messages(messages_per_page=MAX_PEEKED, visibility_timeout=HELD_SECONDS).by_page()
            async for page in pages:
                yield [_queued(self.poison_name, found) async for found in page]

    async def give_back(self, taken: Iterable[QueuedMessage]) -> None:
        """Makes messages that were taken visible again, as they were."""

        async def one(message: QueuedMessage) -> None:
            try:
                with azure_errors(f"give {message.message_id} back to {message.queue}"):
                    await self._queues[message.queue].update_message(
                        message.message_id, message.receipt, visibility_timeout=0
                    )
            except (StorageFailed, BlobGone) as error:
                log.info("%s: it is visible again within %d s by itself", error, HELD_SECONDS)

        await for_each(taken, one, MAX_PEEKED)

    async def delete(self, taken: QueuedMessage) -> None:
        """Deletes a message that was taken.

        Raises:
            StorageFailed, BlobGone: it may still be there, as when it was held for too long.
        """
        with azure_errors(f"delete {taken.message_id} from {taken.queue}"):
            await self._queues[taken.queue].delete_message(taken.message_id, taken.receipt)

    async def _put(self, queue: str, message: Queued, delay_seconds: float) -> None:
        text = b64encode(encode(traced(message, traceparent())))
        body = b"<QueueMessage><MessageText>%b</MessageText></QueueMessage>" % text
        try:
            await self._post(queue, body, delay_seconds)
        except BlobGone:  # 404: there is no such queue yet
            with azure_errors(f"create {queue}"), contextlib.suppress(ResourceExistsError):  # another was quicker
                await self._queues[queue].create_queue()
            await self._post(queue, body, delay_seconds)

    async def _post(self, queue: str, body: bytes, delay_seconds: float) -> None:
        await self._calls.send(
            "POST",
            f"{queue}/messages",
            "message",
            f"put a message on {queue}",
            query=f"visibilitytimeout={round(delay_seconds)}&messagettl={_NEVER}",
            headers={"Content-Type": "application/xml"},
            body=body,
        )

    async def close(self) -> None:
        await self._calls.close()
        for client in self._queues.values():
            await client.close()
        if self._credential is not None:
            await self._credential.close()


def _queued(queue: str, found: QueueMessage) -> QueuedMessage:
    expires_at = found.expires_on
    if found.inserted_on is None or expires_at is None:  # the service always tells both
        raise StorageFailed(f"look at {queue}: the service describes a message without its times")
    never = expires_at.year == _NO_EXPIRY_YEAR
    return QueuedMessage(
        queue,
        str(found.id),
        str(found.content),
        found.inserted_on,
        None if never else expires_at,
        found.pop_receipt,
        found.next_visible_on,
    )

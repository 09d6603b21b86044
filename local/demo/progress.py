"""Waits for what the app does in its own time: an empty queue, a new report."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient, ContainerClient
from azure.storage.queue.aio import QueueClient

from local.demo.contract import STATE
from local.demo.errors import DemoFailed

DEADLINE_SECONDS = 120
LOOK_SECONDS = 0.2

Found = TypeVar("Found")


async def drained(queue: QueueClient, backups: ContainerClient, expected: set[str], show: Callable[[str], None]) -> int:
    """Wait until no message is left; returns how many of the expected backups are there then.

    The service counts messages that are being worked on, and delayed ones, as well; and a message is deleted
    only after what it asks for is done or the message that goes on with it was sent. So nothing comes any
    more once the queue is empty. Raises DemoFailed after the deadline.
    """

    async def look() -> int | None:
        if waiting := await messages_in(queue):
            show(f"{waiting} messages left")
            return None
        return len(expected & await names_in(backups))

    return await until(look, f"the queue {queue.queue_name} to be empty")


class Reports:
    """The reports of one function, as they come into the state container."""

    def __init__(self, account: BlobServiceClient, name: str) -> None:
        self._name = f"reports/{name}.json"
        self._blob = account.get_blob_client(STATE, self._name)
        self._seen = ""

    async def next(self) -> dict[str, Any]:
        """Wait for a report that was not returned before. Raises DemoFailed after the deadline."""

        async def look() -> dict[str, Any] | None:
            try:
                stream = await self._blob.download_blob()
                report: dict[str, Any] = json.loads(await stream.readall())
            except ResourceNotFoundError:
                return None
            if stream.properties.etag == self._seen:
                return None
            self._seen = stream.properties.etag
            return report

        return await until(look, f"a new {STATE}/{self._name}")


async def until(look: Callable[[], Awaitable[Found | None]], what: str) -> Found:
    """Look time after time until something is found. Raises DemoFailed after the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (found := await look()) is None:
        if time.monotonic() >= deadline:
            raise DemoFailed(f"waited {DEADLINE_SECONDS} s for {what}")
        await asyncio.sleep(LOOK_SECONDS)
    return found


async def messages_in(queue: QueueClient) -> int:
    """Visible or not; none when there is no such queue."""
    try:
        properties = await queue.get_queue_properties()
    except ResourceNotFoundError:
        return 0
    return properties.approximate_message_count or 0


async def names_in(container: ContainerClient) -> set[str]:
    """The names of all blobs; none when there is no such container."""
    try:
        return {name async for name in container.list_blob_names()}
    except ResourceNotFoundError:
        return set()

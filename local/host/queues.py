"""Queue triggers: takes messages, runs the function, deletes, releases or poisons them.

From the storage queues extension (QueueListener, QueueProcessor, QueueServiceClientProvider): messages are
taken for ten minutes, renewed at half time; host.json's visibilityTimeout is for failed ones only; a message
that the host was killed with comes back when its ten minutes are over.
"""

import asyncio
import base64
import logging
import math
import re
from collections.abc import Awaitable
from random import Random

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from local.host.app import LoadedFunction
from local.host.backoff import PollingBackoff
from local.host.hostjson import QueueSettings
from local.host.invocations import Ending, Invocations
from local.host.logtext import one_line
from local.host.stopping import StopSignal
from local.host.trigger_data import queue_data

_log = logging.getLogger(__name__)

POISON_SUFFIX = "-poison"
_MAX_NAME = 63


def poison_queue_name(queue_name: str) -> str | None:
    """None for a poison queue itself, and for a name that would become too long: their failed messages stay
    hidden.
    """
    if queue_name.endswith(POISON_SUFFIX) or len(queue_name) + len(POISON_SUFFIX) > _MAX_NAME:
        return None
    return queue_name + POISON_SUFFIX


class QueueListener:
    """`poison` is the client of the queue of `poison_queue_name`."""

    def __init__(
        self,
        function: LoadedFunction,
        queue: QueueClient,
        poison: QueueClient | None,
        settings: QueueSettings,
        invocations: Invocations,
        visibility_seconds: float,
    ) -> None:
        self.function = function
        self._queue = queue
        self._poison = poison
        self._settings = settings
        self._invocations = invocations
        self._visibility_seconds = visibility_seconds
        self._backoff = PollingBackoff(settings.max_polling_seconds, Random())  # noqa: S311  not a secret
        self._stop = StopSignal()
        self._trouble = ""
        self._processing: set[asyncio.Task[None]] = set()
        # An error that nobody expected ends the host, as on the platform.
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """No new message; `run` returns when those under way are done with."""
        self._stop.set()

    async def run(self) -> None:
        found_since_wait = False
        while not self._stop.is_set:
            if self._failure is not None:
                raise self._failure
            if await self._take_batch():
                found_since_wait = True
                await self._wait_for_room()
            else:
                await self._stop.pause(self._backoff.next_seconds(found_messages=found_since_wait))
                found_since_wait = False
        if self._processing:
            await asyncio.wait(self._processing)

    async def _take_batch(self) -> bool:
        """Whether there were messages; they are processed in tasks of their own."""
        try:
            pages = self._queue.receive_messages(
                messages_per_page=self._settings.batch_size,
                visibility_timeout=math.ceil(self._visibility_seconds),
            ).by_page()
            messages = [message async for message in await anext(pages)]
            if self._stop.is_set:
                # They were under way when the host began to stop: another instance shall not wait for them.
                for message in messages:
                    await self._release(message, 0)
                return False
        except StopAsyncIteration:
            return False
        except AzureError as error:
            # Also of a queue that does not exist: the host never creates the queue of a trigger, it waits for it.
            self._report_trouble(error)
            return False
        self._trouble = ""
        for message in messages:
            task = asyncio.create_task(self._process(message))
            self._processing.add(task)
            task.add_done_callback(self._note_end)
        return bool(messages)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._processing.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()

    async def _wait_for_room(self) -> None:
        while len(self._processing) > self._settings.new_batch_threshold and not self._stop.is_set:
            await asyncio.wait(self._processing, return_when=asyncio.FIRST_COMPLETED)

    async def _process(self, message: QueueMessage) -> None:
        try:
            if (message.dequeue_count or 0) > self._settings.max_dequeue_count:
                await self._move_to_poison(message, "was taken too often")
                return
            body = self._decode(message)
            if body is None:
                await self._move_to_poison(message, "is not base64 text, as host.json's messageEncoding wants it")
                return
            await self._run_function(message, body)
        except AzureError as error:
            # The message is still in the queue, and comes back when its visibility ends.
            _log.error("Message %s of %s could not be settled: %s", message.id, self._name, one_line(error))

    async def _run_function(self, message: QueueMessage, body: str) -> None:
        data = queue_data(body, message)
        reason = f"message {message.id} of {self._name}, delivery {message.dequeue_count}"
        done = StopSignal()
        renewal = asyncio.create_task(self._keep_invisible(message, done))
        try:
            result = await self._invocations.start(self.function, data, reason)
        finally:
            # Not cancelled: a renewal under way must end, since it changes the receipt that the message is
            # settled with.
            done.set()
            await renewal
        if result.ending is Ending.SUCCEEDED:
            await self._delete(message)
        elif result.ending is Ending.FAILED and self._poison is not None:
            if (message.dequeue_count or 0) >= self._settings.max_dequeue_count:
                await self._move_to_poison(message, f"failed {message.dequeue_count} times")
            else:
                await self._release(message, self._settings.retry_delay_seconds)

    async def _keep_invisible(self, message: QueueMessage, done: StopSignal) -> None:
        """Renews at half time, sooner after an error of the service; gives up when the message belongs to
        another.
        """
        normal = self._visibility_seconds / 2
        # The platform's least interval is a minute of its ten.
        shortest = self._visibility_seconds / 10
        interval = normal
        while True:
            await done.pause(interval)
            if done.is_set:
                return
            try:
                await self._set_visibility(message, math.ceil(self._visibility_seconds))
                interval = normal
            except HttpResponseError as error:
                if error.status_code in {400, 404}:
                    _log.warning("Message %s of %s was taken over", message.id, self._name)
                    return
                interval = max(interval / 2, shortest)
            except AzureError:
                interval = max(interval / 2, shortest)

    async def _set_visibility(self, message: QueueMessage, seconds: int) -> None:
        renewed = await self._queue.update_message(
            message.id, pop_receipt=message.pop_receipt, visibility_timeout=seconds
        )
        message.pop_receipt = renewed.pop_receipt

    async def _release(self, message: QueueMessage, hidden_seconds: float) -> None:
        await self._unless_lost(message, self._set_visibility(message, math.ceil(hidden_seconds)))

    async def _delete(self, message: QueueMessage) -> None:
        await self._unless_lost(message, self._queue.delete_message(message.id, pop_receipt=message.pop_receipt))

    async def _move_to_poison(self, message: QueueMessage, why: str) -> None:
        if self._poison is None:
            return
        _log.warning("Message %s %s: moving it to %s", message.id, why, self._poison.queue_name)
        # As it was, in its encoding, and with the service's default time to live of 7 days: the host gives no
        # other.
        try:
            await self._poison.send_message(message.content)
        except ResourceNotFoundError:
            await self._poison.create_queue()
            await self._poison.send_message(message.content)
        await self._delete(message)

    async def _unless_lost(self, message: QueueMessage, call: Awaitable[None]) -> None:
        """A message that another instance has taken meanwhile, or that is gone, is that one's to settle."""
        try:
            await call
        except HttpResponseError as error:
            if error.status_code not in {400, 404}:
                raise
            _log.info("Message %s of %s is no longer this instance's", message.id, self._name)

    def _decode(self, message: QueueMessage) -> str | None:
        if not self._settings.base64:
            return str(message.content)
        # White space is no error for .NET's decoder.
        text = re.sub(r"[ \t\r\n]", "", str(message.content))
        try:
            return base64.b64decode(text, validate=True).decode("utf-8", errors="replace")
        except ValueError:
            return None

    def _report_trouble(self, error: AzureError) -> None:
        """Once for each trouble, not at each poll."""
        missing = isinstance(error, ResourceNotFoundError)
        trouble = "it does not exist yet" if missing else one_line(error)
        if trouble != self._trouble:
            _log.log(logging.INFO if missing else logging.WARNING, "Waiting for queue %s: %s", self._name, trouble)
        self._trouble = trouble

    @property
    def _name(self) -> str:
        return str(self._queue.queue_name)

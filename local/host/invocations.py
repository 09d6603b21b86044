"""Runs functions: one invocation at a time is decoded, called, limited in time, logged and encoded.

From azure-functions-python-worker, dispatcher.py: async functions run on the one loop, the others in threads.
Where the platform ends the whole worker when functionTimeout has passed, this host cancels that one
invocation.
"""

import asyncio
import contextvars
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, cast

import azure.functions as func
from azure.functions.meta import Datum

from local.host.app import HttpTrigger, LoadedFunction, QueueTrigger
from local.host.logtext import describe_error, one_line
from local.host.trigger_data import TriggerData

_log = logging.getLogger(__name__)

# What a cancelled function gets to put away what it holds.
CLEANUP_SECONDS = 5.0


class Ending(Enum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    # Broken off because the host stops: neither a success nor a failure of the function.
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Result:
    ending: Ending
    answer: Datum | None = None

    @property
    def succeeded(self) -> bool:
        return self.ending is Ending.SUCCEEDED


class Invocations:
    """All running invocations of one host."""

    def __init__(self, timeout_seconds: float | None) -> None:
        self._timeout = timeout_seconds
        self._running: set[asyncio.Task[Result]] = set()
        self._calls: set[asyncio.Task[Any]] = set()
        self._stopping = False
        # The worker's own setting, and the default of Python's thread pools.
        self._threads = asyncio.Semaphore(
            int(os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT") or min(32, (os.cpu_count() or 1) + 4))
        )

    def start(self, function: LoadedFunction, data: TriggerData, reason: str) -> asyncio.Task[Result]:
        """Starts an invocation; its task never fails, and goes on when whoever waits for it gives up."""
        task = asyncio.create_task(self._run(function, data, reason), name=f"invocation of {function.name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def stop(self, grace_seconds: float) -> None:
        """Waits for running invocations; cancels those that are left and gives them a moment to clean up."""
        if self._running:
            await asyncio.wait(self._running, timeout=grace_seconds)
        self._stopping = True
        for call in self._calls:
            call.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=CLEANUP_SECONDS + 1)

    async def _run(self, function: LoadedFunction, data: TriggerData, reason: str) -> Result:
        if self._stopping:
            return Result(Ending.INTERRUPTED)
        invocation_id = str(uuid.uuid4())
        started = time.monotonic()
        _log.info("Executing %s (reason: %s, id: %s)", function.name, one_line(reason), invocation_id)
        ending, answer, why = await self._outcome(function, data, invocation_id)
        milliseconds = (time.monotonic() - started) * 1000
        level = logging.INFO if ending is Ending.SUCCEEDED else logging.ERROR
        _log.log(
            level,
            "Executed %s (%s, id: %s, %.0f ms)%s",
            function.name,
            ending.value,
            invocation_id,
            milliseconds,
            f": {why}" if why else "",
        )
        return Result(ending, answer)

    async def _outcome(
        self, function: LoadedFunction, data: TriggerData, invocation_id: str
    ) -> tuple[Ending, Datum | None, str]:
        call = asyncio.create_task(self._call(function, data, invocation_id))
        self._calls.add(call)
        try:
            done, _ = await asyncio.wait({call}, timeout=self._timeout)
            if not done:
                call.cancel()
                await asyncio.wait({call}, timeout=CLEANUP_SECONDS)
                return Ending.FAILED, None, f"ran longer than functionTimeout, {self._timeout:g} s"
            if call.cancelled() or (self._stopping and call.exception()):
                return (Ending.INTERRUPTED if self._stopping else Ending.FAILED), None, "cancelled"
            if error := call.exception():
                return Ending.FAILED, None, describe_error(error)
            return Ending.SUCCEEDED, call.result(), ""
        finally:
            self._calls.discard(call)

    async def _call(self, function: LoadedFunction, data: TriggerData, invocation_id: str) -> Datum | None:
        arguments: dict[str, Any] = {function.trigger.parameter: _decode(function, data)}
        if function.wants_context:
            arguments["context"] = InvocationContext(invocation_id, function.name, str(function.directory))
        if function.is_async:
            value = await function.code(**arguments)
        else:
            value = await self._call_in_thread(partial(function.code, **arguments))
        if not function.returns_answer:
            if value is not None:
                raise RuntimeError(f"function {function.name} without a $return binding returned a value")
            return None
        return _encode_answer(value)

    async def _call_in_thread(self, code: Callable[[], Any]) -> Any:
        """A daemon thread, not an executor's: a function that never returns must not keep the process from
        ending.
        """
        await self._threads.acquire()
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
        context = contextvars.copy_context()

        def settle(value: Any, error: BaseException | None) -> None:
            self._threads.release()
            if not ended.done():
                ended.set_result((value, error))

        def run() -> None:
            value, error = None, None
            try:
                value = context.run(code)
            except BaseException as caught:  # noqa: BLE001  handed over to the loop, which raises it again
                error = caught
            # The loop is closed when the host did not wait for this thread any longer.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, value, error)

        threading.Thread(target=run, daemon=True, name="function").start()
        value, error = await ended
        if error is not None:
            raise error
        return value


class InvocationContext(func.Context):
    """The `context` parameter of a function. No trace and no retry is known here."""

    def __init__(self, invocation_id: str, function_name: str, function_directory: str) -> None:
        self._invocation_id = invocation_id
        self._function_name = function_name
        self._function_directory = function_directory
        self._local = threading.local()

    @property
    def invocation_id(self) -> str:
        return self._invocation_id

    @property
    def thread_local_storage(self) -> Any:
        return self._local

    @property
    def function_name(self) -> str:
        return self._function_name

    @property
    def function_directory(self) -> str:
        return self._function_directory

    @property
    def trace_context(self) -> Any:
        return None

    @property
    def retry_context(self) -> Any:
        return None


def _decode(function: LoadedFunction, data: TriggerData) -> Any:
    match function.trigger:
        case HttpTrigger():
            binding = "httpTrigger"
        case QueueTrigger():
            binding = "queueTrigger"
        case _:
            binding = "timerTrigger"
    return _converter(binding).decode(data.datum, trigger_metadata=data.metadata)


def _encode_answer(value: object) -> Datum:
    try:
        return cast("Datum", _converter("http").encode(value, expected_type=None))
    except NotImplementedError:
        raise TypeError(
            f"an HTTP function must return an HttpResponse or a string, not {type(value).__name__}"
        ) from None


def _converter(binding: str) -> Any:
    registry: Mapping[str, Any] = func.get_binding_registry()  # type: ignore[no-untyped-call]  # the library's gap
    return registry.get(binding)

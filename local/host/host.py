"""The host: brings the app, the listeners and the HTTP server together, starts and stops them."""

import asyncio
import hashlib
import logging
import os
import re
import secrets
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from azure.core.exceptions import AzureError

from local.host.app import HttpTrigger, LoadedFunction, QueueTrigger, TimerTrigger, load_app
from local.host.connections import Connections
from local.host.errors import HostStartError
from local.host.hostjson import HostSettings, read_host_json
from local.host.http import HttpServer
from local.host.invocations import CLEANUP_SECONDS, Invocations
from local.host.keys import Keys
from local.host.logtext import describe_error, one_line
from local.host.queues import QueueListener, poison_queue_name
from local.host.schedule import Schedule, ScheduleError
from local.host.timers import HOSTS_CONTAINER, TimerListener
from local.host.trigger_data import TriggerData, http_data, manual_queue_data, timer_data

_log = logging.getLogger(__name__)

HOST_STORAGE = "AzureWebJobsStorage"
Listener = QueueListener | TimerListener


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _new_key() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class HostOptions:
    """How to run one host. What the app's authors decide stands in its host.json instead.

    `port` 0 means a free one. `visibility_seconds` is the platform's fixed ten minutes, for tests to shorten;
    `lock_seconds` (15 to 60) is how long the timers of a killed host stay locked. `clock` is the timers' idea
    of now.
    """

    app_path: Path
    port: int = 7071
    function_key: str = field(default_factory=_new_key, repr=False)
    master_key: str = field(default_factory=_new_key, repr=False)
    visibility_seconds: float = 600
    grace_seconds: float = 10
    http_answer_seconds: float = 230
    lock_seconds: int = 15
    lock_retry_seconds: float = 5
    clock: Callable[[], datetime] = _utc_now
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)


class FunctionsHost:
    """One instance of an app. Hosts of the same folder and storage are instances of the same app."""

    def __init__(self, options: HostOptions) -> None:
        if options.visibility_seconds < 1:
            raise HostStartError("the visibility must be at least 1 second, the queue service knows no less")
        if not 15 <= options.lock_seconds <= 60:
            raise HostStartError("the lock must be from 15 to 60 seconds, as the Blob service demands of a lease")
        self._options = options
        self._connections = Connections(options.environment)
        self._listeners: list[Listener] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._starts: set[asyncio.Task[None]] = set()
        self._invocations: Invocations | None = None
        self._http: HttpServer | None = None
        self._url = ""

    @property
    def url(self) -> str:
        return self._url

    @property
    def function_key(self) -> str:
        return self._options.function_key

    @property
    def master_key(self) -> str:
        return self._options.master_key

    async def start(self) -> None:
        """Returns when HTTP answers and the listeners run. Raises HostStartError, leaving nothing behind."""
        try:
            settings = read_host_json(self._options.app_path / "host.json")
            functions = load_app(self._options.app_path, self._options.environment)
            self._invocations = invocations = Invocations(settings.function_timeout_seconds)
            self._listeners = await self._build_listeners(functions, settings, invocations)
            self._http = HttpServer(
                functions,
                settings.route_prefix,
                Keys(self.function_key, self.master_key),
                invocations,
                partial(self._start_by_hand, invocations=invocations),
                self._options.http_answer_seconds,
            )
            self._url = await self._http.start(self._options.port)
        except BaseException:
            await self.stop(0)
            raise
        self._tasks = [asyncio.create_task(listener.run()) for listener in self._listeners]
        _log.info("Serving %s: %s", self._url, ", ".join(function.name for function in functions))

    async def stop(self, grace_seconds: float | None = None) -> None:
        """Takes no new work, waits `grace_seconds` for what runs, cancels the rest, closes everything."""
        grace = self._options.grace_seconds if grace_seconds is None else grace_seconds
        for listener in self._listeners:
            listener.stop()
        if self._http:
            self._http.refuse_new_requests()
        for start in self._starts:
            start.cancel()
        if self._invocations:
            await self._invocations.stop(grace)
        if self._tasks:
            # They settle their messages and release their locks.
            await asyncio.wait(self._tasks, timeout=CLEANUP_SECONDS)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http:
            await self._http.close()
        await self._connections.close()

    async def wait_for_failure(self) -> str:
        """Returns why a listener died; a host without one would look alive and do nothing."""
        if not self._tasks:
            await asyncio.Event().wait()
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        error = next((task.exception() for task in done if not task.cancelled()), None)
        return f"a listener ended: {describe_error(error) if error else 'without an error'}"

    async def _build_listeners(
        self, functions: list[LoadedFunction], settings: HostSettings, invocations: Invocations
    ) -> list[Listener]:
        listeners: list[Listener] = []
        for function in functions:
            match function.trigger:
                case QueueTrigger(queue_name=queue_name, connection=connection):
                    service = await self._connections.queues(connection)
                    poison = poison_queue_name(queue_name)
                    listeners.append(
                        QueueListener(
                            function,
                            service.get_queue_client(queue_name),
                            service.get_queue_client(poison) if poison else None,
                            settings.queues,
                            invocations,
                            self._options.visibility_seconds,
                        )
                    )
                case TimerTrigger() as trigger:
                    listeners.append(await self._build_timer(function, trigger, invocations))
        return listeners

    async def _build_timer(
        self, function: LoadedFunction, trigger: TimerTrigger, invocations: Invocations
    ) -> TimerListener:
        try:
            schedule = Schedule.parse(trigger.schedule)
        except ScheduleError as error:
            raise HostStartError(f"function {function.name}: {error}") from None
        service = await self._connections.blobs(HOST_STORAGE)
        return TimerListener(
            function,
            trigger,
            schedule,
            invocations,
            service.get_container_client(HOSTS_CONTAINER),
            _host_id(self._options),
            lock_seconds=self._options.lock_seconds,
            lock_retry_seconds=self._options.lock_retry_seconds,
            clock=self._options.clock,
        )

    def _start_by_hand(self, function: LoadedFunction, given: str, invocations: Invocations) -> None:
        async def run() -> None:
            data = await self._manual_data(function, given)
            invocations.start(function, data, "started by hand")

        task = asyncio.create_task(run())
        self._starts.add(task)
        task.add_done_callback(self._starts.discard)

    async def _manual_data(self, function: LoadedFunction, given: str) -> TriggerData:
        match function.trigger:
            case HttpTrigger(route=route):
                return http_data("POST", f"{self._url}/{route}", [], [], {}, given.encode())
            case QueueTrigger():
                return manual_queue_data(given)
            case TimerTrigger():
                listener = next(one for one in self._listeners if one.function is function)
                status = None
                if isinstance(listener, TimerListener):
                    try:
                        status = await listener.stored_status()
                    except AzureError as error:
                        _log.warning("The status of timer %s cannot be read: %s", function.name, one_line(error))
                return timer_data(status, past_due=False)


async def run_host(options: HostOptions, on_ready: Callable[[FunctionsHost], None]) -> None:
    """Runs a host until SIGINT or SIGTERM. Raises SystemExit, which prints its message and exits with 1, when
    it cannot.
    """
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        host = FunctionsHost(options)
        await host.start()
    except HostStartError as error:
        raise SystemExit(str(error)) from None
    try:
        on_ready(host)
        stopped = asyncio.create_task(stopping.wait())
        failed = asyncio.create_task(host.wait_for_failure())
        await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        failure = failed.result() if failed.done() else ""
        stopped.cancel()
        failed.cancel()
    finally:
        await host.stop()
    if failure:
        raise SystemExit(failure)


def _host_id(options: HostOptions) -> str:
    """Equal for all instances of an app. The platform's own setting, or the folder's name with a hash of its
    path.
    """
    if chosen := options.environment.get("AzureFunctionsWebHost__hostid"):
        return chosen
    path = options.app_path.resolve()
    name = re.sub(r"[^a-z0-9]+", "-", path.name.lower()).strip("-")[:18]
    return f"{name or 'app'}-{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"

"""Timer triggers: fires a function when it is due, on one instance at a time, never twice at once.

From azure-webjobs-sdk-extensions (TimerListener, StorageScheduleMonitor): runs that were missed while no host
ran are made up for by one run that is past due; a run that outlasts its interval is followed by the next at
once.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import datetime

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob.aio import ContainerClient

from local.host.app import LoadedFunction, TimerTrigger
from local.host.invocations import Ending, Invocations
from local.host.locks import InstanceLock
from local.host.logtext import one_line
from local.host.schedule import Schedule, ScheduleStatus, status_after_run, status_at_start
from local.host.stopping import StopSignal
from local.host.trigger_data import timer_data

_log = logging.getLogger(__name__)

HOSTS_CONTAINER = "azure-webjobs-hosts"
# Long sleeps are cut, so that a clock that was set or a laptop that slept is noticed.
_LONGEST_SLEEP_SECONDS = 60.0


class ScheduleMonitor:
    """The blob that remembers when a timer ran and when it is due next."""

    def __init__(self, container: ContainerClient, blob_name: str) -> None:
        self._blob = container.get_blob_client(blob_name)

    async def read(self) -> ScheduleStatus | None:
        """None when there is none yet, or none that can be read. Raises AzureError."""
        try:
            stream = await self._blob.download_blob()
            return ScheduleStatus.from_document(json.loads(await stream.readall()))
        except ResourceNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            _log.warning("%s is not a timer's status and starts anew: %s", self._blob.blob_name, one_line(error))
            return None

    async def write(self, status: ScheduleStatus) -> None:
        await self._blob.upload_blob(json.dumps(status.to_document()), overwrite=True)


class TimerListener:
    def __init__(
        self,
        function: LoadedFunction,
        trigger: TimerTrigger,
        schedule: Schedule,
        invocations: Invocations,
        container: ContainerClient,
        host_id: str,
        *,
        lock_seconds: int,
        lock_retry_seconds: float,
        clock: Callable[[], datetime],
    ) -> None:
        self.function = function
        self._schedule = schedule
        self._run_on_startup = trigger.run_on_startup
        self._invocations = invocations
        self._clock = clock
        self._retry_seconds = lock_retry_seconds
        self._stop = StopSignal()
        # The platform's own names, so that its tools find them.
        name = f"Host.Functions.{function.name}"
        self._lock = InstanceLock(container, f"locks/{host_id}/{name}.Listener", lock_seconds)
        self._monitor: ScheduleMonitor | None = None
        if trigger.use_monitor and schedule.is_monitored(clock()):
            self._monitor = ScheduleMonitor(container, f"timers/{host_id}/{name}/status")

    def stop(self) -> None:
        """No new run; a run under way is waited for by `run`."""
        self._stop.set()

    async def run(self) -> None:
        """Follows the schedule while this instance has the lock; returns after `stop`."""
        while not self._stop.is_set:
            try:
                if await self._lock.try_acquire():
                    await self._follow_while_locked()
            except AzureError as error:
                _log.warning("Timer %s waits for the host's storage: %s", self.function.name, one_line(error))
            await self._stop.pause(self._retry_seconds)

    async def stored_status(self) -> ScheduleStatus | None:
        return await self._monitor.read() if self._monitor else None

    async def _follow_while_locked(self) -> None:
        following = asyncio.create_task(self._follow_schedule())
        keeping = asyncio.create_task(self._lock.keep())
        try:
            await asyncio.wait({following, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
            else:
                _log.warning("Timer %s lost its lock to another instance", self.function.name)
        finally:
            following.cancel()
            keeping.cancel()
            await asyncio.gather(following, keeping, return_exceptions=True)
            await self._lock.release()

    async def _follow_schedule(self) -> None:
        status = status_at_start(self._schedule, await self.stored_status(), self._clock())
        await self._remember(status)
        _log.info("Timer %s comes next at %s", self.function.name, status.next.isoformat())
        if self._clock() > status.next:
            status = await self._fire(status, "past due", past_due=True)
        elif self._run_on_startup:
            status = await self._fire(status, "run on startup")
        while not self._stop.is_set:
            left = (status.next - self._clock()).total_seconds()
            if left > 0:
                await self._stop.pause(min(left, _LONGEST_SLEEP_SECONDS))
            else:
                status = await self._fire(status, "schedule", on_schedule=True)

    async def _fire(
        self, status: ScheduleStatus, reason: str, *, past_due: bool = False, on_schedule: bool = False
    ) -> ScheduleStatus:
        invoked_at = self._clock()
        shown = status if self._monitor else None
        task = self._invocations.start(self.function, timer_data(shown, past_due=past_due), f"timer: {reason}")
        # Shielded: losing the lock ends the following of the schedule, not the run.
        result = await asyncio.shield(task)
        if result.ending is Ending.INTERRUPTED:
            # The status stays as it was, and the run is past due for the next host.
            return status
        after = status_after_run(self._schedule, status, invoked_at, on_schedule=on_schedule)
        await self._remember(after)
        return after

    async def _remember(self, status: ScheduleStatus) -> None:
        """Storage that does not answer costs a memory, not a run, as on the platform."""
        if self._monitor is None:
            return
        try:
            await self._monitor.write(status)
        except AzureError as error:
            _log.error("Timer %s: its status could not be stored: %s", self.function.name, one_line(error))

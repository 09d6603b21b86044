"""Records what invocations say in metrics, and lets their spans be recorded: on the platform; off elsewhere.

Telemetry is about the work, never part of it: what fails of it is a warning in the log.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from shared import tracing
from shared.decisions.metrics import METRICS, RUNS, Kind, Measurement, of_connections, of_queue
from shared.errors import AlreadyRunning, SnapkeepError
from shared.operations.measurements import of_failure, of_result
from shared.services import Services
from shared.settings import Settings

if TYPE_CHECKING:  # the SDK is for those who record something
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

QUEUE_SECONDS = 60.0
"""The queue is looked at no more often, by each instance: that costs four calls."""
LOOK_SECONDS = 5.0
FLUSH_SECONDS = 10.0
SECONDS_BUCKETS = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 1800, 3600, 3 * 3600, 12 * 3600, 24 * 3600)
FLUSHED = frozenset({"sync", "reconcile"})
"""Functions that run seldom: what they say is not to be lost with the instance, which may end soon after."""

Result = TypeVar("Result")
Take = Callable[[float, Mapping[str, str]], None]

log = logging.getLogger(__name__)


class Telemetry:
    """Of one process. Without providers nothing is recorded, and nothing is asked for its sake."""

    def __init__(
        self,
        metrics: MeterProvider | None = None,
        spans: TracerProvider | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics, self._spans, self._clock = metrics, spans, clock
        self._instruments = _instruments(metrics.get_meter(tracing.NAME)) if metrics else {}
        self._queue_due = clock()
        tracing.use(spans)

    @classmethod
    def of(cls, settings: Settings) -> Telemetry:
        """What the settings ask for."""
        where = settings.application_insights
        if where is None:
            return cls()
        try:
            # Takes the better part of a second, which those who do without need not wait for.
            from shared.adapters.monitoring import metrics_to, spans_to

            return cls(metrics_to(where), spans_to(where))
        except Exception:
            log.exception("nothing is measured or traced")
            return cls()

    async def observed(self, services: Services, function: str, work: Awaitable[Result]) -> Result:
        """What `work` gives or raises, after recording what that says."""
        began = self._clock()
        try:
            result = await work
        except AlreadyRunning:
            raise  # the other run is the one that counts
        except Exception as error:
            failed = error
            await self._ended(services, function, lambda: of_failure(function, failed, self._clock() - began))
            raise
        await self._ended(
            services, function, lambda: of_result(function, result, self._clock() - began, services.now())
        )
        return result

    def record(self, measurements: Iterable[Measurement]) -> None:
        """Takes measurements; they are sent within a minute."""
        for metric, value, attributes in measurements:
            self._instruments[metric.name](value, attributes)

    def close(self) -> None:
        """Sends what is left, and records nothing any more."""
        tracing.use(None)
        if self._spans is not None:
            self._spans.shutdown()
        if self._metrics is not None:
            self._metrics.shutdown(FLUSH_SECONDS * 1000)

    async def _ended(
        self, services: Services, function: str, measurements: Callable[[], Iterable[Measurement]]
    ) -> None:
        if self._metrics is None:
            return
        try:
            measured = list(measurements())
            self.record(measured)
            await self._look_at_queue(services)
            if any(one.metric is RUNS and one.attributes["function"] in FLUSHED for one in measured):
                await asyncio.to_thread(self._metrics.force_flush, FLUSH_SECONDS * 1000)
        except (SnapkeepError, TimeoutError) as error:
            log.warning("the queue could not be measured: %s", str(error) or "storage did not answer in time")
        except Exception:
            log.exception("the run of %s could not be measured", function)

    async def _look_at_queue(self, services: Services) -> None:
        if self._clock() < self._queue_due:
            return
        # Before the look: the messages that end meanwhile are not to look as well.
        self._queue_due = self._clock() + QUEUE_SECONDS
        settings, now = services.settings, services.now()
        self.record(of_connections(iter((settings.source, settings.backup, settings.queue, settings.state)), now))
        async with asyncio.timeout(LOOK_SECONDS):
            self.record(of_queue(await services.queue.overview(), services.now()))


class _Gauge:
    """Values that are sent once each time that they are set.

    The SDK's own gauge sends its last values again each minute as long as the process lives: what one instance found
    yesterday would stand beside, and as often as not in place of, what another one found today.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # values are set by the app's thread, and sent by the exporter's
        self._values: dict[tuple[tuple[str, str], ...], float] = {}

    def set(self, value: float, attributes: Mapping[str, str]) -> None:
        with self._lock:
            self._values[tuple(attributes.items())] = value

    def observe(self, _: CallbackOptions) -> list[Observation]:
        with self._lock:
            values, self._values = self._values, {}
        return [Observation(value, dict(attributes)) for attributes, value in values.items()]


def _instruments(meter: Meter) -> dict[str, Take]:
    taking: dict[str, Take] = {}
    for name, kind, unit, description in METRICS:
        if kind is Kind.COUNTER:
            taking[name] = meter.create_counter(name, unit, description).add
        elif kind is Kind.GAUGE:
            gauge = _Gauge()
            meter.create_observable_gauge(name, [gauge.observe], unit, description)
            taking[name] = gauge.set
        else:
            histogram = meter.create_histogram(
                name, unit, description, explicit_bucket_boundaries_advisory=SECONDS_BUCKETS
            )
            taking[name] = histogram.record
    return taking

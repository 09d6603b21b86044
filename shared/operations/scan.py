"""The operation `scan`: carries out one message that asks for a shard of a reconciliation.

Whoever does the last one writes the run's report: it goes on with the run, of which nothing else is left.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NamedTuple

from shared.decisions.messages import Scan
from shared.decisions.reconcile_run import Run
from shared.errors import AlreadyRunning, MessageError
from shared.operations.reconcile import CHECKPOINT, reconcile, report_ended
from shared.operations.scanning import End, Plan, done, work
from shared.operations.sharding import again
from shared.services import Services

BUSY_SECONDS = 60.0
"""When a shard that another instance works on is looked at again: by then the lease of one that died is over."""

log = logging.getLogger(__name__)


class Scanned(NamedTuple):
    """What became of a shard, in a line; and the report of the run, where that ended with it."""

    line: str
    report: dict[str, Any] | None = None


async def scan(services: Services, message: Scan) -> Scanned:
    """Gets on with one shard. When it returns, nothing of the message can be lost.

    Raises:
        MessageError: the run has no such shard.
        SnapkeepError: the state or the queue failed; the host delivers the message again.
    """
    loop = asyncio.get_running_loop()
    began, budget = loop.time(), services.settings.reconcile_budget_seconds
    what = f"shard {message.shard} of {message.container}"
    plan = await Plan.read(services, message.run_id, message.container)
    if plan is None:
        log.info("reconcile: %s: its run %s has ended", what, message.run_id)
        return Scanned(f"{what}: its run has ended")
    if message.shard >= len(plan.shards):
        raise MessageError(f"run {message.run_id} has {len(plan.shards)} shards of {message.container}: no {what}")
    end = await work(services, plan, message.shard, lambda: loop.time() - began >= budget)
    log.info("reconcile: %s: %s", what, end.value)
    report = None
    if end is End.DONE:
        report = await _finish(services, message.run_id, began)
    else:
        delays = {
            End.BUSY: BUSY_SECONDS,
            End.FAILED: services.settings.retry_delay_seconds * 2.0 ** (message.attempt - 1),
        }
        await services.queue.send(again(message, end), delays.get(end, 0))
    return Scanned(f"{what}: {end.value}", report)


async def _finish(services: Services, run_id: str, began: float) -> dict[str, Any] | None:
    """Goes on with the run when all of its shards are done. Whoever holds its lock looks for that, too, at its end."""
    loop = asyncio.get_running_loop()
    run = Run.of(await services.state.progress(CHECKPOINT) or {})
    try:
        if run is None or run.run_id != run_id:
            return await report_ended(services)
        if len(await done(services, run)) >= sum(run.shards.values()):
            return await reconcile(services, elapsed=lambda: loop.time() - began)
    except AlreadyRunning as other:
        log.info("%s", other)
    return None

"""Works on single shards of a reconciliation: one instance at a time on each, any number of instances on a run's.

A shard is its document in the state: whoever holds the document's lease works on the shard, and the service takes
no write from anybody who does not. So however often its message comes, and whoever dies when, the document has its
progress once, and the run's report counts it once.

    scans/<run>/<container>/plan.json          the shards, and what is known of the services
    scans/<run>/<container>/<number>.json      one shard: how far it is, and what came of it
    scans/<run>/done/<container>/<number>      that it is done: what tells the last one that it is
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import Any

from shared.adapters.state import HeldDocument
from shared.decisions.reconcile_run import Progress, Run, ShardRun
from shared.decisions.reporting import ContainerReport
from shared.decisions.sampling import Sampler
from shared.decisions.shards import Shard
from shared.errors import AlreadyRunning, LeaseUnavailable
from shared.operations.container_pass import ContainerPass, OutOfTime, told
from shared.operations.listed import pieces
from shared.services import Services

FOLDER = "scans/"

KEEP_SECONDS = 30.0
"""How often a shard's progress is kept: what a crash costs at most."""

MAX_FAILURES = 3
MAX_BEGUN = 5
"""How often a shard is begun without getting on by a page: by then it ends whoever works on it."""

log = logging.getLogger(__name__)


class End(Enum):
    """How an instance's work on a shard ended."""

    DONE = "done"
    OUT_OF_TIME = "to be gone on with"
    FAILED = "failed for the time being"
    BUSY = "another instance is at work on it"


@dataclass(frozen=True)
class Plan:
    """A container's shards, as they stand in the state."""

    run_id: str
    container: str
    shards: tuple[Shard, ...]
    ranges: bool
    started_at: str
    sampler: dict[str, Any]

    @staticmethod
    def name(run_id: str, container: str) -> str:
        return f"{FOLDER}{run_id}/{container}/plan.json"

    async def write(self, services: Services) -> None:
        document = {
            "schema": 1,
            "ranges": self.ranges,
            "started_at": self.started_at,
            "sampler": self.sampler,
            "shards": [list(shard) for shard in self.shards],
        }
        await services.state.write(self.name(self.run_id, self.container), document)

    @classmethod
    async def read(cls, services: Services, run_id: str, container: str) -> Plan | None:
        """The plan of this run; None where there is none, or none any more."""
        document = await services.state.progress(cls.name(run_id, container))
        if document is None:
            return None
        shards = tuple(Shard(*shard) for shard in document["shards"])
        return cls(run_id, container, shards, document["ranges"], document["started_at"], document["sampler"])

    def shard_name(self, number: int) -> str:
        return f"{FOLDER}{self.run_id}/{self.container}/{number}.json"

    def left_name(self, number: int) -> str:
        return f"{FOLDER}{self.run_id}/{self.container}/{number}-left.jsonl.gz"

    def done_name(self, number: int) -> str:
        return f"{FOLDER}{self.run_id}/done/{self.container}/{number}"

    def begin(self) -> ShardRun:
        """A shard's state before anything was done."""
        sampled = self.sampler
        day = date.fromisoformat(sampled["day"])
        sampler = Sampler(sampled["percent"], day, sampled["drill_blobs"], sampled["seed"])
        return ShardRun(Progress(ContainerReport(self.container)), sampler)


async def work(services: Services, plan: Plan, number: int, out_of_time: Callable[[], bool]) -> End:
    """Works on a shard from where it is, to its end or as long as there is time.

    Args:
        out_of_time: whether the invocation's time is over.

    Raises:
        SnapkeepError: the state could not be read or written.
    """
    try:
        async with services.state.held_document(plan.shard_name(number), f"shard {number} of {plan.container}") as held:
            run = ShardRun.of(await held.read()) or plan.begin()
            end = End.DONE if run.done else await _Work(services, plan, number, held, run, out_of_time).go_on()
        if end is End.DONE:
            await services.state.write(plan.done_name(number), {})
    except AlreadyRunning:
        return End.BUSY
    except LeaseUnavailable as error:
        log.warning("reconcile %s: shard %d: %s", plan.container, number, error)
        return End.BUSY
    return end


async def done(services: Services, run: Run) -> set[tuple[str, int]]:
    """The shards of a run that are done."""
    prefix = f"{FOLDER}{run.run_id}/done/"
    found = (name.removeprefix(prefix).rpartition("/") for name in await services.state.names(prefix))
    return {(container, int(number)) for container, _, number in found if container in run.shards}


def shards_of(run: Run) -> Iterator[tuple[str, int]]:
    """All shards of a run, some of each container in turn."""
    for number in range(max(run.shards.values(), default=0)):
        yield from ((container, number) for container, count in sorted(run.shards.items()) if number < count)


@dataclass
class _Work:
    services: Services
    plan: Plan
    number: int
    held: HeldDocument
    run: ShardRun
    out_of_time: Callable[[], bool]
    _kept_at: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    async def go_on(self) -> End:
        run = self.run
        if run.begun >= MAX_BEGUN:
            return await self._give_up(f"whoever works on it ends: it was begun {run.begun} times in vain")
        run.begun += 1
        await self.held.write(run.document())
        try:
            await self._pass()
        except OutOfTime:
            return End.OUT_OF_TIME
        except LeaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 -- one shard never stops the others: its failure is reported
            return await self._fail(told(f"{self.plan.container}: shard {self.number}", error))
        return await self._end()

    async def _pass(self) -> None:
        run, shard = self.run, self.plan.shards[self.number]
        if run.progress.source_pieces is None:
            found = await pieces(self.services, self.plan.container, shard, ranges=self.plan.ranges)
            run.progress.source_pieces, run.progress.backup_pieces = found
        work = ContainerPass(
            self.services,
            run.progress,
            run.sampler,
            f"{self.plan.run_id}-{self.number}",
            self.plan.started_at,
            self._check_lock,
            self._check_time,
            shard=shard,
            left_name=self.plan.left_name(self.number),
            is_due=self._is_due,
            keep=self._keep,
            strays=run.strays,
        )
        await work.go_through(exists=True)

    async def _keep(self) -> None:
        self.run.begun = 0
        await self._write()

    async def _write(self) -> None:
        now, report = asyncio.get_running_loop().time(), self.run.progress.report
        report.duration_seconds = round(report.duration_seconds + now - self._kept_at, 3)
        self._kept_at = now
        self._check_lock()
        await self.held.write(self.run.document())

    def _is_due(self) -> bool:
        return asyncio.get_running_loop().time() - self._kept_at >= KEEP_SECONDS

    async def _fail(self, reason: str) -> End:
        """Goes back to what was kept last, to be tried again; the last time it is the shard's end."""
        kept = ShardRun.of(await self.held.read()) or self.plan.begin()
        self.run = kept
        kept.failures += 1
        if kept.failures >= MAX_FAILURES:
            return await self._give_up(reason)
        kept.begun = 0
        await self.held.write(kept.document())
        return End.FAILED

    async def _give_up(self, reason: str) -> End:
        report = self.run.progress.report
        report.complete = False
        report.error = f"shard {self.number} ({self.plan.shards[self.number]}): {reason}"
        return await self._end()

    async def _end(self) -> End:
        self.run.done = True
        await self._write()
        return End.DONE

    def _check_time(self) -> None:
        self._check_lock()
        if self.out_of_time():
            raise OutOfTime

    def _check_lock(self) -> None:
        if self.held.lease.lost.is_set():
            raise LeaseUnavailable("its lock was lost: another instance may go on with it")

"""What a reconciliation does for containers that are too large for one pass: it cuts them into shards, has those
gone through by whatever instances there are, itself among them, and puts together what came of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field

from shared.adapters.folders import begins_at
from shared.containers import backup_container
from shared.decisions.alarms import lately
from shared.decisions.messages import Scan, scan
from shared.decisions.names import LONG_NAMES
from shared.decisions.reconcile_run import Run, ShardRun, mark_every
from shared.decisions.reporting import ContainerReport
from shared.decisions.shards import Piece, plan
from shared.errors import ContainerNotFound, LeaseUnavailable, SnapkeepError, StorageFailed
from shared.model import second_of
from shared.operations.container_pass import told
from shared.operations.filling import PARALLEL_MESSAGES, check_container
from shared.operations.listed import backup_pages, pages
from shared.operations.missing import ALL, MissingBlobs
from shared.operations.scanning import FOLDER, End, Plan, done, shards_of, work
from shared.operations.unprotected import recall_unprotected
from shared.parallel import for_each
from shared.services import Services

COUNTS = "counts/"
COUNTS_SCHEMA = 1
POLL_SECONDS = 2.0
"""How often whoever waits for other instances looks whether they are done."""

log = logging.getLogger(__name__)


async def counted_containers(services: Services) -> set[str]:
    """The containers that had very many blobs when they were last counted."""
    return {name.removeprefix(COUNTS).removesuffix(".json") for name in await services.state.names(COUNTS)}


async def plan_shards(services: Services, run: Run, container: str) -> Plan | None:
    """A plan for a container that had very many blobs when it was last counted; None for all others.

    Raises:
        SnapkeepError: the container cannot be protected, or the services not be asked.
    """
    check_container(services, container)
    counted = await services.state.progress(_counts_name(container))
    if (
        counted is None
        or counted.get("schema") != COUNTS_SCHEMA
        or counted["blobs"] < 2 * services.settings.shard_blobs
    ):
        return None
    marks, size = counted["marks"], max(1, round(services.settings.shard_blobs / counted["every"]))
    shards, ranges = plan(marks, ranges=True, size=size), True
    cuts = [f"{shard.prefix}{shard.start}" for shard in shards if shard.sure and shard.start]
    if cuts and not await _begins_at(services, container, cuts[-1]):
        shards, ranges = plan(marks, ranges=False, size=size), False
    if len(shards) < 2:
        return None
    log.info("reconcile %s: %d shards, cut into ranges of names: %s", container, len(shards), ranges)
    return Plan(run.run_id, container, tuple(shards), ranges, run.started_at, run.sampler.document())


async def _begins_at(services: Services, container: str, name: str) -> bool:
    """Whether both accounts begin a listing at this name, behind which there are others."""
    source, backup = services.source.listing, services.backup.listing
    return await begins_at(source, container, name) and await begins_at(backup, backup_container(container), name)


async def write_counts(services: Services, container: str, blobs: int, marks: Sequence[str]) -> None:
    """Keeps what was counted of a large container, by which the next run cuts it."""
    every = mark_every(services.settings.shard_blobs)
    document = {"schema": COUNTS_SCHEMA, "container": container, "blobs": blobs, "every": every, "marks": marks}
    await services.state.write(_counts_name(container), document)


async def ask_for_shards(services: Services, run: Run, containers: Sequence[str]) -> None:
    """Puts a message on the queue for each shard of these containers that is not done."""
    over = await done(services, run)
    now = second_of(services.now())
    open_shards = [one for one in shards_of(run) if one not in over and one[0] in containers]

    async def send(one: tuple[str, int]) -> None:
        await services.queue.send(scan(one[0], run.run_id, one[1], now))

    await for_each(open_shards, send, PARALLEL_MESSAGES)


async def all_planned(services: Services, run: Run) -> bool:
    """Whether the shards of a run that was interrupted can all be gone through still."""
    for container in run.shards:
        if not services.settings.protects(container) or await Plan.read(services, run.run_id, container) is None:
            log.warning("reconcile %s: run %s was to go through shards of it, and cannot now", container, run.run_id)
            return False
    return True


async def forget_shards(services: Services) -> None:
    """Removes what is kept of shards; what cannot be removed is left to the next run."""

    async def forget(name: str) -> None:
        try:
            await services.state.delete(name)
        except SnapkeepError as error:
            log.info("%s; it is left to the next run", error)

    names = await services.state.names(FOLDER)
    # The plans first: a message that comes late finds none, and nothing to do.
    for name in [name for name in names if name.endswith("/plan.json")]:
        await forget(name)
    await for_each([name for name in names if not name.endswith("/plan.json")], forget, services.settings.concurrency)


@dataclass
class Shards:
    """The open shards of a run, as the instance that reconciles sees them.

    Attributes:
        out_of_time: whether the invocation's time is over.
        check_lock: raises when another run may have begun.
    """

    services: Services
    run: Run
    out_of_time: Callable[[], bool]
    check_lock: Callable[[], None]
    _plans: dict[str, Plan] = field(default_factory=dict)

    async def go_through(self, *, wait: bool) -> bool:
        """Works on shards that nobody else works on, until none is open; whether all are done.

        Args:
            wait: for shards that others work on, too; else they are left to them.
        """
        while True:
            over = await done(self.services, self.run)
            left = [one for one in shards_of(self.run) if one not in over]
            if not left:
                return True
            taken = False
            for container, number in left:
                if self.out_of_time():
                    return False
                taken |= await self._work(container, number)
                self.check_lock()
            if not taken:
                if not wait:
                    return set(left) <= await done(self.services, self.run)
                await asyncio.sleep(POLL_SECONDS)

    async def _work(self, container: str, number: int) -> bool:
        """Whether this instance got on with the shard."""
        end = await work(self.services, await self._plan(container), number, self.out_of_time)
        return end is not End.BUSY

    async def _plan(self, container: str) -> Plan:
        if container not in self._plans:
            found = await Plan.read(self.services, self.run.run_id, container)
            if found is None:
                raise StorageFailed(f"{Plan.name(self.run.run_id, container)} is gone from the state; run it again")
            self._plans[container] = found
        return self._plans[container]

    async def put_together(self, container: str, *, complete: bool) -> ContainerReport:
        """The container's report out of its shards, and what only all of them together can tell.

        Args:
            complete: whether all shards are done; else it is a report of how far they are.
        """
        plan = await self._plan(container)
        whole = _Whole()
        for number, shard in enumerate(plan.shards):
            state = ShardRun.of(await self.services.state.progress(plan.shard_name(number)))
            if state is not None:
                whole.add(state)
                if complete:
                    self.run.sampler.merge(state.sampler)
            if complete and (state is None or not state.done):
                error = f"shard {number} ({shard}): what came of it is gone from the state; the next run looks again"
                whole.reports.append(ContainerReport(container, error=error))
        report = ContainerReport.merged(container, whole.reports)
        report.complete &= complete
        if complete:
            await self._end(report, whole)
        return report

    async def _end(self, report: ContainerReport, whole: _Whole) -> None:
        """Ends with the container, be it with an error, which is its own: it keeps no other from being reported."""
        looked_at = report.complete
        try:
            await self._settle(report, whole)
            if looked_at:  # a part of it would be cut otherwise than the whole
                await write_counts(self.services, report.container, report.blobs, whole.marks)
        except LeaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 -- told of in the log and the report
            report.complete = False
            report.error = "; ".join(filter(None, (report.error, told(report.container, error))))

    async def _settle(self, report: ContainerReport, whole: _Whole) -> None:
        """Adds what was lost, and finds deletions among backups that are no shard's."""
        await recall_unprotected(self.services, report)
        found = ContainerReport(report.container)
        missing = MissingBlobs(self.services, found, self.run.run_id, self.check_lock)
        with closing(missing):
            try:
                await missing.recall()
            except StorageFailed as error:
                report.error, report.complete = "; ".join(filter(None, (report.error, str(error)))), False
            if not report.complete:
                return
            missing.add_folders(sorted(whole.strays.items()))
            await self._add_long_names(missing)
            missing.saw_long(sorted(whole.seen_long))
            known = report.deletions_unconfirmed == 0 and None not in whole.listed_from
            listed_from = min(map(str, whole.listed_from), default=None) if known else None
            await missing.settle(listed_from, lately(self.run.started_at))
        report.deleted, report.deleted_lately = found.deleted, found.deleted_lately
        report.deleted_in_run += found.deleted_in_run
        report.deletions_unconfirmed += found.deletions_unconfirmed

    async def _add_long_names(self, missing: MissingBlobs) -> None:
        where = backup_pages(self.services, missing.container)
        try:
            async with aclosing(pages(where, [Piece(f"{LONG_NAMES}/")], ALL)) as listed:
                async for page in listed:
                    missing.add_backups(page.entries)
                    self.check_lock()
        except ContainerNotFound:
            log.debug("reconcile %s: there are no backups", missing.container)


@dataclass
class _Whole:
    """What the shards of a container found, put together."""

    reports: list[ContainerReport] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    strays: dict[str, str] = field(default_factory=dict)
    seen_long: set[str] = field(default_factory=set)
    listed_from: list[str | None] = field(default_factory=list)

    def add(self, state: ShardRun) -> None:
        self.reports.append(state.progress.report)
        self.marks += state.progress.marks
        self.seen_long |= set(state.progress.seen_long)
        if state.progress.begun:
            self.listed_from.append(state.progress.listed_from)
        for folder, newest in state.strays.items():
            self.strays[folder] = max(newest, self.strays.get(folder, ""))


def again(message: Scan, end: End) -> Scan:
    """The message that has a shard gone on with."""
    return message.model_copy(update={"attempt": min(message.attempt + (end is End.FAILED), 100)})


def _counts_name(container: str) -> str:
    return f"{COUNTS}{container}.json"

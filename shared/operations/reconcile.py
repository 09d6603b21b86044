"""The operation `reconcile`: goes through every container, fills in what is missing, and reports.

A run that exceeds its time saves where it is; the next one goes on there. Very large containers are cut into shards,
which any number of instances take from the queue (`shared.operations.sharding`); whoever does the last one goes on
with the run, and so writes its report.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

from shared.adapters.leases import HeldLease
from shared.decisions.history import appended
from shared.decisions.reconcile_run import Progress, Run
from shared.decisions.reporting import ContainerReport, Findings, coverage_report
from shared.decisions.sampling import Sampler
from shared.errors import AlreadyRunning, LeaseUnavailable, SnapkeepError
from shared.logged import about
from shared.model import second_of
from shared.operations import alarms
from shared.operations.container_pass import ContainerPass, OutOfTime, told
from shared.operations.missing import LEFT_TO_SEE
from shared.operations.proof import prove
from shared.operations.requests import discarded
from shared.operations.scanning import done
from shared.operations.sharding import (
    Shards,
    all_planned,
    ask_for_shards,
    counted_containers,
    forget_shards,
    plan_shards,
    write_counts,
)
from shared.operations.status import write_page
from shared.services import Services
from shared.tracing import note, span

CHECKPOINT = "checkpoints/reconcile.json"
UNPROVEN = "checkpoints/reconcile-report.json"
"""The report of a run as it was before its proofs, for when it does not get to write a better one."""

LATEST = "reports/latest.json"
HISTORY = "history/coverage.json"

STAGING_DAYS = 2
MAX_PROOF_SECONDS = 300

log = logging.getLogger(__name__)


async def reconcile(services: Services, *, elapsed: Callable[[], float], wait: bool = False) -> dict[str, Any]:
    """Reconciles all containers, or goes on with a run that is not at its end; gives the report it wrote.

    Args:
        elapsed: seconds since the invocation began, for the time budget.
        wait: for shards that other instances work on; else the last of them writes the report.

    Raises:
        AlreadyRunning: another instance reconciles now.
        LeaseUnavailable: the lock was lost on the way. Nothing is written then: another run may have begun.
        StorageFailed: the containers could not be listed, or the report not be written.
    """
    return await run_as(Reconciler, services, elapsed, wait=wait)


async def run_as(
    kind: type[Reconciler], services: Services, elapsed: Callable[[], float], *, wait: bool = False
) -> dict[str, Any]:
    """A reconciliation of this kind, and the report it wrote; as `reconcile`."""
    report, left_to = await _go_on(kind, services, elapsed, wait)
    while left_to is not None and await _all_done(services, left_to):
        # Whoever did the last shard meanwhile could not have the lock, and left the rest to whoever had it.
        try:
            report, left_to = await _go_on(kind, services, elapsed, wait)
        except AlreadyRunning as other:
            log.info("%s", other)
            break
    with about(run=report["run_id"]):
        await write_page(services)
        log.info("reconcile %s: complete: %s, %s", report["run_id"], report["complete"], report["totals"])
    return report


async def _go_on(
    kind: type[Reconciler], services: Services, elapsed: Callable[[], float], wait: bool
) -> tuple[dict[str, Any], Run | None]:
    """The report of a run, or of how far it is; and the run, where other instances can do what is left of it."""
    async with services.state.lock("reconcile") as lease:
        await _publish_unproven(services)
        run = await kind.run_of(services)
        reconciler = kind(services, run, lease, elapsed, wait)
        with span("reconcile", run=run.run_id):
            report = await reconciler.reconcile()
            note(outcome="succeeded" if report["complete"] else "incomplete")
    return report, reconciler.run if reconciler.left_to_others else None


def new_run(services: Services) -> Run:
    """A run that is at its beginning."""
    settings, now, run_id = services.settings, services.now(), uuid4().hex[:12]
    sampler = Sampler(settings.verify_sample.percent, now.date(), settings.drill_blobs, run_id)
    return Run(run_id, second_of(now), sampler)


async def report_ended(services: Services) -> dict[str, Any] | None:
    """Writes the report of a run that ended, should whoever ended it not have got to that; gives what it wrote.

    Raises:
        AlreadyRunning: another instance reconciles now, and has done so.
        StorageFailed: it could not be written.
    """
    if await services.state.progress(UNPROVEN) is None:
        return None
    async with services.state.lock("reconcile"):
        report = await _publish_unproven(services)
    await write_page(services)
    return report


async def _all_done(services: Services, run: Run) -> bool:
    return len(await done(services, run)) == sum(run.shards.values())


async def _publish_unproven(services: Services) -> dict[str, Any] | None:
    """Writes the report of a run that ended while it made its proofs; gives what it wrote."""
    report: dict[str, Any] | None = await services.state.progress(UNPROVEN)
    if report is None:
        return None
    latest = await services.state.progress(LATEST)
    published = latest is not None and latest["run_id"] == report["run_id"] and latest["complete"]
    if not published:
        await _publish(services, report)
    await services.state.delete(UNPROVEN)
    return None if published else report


async def _publish(services: Services, report: dict[str, Any]) -> None:
    """Writes the report; last where others wait for it: by then the run has ended for them."""
    compact = report["finished_at"].replace("-", "").replace(":", "")
    await services.state.write(f"reports/reconcile-{compact}-{report['run_id']}.json", report)
    try:
        await services.state.write(HISTORY, appended(await services.state.read(HISTORY), report))
    except ValueError as error:
        log.warning("%s is not what this release understands, and stays as it is: %s", HISTORY, error)
    await services.state.write(LATEST, report)


@dataclass
class Reconciler:
    """Goes on with a run that lists all containers of both accounts.

    `left_to_others` says whether it ended with open shards, which other instances can take.
    """

    services: Services
    run: Run
    lease: HeldLease
    elapsed: Callable[[], float]
    wait: bool
    left_to_others: bool = False

    def __post_init__(self) -> None:
        self._shards = Shards(self.services, self.run, self._is_out_of_time, self.check_lock)
        self._sharded = bool(self.run.shards)
        self._unfinished: list[ContainerReport] = []

    @classmethod
    async def run_of(cls, services: Services) -> Run:
        """The run that was interrupted, or a new one."""
        saved = await services.state.progress(CHECKPOINT)
        found = Run.of(saved) if saved else None
        if found is None or not await all_planned(services, found):
            await forget_shards(services)
            found = new_run(services)
            # What a run records of deletions it counts, too, whoever dies in between: it goes on under its own name.
            await services.state.write(CHECKPOINT, found.document())
        return found

    async def reconcile(self) -> dict[str, Any]:
        """Goes through all containers, proves some of their backups, and reports."""
        complete = await self._all_containers()
        report = self._report(await self._discarded(Findings()), complete=complete)
        await alarms.watch(self.services, report)
        if complete:
            await self._end(report)
        if complete and self.run.proves:
            proofs = await self._proven()
            report |= {"verify": proofs.verify, "drill": proofs.drill, "errors": [*report["errors"], *proofs.errors]}
            self.check_lock()
        await _publish(self.services, report)
        if complete:
            await self.services.state.delete(UNPROVEN)
        if complete and self._sharded:
            await forget_shards(self.services)
        return report

    async def _end(self, report: dict[str, Any]) -> None:
        """Whoever dies from here on has ended the run, and proofs can take minutes: what is known is kept by now."""
        lacks = ["proofs: the app ended while they were made"] if self.run.proves else []
        await self.services.state.write(UNPROVEN, report | {"errors": [*report["errors"], *lacks]})
        await self.services.state.delete(CHECKPOINT)
        await self.services.state.delete(LEFT_TO_SEE)

    async def _all_containers(self) -> bool:
        """Whether every container was gone through, be it with an error; otherwise where the run is, is saved."""
        try:
            complete = await self.go_through(await self._containers())
            if complete and self.services.data_factory is not None:
                old = second_of(self.services.now() - timedelta(days=STAGING_DAYS))
                await self.services.backup.sweep_staging(old)
        except OutOfTime:
            complete = False
        self.check_lock()  # what comes now is written where another run would write
        if not complete:
            await self.services.state.write(CHECKPOINT, self.run.document())
            self._unfinished = [
                await self._shards.put_together(container, complete=False) for container in sorted(self.run.shards)
            ]
        return complete

    async def go_through(self, containers: dict[str, bool]) -> bool:
        """Works on containers, each with whether it exists; False where others go on with what is left.

        Raises:
            OutOfTime: the run holds where it is.
        """
        if self.run.shards:  # some of what was asked for may be lost
            await ask_for_shards(self.services, self.run, list(self.run.shards))
        counted = await counted_containers(self.services)
        for container, exists in sorted(containers.items()):
            if exists and container in counted:
                await self._cut(container)
        begun = self.run.current.report.container if self.run.current else None
        for container, exists in sorted(containers.items(), key=lambda one: (one[0] != begun, one)):
            if container not in self.run.shards:
                await self.list_container(container, exists=exists)
        if not await self._shards.go_through(wait=self.wait):
            self.left_to_others = True
            return False
        for container in sorted(self.run.shards):
            self.run.end(await self._shards.put_together(container, complete=True))
        return True

    async def _cut(self, container: str) -> None:
        """Has a very large container gone through in shards, also by others: first of all, so that they begin."""
        current = self.run.current
        if current is not None and current.report.container == container and not self._is_too_large(current):
            return  # it is gone on with as it was begun
        try:
            plan = await plan_shards(self.services, self.run, container)
        except SnapkeepError as error:
            log.warning("reconcile %s: %s; it is gone through as a whole", container, error)
            return
        if plan is None:
            return
        self.check_lock()
        self._sharded = True
        await plan.write(self.services)
        if current is not None and current.report.container == container:
            self.run.current = None
        self.run.shards[container] = len(plan.shards)
        # Before anybody is asked: whoever does the last shard must find the run, and that it has so many.
        await self.services.state.write(CHECKPOINT, self.run.document())
        await ask_for_shards(self.services, self.run, [container])

    def _is_too_large(self, progress: Progress) -> bool:
        return progress.report.blobs >= 2 * self.services.settings.shard_blobs

    async def _containers(self) -> dict[str, bool]:
        """The containers that are still to be gone through, and whether each exists.

        One that is gone is not passed over: nobody else would notice that its blobs are.
        """
        existing = set(await self.services.source.containers())
        records = await self.services.state.names("unprotected/")
        gone = await self.services.backup.marked_sources(existing)
        gone |= {name.split("/")[1] for name in records}
        gone |= {self.run.current.report.container} if self.run.current else set()
        gone_through = {part.container for part in self.run.done} | set(self.run.shards)
        names = (existing | gone) - gone_through
        return {name: name in existing for name in names if self.services.settings.protects(name)}

    async def list_container(self, container: str, *, exists: bool) -> None:
        """Goes through one container, by its listings.

        Raises:
            OutOfTime: the run holds where it is.
        """
        progress = self.run.begin(container)
        began, before = self.elapsed(), progress.report.duration_seconds
        run = self.run
        work = ContainerPass(
            self.services, progress, run.sampler, run.run_id, run.started_at, self.check_lock, self.check_time
        )
        try:
            with span("reconcile container", container=container):
                await work.go_through(exists=exists)
                report = progress.report
                note(blobs=report.blobs, requested=report.backups_requested, snapshots=report.snapshots_created)
        except LeaseUnavailable:
            raise
        except OutOfTime:
            await self._count(progress)
            raise
        except Exception as error:  # noqa: BLE001 -- one container never stops the others: its failure is reported
            progress.report.error = told(container, error)
        finally:
            progress.report.duration_seconds = round(before + self.elapsed() - began, 3)
        await self._count(progress)
        self.run.end(progress.report)

    async def _count(self, progress: Progress) -> None:
        if self._is_too_large(progress):
            report = progress.report
            await write_counts(self.services, report.container, report.blobs, progress.marks)

    async def _discarded(self, findings: Findings) -> Findings:
        try:
            return replace(findings, discarded=await discarded(self.services))
        except SnapkeepError as error:
            log.warning("reconcile: %s", error)
            return replace(findings, errors=(f"discarded requests: {error}",))

    async def _proven(self) -> Findings:
        """Proves what was sampled, in the time that is left. Whatever comes of that, the report is written."""
        left = self.services.settings.reconcile_budget_seconds - self.elapsed()
        if left <= 0:
            return Findings(errors=("proofs: no time was left for them; the next run makes some",))
        try:
            proof = await prove(
                self.services,
                self.run.sampler,
                seconds=min(left, MAX_PROOF_SECONDS),
                by_bytes=self.services.settings.verify_sample.by_bytes,
            )
        except Exception as error:  # noqa: BLE001 -- whatever it is, the report is written
            return Findings(errors=(f"proofs: {told('proofs', error)}",))
        return Findings(proof.verify, proof.drill)

    def _report(self, findings: Findings, *, complete: bool) -> dict[str, Any]:
        run, now = self.run, self.services.now()
        parts = sorted([*run.parts, *self._unfinished], key=lambda part: part.container)
        return coverage_report(
            run.run_id, run.started_at, now, parts, findings, complete=complete, listing=self.listing
        )

    @property
    def listing(self) -> dict[str, Any] | None:
        """What the run rests on in place of listings, for its report."""
        return None

    def _is_out_of_time(self) -> bool:
        return self.elapsed() >= self.services.settings.reconcile_budget_seconds

    def check_time(self) -> None:
        self.check_lock()
        if self._is_out_of_time():
            raise OutOfTime

    def check_lock(self) -> None:
        if self.lease.lost.is_set():
            raise LeaseUnavailable("the run lost its lock: another may begin; the next run goes on")

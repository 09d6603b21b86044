"""The operation `reconcile`: goes through every container, fills in what is missing, and reports.

A run that exceeds its time saves where it is; the next one goes on there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from shared.adapters.leases import HeldLease
from shared.decisions.history import appended
from shared.decisions.reconcile_run import Run
from shared.decisions.reporting import Findings, coverage_report
from shared.decisions.sampling import Sampler
from shared.errors import LeaseUnavailable, SnapkeepError
from shared.model import second_of
from shared.operations import alarms
from shared.operations.container_pass import ContainerPass, OutOfTime
from shared.operations.missing import LEFT_TO_SEE
from shared.operations.proof import prove
from shared.operations.requests import discarded
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


async def reconcile(services: Services, *, elapsed: Callable[[], float]) -> dict[str, Any]:
    """Reconciles all containers, or goes on with a run that ran out of time; gives the report it wrote.

    Args:
        elapsed: seconds since the invocation began, for the time budget.

    Raises:
        AlreadyRunning: another instance reconciles now.
        LeaseUnavailable: the lock was lost on the way. Nothing is written then: another run may have begun.
        StorageFailed: the containers could not be listed, or the report not be written.
    """
    return await run_as(Reconciler, services, elapsed)


async def run_as(kind: type[Reconciler], services: Services, elapsed: Callable[[], float]) -> dict[str, Any]:
    """A reconciliation of this kind, and the report it wrote; as `reconcile`."""
    async with services.state.lock("reconcile") as lease:
        await _publish_unproven(services)
        run = await kind.run_of(services)
        with span("reconcile", run=run.run_id):
            report = await kind(services, run, lease, elapsed).reconcile()
            note(outcome="succeeded" if report["complete"] else "incomplete")
    await write_page(services)
    log.info("reconcile %s: complete: %s, %s", report["run_id"], report["complete"], report["totals"])
    return report


def new_run(services: Services) -> Run:
    """A run that is at its beginning."""
    settings, now, run_id = services.settings, services.now(), uuid4().hex[:12]
    sampler = Sampler(settings.verify_sample.percent, now.date(), settings.drill_blobs, run_id)
    return Run(run_id, second_of(now), sampler)


async def _publish_unproven(services: Services) -> None:
    """Writes the report of a run that ended while it made its proofs."""
    report = await services.state.read(UNPROVEN)
    if report is None:
        return
    latest = await services.state.read(LATEST)
    if latest is None or latest["run_id"] != report["run_id"] or not latest["complete"]:
        await _publish(services, report)
    await services.state.delete(UNPROVEN)


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
    """One reconciliation, which lists all containers of both accounts."""

    services: Services
    run: Run
    lease: HeldLease
    elapsed: Callable[[], float]

    @classmethod
    async def run_of(cls, services: Services) -> Run:
        """The run that was interrupted, or a new one."""
        saved = await services.state.read(CHECKPOINT)
        found = Run.of(saved) if saved else None
        return found if found is not None else new_run(services)

    async def reconcile(self) -> dict[str, Any]:
        """Goes through all containers, proves some of their backups, and reports."""
        complete = await self._all_containers()
        finished_at = self.services.now()
        findings = await self._discarded(Findings())
        if complete and self.run.proves:
            # It can take minutes, in which the platform may end the app: what is known is kept by now.
            ended = _failed(findings, "proofs: the app ended while they were made")
            await self.services.state.write(UNPROVEN, self._report(finished_at, ended, complete=complete))
            findings = await self._proven(findings)
            self.check_lock()
        report = self._report(finished_at, findings, complete=complete)
        await alarms.watch(self.services, report)
        await _publish(self.services, report)
        return report

    async def _all_containers(self) -> bool:
        """Whether every container was gone through, be it with an error; otherwise where the run is, is saved."""
        complete = True
        try:
            await self.go_through(await self._containers())
            if self.services.data_factory is not None:
                old = second_of(self.services.now() - timedelta(days=STAGING_DAYS))
                await self.services.backup.sweep_staging(old)
        except OutOfTime:
            complete = False
        self.check_lock()  # what comes now is written where another run would write
        if complete:
            await self.services.state.delete(CHECKPOINT)
            await self.services.state.delete(LEFT_TO_SEE)
        else:
            await self.services.state.write(CHECKPOINT, self.run.document())
        return complete

    async def go_through(self, containers: dict[str, bool]) -> None:
        """Works on containers, each with whether it exists.

        Raises:
            OutOfTime: the run holds where it is.
        """
        for container, exists in sorted(containers.items()):
            await self.list_container(container, exists=exists)

    async def _containers(self) -> dict[str, bool]:
        """The containers that are still to be gone through, and whether each exists.

        One that is gone is not passed over: nobody else would notice that its blobs are.
        """
        existing = set(await self.services.source.containers())
        records = await self.services.state.names("unprotected/")
        gone = await self.services.backup.marked_sources(existing)
        gone |= {name.split("/")[1] for name in records} | ({self.run.current.container} if self.run.current else set())
        done = {part.container for part in self.run.done}
        return {name: name in existing for name in (existing | gone) - done if self.services.settings.protects(name)}

    async def list_container(self, container: str, *, exists: bool) -> None:
        report = self.run.begin(container)
        began, before = self.elapsed(), report.duration_seconds
        try:
            work = ContainerPass(self.services, self.run, report, self.check_lock, self.check_time)
            with span("reconcile container", container=container):
                await work.go_through(exists=exists)
                note(blobs=report.blobs, requested=report.backups_requested, snapshots=report.snapshots_created)
        except (LeaseUnavailable, OutOfTime):
            raise
        except SnapkeepError as error:
            log.warning("reconcile %s: %s", container, error)
            report.error = str(error)
        except Exception as error:
            # One container never stops the others: a full disk or a defect is this one's failure, and reported.
            log.exception("reconcile %s failed", container)
            report.error = f"unexpected {type(error).__name__}: {error}"
        finally:
            report.duration_seconds = round(before + self.elapsed() - began, 3)
        self.run.end(report)

    async def _discarded(self, findings: Findings) -> Findings:
        try:
            return replace(findings, discarded=await discarded(self.services))
        except SnapkeepError as error:
            log.warning("reconcile: %s", error)
            return _failed(findings, f"discarded requests: {error}")

    async def _proven(self, findings: Findings) -> Findings:
        """Proves what was sampled, in the time that is left. Whatever comes of that, the report is written."""
        left = self.services.settings.reconcile_budget_seconds - self.elapsed()
        if left <= 0:
            return _failed(findings, "proofs: no time was left for them; the next run makes some")
        try:
            proof = await prove(
                self.services,
                self.run.sampler,
                seconds=min(left, MAX_PROOF_SECONDS),
                by_bytes=self.services.settings.verify_sample.by_bytes,
            )
        except SnapkeepError as error:
            log.warning("reconcile: the proofs failed: %s", error)
            return _failed(findings, f"proofs: {error}")
        except Exception as error:
            log.exception("reconcile: the proofs failed")
            return _failed(findings, f"proofs: unexpected {type(error).__name__}: {error}")
        return replace(findings, verify=proof.verify, drill=proof.drill)

    def _report(self, finished_at: datetime, findings: Findings, *, complete: bool) -> dict[str, Any]:
        run = self.run
        return coverage_report(
            run.run_id, run.started_at, finished_at, run.parts, findings, complete=complete, listing=self.listing
        )

    @property
    def listing(self) -> dict[str, Any] | None:
        """What the run rests on in place of listings, for its report."""
        return None

    def check_time(self) -> None:
        self.check_lock()
        if self.elapsed() >= self.services.settings.reconcile_budget_seconds:
            raise OutOfTime

    def check_lock(self) -> None:
        if self.lease.lost.is_set():
            raise LeaseUnavailable("the run lost its lock: another may begin; the next run goes on")


def _failed(findings: Findings, error: str) -> Findings:
    return replace(findings, errors=(*findings.errors, error))

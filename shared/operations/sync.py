"""`sync`: mirrors containers with the real azcopy, pair by pair, and makes sure afterwards that they are mirrors.

The steps of a pair: refuse what could destroy data; look whether the source has anything; run azcopy;
compare both containers by name, size and MD5; mirror deletions, if that is set. Every run leaves a
report, also one that failed, ran out of time or was stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.adapters.azcopy import Azcopy
from shared.adapters.azcopy_access import access_to
from shared.adapters.leases import HeldLease
from shared.decisions.mirroring import identity_refusal, sas_failure, sas_warning
from shared.decisions.sync_report import PairOutcome, PairReport, SyncReport
from shared.errors import LeaseUnavailable, SnapkeepError, SyncFailed
from shared.logged import about
from shared.operations.mirroring import Mirroring
from shared.services import Services
from shared.settings import SyncPair
from shared.tracing import note, span

LATEST = "reports/sync-latest.json"
REPORT_SECONDS = 30.0
"""How long a run that is being stopped may take to write its report: the platform grants little more."""

log = logging.getLogger(__name__)


async def sync(services: Services) -> SyncReport:
    """Mirrors every configured pair, one after the other, within `SNAPKEEP_SYNC_TIMEOUT_MINUTES` for all of them.

    Raises:
        AlreadyRunning: another instance mirrors now; nothing was done here.
        SyncFailed: a pair failed; the others were mirrored all the same, and the report is written.
    """
    started_at = services.now()
    if not services.settings.sync_containers:
        reason = "SNAPKEEP_SYNC_CONTAINERS is empty: nothing to mirror"
        log.info("sync: %s", reason)
        report = replace(_report(services, started_at), reason=reason)
        await services.state.write(LATEST, report.to_json())
        return report
    async with services.state.lock("sync") as lease:
        run = _Run(services, started_at)
        try:
            with span("sync", pairs=len(services.settings.sync_containers)):
                await run.mirror_all(lease)
                good = all(pair.outcome is PairOutcome.SUCCEEDED for pair in run.reports)
                note(outcome="succeeded" if good else "failed")
        finally:
            report = await _written(services, run, started_at)
    if report.failure is not None:
        raise SyncFailed(f"sync failed: {report.failure}", report.to_json())
    return report


class _Run:
    def __init__(self, services: Services, started_at: datetime) -> None:
        self._services = services
        self._timeout = timedelta(minutes=services.settings.sync_timeout_minutes)
        self._started_at = started_at
        self._waiting = list(services.settings.sync_containers)
        self.azcopy: Azcopy | None = None
        self.reports: list[PairReport] = []

    async def mirror_all(self, lease: HeldLease) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout.total_seconds()
        warnings = self._sas_warnings()
        try:
            await self._prepare()
            while self._waiting:
                if lease.lost.is_set():
                    self._give_up(PairOutcome.NOT_STARTED, "the run lost its lock: another instance may be mirroring")
                elif loop.time() >= deadline:
                    self._give_up(PairOutcome.NOT_STARTED, f"the pairs before it took all of {self._timeout}")
                else:
                    with about(container=self._waiting[0].source):
                        await self._mirror(self._waiting[0], lease, deadline, warnings)
        except SnapkeepError as error:  # of `_prepare`: what a pair raises stays with that pair
            log.error("sync: %s", error)  # noqa: TRY400 -- the message is for the user; a trace adds nothing
            self._give_up(PairOutcome.FAILED, str(error))
        finally:
            self._give_up(PairOutcome.NOT_STARTED, "the run was ended before its turn")

    def _sas_warnings(self) -> tuple[str, ...]:
        settings = self._services.settings
        found = (sas_warning(side, self._started_at) for side in (settings.source, settings.backup))
        warnings = tuple(warning for warning in found if warning)
        for warning in warnings:
            log.warning("sync: %s", warning)
        return warnings

    async def _prepare(self) -> None:
        """Raises SnapkeepError for what keeps every pair from being mirrored."""
        settings = self._services.settings
        for side in (settings.source, settings.backup):
            if expired := sas_failure(side, self._started_at):
                raise SnapkeepError(expired)
        if refused := identity_refusal(settings.source, settings.backup):
            raise SnapkeepError(refused)
        self.azcopy = await Azcopy.find(settings.azcopy_path)

    async def _mirror(self, pair: SyncPair, lease: HeldLease, deadline: float, warnings: tuple[str, ...]) -> None:
        loop = asyncio.get_running_loop()
        assert self.azcopy is not None  # noqa: S101 -- `_prepare` has found it
        settings = self._services.settings
        access = access_to(settings.source, settings.backup, pair, self._started_at + self._timeout)
        mirroring = Mirroring(self._services, self.azcopy, pair, access, warnings)
        begun = loop.time()
        outcome = PairOutcome.FAILED
        reason: str | None = "it was not finished"
        try:
            async with asyncio.timeout_at(deadline), _while_held(lease):
                reason = await mirroring.run()
                outcome = PairOutcome.FAILED if reason else PairOutcome.SUCCEEDED
        except TimeoutError:
            outcome = PairOutcome.TIMED_OUT
            minutes = settings.sync_timeout_minutes
            reason = f"stopped after SNAPKEEP_SYNC_TIMEOUT_MINUTES ({minutes:g}); the next run goes on from there"
        except asyncio.CancelledError:
            outcome, reason = PairOutcome.STOPPED, "the app was stopped; the next run goes on from there"
            raise
        except (SnapkeepError, OSError, sqlite3.Error) as error:  # a full disk is the pair's failure, too
            reason = str(error)
        finally:
            self._waiting.pop(0)
            report = mirroring.report(outcome, reason, loop.time() - begun)
            _log_pair(report)
            self.reports.append(report)

    def _give_up(self, outcome: PairOutcome, reason: str) -> None:
        """Reports all pairs that were not mirrored yet."""
        self.reports += [PairReport(pair.source, pair.backup, outcome, reason) for pair in self._waiting]
        self._waiting.clear()


@contextlib.asynccontextmanager
async def _while_held(lease: HeldLease) -> AsyncIterator[None]:
    """Ends its block with LeaseUnavailable once the lease is lost: from then on another run may begin."""
    try:
        async with asyncio.timeout(None) as limit:
            watch = asyncio.ensure_future(_expire(limit, lease))
            try:
                yield
            finally:
                watch.cancel()
    except TimeoutError:
        if not limit.expired():
            raise
        raise LeaseUnavailable("the run lost its lock: another may begin; the next run goes on") from None


async def _expire(limit: asyncio.Timeout, lease: HeldLease) -> None:
    await lease.lost.wait()
    limit.reschedule(0)


async def _written(services: Services, run: _Run, started_at: datetime) -> SyncReport:
    """The run's report, once it is in the state, even if the app is being stopped."""
    version = run.azcopy.version if run.azcopy else None
    report = replace(_report(services, started_at), pairs=tuple(run.reports), azcopy_version=version)
    writing = asyncio.ensure_future(_write(services, report))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait_for(writing, REPORT_SECONDS)
        raise
    return report


async def _write(services: Services, report: SyncReport) -> None:
    document = report.to_json()
    await services.state.write(f"reports/sync-{report.started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}.json", document)
    await services.state.write(LATEST, document)


def _report(services: Services, started_at: datetime) -> SyncReport:
    settings = services.settings
    return SyncReport(started_at, services.now(), settings.sync_delete, settings.sync_timeout_minutes)


def _log_pair(report: PairReport) -> None:
    level = logging.INFO if report.outcome is PairOutcome.SUCCEEDED else logging.ERROR
    log.log(
        level,
        "sync %s to %s %s: %d scanned, %d copied, %d skipped, %d failed, %d deleted, %d bytes, %.1f s%s",
        *(report.source, report.backup, report.outcome.value, report.scanned, report.copied, report.skipped),
        *(report.failed, report.deleted, report.bytes_copied, report.elapsed_seconds),
        f": {report.reason}" if report.reason else "",
    )

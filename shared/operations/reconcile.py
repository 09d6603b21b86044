"""The operation `reconcile`: goes through every container, fills in what is missing, and reports.

It compares two listings and makes no call for a blob that lacks nothing. The backups' names go into
an index on disk, so that neither the order of the listings nor the number of blobs matters.
A run that exceeds its time saves where it is; the next one goes on there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

from shared.adapters.leases import HeldLease
from shared.containers import backup_container
from shared.decisions.changes import Group, Grouper
from shared.decisions.coverage import Unprotected, coverage
from shared.decisions.names import backup_name
from shared.decisions.reporting import ContainerReport, coverage_report
from shared.errors import BackupContainerGone, ContainerNotFound, LeaseUnavailable, SnapkeepError
from shared.index import ListingIndex
from shared.model import Entry, IndexedBlob, Reason, Version, second_of
from shared.operations.filling import Filled, check_container, fill, request_backups, take_snapshots
from shared.parallel import for_each
from shared.services import Services

CHECKPOINT = "checkpoints/reconcile.json"
CHECKPOINT_SCHEMA = 1
"""To be raised with every change of what a checkpoint holds."""

GONE = "the source container is gone; its backups stay. If that is meant, name it in SNAPKEEP_EXCLUDE_CONTAINERS"
FOUND_BY_LISTING = frozenset({Reason.ARCHIVED, Reason.CUSTOMER_KEY, Reason.REFUSED_NAME})
"""Reasons that a listing shows for as long as they hold, whatever was recorded before."""

RECORD_DAYS = 30
STAGING_DAYS = 2

log = logging.getLogger(__name__)


@dataclass
class _Run:
    """How far a run is; `document` and `of` carry it over from one invocation to the next."""

    run_id: str
    started_at: str
    done: list[ContainerReport] = field(default_factory=list)
    current: ContainerReport | None = None
    marker: str | None = None
    carry: list[Entry] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        return asdict(self) | {"schema": CHECKPOINT_SCHEMA, "carry": [list(entry) for entry in self.carry]}

    @classmethod
    def of(cls, document: dict[str, Any]) -> _Run | None:
        """The run that was saved; None for one that another release saved otherwise: it begins anew."""
        if document.get("schema") != CHECKPOINT_SCHEMA:
            return None
        current = document["current"]
        return cls(
            document["run_id"],
            document["started_at"],
            [ContainerReport(**part) for part in document["done"]],
            ContainerReport(**current) if current else None,
            document["marker"],
            [Entry(*values) for values in document["carry"]],
        )


class _OutOfTime(Exception):
    """The invocation's time is over: the next one goes on."""


async def reconcile(services: Services, *, elapsed: Callable[[], float]) -> dict[str, Any]:
    """Reconciles all containers, or goes on with a run that ran out of time; gives the report it wrote.

    Args:
        elapsed: seconds since the invocation began, for the time budget.

    Raises:
        AlreadyRunning: another instance reconciles now.
        LeaseUnavailable: the lock was lost on the way. Nothing is written then: another run may have begun.
        StorageFailed: the containers could not be listed, or the report not be written.
    """
    async with services.state.lock("reconcile") as lease:
        saved = await services.state.read(CHECKPOINT)
        started_at = second_of(services.now())
        run = (_Run.of(saved) if saved else None) or _Run(uuid4().hex[:12], started_at)
        reconciler = _Reconciler(services, run, lease, elapsed)
        complete = await reconciler.all_containers()
        parts = run.done + ([run.current] if run.current else [])
        report = coverage_report(run.run_id, run.started_at, services.now(), parts, complete=complete)
        if complete:
            await services.state.delete(CHECKPOINT)
        compact = report["finished_at"].replace("-", "").replace(":", "")
        await services.state.write(f"reports/reconcile-{compact}-{run.run_id}.json", report)
        await services.state.write("reports/latest.json", report)
    log.info("reconcile %s: complete: %s, %s", run.run_id, report["complete"], report["totals"])
    return report


@dataclass
class _Reconciler:
    services: Services
    run: _Run
    lease: HeldLease
    elapsed: Callable[[], float]

    async def all_containers(self) -> bool:
        """Whether every container was gone through, be it with an error."""
        complete = True
        try:
            for container, exists in sorted((await self._containers()).items()):
                await self._container(container, exists=exists)
            if self.services.data_factory is not None:
                old = second_of(self.services.now() - timedelta(days=STAGING_DAYS))
                await self.services.backup.sweep_staging(old)
        except _OutOfTime:
            complete = False
        self._check_lock()  # what comes now is written where another run would write
        if not complete:
            await self.services.state.write(CHECKPOINT, self.run.document())
        return complete

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

    async def _container(self, container: str, *, exists: bool) -> None:
        run = self.run
        if run.current is None or run.current.container != container:
            run.current, run.marker, run.carry = ContainerReport(container), None, []
        report = run.current
        began, before = self.elapsed(), report.duration_seconds
        try:
            check_container(self.services, container)
            with ListingIndex() as backups:
                backups_gone = await self._read_backups(container, backups)
                if exists:
                    await self._read_source(report, backups, may_request=backups_gone is None)
                await self._recall(report, backups)
            report.error = str(backups_gone) if backups_gone else None if exists else GONE
            report.complete = report.error is None
        except (LeaseUnavailable, _OutOfTime):
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
        run.done.append(report)
        run.current, run.marker, run.carry = None, None, []

    async def _read_backups(self, container: str, index: ListingIndex) -> BackupContainerGone | None:
        """Gives the error when the backup container was deleted; snapshots are taken all the same."""
        target = backup_container(container)
        try:
            async with aclosing(self.services.backup.pages(target)) as pages:
                async for page in pages:
                    index.add_many(page.entries)
                    self._check_lock()
        except ContainerNotFound:
            try:
                await self.services.backup.check_not_gone(target)
            except BackupContainerGone as gone:
                log.warning("reconcile %s: %s", container, gone)
                return gone
        return None

    async def _read_source(self, report: ContainerReport, backups: ListingIndex, *, may_request: bool) -> None:
        run = self.run
        grouper = Grouper(run.carry)
        async with aclosing(self.services.source.pages(report.container, "", run.marker)) as pages:
            async for page in pages:
                groups = grouper.feed(page.entries)
                if page.next_marker is None:
                    groups += grouper.finish()
                await self._fill(report, groups, backups, may_request=may_request)
                run.marker, run.carry = page.next_marker, grouper.carry
                if page.next_marker is not None:
                    self._check_time()

    async def _fill(
        self, report: ContainerReport, groups: list[Group], backups: ListingIndex, *, may_request: bool
    ) -> None:
        found_backups = _backups_of(groups, backups)
        to_request: list[Version] = []
        to_snapshot: list[Version] = []
        for group in groups:
            report.blobs += group.blob is not None
            found = coverage(group, found_backups, self.services.settings.history)
            report.add(found)
            to_request += found.missing_backups if may_request else ()
            if found.missing_snapshot is not None:
                to_snapshot.append(found.missing_snapshot)
        filled = Filled()
        await request_backups(self.services, report.container, to_request, filled)
        changed = await take_snapshots(self.services, report.container, to_snapshot, filled)
        await fill(self.services, report.container, changed, filled)
        report.backups_requested += filled.requested
        report.snapshots_created += filled.snapshots_created
        report.vanished += filled.vanished
        report.add_failed(filled.failed)

    async def _recall(self, report: ContainerReport, backups: ListingIndex) -> None:
        """Adds what `backup` recorded: versions that it lost, or gave up on; forgets what is backed up by now."""
        forget_before = second_of(self.services.now() - timedelta(days=RECORD_DAYS))

        async def recall(name: str) -> None:
            record = await self.services.state.read(name)
            if record is None:
                return
            version = Version(record["name"], record["etag"], record["last_modified"], record["size"])
            reason = Reason(record["reason"])
            backup = backups.get(backup_name(version))
            backed_up = backup is not None and backup.size == version.size
            if backed_up or reason in FOUND_BY_LISTING or record["seen_at"] < forget_before:
                await self.services.state.delete(name)
            elif not report.lists(version):
                report.add_unprotectable(Unprotected(version, reason, record["detail"]))

        names = await self.services.state.names(f"unprotected/{report.container}/")
        await for_each(names, recall, self.services.settings.concurrency)

    def _check_time(self) -> None:
        """Only after a page of the source: every invocation gets on by one, however long the backups' listing is."""
        self._check_lock()
        if self.elapsed() >= self.services.settings.reconcile_budget_seconds:
            raise _OutOfTime

    def _check_lock(self) -> None:
        if self.lease.lost.is_set():
            raise LeaseUnavailable("the run lost its lock: another may begin; the next run goes on")


def _backups_of(groups: list[Group], backups: ListingIndex) -> dict[str, IndexedBlob]:
    """What the index holds of all versions of these groups."""
    names = []
    for group in groups:
        entries = group.snapshots if group.live is None else (*group.snapshots, group.live)
        names += [backup_name(entry.version) for entry in entries]
    return backups.get_many(names)

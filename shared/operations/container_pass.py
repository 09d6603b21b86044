"""One container's part of a reconciliation: fills in what is missing, and finds what was deleted.

It compares two listings and makes no call for a blob that lacks nothing. The backups' names go into
an index on disk, so that neither the order of the listings nor the number of blobs matters.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import aclosing, closing
from dataclasses import dataclass
from datetime import timedelta

from shared.adapters.listing import Page
from shared.containers import backup_container
from shared.decisions.alarms import lately, written_since
from shared.decisions.changes import Group, Grouper
from shared.decisions.coverage import Unprotected, coverage
from shared.decisions.names import backup_name
from shared.decisions.reconcile_run import Run
from shared.decisions.reporting import ContainerReport
from shared.errors import BackupContainerGone, ContainerNotFound, StorageFailed
from shared.index import ListingIndex
from shared.model import IndexedBlob, Reason, Version, second_of
from shared.operations.filling import Filled, check_container, fill, request_backups, take_snapshots
from shared.operations.missing import MissingBlobs
from shared.parallel import for_each
from shared.services import Services

GONE = (
    "the source container is gone; what is backed up of it stays. "
    "If that is meant, name it in SNAPKEEP_EXCLUDE_CONTAINERS"
)
FOUND_BY_LISTING = frozenset({Reason.ARCHIVED, Reason.CUSTOMER_KEY, Reason.REFUSED_NAME, Reason.HALF_RESTORED})
"""Reasons that a listing shows for as long as they hold, whatever was recorded before."""

RECORD_DAYS = 30

log = logging.getLogger(__name__)


class OutOfTime(Exception):
    """The invocation's time is over: the next one goes on."""


@dataclass
class ContainerPass:
    """Goes through one container, from where the run is in it.

    Attributes:
        check_lock: raises when another run may have begun, so that nothing may be written any more.
        check_time: raises OutOfTime as well, when the invocation's time is over.
    """

    services: Services
    run: Run
    report: ContainerReport
    check_lock: Callable[[], None]
    check_time: Callable[[], None]
    _begun: bool = False

    async def go_through(self, *, exists: bool) -> None:
        """Works on the container to its end; its report says what was found and done.

        Args:
            exists: whether the source account lists the container.

        Raises:
            OutOfTime: the run holds where it is, and the state what is needed to go on.
            SnapkeepError: the container could not be gone through.
        """
        check_container(self.services, self.report.container)
        self._begun = self.run.marker is not None
        missing = MissingBlobs(self.services, self.report, self.run.run_id, self.check_lock)
        with closing(missing), ListingIndex() as backups:
            unreadable = await self._recall_deletions(missing)
            backups_gone = await self._read_backups(backups, missing)
            if exists:
                await self._read_source(backups, missing, backups_gone)
            await self._recall(backups)
            if exists:
                await missing.settle(self.run.listed_from)
            else:
                await missing.settle_without_container()
        wrong = [str(error) for error in (backups_gone, unreadable) if error] + ([] if exists else [GONE])
        self.report.error = "; ".join(wrong) or None
        self.report.complete = not wrong

    async def _recall_deletions(self, missing: MissingBlobs) -> StorageFailed | None:
        """Gives the error when what is recorded cannot be read; what is missing is filled in all the same."""
        try:
            await missing.recall()
        except StorageFailed as error:
            missing.give_up(str(error))
            return error
        return None

    async def _read_backups(self, index: ListingIndex, missing: MissingBlobs) -> BackupContainerGone | None:
        """Gives the error when the backup container was deleted; snapshots are taken all the same."""
        target = backup_container(self.report.container)
        try:
            async with aclosing(self.services.backup.pages(target)) as pages:
                async for page in pages:
                    self._date(page)
                    index.add_many(page.entries)
                    missing.add_backups(page.entries)
                    self.check_lock()
        except ContainerNotFound:
            try:
                await self.services.backup.check_not_gone(target)
            except BackupContainerGone as gone:
                log.warning("reconcile %s: %s", self.report.container, gone)
                return gone
        return None

    async def _read_source(
        self, backups: ListingIndex, missing: MissingBlobs, backups_gone: BackupContainerGone | None
    ) -> None:
        run = self.run
        if backups_gone is not None:
            missing.give_up(str(backups_gone))
        elif run.marker is not None:
            await missing.go_on()
        grouper = Grouper(run.carry)
        async with aclosing(self.services.source.pages(self.report.container, "", run.marker)) as pages:
            async for page in pages:
                self._date(page)
                groups = grouper.feed(page.entries)
                if page.next_marker is None:
                    groups += grouper.finish()
                await self._fill(groups, backups, may_request=backups_gone is None)
                await missing.saw([group.name for group in groups if group.blob is not None], page.served_at)
                run.marker, run.carry = page.next_marker, grouper.carry
                if page.next_marker is not None:
                    await self._go_on_later_if_it_is_time(missing)

    def _date(self, page: Page) -> None:
        """Holds when the pass began. Should its first page not tell, no later one may: what was there then, is not."""
        if not self._begun:
            self._begun, self.run.listed_from = True, page.served_at

    async def _go_on_later_if_it_is_time(self, missing: MissingBlobs) -> None:
        # Only after a page of the source: every invocation gets on by one, however long the backups' listing is.
        try:
            self.check_time()
        except OutOfTime:
            await missing.save()
            raise

    async def _fill(self, groups: list[Group], backups: ListingIndex, *, may_request: bool) -> None:
        report = self.report
        found_backups = _backups_of(groups, backups)
        lately_written = lately(self.run.started_at)
        to_request: list[Version] = []
        to_snapshot: list[Version] = []
        for group in groups:
            report.blobs += group.blob is not None
            report.count_written(written_since(group, lately_written))
            found = coverage(group, found_backups, self.services.settings.history)
            report.add(found)
            for entry in found.protected:
                self.run.sampler.offer(report.container, entry)
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

    async def _recall(self, backups: ListingIndex) -> None:
        """Adds what `backup` recorded: versions that it lost, or gave up on; forgets what is backed up by now."""
        report = self.report
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


def _backups_of(groups: list[Group], backups: ListingIndex) -> dict[str, IndexedBlob]:
    """What the index holds of all versions of these groups."""
    names = []
    for group in groups:
        entries = group.snapshots if group.live is None else (*group.snapshots, group.live)
        names += [backup_name(entry.version) for entry in entries]
    return backups.get_many(names)

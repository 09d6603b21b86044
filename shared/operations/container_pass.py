"""One container's part of a reconciliation, or one shard's: fills in what is missing, and finds what was deleted.

It compares two listings and makes no call for a blob that lacks nothing. They are joined side by side; where they
are not sorted as that takes, the backups' names go into an index on disk, so that neither the order of the
listings nor the number of blobs matters.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field

from shared.containers import backup_container
from shared.decisions.alarms import lately, written_since
from shared.decisions.changes import Group, Grouper
from shared.decisions.coverage import coverage, is_as_it_was
from shared.decisions.joining import BY_NAME, Joined, MergeJoin, OutOfOrder
from shared.decisions.reconcile_run import BEGINNING, Position, Progress
from shared.decisions.sampling import Sampler
from shared.decisions.shards import Piece, Shard
from shared.errors import BackupContainerGone, ContainerNotFound, SnapkeepError, StorageFailed
from shared.index import ListingIndex
from shared.model import Entry, Version
from shared.operations.far_backups import FarBackups, Found
from shared.operations.filling import check_container, fill_in
from shared.operations.listed import NOTHING, Listed, OpenPages, backup_pages, pages, source_pages
from shared.operations.missing import ALL, LEFT_TO_SEE, MissingBlobs
from shared.operations.unprotected import recall_unprotected
from shared.services import Services

GONE = (
    "the source container is gone; what is backed up of it stays. "
    "If that is meant, name it in SNAPKEEP_EXCLUDE_CONTAINERS"
)

ALL_PIECES = [Piece("")]

log = logging.getLogger(__name__)


class OutOfTime(Exception):
    """The invocation's time is over: the next one goes on."""


def told(what: str, error: Exception) -> str:
    """How a report tells of an error, be it a full disk or a defect; what failed, and how, stands in the log."""
    if isinstance(error, SnapkeepError):
        log.warning("reconcile: %s: %s", what, error)
        return str(error)
    log.error("reconcile: %s failed", what, exc_info=error)
    return f"unexpected {type(error).__name__}: {error}"


async def _nothing() -> None:
    """What an instance that keeps its progress itself needs to have kept between pages."""


@dataclass
class ContainerPass:
    """Goes through one container or shard, from where its progress is.

    Attributes:
        run_id: what tells apart what this pass writes from what others write.
        started_at: when the run began.
        check_lock: raises when another may have begun, so that nothing may be written any more.
        check_time: raises OutOfTime as well, when the invocation's time is over.
        is_due: whether it is time to keep the progress, which `keep` does.
        strays: folders of backups that stand among the shard's, and are another's.
    """

    services: Services
    progress: Progress
    sampler: Sampler
    run_id: str
    started_at: str
    check_lock: Callable[[], None]
    check_time: Callable[[], None]
    shard: Shard = ALL
    left_name: str = LEFT_TO_SEE
    is_due: Callable[[], bool] = lambda: False
    keep: Callable[[], Awaitable[None]] = _nothing
    strays: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._far = FarBackups(self.services, self._container, self.shard)

    async def go_through(self, *, exists: bool) -> None:
        """Works on the container to its end; its report says what was found and done.

        Args:
            exists: whether the source account lists the container.

        Raises:
            OutOfTime: the progress holds where it is, and the state what is needed to go on.
            SnapkeepError: the container could not be gone through.
        """
        check_container(self.services, self.progress.report.container)
        while True:
            try:
                await self._attempt(exists=exists)
            except OutOfOrder:
                log.info("reconcile %s: not sorted as %s listings are", self._container, self.progress.order)
                self.progress.restart()
                continue
            finally:
                self._far.close()
            return

    @property
    def _container(self) -> str:
        return self.progress.report.container

    async def _attempt(self, *, exists: bool) -> None:
        progress, report = self.progress, self.progress.report
        missing = MissingBlobs(
            self.services, report, self.run_id, self.check_lock, shard=self.shard, left_name=self.left_name
        )
        with closing(missing):
            missing.strays |= self.strays
            unreadable = await self._recall_deletions(missing)
            if exists and progress.order != BY_NAME:
                backups_gone = await self._join(missing)
            else:
                backups_gone = await self._ask_by_name(missing, exists=exists)
            if self.shard == ALL:
                await recall_unprotected(self.services, report)
            else:
                await self._note_long(missing)
            since = lately(self.started_at)
            if exists:
                await missing.settle(progress.listed_from if self.shard == ALL else None, since)
            else:
                await missing.settle_without_container(since)
            self.strays |= missing.strays
        wrong = [str(error) for error in (backups_gone, unreadable) if error] + ([] if exists else [GONE])
        report.error = "; ".join(wrong) or None
        report.complete = not wrong

    async def _recall_deletions(self, missing: MissingBlobs) -> StorageFailed | None:
        """Gives the error when what is recorded cannot be read; what is missing is filled in all the same."""
        try:
            await missing.recall()
        except StorageFailed as error:
            missing.give_up(str(error))
            return error
        return None

    # Side by side

    async def _join(self, missing: MissingBlobs) -> BackupContainerGone | None:
        """Goes through both listings at once. Gives the error when the backup container was deleted."""
        progress = self.progress
        join = MergeJoin.of(progress.join) if progress.join else MergeJoin(progress.order)
        if progress.source is not None:
            await missing.go_on(joined=True)
        grouper = Grouper(progress.carry)
        backups = self._pages(self._backup_pieces, backup_pages, progress.backups)
        gone: BackupContainerGone | None = None
        async with (
            aclosing(backups),
            aclosing(self._pages(self._source_pieces, source_pages, progress.source or BEGINNING)) as source,
        ):
            gone = await self._first_backups(backups, join, missing)
            async for page in source:
                self._date(page)
                groups = grouper.feed(page.entries)
                if page.following is None:
                    groups += grouper.finish()
                join.add_source(groups, last=page.following is None)
                missing.add_folders(join.advance())
                while join.wants_backups:
                    await self._more_backups(backups, join, missing)
                joined = join.decided()
                await self._fill(joined, join.found, may_request=gone is None)
                self._leave_headless(joined, join.found, missing)
                await missing.saw(_names(groups), page.served_at, joined=True)
                join.forget()
                progress.source, progress.carry = page.following, grouper.carry
                if page.following is not None:
                    await self._keep_or_end(missing, join)
        return gone

    async def _first_backups(
        self, backups: AsyncGenerator[Listed], join: MergeJoin, missing: MissingBlobs
    ) -> BackupContainerGone | None:
        """Reads backups before any blob: so the pass begins when they were listed."""
        gone = None
        try:
            await self._more_backups(backups, join, missing)
        except ContainerNotFound:
            gone = await self._is_gone()
            join.add_backups([], last=True)
        if gone is not None:
            missing.give_up(str(gone))
        return gone

    async def _more_backups(self, backups: AsyncGenerator[Listed], join: MergeJoin, missing: MissingBlobs) -> None:
        page = await anext(backups)
        self._date(page)
        missing.add_folders(join.add_backups(page.entries, last=page.following is None))
        self.progress.backups = page.at
        self.check_lock()

    def _leave_headless(self, joined: Sequence[Joined], found: Found, missing: MissingBlobs) -> None:
        """Leaves the backups of names that have no live blob: a directory's, or a snapshot's alone."""
        for one in joined:
            if one.group.blob is None:
                missing.add_backups([entry for name in one.names if isinstance(entry := found.get(name), Entry)])

    # By name

    async def _ask_by_name(self, missing: MissingBlobs, *, exists: bool) -> BackupContainerGone | None:
        """Reads all backups and then the blobs. Gives the error when the backup container was deleted."""
        with ListingIndex() as index:
            gone = await self._read_backups(index, missing)
            if gone is not None:
                missing.give_up(str(gone))
            if exists:
                await self._read_source(index, missing, may_request=gone is None)
        return gone

    async def _read_backups(self, index: ListingIndex, missing: MissingBlobs) -> BackupContainerGone | None:
        try:
            async with aclosing(self._pages(self._backup_pieces, backup_pages, BEGINNING)) as listed:
                async for page in listed:
                    self._date(page)
                    index.add_many(page.entries)
                    missing.add_backups(page.entries)
                    self.check_lock()
        except ContainerNotFound:
            return await self._is_gone()
        return None

    async def _read_source(self, index: ListingIndex, missing: MissingBlobs, *, may_request: bool) -> None:
        progress = self.progress
        if may_request and progress.source is not None:
            await missing.go_on()
        grouper = Grouper(progress.carry)
        start = progress.source or BEGINNING
        async with aclosing(self._pages(self._source_pieces, source_pages, start)) as source:
            async for page in source:
                self._date(page)
                groups = grouper.feed(page.entries)
                if page.following is None:
                    groups += grouper.finish()
                joined = [Joined.of(group) for group in groups]
                found = index.get_many([name for one in joined for name in one.names])
                await self._fill(joined, found, may_request=may_request)
                await missing.saw(_names(groups), page.served_at)
                progress.source, progress.carry = page.following, grouper.carry
                if page.following is not None:
                    await self._keep_or_end(missing, None)

    # What both have in common

    def _pages(
        self, which: Sequence[Piece], opened: Callable[[Services, str], OpenPages], at: Position
    ) -> AsyncGenerator[Listed]:
        return pages(opened(self.services, self._container), which, self.shard, at)

    @property
    def _source_pieces(self) -> list[Piece]:
        return ALL_PIECES if self.progress.source_pieces is None else self.progress.source_pieces

    @property
    def _backup_pieces(self) -> list[Piece]:
        return ALL_PIECES if self.progress.backup_pieces is None else self.progress.backup_pieces

    async def _is_gone(self) -> BackupContainerGone | None:
        """The error where the backup container was deleted; snapshots are taken all the same."""
        try:
            await self.services.backup.check_not_gone(backup_container(self._container))
        except BackupContainerGone as gone:
            log.warning("reconcile %s: %s", self._container, gone)
            return gone
        return None

    def _date(self, page: Listed) -> None:
        """Holds when the pass began. Should its first page not tell, no later one may: what was there then, is not."""
        if not self.progress.begun and page is not NOTHING:
            self.progress.begun, self.progress.listed_from = True, page.served_at

    async def _keep_or_end(self, missing: MissingBlobs, join: MergeJoin | None) -> None:
        # Only after a page of the source: every invocation gets on by one, however long the backups' listing is.
        try:
            self.check_time()
            out_of_time = False
        except OutOfTime:
            out_of_time = True
        if out_of_time or self.is_due():
            await self._note_long(missing)
            await missing.save()
            self.strays |= missing.strays
            self.progress.join = join.document() if join else None
            await self.keep()
        if out_of_time:
            raise OutOfTime

    async def _fill(self, joined: Sequence[Joined], found: Found, *, may_request: bool) -> None:
        report = self.progress.report
        history = self.services.settings.history
        found = await self._far.added_to(found, joined)
        lately_written = lately(self.started_at)
        to_request: list[Version] = []
        to_snapshot: list[Version] = []
        unchanged: list[Entry] = []
        for group, names in joined:
            report.count_written(written_since(group, lately_written))
            if group.live is not None and is_as_it_was(group, found.get(names[0])):
                unchanged.append(group.live)
                continue
            report.blobs += group.blob is not None
            state = coverage(group, found, history)
            report.add(state)
            for entry in state.protected:
                self.sampler.offer(report.container, entry)
            to_request += state.missing_backups if may_request else ()
            if state.missing_snapshot is not None:
                to_snapshot.append(state.missing_snapshot)
        report.add_protected(len(unchanged))
        self.sampler.offer_all(report.container, unchanged)
        self.progress.mark(_names(one.group for one in joined), self.services.settings.shard_blobs)
        (await fill_in(self.services, report.container, to_request, to_snapshot)).count_in(report)

    async def _note_long(self, missing: MissingBlobs) -> None:
        """Notes which hashed folders were seen: their backups are no shard's, and left to the run."""
        if self.shard != ALL and missing.saw_any_long:
            seen = missing.seen_among(await self._far.long_folders())
            self.progress.seen_long = sorted({*self.progress.seen_long, *seen})


def _names(groups: Iterable[Group]) -> list[str]:
    return [group.name for group in groups if group.blob is not None]

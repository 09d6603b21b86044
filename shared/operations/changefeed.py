"""Follows the source account's change feed: what nobody announced is found within minutes, for the cost of the changes.

Each event is a hint alone: the blob it is about is looked at, by a HEAD of it and one of its backup. The position is
saved once everything up to it is requested, so that a crash has events read twice, and none passed over.
Deletions are left to reconciliations that list: they alone know which backups a blob has.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.adapters.changefeed import ChangeFeed
from shared.adapters.leases import HeldLease
from shared.decisions.changefeed import (
    META,
    Cursor,
    Hint,
    Segment,
    hints,
    last_consumable,
    segment_of,
    start,
    to_read,
    years_from,
)
from shared.decisions.changes import Group
from shared.decisions.coverage import Coverage, coverage
from shared.decisions.restored import entry_of
from shared.errors import LeaseUnavailable, ServiceUnavailable, SnapkeepError, StorageFailed
from shared.model import Version, moment_of
from shared.operations.filling import MAX_OUTAGES, fill_in
from shared.operations.looking import backups_of
from shared.operations.reconcile import LATEST
from shared.parallel import for_each
from shared.services import Services

CURSOR = "changefeed/cursor.json"

ABSENT = (
    "the source account has no change feed (or it was enabled minutes ago): enable it, or unset SNAPKEEP_CHANGE_FEED. "
    "Accounts with a hierarchical namespace have none"
)

SHARE_OF_TIME = 0.5
"""How much of an invocation's time the feed gets: the rest is the reconciliation's, should one be due."""

TAKEN = "taken"
"""Of a snapshot that is known to be there, in place of its time."""

log = logging.getLogger(__name__)


@dataclass
class Followed:
    """What one run read of the feed and did.

    Attributes:
        failed: blobs that could not be looked at or snapshotted: they are left to the next reconciliation.
        reason: why there was nothing to read, or why it ended early.
        requests, snapshots: of each container.
    """

    events: int = 0
    looked_at: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    snapshots: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    complete: bool = True
    reason: str | None = None

    @property
    def requested(self) -> int:
        return self.requests.total()

    @property
    def snapshots_created(self) -> int:
        return self.snapshots.total()


async def follow(services: Services, feed: ChangeFeed, *, elapsed: Callable[[], float]) -> Followed:
    """Reads the feed from where the last run ended, and has protected what its events hint at.

    Args:
        elapsed: seconds since the invocation began, for the time budget.

    Raises:
        AlreadyRunning: another instance follows it now.
        StorageFailed: the feed, or the accounts, could not be read. The next run goes on where this one ended.
    """
    async with services.state.lock("changefeed") as lease:
        reader = _Reader(services, feed, lease, elapsed)
        await reader.read_on()
    log.info("change feed: %s", reader.followed)
    return reader.followed


class _Reader:
    def __init__(self, services: Services, feed: ChangeFeed, lease: HeldLease, elapsed: Callable[[], float]) -> None:
        self._services, self._feed, self._lease, self._elapsed = services, feed, lease, elapsed
        self._seconds = SHARE_OF_TIME * services.settings.reconcile_budget_seconds
        self._cursor = Cursor("", "")
        self._errors = 0
        self.followed = Followed()

    async def read_on(self) -> None:
        meta = await self._feed.document(META)
        if meta is None:
            log.warning("change feed: %s", ABSENT)
            self.followed.reason = ABSENT
            return
        with _understood():
            last = last_consumable(meta)
        self._cursor = await self._begin()
        begin = self._cursor.segment
        paths = to_read(await self._feed.names(years_from(begin, last)), begin, last)
        if self._cursor.read and begin not in paths:
            log.warning("change feed: %s is gone; what was in it is left to the next reconciliation", begin)
        segments = []
        for path in paths:
            with _understood():
                segments.append(segment_of(path, await self._feed.document(path)))
            if not await self._read_segment(segments[-1]):
                self.followed.complete, self.followed.reason = False, "its time was over; the next run goes on"
                break
        self._cursor.move_on(segments)
        await self._save()

    async def _begin(self) -> Cursor:
        """Where the last run ended. Before the first: all before the last complete reconciliation was seen by that."""
        account = self._feed.account_name
        found = Cursor.of(await self._services.state.progress(CURSOR), account)
        if found is not None:
            return found
        latest = await self._services.state.progress(LATEST)
        complete = latest is not None and latest.get("complete") and not latest.get("listing")
        return Cursor(account, start(moment_of(latest["started_at"]) if complete else None, self._services.now()))

    async def _read_segment(self, segment: Segment) -> bool:
        """Whether there was time for all of its files, as far as they go by now."""
        for folder in segment.folders:
            for name, size in await self._feed.files(folder):
                while self._cursor.read.get(name, 0) < size:
                    if self._elapsed() >= self._seconds:
                        return False
                    if not await self._read_piece(name, size, segment):
                        break
        return True

    async def _read_piece(self, name: str, size: int, segment: Segment) -> bool:
        """Whether any whole block was left of a file."""
        begin = self._cursor.read.get(name, 0)
        piece = await self._feed.read(name, begin, size)
        if piece.end == begin:
            if segment.finalized:
                raise StorageFailed(f"the change feed's {name} is damaged from byte {begin:,} on")
            return False
        with _understood():
            found = hints(piece.events)
        await self._look_at_all([hint for hint in found if self._services.settings.protects(hint.container)])
        self.followed.events += len(piece.events)
        self._cursor.read[name] = piece.end
        await self._save()
        return True

    async def _look_at_all(self, found: Sequence[Hint]) -> None:
        to_request: dict[str, list[Version]] = defaultdict(list)
        to_snapshot: dict[str, list[Version]] = defaultdict(list)

        async def one(hint: Hint) -> None:
            try:
                lacks = await look_at_live(self._services, hint)
            except ServiceUnavailable:
                raise  # it is the service and not the blob: all of this is read again
            except SnapkeepError as error:
                log.warning("change feed: %s", error)
                self._errors += isinstance(error, StorageFailed)
                if self._errors >= MAX_OUTAGES:
                    raise  # so is a key or a role that does not let the app in any more
                self.followed.failed += 1
                return
            to_request[hint.container] += lacks.missing_backups
            if lacks.missing_snapshot is not None:
                to_snapshot[hint.container].append(lacks.missing_snapshot)

        await for_each(found, one, self._services.settings.concurrency)
        self.followed.looked_at += len(found)
        for container in {*to_request, *to_snapshot}:
            filled = await fill_in(self._services, container, to_request[container], to_snapshot[container])
            self.followed.requests[container] += filled.requested
            self.followed.snapshots[container] += filled.snapshots_created
            self.followed.failed += len(filled.failed)
            if filled.outages:
                raise filled.outages[0]

    async def _save(self) -> None:
        if self._lease.lost.is_set():
            raise LeaseUnavailable("the change feed's lock was lost: another run may follow it; the next one goes on")
        await self._services.state.write(CURSOR, self._cursor.document())


async def look_at_live(services: Services, hint: Hint) -> Coverage:
    """What the live blob lacks; nothing for one that is gone, or is a directory.

    Raises:
        SnapkeepError: it cannot be told.
    """
    state = await services.source.state(hint.container, hint.name)
    if state is None:
        return Coverage()
    live = entry_of(state)
    backups = await backups_of(services, hint.container, [live])
    snapshotted = hint.snapshotted
    if backups and not snapshotted:  # whoever asked for that backup will have snapshotted it, too: make sure
        snapshotted = await services.source.snapshot_of(hint.container, live.version) is not None
    snapshots = (live._replace(snapshot=TAKEN),) if snapshotted else ()
    return coverage(Group(live.name, live, snapshots), backups, "current")


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise StorageFailed(f"the change feed is not understood: {error}") from error

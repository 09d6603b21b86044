"""Finds out which blobs of a container were deleted, and which are back.

A blob is missed when it has backups, and a complete listing of the source is without it. That alone proves
nothing: a page may have lost it, or it was written anew behind the listing's back. So each that is newly
missed is looked for by itself, and is gone when the service says so; the time is the service's too.

Backups are all that tells of a blob that is gone. One that was deleted before any backup of it was made
vanishes unseen, snapshots or not: the service deletes a blob with its snapshots, or not at all.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

from shared.adapters.absence import absent_at
from shared.containers import backup_container
from shared.decisions.deletions import Back, Gone, backup_folders, ended, hashed_folders, time_of_backup
from shared.decisions.joining import is_hashed
from shared.decisions.names import folder_of_backup, refusal, version_of_backup
from shared.decisions.reporting import ContainerReport
from shared.decisions.shards import Shard
from shared.errors import ServiceUnavailable, SnapkeepError
from shared.index import FolderIndex
from shared.model import Entry, Version
from shared.operations.deletions import DeletionRecords
from shared.operations.filling import MAX_OUTAGES
from shared.parallel import for_each
from shared.services import Services

MAX_CONFIRMED = 20_000
"""How many missed blobs of a container one run looks for; the others are left to the next run."""

LEFT_TO_SEE = "checkpoints/reconcile-left-to-see.jsonl.gz"
"""What a run that is to go on has found to be left: backups of blobs that it has not seen."""

SEEN_SCHEMA = 1
NAMES_PER_PART = 10_000
ALL = Shard()

log = logging.getLogger(__name__)


class MissingBlobs:
    """Follows one container's pass: what has backups, what of that is seen, and, at the end, what is left."""

    def __init__(
        self,
        services: Services,
        report: ContainerReport,
        run_id: str,
        check_lock: Callable[[], None],
        *,
        shard: Shard = ALL,
        left_name: str = LEFT_TO_SEE,
    ) -> None:
        """Follows the pass through a container, or through one shard of it.

        Args:
            run_id: what tells apart what is written here from what others write.
            check_lock: raises when nothing may be written any more.
            left_name: where what is left is kept while the pass is interrupted.
        """
        self._services = services
        self._report = report
        self.container = report.container
        self._run_id = run_id
        self._shard = shard
        self._left_name = left_name
        self.strays: dict[str, str] = {}
        self._records = DeletionRecords(services.state, report.container, run_id, check_lock)
        self._index = FolderIndex()
        self._any_gone = False
        self._knows_what_is_left = True
        self._listed_before: str | None = None
        self._outages = 0
        self._problem = f"a run looks for {MAX_CONFIRMED:,} at most"

    def close(self) -> None:
        self._index.close()

    async def recall(self) -> None:
        """Reads what was recorded before.

        Raises:
            StorageFailed: it cannot be read in full, so that nothing more can be recorded.
        """

        def take(gone: list[Gone], back: list[Back]) -> None:
            holds = self._shard.holds
            self._index.record_gone((backup_folders(one.name), one.first_missed) for one in gone if holds(one.name))
            self._index.record_back((backup_folders(one.name), one.seen_at) for one in back if holds(one.name))

        await self._records.read(take)
        self._report.deleted = self._index.gone_count()
        self._report.deleted_in_run = self._records.gone_in_run  # by this very pass, before it was interrupted
        self._any_gone = self._report.deleted > 0

    def add_backups(self, entries: Iterable[Entry]) -> None:
        """Takes a page of the backups' listing."""
        self.add_folders([found for entry in entries if (found := folder_of_backup(entry.name)) is not None])

    def add_folders(self, backups: Sequence[tuple[str, str]]) -> None:
        """Takes backups by (folder, name in it). Of a shard's some may be another's, which stand in its folder."""
        if self._shard != ALL:
            backups = [backup for backup in backups if not is_hashed(backup[0])]
            strays = [backup for backup in backups if not self._shard.holds(backup[0])]
            self.strays |= {folder: max(name, self.strays.get(folder, "")) for folder, name in sorted(strays)}
            backups = [backup for backup in backups if self._shard.holds(backup[0])]
        if backups:
            self._index.add_many(backups)

    def saw_long(self, folders: Sequence[str]) -> None:
        """Takes hashed folders whose blobs were seen, wherever their backups stand in the listing."""
        self._index.strike_out_for_good(folders)

    def seen_among(self, folders: Sequence[str]) -> list[str]:
        """Which of these hashed folders were seen, by `saw` or `saw_long`."""
        return self._index.struck_among(folders)

    @property
    def saw_any_long(self) -> bool:
        return self._index.struck_any

    async def saw(self, names: Sequence[str], seen_at: str | None, *, joined: bool = False) -> None:
        """Takes the live blobs of a page of the source's listing, which the service gave at `seen_at`.

        Should the service not have said when, none is recorded as back: a later run sees it too.

        Args:
            joined: of those that were seen, only backups with hashed names have been added, or will be.
        """
        if not joined:
            self._index.strike_out(names)
        self.saw_long([folder for name in names for folder in hashed_folders(name)])
        if seen_at is None or not self._any_gone:
            return
        back = list(self._index.gone_among(names))
        self._index.record_back((backup_folders(name), seen_at) for name in back)
        self._report.deleted -= len(back)
        for name in back:
            await self._records.add(Back(name, seen_at))

    def give_up(self, why: str) -> None:
        """Nobody knows what was seen and what was not, so that nothing is missed in this run."""
        log.warning("reconcile %s: %s; it is left to the next run to find deletions", self.container, why)
        self._knows_what_is_left = False

    async def save(self) -> None:
        """Keeps what is left, for when the run goes on."""
        self._index.settle_struck()
        await self._records.flush()
        if not self._knows_what_is_left:
            await self._services.state.delete(self._left_name)
            return
        with tempfile.TemporaryDirectory(prefix="snapkeep-left-") as folder:
            path = Path(folder) / "left"
            await asyncio.to_thread(self._write_left, path)
            self._records.check()
            await self._services.state.upload(self._left_name, path)

    async def go_on(self, *, joined: bool = False) -> None:
        """Takes what was left when the run was interrupted.

        Args:
            joined: the backups are added one by one as before; else all have been added again by now.
        """
        with tempfile.TemporaryDirectory(prefix="snapkeep-left-") as folder:
            path = Path(folder) / "left"
            try:
                if not await self._services.state.download(self._left_name, path):
                    raise ValueError("it is not there")  # noqa: TRY301 -- handled as one that is of no use
                await asyncio.to_thread(self._take_left, path, joined)
            except (ValueError, EOFError, OSError) as error:
                self.give_up(f"{self._left_name}: {error}")

    def _write_left(self, path: Path) -> None:
        with gzip.open(path, "wt", encoding="ascii") as lines:
            lines.write(json.dumps(self._whose()) + "\n")
            for part in self._index.parts():
                lines.writelines(json.dumps(found) + "\n" for found in part)

    def _take_left(self, path: Path, joined: bool) -> None:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            if json.loads(next(lines, "null")) != self._whose():
                raise ValueError("it is of another run")
            left = ((str(folder), str(newest)) for folder, newest in map(json.loads, lines))
            if joined:
                while part := list(islice(left, NAMES_PER_PART)):
                    self._index.add_many(part)
            else:
                self._index.strike_out_all_but(folder for folder, _ in left)

    def _whose(self) -> dict[str, str]:
        return {"run_id": self._run_id, "container": self.container}

    async def settle(self, listed_from: str | None, lately: str) -> None:
        """Records what a complete listing was without.

        Args:
            listed_from: when it began, by the service's clock; None where that is not known.
            lately: since when a deletion counts as one of late.
        """

        async def look_for(name: str) -> str | None:
            return await absent_at(self._services.source.account, self.container, name)

        if self._knows_what_is_left:
            await self._record(look_for, MAX_CONFIRMED)
        await self._records.flush()
        self._report.deleted_lately = self._index.gone_count(lately)
        if self._knows_what_is_left and listed_from and not self._report.deletions_unconfirmed:
            # Only after what it was without is recorded: from now on, all else was there at that time.
            await self._services.state.write(self._seen, {"schema": SEEN_SCHEMA, "listed_from": listed_from})

    async def settle_without_container(self, lately: str) -> None:
        """Records all blobs of a container that is gone, once that is confirmed; `lately` as in `settle`."""
        missed_at = await absent_at(self._services.source.account, self.container)

        async def with_its_container(_name: str) -> str | None:
            return missed_at

        if missed_at is not None and self._knows_what_is_left:
            await self._record(with_its_container, None)
        await self._records.flush()
        self._report.deleted_lately = self._index.gone_count(lately)

    async def _record(self, look_for: Callable[[str], Awaitable[str | None]], at_most: int | None) -> None:
        """Looks for all that is newly missed, and records what is gone."""
        report = self._report
        self._index.settle_struck()
        room = at_most
        for part in self._index.parts():
            fresh = self._fresh(part)
            taken = fresh[:room]
            report.deletions_unconfirmed += len(fresh) - len(taken)
            room = None if room is None else room - len(taken)
            if taken:
                await self._look_for_all(await self._names(taken), look_for)
        report.deleted = self._index.gone_count()
        if report.deleted_in_run or report.deletions_unconfirmed:
            log.info("reconcile %s: %d blobs are newly gone", self.container, report.deleted_in_run)
        if report.deletions_unconfirmed:
            log.warning(
                "reconcile %s: of %d missed blobs it is not known whether they are gone: %s; the next run looks again",
                self.container,
                report.deletions_unconfirmed,
                self._problem,
            )

    def _fresh(self, part: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Without the blobs that are recorded as gone, and of which nothing was written since."""
        gone = self._index.gone_among([folder for folder, _ in part])
        return [
            (folder, newest)
            for folder, newest in part
            if folder not in gone or not ended(time_of_backup(newest), gone[folder])
        ]

    async def _names(self, folders: Sequence[tuple[str, str]]) -> dict[str, str]:
        """The blobs whose backups stand in these folders, each with its newest version's Last-Modified."""
        newest: dict[str, str] = {}

        async def name(found: tuple[str, str]) -> None:
            try:
                version = await self._version(*found)
            except SnapkeepError as error:
                self._failed(error)
                return
            if version is not None and not refusal(version.name):
                newest[version.name] = max(version.last_modified, newest.get(version.name, ""))

        await for_each(folders, name, self._services.settings.concurrency)
        gone = self._index.gone_among(list(newest))  # recorded under another folder's name just now
        return {name: time for name, time in newest.items() if name not in gone or not ended(time, gone[name])}

    async def _version(self, folder: str, newest: str) -> Version | None:
        """The version of a backup: its name tells, or, where that is a hash, its metadata."""
        name = f"{folder}/{newest}"
        version = version_of_backup(name, 0)
        if version is not None:
            return version
        found = await self._services.backup.state(backup_container(self.container), name)
        return version_of_backup(name, 0, found.metadata) if found is not None else None

    async def _look_for_all(self, newest: dict[str, str], look_for: Callable[[str], Awaitable[str | None]]) -> None:
        listed_before = await self._last_listing()

        async def one(name: str) -> None:
            if self._outages >= MAX_OUTAGES:  # it is the service and not the blobs
                self._report.deletions_unconfirmed += 1
                return
            try:
                first_missed = await look_for(name)
            except SnapkeepError as error:
                self._failed(error)
                return
            if first_missed is not None:
                last_seen = min(max(newest[name], listed_before), first_missed)
                self._index.record_gone([(backup_folders(name), first_missed)])
                self._report.deleted_in_run += 1
                await self._records.add(Gone(name, last_seen, first_missed))

        await for_each(newest, one, self._services.settings.concurrency)

    def _failed(self, error: SnapkeepError) -> None:
        self._report.deletions_unconfirmed += 1
        self._outages += isinstance(error, ServiceUnavailable)
        self._problem = str(error)

    async def _last_listing(self) -> str:
        """When the last listing began that missed none of what is newly missed now; empty where there was none."""
        if self._listed_before is None:
            seen = await self._services.state.read(self._seen)
            known = seen is not None and seen.get("schema") == SEEN_SCHEMA
            self._listed_before = str(seen["listed_from"]) if known else ""
        return self._listed_before

    @property
    def _seen(self) -> str:
        return f"seen/{self.container}.json"

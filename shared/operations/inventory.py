"""`reconcile --from-inventory`: compares what the accounts' own daily Blob Inventories say, instead of listing them.

Most versions are plainly protected, and cost nothing but a row. What is not is only a hint: each such blob is looked
at in the accounts before anything is done or said about it. A container that the source's inventory does not hold as
a whole is listed as ever. Deletions are left to reconciliations that list: nothing here proves one.
"""

from __future__ import annotations

import logging
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.adapters.absence import absent_at
from shared.containers import backup_container
from shared.decisions.coverage import archived
from shared.decisions.inventory import Listed, gap
from shared.decisions.inventory_sql import Draw
from shared.decisions.reconcile_run import Run
from shared.decisions.reporting import ContainerReport
from shared.decisions.sampling import MAX_SAMPLED, Chosen
from shared.errors import BackupContainerGone, ServiceUnavailable, SnapkeepError
from shared.inventory_index import Candidate, InventoryIndex, Named, Totals
from shared.model import Reason, Version
from shared.operations.container_pass import OutOfTime
from shared.operations.filling import MAX_OUTAGES, check_container, fill_in
from shared.operations.inventory_files import fetch
from shared.operations.looking import look
from shared.operations.missing import MissingBlobs
from shared.operations.reconcile import Reconciler, new_run, run_as
from shared.operations.unprotected import recall_unprotected
from shared.parallel import for_each, in_thread
from shared.services import Services

CANDIDATES_AT_ONCE = 20_000
"""How many blobs are looked at between two readings of the inventories' names."""

LOOKED_AT_ONCE = 500
"""How many are looked at before the time is."""

log = logging.getLogger(__name__)


async def reconcile_from_inventory(services: Services, *, elapsed: Callable[[], float]) -> dict[str, Any]:
    """Reconciles all containers by the latest inventories of both accounts; gives the report it wrote.

    Args:
        elapsed: seconds since the invocation began, for the time budget.

    Raises:
        InventoryUnusable: there is no inventory that can be used; nothing was done.
        AlreadyRunning, LeaseUnavailable, StorageFailed: as `reconcile`.
    """
    return await run_as(FromInventory, services, elapsed)


@dataclass
class FromInventory(Reconciler):
    """One reconciliation by inventories. It is not gone on with: the next one begins with newer ones."""

    listed: Listed | None = None
    _parts: dict[str, _Part] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._sharded = True  # it takes the place of a run that lists, of which there may be shards

    @classmethod
    async def run_of(cls, services: Services) -> Run:
        return new_run(services)

    @property
    def listing(self) -> dict[str, Any] | None:
        return self.listed.to_json() if self.listed else None

    async def go_through(self, containers: dict[str, bool]) -> bool:
        """Compares the inventories, looks at what is not plainly protected, and lists what they do not hold."""
        settings = self.services.settings
        with tempfile.TemporaryDirectory(prefix="snapkeep-inventory-") as scratch:
            folder = Path(scratch)
            with InventoryIndex(folder, memory_mb=settings.inventory_memory_mb) as index:
                self.listed = await fetch(self.services, index, folder)
                self.check_lock()
                compared = [name for name, exists in containers.items() if exists and not self._gap(name)]
                await in_thread(
                    lambda: index.compare(compared, settings.history, draw=self._draw(compared)), index.interrupt
                )
                known = await in_thread(index.totals, index.interrupt)
                await self._begin_all({name: known[name] for name in compared if name in known})
                await self._name(index, sum(one.of_the_day for one in known.values()))
                await self._look_at_candidates(index)
        await self._end_all()
        for container, exists in sorted(containers.items()):
            if container not in self._parts:
                await self._list(container, exists=exists)
        return True

    def _gap(self, container: str) -> str | None:
        """Why a container is listed, and not looked up in the inventories."""
        assert self.listed is not None  # noqa: S101 -- `go_through` has fetched them
        return gap(self.listed.source, container) or gap(self.listed.backup, backup_container(container))

    def _draw(self, containers: Sequence[str]) -> Draw:
        sampler = self.run.sampler
        each = min(MAX_SAMPLED, 20 * MAX_SAMPLED // max(len(containers), 1))
        first, last = sampler.places_of_the_day()
        return Draw(each if sampler.percent > 0 else 0, sampler.drill_blobs, int(self.run.run_id, 16), first, last)

    async def _begin_all(self, known: dict[str, Totals]) -> None:
        for container, totals in sorted(known.items()):
            self._parts[container] = part = _Part(self.services, _report(container, totals))
            await part.begin(self.run.run_id, self.check_lock)

    async def _name(self, index: InventoryIndex, of_the_day: int) -> None:
        """Takes the versions that are drawn to be proven, and names those in the archive tier."""
        drawn: dict[Named, list[Chosen]] = defaultdict(list)
        for why, container, entry in await in_thread(lambda: list(index.named()), index.interrupt):
            if why is Named.ARCHIVED:
                self._parts[container].name_archived(entry.version)
            elif not self._parts[container].backups_gone:
                drawn[why].append(Chosen(container, entry))
        self.run.sampler.take_to_prove(drawn[Named.TO_PROVE], of_the_day)
        self.run.sampler.take_to_restore(drawn[Named.TO_RESTORE])

    async def _look_at_candidates(self, index: InventoryIndex) -> None:
        batches = index.candidates(CANDIDATES_AT_ONCE)
        while batch := await in_thread(lambda: next(batches, None), index.interrupt):
            for some in _slices(batch, LOOKED_AT_ONCE):
                try:
                    self.check_time()
                except OutOfTime:
                    return
                await self._look_at(some)

    async def _look_at(self, candidates: Sequence[Candidate]) -> None:
        by_container: dict[str, list[Candidate]] = defaultdict(list)
        for candidate in candidates:
            by_container[candidate.container].append(candidate)
        for container, some in by_container.items():
            await self._parts[container].look_at(some)

    async def _end_all(self) -> None:
        for part in self._parts.values():
            await part.end()
            self.run.end(part.report)

    async def _list(self, container: str, *, exists: bool) -> None:
        """Goes through a container as `reconcile` does without inventories."""
        try:
            await self.list_container(container, exists=exists)
        except OutOfTime:
            report = self.run.begin(container).report
            why = self._gap(container) or "it was not in the inventory of the source account"
            report.error = f"there was no time left to list it, and {why}"
            self.run.end(report)


@dataclass
class _Part:
    """One container's part of the run.

    Attributes:
        left: versions that are to be looked at, and were not yet.
        backups_gone: the backup container was deleted; then nothing in it counts, and nothing is requested.
    """

    services: Services
    report: ContainerReport
    left: int = 0
    named: int = 0
    backups_gone: BackupContainerGone | None = None
    error: SnapkeepError | None = None
    _outages: int = 0

    def __post_init__(self) -> None:
        self.left = self.report.versions - self.report.protected - sum(self.report.unprotectable_by_reason.values())

    async def begin(self, run_id: str, check_lock: Callable[[], None]) -> None:
        """Makes sure of what the inventory could not tell of the container as a whole."""
        container = self.report.container
        try:
            check_container(self.services, container)
            target = backup_container(container)
            if await absent_at(self.services.backup.account, target) is not None:
                self.report.protected = 0
                await self.services.backup.check_not_gone(target)
        except BackupContainerGone as gone:
            log.warning("reconcile %s: %s", container, gone)
            self.backups_gone = gone
        except SnapkeepError as error:
            log.warning("reconcile %s: %s", container, error)
            self.error = error
        missing = MissingBlobs(self.services, self.report, run_id, check_lock)
        with closing(missing):
            try:
                await missing.recall()  # how many are recorded as gone; nothing is added
            except SnapkeepError as error:
                self.error = self.error or error

    def name_archived(self, version: Version) -> None:
        """Names one of the archived versions, all of which are counted already."""
        self.report.add_unprotectable(archived(version))
        self.report.unprotectable_by_reason[Reason.ARCHIVED] -= 1

    async def look_at(self, candidates: Sequence[Candidate]) -> None:
        """Looks at blobs, and fills in what they lack. What becomes of each stays with it; an outage ends the part."""
        if self.error is not None:
            return
        to_request: list[Version] = []
        to_snapshot: list[Version] = []

        async def one(candidate: Candidate) -> None:
            try:
                found = [await look(self.services, self.report.container, name) for name in candidate.names]
            except SnapkeepError as error:
                self._failed(candidate, error)
                return
            self._replace(candidate)
            for live, coverage in found:
                self.report.blobs += live
                self.report.add(coverage)
                to_request.extend(coverage.missing_backups if self.backups_gone is None else ())
                if coverage.missing_snapshot is not None:
                    to_snapshot.append(coverage.missing_snapshot)

        try:
            await for_each(candidates, one, self.services.settings.concurrency)
            (await fill_in(self.services, self.report.container, to_request, to_snapshot)).count_in(self.report)
        except SnapkeepError as error:
            log.warning("reconcile %s: %s", self.report.container, error)
            self.error = error

    def _failed(self, candidate: Candidate, error: SnapkeepError) -> None:
        self.report.add_failed([{"name": name, "reason": str(error)} for name in candidate.names])
        self.left -= candidate.versions - candidate.protected - candidate.archived
        self._outages += isinstance(error, ServiceUnavailable)
        if self._outages >= MAX_OUTAGES:
            raise error

    def _replace(self, candidate: Candidate) -> None:
        """Takes what the inventory told of a blob out of the counts: what is seen now takes its place."""
        report, unprotectable = self.report, self.report.unprotectable_by_reason
        report.blobs -= candidate.blobs
        report.versions -= candidate.versions
        report.protected -= 0 if self.backups_gone else candidate.protected
        if candidate.archived:
            unprotectable[Reason.ARCHIVED] = unprotectable.get(Reason.ARCHIVED, 0) - candidate.archived
        self.left -= candidate.versions - candidate.protected - candidate.archived

    async def end(self) -> None:
        """Adds what `backup` recorded, and judges whether the container was gone through."""
        report = self.report
        if self.error is None:
            try:
                await recall_unprotected(self.services, report)
            except SnapkeepError as error:
                self.error = error
        wrong = [str(error) for error in (self.backups_gone, self.error) if error]
        if self.left > 0 and self.error is None:
            wrong.append(
                f"{self.left:,} versions that may lack something were not looked at in the time there was: "
                "reconcile by listing, which goes on where it ends, or allow more time"
            )
        report.unprotectable_by_reason = {
            reason: count for reason, count in report.unprotectable_by_reason.items() if count > 0
        }
        report.error = "; ".join(wrong) or None
        report.complete = not wrong


def _report(container: str, totals: Totals) -> ContainerReport:
    return ContainerReport(
        container,
        blobs=totals.blobs,
        versions=totals.versions,
        protected=totals.protected,
        unprotectable_by_reason={Reason.ARCHIVED: totals.archived} if totals.archived else {},
        oldest_unprotected=totals.oldest_archived,
        listing="inventory",
    )


def _slices(items: Sequence[Candidate], size: int) -> Iterator[Sequence[Candidate]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]

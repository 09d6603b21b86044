"""Carries a restore's plan out: each step by itself, many at once, and after a crash from where it was.

A step may be repeated at any time with the same result: every write is conditional on what the plan found, and
what stands there already is recognised. The journal saves work, nothing depends on it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Protocol

from shared.adapters.directory import Directory
from shared.adapters.restoring import container_exists, create_container, rehydrate
from shared.adapters.source import SourceStorage
from shared.decisions.restore_report import DONE, Outcome, RestoreReport, Result, to_be_gone_on_with
from shared.decisions.restore_steps import ARCHIVED
from shared.decisions.restoring import Action, Job, Mode, Step
from shared.errors import (
    BadParameter,
    ContainerNotFound,
    DirectoryUnusable,
    LeaseUnavailable,
    ServiceUnavailable,
    SnapkeepError,
)
from shared.model import second_of
from shared.operations.restore_blob import BlobRestorer, Changed
from shared.operations.restore_delete import delete_blob_and_snapshots, delete_directory
from shared.operations.restore_file import FileRestorer
from shared.operations.restore_journal import Journal
from shared.operations.restore_places import Archived, Reading, Unusable, look
from shared.parallel import for_each
from shared.recovery import Recovery

__all__ = ["Outcome", "Progress", "RestoreReport", "Restorer", "Result", "restore", "to_be_gone_on_with"]

OUTAGE = 20
"""After so many steps in a row for which a service was not to be had, it is the service and not the blobs."""

REHYDRATION = {"standard": "15 hours", "high": "one hour, for blobs under 10 GB"}

log = logging.getLogger(__name__)


class Progress(Protocol):
    """Is told how a restore gets on."""

    def moved(self, size: int) -> None:
        """So many bytes were verified or copied."""

    def finished(self, outcome: Outcome) -> None:
        """A step has come to its end."""


class Restorer:
    """Carries out single steps of one job."""

    def __init__(
        self, recovery: Recovery, job: Job, job_id: str, moved: Callable[[int], None] = lambda _size: None
    ) -> None:
        self._recovery = recovery
        self._job = job
        self._moved = moved
        self._job_id = job_id
        self._directory: Directory | None = None

    def close(self) -> None:
        """Closes the directory, where it restores to one."""
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    def __enter__(self) -> Restorer:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    async def carry_out(self, step: Step) -> Outcome:
        """Does what the step says, or tells why not. One bad blob never stops the others: nothing is raised for it.

        Raises:
            DirectoryUnusable, BadParameter: no blob can be restored to where they are to go.
        """
        try:
            match step.action:
                case Action.LEAVE:
                    return Outcome(step.name, Result.LEFT, step.reason)
                case Action.IMPOSSIBLE:
                    return Outcome(step.name, Result.IMPOSSIBLE, step.reason, offered=step.offered)
                case Action.RESTORE:
                    return await self._restore(step)
                case Action.DELETE if step.directory:
                    return await delete_directory(self.target, self._job.container, step)
                case Action.DELETE:
                    return await delete_blob_and_snapshots(self._recovery, self.target, self._job.container, step)
        except (DirectoryUnusable, BadParameter):
            raise
        except Changed as error:
            return Outcome(step.name, Result.CHANGED, str(error))
        except LeaseUnavailable as error:
            return Outcome(step.name, Result.LEASED, str(error))
        except ServiceUnavailable as error:
            return Outcome(step.name, Result.FAILED, str(error), outage=True)
        except SnapkeepError as error:
            return Outcome(step.name, Result.FAILED, str(error))
        except Exception as error:
            # Not even a defect, which the report then tells of.
            log.exception("restore of one blob failed")
            return Outcome(step.name, Result.FAILED, f"unexpected {type(error).__name__}: {error}")

    async def _restore(self, step: Step) -> Outcome:
        """Brings the version back from the first of its places that holds it undamaged."""
        reasons: list[str] = []
        archived: Reading | None = None
        unreachable: SnapkeepError | None = None
        for held in step.places:
            try:
                reading = await look(self._recovery, self._job, step, held)
            except Archived as error:
                archived = archived or error.reading
                continue
            except Unusable as error:
                reasons.append(str(error))
                continue
            except (DirectoryUnusable, BadParameter, LeaseUnavailable):
                raise
            except SnapkeepError as error:
                unreachable = error  # down or refused: another place may stand in the other account
                continue
            try:
                return await self._write(step, reading)
            except Unusable as error:
                reasons.append(str(error))
        if unreachable is not None:
            raise unreachable
        if archived is not None:
            return await self._rehydrate(step, archived)
        reason = "; ".join(reasons) or "no place is known that holds it"
        return Outcome(step.name, Result.DAMAGED, reason, offered=step.offered)

    async def _write(self, step: Step, reading: Reading) -> Outcome:
        told = _Told(self._moved)
        if self._job.mode is Mode.DIRECTORY:
            return await FileRestorer(self._open_directory(), self._job.overwrite, told).bring(step, reading)
        blobs = BlobRestorer(self.target, self._job, self._job_id, told)
        if self._job.mode is Mode.IN_PLACE:
            written = await blobs.in_place(step, reading)
        else:
            written = await blobs.into_container(step, reading)
        size = written.state.version.size
        told(size - told.size)  # what was copied without being read counts all the same
        result = Result.ALREADY if written.already else Result.RESTORED
        return Outcome(step.name, result, bytes=size, etag=written.state.version.etag)

    async def stands(self, name: str, result: Result, etag: str | None) -> bool:
        """Whether what an earlier run came to is still so: the blob that it wrote, or the gap that it left."""
        if self._job.mode is Mode.DIRECTORY or result is Result.LEFT:
            return True
        found = await self.target.state(self._job.target, name)
        return (found.version.etag if found else None) == etag

    def _open_directory(self) -> Directory:
        if self._directory is None:
            self._directory = Directory(Path(self._job.target), self._job_id)
        return self._directory

    async def _rehydrate(self, step: Step, archived: Reading) -> Outcome:
        priority = self._job.rehydrate
        if not priority:
            return Outcome(step.name, Result.IMPOSSIBLE, ARCHIVED, offered=step.offered)
        await rehydrate(archived.storage.account, archived.container, archived.state, priority)
        reason = f"its {archived.held.place} is being rehydrated: run this again in up to {REHYDRATION[priority]}"
        return Outcome(step.name, Result.REHYDRATING, reason)

    @property
    def target(self) -> SourceStorage:
        """The account that it is restored to.

        Raises:
            BadParameter: it is not configured.
        """
        storage = self._recovery.source if self._job.target_account == "source" else self._recovery.backups
        if storage is None:
            raise BadParameter("the source account is not configured: SourceStorage is missing")
        return storage


class _Told:
    """Passes on how many bytes were moved, and counts them: for one blob never more than it has."""

    def __init__(self, moved: Callable[[int], None]) -> None:
        self._moved = moved
        self.size = 0

    def __call__(self, size: int) -> None:
        if size > 0:
            self.size += size
            self._moved(size)


async def restore(
    recovery: Recovery, job: Job, steps: Iterable[Step], *, job_id: str, progress: Progress
) -> RestoreReport:
    """Carries out all steps of a plan, but those that the journal of an earlier run has as done.

    Args:
        steps: the plan's, in the same order at each run: the journal knows them by their numbers.

    Raises:
        ContainerNotFound: an earlier run wrote to a container that is gone.
        SnapkeepError: the journal could not be read, or the target container not made; nothing was done.
    """
    report = RestoreReport(job_id, job, started_at=second_of(recovery.now()))
    restorer = Restorer(recovery, job, job_id, progress.moved)
    journal = await Journal.open(recovery.state, job_id, recovery.now, report, restorer.stands)
    if job.mode is Mode.CONTAINER:
        await _ensure_container(restorer.target, job, journal)
    run = _Run(restorer, journal, report, progress, recovery.settings.concurrency)
    try:
        with restorer:
            await run.all(steps)
        report.complete = True
    except SnapkeepError as error:
        log.warning("restore %s ended early: %s", job_id, error)
        report.warnings.append(f"ended early, and goes on when it is run again: {error}")
    finally:
        # On Ctrl-C too: what is in the journal need not be looked at again.
        await journal.close()
    report.finished_at = second_of(recovery.now())
    try:
        await journal.conclude(report)
    except SnapkeepError as error:
        report.warnings.append(f"this report could not be kept in the state: {error}")
    return report


async def _ensure_container(storage: SourceStorage, job: Job, journal: Journal) -> None:
    """Makes the target container where there is none yet, and never a second time for one job."""
    if await container_exists(storage.account, job.target):
        return
    if journal.begun:
        raise ContainerNotFound(
            f"the container {job.target}, to which an earlier run of this restore wrote, is gone: --restart begins anew"
        )
    await create_container(storage.account, job.target)
    await journal.note_container(job.target)


class _Run:
    """One run through the steps."""

    def __init__(
        self, restorer: Restorer, journal: Journal, report: RestoreReport, progress: Progress, concurrency: int
    ) -> None:
        self._restorer = restorer
        self._journal = journal
        self._report = report
        self._progress = progress
        self._concurrency = concurrency
        self._outages = 0

    async def all(self, steps: Iterable[Step]) -> None:
        """Directories come last, deepest first: by then they may be empty."""
        directories: list[tuple[int, Step]] = []
        await for_each(self._blobs(steps, directories), self._one, self._concurrency)
        directories.sort(key=lambda numbered: _depth(numbered[1]), reverse=True)
        for _, level in groupby(directories, key=lambda numbered: _depth(numbered[1])):
            await for_each(level, self._one, self._concurrency)

    def _blobs(self, steps: Iterable[Step], directories: list[tuple[int, Step]]) -> Iterator[tuple[int, Step]]:
        for number, step in enumerate(steps):
            if self._journal.is_done(number):
                continue
            if step.directory:
                directories.append((number, step))
            else:
                yield number, step

    async def _one(self, numbered: tuple[int, Step]) -> None:
        number, step = numbered
        outcome = await self._restorer.carry_out(step)
        self._report.add(outcome)
        self._progress.finished(outcome)
        self._outages = self._outages + 1 if outcome.outage else 0
        if self._outages >= OUTAGE:
            raise ServiceUnavailable(outcome.reason)
        if outcome.result in DONE:
            await self._journal.add(number, outcome)


def _depth(step: Step) -> int:
    return step.name.strip("/").count("/")

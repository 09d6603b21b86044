"""The operation `drill`: restores a few versions out of their backups, compares them with the source, and removes them.

It goes the way that a restore on a bad day would go, to a scratch container in the backup account or to a directory;
the source account is only read, to compare.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.adapters.reading import Rate, Stored, md5_of
from shared.containers import DRILL_PREFIX, backup_container
from shared.decisions.drilling import (
    NO_TIME,
    TAGS_CHANGED,
    TOO_LARGE,
    DrillReport,
    and_again,
    job_of,
    own_tags,
    step_of,
    unlike,
    within,
)
from shared.decisions.names import backup_name
from shared.decisions.restore_report import Result
from shared.decisions.restored import KEPT_MD5
from shared.decisions.sampling import Chosen, Sampler
from shared.decisions.verification import whole_version
from shared.errors import (
    BlobChanged,
    BlobGone,
    ContainerNotFound,
    ServiceUnavailable,
    SnapkeepError,
    StorageFailed,
    Unprotectable,
)
from shared.model import ARCHIVE, BlobState, Entry, md5_that_counts
from shared.operations.drill_ground import Ground, Restored, ground
from shared.operations.proof_scope import failed_restores, scope, store, version_in_source
from shared.operations.proving import PARALLEL_READS
from shared.operations.restore import Restorer
from shared.parallel import for_each
from shared.recovery import Recovery
from shared.services import Services

MAX_BYTES = 10 * 1024**3
ARCHIVED = "its backup is in the archive tier: it must be rehydrated before it can be restored"

Progress = Callable[[DrillReport], None]

log = logging.getLogger(__name__)


def _unnoticed(_report: DrillReport) -> None:
    """Nobody looks on."""


async def drill_at_random(
    services: Services,
    blobs: int,
    run_id: str,
    *,
    max_bytes: int = MAX_BYTES,
    directory: Path | None = None,
    progress: Progress = _unnoticed,
) -> dict[str, Any]:
    """Drills with that many backups, chosen at random out of all containers'; gives the report that it wrote.

    Raises:
        StorageFailed: the scratch container could not be made, or the report not be written.
    """
    report = DrillReport(run_id, services.now())
    containers, unlisted = await scope(services)
    if unlisted is not None:
        log.warning("drill: %s", unlisted)
    sampler = Sampler(0, services.now().date(), blobs, run_id)
    for container in containers:
        try:
            await _offer_all(services, container, sampler)
        except SnapkeepError as error:
            report.add_unlisted(container, str(error))
        progress(report)
    return await _drill(services, sampler.to_restore, report, max_bytes, None, directory, progress)


async def drill(
    services: Services, chosen: Sequence[Chosen], run_id: str, *, max_bytes: int, seconds: float
) -> dict[str, Any]:
    """Drills with these versions within the time given; gives the report that it wrote. Raises as `drill_at_random`."""
    report = DrillReport(run_id, services.now())
    return await _drill(services, chosen, report, max_bytes, seconds, None, _unnoticed)


async def _offer_all(services: Services, container: str, sampler: Sampler) -> None:
    """Offers all finished backups of a container."""
    place = backup_container(container)
    try:
        async with aclosing(services.backup.listing.pages(place, include="metadata", read_metadata=True)) as pages:
            async for page in pages:
                for entry in page.entries:
                    version = whole_version(entry)
                    if version is not None:
                        offered = Entry(version.name, None, version.etag, version.last_modified, version.size)
                        sampler.offer(container, offered)
    except ContainerNotFound:
        await services.backup.check_not_gone(place)


async def _drill(
    services: Services,
    chosen: Sequence[Chosen],
    report: DrillReport,
    max_bytes: int,
    seconds: float | None,
    directory: Path | None,
    progress: Progress,
) -> dict[str, Any]:
    earlier = [line for line in await failed_restores(services) if services.settings.protects(line["container"])]
    report.chosen = and_again(earlier, chosen)
    if report.chosen:
        to_restore, too_large = within(report.chosen, max_bytes)
        for one in too_large:
            report.add_skipped(one, TOO_LARGE)
        try:
            async with ground(services, report.run_id, directory) as place:
                await _Drill(services, report, place, progress).all_of(to_restore, seconds)
        except SnapkeepError as error:
            report.add_unlisted(str(directory or f"{DRILL_PREFIX}{report.run_id}"), str(error))
    report.carry_over(earlier)
    document = report.to_json(services.now())
    await store(services, document)
    log.info("drill %s: %s, %d of %d restored", report.run_id, document["result"], report.restored, document["picked"])
    return document


@dataclass
class _Drill:
    services: Services
    report: DrillReport
    ground: Ground
    progress: Progress
    recovery: Recovery = field(init=False)

    def __post_init__(self) -> None:
        self.recovery = Recovery.of(self.services)

    async def all_of(self, chosen: Sequence[Chosen], seconds: float | None) -> None:
        """Restores and compares these; versions of one name one after another, since they stand in one place."""
        by_name: dict[str, list[Chosen]] = defaultdict(list)
        for one in chosen:
            by_name[one.entry.name].append(one)
        waiting = {id(one): one for one in chosen}

        async def in_turn(versions: list[Chosen]) -> None:
            for one in versions:
                await self._try(one)
                del waiting[id(one)]
                self.progress(self.report)

        try:
            async with asyncio.timeout(seconds):
                parallel = min(PARALLEL_READS, self.services.settings.concurrency)
                await for_each(by_name.values(), in_turn, parallel)
        except TimeoutError:
            for one in waiting.values():
                self.report.add_skipped(one, NO_TIME)

    async def _try(self, chosen: Chosen) -> None:
        try:
            failure = await self._restore(chosen)
        except SnapkeepError as error:
            failure = str(error)
        except Exception as error:
            # One version never stops the others, not even by a defect, which is what a drill is to find.
            log.exception("drill %s failed", chosen.container)
            failure = f"unexpected {type(error).__name__}: {error}"
        if failure is not None:
            self.report.add_failed(chosen, failure)

    async def _restore(self, chosen: Chosen) -> str | None:
        """Restores one version and compares it. Returns why it did not come back as it was; None when it did."""
        container, version = chosen.container, chosen.entry.version
        backup = await self.services.backup.state(backup_container(container), backup_name(version))
        if backup is None and await self._in_source(chosen) is None:
            self.report.add_gone(chosen)
            return None
        if backup is None:
            return "it has no backup"
        if backup.tier == ARCHIVE:
            self.report.add_skipped(chosen, ARCHIVED)
            return None
        target = self.ground.target()
        job = job_of(container, version, self.ground.mode, target)
        outcome = await Restorer(self.recovery, job, self.report.run_id).carry_out(step_of(version, backup))
        if outcome.result not in {Result.RESTORED, Result.ALREADY}:  # already: by an attempt whose answer was lost
            return f"{outcome.result}: {outcome.reason}"
        try:
            failure = await self._compare(chosen, backup, await self.ground.found(target, version.name))
        finally:
            await self.ground.clear(target, version.name)
        if failure is None:
            self.report.add_restored(chosen)
        return failure

    async def _compare(self, chosen: Chosen, backup: BlobState, restored: Restored) -> str | None:
        """Why what came back is not the version; None when it is, in every byte and property."""
        source = await self._in_source(chosen)
        tags = await self.recovery.backups.tags(backup_container(chosen.container), backup)
        if restored.state is not None:
            differs = unlike(restored.state, source or backup, backup)
            if differs is None and restored.tags != own_tags(tags):
                differs = "set of index tags"
            if differs is not None:
                return f"what came back has another {differs}"
            await self._note_changed_tags(chosen, source, own_tags(tags))
        wanted, whose = await self._wanted_md5(chosen, source, backup, tags)
        if restored.md5 != wanted:
            return f"the MD5 of the bytes that came back is {restored.md5}, that of {whose} is {wanted}"
        return None

    async def _wanted_md5(
        self, chosen: Chosen, source: BlobState | None, backup: BlobState, tags: Mapping[str, str]
    ) -> tuple[str, str]:
        """What the bytes must hash to, by the best witness that is left, and who that is."""
        container, version = chosen.container, chosen.entry.version
        if source is not None and source.tier != ARCHIVE:
            stored = Stored(container, version.name, version.etag, version.size, source.snapshot)
            try:
                return await md5_of(self.services.source.account, stored, Rate(None)), "the version"
            except (BlobChanged, BlobGone, ServiceUnavailable, Unprotectable) as error:
                log.info("%s: its backup is the witness", error)
        if source is not None and (stated := md5_that_counts(source.md5, source.blob_type)):
            return stated, "the version, as the service has it,"
        if stated := md5_that_counts(backup.md5, backup.blob_type):
            return stated, "its backup, as the service has it,"
        if KEPT_MD5 in tags:
            return tags[KEPT_MD5], "its backup, as an earlier verify kept it,"
        place, name = backup_container(container), backup.version.name
        stored = Stored(place, name, backup.version.etag, backup.version.size)
        return await md5_of(self.services.backup.account, stored, Rate(None)), "its backup"

    async def _note_changed_tags(self, chosen: Chosen, source: BlobState | None, tags: dict[str, str]) -> None:
        if source is not None and await self.services.source.tags(chosen.container, source) != tags:
            self.report.add_note(chosen, TAGS_CHANGED)

    async def _in_source(self, chosen: Chosen) -> BlobState | None:
        """The version in the source; None where it is lost: then the backup is the witness.

        Raises:
            StorageFailed: nobody answered. A version that cannot be looked for is not lost, and proves nothing.
        """
        try:
            return await version_in_source(self.services, chosen.container, chosen.entry.version)
        except StorageFailed as error:
            raise StorageFailed(f"not compared with the source: {error}") from error

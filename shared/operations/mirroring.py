"""Mirrors one pair of containers: checks, copies with azcopy, compares, and mirrors deletions if they are wanted."""

from __future__ import annotations

import contextlib
import logging

from shared.adapters.azcopy import Azcopy, read_run
from shared.adapters.azcopy_access import Access
from shared.adapters.azcopy_folders import RunFolder
from shared.adapters.azcopy_output import AzcopyRun
from shared.adapters.mirror import MirrorContainers
from shared.decisions.mirroring import (
    AzcopyOutcome,
    deletion_refusal,
    difference,
    excluded_from,
    failure_of,
    kept_apart,
    pair_refusal,
)
from shared.decisions.sync_report import PairOutcome, PairReport, Problems
from shared.errors import ContainerNotFound, SnapkeepError
from shared.index import ListingIndex
from shared.model import IndexedBlob
from shared.operations import alarms
from shared.parallel import for_each
from shared.services import Services
from shared.settings import SyncPair
from shared.tracing import note, span

log = logging.getLogger(__name__)


class Mirroring:
    """The work on one pair, and what can be told of it at any moment."""

    def __init__(
        self, services: Services, azcopy: Azcopy, pair: SyncPair, access: Access, warnings: tuple[str, ...]
    ) -> None:
        self._services = services
        self._settings = services.settings
        self._azcopy = azcopy
        self._pair = pair
        self._access = access
        self._warnings = list(warnings)
        self._containers = MirrorContainers(services.source.account, services.backup.account, pair)
        self._outcome = AzcopyOutcome(exit_code=0)
        self._failures, self._skips, self._differing = Problems(), Problems(), Problems()
        self._kept_logs: str | None = None
        self._compared: int | None = None
        self._extraneous: int | None = None
        self._alarm = False
        self._sizes_alone = self._unmirrored = self._deleted = 0

    async def run(self) -> str | None:
        """Does it all. Returns why the mirror is not what its source is; None when it is.

        Raises:
            SnapkeepError: it could not be done, or not to its end.
        """
        if refused := pair_refusal(self._pair, self._settings):
            return refused
        try:
            since = await self._source_time()
            directories = await self._look_at_source()
            await self._services.backup.ensure_container(self._pair.backup)
            if failed := await self._copy(directories=directories):
                return failed
            with ListingIndex() as surplus:
                await self._compare(surplus, since)
                if refused := await self._mirror_deletions(surplus):
                    return refused
        finally:
            await self._containers.close()
        return self._verdict()

    def report(self, outcome: PairOutcome, reason: str | None, elapsed_seconds: float) -> PairReport:
        """What was done so far."""
        return PairReport(
            self._pair.source,
            self._pair.backup,
            outcome,
            reason,
            scanned=self._outcome.scanned if self._compared is None else self._compared,
            copied=self._outcome.copied,
            skipped=self._outcome.skipped,
            failed=self._outcome.failed + self._unmirrored,
            deleted=self._deleted,
            bytes_copied=self._outcome.bytes_copied,
            extraneous=self._extraneous,
            sizes_alone=self._sizes_alone,
            elapsed_seconds=elapsed_seconds,
            failures=self._failures,
            skips=self._skips,
            differing=self._differing,
            warnings=tuple(self._warnings),
            kept_logs=self._kept_logs,
            alarm=self._alarm,
        )

    async def _source_time(self) -> str:
        try:
            return await self._containers.source_time()
        except ContainerNotFound as error:
            raise ContainerNotFound(
                f"the source container {self._pair.source} does not exist: create it, or take it out of "
                "SNAPKEEP_SYNC_CONTAINERS"
            ) from error

    async def _look_at_source(self) -> bool:
        """Makes sure that there is something to mirror; returns whether directories were seen on the way to it.

        azcopy takes an empty source for one whose files were all deleted. An unreadable one raises here.
        """
        directories = False
        async with contextlib.aclosing(self._containers.source_pages()) as pages:
            async for entries in pages:
                directories |= any(entry.directory for entry in entries)
                if not all(entry.directory for entry in entries):
                    return directories
        if self._settings.sync_delete:
            raise SnapkeepError(
                f"{self._pair.source} holds no file, and with SNAPKEEP_SYNC_DELETE its mirror would be emptied: "
                "nothing was done. Take the pair out of SNAPKEEP_SYNC_CONTAINERS if that is meant"
            )
        self._warnings.append(f"{self._pair.source} holds no file")
        return directories

    async def _copy(self, *, directories: bool) -> str | None:
        """Runs azcopy. Returns why its run is a failure; None when it is none."""
        folder = RunFolder()
        failure: str | None = "it was not finished"
        exit_code = -1
        try:
            with span("azcopy", container=self._pair.source, mirror=self._pair.backup):
                exit_code = await self._azcopy.sync(
                    folder,
                    self._access.source_url,
                    self._access.backup_url,
                    self._flags(directories=directories),
                    self._environment(directories=directories),
                )
                note(exit_code=exit_code)
        finally:
            with contextlib.suppress(FileNotFoundError):  # it did not even start
                self._take(read_run(folder, self._access.source_url, exit_code, self._access.redact))
                failure = failure_of(self._outcome)
            if failure:
                self._keep_logs(folder)
            folder.remove()
        return failure

    def _flags(self, *, directories: bool) -> list[str]:
        flags = [f"--from-to={self._access.from_to}", f"--exclude-regex={excluded_from(self._pair.backup)}"]
        if directories and "FS" not in self._access.from_to:
            # Directories of a hierarchical account are stubs to its blob endpoint, which azcopy leaves out.
            flags.append("--include-directory-stub")
        return flags

    def _environment(self, *, directories: bool) -> dict[str, str]:
        flat = not directories and "FS" not in self._access.from_to
        # By default azcopy lists a container folder by folder, and each file's version backups are one.
        scan = {"AZCOPY_DISABLE_HIERARCHICAL_SCAN": "true"} if flat else {}
        return {**self._access.environment, **scan}

    def _take(self, run: AzcopyRun) -> None:
        self._outcome, self._failures, self._skips = run.outcome, run.failed, run.skipped

    def _keep_logs(self, folder: RunFolder) -> None:
        try:
            self._kept_logs = folder.keep(self._pair.source, self._services.now(), self._access.redact)
        except OSError as error:
            self._warnings.append(f"the logs could not be kept: {error.strerror}")

    async def _compare(self, surplus: ListingIndex, since: str) -> None:
        """Compares what stands in both containers; leaves in `surplus` what only the mirror has."""
        mirror = self._pair.backup
        async for entries in self._containers.backup_pages():
            surplus.add_many(
                entry for entry in entries if not entry.directory and kept_apart(entry.name, mirror) is None
            )
        compared = 0
        async for entries in self._containers.source_pages():
            blobs = [entry for entry in entries if not entry.directory]
            names = [blob.name for blob in blobs]
            mirrored = surplus.get_many(names)
            for blob in blobs:
                found = mirrored.get(blob.name)
                if apart := kept_apart(blob.name, mirror):
                    self._add_failure(blob.name, apart)
                elif differs := difference(blob, found, since):
                    self._differing.add(blob.name, differs)
                elif found is not None and not (blob.md5 and found.md5):
                    self._sizes_alone += 1
            surplus.remove_many(names)
            compared += len(blobs)
        self._compared, self._extraneous = compared, len(surplus)

    async def _mirror_deletions(self, surplus: ListingIndex) -> str | None:
        """Deletes what only the mirror has, if that is set. Returns why it may not; None when it may."""
        adoption = f"mirrors/{self._pair.backup}.json"
        known = await self._services.state.read(adoption)
        source = f"{self._settings.source.blob_endpoint}/{self._pair.source}"
        adopted_by = known["source"] if known else None
        extraneous = len(surplus)
        if self._settings.sync_delete:
            if refused := deletion_refusal(adopted_by, source, extraneous):
                return refused
            if extraneous and (refused := await self._alarmed(extraneous)):
                return refused
            await for_each(surplus, self._delete, self._settings.concurrency)
        if extraneous == 0 and adopted_by != source:
            await self._services.state.write(adoption, {"source": source})
        return None

    async def _alarmed(self, extraneous: int) -> str | None:
        refused = await alarms.deletion_refusal(self._services, self._pair.source, extraneous, self._compared or 0)
        self._alarm = refused is not None
        return refused

    async def _delete(self, blob: IndexedBlob) -> None:
        try:
            if await self._containers.delete_mirrored(blob):
                self._deleted += 1
        except ContainerNotFound:
            raise  # a container that is gone is no reason to empty its mirror
        except SnapkeepError as error:
            self._add_failure(blob.name, f"not deleted: {error}")

    def _add_failure(self, name: str, reason: str) -> None:
        self._unmirrored += 1
        self._failures.add(name, reason)

    def _verdict(self) -> str | None:
        found = [
            f"{problems.total} files {what}, such as {problems.listed[0][0]!r}: {problems.listed[0][1]}"
            for problems, what in (
                (self._differing, "differ from their source although azcopy called the mirror complete"),
                (self._failures, "were not mirrored"),
            )
            if problems
        ]
        return "; ".join(found) or None

"""Gathers what a restore has to choose from: every place that holds a version, into an index on disk.

The source account is not touched with `--from backups` to another place, the backup account not with
`--from snapshots`: each may be gone.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from shared.adapters.listing import PAGE_SIZE
from shared.adapters.source import SourceStorage
from shared.containers import backup_container
from shared.decisions.deletions import backup_folders
from shared.decisions.names import LONG_NAMES
from shared.decisions.restore_places import as_verified, held_backup, is_hashed, source_flaw
from shared.decisions.restoring import Held, Job, Mode
from shared.errors import BadParameter, ContainerNotFound, StorageFailed
from shared.model import Entry
from shared.operations.proof_scope import read_suspects
from shared.parallel import for_each
from shared.recovery import Recovery
from shared.version_index import VersionIndex

SOURCE_LEFT_OUT = "only the source account holds it, which --from backups leaves out"
NAMED_PAGE_SIZE = 1000
"""Entries a page for one name: it rarely has more versions, and what begins alike is not asked for."""


@dataclass
class Gathered:
    """What was read, but for what stands in the index.

    Attributes:
        lists: how many pages of listings it took.
        warnings: what people should know before they go on.
    """

    lists: int = 0
    warnings: list[str] = field(default_factory=list)


async def gather(recovery: Recovery, job: Job, index: VersionIndex, progress: Callable[[int], None]) -> Gathered:
    """Reads the listings that the job needs into the index.

    Args:
        progress: called with the number of entries that were read so far.

    Raises:
        BadParameter: nothing may be restored to where the job says.
        ContainerNotFound: there is nothing to restore from.
        StorageFailed: a listing could not be read in full, so that nothing may be concluded from it.
    """
    return await _Gathering(recovery, job, index, progress).all()


@dataclass
class _Gathering:
    recovery: Recovery
    job: Job
    index: VersionIndex
    progress: Callable[[int], None]
    gathered: Gathered = field(default_factory=Gathered)
    entries: int = 0
    foreign: int = 0
    nameless: int = 0
    suspects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    async def all(self) -> Gathered:
        await self._read_suspects()
        found = [await self._read_source(), await self._read_backups()]
        await self._read_target()
        if not any(found):
            raise ContainerNotFound(
                f"nothing is known of the container {self.job.container}: neither it nor its backup container "
                f"{backup_container(self.job.container)} exists, as far as --from {self.job.origin} looks"
            )
        if self.foreign:
            self._warn(f"{self.foreign:,} blobs of the backup container are no versions' backups, and were left out")
        if self.nameless:
            self._warn(
                f"{self.nameless:,} backups of long names do not tell whose they are: restore those by --name, if any"
            )
        return self.gathered

    async def _read_suspects(self) -> None:
        """What the last verification found bad; a report of it that is of no use is no reason not to restore."""
        if not self.recovery.state_is_the_apps:
            return
        try:
            suspects = await read_suspects(self.recovery.state)
        except (ValueError, LookupError, TypeError):
            self._warn("the last verify's report is not as this release writes it: what it found bad is not known")
            return
        self.suspects = suspects.get(self.job.container, {})

    async def _read_source(self) -> bool:
        """Whether the source container was there to be read."""
        job, source = self.job, self.recovery.source
        if source is None:
            self._warn("no source account is configured: backups alone are looked at")
            return False
        if job.origin == "backups" and job.mode is not Mode.IN_PLACE:
            return False
        try:
            if job.names:
                await self._for_each_name(lambda name: self._read_named_source(source, name))
            else:
                async for entries in self._pages(source, job.container, job.prefix):
                    self._add_source(entries)
        except ContainerNotFound:
            if job.mode is Mode.IN_PLACE:
                raise BadParameter(
                    f"{job.container} does not exist any more, so that nothing can be restored in place; "
                    f"give --to {job.container} to have it made anew"
                ) from None
            self._warn(f"the source container {job.container} is gone: backups alone are looked at")
            return False
        except StorageFailed as error:
            if job.origin != "auto" or job.mode is Mode.IN_PLACE:
                raise
            raise StorageFailed(f"{error}; --from backups does without the source account") from error
        return True

    async def _read_named_source(self, source: SourceStorage, name: str) -> None:
        async for entries in self._named(source, self.job.container, name, "snapshots,metadata"):
            self._add_source(entries)

    def _add_source(self, entries: Iterable[Entry]) -> None:
        left_out = SOURCE_LEFT_OUT if self.job.origin == "backups" else ""
        self.index.add_source((one, source_flaw(one) or left_out) for one in entries)

    async def _read_backups(self) -> bool:
        """Whether the backup container was there to be read."""
        job = self.job
        if job.origin == "snapshots":
            self._warn("--from snapshots: versions that the backups alone hold are not looked at")
            return False
        try:
            if job.names:
                await self._for_each_name(self._read_named_backups)
            else:
                for prefix in [job.prefix, f"{LONG_NAMES}/"] if job.prefix else [""]:
                    await self._read_backups_of(prefix)
        except ContainerNotFound:
            self._warn(f"the backup container {backup_container(job.container)} does not exist: there are no backups")
            return False
        except StorageFailed as error:
            if job.origin != "auto":
                raise
            raise StorageFailed(f"{error}; --from snapshots does without the backup account") from error
        return True

    async def _read_named_backups(self, name: str) -> None:
        for folder in backup_folders(name):
            await self._read_backups_of(f"{folder}/", name)

    async def _read_backups_of(self, prefix: str, name: str | None = None) -> None:
        target = backup_container(self.job.container)
        async for entries in self._pages(self.recovery.backups, target, prefix, include="metadata"):
            self.index.add_backups(self._wanted(entries, name))

    def _wanted(self, entries: Iterable[Entry], name: str | None) -> Iterable[Held]:
        for one in entries:
            held = held_backup(one, name)
            if held is None:
                self.nameless += is_hashed(one.name)
                self.foreign += not (is_hashed(one.name) or one.directory or name is not None)
            elif held.version.name == name if name is not None else held.version.name.startswith(self.job.prefix):
                yield as_verified(held, self.suspects)

    async def _read_target(self) -> None:
        """What stands in a target container already; one that is made for the restore does not exist yet."""
        job = self.job
        if job.mode is not Mode.CONTAINER:
            return
        account = self.recovery.backups if job.target_account == "backup" else self.recovery.source
        if account is None:
            raise BadParameter("the target is to be in the source account, and none is configured: set SourceStorage")
        if job.target_account == "backup" and await self.recovery.state.read(f"containers/{job.target}.json"):
            raise BadParameter(f"--to: {job.target} holds backups or a mirror; name another container")
        try:
            if job.names:
                await self._for_each_name(lambda name: self._read_standing(account, name))
            else:
                async for entries in self._pages(account, job.target, job.prefix, include="metadata"):
                    self.index.add_standing(entries)
        except ContainerNotFound:
            return
        if job.target_account == "source" and job.target == job.container:
            raise BadParameter(
                f"--to: {job.target} is the container itself; --in-place restores over what stands there, "
                "or name another container"
            )

    async def _read_standing(self, account: SourceStorage, name: str) -> None:
        async for entries in self._named(account, self.job.target, name, "metadata"):
            self.index.add_standing(entries)

    async def _for_each_name(self, work: Callable[[str], Awaitable[None]]) -> None:
        await for_each(self.job.names, work, self.recovery.settings.concurrency)

    async def _named(
        self, account: SourceStorage, container: str, name: str, include: str
    ) -> AsyncGenerator[list[Entry]]:
        """The entries of one name: they come before those of names that begin with it, in every kind of account."""
        async with aclosing(self._pages(account, container, name, include=include, page_size=NAMED_PAGE_SIZE)) as pages:
            async for entries in pages:
                own = [one for one in entries if one.name == name]
                yield own
                if len(own) < len(entries):
                    return

    async def _pages(
        self,
        account: SourceStorage,
        container: str,
        prefix: str,
        *,
        include: str = "snapshots,metadata",
        page_size: int = PAGE_SIZE,
    ) -> AsyncGenerator[list[Entry]]:
        pages = account.pages(container, prefix, include=include, page_size=page_size, read_metadata=True)
        async with aclosing(pages):
            async for page in pages:
                self.gathered.lists += 1
                self.entries += len(page.entries)
                self.progress(self.entries)
                yield page.entries

    def _warn(self, text: str) -> None:
        self.gathered.warnings.append(text)

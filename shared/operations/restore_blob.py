"""Brings one version back as a blob: into another container, or in place over what its blob has become.

The service copies it, unseen. So a blob that went into a container is read back before it counts. In place that
would be too late: there a backup is read before it goes over anything, and what it goes over is in a snapshot by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from shared.adapters.copying import copy_version
from shared.adapters.restoring import delete_blob
from shared.adapters.source import SourceStorage
from shared.adapters.target import Target
from shared.decisions.restored import difference, is_jobs_half, mark, tier_must_be_said
from shared.decisions.restoring import Job, Mode, Place, Step
from shared.errors import BackupExists, BlobChanged, BlobGone, CopyUnverified, SnapkeepError
from shared.model import BlobState
from shared.operations.restore_places import Reading, Unusable, check_bytes, damaged, md5_of

MAX_LOOKS = 4
"""How often a write that was answered in the negative is looked at again, and gone on with."""

POLL_SECONDS = 2.0


class Changed(SnapkeepError):
    """Something else stands there than what the plan found: it is left alone."""


@dataclass(frozen=True)
class Written:
    """A restored blob. `already` when this attempt did not have to write it."""

    state: BlobState
    already: bool


@dataclass(frozen=True)
class BlobRestorer:
    """Writes versions into one container.

    Attributes:
        storage: the account of that container.
        moved: is told of bytes as they are verified.
    """

    storage: SourceStorage
    job: Job
    job_id: str
    moved: Callable[[int], None]

    async def into_container(self, step: Step, reading: Reading) -> Written:
        """Copies the version to where nothing stands, reads it back, and removes it again if it is damaged.

        Raises:
            Unusable: the place does not hold the version undamaged; nothing is left of it.
            Changed: another blob stands there, which is left.
        """
        written = await self._write(step, reading, None)
        if reading.md5 is None:
            return written
        name, found = step.name, written.state
        actual = await md5_of(self.storage, self.job.target, found, self.moved)
        if actual != reading.md5:
            # Somebody may have put a blob of the same size there, even right after the copy: only what has the very
            # bytes of this place is a copy of it, of this attempt or of one that ended before.
            if actual != await self._md5_at(reading):
                raise Changed(_what_stands(step, found))
            await delete_blob(self.storage.account, self.job.target, name, found.version.etag)
            raise damaged(reading, actual)
        return written

    async def _md5_at(self, reading: Reading) -> str:
        try:
            return await md5_of(reading.storage, reading.container, reading.state, _untold)
        except (BlobChanged, BlobGone) as error:
            raise Unusable(f"{reading.held.place}: {error}") from error

    async def in_place(self, step: Step, reading: Reading) -> Written:
        """Puts the version over the blob that the plan found, which is snapshotted first.

        Raises:
            Unusable: the place does not hold the version undamaged; nothing was done.
            Changed: the blob is not the one that the plan found.
        """
        live = await self._standing(step.name, reading)
        if live is None or not is_jobs_half(self.job_id, live):
            if (live.version.etag if live else None) != step.replaces:
                if live is not None and await self._is_wanted(live, reading):
                    return Written(live, already=True)
                raise Changed(_what_stands(step, live))
            if live is not None and live.tier == reading.state.tier and await self._is_wanted(live, reading):
                return Written(live, already=True)  # another version, but no other content: nothing is gained
            half = ""
        else:
            half = "; half of it stands there since an earlier attempt, what was there before is in its newest snapshot"
        try:
            if reading.held.place is Place.BACKUP:
                await check_bytes(reading, self.moved)
            if live is not None and not half:
                await self._snapshot(live)
            return await self._write(step, reading, live)
        except Unusable as error:
            raise Unusable(f"{error}{half}") from error

    async def _snapshot(self, live: BlobState) -> None:
        if await self.storage.snapshot_of(self.job.target, live.version) is None:
            try:
                await self.storage.take_snapshot(self.job.target, live.version)
            except (BlobChanged, BlobGone) as error:
                raise Changed(f"it changed before it could be snapshotted: {error}") from error

    async def _write(self, step: Step, reading: Reading, live: BlobState | None) -> Written:
        source = reading.state
        if tier_must_be_said(self.job, live, reading.state):
            source = replace(source, tier_inferred=False)
        target = Target(
            self.storage.account,
            self.job.target,
            step.name,
            reading.metadata,
            reading.tags,
            live.version.etag if live else None,
            live.blob_type if live else "",
            mark(self.job_id, reading.held),
        )
        refused: SnapkeepError | None = None
        for _ in range(MAX_LOOKS):
            try:
                await copy_version(reading.storage, reading.container, source, target)
                refused = None
            except (BackupExists, BlobChanged, BlobGone) as error:
                refused = error
            found = await self._standing(step.name, reading)
            if found is not None and is_jobs_half(self.job_id, found):
                # Begun by an attempt before, or a piece's answer was lost: it goes on, or from another place anew.
                target = replace(target, replaces=found.version.etag, replaced_type=found.blob_type)
                continue
            if refused is not None and (found.version.etag if found else None) == target.replaces:
                raise Unusable(f"{reading.held.place}: {refused}")  # nothing is wrong where it was to go
            if found is not None and await self._is_wanted(found, reading, just_written=refused is None):
                return Written(found, already=refused is not None)
            raise Changed(_what_stands(step, found))
        raise CopyUnverified(f"{step.name} could not be written in {MAX_LOOKS} attempts: {refused}")

    async def _standing(self, name: str, reading: Reading) -> BlobState | None:
        """What stands under the name, after the service's own copy of the wanted version, if it is at one."""
        while True:
            found = await self.storage.state(self.job.target, name)
            if found is None or found.copying != "pending" or difference(replace(found, copying=""), reading.wanted):
                return found
            await asyncio.sleep(POLL_SECONDS)

    async def _is_wanted(self, found: BlobState, reading: Reading, *, just_written: bool = False) -> bool:
        """Whether this is the wanted version; what was not just written may be anybody's, and is compared in full."""
        if difference(found, reading.wanted) is not None:
            return False
        if just_written:
            return True
        if found.tag_count != len(reading.tags) or await self.storage.tags(self.job.target, found) != reading.tags:
            return False
        if self.job.mode is Mode.CONTAINER and reading.md5 is not None:
            return True  # its bytes are looked at before it counts
        # Whoever writes a blob can give it any Content-MD5: the bytes alone are proof.
        there = await md5_of(self.storage, self.job.target, found, _untold)
        return there == (reading.md5 or await md5_of(reading.storage, reading.container, reading.state, _untold))


def _untold(_size: int) -> None:
    """Comparing is no progress."""


def _what_stands(step: Step, found: BlobState | None) -> str:
    if found is None:
        return "the blob is gone since the plan was made"
    if step.replaces is None:
        return "another blob stands there; it is left as it is"
    return f"somebody changed the blob since the plan was made, at {found.version.last_modified}; it is left as it is"

"""Where a drill restores to, and what is left there of it afterwards: nothing."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import file_digest, md5
from itertools import count
from pathlib import Path
from typing import NamedTuple, Protocol

from shared.adapters.reading import Rate, Stored, md5_of
from shared.adapters.restoring import delete_blob
from shared.adapters.scratch import create_scratch, left_behind, remove_scratch
from shared.adapters.source import SourceStorage
from shared.containers import DRILL_PREFIX
from shared.decisions.restoring import Mode
from shared.errors import CopyUnverified, SnapkeepError
from shared.model import BlobState
from shared.recovery import Recovery
from shared.services import Services

LEFTOVER_AGE = timedelta(days=1)
"""The drill of a scratch container that is older has crashed: none takes so long."""

log = logging.getLogger(__name__)


class Restored(NamedTuple):
    """A version that was restored, as it stands there; a file has bytes alone.

    Attributes:
        md5: of its bytes, as they were read back.
    """

    md5: str
    state: BlobState | None = None
    tags: dict[str, str] | None = None


class Ground(Protocol):
    """A place that belongs to one drill."""

    @property
    def mode(self) -> Mode:
        """How a restore goes there."""

    def target(self) -> str:
        """Where to restore the next version to."""

    async def found(self, target: str, name: str) -> Restored:
        """What came of restoring there.

        Raises:
            CopyUnverified: nothing did.
        """

    async def clear(self, target: str, name: str) -> None:
        """Removes what came of it: another version of the same name may be next."""


@dataclass(frozen=True)
class _Container:
    """A scratch container in the backup account."""

    storage: SourceStorage
    name: str
    mode: Mode = Mode.CONTAINER

    def target(self) -> str:
        return self.name

    async def found(self, target: str, name: str) -> Restored:
        state = await self.storage.state(target, name)
        if state is None:
            raise CopyUnverified(f"{target}/{name}: nothing stands there after it was restored")
        stored = Stored(target, name, state.version.etag, state.version.size)
        actual = await md5_of(self.storage.account, stored, Rate(None))
        return Restored(actual, state, await self.storage.tags(target, state))

    async def clear(self, target: str, name: str) -> None:
        state = await self.storage.state(target, name)
        if state is not None:
            await delete_blob(self.storage.account, target, name, state.version.etag)


class _Directory:
    """A directory, with one of its own for each version: what its file is called there does not matter."""

    mode = Mode.DIRECTORY

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = count()

    def target(self) -> str:
        path = self._path / str(next(self._numbers))
        path.mkdir()
        return str(path)

    async def found(self, target: str, name: str) -> Restored:
        digests = await asyncio.to_thread(_md5s_of_files, Path(target))
        if len(digests) != 1:
            raise CopyUnverified(f"{name}: {len(digests)} files stand there after it was restored")
        return Restored(digests[0])

    async def clear(self, target: str, name: str) -> None:  # noqa: ARG002 -- a directory holds one version alone
        await asyncio.to_thread(shutil.rmtree, target)


def _md5s_of_files(folder: Path) -> list[str]:
    return [_md5_of_file(path) for path in folder.rglob("*") if path.is_file()]


def _md5_of_file(path: Path) -> str:
    with path.open("rb") as file:
        digest = file_digest(file, lambda: md5(usedforsecurity=False))
    return b64encode(digest.digest()).decode()


@asynccontextmanager
async def ground(services: Services, run_id: str, directory: Path | None) -> AsyncIterator[Ground]:
    """A place for one drill, which is removed with all that it holds, whatever happens.

    Args:
        directory: where to make it; None for a container of the backup account.

    Raises:
        SnapkeepError: it could not be made, or not be removed.
    """
    if directory is not None:
        path = Path(tempfile.mkdtemp(prefix=DRILL_PREFIX, dir=directory))
        try:
            yield _Directory(path)
        finally:
            await asyncio.to_thread(shutil.rmtree, path)
        return
    account = services.backup.account
    await _remove_left_behind(services)
    name = await create_scratch(account, run_id)
    try:
        yield _Container(Recovery.of(services).backups, name)
    finally:
        await remove_scratch(account, name)


async def _remove_left_behind(services: Services) -> None:
    """Removes what drills that crashed have left; it takes up room and is no reason not to drill."""
    account = services.backup.account
    try:
        for name in await left_behind(account, services.now() - LEFTOVER_AGE):
            await remove_scratch(account, name)
            log.warning("%s was left behind by a drill that crashed: it is removed", name)
    except SnapkeepError as error:
        log.warning("what earlier drills left behind could not be removed: %s", error)

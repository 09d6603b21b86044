"""Looks at a place that holds a version: can it be taken from there, and what must come of it."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from shared.adapters.source import SourceStorage
from shared.containers import backup_container
from shared.decisions.backups import SOURCE_ETAG, source_metadata
from shared.decisions.restore_steps import ARCHIVED_SNAPSHOT
from shared.decisions.restored import KEPT_MD5, expected_md5
from shared.decisions.restoring import Held, Job, Place, Step
from shared.errors import BlobChanged, BlobGone, SnapkeepError
from shared.model import ARCHIVE, BlobState
from shared.recovery import Recovery

PIECE_BYTES = 8 * 1024 * 1024
"""How much is read at once: all that a blob of any size takes of memory."""

HASHED_ASIDE_BYTES = 256 * 1024
"""Hashing less takes no longer than handing it to a thread."""


class Unusable(SnapkeepError):
    """The version cannot be taken from this place; another may still hold it."""


class Archived(SnapkeepError):
    """The place holds the version in the archive tier, where nothing can be read.

    Attributes:
        reading: what was found there.
    """

    def __init__(self, reading: Reading) -> None:
        super().__init__(f"the {reading.held.place} is in the archive tier")
        self.reading = reading


@dataclass(frozen=True)
class Reading:
    """A version, as it was found at one place, and what a restored blob gets of it.

    Attributes:
        state: the blob at that place.
        metadata: the version's own.
        tags: the version's own.
        md5: what the bytes must hash to; None where nobody knows.
    """

    held: Held
    storage: SourceStorage
    container: str
    state: BlobState
    metadata: dict[str, str]
    tags: dict[str, str]
    md5: str | None

    @property
    def wanted(self) -> BlobState:
        """What a HEAD of the restored blob must tell."""
        return replace(self.state, metadata=self.metadata, copying="")


async def look(recovery: Recovery, job: Job, step: Step, held: Held) -> Reading:
    """What stands at that place by now.

    Raises:
        Unusable: it is not the version that the plan found there, or nobody can look.
        Archived: it is, but must be rehydrated first.
    """
    if held.unusable:
        raise Unusable(f"{held.place}: {held.unusable}")
    storage = recovery.backups if held.place is Place.BACKUP else recovery.source
    if storage is None:
        raise Unusable(f"{held.place}: no source account is configured")
    container = backup_container(job.container) if held.place is Place.BACKUP else job.container
    state = await _state(storage, container, held)
    if state.version.size != held.version.size:
        raise Unusable(f"{held.place}: it holds {state.version.size} bytes, the version {held.version.size}")
    backup = held.place is Place.BACKUP
    if backup and state.metadata.get(SOURCE_ETAG, held.version.etag) != held.version.etag:
        raise Unusable(f"{held.place}: it says that it is another version, {state.metadata[SOURCE_ETAG]}")
    tags = await storage.tags(container, state) if state.tier != ARCHIVE else {}
    md5 = expected_md5(step, state.blob_type, tags if backup else {})
    metadata = source_metadata(state.metadata) if backup else state.metadata
    own_tags = {key: value for key, value in tags.items() if not (backup and key == KEPT_MD5)}
    reading = Reading(held, storage, container, state, metadata, own_tags, md5)
    if state.tier == ARCHIVE and held.place is Place.SNAPSHOT:
        raise Unusable(ARCHIVED_SNAPSHOT)
    if state.tier == ARCHIVE:
        raise Archived(reading)
    return reading


async def _state(storage: SourceStorage, container: str, held: Held) -> BlobState:
    name = held.key if held.place is Place.BACKUP else held.version.name
    snapshot = held.key if held.place is Place.SNAPSHOT else None
    state = await storage.state(container, name, snapshot)
    if held.place is Place.LIVE and (state is None or state.version.etag != held.etag):
        state = await storage.snapshot_of(container, held.version)  # overwritten since the plan, but snapshotted
    if state is None:
        raise Unusable(f"{held.place}: it is gone")
    if state.version.etag != held.etag:
        raise Unusable(f"{held.place}: it was changed since the plan was made")
    return state


async def read_bytes(storage: SourceStorage, container: str, state: BlobState) -> AsyncIterator[bytes]:
    """All bytes of exactly this blob or snapshot, a piece at a time.

    Raises:
        BlobChanged, BlobGone: it is another one by now.
    """
    size = state.version.size
    for offset in range(0, size, PIECE_BYTES):
        yield await storage.read(container, state, offset, min(PIECE_BYTES, size - offset))


class Digest:
    """The MD5 of what passes by, as the service writes it: in base64."""

    def __init__(self) -> None:
        self._digest = hashlib.md5(usedforsecurity=False)

    async def add(self, piece: bytes) -> None:
        if len(piece) < HASHED_ASIDE_BYTES:
            self._digest.update(piece)
        else:
            await asyncio.to_thread(self._digest.update, piece)

    @property
    def value(self) -> str:
        return b64encode(self._digest.digest()).decode()


async def md5_of(storage: SourceStorage, container: str, state: BlobState, moved: Callable[[int], None]) -> str:
    """The MD5 of a blob's bytes, read back; `moved` is told of each piece."""
    digest = Digest()
    async for piece in read_bytes(storage, container, state):
        await digest.add(piece)
        moved(len(piece))
    return digest.value


async def check_bytes(reading: Reading, moved: Callable[[int], None]) -> None:
    """Reads the whole place, where its MD5 is known.

    Raises:
        Unusable: it is damaged, or changed while it was read.
    """
    if reading.md5 is None:
        return
    try:
        actual = await md5_of(reading.storage, reading.container, reading.state, moved)
    except (BlobChanged, BlobGone) as error:
        raise Unusable(f"{reading.held.place}: {error}") from error
    if actual != reading.md5:
        raise damaged(reading, actual)


def damaged(reading: Reading, actual: str) -> Unusable:
    return Unusable(f"{reading.held.place}: damaged, its bytes have the MD5 {actual}, the version {reading.md5}")

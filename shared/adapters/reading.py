"""Reads what is stored in order to prove it: streamed, hashed, at a bounded rate; and keeps hashes as index tags."""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from hashlib import md5
from typing import NamedTuple

from azure.core import MatchConditions

from shared.adapters.accounts import Account
from shared.adapters.translate import azure_errors
from shared.errors import StorageFailed

PIECE_BYTES = 4 * 1024 * 1024
"""How much is asked for in one call: what is held in memory of each blob that is being read."""

MIN_PIECE_BYTES = 64 * 1024


class Stored(NamedTuple):
    """A blob, or a snapshot of one, as it was listed: what is read is that, or nothing."""

    container: str
    name: str
    etag: str
    size: int
    snapshot: str | None = None


class Rate:
    """Lets so many bytes a second pass, over all who take them."""

    def __init__(
        self,
        bytes_per_second: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`bytes_per_second` None is without a bound."""
        self._bytes_per_second = bytes_per_second
        self._clock, self._sleep = clock, sleep
        self._free_at = clock()

    @property
    def piece_bytes(self) -> int:
        """How much is best taken at once: no more than a second's worth."""
        if self._bytes_per_second is None:
            return PIECE_BYTES
        return int(min(PIECE_BYTES, max(MIN_PIECE_BYTES, self._bytes_per_second)))

    async def take(self, size: int) -> None:
        """Waits until `size` bytes may pass; whoever asks first is first."""
        if self._bytes_per_second is None:
            return
        now = self._clock()
        begin = max(now, self._free_at)
        self._free_at = begin + size / self._bytes_per_second
        if begin > now:
            await self._sleep(begin - now)


async def md5_of(account: Account, stored: Stored, rate: Rate) -> str:
    """The MD5, in base64, of the bytes as they are stored, whatever Content-Encoding says of them.

    Raises:
        BlobChanged, BlobGone: it is not what was listed any more.
        Unprotectable: archived, or encrypted with a key that is not ours.
        StorageFailed: it could not be read.
    """
    blob = account.blob(stored.container, stored.name, stored.snapshot)
    digest = md5(usedforsecurity=False)  # what the service keeps is an MD5
    for offset in range(0, stored.size, rate.piece_bytes):
        length = min(rate.piece_bytes, stored.size - offset)
        await rate.take(length)
        with azure_errors(f"read {stored.container}/{stored.name}"):
            stream = await blob.download_blob(
                offset,
                length,
                etag=f'"{stored.etag}"',
                match_condition=MatchConditions.IfNotModified,
                decompress=False,
            )
            piece: bytes = await stream.readall()
        if len(piece) != length:
            raise StorageFailed(f"read {stored.container}/{stored.name}: {len(piece)} bytes came of {length}")
        await asyncio.to_thread(digest.update, piece)
    return b64encode(digest.digest()).decode()


async def tags_of(account: Account, container: str, name: str) -> dict[str, str]:
    """A blob's index tags.

    Raises:
        StorageFailed: among others, an account with a hierarchical namespace has none, and not every identity
            may read them.
    """
    with azure_errors(f"read the tags of {container}/{name}"):
        return dict(await account.blob(container, name).get_blob_tags())


async def set_tags(account: Account, container: str, name: str, tags: dict[str, str]) -> None:
    """Replaces all of a blob's index tags; its ETag stays what it was.

    Raises:
        StorageFailed: among others, not every identity may write them.
    """
    with azure_errors(f"tag {container}/{name}"):
        await account.blob(container, name).set_blob_tags(tags)

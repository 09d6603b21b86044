"""The account that holds the backups: write-once blobs, and a staging container for Data Factory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob.aio import ContainerClient

from shared.adapters.accounts import Account
from shared.adapters.listing import Listing, Page
from shared.adapters.listing_state import Looked
from shared.adapters.properties import blob_state
from shared.adapters.state import State
from shared.adapters.translate import azure_errors
from shared.containers import BACKUP_SUFFIX, STAGING_CONTAINER
from shared.errors import BackupContainerGone, BlobChanged, BlobGone, ContainerNotFound, SnapkeepError
from shared.model import BlobState, Version

log = logging.getLogger(__name__)


class BackupStorage:
    """The backup account's containers and blobs."""

    def __init__(self, account: Account, state: State) -> None:
        self.account = account
        self._state = state
        self.listing = Listing(account)
        self._ready: set[tuple[str, str | None]] = set()
        self._making: dict[str, asyncio.Lock] = {}

    def pages(
        self, container: str, prefix: str = "", marker: str | None = None, *, start_from: str = ""
    ) -> AsyncGenerator[Page]:
        return self.listing.pages(container, prefix=prefix, marker=marker, start_from=start_from)

    async def state(self, container: str, name: str) -> BlobState | None:
        """What stands under this name; None when nothing does."""
        path = self.account.path(container, name)
        try:
            answer = await self.account.calls.send("HEAD", path, "look", f"look at {container}/{name}")
        except (BlobGone, ContainerNotFound):
            return None
        return blob_state(name, answer.headers)

    async def looked_at(self, container: str, prefix: str, page_size: int) -> dict[str, Looked]:
        """The state of the first blobs under a prefix (`Listing.looked_at`)."""
        return await self.listing.looked_at(container, prefix, page_size)

    async def ensure_container(self, container: str, versions_of: str | None = None) -> None:
        """Creates the container on first need, and never a second time.

        That it existed once is marked in the state, after it was created: a crash between the two
        only lets the next call find it there.

        Args:
            versions_of: the source container whose blobs' versions it holds; None for a mirror.

        Raises:
            BackupContainerGone: it existed, and somebody deleted it.
        """
        async with self._making.setdefault(container, asyncio.Lock()):
            if (container, versions_of) in self._ready:
                return
            mark = _mark(container)
            known = await self._state.read(mark)
            client = self.account.service.get_container_client(container)
            with azure_errors(f"create {container}"):
                if not await client.exists():
                    if known is not None:
                        raise _gone(container)
                    await _create(client)
            if known is None or (versions_of is not None and known.get("versions_of") is None):
                await self._state.write(mark, {"container": container, "versions_of": versions_of})
            self._ready.add((container, versions_of))

    async def marked_sources(self, missing_from: set[str]) -> set[str]:
        """Source containers that have backups of versions, but are not among these that exist."""
        found = set()
        for name in await self._state.names("containers/"):
            source = name.removeprefix("containers/").removesuffix(f"{BACKUP_SUFFIX}.json")
            if source in missing_from:
                continue
            mark = await self._state.read(name)
            if mark is not None and mark.get("versions_of") is not None:
                found.add(str(mark["versions_of"]))
        return found - missing_from

    async def check_not_gone(self, container: str) -> None:
        """Tells a missing container that was never needed from one that was deleted.

        Raises:
            BackupContainerGone: it existed, and somebody deleted it.
        """
        if await self._state.read(_mark(container)) is not None:
            raise _gone(container)

    def forget(self, container: str) -> None:
        """Makes the next `ensure_container` look again: a call found the container missing."""
        self._ready = {ready for ready in self._ready if ready[0] != container}

    async def ensure_staging(self) -> None:
        """Creates the staging container when it is missing: it holds nothing that must outlive a copy."""
        client = self.account.service.get_container_client(STAGING_CONTAINER)
        with azure_errors(f"create {STAGING_CONTAINER}"):
            if not await client.exists():
                await _create(client)

    async def discard_staged(self, staged: Version) -> None:
        """Deletes a blob of the staging container, if it is still that one. Nothing else is deleted by this class."""
        blob = self.account.blob(STAGING_CONTAINER, staged.name)
        with (
            contextlib.suppress(BlobGone, BlobChanged),
            azure_errors(f"discard {STAGING_CONTAINER}/{staged.name}"),
        ):
            await blob.delete_blob(etag=f'"{staged.etag}"', match_condition=MatchConditions.IfNotModified)

    async def sweep_staging(self, older_than: str) -> None:
        """Deletes what runs that nobody follows any more left in the staging container.

        Args:
            older_than: a time such as 2026-11-20T14:05:33Z; what was modified since stays.
        """
        with contextlib.suppress(ContainerNotFound):
            async with contextlib.aclosing(self.listing.pages(STAGING_CONTAINER)) as pages:
                async for page in pages:
                    for entry in page.entries:
                        if entry.last_modified < older_than:
                            await self._sweep(entry.version)

    async def _sweep(self, staged: Version) -> None:
        try:
            await self.discard_staged(staged)
        except SnapkeepError as error:
            log.warning("%s; it is left to the next sweep", error)

    async def close(self) -> None:
        await self.listing.close()
        await self.account.close()


async def _create(client: ContainerClient) -> None:
    try:
        await client.create_container()
    except ResourceExistsError as error:
        # Another instance was quicker; but one that is being deleted also "exists", for the SDK.
        if getattr(error, "error_code", None) != "ContainerAlreadyExists":
            raise


def _mark(container: str) -> str:
    return f"containers/{container}.json"


def _gone(container: str) -> BackupContainerGone:
    return BackupContainerGone(
        f"the backup container {container} existed and is gone; restore it (soft delete), or create it anew with "
        f"the policies it needs: it is not created again on its own"
    )

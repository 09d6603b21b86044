"""The two containers of a mirror: their listings, and the deletion of what the source has lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from shared.adapters.accounts import Account
from shared.adapters.listing import Listing
from shared.adapters.translate import azure_errors
from shared.errors import BlobGone, StorageFailed
from shared.model import Entry, IndexedBlob, moment_of, second_of_http_date
from shared.settings import SyncPair


class MirrorContainers:
    """A source container and its mirror. Both accounts belong to the caller; `close` leaves them open."""

    def __init__(self, source: Account, backup: Account, pair: SyncPair) -> None:
        self.pair = pair
        self._source, self._backup = source, backup
        self._source_listing, self._backup_listing = Listing(source), Listing(backup)

    async def source_pages(self) -> AsyncGenerator[list[Entry], None]:
        """The source's live blobs and directories."""
        async for page in self._source_listing.pages(self.pair.source, include="metadata"):
            yield page.entries

    async def backup_pages(self) -> AsyncGenerator[list[Entry], None]:
        """The mirror's live blobs and directories."""
        async for page in self._backup_listing.pages(self.pair.backup, include="metadata"):
            yield page.entries

    async def source_time(self) -> str:
        """The source service's own time: a blob's Last-Modified is compared with no other clock.

        Raises:
            ContainerNotFound: the source container does not exist.
            StorageFailed: the service doesn't answer, or not with its time.
        """
        dates: list[str] = []

        def take_date(response: Any) -> None:
            dates.append(response.http_response.headers.get("Date", ""))

        container = self._source.service.get_container_client(self.pair.source)
        with azure_errors(f"list {self.pair.source}"):
            async for _ in container.list_blob_names(results_per_page=1, raw_response_hook=take_date).by_page():
                break
        try:
            return second_of_http_date(dates[0])
        except (IndexError, ValueError) as error:
            raise StorageFailed(f"list {self.pair.source}: the answer does not tell the service's time") from error

    async def delete_mirrored(self, blob: IndexedBlob) -> bool:
        """Deletes a mirrored file whose source is gone. False when the source has it after all.

        The source is asked for this very name first: a listing that missed a blob must not cost its
        mirror. A file that changed since it was listed, or that has snapshots, is not deleted.

        Raises:
            ContainerNotFound: the source container is gone, which is no deletion of its blobs.
            SnapkeepError: the mirror's service refused, or failed.
        """
        try:
            with azure_errors(f"look at {self.pair.source}/{blob.name}"):
                await self._source.blob(self.pair.source, blob.name).get_blob_properties()
        except BlobGone:
            with azure_errors(f"delete {self.pair.backup}/{blob.name}"):
                await self._backup.blob(self.pair.backup, blob.name).delete_blob(
                    if_unmodified_since=moment_of(blob.last_modified)
                )
            return True
        return False

    async def close(self) -> None:
        await self._source_listing.close()
        await self._backup_listing.close()

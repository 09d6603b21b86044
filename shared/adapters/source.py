"""The account that is protected: read, snapshotted and leased, and never changed in any other way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any
from urllib.parse import quote

from azure.core import MatchConditions

from shared.adapters.accounts import Account
from shared.adapters.leases import HeldLease, held
from shared.adapters.listing import PAGE_SIZE, Listing, Page
from shared.adapters.listing_state import Looked
from shared.adapters.properties import blob_state
from shared.adapters.translate import azure_errors
from shared.errors import BlobGone, ContainerNotFound
from shared.model import BlobState, Version

PASSING_THROUGH = 16
"""How many blobs may be copied through the app at once, 4 MiB of each in memory."""


class SourceStorage:
    """The source account's containers and blobs.

    Attributes:
        passing_through: is held while a blob is copied piece by piece.
    """

    def __init__(self, account: Account, listing: Listing | None = None) -> None:
        self.account = account
        self.passing_through = asyncio.Semaphore(PASSING_THROUGH)
        self.listing = listing or Listing(account)

    async def containers(self) -> list[str]:
        """The names of all containers, in the service's order."""
        with azure_errors("list the source account's containers"):
            return [container.name async for container in self.account.service.list_containers()]

    def pages(
        self,
        container: str,
        prefix: str = "",
        marker: str | None = None,
        *,
        include: str = "snapshots,metadata",
        page_size: int = PAGE_SIZE,
        read_metadata: bool = False,
        start_from: str = "",
    ) -> AsyncGenerator[Page]:
        """The live blobs and their snapshots; metadata comes along because it tells directories."""
        return self.listing.pages(
            container,
            prefix=prefix,
            marker=marker,
            include=include,
            page_size=page_size,
            read_metadata=read_metadata,
            start_from=start_from,
        )

    async def state(self, container: str, name: str, snapshot: str | None = None) -> BlobState | None:
        """What the blob (or one snapshot of it) is now; None when there is none.

        Raises:
            Unprotectable: the service refuses to tell, as with a customer-provided key.
        """
        path = self.account.path(container, name)
        query = f"snapshot={quote(snapshot)}" if snapshot else ""
        try:
            answer = await self.account.calls.send("HEAD", path, "look", f"look at {container}/{name}", query=query)
        except (BlobGone, ContainerNotFound):
            return None
        return blob_state(name, answer.headers, snapshot)

    async def looked_at(self, container: str, prefix: str, page_size: int) -> dict[str, Looked]:
        """The state and tags of the first live blobs under a prefix (`Listing.looked_at`)."""
        return await self.listing.looked_at(container, prefix, page_size)

    async def snapshot_of(self, container: str, version: Version) -> BlobState | None:
        """The snapshot that holds this very version; None when no snapshot does.

        The name's own entries come before those of longer names that begin alike, so this reads on
        only while a page brings nothing else.
        """
        listing = self.listing.pages(container, prefix=version.name, include="snapshots", page_size=1000)
        try:
            async with aclosing(listing) as pages:
                async for page in pages:
                    for entry in page.entries:
                        if entry.name == version.name and entry.snapshot and entry.etag == version.etag:
                            return await self.state(container, version.name, entry.snapshot)
                    if any(entry.name != version.name for entry in page.entries):
                        return None
        except ContainerNotFound:
            return None
        return None

    async def take_snapshot(self, container: str, version: Version) -> None:
        """Snapshots the blob while it is still this version, without metadata.

        With metadata the snapshot would get an ETag of its own, and the version could not be found in it.

        Raises:
            BlobChanged: it is another version by now.
            BlobGone: it does not exist any more.
        """
        await self.account.calls.send(
            "PUT",
            self.account.path(container, version.name),
            "snapshot",
            f"snapshot {container}/{version.name}",
            query="comp=snapshot",
            headers={"If-Match": f'"{version.etag}"'},
        )

    async def tags(self, container: str, source: BlobState) -> dict[str, str]:
        """The index tags of a blob or snapshot; asked for only where its HEAD counts some."""
        if source.tag_count == 0:
            return {}
        blob = self.account.blob(container, source.version.name, source.snapshot)
        with azure_errors(f"read the tags of {container}/{source.version.name}"):
            return dict(await blob.get_blob_tags())

    async def read(self, container: str, source: BlobState, offset: int, length: int) -> bytes:
        """Some bytes of exactly this version.

        Raises:
            BlobChanged: it is another version by now.
        """
        blob = self.account.blob(container, source.version.name, source.snapshot)
        with azure_errors(f"read {container}/{source.version.name}"):
            stream = await blob.download_blob(
                offset,
                length,
                etag=f'"{source.version.etag}"',
                match_condition=MatchConditions.IfNotModified,
                decompress=False,  # the stored bytes, whatever Content-Encoding says of them
            )
            content: bytes = await stream.readall()
            return content

    async def page_ranges(self, container: str, source: BlobState) -> list[tuple[int, int]]:
        """Where a page blob holds data: (offset, length) of each range; all else is zeros."""
        blob = self.account.blob(container, source.version.name, source.snapshot)
        conditions: dict[str, Any] = {
            "etag": f'"{source.version.etag}"',
            "match_condition": MatchConditions.IfNotModified,
        }
        with azure_errors(f"list the pages of {container}/{source.version.name}"):
            return [
                (span.start, span.end - span.start + 1)
                async for span in blob.list_page_ranges(**conditions)
                if span.start is not None and span.end is not None and not span.cleared
            ]

    def leased(self, container: str, version: Version) -> AbstractAsyncContextManager[HeldLease]:
        """Holds a lease on the blob, if it is still this version (`shared.adapters.leases.held`)."""
        return held(self.account.blob(container, version.name), version.etag)

    async def close(self) -> None:
        await self.listing.close()
        await self.account.close()

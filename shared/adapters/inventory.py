"""Fetches Blob Inventories from the accounts that wrote them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.adapters.accounts import Account
from shared.adapters.translate import azure_errors
from shared.errors import BlobGone, ContainerNotFound, InventoryUnusable

PARALLEL_RANGES = 4
"""How many ranges of one file are on their way at once."""


class Inventories:
    """The inventories of one account, in one container of it."""

    def __init__(self, account: Account, container: str) -> None:
        self._account = account
        self._container = container

    async def names(self, days: Sequence[str]) -> list[str]:
        """The names of all that runs of these days, as 2026/11/20, have written.

        Raises:
            InventoryUnusable: there is no such container.
            StorageFailed: it cannot be listed.
        """
        client = self._account.service.get_container_client(self._container)
        try:
            with azure_errors(f"list the inventories in {self._container}"):
                return [name for day in days async for name in client.list_blob_names(name_starts_with=f"{day}/")]
        except ContainerNotFound:
            account = self._account.connection.account_name
            raise InventoryUnusable(
                f"the account {account} has no container {self._container!r} for inventories: see "
                "SNAPKEEP_SOURCE_INVENTORY and SNAPKEEP_BACKUP_INVENTORY"
            ) from None

    async def document(self, name: str) -> Any:
        """A manifest.

        Raises:
            InventoryUnusable: it is not JSON, or gone.
        """
        try:
            with azure_errors(f"read {self._container}/{name}"):
                stream = await self._account.blob(self._container, name).download_blob()
                return json.loads(await stream.readall())
        except (BlobGone, ContainerNotFound):
            raise InventoryUnusable(f"{self._container}/{name} was removed while it was read") from None
        except ValueError as error:
            raise InventoryUnusable(f"{self._container}/{name} is not JSON: {error}") from error

    async def fetch(self, name: str, size: int, path: Path) -> None:
        """Writes a file of an inventory to disk.

        DuckDB could read it where it is, through a file system of fsspec's. Measured: that reads with no more than
        two calls at once, so that it took twice as long in all, for no less CPU; each further pass would fetch
        everything again; and two threads share a file handle, whose position a waiting read mixes up.

        Raises:
            InventoryUnusable: it is gone, or not of this size.
        """
        blob = self._account.blob(self._container, name)
        try:
            with azure_errors(f"read {self._container}/{name}"), path.open("wb") as file:
                stream = await blob.download_blob(max_concurrency=PARALLEL_RANGES, decompress=False)
                written = await stream.readinto(file)
        except (BlobGone, ContainerNotFound):
            raise InventoryUnusable(f"{self._container}/{name}, which the manifest names, is gone") from None
        if written != size:
            raise InventoryUnusable(f"{self._container}/{name} has {written:,} bytes, and its manifest says {size:,}")

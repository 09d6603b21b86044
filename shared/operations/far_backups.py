"""Finds backups that stand nowhere near their blobs' names in a listing: few, and asked for when one is wanted."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing

from shared.decisions.coverage import Backup
from shared.decisions.joining import Joined, is_hashed
from shared.decisions.names import LONG_NAMES
from shared.decisions.shards import Piece, Shard
from shared.errors import ContainerNotFound
from shared.index import ListingIndex
from shared.operations.listed import backup_pages, pages
from shared.operations.looking import backups_named
from shared.services import Services

Found = Mapping[str, Backup]

log = logging.getLogger(__name__)


class FarBackups:
    """Those with hashed names, and those of a blob that has the name of a folder which is cut into shards."""

    def __init__(self, services: Services, container: str, shard: Shard) -> None:
        self._services = services
        self._container = container
        self._apart = "" if shard.whole else shard.own_name
        self._long: ListingIndex | None = None

    def close(self) -> None:
        if self._long is not None:
            self._long.close()
            self._long = None

    async def added_to(self, found: Found, joined: Sequence[Joined]) -> Found:
        """What was found of these names' backups, and those that stand far away.

        Raises:
            SnapkeepError: they could not be asked for.
        """
        hashed = [name for one in joined for name in one.names if is_hashed(name)]
        apart = [name for one in joined if one.group.name == self._apart for name in one.names if name not in found]
        if not hashed and not apart:
            return found
        more: dict[str, Backup] = dict(found)
        if hashed:
            more |= (await self._long_names()).get_many(hashed)
        return more | await backups_named(self._services, self._container, apart)

    async def long_folders(self) -> list[str]:
        """The folders of all backups with hashed names."""
        return sorted({blob.name.rpartition("/")[0] for blob in await self._long_names()})

    async def _long_names(self) -> ListingIndex:
        if self._long is None:
            self._long = ListingIndex()
            where = backup_pages(self._services, self._container)
            try:
                async with aclosing(pages(where, [Piece(f"{LONG_NAMES}/")], Shard())) as listed:
                    async for page in listed:
                        self._long.add_many(page.entries)
            except ContainerNotFound:
                log.debug("reconcile %s: there are no backups", self._container)
        return self._long

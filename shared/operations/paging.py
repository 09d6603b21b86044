"""Looks at many blobs at once: by pages of a listing where they stand close together, with no call for each."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from shared.adapters.backup import BackupStorage
from shared.adapters.listing_state import Looked
from shared.adapters.source import SourceStorage
from shared.decisions.prefixes import Stretch, stretches
from shared.errors import SnapkeepError
from shared.parallel import for_each

PARALLEL_PAGES = 4

log = logging.getLogger(__name__)


async def look_by_pages(
    storage: SourceStorage | BackupStorage, container: str, names: Sequence[str]
) -> dict[str, Looked]:
    """What pages tell of these blobs; of one that is missing here nothing is known, and it takes a call of its own.

    The first page is that of the longest stretch. If it brings less than half of what it was read for, they are
    scattered among others, and no more pages are read.
    """
    wanted = set(names)
    found: dict[str, Looked] = {}

    async def read(stretch: Stretch) -> None:
        page = await storage.looked_at(container, stretch.prefix, stretch.page_size)
        found.update((name, page[name]) for name in wanted & page.keys())

    planned = stretches(names)
    try:
        for first in planned[:1]:
            await read(first)
            if 2 * len(found) >= len(first.names):
                await for_each(planned[1:], read, PARALLEL_PAGES)
    except SnapkeepError as error:
        log.info("%s; each blob is looked at by itself", error)
    return found

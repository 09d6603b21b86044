"""Looks at single blobs in the accounts themselves: what a hint from elsewhere is worth."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing

from shared.containers import backup_container
from shared.decisions.changes import Group, grouped
from shared.decisions.coverage import Coverage, coverage
from shared.decisions.names import backup_name, refusal
from shared.model import BlobState, Entry, IndexedBlob
from shared.services import Services

PAGE = 1000


async def look(services: Services, container: str, name: str) -> tuple[bool, Coverage]:
    """Whether the blob is there, and what it lacks: one listing of its name, and a HEAD for each version's backup.

    Raises:
        SnapkeepError: it cannot be told.
    """
    group = await _listed(services, container, name)
    live_alone = services.settings.history == "current"
    entries = [entry for entry in group.entries if not live_alone or entry.snapshot is None]
    if refusal(name):
        entries = []  # of which no call can be made
    backups = await backups_of(services, container, entries)
    return group.blob is not None, coverage(group, backups, services.settings.history)


async def backups_of(services: Services, container: str, entries: Iterable[Entry]) -> dict[str, IndexedBlob]:
    """The backups that these versions have now, as a listing would tell of them."""
    return await backups_named(services, container, {backup_name(entry.version) for entry in entries})


async def backups_named(services: Services, container: str, names: Iterable[str]) -> dict[str, IndexedBlob]:
    """Those of a container's backups that have these names."""
    found = {}
    for name in names:
        state = await services.backup.state(backup_container(container), name)
        if state is not None:
            found[name] = _indexed(state)
    return found


def _indexed(state: BlobState) -> IndexedBlob:
    version = state.version
    return IndexedBlob(version.name, version.size, state.md5, state.blob_type, version.last_modified)


async def _listed(services: Services, container: str, name: str) -> Group:
    """All entries of this name: they come before those of longer names that begin alike."""
    entries: list[Entry] = []
    async with aclosing(services.source.pages(container, name, page_size=PAGE)) as pages:
        async for page in pages:
            entries += [entry for entry in page.entries if entry.name == name]
            if any(entry.name != name for entry in page.entries):
                break
    return grouped(entries) if entries else Group(name, None, ())

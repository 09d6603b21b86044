"""Looks at single blobs in the accounts themselves: what a hint from elsewhere is worth, and what is to be done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import aclosing

from shared.containers import backup_container
from shared.decisions.changes import Group, grouped
from shared.decisions.coverage import Coverage, coverage
from shared.decisions.names import backup_name
from shared.model import BlobState, Entry, IndexedBlob, Version
from shared.operations.filling import Filled, fill, request_backups, take_snapshots
from shared.services import Services

PAGE = 1000


async def look(services: Services, container: str, name: str) -> tuple[bool, Coverage]:
    """Whether the blob is there, and what it lacks: one listing of its name, and a HEAD for each version's backup.

    Raises:
        SnapkeepError: it cannot be told.
    """
    group = await _listed(services, container, name)
    live_alone = services.settings.history == "current"
    entries = [entry for entry in _entries(group) if not live_alone or entry.snapshot is None]
    backups = await backups_of(services, container, entries)
    return group.blob is not None, coverage(group, backups, services.settings.history)


async def backups_of(services: Services, container: str, entries: Iterable[Entry]) -> dict[str, IndexedBlob]:
    """The backups that these versions have now, as a listing would tell of them."""
    found = {}
    for name in {backup_name(entry.version) for entry in entries}:
        state = await services.backup.state(backup_container(container), name)
        if state is not None:
            found[name] = indexed(state)
    return found


async def fill_in(
    services: Services, container: str, to_request: Sequence[Version], to_snapshot: Sequence[Version]
) -> Filled:
    """Requests backups, and then takes snapshots; of a blob that has changed meanwhile, both of what it is now.

    Raises:
        StorageFailed: a request could not be put on the queue, or the service was not to be had.
    """
    filled = Filled()
    await request_backups(services, container, to_request, filled)
    changed = await take_snapshots(services, container, to_snapshot, filled)
    await fill(services, container, changed, filled)
    return filled


def indexed(state: BlobState) -> IndexedBlob:
    """What an index of a listing would keep of this blob."""
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


def _entries(group: Group) -> list[Entry]:
    return [*group.snapshots, *([group.blob] if group.blob is not None else [])]

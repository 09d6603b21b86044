"""Finds the latest inventories of both accounts that can be used, and brings their files to this machine."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from shared.adapters.inventory import Inventories
from shared.decisions.inventory import (
    MAX_AGE,
    Listed,
    Manifest,
    Part,
    Side,
    manifests_of,
    parse_manifest,
    passed_over,
    refusal,
    rows_missing,
    total_bytes,
)
from shared.errors import InventoryUnusable
from shared.inventory_index import InventoryIndex
from shared.model import second_of
from shared.parallel import for_each, in_thread
from shared.services import Services
from shared.settings import INVENTORY_SETTINGS, InventoryPlace

PARALLEL_FILES = 2
BYTES_OF_A_VERSION = 64
"""What DuckDB writes to disk, at most, for each row that does not fit in memory."""

log = logging.getLogger(__name__)


async def fetch(services: Services, index: InventoryIndex, folder: Path) -> Listed:
    """Hands the index the files of both accounts' latest inventories.

    Raises:
        InventoryUnusable: one is missing, old, failed or damaged, or there is no room for it.
        StorageFailed: it could not be read.
    """
    settings = services.settings
    places = dict(zip(Side, (settings.source_inventory, settings.backup_inventory), strict=True))
    missing = [name for name, place in zip(INVENTORY_SETTINGS, places.values(), strict=True) if place is None]
    if missing:
        raise InventoryUnusable(
            f"{' and '.join(missing)}: missing; expects the container and the rule of that account's Blob Inventory, "
            "such as inventory/snapkeep"
        )
    notes: list[str] = []
    found = {side: await _latest(services, side, place, notes) for side, place in places.items() if place}
    _check_room(folder, [manifest for _, manifest in found.values()])
    for side, (inventories, manifest) in found.items():
        rows = await _add(index, side, inventories, manifest, folder)
        if short := rows_missing(manifest, rows):
            raise InventoryUnusable(short)
        log.info("reconcile: the %s account's inventory of %s, %d rows", side, manifest.started_at, rows)
    return Listed(found[Side.SOURCE][1], found[Side.BACKUP][1], tuple(notes))


async def _latest(
    services: Services, side: Side, place: InventoryPlace, notes: list[str]
) -> tuple[Inventories, Manifest]:
    """The latest run that ended well; what it passes over is noted."""
    account = (services.source if side is Side.SOURCE else services.backup).account
    inventories = Inventories(account, place.container)
    now = services.now()
    days = [f"{now - timedelta(days=back):%Y/%m/%d}" for back in range(MAX_AGE.days + 3)]
    where = f"rule {place.rule} in {place.container} of the {side} account"
    passed: list[str] = []
    for name in manifests_of(await inventories.names(days), place.rule):
        manifest = parse_manifest(await inventories.document(name), name)
        why = passed_over(manifest)
        if why is not None:
            passed.append(f"{where}: {why}")
            continue
        refused = refusal(manifest, side, account.connection.account_name, now)
        if refused:
            raise InventoryUnusable("; ".join([refused, *passed]))
        notes += passed
        return inventories, manifest
    began = second_of(now - timedelta(days=len(days) - 1))[:10]
    raise InventoryUnusable("; ".join([f"{where}: no run since {began} ended well", *passed]))


def _check_room(folder: Path, manifests: Sequence[Manifest]) -> None:
    rows = sum(manifest.summary.objects or 0 for manifest in manifests)
    needed = total_bytes(manifests) + rows * BYTES_OF_A_VERSION
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InventoryUnusable(
            f"the inventories need up to {needed / 1e9:,.1f} GB in {folder.parent}, which has {free / 1e9:,.1f}: "
            "make room there, or name another folder in TMPDIR"
        )


async def _add(index: InventoryIndex, side: Side, inventories: Inventories, manifest: Manifest, folder: Path) -> int:
    """How many rows the files have: two are fetched at once, while the index takes another."""
    rows = 0
    one_at_a_time = asyncio.Lock()

    async def add(numbered: tuple[int, Part]) -> None:
        nonlocal rows
        number, part = numbered
        path = folder / f"{side}-{number}.{manifest.format}"
        await inventories.fetch(part.blob, part.size, path)
        async with one_at_a_time:
            rows += await in_thread(lambda: index.add(side, path, manifest.format), index.interrupt)

    await for_each(enumerate(manifest.files), add, PARALLEL_FILES)
    return rows

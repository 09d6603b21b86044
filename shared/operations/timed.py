"""What the timer `reconcile` does: the whole reconciliation, or, every few minutes, what the change feed tells.

With the change feed the timer's schedule is to be one of minutes. Each run follows the feed; the first one after
`SNAPKEEP_RECONCILE_AT` goes on to the whole reconciliation, and those after it until that is through. Nothing must be
kept alive between two runs: the timer is a singleton, it catches up after an outage, and the state tells what is due.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from shared.adapters.changefeed import ChangeFeed
from shared.errors import AlreadyRunning
from shared.model import moment_of
from shared.operations.changefeed import Followed, follow
from shared.operations.container_pass import told
from shared.operations.inventory import reconcile_from_inventory
from shared.operations.reconcile import CHECKPOINT, LATEST, reconcile
from shared.services import Services

log = logging.getLogger(__name__)


async def reconcile_on_timer(services: Services, *, elapsed: Callable[[], float]) -> dict[str, Any] | Followed:
    """One run of the timer; gives the report of the reconciliation, or what came of following the feed alone.

    A feed that is absent, or cannot be read, keeps no reconciliation from being made.

    Raises:
        AlreadyRunning, InventoryUnusable, LeaseUnavailable, StorageFailed: as `reconcile`.
    """
    if services.settings.change_feed:
        followed = await _followed(services, elapsed)
        if not await _is_due(services):
            return followed
    if services.settings.reconcile_from == "inventory":
        return await reconcile_from_inventory(services, elapsed=elapsed)
    return await reconcile(services, elapsed=elapsed)


async def _followed(services: Services, elapsed: Callable[[], float]) -> Followed:
    try:
        return await follow(services, ChangeFeed(services.source.account), elapsed=elapsed)
    except AlreadyRunning as other:
        return Followed(complete=False, reason=str(other))
    except Exception as error:  # noqa: BLE001 -- whatever it is, the reconciliation is made
        return Followed(complete=False, reason=told("the change feed", error))


async def _is_due(services: Services) -> bool:
    """Whether the last whole reconciliation is unfinished, or was begun before the time of day for it last came."""
    latest = await services.state.progress(LATEST)
    if latest is None or await services.state.names(CHECKPOINT):
        return True
    return moment_of(latest["started_at"]) < last_time(services.settings.reconcile_at, services.now())


def last_time(of_day: str, now: datetime) -> datetime:
    """When this time of day, as 02:30 in UTC, last was."""
    hour, minute = map(int, of_day.split(":"))
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return today if today <= now else today - timedelta(days=1)

"""Moments between writes: Last-Modified has whole seconds, so that a test of two moments must let one go by."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from shared.model import second_of


async def moment_between() -> str:
    """A second that all writes before are not after, and all writes from now on are.

    Azurite stamps blobs by this machine's clock.
    """
    now = datetime.now(UTC)
    following = now.replace(microsecond=0) + timedelta(seconds=1, milliseconds=5)
    await asyncio.sleep((following - now).total_seconds())
    return second_of(now)

"""What the model runs on: an Azurite whose clock is fast for the blobs, and an ordinary one for queue and state."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from local.azurite import BACKUP, SOURCE, Azurite, connection_string

DAYS_AGO = 2000
"""Where the fast clock begins. It meets the true time only after two days."""

SPEED = 1000
SECOND = 1.1 / SPEED
"""How long a second of the fast clock takes, and a little more."""

_FAST_CLOCK = Path(__file__).parent / "fast_clock.cjs"


@contextlib.asynccontextmanager
async def running_storage() -> AsyncIterator[dict[str, str]]:
    """The connections of an app's settings. Leases and queues live on a clock of 60 seconds a minute."""
    fast = Azurite(
        environment={
            "NODE_OPTIONS": f'--require "{_FAST_CLOCK}"',
            "FAST_CLOCK_SPEED": str(SPEED),
            "FAST_CLOCK_DAYS_AGO": str(DAYS_AGO),
        }
    )
    ordinary = Azurite()
    try:
        await fast.start()
        await ordinary.start()
        own = connection_string(BACKUP, ordinary.blob_port, ordinary.queue_port)
        yield {
            "SourceStorage": connection_string(SOURCE, fast.blob_port, fast.queue_port),
            "BackupStorage": connection_string(BACKUP, fast.blob_port, fast.queue_port),
            "BackupQueue": own,
            "AzureWebJobsStorage": own,
        }
    finally:
        await ordinary.stop()
        await fast.stop()

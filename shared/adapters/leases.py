"""Holds a blob's lease for as long as a block of code runs: finite, renewed, and always given back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from azure.core import MatchConditions
from azure.storage.blob.aio import BlobClient, BlobLeaseClient

from shared.adapters.translate import azure_errors
from shared.errors import BlobGone, ContainerNotFound, LeaseUnavailable, SnapkeepError, StorageFailed

LEASE_SECONDS = 60
"""The longest finite lease: after a crash it is gone within a minute."""

RENEW_SECONDS = 20

log = logging.getLogger(__name__)


class HeldLease:
    """A lease while it is held. `lost` is set when it could not be renewed: trust nothing done since."""

    def __init__(self, lease_id: str) -> None:
        self.lease_id = lease_id
        self.lost = asyncio.Event()


@contextlib.asynccontextmanager
async def held(blob: BlobClient, etag: str | None = None) -> AsyncIterator[HeldLease]:
    """Acquires a lease on `blob`, only while it still has `etag` if one is given, and renews it.

    Raises:
        LeaseUnavailable: somebody else holds a lease on it.
        BlobChanged: it has another ETag.
        BlobGone: it does not exist.
    """
    client = BlobLeaseClient(blob)
    conditions: dict[str, Any] = {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified} if etag else {}
    with azure_errors(f"lease {blob.blob_name}"):
        await client.acquire(LEASE_SECONDS, **conditions)
    lease = HeldLease(client.id)
    renewal = asyncio.create_task(_renew(client, lease, blob.blob_name))
    try:
        yield lease
    finally:
        renewal.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewal
        await asyncio.shield(_release(client, blob.blob_name))


async def _renew(client: BlobLeaseClient, lease: HeldLease, name: str) -> None:
    loop = asyncio.get_running_loop()
    # How long after its last renewal it still counts as held: less than it lasts, since clocks differ.
    trusted_seconds = LEASE_SECONDS - RENEW_SECONDS
    renewed_at = loop.time()
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        begun = loop.time()
        try:
            # A call that hangs must not keep the holder in the belief that it still holds the lease.
            async with asyncio.timeout_at(renewed_at + trusted_seconds):
                with azure_errors(f"renew the lease of {name}"):
                    await client.renew()
            renewed_at = begun
        except StorageFailed as error:
            log.warning("%s", error)  # the lease may outlive a short outage
            if loop.time() < renewed_at + trusted_seconds:
                continue
            lease.lost.set()
            return
        except (SnapkeepError, TimeoutError) as error:
            log.warning("the lease of %s is lost: %s", name, error or "its renewal was not answered in time")
            lease.lost.set()
            return


async def _release(client: BlobLeaseClient, name: str) -> None:
    try:
        with azure_errors(f"release the lease of {name}"):
            await client.release()
    except (LeaseUnavailable, BlobGone, ContainerNotFound) as gone:
        log.info("nothing left to release: %s", gone)
    except StorageFailed as error:
        log.warning("%s; it ends by itself within %s s", error, LEASE_SECONDS)

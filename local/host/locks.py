"""One instance at a time: a lock that all instances of an app share, as a lease on a blob in the host's
storage.

From azure-webjobs-sdk, SingletonManager and SingletonListener. The platform takes listener locks for 60 s and
asks for a lock that is taken every 60 s; here both are settings, since a host that was killed is wanted back
sooner.
"""

import asyncio
import logging
import time

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobLeaseClient, ContainerClient

from local.host.logtext import one_line

_log = logging.getLogger(__name__)


class InstanceLock:
    """`seconds` is the lease's length: 15 to 60, as the Blob service demands."""

    def __init__(self, container: ContainerClient, blob_name: str, seconds: int) -> None:
        self._container = container
        self._blob = container.get_blob_client(blob_name)
        self._seconds = seconds
        self._lease: BlobLeaseClient | None = None
        self._held_until = 0.0

    async def try_acquire(self) -> bool:
        """False when another instance has it. Raises AzureError when storage does not answer."""
        lease = BlobLeaseClient(self._blob)
        asked = time.monotonic()
        try:
            try:
                await lease.acquire(lease_duration=self._seconds)
            except ResourceNotFoundError:
                await self._create_blob()
                await lease.acquire(lease_duration=self._seconds)
        except ResourceExistsError:
            # 409 LeaseAlreadyPresent.
            return False
        self._lease, self._held_until = lease, asked + self._seconds
        return True

    async def keep(self) -> None:
        """Renews the lock; returns when it is lost."""
        while self._lease is not None:
            await asyncio.sleep(self._seconds / 3)
            asked = time.monotonic()
            try:
                await self._lease.renew()
                self._held_until = asked + self._seconds
            except AzureError as error:
                answered = isinstance(error, HttpResponseError) and error.status_code in {404, 409, 412}
                if answered or time.monotonic() >= self._held_until:
                    self._lease = None
                    return
                _log.warning("The lock %s could not be renewed: %s", self._blob.blob_name, one_line(error))

    async def release(self) -> None:
        lease, self._lease = self._lease, None
        if lease is None:
            return
        try:
            await lease.release()
        except AzureError as error:
            _log.warning("The lock %s ends by itself: %s", self._blob.blob_name, one_line(error))

    async def _create_blob(self) -> None:
        try:
            await self._container.create_container()
        except ResourceExistsError:
            _log.debug("The container %s is there already", self._container.container_name)
        try:
            await self._blob.upload_blob(b"", overwrite=False)
        except ResourceExistsError:
            _log.debug("Another instance created the lock %s", self._blob.blob_name)

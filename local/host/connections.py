"""Storage clients for the connections that triggers and the host name.

The Functions convention: `<Name>` is a connection string, or `<Name>__blobServiceUri` /
`<Name>__queueServiceUri` with an identity (`__credential=managedidentity` and `__clientId` for a chosen one).
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from azure.core.credentials_async import AsyncTokenCredential
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from local.host.errors import HostStartError

# Listeners wait and ask again by themselves: the clients' own retries, a minute a call by default, stay short.
RETRIES: Mapping[str, Any] = {
    "initial_backoff": 1,
    "increment_base": 2,
    "random_jitter_range": 1,
    "retry_total": 2,
}


class Connections:
    """Clients by connection name, closed together."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._open = AsyncExitStack()

    async def queues(self, name: str) -> QueueServiceClient:
        if text := self._environment.get(name):
            try:
                client = QueueServiceClient.from_connection_string(text, **RETRIES)
            except ValueError as error:
                raise _malformed(name, error) from None
        else:
            uri = self._service_uri(name, "queueServiceUri")
            client = QueueServiceClient(uri, credential=await self._identity(name), **RETRIES)
        return await self._open.enter_async_context(client)

    async def blobs(self, name: str) -> BlobServiceClient:
        if text := self._environment.get(name):
            try:
                client = BlobServiceClient.from_connection_string(text, **RETRIES)
            except ValueError as error:
                raise _malformed(name, error) from None
        else:
            uri = self._service_uri(name, "blobServiceUri")
            client = BlobServiceClient(uri, credential=await self._identity(name), **RETRIES)
        return await self._open.enter_async_context(client)

    async def close(self) -> None:
        await self._open.aclose()

    def _service_uri(self, name: str, what: str) -> str:
        uri = self._environment.get(f"{name}__{what}")
        if not uri:
            raise HostStartError(
                f"connection {name} is not set: put a connection string in {name}, or a URL in {name}__{what}"
            )
        return uri

    async def _identity(self, name: str) -> AsyncTokenCredential:
        client_id = self._environment.get(f"{name}__clientId")
        credential: DefaultAzureCredential | ManagedIdentityCredential
        if self._environment.get(f"{name}__credential", "").lower() == "managedidentity":
            credential = ManagedIdentityCredential(client_id=client_id)
        else:
            credential = DefaultAzureCredential(managed_identity_client_id=client_id)
        return await self._open.enter_async_context(credential)


def _malformed(name: str, error: ValueError) -> HostStartError:
    # The SDK's messages name the part that is missing, never its value.
    return HostStartError(f"connection {name} is not a storage connection string: {error}")

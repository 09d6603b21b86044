"""Reaches storage accounts: credentials, clients, and what lets the service read a copy's source.

Clients are made on first use, inside the running event loop, and share one connection pool per account.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from azure.core.credentials_async import AsyncTokenCredential
from azure.storage.blob import AccountSasPermissions, BlobSasPermissions, Services, generate_blob_sas
from azure.storage.blob.aio import BlobClient, BlobServiceClient

from shared.adapters.calls import Calls, proxy_of
from shared.adapters.pacing import DEFAULT_CAP
from shared.adapters.retrying import StorageRetry
from shared.adapters.signing import USER_AGENT, Bearer, Signature
from shared.connections import Connection
from shared.decisions.names import refusal
from shared.errors import BlobGone


def credential_of(connection: Connection) -> AsyncTokenCredential:
    """The identity that a connection names: a service principal, a managed identity, or the machine's own."""
    # Imported here: azure-identity takes half a second to import, and account keys do without.
    from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential, ManagedIdentityCredential

    if connection.client_id and connection.tenant_id and connection.client_secret:
        return ClientSecretCredential(connection.tenant_id, connection.client_id, connection.client_secret)
    if connection.managed_identity:
        return ManagedIdentityCredential(client_id=connection.client_id)
    if connection.client_id:
        return DefaultAzureCredential(managed_identity_client_id=connection.client_id)
    return DefaultAzureCredential()


def client_options(endpoint: str) -> dict[str, Any]:
    """What every storage client is made with: the app's name, time limits, retries, and the environment's proxy.

    The SDK would look for a proxy at each call, in a thread: as much work as all else that it does for a call.
    """
    proxy = proxy_of(endpoint)
    return {
        "user_agent": USER_AGENT,
        "connection_timeout": 10,
        "read_timeout": 60,
        "retry_policy": StorageRetry(),
        "use_env_settings": False,
        "proxies": {urlsplit(endpoint).scheme: proxy} if proxy else None,
    }


_CALLS = AccountSasPermissions(read=True, write=True, create=True, tag=True)
"""What a SAS for `Account.calls` allows: to look at blobs, to snapshot them, and to copy."""


class Account:
    """One storage account's blob service.

    Attributes:
        service: the SDK's client, for all calls but those that are made for every blob.
        calls: makes those.
    """

    def __init__(self, connection: Connection, calls_at_once: int = DEFAULT_CAP) -> None:
        self.connection = connection
        self.endpoint = connection.blob_endpoint
        self.credential = None if connection.connection_string else credential_of(connection)
        options = client_options(self.endpoint)
        if connection.connection_string:
            self.service = BlobServiceClient.from_connection_string(connection.connection_string, **options)
        else:
            self.service = BlobServiceClient(self.endpoint, self.credential, **options)
        self.bearer = Bearer(self.credential) if self.credential else None
        self.calls = Calls(
            self.endpoint,
            Signature(connection, self.credential, _CALLS, services=Services(blob=True)),
            self.bearer,
            calls_at_once,
        )

    def blob(self, container: str, name: str, snapshot: str | None = None) -> BlobClient:
        """A client of one blob.

        Raises:
            BlobGone: no call can reach a blob of this name (`shared.decisions.names.refusal`).
        """
        check_name(container, name)
        return self.service.get_blob_client(container, name, snapshot=snapshot)

    def path(self, container: str, name: str) -> str:
        """Where a blob is, for `calls`.

        Raises:
            BlobGone: as with `blob`.
        """
        check_name(container, name)
        return f"{container}/{quote(name, safe='/~')}"

    async def readable_url(self, container: str, name: str, snapshot: str | None = None) -> tuple[str, str | None]:
        """An address from which the Blob service can read a blob, and the authorization to send along.

        With identities that is a bearer token (`x-ms-copy-source-authorization`); with an account
        key a read-only SAS of this one blob or snapshot, valid for an hour; with a SAS, that SAS.
        """
        url = f"{self.endpoint}/{container}/{quote(name, safe='/~')}"
        query = [f"snapshot={quote(snapshot)}"] if snapshot else []
        if self.bearer is not None:
            return "?".join([url, *query]), await self.bearer.header()
        query.append(self.connection.sas or self._sas(container, name, snapshot))
        return f"{url}?{'&'.join(query)}", None

    def _sas(self, container: str, name: str, snapshot: str | None) -> str:
        return generate_blob_sas(
            self.connection.account_name,
            container,
            name,
            snapshot=snapshot,
            account_key=self.connection.account_key,
            permission=BlobSasPermissions(read=True),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )

    async def close(self) -> None:
        await self.calls.close()
        await self.service.close()
        if self.credential is not None:
            await self.credential.close()


def check_name(container: str, name: str) -> None:
    """Refuses what no call can reach.

    Raises:
        BlobGone: a path segment of the name is one that HTTP would resolve.
    """
    refused = refusal(name)
    if refused:
        raise BlobGone(f"{container}/{name}: {refused}")

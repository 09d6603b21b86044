"""Lets calls that do not go through the SDK's clients in: with a bearer token, or with a SAS in their address.

An account SAS stands in for Shared Key: nothing public in azure-core signs requests with an account key, and a SAS
needs no signing of each. It is made here, lives for two hours, and leaves the process in addresses of calls alone.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from time import time

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.storage.blob import AccountSasPermissions, ResourceTypes, Services, generate_account_sas

from shared import __version__
from shared.connections import Connection

USER_AGENT = f"snapkeep/{__version__}"
STORAGE_SCOPE = "https://storage.azure.com/.default"
_RENEW_SECONDS = 300
"""How long before its end a token is renewed, as azure-core's own policy has it."""


class Signature:
    """An account SAS that is made anew every hour; nothing where the calls bring a token."""

    def __init__(
        self,
        connection: Connection,
        credential: AsyncTokenCredential | None,
        permissions: AccountSasPermissions,
        *,
        services: Services,
    ) -> None:
        self._connection = connection
        self._permissions, self._services = permissions, services
        self._fixed = "" if credential is not None else connection.sas
        self._sas = ""
        self._renew_at = 0.0

    def query(self) -> str:
        """What is added to an address to be let in, without a leading `?` or `&`."""
        if self._fixed is not None:
            return self._fixed
        if time() >= self._renew_at:
            self._sas = generate_account_sas(
                self._connection.account_name,
                self._connection.account_key or "",
                ResourceTypes(container=True, object=True),
                self._permissions,
                datetime.now(UTC) + timedelta(hours=2),
                services=self._services,
            )
            self._renew_at = time() + 3600
        return self._sas


class Bearer:
    """A token for storage, kept until shortly before it ends."""

    def __init__(self, credential: AsyncTokenCredential) -> None:
        self._credential = credential
        self._token: AccessToken | None = None
        self._renewing = asyncio.Lock()

    async def header(self) -> str:
        """What goes into `Authorization`.

        Raises:
            ClientAuthenticationError: the identity gets no token.
        """
        token = self._token
        if token is None or token.expires_on - time() < _RENEW_SECONDS:
            async with self._renewing:
                if self._token is token:
                    self._token = await self._credential.get_token(STORAGE_SCOPE)
                token = self._token
        return f"Bearer {token.token}"  # type: ignore[union-attr]  # it was just got

    def forget(self, header: str) -> None:
        """Gets another the next time: the service has refused this one."""
        if self._token is not None and header == f"Bearer {self._token.token}":
            self._token = None

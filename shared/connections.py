"""How a storage account is reached: read from settings in the Functions platform's own form.

One app setting serves the trigger and this code alike: `<Name>` holds a connection string, or
`<Name>__blobServiceUri` and its like name an account that is reached with an identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from shared.errors import SettingsError


@dataclass(frozen=True)
class Connection:
    """How to reach one storage account: by a connection string, or by address and identity."""

    name: str
    connection_string: str | None = None
    blob_uri: str | None = None
    queue_uri: str | None = None
    dfs_uri: str | None = None
    managed_identity: bool = False
    client_id: str | None = None
    tenant_id: str | None = None
    client_secret: str | None = None

    @property
    def usable(self) -> bool:
        """Whether it names an account at all: one of wrong settings does not."""
        return bool(self.connection_string or self.blob_uri or self.queue_uri)

    def part(self, key: str) -> str | None:
        """One `Key=Value` part of the connection string; None without it."""
        for part in (self.connection_string or "").split(";"):
            name, _, value = part.partition("=")
            if name.strip().lower() == key.lower():
                return value.strip()
        return None

    @property
    def blob_endpoint(self) -> str:
        """The address of the account's blob service, without a trailing slash or a SAS."""
        return self._endpoint("blob", self.blob_uri)

    @property
    def queue_endpoint(self) -> str:
        """The address of the account's queue service, without a trailing slash or a SAS."""
        return self._endpoint("queue", self.queue_uri)

    @property
    def sas(self) -> str | None:
        """The shared access signature that the connection string brings, without a leading `?`."""
        signature = self.part("SharedAccessSignature")
        return signature.lstrip("?") if signature else None

    @property
    def account_key(self) -> str | None:
        return self.part("AccountKey")

    @property
    def account_name(self) -> str:
        name = self.part("AccountName")
        if name:
            return name
        address = urlsplit(self.blob_endpoint)
        host = address.hostname or ""
        return address.path.strip("/") if _is_loopback(host) else host.partition(".")[0]

    def _endpoint(self, service: str, uri: str | None) -> str:
        if self.connection_string is None:
            if uri is None:
                raise SettingsError(f"{self.name}__{service}ServiceUri is missing")
            return uri.rstrip("/")
        endpoint = self.part(f"{service.capitalize()}Endpoint")
        if endpoint:
            return endpoint.rstrip("/")
        scheme = self.part("DefaultEndpointsProtocol") or "https"
        suffix = self.part("EndpointSuffix") or "core.windows.net"
        return f"{scheme}://{self.part('AccountName')}.{service}.{suffix}"

    def __repr__(self) -> str:
        return f"Connection({self.name!r})"


def connection_of(given: Mapping[str, str], name: str, services: tuple[str, ...], problems: list[str]) -> Connection:
    """The connection `name` of these settings; what is wrong with it is added to `problems`.

    Args:
        services: the services that it must reach: `blob`, `queue`.
    """
    text = given.get(name)
    uris = {service: given.get(f"{name}__{service}ServiceUri") for service in ("blob", "queue", "dfs")}
    account = given.get(f"{name}__accountName")
    if account:
        for service in services:
            uris[service] = uris[service] or f"https://{account}.{service}.core.windows.net"
    for service, uri in uris.items():
        try:
            if uri:
                address(uri)
        except ValueError as wrong:
            problems.append(f"{name}__{service}ServiceUri: {wrong}")
    if text is None:
        problems.extend(
            f"{name}: missing; expects a connection string in {name}, or an address in "
            f"{name}__{service}ServiceUri, such as https://account.{service}.core.windows.net"
            for service in services
            if not uris[service]
        )
    else:
        problems.extend(_malformed(Connection(name, text), services))
    credential = given.get(f"{name}__credential")
    if credential not in {None, "managedidentity"}:
        problems.append(f"{name}__credential: expects managedidentity, or nothing; got {credential!r}")
    secret = given.get(f"{name}__clientSecret")
    if secret and not (given.get(f"{name}__clientId") and given.get(f"{name}__tenantId")):
        problems.append(f"{name}__clientSecret: needs {name}__clientId and {name}__tenantId beside it")
    return Connection(
        name,
        connection_string=text,
        blob_uri=uris["blob"],
        queue_uri=uris["queue"],
        dfs_uri=uris["dfs"],
        managed_identity=credential is not None,
        client_id=given.get(f"{name}__clientId"),
        tenant_id=given.get(f"{name}__tenantId"),
        client_secret=secret,
    )


def _malformed(connection: Connection, services: tuple[str, ...]) -> list[str]:
    shown = f"{connection.name}: malformed (its text is not shown here); expects a connection string"
    if not connection.sas and not (connection.part("AccountName") and connection.account_key):
        return [f"{shown} such as DefaultEndpointsProtocol=https;AccountName=...;AccountKey=..."]
    endpoints = [f"{service.capitalize()}Endpoint" for service in services]
    return [
        f"{shown} with {endpoint}=https://... or AccountName=... in it"
        for endpoint in endpoints
        if not (connection.part("AccountName") or connection.part(endpoint))
    ]


def address(value: str) -> str:
    """The text, when it is the plain address of a service.

    Raises:
        ValueError: it is not, or holds what no address of a setting should.
    """
    parts = urlsplit(value)
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("expects a plain address, without a query, a SAS or a password (its text is not shown here)")
    if parts.scheme == "https" and parts.hostname:
        return value.rstrip("/")
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return value.rstrip("/")
    raise ValueError("expects an https address (http only for this machine itself)")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False

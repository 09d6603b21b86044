"""How azcopy gets at the two containers of a pair: addresses, signatures, an identity, and what is secret of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import parse_qs, quote, unquote

from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from shared.connections import Connection
from shared.settings import SyncPair, inherited

MARGIN = timedelta(minutes=15)
"""How much longer than the run a signature is good for: clocks differ."""

REDACTED = "REDACTED"

_READ = ContainerSasPermissions(read=True, list=True)
_WRITE = ContainerSasPermissions(read=True, list=True, add=True, create=True, write=True)
# Where the Functions platform keeps the managed identity: without these azcopy would look for a virtual machine's.
_PLATFORM_IDENTITY = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET")
_SIGNATURE = re.compile(r"(?i)\b(sig|signature|AccountKey)=[^&\s\"'\\;]+")


@dataclass(frozen=True)
class Access:
    """What azcopy is called with for one pair. `redact` takes every secret of it out of a text."""

    source_url: str = field(repr=False)
    backup_url: str = field(repr=False)
    from_to: str
    environment: dict[str, str] = field(repr=False)
    redact: Callable[[str], str] = field(repr=False)


def access_to(source: Connection, backup: Connection, pair: SyncPair, until: datetime) -> Access:
    """Access that lasts until then (and a margin more), to no other containers and with no right to delete."""
    reading = _signature(source, pair.source, _READ, until + MARGIN)
    writing = _signature(backup, pair.backup, _WRITE, until + MARGIN)
    identity = next((side for side in (source, backup) if not side.connection_string), None)
    environment = _identity(identity) if identity else {}
    secrets = [secret for side in (source, backup) for secret in (side.account_key, side.sas, side.client_secret)]
    secrets += [environment.get("IDENTITY_HEADER"), environment.get("MSI_SECRET")]
    return Access(
        source_url=_url(source, pair.source, reading),
        backup_url=_url(backup, pair.backup, writing),
        from_to=f"{_kind(source)}{_kind(backup)}",
        environment=environment,
        redact=redactor([reading, writing, *secrets]),
    )


def redactor(secrets: Iterable[str | None]) -> Callable[[str], str]:
    """A function that blots these secrets, in each form in which a URL can hold them, out of a text."""
    forms: set[str] = set()
    for secret in secrets:
        if not secret:
            continue
        for part in (secret, *parse_qs(secret).get("sig", ())):
            forms |= {part, unquote(part), quote(part, safe=""), quote(part)}
    known = sorted(forms, key=len, reverse=True)

    def redact(text: str) -> str:
        for form in known:
            text = text.replace(form, REDACTED)
        return _SIGNATURE.sub(rf"\1={REDACTED}", text)

    return redact


def _signature(connection: Connection, container: str, rights: ContainerSasPermissions, expiry: datetime) -> str | None:
    if connection.sas or not connection.account_key:
        return connection.sas
    return generate_container_sas(
        connection.account_name, container, account_key=connection.account_key, permission=rights, expiry=expiry
    )


def _identity(connection: Connection) -> dict[str, str]:
    if connection.client_id and connection.tenant_id and connection.client_secret:
        return {
            "AZCOPY_AUTO_LOGIN_TYPE": "SPN",
            "AZCOPY_SPA_APPLICATION_ID": connection.client_id,
            "AZCOPY_SPA_CLIENT_SECRET": connection.client_secret,
            "AZCOPY_TENANT_ID": connection.tenant_id,
        }
    client = {"AZCOPY_MSI_CLIENT_ID": connection.client_id} if connection.client_id else {}
    return {"AZCOPY_AUTO_LOGIN_TYPE": "MSI", **client, **inherited(_PLATFORM_IDENTITY)}


def _url(connection: Connection, container: str, signature: str | None) -> str:
    endpoint = connection.dfs_uri.rstrip("/") if connection.dfs_uri else connection.blob_endpoint
    return f"{endpoint}/{container}?{signature}" if signature else f"{endpoint}/{container}"


def _kind(connection: Connection) -> str:
    return "BlobFS" if connection.dfs_uri else "Blob"

"""Writes and reads blobs with plain HTTP, for the model's own hand and eye.

The SDK would do, at three times the time; and what is compared with the model should not have passed through the
code that the product reads with.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import aiohttp
from azure.storage.blob import AccountSasPermissions, ResourceTypes, Services, generate_account_sas
from yarl import URL

from tests.model.model import Content

HEADERS = ("Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control")
DEFAULT_TYPE = ("Content-Type", "application/octet-stream")
PAGE_BYTES = 512
API_VERSION = "2023-11-03"


class Refused(Exception):
    """The service answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:300]}")
        self.status = status


class Written(NamedTuple):
    """What the service says of a write."""

    etag: str
    last_modified: str


class Seen(NamedTuple):
    """One line of a listing; the content's body is not in it."""

    name: str
    snapshot: str | None
    etag: str
    last_modified: str
    created: str
    size: int
    md5: str | None
    content: Content


class Account:
    """One storage account, by its connection string's parts."""

    def __init__(self, session: aiohttp.ClientSession, connection_string: str) -> None:
        parts = dict(part.split("=", 1) for part in connection_string.split(";") if part)
        self._session = session
        self._url = parts["BlobEndpoint"]
        self._sas = generate_account_sas(
            parts["AccountName"],
            parts["AccountKey"],
            ResourceTypes(service=True, container=True, object=True),
            AccountSasPermissions(read=True, write=True, delete=True, list=True, add=True, create=True, tag=True),
            datetime.now(UTC) + timedelta(days=30),
            services=Services(blob=True),
        )

    async def create_container(self, container: str) -> None:
        await self._call("PUT", container, {"restype": "container"})

    async def delete_container(self, container: str) -> None:
        """Deletes it; one that is not there is fine."""
        try:
            await self._call("DELETE", container, {"restype": "container"})
        except Refused as refused:
            if refused.status != 404:
                raise

    async def time(self) -> str:
        """The service's time."""
        _, headers = await self._call("GET", "", {"restype": "service", "comp": "properties"})
        return _second(headers["Date"])

    async def write(self, container: str, name: str, content: Content, *, md5: bool = True) -> list[Written]:
        """Writes a blob over whatever stands there; the last of the states that it goes through is the content's.

        Args:
            md5: whether the service is to hold a Content-MD5, which it makes of a block blob that comes in one call.
        """
        headers = _headers(content)
        if content.kind == "BlockBlob":
            if md5:
                kind = {"x-ms-blob-type": "BlockBlob"}
                return [await self._write(container, name, {}, headers | kind, content.body)]
            block = b64encode(b"block").decode()
            await self._write(container, name, {"comp": "block", "blockid": block}, {}, content.body or b" ")
            latest = f"<Latest>{block}</Latest>" if content.body else ""
            body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{latest}</BlockList>'.encode()
            return [await self._write(container, name, {"comp": "blocklist"}, headers, body)]
        if content.kind == "AppendBlob":
            created = await self._write(container, name, {}, headers | {"x-ms-blob-type": "AppendBlob"})
            return [created, *([await self.append(container, name, content.body)] if content.body else [])]
        size = {"x-ms-blob-content-length": str(len(content.body))}
        created = await self._write(container, name, {}, headers | {"x-ms-blob-type": "PageBlob"} | size)
        if not content.body:
            return [created]
        pages = {"x-ms-page-write": "update", "x-ms-range": f"bytes=0-{len(content.body) - 1}"}
        return [created, await self._write(container, name, {"comp": "page"}, pages, content.body)]

    async def append(self, container: str, name: str, body: bytes) -> Written:
        return await self._write(container, name, {"comp": "appendblock"}, {}, body)

    async def set_metadata(self, container: str, name: str, metadata: Mapping[str, str]) -> Written:
        return await self._write(container, name, {"comp": "metadata"}, _metadata(metadata))

    async def set_headers(self, container: str, name: str, headers: Mapping[str, str], md5: str | None) -> Written:
        sent = {f"x-ms-blob-{key.lower()}": value for key, value in headers.items()}
        return await self._write(
            container, name, {"comp": "properties"}, sent | ({"x-ms-blob-content-md5": md5} if md5 else {})
        )

    async def snapshot(self, container: str, name: str) -> None:
        await self._call("PUT", f"{container}/{_path(name)}", {"comp": "snapshot"})

    async def delete(self, container: str, name: str, snapshots: str = "include") -> str:
        """Deletes a blob with its snapshots, or (`only`) these alone; gives the time of it."""
        _, headers = await self._call("DELETE", f"{container}/{_path(name)}", {}, {"x-ms-delete-snapshots": snapshots})
        return _second(headers["Date"])

    async def break_lease(self, container: str, name: str) -> None:
        """Ends whatever lease there is on a blob."""
        sent = {"x-ms-lease-action": "break", "x-ms-lease-break-period": "0"}
        try:
            await self._call("PUT", f"{container}/{_path(name)}", {"comp": "lease"}, sent)
        except Refused as refused:
            if refused.status not in {404, 409}:
                raise

    async def read(self, container: str, name: str) -> bytes:
        body, _ = await self._call("GET", f"{container}/{_path(name)}", {})
        return body

    async def list(self, container: str, prefix: str = "") -> list[Seen]:
        """All blobs and snapshots; none where there is no such container."""
        query = {"restype": "container", "comp": "list", "include": "snapshots,metadata,tags"}
        if prefix:
            query["prefix"] = prefix
        try:
            body, _ = await self._call("GET", container, query)
        except Refused as refused:
            if refused.status == 404:
                return []
            raise
        listing = ElementTree.fromstring(body)  # noqa: S314 -- of the emulator that the tests started
        if listing.findtext("NextMarker"):
            raise AssertionError("a listing of the model has one page")
        return [_seen(blob) for blob in listing.iter("Blob")]

    async def _write(
        self, container: str, name: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes = b""
    ) -> Written:
        _, answered = await self._call("PUT", f"{container}/{_path(name)}", query, headers, body)
        return Written(answered.get("ETag", "").strip('"'), _second(answered.get("Last-Modified", answered["Date"])))

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> tuple[bytes, Mapping[str, str]]:
        text = urlencode(query, quote_via=quote)
        url = URL(f"{self._url}/{path}?{text}{'&' if text else ''}{self._sas}", encoded=True)
        sent = {"x-ms-version": API_VERSION, "Accept-Encoding": "identity", **(headers or {})}
        async with self._session.request(method, url, headers=sent, data=body or None) as response:
            answered = await response.read()
            if response.status >= 400:
                raise Refused(response.status, answered.decode(errors="replace"))
            return answered, response.headers


def _path(name: str) -> str:
    return quote(name, safe="/~")


def _headers(content: Content) -> dict[str, str]:
    headers = {f"x-ms-blob-{key.lower()}": value for key, value in content.headers}
    tags = {"x-ms-tags": urlencode(content.tags)} if content.tags else {}
    tier = {"x-ms-access-tier": content.tier} if content.tier else {}
    return headers | _metadata(dict(content.metadata)) | tags | tier


def _metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    return {f"x-ms-meta-{key}": value for key, value in metadata.items()}


def _second(http_date: str) -> str:
    return datetime.strptime(http_date, "%a, %d %b %Y %H:%M:%S GMT").strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007


def _seen(blob: ElementTree.Element) -> Seen:
    properties = {part.tag: part.text or "" for part in blob.iterfind("Properties/*")}
    headers = [(key, properties[key]) for key in HEADERS if properties.get(key)]
    metadata = [(part.tag, part.text or "") for part in blob.iterfind("Metadata/*")]
    tags = [(tag.findtext("Key") or "", tag.findtext("Value") or "") for tag in blob.iterfind("Tags/TagSet/Tag")]
    chosen = properties.get("AccessTierInferred") != "true"
    return Seen(
        blob.findtext("Name") or "",
        blob.findtext("Snapshot"),
        properties["Etag"].strip('"'),
        _second(properties["Last-Modified"]),
        _second(properties["Creation-Time"]),
        int(properties["Content-Length"]),
        properties.get("Content-MD5") or None,
        Content(
            b"",
            properties["BlobType"],
            tuple(sorted(headers)),
            tuple(sorted(metadata)),
            tuple(sorted(tags)),
            properties.get("AccessTier", "") if chosen else "",
        ),
    )

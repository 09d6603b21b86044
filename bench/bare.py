"""A bare client: aiohttp or the standard library, and a SAS. What a call costs without any of Azure's libraries.

It is the ceiling that others are compared with, and it fills containers. It checks statuses, and nothing else.
"""

from __future__ import annotations

import http.client
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import unescape

import aiohttp
from yarl import URL

from bench.sas import account_sas, blob_endpoint, queue_endpoint

_VERSION = {"x-ms-version": "2023-11-03"}
_MARKER = (b"<NextMarker>", b"</NextMarker>")


class Bare:
    """Calls to the account of a connection string; at most `connections` at a time."""

    def __init__(self, text: str, connections: int = 256) -> None:
        self._blobs, self._queues, self._sas = blob_endpoint(text), queue_endpoint(text), account_sas(text)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections), headers=_VERSION)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def create_container(self, container: str) -> None:
        await self._call("PUT", f"{self._blobs}/{container}?restype=container", 201)

    async def delete_container(self, container: str) -> None:
        await self._call("DELETE", f"{self._blobs}/{container}?restype=container", 202, 404)

    async def put(self, container: str, name: str, content: bytes, run: int = 0) -> None:
        headers = {"x-ms-blob-type": "BlockBlob", "x-ms-meta-run": str(run)}
        await self._call("PUT", self._blob(container, name), 201, headers=headers, data=content)

    async def put_block(self, container: str, name: str, block: str, content: bytes) -> None:
        await self._call("PUT", f"{self._blob(container, name)}?comp=block&blockid={quote(block)}", 201, data=content)

    async def put_block_list(self, container: str, name: str, blocks: list[str]) -> None:
        listed = "".join(f"<Latest>{block}</Latest>" for block in blocks)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'
        await self._call("PUT", f"{self._blob(container, name)}?comp=blocklist", 201, data=body.encode())

    async def snapshot(self, container: str, name: str, etag: str) -> None:
        await self._call("PUT", f"{self._blob(container, name)}?comp=snapshot", 201, headers={"If-Match": f'"{etag}"'})

    async def head(self, container: str, name: str) -> None:
        await self._call("HEAD", self._blob(container, name), 200)

    async def create_queue(self, queue: str) -> None:
        await self._call("PUT", f"{self._queues}/{queue}", 201, 204)

    async def put_message(self, queue: str, text: str) -> None:
        body = f"<QueueMessage><MessageText>{text}</MessageText></QueueMessage>"
        await self._call("POST", f"{self._queues}/{queue}/messages?messagettl=-1", 201, data=body.encode())

    async def clear(self, queue: str) -> None:
        await self._call("DELETE", f"{self._queues}/{queue}/messages", 204)

    async def messages(self, queue: str) -> int:
        """How many messages a queue holds."""
        answer = await self._call("GET", f"{self._queues}/{queue}?comp=metadata", 200)
        return int(answer["x-ms-approximate-messages-count"])

    def _blob(self, container: str, name: str) -> str:
        return f"{self._blobs}/{container}/{quote(name)}"

    async def _call(
        self, method: str, url: str, *expected: int, headers: dict[str, str] | None = None, data: bytes | None = None
    ) -> dict[str, str]:
        address = URL(f"{url}{'&' if '?' in url else '?'}{self._sas}", encoded=True)
        async with self._session.request(method, address, headers=headers, data=data) as response:
            body = await response.read()
            if response.status not in expected:
                raise RuntimeError(f"{method} {url}: {response.status} {body[:300]!r}")
            return dict(response.headers)


def fetch_pages(text: str, container: str, include: str) -> tuple[int, int]:
    """Fetches a container's listing page after page and looks at nothing but the marker; gives pages and entries."""
    address = urlsplit(blob_endpoint(text))
    sas = account_sas(text)
    connection = http.client.HTTPConnection(address.netloc)
    pages, entries, marker = 0, 0, ""
    while pages == 0 or marker:
        query = f"restype=container&comp=list&maxresults=5000&marker={quote(marker, safe='')}"
        query += f"&include={quote(include)}" if include else ""
        connection.request("GET", f"{address.path}/{container}?{query}&{sas}", headers=_VERSION)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"list {container}: {response.status} {body[:300]!r}")
        pages, entries = pages + 1, entries + body.count(b"<Blob>")
        _, _, rest = body[-2000:].partition(_MARKER[0])
        marker = unescape(rest.partition(_MARKER[1])[0].decode())
    connection.close()
    return pages, entries

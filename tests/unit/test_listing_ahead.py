"""The next page of a listing is on its way while one is worked on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from aiohttp import web

from shared.adapters.accounts import Account
from shared.adapters.listing import Listing
from shared.connections import Connection
from tests.canned import Asked, canned


def page(number: int, last: int) -> bytes:
    entry = (
        f"<Blob><Name>{number}</Name><Properties><Last-Modified>Fri, 20 Nov 2026 14:05:33 GMT</Last-Modified>"
        "<Etag>0x1</Etag><Content-Length>1</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>"
    )
    marker = f"m{number + 1}" if number < last else ""
    return f"<EnumerationResults><Blobs>{entry}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>".encode()


@pytest.fixture
def elsewhere() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own, which goes on while the test's stands still."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def test_it_is_asked_for_before_the_reader_waits_for_anything(elsewhere: asyncio.AbstractEventLoop) -> None:
    asked: list[int] = []

    def reply(request: Asked) -> web.Response:
        found = request.target.partition("marker=m")[2]
        asked.append(int(found.partition("&")[0] or 1))
        return web.Response(body=page(asked[-1], 3), content_type="application/xml")

    serving = canned(reply)
    server = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(serving.__aenter__(), elsewhere))
    text = f"AccountName=account;AccountKey=c2VjcmV0;BlobEndpoint={server.url}/account"
    account = Account(Connection("SourceStorage", text))
    listing = Listing(account)
    pages = listing.pages("raw")
    first = await anext(pages)
    give_up_at = time.monotonic() + 20
    while asked != [1, 2] and time.monotonic() < give_up_at:
        time.sleep(0.01)  # noqa: ASYNC251  # a reader that works and lets nothing else have a turn
    assert asked == [1, 2]
    assert [entry.name for entry in first.entries] == ["1"]
    assert [entry.name async for each in pages for entry in each.entries] == ["2", "3"]
    assert asked == [1, 2, 3]
    await listing.close()
    await account.close()
    closing = serving.__aexit__(None, None, None)
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(closing, elsewhere))

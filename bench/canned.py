"""A canned server (bench/canned_server.py) in a process of its own, and services that speak to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp

from bench.measure import expect
from local.processes import Child
from local.stack import READY

_KEY = "bm90IGEgc2VjcmV0OiBub2JvZHkgY2hlY2tzIGl0"


@dataclass(frozen=True)
class CannedServer:
    """A running one. `text` is its connection string, for blobs and queues alike; `other` names another account."""

    url: str
    text: str
    other: str

    async def expect_calls(self, expected: dict[str, int]) -> None:
        """Raises VoidError unless it has answered just these calls since it was last asked."""
        async with aiohttp.ClientSession() as session, session.post(f"{self.url}/reset") as answer:
            expect(await answer.json(), expected, "calls that the canned server answered")


@contextlib.asynccontextmanager
async def canned_server(latency_seconds: float = 0) -> AsyncIterator[CannedServer]:
    child = await Child.start(
        [sys.executable, "-m", "bench.canned_server", str(latency_seconds)],
        environment=os.environ,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        port = json.loads((await child.stdout.readline()).decode().removeprefix(READY))["port"]
        url = f"http://127.0.0.1:{port}/canned"
        yield CannedServer(url, *(_connection_string(port, account) for account in ("canned", "other")))
    finally:
        await child.stop()


def _connection_string(port: int, account: str) -> str:
    url = f"http://127.0.0.1:{port}/{account}"
    return (
        f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={_KEY};BlobEndpoint={url};QueueEndpoint={url};"
    )

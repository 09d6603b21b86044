"""A server that answers what a test tells it to, and notes what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

Reply = Callable[["Asked"], web.StreamResponse | Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    transport: asyncio.Transport


@dataclass
class Canned:
    """`reply` makes the answers; `asked` are the requests, `at_once` how many of them there were at most at once."""

    reply: Reply
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    at_once: int = 0
    _running: int = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        names = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.method, request.raw_path, names, await request.read(), transport)
        self.asked.append(asked)
        self._running += 1
        self.at_once = max(self.at_once, self._running)
        try:
            reply = self.reply(asked)
            return reply if isinstance(reply, web.StreamResponse) else await reply
        finally:
            self._running -= 1


@asynccontextmanager
async def canned(reply: Reply) -> AsyncIterator[Canned]:
    """Serves on a free port."""
    server = Canned(reply)
    runner = web.ServerRunner(web.Server(server.handle, access_log=None, max_line_size=65_536))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


def refuse(status: int, code: str, **headers: str) -> web.Response:
    """An error as the service answers it."""
    return web.Response(status=status, headers={"x-ms-error-code": code, **headers})

"""A server that hands every request to one upstream server, unless an `Answer` does something else with it.

The gateway answers what Azurite lacks in this way; the tests' fault proxy answers with faults.
"""

import asyncio
import errno
import logging
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass, field

from local.gateway.messages import (
    HEAD_LIMIT,
    BrokenMessage,
    Headers,
    Request,
    Response,
    receive_request,
    receive_response,
    request_head,
)
from local.ports import LOOPBACK, PortTaken

# Below any keep-alive limit of the upstream's, so that no request is sent into a connection that just ended.
REUSE_SECONDS = 3.0
log = logging.getLogger(__name__)


class DropConnection(Exception):
    """End the client's connection at once, without (the rest of) an answer."""


Answer = Callable[[Request], Awaitable[Response]]


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    last_used: float = field(default_factory=time.monotonic)

    @property
    def usable(self) -> bool:
        fresh = time.monotonic() - self.last_used < REUSE_SECONDS
        return fresh and not self.writer.is_closing() and not self.reader.at_eof()


class Upstream:
    """The server behind, and the open connections to it."""

    def __init__(self, port: int, host: str = LOOPBACK) -> None:
        self._host, self._port = host, port
        self._idle: list[_Connection] = []

    async def forward(self, request: Request) -> Response:
        """Send a client's request on as it came."""
        return await self.exchange(request.method, request.head, request.body.as_it_travels())

    async def send(
        self, method: str, target: str, headers: Headers, body: AsyncIterable[bytes] | None = None
    ) -> Response:
        """Send a request of one's own; `headers` must frame `body`."""
        return await self.exchange(method, request_head(method, target, headers), body)

    async def exchange(self, method: str, head: bytes, body: AsyncIterable[bytes] | None) -> Response:
        """Send a request and return its response as soon as the head of that is there.

        Whoever takes the response calls its `release` when done; a body read to its end keeps the connection.
        """
        connection = await self._connect()
        try:
            await _write(connection.writer, head, body)
            response = await receive_response(connection.reader, method)
        except BaseException:
            connection.writer.close()
            raise
        response.release = lambda: self._release(connection, response)
        return response

    def close(self) -> None:
        while self._idle:
            self._idle.pop().writer.close()

    async def _connect(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.writer.close()
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=HEAD_LIMIT)
        return _Connection(reader, writer)

    def _release(self, connection: _Connection, response: Response) -> None:
        response.release = _nothing
        if response.received and response.received.complete and not response.closes:
            connection.last_used = time.monotonic()
            self._idle.append(connection)
        else:
            connection.writer.close()


class Relay:
    """The server in front. Connections are kept open until the client ends them or the relay stops."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self, port: int = 0) -> None:
        """Listen on `port` of the loopback address, 0 for a free one. Raises PortTaken."""
        try:
            self._server = await asyncio.start_server(self._client_connected, LOOPBACK, port, limit=HEAD_LIMIT)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise PortTaken(port) from None
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end what is under way."""
        if self._server is not None:
            self._server.close()
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    def _client_connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.create_task(self._serve(reader, writer))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await receive_request(reader)) is not None:
                await self._serve_one(request, writer)
                if request.last_on_connection:
                    break
        except DropConnection:
            writer.transport.abort()
        except (BrokenMessage, OSError) as error:
            # One side went away in the middle: the other gets to know it in the same way.
            log.debug("a connection ended: %s", error)
            writer.transport.abort()
        except Exception:
            log.exception("an error of the relay's own; the client's connection is dropped")
            writer.transport.abort()
        finally:
            writer.close()

    async def _serve_one(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.headers.get("expect").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        response = await self._answer(request)
        try:
            await request.body.discard()
            # An answer made here has a body even when the client, which asked with HEAD, expects none.
            await _write(writer, response.head, None if request.method == "HEAD" else response.body)
            if response.closes or not _framed(response):
                writer.close()
        finally:
            response.release()


def _framed(response: Response) -> bool:
    """Whether the client can tell where the body ends without the connection's end."""
    return response.received is None or response.received.framed


async def _write(writer: asyncio.StreamWriter, head: bytes, body: AsyncIterable[bytes] | None) -> None:
    waiting = head  # leaves together with the body's first piece: one packet for small messages
    if body is not None:
        async for piece in body:
            writer.write(waiting + piece if waiting else piece)
            waiting = b""
            await writer.drain()
    if waiting:
        writer.write(waiting)
        await writer.drain()


def _nothing() -> None:
    pass

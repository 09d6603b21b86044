"""The relay before a server: what a client sends arrives byte for byte, and what the server answers comes back so."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from local.gateway.messages import Headers, Request, Response, make_response
from local.gateway.relay import DropConnection, Relay, Upstream
from local.ports import LOOPBACK, PortTaken


class RawServer:
    """Keeps what arrives, and answers each head with the next of its answers."""

    def __init__(self) -> None:
        self.received = b""
        self.answers: list[bytes] = []
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while piece := await reader.read(65536):
            self.received += piece
            if self.received.endswith((b"\r\n\r\n", b"END")) and self.answers:
                answer = self.answers.pop(0)
                writer.write(answer)
                if b"Connection: close" in answer:
                    break
        writer.close()


@pytest_asyncio.fixture
async def server() -> AsyncIterator[RawServer]:
    raw = RawServer()
    listener = await asyncio.start_server(raw.serve, LOOPBACK, 0)
    raw.port = listener.sockets[0].getsockname()[1]
    yield raw
    listener.close()


@pytest_asyncio.fixture
async def relay(server: RawServer) -> AsyncIterator[Relay]:
    upstream = Upstream(server.port)
    relay = Relay(upstream.forward)
    await relay.start()
    yield relay
    await relay.stop()
    upstream.close()


async def exchange(port: int, sent: bytes, expected: int) -> bytes:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(sent)
    try:
        return await asyncio.wait_for(reader.readexactly(expected), 5)
    finally:
        writer.close()


async def all_from(port: int, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(sent)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /a%20b'c%25%2F//x/../y?c=%3A&d=+ HTTP/1.1\r\nhOsT: x\r\nX-Odd:   two  spaces \r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n\x00\xffEND",
        b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Bytes: \xc3\xa9\xff\r\n\r\n",
    ],
)
@pytest.mark.parametrize(
    "response_bytes",
    [
        b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 3\r\nX-A: 1\r\nx-a: 2\r\n\r\nabc",
        b"HTTP/1.1 206 Partial\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    ],
)
async def test_messages_pass_byte_for_byte(
    server: RawServer, relay: Relay, request_bytes: bytes, response_bytes: bytes
) -> None:
    server.answers = [response_bytes]
    assert await exchange(relay.port, request_bytes, len(response_bytes)) == response_bytes
    assert server.received == request_bytes


async def test_a_head_response_has_no_body_whatever_its_length_says(server: RawServer, relay: Relay) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    server.answers = [answer, answer]
    sent = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" * 2
    assert await exchange(relay.port, sent, 2 * len(answer)) == 2 * answer
    assert server.connections == 1


async def test_a_body_without_a_length_ends_with_the_connection(server: RawServer, relay: Relay) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end"]
    received = await all_from(relay.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert received == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end"


async def test_a_body_that_ends_early_ends_the_clients_connection_too(server: RawServer, relay: Relay) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\nhalf"]
    received = await all_from(relay.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert received.endswith(b"half")


async def test_a_client_that_waits_for_100_continue_gets_it(server: RawServer, relay: Relay) -> None:
    server.answers = [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"]
    head = b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    reader, writer = await asyncio.open_connection(LOOPBACK, relay.port)
    writer.write(head)
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"END")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201")
    writer.close()


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", b"GET x HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nbad\r\n\r\n"])
async def test_what_is_not_http_is_not_answered(relay: Relay, sent: bytes) -> None:
    assert await all_from(relay.port, sent) == b""


async def test_an_answer_of_ones_own_leaves_the_connection_usable() -> None:
    async def answer(request: Request) -> Response:
        if request.target == "/drop":
            raise DropConnection
        return make_response(503, "Busy", Headers([("Retry-After", "1")]), b"later")

    relay = Relay(answer)
    await relay.start()
    expected = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 5\r\n\r\nlater"
    put = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
    assert await exchange(relay.port, put + put, 2 * len(expected)) == 2 * expected
    heads = b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" * 2
    bodiless = expected.removesuffix(b"later")
    assert await exchange(relay.port, heads, 2 * len(bodiless)) == 2 * bodiless
    assert await all_from(relay.port, b"GET /drop HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    await relay.stop()


async def test_a_taken_port_is_named(relay: Relay) -> None:
    with pytest.raises(PortTaken, match=f"port {relay.port} is taken"):
        await Relay(Upstream(1).forward).start(relay.port)

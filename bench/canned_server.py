"""`python -m bench.canned_server`: answers calls to storage from memory, so that a client alone is measured.

It serves listings (of as many entries as the container's name ends with: `entries-200000`), snapshots, HEADs and
messages, each after a given latency, and counts them. It prints `READY {"port": ...}`; `POST /canned/reset` tells
the counts and forgets them. It knows as much of HTTP as the clients that are measured use.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from urllib.parse import parse_qs

from bench.canned_pages import PAGE_ENTRIES, page

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ENTRIES = re.compile(r"entries-(\d+)$")
_MESSAGE = (
    b'<?xml version="1.0" encoding="utf-8"?><QueueMessagesList><QueueMessage>'
    b"<MessageId>1b1b2ae2-8a5d-4d0a-a5ff-0c1b3d3a6c11</MessageId>"
    b"<InsertionTime>Fri, 20 Nov 2026 14:05:33 GMT</InsertionTime>"
    b"<ExpirationTime>Fri, 31 Dec 9999 23:59:59 GMT</ExpirationTime><PopReceipt>AgAAAAMAAAAAAAAA</PopReceipt>"
    b"<TimeNextVisible>Fri, 20 Nov 2026 14:05:33 GMT</TimeNextVisible></QueueMessage></QueueMessagesList>"
)
_BLOB = (
    b'Last-Modified: Fri, 20 Nov 2026 14:05:33 GMT\r\nETag: "0x8DE27F0A1B2C3D4"\r\n'
    b"x-ms-request-id: 5f5f0c5e-001e-0043-1b2a-5b8d7c000000\r\nx-ms-version: 2023-11-03\r\n"
)
_PROPERTIES = (
    b"Content-Type: application/octet-stream\r\nContent-MD5: CY9rzUYh03PK3k6DJie09g==\r\nAccept-Ranges: bytes\r\n"
    b"x-ms-blob-type: BlockBlob\r\nx-ms-creation-time: Fri, 20 Nov 2026 14:05:33 GMT\r\nx-ms-meta-run: 1\r\n"
    b"x-ms-lease-status: unlocked\r\nx-ms-lease-state: available\r\nx-ms-access-tier: Hot\r\n"
    b"x-ms-access-tier-inferred: true\r\nx-ms-server-encrypted: true\r\n"
)


class Canned:
    """The answers, and how many of each kind were given."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def answer(self, method: str, target: str) -> tuple[bytes, bytes]:
        """Head and body of the answer."""
        path, _, text = target.partition("?")
        query = {name: values[0] for name, values in parse_qs(text).items()}
        if path == "/canned/reset":
            counts, self.counts = self.counts, Counter()
            return _answer("200 OK", b"Content-Type: application/json\r\n", json.dumps(counts).encode())
        operation = query.get("comp", "")
        if method == "GET" and operation == "list" and (entries := _ENTRIES.search(path)):
            self.counts["list"] += 1
            return _listing(int(entries[1]), query)
        if method == "PUT" and operation == "snapshot":
            self.counts["snapshot"] += 1
            return _answer("201 Created", _BLOB + b"x-ms-snapshot: 2026-11-20T14:05:33.1234567Z\r\n", b"")
        if method == "HEAD" and operation == "":
            self.counts["head"] += 1
            return b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n" + _PROPERTIES + _BLOB + _date() + b"\r\n", b""
        if method == "POST" and path.endswith("/messages"):
            self.counts["message"] += 1
            return _answer("201 Created", b"Content-Type: application/xml\r\n", _MESSAGE)
        return _answer("400 Bad Request", b"", b"")


def _listing(entries: int, query: dict[str, str]) -> tuple[bytes, bytes]:
    pages = -(-entries // PAGE_ENTRIES)
    body = page(int(query.get("marker", 0)), pages, snapshots="snapshots" in query.get("include", ""))
    return _answer("200 OK", b"Content-Type: application/xml\r\n", body)


def _answer(status: str, headers: bytes, body: bytes) -> tuple[bytes, bytes]:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n".encode()
    return head + headers + _date() + b"\r\n", body


def _date() -> bytes:
    return f"Date: {formatdate(usegmt=True)}\r\n".encode()


class Connection(asyncio.Protocol):
    """One client's connection: one request after another."""

    def __init__(self, canned: Canned, latency_seconds: float) -> None:
        self._canned, self._latency_seconds = canned, latency_seconds
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 -- for the type checker
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end]
        length = _LENGTH.search(head)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._received) < whole:
            return
        self._received = self._received[whole:]
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        send: Callable[[], None] = lambda: self._send(*self._canned.answer(method, target))  # noqa: E731 -- one line
        if self._latency_seconds:
            asyncio.get_running_loop().call_later(self._latency_seconds, send)
        else:
            send()

    def _send(self, head: bytes, body: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(head)
            if body:
                self._transport.write(body)


async def serve(latency_seconds: float) -> None:
    canned, loop, stopped = Canned(), asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_server(lambda: Connection(canned, latency_seconds), "127.0.0.1", 0, backlog=1024)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    print(f"READY {json.dumps({'port': server.sockets[0].getsockname()[1]})}", flush=True)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0))

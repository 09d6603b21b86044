"""HTTP/1.1 messages as they travel: heads that stay byte for byte as they came, bodies that stream.

Not an HTTP library's models, because those normalise: percent-encoding in the target (blob names hold
`%25`, `#`, quotes), the case and order of headers, compression. What the gateway doesn't need to change
must arrive as it was sent.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

HEAD_LIMIT = 256 * 1024
PIECE = 256 * 1024
_NO_BODY_STATUSES = {204, 304}


class BrokenMessage(Exception):
    """The other side sent what is not HTTP/1.1, or ended in the middle of a message."""


class Headers:
    """Header fields in their order; lookups ignore case."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self.fields = fields
        self._lower = {name.lower(): value for name, value in fields}

    def get(self, name: str, default: str = "") -> str:
        """The value of `name`, which is given in lower case."""
        return self._lower.get(name, default)

    def __contains__(self, name: str) -> bool:
        return name in self._lower

    def without(self, *names: str) -> "Headers":
        return Headers([(name, value) for name, value in self.fields if name.lower() not in names])

    def having(self, *fields: tuple[str, str]) -> "Headers":
        """These headers with `fields` in place of any of the same names."""
        names = [name.lower() for name, _ in fields]
        return Headers([*self.without(*names).fields, *fields])

    def starting(self, prefix: str) -> list[tuple[str, str]]:
        return [field for field in self.fields if field[0].lower().startswith(prefix)]


class Body:
    """The body of a message that is being received; it can be read once."""

    def __init__(self, reader: asyncio.StreamReader, length: int | None, *, chunked: bool = False) -> None:
        """`length` None: until the chunks end, or, if not chunked, until the sender closes."""
        self._reader, self._left, self._chunked = reader, length, chunked
        self.complete = length == 0
        self.framed = chunked or length is not None  # its end can be told without the connection's

    def as_it_travels(self) -> AsyncIterator[bytes]:
        """Its bytes with chunk framing, if any, left in."""
        return self._chunks(framing=True) if self._chunked else self._plain()

    def content(self) -> AsyncIterator[bytes]:
        """Its bytes alone."""
        return self._chunks(framing=False) if self._chunked else self._plain()

    async def discard(self) -> None:
        async for _ in self.content():
            pass

    async def _plain(self) -> AsyncIterator[bytes]:
        while not self.complete:
            piece = await self._reader.read(PIECE if self._left is None else min(PIECE, self._left))
            if self._left is not None:
                self._left -= len(piece)
            if not piece and self._left:
                raise BrokenMessage("the connection ended in the middle of a body")
            self.complete = self._left == 0 or not piece
            if piece:
                yield piece

    async def _chunks(self, *, framing: bool) -> AsyncIterator[bytes]:
        while not self.complete:
            line = await self._line()
            try:
                size = int(line.split(b";")[0], 16)
            except ValueError:
                raise BrokenMessage("a chunk without a size") from None
            if size:
                try:
                    chunk = await self._reader.readexactly(size + 2)
                except asyncio.IncompleteReadError:
                    raise BrokenMessage("the connection ended in the middle of a chunk") from None
                yield line + chunk if framing else chunk[:-2]
                continue
            trailer = line
            while line != b"\r\n":
                line = await self._line()
                trailer += line
            self.complete = True
            if framing:
                yield trailer

    async def _line(self) -> bytes:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise BrokenMessage("the connection ended in the middle of a body")
        return line


@dataclass
class Request:
    method: str
    target: str  # path and query as sent, percent-encoding untouched
    headers: Headers
    body: Body
    head: bytes  # all of the above as it came

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, decoded."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    def with_query(self, parameters: dict[str, str]) -> str:
        """This request's target with another query."""
        query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters.items())
        return f"{self.path}?{query}"

    @property
    def last_on_connection(self) -> bool:
        return self.headers.get("connection").lower() == "close"


@dataclass
class Response:
    status: int
    head: bytes
    headers: Headers
    body: AsyncIterator[bytes]  # as it travels
    received: Body | None = None  # where the body comes from; None for a response made here
    closes: bool = False  # the sender ends the connection after it
    release: Callable[[], None] = lambda: None  # to be called when nothing more of the body will be read

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    async def read(self) -> bytes:
        """The whole body, without framing; nothing more is read of the response after that."""
        try:
            pieces = self.received.content() if self.received else self.body
            return b"".join([piece async for piece in pieces])
        finally:
            self.release()


async def receive_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request on a connection; None when the client ended it in good order."""
    head = await _head(reader)
    if head is None:
        return None
    first, headers = _parse(head)
    try:
        method, target, _ = first.split(" ")
    except ValueError:
        raise BrokenMessage("not a request line") from None
    if not target.startswith("/"):
        raise BrokenMessage("a request target must be a path")
    return Request(method, target, headers, _body(reader, headers, absent=0), head)


async def receive_response(reader: asyncio.StreamReader, method: str) -> Response:
    """The response to a request of `method`. Interim (1xx) answers are passed over."""
    while True:
        head = await _head(reader)
        if head is None:
            raise BrokenMessage("the connection ended before a response")
        first, headers = _parse(head)
        try:
            status = int(first.split(" ")[1])
        except (ValueError, IndexError):
            raise BrokenMessage("not a status line") from None
        if status >= 200:
            break
    bodiless = method == "HEAD" or status in _NO_BODY_STATUSES
    body = Body(reader, 0) if bodiless else _body(reader, headers, absent=None)
    return Response(status, head, headers, body.as_it_travels(), body, headers.get("connection").lower() == "close")


def request_head(method: str, target: str, headers: Headers) -> bytes:
    return _join(f"{method} {target} HTTP/1.1", headers)


def make_response(status: int, reason: str, headers: Headers, content: bytes = b"") -> Response:
    """A response made here, with its Content-Length."""
    headers = headers.having(("Content-Length", str(len(content))))
    return Response(status, _join(f"HTTP/1.1 {status} {reason}", headers), headers, _once(content))


async def _once(content: bytes) -> AsyncIterator[bytes]:
    if content:
        yield content


async def _head(reader: asyncio.StreamReader) -> bytes | None:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise BrokenMessage("the connection ended in the middle of a head") from None
        return None
    except asyncio.LimitOverrunError:
        raise BrokenMessage("a head that never ends") from None


def _parse(head: bytes) -> tuple[str, Headers]:
    # Latin-1 maps every byte to one character and back: nothing is lost, whatever a header holds.
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BrokenMessage("a header without a colon")
        fields.append((name, value.strip(" \t")))
    return first, Headers(fields)


def _join(first: str, headers: Headers) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers.fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _body(reader: asyncio.StreamReader, headers: Headers, absent: int | None) -> Body:
    if headers.get("transfer-encoding").lower() == "chunked":
        return Body(reader, None, chunked=True)
    length = headers.get("content-length")
    if not length:
        return Body(reader, absent)
    if not length.isdecimal():
        raise BrokenMessage("a Content-Length that is not a number")
    return Body(reader, int(length))

"""Stops or disturbs an app at one call of many, for many containers at once.

All the app's calls to storage, queue and Data Factory go through proxies in the test's process. Each call is
attributed to the container that it is made for: by its address, or by what the proxies have seen of messages
and runs. So every container of a test can have a point of its own at which its protection is interrupted,
and one crash of the app is a crash at each of these points.
"""

import asyncio
import contextlib
import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from typing import Self

from local.gateway.messages import Body, Request, Response
from local.gateway.relay import DropConnection
from tests.e2e.app import Ready, plain
from tests.fault_proxy import FaultProxy, Forward, Rule

_MESSAGES = re.compile(r"/backup/[^/]+/messages(?:/([^?]+))?")
_MESSAGE_TEXT = re.compile(r"<MessageText>([^<]*)</MessageText>")
_MESSAGE_ID = re.compile(r"<MessageId>([^<]*)</MessageId>")
_RUN_ID = re.compile(r'"runId": ?"([^"]+)"')
_REQUEST_ID = re.compile(r"[0-9a-f]{32}")
READS = ("GET", "HEAD")


class Fate(Enum):
    """What befalls a call."""

    HELD_BEFORE = "held before the service has it"
    HELD_AFTER = "held when the service has carried it out"
    ANSWER_LOST = "its answer is lost"


@dataclass(frozen=True)
class Point:
    """The `number`th call of a kind that is made for a container, and what befalls it."""

    kind: str
    number: int
    fate: Fate

    def __str__(self) -> str:
        return f"{self.kind} {self.number}, {self.fate.value}"


class CallPoints:
    """The proxies, and what they know of the calls."""

    def __init__(self, stack: Ready, mark: str) -> None:
        """`mark` is how the names of the containers begin."""
        self._stack = stack
        self._names = re.compile(re.escape(mark) + r"-\d+")
        self._blob = FaultProxy(_endpoint(stack["source"], "Blob"))
        self._queue = FaultProxy(_endpoint(stack["queue"], "Queue"))
        self._factory = FaultProxy(stack["adf"])
        self._container_of: dict[str, str] = {}  # by message id, run id and request id
        self._seen: dict[str, Counter[str]] = defaultdict(Counter)
        self._points: dict[str, Point] = {}
        self.reached: dict[str, Point] = {}
        self.commits: Counter[str] = Counter()
        """How often each blob was written whole, by its path."""
        self._open = contextlib.AsyncExitStack()
        self._crashed = asyncio.Event()

    async def __aenter__(self) -> Self:
        for proxy in (self._blob, self._queue, self._factory):
            await self._open.enter_async_context(proxy)
            proxy.add(Rule(self._act))
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._open.aclose()

    @property
    def services(self) -> Ready:
        """The services as an app behind the proxies is to see them."""
        return {
            "source": self._blob.in_place_of(self._stack["source"], "Blob"),
            "backup": self._blob.in_place_of(self._stack["backup"], "Blob"),
            # AzureWebJobsStorage as well, which is blobs.
            "queue": self._queue.in_place_of(self._blob.in_place_of(self._stack["queue"], "Blob"), "Queue"),
            "adf": self._factory.url,
        }

    def calls_for(self, container: str) -> list[tuple[str, int]]:
        """What calls were made for it: the kinds, in the order in which each first came, and how often."""
        return list(self._seen[container].items())

    def interrupt(self, container: str, point: Point) -> None:
        self._points[container] = point

    def unreached(self) -> dict[str, Point]:
        """The points that no call has come to."""
        return {name: point for name, point in self._points.items() if name not in self.reached}

    def crashed(self) -> None:
        """The app is dead: what was held before the service had it never gets there, and no further call is."""
        self._points.clear()
        self._crashed.set()

    async def _act(self, request: Request, forward: Forward) -> Response:
        sent = await _all_of(request)
        request = dataclasses.replace(request, body=_body(sent))
        container = self._container(request, sent)
        kind = _kind(request, sent)
        if container is None or kind is None:
            return await forward(request)
        self._seen[container][kind] += 1
        point = self._points.get(container)
        if point is None or (point.kind, point.number) != (kind, self._seen[container][kind]):
            return await self._carry_out(request, forward, container)
        self.reached[container] = point
        if point.fate is not Fate.HELD_BEFORE:
            await self._carry_out(request, forward, container)
        if point.fate is not Fate.ANSWER_LOST:
            await self._crashed.wait()
        raise DropConnection

    async def _carry_out(self, request: Request, forward: Forward, container: str) -> Response:
        response = await forward(request)
        content = b"".join([piece async for piece in response.body])
        response.body = _once(content)
        if response.ok and request.method == "PUT" and request.query.get("comp", "") in {"", "blocklist"}:
            self.commits[request.path] += 1
        # What these answers name is talked of without the container from now on.
        for named in (*_MESSAGE_ID.findall(content.decode("latin-1")), *_RUN_ID.findall(content.decode("latin-1"))):
            self._container_of.setdefault(named, container)
        return response

    def _container(self, request: Request, sent: bytes) -> str | None:
        if message := _MESSAGE_TEXT.search(sent.decode("latin-1")):
            found = self._names.search(plain(message[1]))
            return found[0] if found else None
        if named := self._names.search(request.target):
            return named[0]
        if request.path.endswith("/createRun") and (named := self._names.search(sent.decode())):
            for request_id in _REQUEST_ID.findall(sent.decode()):
                self._container_of[request_id] = named[0]
            return named[0]
        segments = [part for part in request.path.split("/") if part]
        return next((self._container_of[part] for part in segments if part in self._container_of), None)


def _kind(request: Request, sent: bytes) -> str | None:
    """What a call is, in words; None for one whose time is not the protection's: hiding a message, asking for more."""
    message = _MESSAGES.match(request.target)
    if message:
        follow_up = b"" if not (text := _MESSAGE_TEXT.search(sent.decode("latin-1"))) else plain(text[1]).encode()
        if request.method == "POST":
            return "put the message that follows a run" if b'"kind":"run"' in follow_up else "put the request"
        return "delete a message" if request.method == "DELETE" else None
    if "/factories/" in request.path:
        return "start a run" if request.path.endswith("/createRun") else f"{request.method} run"
    query = request.query
    part = "-".join(filter(None, (query.get("restype"), query.get("comp"))))
    return " ".join(filter(None, (request.method, _place(request.path), part)))


def _place(path: str) -> str:
    account, container, *blob = path.strip("/").split("/")
    if container.startswith("snapkeep-"):
        return container
    return f"{account} blob" if blob else f"{account} container"


async def _all_of(request: Request) -> bytes:
    return b"".join([piece async for piece in request.body.as_it_travels()])


def _body(content: bytes) -> Body:
    """A body that has come already, to be sent on as it came."""
    reader = asyncio.StreamReader()
    reader.feed_data(content)
    reader.feed_eof()
    return Body(reader, len(content))


async def _once(content: bytes) -> AsyncIterator[bytes]:
    if content:
        yield content


def _endpoint(connection_string: str, service: str) -> str:
    found = re.search(rf"{service}Endpoint=([^;]+)", connection_string)
    assert found is not None
    return found[1]

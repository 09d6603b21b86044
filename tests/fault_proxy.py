"""A proxy before a storage service (blob or queue) that fails requests on purpose, and records all of them.

    async with FaultProxy("http://127.0.0.1:10000") as proxy:
        rule = proxy.add(Rule(lose_answer(), method="PUT", target="comp=snapshot", times=1))
        ...
        assert proxy.count(method="PUT", target="comp=snapshot") == 2

The first rule that matches a request and is not used up decides what becomes of it; without one it passes
through.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from local.gateway.messages import Request, Response
from local.gateway.relay import DropConnection, Relay, Upstream
from local.gateway.responses import storage_error
from local.ports import LOOPBACK

Forward = Callable[[Request], Awaitable[Response]]
Action = Callable[[Request, Forward], Awaitable[Response]]
Hook = Callable[[Request], Awaitable[None]]


@dataclass
class Rule:
    """`action` befalls the requests that match all of this: at most `times`, after the first `skip`."""

    action: Action
    method: str | None = None
    target: str | re.Pattern[str] = ""  # part of the path and query as sent, or a pattern that is found in it
    headers: Mapping[str, str] = field(default_factory=dict)  # lower-case name: part of the value
    times: int | None = None
    skip: int = 0
    hits: int = 0  # how many requests it has befallen

    def takes(self, request: Request) -> bool:
        """Whether it befalls this request; counts it."""
        if not self._matches(request) or (self.times is not None and self.hits >= self.times):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.hits += 1
        return True

    def _matches(self, request: Request) -> bool:
        return (
            self.method in (None, request.method)
            and _found(self.target, request.target)
            and all(
                name in request.headers and part in request.headers.get(name) for name, part in self.headers.items()
            )
        )


@dataclass
class Call:
    """A request that the proxy has seen. `status` stays None when no answer reached the client."""

    method: str
    target: str
    status: int | None = None


class FaultProxy:
    """Listens once started; `calls` lists the requests in the order in which they came."""

    def __init__(self, upstream_url: str) -> None:
        """Only the host and port of `upstream_url` count."""
        address = urlsplit(upstream_url)
        if address.port is None:
            raise ValueError(f"expected a URL with a port, got {upstream_url}")
        self._upstream = Upstream(address.port, address.hostname or LOOPBACK)
        self._relay = Relay(self._answer)
        self._rules: list[Rule] = []
        self.calls: list[Call] = []

    async def start(self, port: int = 0) -> None:
        await self._relay.start(port)

    async def stop(self) -> None:
        await self._relay.stop()
        self._upstream.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        return self._relay.port

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def in_place_of(self, connection_string: str, service: str) -> str:
        """A connection string whose `service` ("Blob" or "Queue") endpoint goes through this proxy."""
        return re.sub(rf"({service}Endpoint=http://)[^/;]+", rf"\g<1>{LOOPBACK}:{self.port}", connection_string)

    def add(self, rule: Rule) -> Rule:
        self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget all rules and all recorded calls."""
        self._rules.clear()
        self.calls.clear()

    def count(self, *, method: str | None = None, target: str | re.Pattern[str] = "") -> int:
        """How many requests have come of this method and with this in their target."""
        return sum(method in (None, call.method) and _found(target, call.target) for call in self.calls)

    async def _answer(self, request: Request) -> Response:
        call = Call(request.method, request.target)
        self.calls.append(call)
        rule = next((rule for rule in self._rules if rule.takes(request)), None)
        if rule is None:
            response = await self._upstream.forward(request)
        else:
            response = await rule.action(request, self._upstream.forward)
        call.status = response.status
        return response


def answer(status: int, code: str, *, retry_after: int | None = None) -> Action:
    """Answer an error of the service without asking it: `answer(503, "ServerBusy", retry_after=1)`."""

    async def act(_request: Request, _forward: Forward) -> Response:
        headers = [] if retry_after is None else [("Retry-After", str(retry_after))]
        return storage_error(status, code, "This request fails on purpose.", *headers)

    return act


def reset() -> Action:
    """End the connection without telling the service anything."""

    async def act(_request: Request, _forward: Forward) -> Response:
        raise DropConnection

    return act


def lose_answer() -> Action:
    """Let the service do the work, then end the connection in place of its answer."""

    async def act(request: Request, forward: Forward) -> Response:
        await (await forward(request)).read()
        raise DropConnection

    return act


def cut_body(after: int) -> Action:
    """End the connection after the first `after` bytes of the answer's body."""

    async def act(request: Request, forward: Forward) -> Response:
        response = await forward(request)
        response.body = _cut(response.body, after)
        return response

    return act


def hold(until: asyncio.Event) -> Action:
    """Forward the request only when `until` is set."""

    async def act(request: Request, forward: Forward) -> Response:
        await until.wait()
        return await forward(request)

    return act


def call_hook(*, before: Hook | None = None, after: Hook | None = None) -> Action:
    """Forward the request; wait for `before` ahead of that, and for `after` ahead of the answer."""

    async def act(request: Request, forward: Forward) -> Response:
        if before is not None:
            await before(request)
        response = await forward(request)
        if after is not None:
            try:
                await after(request)
            except BaseException:
                response.release()
                raise
        return response

    return act


def pages_of(size: int) -> Action:
    """Let the service answer a listing in pages of `size`: a SAS, which listings carry, doesn't sign their size."""

    async def act(request: Request, forward: Forward) -> Response:
        target = re.sub(r"maxresults=\d+", f"maxresults={size}", request.target)
        head = request.head.replace(request.target.encode("latin-1"), target.encode("latin-1"), 1)
        return await forward(replace(request, target=target, head=head))

    return act


async def _cut(body: AsyncIterator[bytes], left: int) -> AsyncIterator[bytes]:
    async for piece in body:
        if len(piece) > left:
            yield piece[:left]
            raise DropConnection
        left -= len(piece)
        yield piece
    raise AssertionError("cut_body: the body was shorter than where it should have been cut")


def _found(part: str | re.Pattern[str], text: str) -> bool:
    return part in text if isinstance(part, str) else part.search(text) is not None

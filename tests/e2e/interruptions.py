"""Stands between a command and the storage services, and ends or disturbs it at one of its calls.

Each command has a wire of its own, so that many can be interrupted at the same time.
"""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self

from local.gateway.messages import Request, Response
from local.gateway.relay import DropConnection
from tests.e2e.app import Ready
from tests.fault_proxy import FaultProxy, Forward, Rule

READS = ("GET", "HEAD")
WHOLE = {"", "blocklist", "appendblock", "page"}
"""What `comp` says in calls that write a blob, or a piece of one that is written piece by piece."""


class Fate(Enum):
    """What befalls a command at a call."""

    KILLED = "killed when the service has carried it out"
    CTRL_C = "Ctrl-C while it waits for the answer"
    CUT = "no service is to be reached until it gives that up"


@dataclass(frozen=True)
class Point:
    """The `number`th call of a kind, and what befalls the command there."""

    kind: str
    number: int
    fate: Fate

    def __str__(self) -> str:
        return f"{self.kind} {self.number}: {self.fate.value}"


class Wire:
    """One command's way to the storage services: disturbed at one point, and sound again once it was mended."""

    def __init__(self, stack: Ready, point: Point | None = None) -> None:
        self._stack = stack
        self._point = point
        self._proxy = FaultProxy(_endpoint(stack["source"]))  # one address serves all accounts
        self._over = asyncio.Event()
        self._call = ("", "")
        self.reached = asyncio.Event()
        self.kinds: Counter[str] = Counter()
        """What calls were made since it is sound, in the order in which each first came, and how often."""
        self.written: Counter[str] = Counter()
        """How often each blob was written or deleted, by its path; answers that got lost count."""

    def mend(self) -> None:
        """What was held ends; every call passes from now on."""
        self._point = None
        self._over.set()
        self.kinds.clear()

    async def __aenter__(self) -> Self:
        await self._proxy.start()
        self._proxy.add(Rule(self._act))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        await self._proxy.stop()

    @property
    def services(self) -> Ready:
        """The services as the command is to see them."""
        accounts = ("source", "backup", "queue")
        return self._stack | {name: self._proxy.in_place_of(self._stack[name], "Blob") for name in accounts}

    async def _act(self, request: Request, forward: Forward) -> Response:
        kind = _kind(request)
        self.kinds[kind] += 1
        point = self._point
        if point is None:
            return await self._carry_out(request, forward)
        if (point.kind, point.number) == (kind, self.kinds[kind]):
            self.reached.set()
            if point.fate is Fate.KILLED:
                await (await self._carry_out(request, forward)).read()
            self._call = (kind, request.path)
        elif self._is_let_through(point, kind, request.path):
            return await self._carry_out(request, forward)
        if point.fate is not Fate.CUT:
            await self._over.wait()
        raise DropConnection

    def _is_let_through(self, point: Point, kind: str, path: str) -> bool:
        """What is dead makes no calls; a line that is cut is so for one call, however often that is tried."""
        if not self.reached.is_set() or point.fate is Fate.CTRL_C:
            return True
        return point.fate is Fate.CUT and self._call != (kind, path)

    async def _carry_out(self, request: Request, forward: Forward) -> Response:
        response = await forward(request)
        if response.ok and request.method in {"PUT", "DELETE"} and request.query.get("comp", "") in WHOLE:
            self.written[request.path] += 1
        return response


def points_of(kinds: Counter[str]) -> list[Point]:
    """The first write of each kind, and the last. Behind a write is before the next one: one of the two will do."""
    writes = {kind: count for kind, count in kinds.items() if not kind.startswith(READS)}
    return [
        *(Point(kind, 1, Fate.KILLED) for kind in writes),
        *(Point(kind, count, Fate.CTRL_C) for kind, count in writes.items() if count > 1),
    ]


def _kind(request: Request) -> str:
    """What a call is, in words, whichever container and blob it is for."""
    account, container, *blob = request.path.strip("/").split("/")
    query = request.query
    what = "-".join(filter(None, (query.get("restype"), query.get("comp"))))
    if container == "snapkeep-state":
        place = f"state {re.sub(r'-[0-9]+(?=[.])', '', blob[-1])}" if blob else "state container"
    else:
        place = f"{account} blob" if blob else f"{account} container"
    return " ".join(filter(None, (request.method, place, what)))


def _endpoint(connection_string: str) -> str:
    found = re.search(r"BlobEndpoint=([^;]+)", connection_string)
    assert found is not None
    return found[1]

"""What befalls Snapkeep in the middle of its work: an external call that fails, or somebody who is quicker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from local.demo import contract
from local.gateway.messages import Request, Response
from shared.errors import SnapkeepError
from shared.services import Services
from shared.settings import Settings
from tests.fault_proxy import Forward, Rule
from tests.model.model import Content, short
from tests.model.world import World
from tests.sweep import FaultAt, Kind


class Fault(NamedTuple):
    """An external call fails, by its number."""

    kind: Kind
    number: int

    def __str__(self) -> str:
        return f"while its external call number {self.number} is {self.kind}"


class Meddling(NamedTuple):
    """Just before an external call, by its number, somebody writes or (without content) deletes a blob."""

    number: int
    name: str
    content: Content | None

    def __str__(self) -> str:
        what = "deletes" if self.content is None else f"writes {self.content.kind}, {len(self.content.body)} bytes, to"
        return f"while somebody {what} {short(self.name)} just before its external call number {self.number}"


Disturbance = Fault | Meddling
Work = Callable[[Services], Awaitable[Any]]


async def disturbed(world: World, disturbance: Disturbance, work: Work) -> bool:
    """Runs something of Snapkeep's while it is disturbed; gives whether it came to that call.

    Of a call that failed Snapkeep may say so by an error. That somebody was quicker is its everyday business.
    """
    bench = world.bench
    for proxy in bench.proxies:
        proxy.clear()
    settings = Settings.load({**bench.behind_proxies, "SNAPKEEP_INCLUDE_CONTAINERS": world.container})
    async with Services.open(settings) as services:
        if isinstance(disturbance, Meddling):
            meddler = _Meddler(world, disturbance)
            for proxy in bench.proxies:
                proxy.add(Rule(meddler.act))
            await work(services)
            bench.tally["meddlings"] += meddler.came
            return meddler.came
        fault = FaultAt(*disturbance)
        fault.stand_before(*bench.proxies)
        task = asyncio.ensure_future(work(services))
        fault.crash = task.cancel
        with contextlib.suppress(asyncio.CancelledError, SnapkeepError):
            await task  # what it leaves behind is looked at
    for lock in await bench.state.list(contract.STATE, "locks/"):
        await bench.state.break_lease(contract.STATE, lock.name)  # as if the minute were over that a lease lasts
    bench.tally["failed calls"] += bool(fault.struck)
    return bool(fault.struck)


class _Meddler:
    """Counts calls, and acts before one of them."""

    def __init__(self, world: World, meddling: Meddling) -> None:
        self._world, self._meddling = world, meddling
        self._seen = 0
        self.came = False

    async def act(self, request: Request, forward: Forward) -> Response:
        self._seen += 1
        if self._seen == self._meddling.number:
            self.came = True
            await self._world.meddle(self._meddling.name, self._meddling.content)
        return await forward(request)

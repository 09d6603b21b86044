"""Lets chosen external calls fail, by their numbers: the means of the tests that try each point of a crash."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum

from local.gateway.messages import Request, Response
from local.gateway.relay import DropConnection
from tests.fault_proxy import FaultProxy, Forward, Rule, answer

_REFUSE = answer(403, "AuthorizationFailure")


class Kind(StrEnum):
    """What befalls a call."""

    REFUSED = "refused"
    """The service does nothing, and says so for good: it is not tried again."""
    LOST = "lost"
    """The service does it, and its answer does not arrive: the client tries again."""
    CRASH = "crash"
    """The service does it, and the program ends before it knows: no call comes after that one."""


class FaultAt:
    """Befalls one call, by its number among all that go through some proxies; with `every`, more after it.

    `crash` is called where the program is to end. `struck` lists the calls that something befell.
    """

    def __init__(self, kind: Kind, number: int, every: int = 0) -> None:
        self._kind, self._next, self._every = kind, number, every
        self._seen = 0
        self._dead = False
        self.crash: Callable[[], object] = lambda: None
        self.struck: list[str] = []

    def stand_before(self, *proxies: FaultProxy, target: str | re.Pattern[str] = "") -> None:
        """Counts the calls to these, or of them those with this in their target alone."""
        for proxy in proxies:
            proxy.add(Rule(self._act, target=target))

    async def _act(self, request: Request, forward: Forward) -> Response:
        if self._dead:
            return await _REFUSE(request, forward)  # of a program that has ended there is nothing to hear
        self._seen += 1
        if self._seen != self._next:
            return await forward(request)
        self._next += self._every
        self.struck.append(f"{request.method} {request.target.partition('?')[0]}")
        if self._kind is Kind.REFUSED:
            return await _REFUSE(request, forward)
        await (await forward(request)).read()
        if self._kind is Kind.CRASH:
            self._dead = True
            self.crash()
        raise DropConnection

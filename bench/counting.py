"""Counts the calls that a client makes: a proxy before Azurite's blob or queue service."""

from __future__ import annotations

import re
from collections import Counter
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from bench.sas import blob_endpoint, queue_endpoint
from local.gateway.messages import Request, Response
from local.gateway.relay import Relay, Upstream
from local.gateway.transactions import Transactions


class CountingProxy:
    """Before the "Blob" or "Queue" service of a connection string; passes everything on.

    `listed` counts the listings of each container, by its path: /account/container.
    """

    def __init__(self, text: str, service: str) -> None:
        self._service = service
        address = urlsplit(blob_endpoint(text) if service == "Blob" else queue_endpoint(text))
        assert address.port is not None  # noqa: S101 -- for the type checker
        self._upstream = Upstream(address.port)
        self._relay = Relay(self._answer)
        self.transactions = Transactions()
        self.listed: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        await self._relay.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._relay.stop()
        self._upstream.close()

    def before(self, text: str) -> str:
        """A connection string whose service is reached through this proxy."""
        return re.sub(rf"({self._service}Endpoint=http://[^/:;]+:)\d+", rf"\g<1>{self._relay.port}", text)

    async def _answer(self, request: Request) -> Response:
        if self._service == "Blob":
            self.transactions.count(request)
            if request.query.get("comp") == "list":
                self.listed[request.path] += 1
        else:
            self.transactions.count_queue(request)
        return await self._upstream.forward(request)

"""Makes the few kinds of calls that are made once for every blob, at the least cost that one can have.

They go to aiohttp directly: a call takes about 130 µs of CPU so, about 550 through azure-core's pipeline with no
policy at all, and 1,400 through the SDK's clients. What those do for a call is done here: retries with jitter
within a budget, Retry-After, request ids, the user agent, spans where tracing is on. All other calls are the SDK's.

aiohttp itself repeats a call once, unless it is a POST, when a connection that had been used before ends without
an answer: the service may have carried it out. So it may for every retry, whoever makes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from uuid import uuid4

import aiohttp
from azure.core.pipeline import PipelineContext, PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import DistributedTracingPolicy
from azure.core.rest import HttpRequest
from azure.core.settings import settings
from yarl import URL

from shared.adapters.pacing import DEFAULT_CAP, Pacer
from shared.adapters.retrying import RETRIES, asked_seconds, passes, wait_seconds
from shared.adapters.signing import USER_AGENT, Bearer, Signature
from shared.adapters.translate import answered_error, azure_errors
from shared.errors import ServiceUnavailable

API_VERSION = "2023-11-03"

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
_BUSY = {429, 503}
_UNAUTHORIZED = 401


class Answer(NamedTuple):
    """What the service answered to a call that it carried out."""

    status: int
    headers: Mapping[str, str]


class Calls:
    """Calls to one account's blob or queue service. The session is made at the first, inside its event loop."""

    def __init__(
        self, endpoint: str, signature: Signature, bearer: Bearer | None, calls_at_once: int = DEFAULT_CAP
    ) -> None:
        self._endpoint = endpoint
        self._signature = signature
        self._bearer = bearer
        self._calls_at_once = calls_at_once
        self._pacers: dict[str, Pacer] = {}
        self._session: aiohttp.ClientSession | None = None
        self._traces = False

    def pacer(self, kind: str) -> Pacer:
        """What decides how many calls of a kind are under way."""
        if kind not in self._pacers:
            self._pacers[kind] = Pacer(self._calls_at_once)
        return self._pacers[kind]

    async def send(
        self,
        method: str,
        path: str,
        kind: str,
        doing: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        write_once: bool = False,
    ) -> Answer:
        """Makes a call, again and again within its budget while it meets what may pass.

        Args:
            path: percent-encoded, below the service's address.
            kind: what it is, in a word: calls of one kind take about as long.
            doing, write_once: as in `shared.adapters.translate.azure_errors`.

        Raises:
            SnapkeepError: the service refused it, or gave no answer, by the last of the attempts.
        """
        address = f"{self._endpoint}/{path}"
        attempt = 0
        while True:
            attempt += 1
            found = await self._attempt(method, address, query, kind, dict(headers or {}), body, doing)
            if isinstance(found, Answer) and found.status < 300:
                return found
            may_pass = not isinstance(found, Answer) or passes(found.status)
            if may_pass and attempt <= RETRIES:
                await asyncio.sleep(wait_seconds(attempt, found if isinstance(found, Answer) else None))
            elif isinstance(found, Answer):
                code = found.headers.get("x-ms-error-code", "no error code")
                raise answered_error(found.status, code, doing, write_once=write_once)
            else:
                # An exception of aiohttp's may hold the address, and that a SAS: it goes no further.
                raise ServiceUnavailable(f"{doing}: no answer from the service ({type(found).__name__})")

    async def _attempt(
        self,
        method: str,
        address: str,
        query: str,
        kind: str,
        headers: dict[str, str],
        body: bytes | None,
        doing: str,
    ) -> Answer | Exception:
        """One attempt in its turn; a second at once with a new token where the service takes the one it has no more."""
        pacer = self.pacer(kind)
        turn = await pacer.begin()
        answer: Answer | Exception | None = None
        try:
            answer = await self._request(method, address, query, headers, body, doing)
            if isinstance(answer, Answer) and answer.status == _UNAUTHORIZED and self._bearer is not None:
                self._bearer.forget(headers["Authorization"])
                answer = await self._request(method, address, query, headers, body, doing)
            return answer
        finally:
            status = answer.status if isinstance(answer, Answer) else 0
            refused = status in _BUSY
            pacer.end(
                turn,
                answered=0 < status < 500,
                refused=refused,
                pause_seconds=asked_seconds(answer) if refused else 0.0,
            )

    async def _request(
        self, method: str, address: str, query: str, headers: dict[str, str], body: bytes | None, doing: str
    ) -> Answer | Exception:
        if self._session is None:
            self._session = _session(self._endpoint)
            self._traces = settings.tracing_enabled()  # which takes a tenth of a whole call, each time
        headers["x-ms-client-request-id"] = str(uuid4())
        if self._bearer is not None:
            with azure_errors(doing):
                headers["Authorization"] = await self._bearer.header()
        # What is traced knows nothing of the signature.
        span = _Span(method, f"{address}?{query}" if query else address, headers) if self._traces else None
        signed = "&".join(filter(None, (query, self._signature.query())))
        url = f"{address}?{signed}" if signed else address
        try:
            async with self._session.request(
                method, URL(url, encoded=True), headers=headers, data=body, allow_redirects=False
            ) as response:
                await response.read()
        except (aiohttp.ClientError, OSError) as error:  # of which TimeoutError is one
            if span is not None:
                span.end(0, {})
            return error
        answer = Answer(response.status, response.headers)
        if span is not None:
            span.end(*answer)
        return answer

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class _Span:
    """A call as azure-core's own policy traces it; its context goes along in the headers."""

    _policy: DistributedTracingPolicy[Any, Any] = DistributedTracingPolicy()

    def __init__(self, method: str, url: str, headers: dict[str, str]) -> None:
        self._request = PipelineRequest(HttpRequest(method, url, headers=headers), PipelineContext(None))
        self._policy.on_request(self._request)
        headers.update(self._request.http_request.headers)

    def end(self, status: int, headers: Mapping[str, str]) -> None:
        answer = _Traced(status, headers)
        self._policy.on_response(
            self._request, PipelineResponse(self._request.http_request, answer, self._request.context)
        )


class _Traced(NamedTuple):
    status_code: int
    headers: Mapping[str, str]


def proxy_of(endpoint: str) -> str | None:
    """The proxy that the environment names for this address. aiohttp would find it out anew for each call."""
    address = urlsplit(endpoint)
    return None if proxy_bypass(address.hostname or "") else getproxies().get(address.scheme)


def _session(endpoint: str) -> aiohttp.ClientSession:
    """How many connections there are, the pacer decides."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": USER_AGENT, "x-ms-version": API_VERSION, "Accept": "*/*"},
        skip_auto_headers=("Accept-Encoding", "Content-Type"),
        auto_decompress=False,
        timeout=_TIMEOUT,
        proxy=proxy_of(endpoint),
    )

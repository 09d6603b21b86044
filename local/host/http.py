"""The HTTP side of the host: the functions' routes, and what administrators may call.

From azure-functions-host: WebScriptHostHttpRoutesManager (a method that a route does not list is not found,
there is no 405), FunctionInvocationMiddleware (route first, then key), FunctionsController and HostController
for /admin.
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import SimpleCookie
from typing import Any

from aiohttp import web
from azure.functions.meta import Datum

from local.host.app import HttpTrigger, LoadedFunction
from local.host.errors import HostStartError
from local.host.invocations import Invocations
from local.host.keys import Access, Keys
from local.host.routes import compile_route
from local.host.trigger_data import http_data
from local.ports import LOOPBACK

MAX_BODY_BYTES = 100 * 1024 * 1024

# Starts a function by hand with the given input, and does not wait for it.
ManualStart = Callable[[LoadedFunction, str], None]


@dataclass(frozen=True)
class _Endpoint:
    function: LoadedFunction
    trigger: HttpTrigger
    pattern: re.Pattern[str]


class HttpServer:
    """Serves on loopback only."""

    def __init__(
        self,
        functions: Iterable[LoadedFunction],
        route_prefix: str,
        keys: Keys,
        invocations: Invocations,
        start_by_hand: ManualStart,
        answer_seconds: float,
    ) -> None:
        self._functions = {function.name.lower(): function for function in functions}
        self._endpoints = [
            _Endpoint(function, function.trigger, compile_route(route_prefix, function.trigger.route))
            for function in self._functions.values()
            if isinstance(function.trigger, HttpTrigger)
        ]
        self._keys = keys
        self._invocations = invocations
        self._start_by_hand = start_by_hand
        self._answer_seconds = answer_seconds
        self._stopping = False
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_route("*", "/{path:.*}", self._handle)
        # No access log: the query holds keys.
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)

    async def start(self, port: int) -> str:
        """Returns the base URL. Raises HostStartError when the port is taken."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, LOOPBACK, port).start()
        except OSError as error:
            raise HostStartError(
                f"cannot listen on {LOOPBACK}:{port}: {error.strerror}; choose another port"
            ) from error
        return f"http://{LOOPBACK}:{self._runner.addresses[0][1]}"

    def refuse_new_requests(self) -> None:
        self._stopping = True

    async def close(self) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        if self._stopping:
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the host is stopping")
        try:
            if re.match(r"/admin(/|$)", request.path, re.IGNORECASE):
                return await self._answer_administrator(request)
            return await self._answer(request)
        except web.HTTPRequestEntityTooLarge:
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {MAX_BODY_BYTES} bytes")

    async def _answer(self, request: web.Request) -> web.Response:
        matching = [(endpoint, match) for endpoint in self._endpoints if (match := _match(endpoint, request))]
        if not matching:
            return _refusal(HTTPStatus.NOT_FOUND, "no function has this route")
        allowed = [(e, m) for e, m in matching if not e.trigger.methods or request.method in e.trigger.methods]
        if not allowed:
            return _refusal(HTTPStatus.NOT_FOUND, f"no function takes {request.method} on this route")
        endpoint, match = allowed[0]
        if self._keys.access_of(request.headers, request.query) < endpoint.trigger.access:
            return _refusal(HTTPStatus.UNAUTHORIZED, "a key is missing or wrong: send it as x-functions-key or ?code=")
        data = http_data(
            method=request.method,
            url=str(request.url),
            headers=request.headers.items(),
            query=request.query.items(),
            route_parameters={name: value for name, value in match.groupdict().items() if value is not None},
            body=await request.read(),
        )
        invocation = self._invocations.start(endpoint.function, data, f"HTTP {request.method}")
        done, _ = await asyncio.wait({invocation}, timeout=self._answer_seconds)
        if not done:
            # The platform's load balancer gives up; the function goes on.
            return _refusal(
                HTTPStatus.GATEWAY_TIMEOUT, f"the function did not answer within {self._answer_seconds:g} s"
            )
        result = invocation.result()
        if not result.succeeded or result.answer is None:
            return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)
        return _response(result.answer)

    async def _answer_administrator(self, request: web.Request) -> web.Response:
        path = request.path.lower().rstrip("/")
        if path == "/admin/host/ping":
            return web.Response()
        access = self._keys.access_of(request.headers, request.query)
        if access < Access.ADMIN:
            # Known, but not an administrator: 403; unknown: 401.
            status = HTTPStatus.FORBIDDEN if access else HTTPStatus.UNAUTHORIZED
            return _refusal(status, "this needs the master key")
        if path == "/admin/host/status":
            return web.json_response({"state": "Running"})
        name = path.removeprefix("/admin/functions/")
        if name == path or request.method != "POST":
            return _refusal(HTTPStatus.NOT_FOUND, "there is no such administrator's call")
        return await self._invoke_by_hand(name, request)

    async def _invoke_by_hand(self, name: str, request: web.Request) -> web.Response:
        function = self._functions.get(name)
        if function is None:
            return _refusal(HTTPStatus.NOT_FOUND, "no function has this name")
        try:
            document = json.loads(await request.read())
        except ValueError:
            document = None
        given = document.get("input", "") if isinstance(document, dict) else None
        if not isinstance(given, str | None) or not isinstance(document, dict):
            return _refusal(HTTPStatus.BAD_REQUEST, 'the body must be a JSON object such as {"input": ""}')
        self._start_by_hand(function, given or "")
        return web.Response(status=HTTPStatus.ACCEPTED)


def _match(endpoint: _Endpoint, request: web.Request) -> re.Match[str] | None:
    return endpoint.pattern.fullmatch(request.path)


def _refusal(status: HTTPStatus, reason: str) -> web.Response:
    # The platform answers without a body; one in the app's own form tells a person why.
    return web.json_response({"error": {"code": status.phrase.replace(" ", ""), "message": reason}}, status=status)


def _response(answer: Datum) -> web.Response:
    if answer.type == "string":
        return web.Response(text=answer.value)
    parts: dict[str, Any] = answer.value
    response = web.Response(
        status=int(parts["status_code"].value),
        body=parts["body"].value,
        headers={name: datum.value for name, datum in parts["headers"].items()},
    )
    cookies: list[SimpleCookie] = parts.get("cookies") or []
    for cookie in cookies:
        for morsel in cookie.values():
            response.headers.add("Set-Cookie", morsel.OutputString())
    return response

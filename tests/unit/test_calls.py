"""The calls that are made for every blob: what is sent, what is tried again, and what is said when it fails."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, ClassVar
from urllib.parse import unquote

import pytest
from aiohttp import web
from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError
from azure.core.settings import settings
from azure.storage.blob import AccountSasPermissions, Services

from shared import __version__
from shared.adapters import retrying
from shared.adapters.accounts import Account
from shared.adapters.calls import Answer, Calls
from shared.adapters.requests import RequestQueue
from shared.adapters.signing import Bearer, Signature
from shared.adapters.source import SourceStorage
from shared.connections import Connection
from shared.decisions.messages import request
from shared.errors import BlobChanged, ServiceUnavailable, SnapkeepError, StorageFailed
from shared.model import Version
from shared.parallel import for_each
from tests.canned import Asked, Canned, Reply, canned, refuse
from tests.names import HARD_NAMES
from tests.waiting import until

VERSION = Version("a b.csv", "0x8DE27F0A1B2C3D4", "2026-11-20T14:05:33Z", 812)
KEY = "c2VjcmV0LWtleQ=="
STATE = {
    "ETag": '"0x8DE27F0A1B2C3D4"',
    "Last-Modified": "Fri, 20 Nov 2026 14:05:33 GMT",
    "Content-Length": "812",
    "x-ms-blob-type": "BlockBlob",
}


def created(_asked: Asked) -> web.Response:
    return web.Response(status=201)


def one_by_one(*replies: Reply) -> Reply:
    """The first request gets the first reply, and so on; the last is for all that follow."""
    left = list(replies)

    def reply(asked: Asked) -> Any:
        return (left.pop(0) if len(left) > 1 else left[0])(asked)

    return reply


def refusing(status: int, code: str, **headers: str) -> Reply:
    return lambda _asked: refuse(status, code, **headers)


def lost(asked: Asked) -> web.Response:
    """The connection ends in place of an answer."""
    asked.transport.abort()
    return web.Response()


def connection(url: str) -> Connection:
    text = f"AccountName=account;AccountKey={KEY};BlobEndpoint={url}/account;QueueEndpoint={url}/account"
    return Connection("SourceStorage", text)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the time that lies between two attempts."""
    monkeypatch.setattr(retrying, "_jitter", lambda _attempt: 0.0)


class Opened:
    """Adapters before a canned server."""

    def __init__(self, server: Canned, cap: int = 128) -> None:
        self.server = server
        self.account = Account(connection(server.url), cap)
        self.source = SourceStorage(self.account)
        self.queue = RequestQueue(connection(server.url), "requests")

    async def snapshot(self, version: Version = VERSION) -> None:
        await self.source.take_snapshot("raw", version)


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., Any]]:
    running: list[tuple[Any, Opened]] = []

    async def start(reply: Reply, cap: int = 128) -> Opened:
        context = canned(reply)
        running.append((context, Opened(await context.__aenter__(), cap)))
        return running[-1][1]

    yield start
    for context, adapters in running:
        await adapters.source.close()
        await adapters.queue.close()
        await context.__aexit__(None, None, None)


# What is sent


async def test_a_snapshot_is_one_call_with_all_that_belongs_to_it(opened: Callable[..., Any]) -> None:
    adapters = await opened(created)
    await adapters.snapshot()
    await adapters.snapshot()
    first, second = adapters.server.asked
    assert first.method == "PUT"
    assert re.fullmatch(r"/account/raw/a%20b\.csv\?comp=snapshot&(\w+=[^&]*&)*sig=[^&]+", first.target)
    assert first.headers["if-match"] == '"0x8DE27F0A1B2C3D4"'
    assert first.headers["user-agent"] == f"snapkeep/{__version__}"
    assert first.headers["x-ms-version"]
    assert not [name for name in first.headers if name.startswith("x-ms-meta") or name == "accept-encoding"]
    ids = {asked.headers["x-ms-client-request-id"] for asked in (first, second)}
    assert all(re.fullmatch(r"[0-9a-f-]{36}", each) for each in ids)
    assert len(ids) == 2


@pytest.mark.parametrize("name", sorted(HARD_NAMES.values()))
async def test_a_name_is_sent_byte_for_byte(name: str, opened: Callable[..., Any]) -> None:
    adapters = await opened(lambda asked: web.Response(headers=STATE) if asked.method == "HEAD" else created(asked))
    await adapters.snapshot(VERSION._replace(name=name))
    assert await adapters.source.state("raw", name, "2026-11-20T14:05:34.1234567Z") is not None
    for asked, query in zip(
        adapters.server.asked, ("comp=snapshot", "snapshot=2026-11-20T14%3A05%3A34.1234567Z"), strict=True
    ):
        path, _, rest = asked.target.partition("?")
        assert unquote(path, errors="strict") == f"/account/raw/{name}"
        assert path.isascii()
        assert rest.startswith(f"{query}&")


async def test_a_message_is_put_with_its_delay_and_never_expires(opened: Callable[..., Any]) -> None:
    adapters = await opened(created)
    await adapters.queue.send(request("raw", [VERSION], VERSION.last_modified), 90.4)
    [asked] = adapters.server.asked
    assert (asked.method, asked.target.partition("&sv")[0].partition("&se")[0]) == (
        "POST",
        "/account/requests/messages?visibilitytimeout=90&messagettl=-1",
    )
    assert re.fullmatch(rb"<QueueMessage><MessageText>[A-Za-z0-9+/=]+</MessageText></QueueMessage>", asked.body)
    assert "ss=q" in asked.target


async def test_a_head_tells_all_that_decisions_need(opened: Callable[..., Any]) -> None:
    headers = STATE | {
        "Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg==",
        "Content-Type": "text/csv",
        "Content-Encoding": "gzip",
        "x-ms-access-tier": "Cool",
        "x-ms-access-tier-inferred": "true",
        "x-ms-copy-status": "pending",
        "x-ms-tag-count": "3",
        "x-ms-meta-Owner": "Ünal",
    }
    adapters = await opened(lambda _asked: web.Response(headers=headers))
    state = await adapters.source.state("raw", VERSION.name)
    assert state is not None
    assert state.version == VERSION
    assert (state.md5, state.headers.content_type, state.headers.content_encoding) == (
        "1B2M2Y8AsgTpgAmY7PhCfg==",
        "text/csv",
        "gzip",
    )
    assert (state.tier, state.tier_inferred, state.copying, state.tag_count) == ("Cool", True, "pending", 3)
    assert state.metadata == {"Owner": "Ünal"}


@pytest.mark.parametrize("missing", ["ETag", "Last-Modified"])
async def test_a_head_that_is_not_understood_is_an_error(missing: str, opened: Callable[..., Any]) -> None:
    headers = {name: value for name, value in STATE.items() if name != missing}
    adapters = await opened(lambda _asked: web.Response(headers=headers))
    with pytest.raises(StorageFailed, match="not understood"):
        await adapters.source.state("raw", VERSION.name)


# Identities


class Identity(AsyncTokenCredential):
    """A credential whose tokens are numbered."""

    def __init__(self, lives_seconds: int = 3600) -> None:
        self.given = 0
        self._lives_seconds = lives_seconds

    async def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        self.given += 1
        await asyncio.sleep(0)
        return AccessToken(f"token-{self.given}", int(time.time()) + self._lives_seconds)

    async def close(self) -> None:
        pass

    async def __aexit__(self, *_error: object) -> None:
        pass


@asynccontextmanager
async def with_identity(server: Canned, identity: Identity) -> AsyncIterator[Callable[[], Awaitable[Answer]]]:
    """Calls with a bearer token. The SDK's clients refuse one without TLS, so that there is no account around them."""
    of_nothing = Connection("SourceStorage", blob_uri=server.url)
    signature = Signature(of_nothing, identity, AccountSasPermissions(), services=Services(blob=True))
    calls = Calls(server.url, signature, Bearer(identity))
    yield lambda: calls.send("PUT", "raw/a", "snapshot", "snapshot raw/a", query="comp=snapshot")
    await calls.close()


async def test_one_token_serves_many_calls_and_no_sas_goes_along() -> None:
    identity = Identity()
    async with canned(created) as server, with_identity(server, identity) as call:
        await asyncio.gather(*(call() for _ in range(20)))
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer token-1"}
    assert {asked.target for asked in server.asked} == {"/raw/a?comp=snapshot"}
    assert identity.given == 1


async def test_a_token_is_renewed_before_it_ends() -> None:
    async with canned(created) as server, with_identity(server, Identity(lives_seconds=100)) as call:
        await call()
        await call()
    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer token-1", "Bearer token-2"]


async def test_a_token_that_is_refused_is_renewed_once() -> None:
    refused = refusing(401, "InvalidAuthenticationInfo")
    async with canned(one_by_one(refused, created)) as server, with_identity(server, Identity()) as call:
        await call()
    async with canned(refused) as server, with_identity(server, Identity()) as call:
        with pytest.raises(StorageFailed, match="permissions"):
            await call()
    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer token-1", "Bearer token-2"]


async def test_an_identity_that_gets_no_token_is_an_error_of_the_projects_own() -> None:
    class Nobody(Identity):
        async def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
            raise ClientAuthenticationError("no token for you")

    async with canned(created) as server, with_identity(server, Nobody()) as call:
        with pytest.raises(SnapkeepError, match="snapshot raw/a"):
            await call()
    assert server.asked == []


async def test_a_sas_of_the_connection_string_is_used_as_it_is() -> None:
    async with canned(created) as server:
        text = f"BlobEndpoint={server.url}/account;SharedAccessSignature=?sv=1&sig=a%2Bb"
        source = SourceStorage(Account(Connection("SourceStorage", text)))
        await source.take_snapshot("raw", VERSION)
        await source.close()
    assert server.asked[0].target == "/account/raw/a%20b.csv?comp=snapshot&sv=1&sig=a%2Bb"


# Spans


class Span:
    """Spans as a plugin of azure-core's makes them."""

    ended: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, span: Any = None, name: str = "", **_options: Any) -> None:
        self.span_instance = span or self
        self.attributes: dict[str, Any] = {"name": name}

    def add_attribute(self, key: str, value: Any) -> None:
        self.attributes[key] = value

    def to_header(self) -> dict[str, str]:
        return {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}

    def set_http_attributes(self, request: Any, response: Any = None) -> None:
        self.attributes |= {"method": request.method, "url": request.url, "status": response.status_code}

    def finish(self) -> None:
        self.ended.append(self.attributes)

    @classmethod
    @contextmanager
    def change_context(cls, _span: Any) -> Iterator[None]:
        yield


@pytest.fixture
def tracing() -> Iterator[None]:
    settings.tracing_implementation.set_value(Span)  # type: ignore[arg-type]  # what of a span azure-core uses
    settings.tracing_enabled.set_value(True)
    yield
    settings.tracing_implementation.unset_value()
    settings.tracing_enabled.unset_value()


@pytest.mark.usefixtures("tracing")
async def test_a_call_is_traced_where_tracing_is_on_and_its_context_goes_along(opened: Callable[..., Any]) -> None:
    Span.ended.clear()
    adapters = await opened(created)
    await adapters.snapshot()
    [asked], [span] = adapters.server.asked, Span.ended
    assert asked.headers["traceparent"] == Span().to_header()["traceparent"]
    assert (span["method"], span["status"]) == ("PUT", 201)
    assert span["az.client_request_id"] == asked.headers["x-ms-client-request-id"]
    assert span["url"].endswith("/raw/a%20b.csv?comp=snapshot")
    assert "sig=" not in str(span)


# What fails


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    "failure",
    [
        lost,
        refusing(500, "InternalError"),
        refusing(503, "ServerBusy"),
        refusing(429, "TooManyRequests"),
        refusing(408, "x"),
    ],
    ids=["lost", "500", "503", "429", "408"],
)
async def test_what_may_pass_is_tried_again_within_a_budget(failure: Reply, opened: Callable[..., Any]) -> None:
    adapters = await opened(one_by_one(*[failure] * 4, created))
    await adapters.snapshot()
    assert len(adapters.server.asked) >= 5
    for_good = await opened(failure)
    with pytest.raises(SnapkeepError):
        await for_good.queue.send(request("raw", [VERSION], VERSION.last_modified))
    assert len(for_good.server.asked) == 1 + retrying.RETRIES


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (412, "ConditionNotMet", BlobChanged),
        (403, "AuthorizationFailure", StorageFailed),
        (501, "x", ServiceUnavailable),
    ],
)
async def test_what_stays_as_it_is_is_asked_once(
    status: int, code: str, error: type[Exception], opened: Callable[..., Any]
) -> None:
    adapters = await opened(refusing(status, code))
    with pytest.raises(error, match=f"snapshot raw/a b.csv: {status} {code}"):
        await adapters.snapshot()
    assert len(adapters.server.asked) == 1


@pytest.mark.parametrize("bypassed", [False, True])
async def test_every_client_goes_through_the_proxy_that_the_environment_names(
    bypassed: bool, opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, proxy = await opened(refusing(404, "QueueNotFound")), await opened(refusing(404, "QueueNotFound"))
    monkeypatch.setenv("http_proxy", proxy.server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1" if bypassed else "")
    through = Opened(service.server)
    with suppress(SnapkeepError):
        await through.snapshot()
    with suppress(SnapkeepError):
        await through.queue.overview()
    with suppress(ResourceNotFoundError):
        await through.account.service.get_service_properties()
    await through.source.close()
    await through.queue.close()
    asked, other = (service, proxy) if bypassed else (proxy, service)
    methods = [(each.method, "/account/raw/" in each.target, "/requests" in each.target) for each in asked.server.asked]
    assert {("PUT", True, False), ("GET", False, True), ("GET", False, False)} <= set(methods)
    assert other.server.asked == []


async def test_a_redirection_is_not_followed(opened: Callable[..., Any]) -> None:
    adapters = await opened(lambda asked: web.Response(status=307, headers={"Location": f"{asked.target}&elsewhere"}))
    with pytest.raises(StorageFailed):
        await adapters.snapshot()
    assert len(adapters.server.asked) == 1


@pytest.mark.usefixtures("at_once")
async def test_nothing_that_is_raised_or_logged_holds_a_secret(
    opened: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for reply in (lost, refusing(403, "AuthorizationFailure"), refusing(500, "InternalError")):
        adapters = await opened(reply)
        with pytest.raises(SnapkeepError) as raised:
            await adapters.snapshot()
        error: BaseException | None = raised.value
        while error is not None:
            assert "sig=" not in f"{error!r}{error}"
            error = error.__cause__ or error.__context__
    assert "sig=" not in caplog.text


# How many at once


@pytest.mark.usefixtures("at_once")
async def test_a_busy_service_is_called_by_half_as_many_and_then_by_more_again(opened: Callable[..., Any]) -> None:
    busy = False

    async def reply(_asked: Asked) -> web.Response:
        if busy:
            return refuse(503, "ServerBusy")
        await asyncio.sleep(0.002)
        return web.Response(status=201)

    adapters = await opened(reply, 64)
    await for_each(range(400), lambda _: adapters.snapshot(), 64)
    before = adapters.account.calls.pacer("snapshot").limit
    assert before > 32
    busy = True
    with pytest.raises(ServiceUnavailable):
        await adapters.snapshot()
    halved = adapters.account.calls.pacer("snapshot").limit
    assert halved <= before // 2
    busy = False
    await for_each(range(400), lambda _: adapters.snapshot(), 64)
    assert adapters.account.calls.pacer("snapshot").limit > halved


@pytest.mark.usefixtures("at_once")
async def test_calls_that_are_refused_together_halve_the_pace_once(opened: Callable[..., Any]) -> None:
    all_here, refused = asyncio.Event(), 0

    async def reply(_asked: Asked) -> web.Response:
        nonlocal refused
        refused += 1
        if refused == 16:
            all_here.set()
        await all_here.wait()
        return refuse(503, "ServerBusy") if refused <= 16 else web.Response(status=201)

    adapters = await opened(reply, 16)
    await for_each(range(16), lambda _: adapters.snapshot(), 16)
    assert adapters.server.at_once == 16
    assert adapters.account.calls.pacer("snapshot").limit in {
        8,
        9,
    }  # one more when the eight that came next were answered


async def test_no_call_is_made_while_the_service_asks_to_be_left_alone(opened: Callable[..., Any]) -> None:
    moments: list[float] = []

    def reply(_asked: Asked) -> web.Response:
        moments.append(time.monotonic())
        busy = len(moments) == 1
        return refuse(503, "ServerBusy", **{"Retry-After": "1"}) if busy else web.Response(status=201)

    adapters = await opened(reply)
    first = asyncio.create_task(adapters.snapshot())
    await until(lambda: bool(moments))
    await asyncio.sleep(0.05)
    await asyncio.gather(first, adapters.snapshot(), adapters.snapshot())
    assert min(moments[1:]) - moments[0] >= 1.0


async def test_never_more_are_under_way_than_the_cap(opened: Callable[..., Any]) -> None:
    async def reply(_asked: Asked) -> web.Response:
        await asyncio.sleep(0.001)
        return web.Response(status=201)

    adapters = await opened(reply, 5)
    await asyncio.gather(*(for_each(range(50), lambda _: adapters.snapshot(), 20) for _ in range(3)))
    assert adapters.server.at_once == 5


async def test_a_call_that_is_given_up_leaves_its_place_to_others(opened: Callable[..., Any]) -> None:
    hold = asyncio.Event()

    async def reply(_asked: Asked) -> web.Response:
        await hold.wait()
        return web.Response(status=201)

    adapters = await opened(reply, 1)
    running, waiting = (asyncio.create_task(adapters.snapshot()) for _ in range(2))
    await until(lambda: bool(adapters.server.asked))
    waiting.cancel()
    running.cancel()
    await asyncio.gather(running, waiting, return_exceptions=True)
    hold.set()
    await asyncio.wait_for(adapters.snapshot(), 5)

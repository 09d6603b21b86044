"""Whatever comes in at `protect`, the answer is a 4xx with a JSON object, and nothing was done."""

import contextlib
import http.client
import json
import string
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.e2e.app import App, Ready

ENDPOINT = "/api/protect"
# What an attacker would try: another account, an address, another container, a way out of the path or the query.
HOSTILE = [
    "https://other.blob.core.windows.net/raw",
    "//other.blob.core.windows.net/raw",
    "http://169.254.169.254/metadata/identity",
    "file:///etc/passwd",
    "raw?comp=list",
    "raw#x",
    "raw/../canary",
    "../canary",
    "canary/a.csv",
    "canary%2f..",
    "canary\x00",
    "canary\r\nx-ms-copy-source: y",
    "$root",
    "$web",
    "CANARY",
    "*",
    "{canary}",
    "canary,other",
    "😀",
]
texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=80))
names = st.sampled_from(["container", "prefix", "continuation", "account", "url", "sas", "connection", "code2", "a b"])
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=True), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=6,
)
bodies = st.one_of(
    st.just(b""),
    st.binary(max_size=200),
    values.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(names, values, max_size=4).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b'{"container": "' + b"a" * 70_000 + b'"}', b"[" * 20_000, b'{"container": "\\ud800"}']),
)
queries = st.dictionaries(names, texts, max_size=3)
methods = st.sampled_from(["GET", "POST", "POST", "POST", "PUT", "DELETE", "PATCH", "HEAD"])


def send(app: App, method: str, target: str, body: bytes) -> tuple[int, bytes]:
    """One request as it is given: no client library mends it on the way."""
    address = urlsplit(app.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        connection.putheader("x-functions-key", app.function_key)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Canary:
    """What an attack must not change: a container's snapshots, the messages, and which containers there are."""

    def __init__(self, source: BlobServiceClient, backup: BlobServiceClient, queue: QueueClient) -> None:
        self._accounts = (source, backup)
        self._container = source.get_container_client("canary")
        self._container.create_container()
        self._container.upload_blob("a.csv", b"nobody may ask for this one")
        self._queue = queue
        self._messages = self._count()
        self._containers = self._names()

    def assert_unharmed(self) -> None:
        assert not [blob.name for blob in self._container.list_blobs(include=["snapshots"]) if blob.snapshot]
        assert self._count() == self._messages

    def assert_no_new_containers(self) -> None:
        assert self._names() == self._containers

    def _count(self) -> int | None:
        return self._queue.get_queue_properties().approximate_message_count

    def _names(self) -> list[list[str]]:
        return [[found.name for found in account.list_containers()] for account in self._accounts]


@pytest.fixture(scope="module")
def canary(stack: Ready, app: App) -> Iterator[Canary]:
    with (
        BlobServiceClient.from_connection_string(stack["source"]) as source,
        BlobServiceClient.from_connection_string(stack["backup"]) as backup,
        QueueClient.from_connection_string(stack["queue"], app.name) as queue,
    ):
        with contextlib.suppress(ResourceExistsError):
            queue.create_queue()
        canary = Canary(source, backup, queue)
        yield canary
        canary.assert_no_new_containers()


@settings(max_examples=100, deadline=None)
@given(method=methods, query=queries, body=bodies)
def test_hostile_requests_get_a_4xx_and_nothing_is_done(
    app: App, canary: Canary, method: str, query: dict[str, str], body: bytes
) -> None:
    pairs = "&".join(f"{quote(name)}={quote(value, errors='surrogatepass', safe='')}" for name, value in query.items())
    status, content = send(app, method, f"{ENDPOINT}?{pairs}", body)
    assert 400 <= status < 500, (status, content)
    assert method == "HEAD" or isinstance(json.loads(content), dict)
    canary.assert_unharmed()


@pytest.mark.parametrize(
    "target",
    [
        "/api/protect/../protect?container=$web",
        "/api//protect?container=canary",
        "/api/protect/canary",
        "/api/protect%2fcanary",
        "/api/protect;container=canary",
        "/admin/functions/../../api/protect?container=%24web",
        "http://other.example/api/protect?container=%24web",
        "/api/protect?container=%ff%fe",
        "/api/protect?container=canary%00",
        "/api/protect?container[]=canary",
        f"/api/protect?container={string.ascii_lowercase * 200}",
    ],
)
def test_a_hostile_target_gets_a_4xx_and_nothing_is_done(app: App, canary: Canary, target: str) -> None:
    status, content = send(app, "POST", target, b"")
    assert 400 <= status < 500, (status, content)
    canary.assert_unharmed()


def test_an_administrators_call_needs_more_than_the_function_key(app: App, canary: Canary) -> None:
    status, _ = send(app, "POST", "/admin/functions/reconcile", b'{"input": ""}')
    assert status == 403
    canary.assert_unharmed()

"""The fault proxy does to requests what the tests ask of it, and to no others."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from azure.core.exceptions import (
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.storage.blob.aio import BlobServiceClient, ContainerClient
from azure.storage.queue.aio import QueueServiceClient

from local.azurite import SOURCE, Azurite, connection_string
from local.gateway.messages import Request
from tests.fault_proxy import FaultProxy, Rule, answer, call_hook, cut_body, hold, lose_answer, reset

pytestmark = pytest.mark.asyncio(loop_scope="module")
Broken = (ServiceRequestError, ServiceResponseError)
# aiohttp itself, below the SDK's retries, sends an idempotent request once more when a connection that it had used
# before ends without an answer; so a fault must befall both.
TRIES = 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def azurite() -> AsyncIterator[Azurite]:
    azurite = Azurite()
    await azurite.start()
    yield azurite
    await azurite.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def proxy(azurite: Azurite) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(f"http://127.0.0.1:{azurite.blob_port}") as proxy:
        yield proxy


@pytest_asyncio.fixture(loop_scope="module")
async def container(azurite: Azurite, proxy: FaultProxy) -> AsyncIterator[ContainerClient]:
    direct = connection_string(SOURCE, azurite.blob_port, azurite.queue_port)
    text = proxy.in_place_of(direct, "Blob")
    async with BlobServiceClient.from_connection_string(text, retry_total=0) as service:
        container = await service.create_container(f"c{proxy.port}")
        proxy.clear()
        yield container
        proxy.clear()
        await container.delete_container()


async def test_without_rules_requests_pass_and_are_recorded(proxy: FaultProxy, container: ContainerClient) -> None:
    await container.upload_blob("a", b"1")
    assert await container.get_blob_client("a").exists()
    assert [(call.method, call.status) for call in proxy.calls] == [("PUT", 201), ("HEAD", 200)]
    assert proxy.count(method="PUT", target=re.compile(r"/a$")) == 1


async def test_an_error_is_answered_without_asking_the_service(proxy: FaultProxy, container: ContainerClient) -> None:
    proxy.add(Rule(answer(503, "ServerBusy", retry_after=7), method="PUT", target="/a", times=1))
    with pytest.raises(HttpResponseError, match="ServerBusy") as busy:
        await container.upload_blob("a", b"1" * 100_000)
    assert getattr(busy.value.response, "headers", {})["Retry-After"] == "7"
    assert not await container.get_blob_client("a").exists()
    await container.upload_blob("a", b"1")


async def test_a_lost_answer_is_lost_after_the_work_was_done(proxy: FaultProxy, container: ContainerClient) -> None:
    lost = proxy.add(Rule(lose_answer(), method="PUT", times=TRIES))
    with pytest.raises(Broken):
        await container.upload_blob("a", b"1")
    assert await container.get_blob_client("a").exists()
    assert lost.hits == TRIES
    assert proxy.calls[0].status is None


async def test_a_reset_comes_before_the_work(proxy: FaultProxy, container: ContainerClient) -> None:
    proxy.add(Rule(reset(), method="PUT", times=TRIES))
    with pytest.raises(Broken):
        await container.upload_blob("a", b"1")
    assert not await container.get_blob_client("a").exists()


async def test_a_body_is_cut_where_asked(proxy: FaultProxy, container: ContainerClient) -> None:
    await container.upload_blob("a", b"1" * 100_000)
    proxy.add(Rule(cut_body(1000), method="GET"))
    with pytest.raises(HttpResponseError, match="received 1000 of 100000"):
        await (await container.get_blob_client("a").download_blob()).readall()


async def test_a_held_request_reaches_the_service_when_it_is_let_go(
    proxy: FaultProxy, container: ContainerClient
) -> None:
    let_go = asyncio.Event()
    proxy.add(Rule(hold(let_go), method="PUT"))

    async def let_go_later() -> bool:
        there = await container.get_blob_client("a").exists()
        let_go.set()
        return there

    _, there_before = await asyncio.gather(container.upload_blob("a", b"1"), let_go_later())
    assert not there_before
    assert await container.get_blob_client("a").exists()


async def test_hooks_run_around_the_work(proxy: FaultProxy, container: ContainerClient) -> None:
    seen = []

    async def note(request: Request) -> None:
        proxy.clear()  # so that this question passes through
        seen.append((request.method, await container.get_blob_client("a").exists()))

    proxy.add(Rule(call_hook(before=note), method="PUT"))
    await container.upload_blob("a", b"1")
    proxy.add(Rule(call_hook(after=note), method="DELETE"))
    await container.delete_blob("a")
    assert seen == [("PUT", False), ("DELETE", False)]


async def test_a_rule_takes_only_what_matches_and_only_so_often(proxy: FaultProxy, container: ContainerClient) -> None:
    headers = {"x-ms-meta-kind": "bad"}
    rule = proxy.add(Rule(answer(500, "OperationTimedOut"), target="/b", headers=headers, skip=1, times=1))
    await container.upload_blob("a", b"", metadata={"kind": "bad"})
    await container.upload_blob("b1", b"", metadata={"kind": "good"})
    await container.upload_blob("b2", b"", metadata={"kind": "bad"})
    assert rule.hits == 0
    with pytest.raises(HttpResponseError, match="OperationTimedOut"):
        await container.upload_blob("b3", b"", metadata={"kind": "bad"})
    await container.upload_blob("b4", b"", metadata={"kind": "bad"})
    assert rule.hits == 1


async def test_queues_fail_as_well(azurite: Azurite) -> None:
    direct = connection_string(SOURCE, azurite.blob_port, azurite.queue_port)
    async with FaultProxy(f"http://127.0.0.1:{azurite.queue_port}") as proxy:
        text = proxy.in_place_of(direct, "Queue")
        async with QueueServiceClient.from_connection_string(text, retry_total=0) as service:
            queue = await service.create_queue("requests")
            proxy.add(Rule(lose_answer(), method="POST", target="/requests/messages", times=1))
            with pytest.raises(Broken):
                await queue.send_message("once")
            assert (await queue.get_queue_properties()).approximate_message_count == 1

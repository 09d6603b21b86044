"""The benchmarks' canned server: all clients that are compared find the same on it, and it counts their calls."""

from __future__ import annotations

import asyncio

import pytest

from bench import ours, plain
from bench.bare import Bare, fetch_pages
from bench.canned import canned_server
from bench.counting import CountingProxy
from bench.ground import made_up_versions
from bench.measure import VoidError
from bench.single_calls import HEAD, MESSAGE, SNAPSHOT, Subject
from tests.conftest import Ready

ENTRIES = "entries-10000"  # two pages


async def test_every_client_lists_the_same_canned_entries() -> None:
    async with canned_server() as server:
        async with ours.open_services(server.text, server.other, server.other) as services:
            assert await ours.list_entries(services, ENTRIES) == 10_000
        assert await asyncio.to_thread(plain.list_entries, server.text, "entries-5000") == 5_000
        assert await asyncio.to_thread(fetch_pages, server.text, ENTRIES, "snapshots,metadata") == (2, 10_000)
        await server.expect_calls({"list": 5})
        with pytest.raises(VoidError):
            await server.expect_calls({"list": 5})


@pytest.mark.parametrize("subject", [SNAPSHOT, HEAD, MESSAGE], ids=lambda subject: subject.name)
async def test_every_client_makes_one_call_for_each(subject: Subject) -> None:
    versions = made_up_versions(20)
    async with canned_server() as server:
        async with ours.open_services(server.text, server.other, server.text) as services:
            await subject.ours(services, versions)
            await server.expect_calls({subject.name: 20})
        await subject.aio(server.text, versions)
        await server.expect_calls({subject.name: 20})
        await asyncio.to_thread(subject.one_by_one, server.text, versions)
        await server.expect_calls({subject.name: 20})
        async with Bare(server.text) as bare:
            await subject.bare(bare, versions[0])
        await server.expect_calls({subject.name: 1})


async def test_a_proxy_counts_what_a_client_asks_of_storage(stack: Ready) -> None:
    async with (
        CountingProxy(stack["backup"], "Blob") as blobs,
        CountingProxy(stack["backup"], "Queue") as queues,
        Bare(queues.before(blobs.before(stack["backup"]))) as bare,
    ):
        await bare.create_container("counted")
        await bare.put("counted", "a", b"content")
        await bare.create_queue("counted")
        await bare.put_message("counted", "dGV4dA==")
        text = blobs.before(stack["backup"])
        assert await asyncio.to_thread(fetch_pages, text, "counted", "") == (1, 1)
        assert blobs.transactions.counts() == {"backup": {"list": 2, "write": 1}}
        assert blobs.listed == {"/backup/counted": 1}
        assert queues.transactions.counts() == {"backup": {"queue": 2}}
        await bare.delete_container("counted")

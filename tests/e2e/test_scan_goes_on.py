"""A container of more than one page of a listing: what a call's time allows, and what a failing service leaves."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import aiohttp
import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient, ContainerSasPermissions, generate_container_sas
from azure.storage.blob.aio import BlobServiceClient as AsyncBlobServiceClient

from tests.e2e.app import Queue, Ready
from tests.e2e.blobs import Pair
from tests.e2e.conftest import NewApp
from tests.fault_proxy import FaultProxy, Rule, answer

BLOBS = 2510
"""Each with a snapshot: 5,020 entries, where a page of the service holds 5,000."""
LAST = f"{BLOBS - 1:05}.csv"


@pytest.fixture(scope="module")
def large(stack: Ready) -> Iterator[str]:
    """A container of two pages, in which nothing has changed since the snapshots."""
    with BlobServiceClient.from_connection_string(stack["source"]) as account:
        container = account.get_container_client(f"e2e-{uuid4().hex[:10]}")
        container.create_container()
        asyncio.run(fill(container))
        yield container.container_name
        container.delete_container()


async def fill(container: ContainerClient) -> None:
    """Writes the blobs, and a snapshot of each: as bare requests, since the SDK takes ten times as long."""
    sas = generate_container_sas(
        container.account_name,
        container.container_name,
        account_key=container.credential.account_key,
        permission=ContainerSasPermissions(read=True, write=True, create=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    async with aiohttp.ClientSession(headers={"x-ms-version": "2021-12-02"}) as session:
        remaining = iter(range(BLOBS))

        async def work() -> None:
            for number in remaining:
                url = f"{container.url}/{number:05}.csv"
                block_blob = {"x-ms-blob-type": "BlockBlob"}
                async with session.put(f"{url}?{sas}", data=b"unchanged", headers=block_blob) as written:
                    assert written.status == 201, await written.text()
                async with session.put(f"{url}?comp=snapshot&{sas}") as snapshotted:
                    assert "x-ms-snapshot" in snapshotted.headers, await snapshotted.text()

        await asyncio.gather(*(work() for _ in range(16)))


@pytest.fixture
async def pair(large: str, source_account: AsyncBlobServiceClient, backup_account: AsyncBlobServiceClient) -> Pair:
    """That container, with three blobs that have changed: the first, one in the middle, and the last."""
    changed = Pair(source_account, backup_account, large)
    await changed.write({"00000.csv": b"changed 1", "01300.csv": b"changed 2", LAST: uuid4().bytes})
    return changed


async def test_a_call_that_runs_out_of_time_is_continued_where_it_ended(
    stack: Ready, new_app: NewApp, pair: Pair
) -> None:
    # Its time is over after each page.
    app = new_app(SNAPKEEP_ENGINE="server", SNAPKEEP_PROTECT_BUDGET_SECONDS="0.001")
    async with Queue(stack["queue"], app) as queue:
        await app.start_beside()
        first = await app.call("POST", "/api/protect", json={"container": pair.name})
        assert first.status == 202, first.text
        assert first.json["complete"] is False
        assert 0 < first.json["scanned"] < BLOBS
        # Between the calls a blob of the first page changes: the next scan finds it. One of the second: this one does.
        await pair.write({LAST: b"changed once more"})
        call = {"container": pair.name, "continuation": first.json["continuation"]}
        second = await app.call("POST", "/api/protect", json=call)
        assert second.status == 200, second.text
        assert (second.json["complete"], second.json["continuation"]) == (True, None)
        assert first.json["scanned"] + second.json["scanned"] == BLOBS
        assert (first.json["changed"], second.json["changed"]) == (2, 1)
        await queue.drained()
    overwritten = next(iter([key for key in pair.versions if key[0] == LAST]))
    del pair.versions[overwritten]  # it was gone before anybody looked
    assert await pair.problems(others=True) == []


async def test_a_service_that_fails_in_mid_scan_gets_a_502_with_what_was_done(
    stack: Ready, new_app: NewApp, pair: Pair
) -> None:
    async with FaultProxy(pair.source.url.rpartition("/source/")[0]) as proxy:
        # Both accounts by the same address: Azurite copies within one instance, and tells it by the address.
        services = {name: proxy.in_place_of(stack[name], "Blob") for name in ("source", "backup")}
        app = new_app(stack | services, SNAPKEEP_ENGINE="server")
        async with Queue(stack["queue"], app) as queue:
            await app.start_beside()
            proxy.add(Rule(answer(403, "AuthorizationFailure"), method="GET", target="marker="))
            failed = await app.call("GET", f"/api/protect?container={pair.name}")
            assert failed.status == 502, failed.text
            assert 0 < failed.json["scanned"] < BLOBS
            assert failed.json["snapshots_created"] == failed.json["requested"] == failed.json["changed"] == 2
            assert failed.json["complete"] is False
            assert failed.json["error"]["code"] == "StorageFailed"
            assert "does not allow" in failed.json["error"]["message"]
            proxy.clear()
            rest = await app.protect(pair.name, continuation=failed.json["continuation"])
            assert (rest["complete"], rest["changed"]) == (True, 1)
            assert failed.json["scanned"] + rest["scanned"] == BLOBS
            await queue.drained()
    assert await pair.problems(others=True) == []

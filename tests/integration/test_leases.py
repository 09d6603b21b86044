"""Leases against real storage: finite, renewed while held, always given back, and never taken from somebody else."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobClient, BlobLeaseClient, BlobServiceClient, ContainerClient

from shared.adapters import leases
from shared.adapters.leases import held
from shared.errors import BlobChanged, BlobGone, LeaseUnavailable
from tests.conftest import Ready
from tests.fault_proxy import FaultProxy, Rule, answer, hold, lose_answer, reset
from tests.waiting import until

RENEWAL = {"x-ms-lease-action": "renew"}
RELEASE = {"x-ms-lease-action": "release"}


@pytest.fixture
async def blob(stack: Ready, container: ContainerClient, blob_proxy: FaultProxy) -> AsyncIterator[BlobClient]:
    """A blob that is reached through the proxy."""
    await container.upload_blob("a b", b"1")
    text = blob_proxy.in_place_of(stack["source"], "Blob")
    async with BlobServiceClient.from_connection_string(text, retry_total=2, initial_backoff=0.01) as account:
        yield account.get_blob_client(container.container_name, "a b")


@pytest.fixture
def direct(container: ContainerClient) -> BlobClient:
    return container.get_blob_client("a b")


async def state(blob: BlobClient) -> str:
    return str((await blob.get_blob_properties()).lease.state)


async def test_writers_are_locked_out_while_it_is_held_and_not_afterwards(blob: BlobClient, direct: BlobClient) -> None:
    async with held(blob) as lease:
        properties = (await direct.get_blob_properties()).lease
        assert (properties.state, properties.duration) == ("leased", "fixed")
        with pytest.raises(HttpResponseError):
            await direct.upload_blob(b"2", overwrite=True)
        assert not lease.lost.is_set()
    await direct.upload_blob(b"2", overwrite=True)


async def test_it_is_given_back_when_the_block_raises(blob: BlobClient, direct: BlobClient) -> None:
    with pytest.raises(ZeroDivisionError):
        async with held(blob):
            raise ZeroDivisionError
    assert await state(direct) == "available"


async def test_it_is_given_back_when_the_task_is_cancelled(blob: BlobClient, direct: BlobClient) -> None:
    holding = asyncio.Event()

    async def hold() -> None:
        async with held(blob):
            holding.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await holding.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await state(direct) == "available"


async def test_a_lease_of_somebody_else_is_respected(blob: BlobClient, direct: BlobClient) -> None:
    theirs = await direct.acquire_lease()
    with pytest.raises(LeaseUnavailable, match="somebody else"):
        async with held(blob):
            pytest.fail("it was not to be had")
    await theirs.renew()


async def test_another_version_is_not_leased(blob: BlobClient, direct: BlobClient) -> None:
    etag = (await direct.get_blob_properties()).etag.strip('"')
    await direct.upload_blob(b"2", overwrite=True)
    with pytest.raises(BlobChanged):
        async with held(blob, etag):
            pytest.fail("it was not to be had")
    assert await state(direct) == "available"


async def test_a_blob_that_is_gone_cannot_be_leased(blob: BlobClient, direct: BlobClient) -> None:
    await direct.delete_blob()
    with pytest.raises(BlobGone):
        async with held(blob):
            pytest.fail("it was not to be had")


async def test_it_is_renewed_while_it_is_held(
    blob: BlobClient, blob_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.02)
    passed_on = blob_proxy.add(Rule(lambda request, forward: forward(request), headers=RENEWAL))
    async with held(blob) as lease:
        await until(lambda: passed_on.hits >= 3)
        assert not lease.lost.is_set()


async def test_it_counts_as_lost_once_somebody_broke_it_and_leaving_the_block_is_fine(
    blob: BlobClient, direct: BlobClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.02)
    async with held(blob) as lease:
        await BlobLeaseClient(direct).break_lease(lease_break_period=0)
        theirs = await direct.acquire_lease()
        async with asyncio.timeout(10):
            await lease.lost.wait()
    await theirs.renew()


async def test_it_counts_as_lost_when_the_blob_is_gone(
    blob: BlobClient, direct: BlobClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.02)
    async with held(blob) as lease:
        await BlobLeaseClient(direct).break_lease(lease_break_period=0)
        await direct.delete_blob()
        async with asyncio.timeout(10):
            await lease.lost.wait()


async def test_a_short_outage_does_not_lose_it(
    blob: BlobClient, blob_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.02)
    outage = blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), headers=RENEWAL, times=3))
    passed_on = blob_proxy.add(Rule(lambda request, forward: forward(request), headers=RENEWAL))
    async with held(blob) as lease:
        await until(lambda: passed_on.hits >= 2)
        assert outage.hits == 3
        assert not lease.lost.is_set()


async def test_an_outage_as_long_as_the_lease_loses_it(
    blob: BlobClient, blob_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), headers=RENEWAL))
    async with held(blob):
        pass
    async with asyncio.timeout(10):
        async with held(blob) as lease:  # acquired for its full time, which then is taken to be over soon
            monkeypatch.setattr(leases, "RENEW_SECONDS", 0.02)
            monkeypatch.setattr(leases, "LEASE_SECONDS", 0.1)
            lost = asyncio.create_task(lease.lost.wait())
            await lost


@pytest.mark.parametrize("fault", [lose_answer(), reset()], ids=["answer lost", "reset"])
async def test_a_release_that_fails_once_is_repeated(
    fault: object, blob: BlobClient, direct: BlobClient, blob_proxy: FaultProxy
) -> None:
    rule = blob_proxy.add(Rule(fault, headers=RELEASE, times=1))  # type: ignore[arg-type]
    async with held(blob):
        pass
    assert rule.hits == 1
    assert await state(direct) == "available"


async def test_a_release_that_cannot_be_made_is_no_error_since_the_lease_ends_by_itself(
    blob: BlobClient, direct: BlobClient, blob_proxy: FaultProxy
) -> None:
    blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), headers=RELEASE))
    async with held(blob):
        pass
    assert (await direct.get_blob_properties()).lease.duration == "fixed"


async def test_a_renewal_that_is_never_answered_loses_it_in_time(
    blob: BlobClient, blob_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = asyncio.Event()
    async with asyncio.timeout(10):
        async with held(blob) as lease:
            monkeypatch.setattr(leases, "RENEW_SECONDS", 0.02)
            monkeypatch.setattr(leases, "LEASE_SECONDS", 0.3)
            blob_proxy.add(Rule(hold(answered), headers=RENEWAL))
            await lease.lost.wait()
            answered.set()

"""The state container against real storage: documents and locks."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest
from azure.storage.blob.aio import BlobLeaseClient, BlobServiceClient

from shared.containers import STATE_CONTAINER
from shared.errors import AlreadyRunning
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import FaultProxy, Rule, answer, lose_answer


@pytest.fixture
def folder() -> str:
    """A place for this test's documents."""
    return f"tests/{uuid4().hex}"


async def test_a_document_comes_back_as_it_was_written(services: Services, folder: str) -> None:
    document = {"names": ['a "b".csv', "😀", "\u2028"], "count": 3, "none": None}
    await services.state.write(f"{folder}/a b.json", document)
    assert await services.state.read(f"{folder}/a b.json") == document
    await services.state.write(f"{folder}/a b.json", {})
    assert await services.state.read(f"{folder}/a b.json") == {}


async def test_a_file_comes_back_as_it_was_stored(services: Services, folder: str, tmp_path: Path) -> None:
    stored, found = tmp_path / "stored", tmp_path / "found"
    stored.write_bytes(bytes(range(256)) * 1000)
    assert not await services.state.download(f"{folder}/file.gz", found)
    await services.state.upload(f"{folder}/file.gz", stored)
    assert await services.state.download(f"{folder}/file.gz", found)
    assert found.read_bytes() == stored.read_bytes()


async def test_what_is_not_there_reads_as_none_and_is_deleted_without_complaint(
    services: Services, folder: str
) -> None:
    assert await services.state.read(f"{folder}/missing.json") is None
    await services.state.delete(f"{folder}/missing.json")


async def test_documents_are_listed_by_the_beginning_of_their_names(services: Services, folder: str) -> None:
    for name in ("x/1", "x/2", "y/1"):
        await services.state.write(f"{folder}/{name}", 1)
    assert await services.state.names(f"{folder}/x/") == [f"{folder}/x/1", f"{folder}/x/2"]
    await services.state.delete(f"{folder}/x/1")
    assert await services.state.names(f"{folder}/x/") == [f"{folder}/x/2"]


async def test_the_container_is_made_on_first_need_by_any_number_of_instances_at_once(
    open_services: OpenServices, backup_account: BlobServiceClient, environment: dict[str, str], folder: str
) -> None:
    # In the source account, where no other test keeps state.
    services = [open_services(AzureWebJobsStorage=environment["SourceStorage"]) for _ in range(4)]
    assert await services[0].state.read(f"{folder}/0") is None
    assert await services[0].state.names(folder) == []
    await asyncio.gather(*(each.state.write(f"{folder}/{number}", number) for number, each in enumerate(services)))
    assert await services[0].state.names(folder) == [f"{folder}/{number}" for number in range(4)]


async def test_a_write_whose_answer_is_lost_is_made_once_more(
    open_behind_proxies: OpenServices, blob_proxy: FaultProxy, folder: str
) -> None:
    services = open_behind_proxies()
    lost = blob_proxy.add(Rule(lose_answer(), method="PUT", target=folder, times=1))
    await services.state.write(f"{folder}/a", [1])
    assert lost.hits == 1
    assert await services.state.read(f"{folder}/a") == [1]


async def test_one_holder_at_a_time(services: Services, open_services: OpenServices, folder: str) -> None:
    other = open_services()
    async with services.state.lock(folder) as lease:
        assert not lease.lost.is_set()
        with pytest.raises(AlreadyRunning, match="nothing was done"):
            async with other.state.lock(folder):
                pytest.fail("two holders")
    async with other.state.lock(folder):
        pass


async def test_of_many_that_come_at_once_exactly_one_gets_a_lock_that_is_new(
    open_services: OpenServices, folder: str
) -> None:
    instances = [open_services() for _ in range(5)]
    inside = 0
    most = 0
    refused = 0
    all_tried = asyncio.Event()

    async def work(services: Services) -> None:
        nonlocal inside, most, refused
        try:
            async with services.state.lock(folder):
                inside += 1
                most = max(most, inside)
                await all_tried.wait()
                inside -= 1
        except AlreadyRunning:
            refused += 1
            if refused == len(instances) - 1:
                all_tried.set()

    async with asyncio.timeout(20):
        await asyncio.gather(*(work(services) for services in instances))
    assert (most, refused) == (1, 4)


async def test_a_lock_is_free_again_when_its_holder_fails(services: Services, folder: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with services.state.lock(folder):
            raise ZeroDivisionError
    async with services.state.lock(folder):
        pass


async def test_the_lock_of_a_holder_that_crashed_ends_by_itself(
    open_behind_proxies: OpenServices,
    services: Services,
    backup_account: BlobServiceClient,
    blob_proxy: FaultProxy,
    folder: str,
) -> None:
    crashing = open_behind_proxies()
    blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), headers={"x-ms-lease-action": "release"}))
    async with crashing.state.lock(folder):
        pass
    with pytest.raises(AlreadyRunning):
        async with services.state.lock(folder):
            pytest.fail("it is held")
    blob = backup_account.get_blob_client(STATE_CONTAINER, f"locks/{folder}")
    assert (await blob.get_blob_properties()).lease.duration == "fixed"
    await BlobLeaseClient(blob).break_lease(lease_break_period=0)  # as its 60 s do
    async with services.state.lock(folder):
        pass

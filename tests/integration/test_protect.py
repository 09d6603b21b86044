"""`protect` against real storage: what changed is snapshotted and requested once, and nothing is left out."""

import asyncio
from collections import Counter

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ContentSettings, StandardBlobTier
from azure.storage.blob.aio import ContainerClient

from shared.errors import BadParameter, ContainerExcluded, ContainerNotFound
from shared.operations.protect import Protected, protect
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import FaultProxy
from tests.names import HARD_NAMES
from tests.protection import assert_protected, backup_names, entries, snapshots
from tests.queue_reader import QueueReader


async def run(services: Services, container: ContainerClient, **options: str | None) -> Protected:
    """One call that has all the time it wants."""
    return await protect(services, container.container_name, elapsed=lambda: 0.0, **options)  # type: ignore[arg-type]


async def requested(reader: QueueReader) -> list[tuple[str, str]]:
    """Name and ETag of each version that is on the queue."""
    return [(blob["name"], blob["etag"]) for message in await reader.requests() for blob in message["blobs"]]


async def live(container: ContainerClient) -> list[tuple[str, str]]:
    return [(entry.name, entry.etag.strip('"')) for entry in await entries(container) if not entry.snapshot]


async def test_a_new_blob_is_snapshotted_once_and_requested_once(
    services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a/b.csv", b"1,2")
    await container.upload_blob("c.csv", b"3")
    answer = await run(services, container)
    assert answer.to_json() == {
        "container": container.container_name,
        "prefix": "",
        "scanned": 2,
        "changed": 2,
        "snapshots_created": 2,
        "requested": 2,
        "vanished": 0,
        "failed": [],
        "complete": True,
        "continuation": None,
        "elapsed_seconds": 0.0,
    }
    assert await requested(reader) == await live(container)
    [message] = await reader.requests()
    assert {key: message[key] for key in ("schema", "kind", "container", "attempt")} == {
        "schema": 1,
        "kind": "backup",
        "container": container.container_name,
        "attempt": 1,
    }
    for name in ("a/b.csv", "c.csv"):
        [snapshot] = await snapshots(container, name)
        assert (name, snapshot.etag.strip('"')) in await live(container)
        assert not snapshot.metadata


async def test_a_second_call_with_nothing_changed_costs_list_calls_alone(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    queue_proxy: FaultProxy,
) -> None:
    for number in range(5):
        await container.upload_blob(f"{number}", b"x")
    services = open_behind_proxies()
    await run(services, container)
    blob_proxy.clear()
    queue_proxy.clear()
    answer = await run(services, container)
    assert (answer.scanned, answer.changed, answer.snapshots_created, answer.requested) == (5, 0, 0, 0)
    assert [(call.method, "comp=list" in call.target) for call in blob_proxy.calls] == [("GET", True)]
    assert queue_proxy.calls == []


@pytest.mark.parametrize("change", ["content", "metadata", "headers"])
async def test_each_kind_of_change_makes_a_new_version(
    change: str, services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob("a.csv", b"old")
    await container.upload_blob("untouched.csv", b"old")
    await run(services, container)
    await reader.clear()
    if change == "content":
        await blob.upload_blob(b"new", overwrite=True)
    elif change == "metadata":
        await blob.set_blob_metadata({"k": "v"})
    else:
        await blob.set_http_headers(ContentSettings(content_type="text/csv"))
    answer = await run(services, container)
    assert (answer.changed, answer.snapshots_created, answer.requested) == (1, 1, 1)
    assert [name for name, _ in await requested(reader)] == ["a.csv"]
    assert len(await snapshots(container, "a.csv")) == 2
    assert len(await snapshots(container, "untouched.csv")) == 1


async def test_a_snapshot_that_somebody_else_took_is_taken_for_one(
    services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob("a.csv", b"1")
    await blob.create_snapshot()
    assert (await run(services, container)).changed == 0


async def test_metadata_and_content_of_the_source_stay_as_they_are(
    services: Services, container: ContainerClient
) -> None:
    blob = await container.upload_blob(
        "a.csv", b"1", metadata={"owner": "me"}, standard_blob_tier=StandardBlobTier.COOL
    )
    before = await blob.get_blob_properties()
    await run(services, container)
    after = await blob.get_blob_properties()
    assert (after.etag, after.metadata, after.lease.state) == (before.etag, before.metadata, "available")


async def test_an_archived_blob_is_snapshotted(services: Services, container: ContainerClient) -> None:
    blob = await container.upload_blob("a.csv", b"1")
    await blob.set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    assert (await run(services, container)).snapshots_created == 1


async def test_a_leased_blob_is_snapshotted_without_touching_the_lease(
    services: Services, container: ContainerClient
) -> None:
    blob = await container.upload_blob("a.csv", b"1")
    await blob.acquire_lease()
    answer = await run(services, container)
    assert (answer.snapshots_created, answer.failed) == (1, [])
    assert (await blob.get_blob_properties()).lease.status == "locked"


async def test_directories_of_a_hierarchical_namespace_are_left_alone(
    services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("folder", b"", metadata={"hdi_isfolder": "true"})
    await container.upload_blob("folder/file.csv", b"1")
    answer = await run(services, container)
    assert (answer.scanned, answer.snapshots_created) == (1, 1)
    assert [name for name, _ in await requested(reader)] == ["folder/file.csv"]
    assert await snapshots(container, "folder") == []


async def test_only_blobs_with_the_prefix_are_looked_at(
    services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    for name in ("a b/1", "a b/2", "b/3"):
        await container.upload_blob(name, b"x")
    answer = await run(services, container, prefix="a b/")
    assert (answer.prefix, answer.scanned, answer.complete) == ("a b/", 2, True)
    assert [name for name, _ in await requested(reader)] == ["a b/1", "a b/2"]


async def test_every_hard_name_comes_through_byte_for_byte(
    services: Services,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
) -> None:
    for description, name in HARD_NAMES.items():
        await container.upload_blob(name, description.encode())
    # The service takes a backslash for a slash, so that one of these names gets a segment that is refused.
    names = sorted(name.replace("\\", "/") for name in HARD_NAMES.values())
    assert sorted(name for name, _ in await live(container)) == names
    await container.delete_blob("a\\..\\b.csv")
    names.remove("a/../b.csv")
    answer = await run(services, container)
    assert answer.failed == []
    assert answer.snapshots_created == len(names)
    assert sorted(name for name, _ in await requested(reader)) == names
    await reader.drain(services)
    assert await reader.poison() == []
    assert await assert_protected(container, backups) == len(names)
    assert sorted(name for name, _ in await live(container)) == names
    assert (await run(services, container)).changed == 0


async def test_messages_stay_within_what_a_queue_takes_for_names_of_four_byte_characters(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    for number in range(40):
        await container.upload_blob(f"{number:02}" + "😀" * 511, b"x")
    answer = await run(services, container)
    assert answer.requested == 40
    messages = await reader.requests()
    assert len(messages) == 2
    assert sum(len(message["blobs"]) for message in messages) == 40
    await reader.drain(services)
    assert await assert_protected(container, backups) == 40


async def test_a_blob_whose_name_http_would_resolve_is_reported_and_never_sent(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await container.upload_blob("b", b"the neighbour")
    await container.upload_blob("a\\..\\b", b"hidden")  # the service takes a backslash for a slash
    assert sorted(name for name, _ in await live(container)) == ["a/../b", "b"]
    answer = await run(open_behind_proxies(), container)
    assert [failure["name"] for failure in answer.failed] == ["a/../b"]
    assert "'..'" in answer.failed[0]["reason"]
    assert (answer.scanned, answer.snapshots_created, answer.complete) == (2, 1, True)
    assert [name for name, _ in await requested(reader)] == ["b"]
    assert Counter(call.method for call in blob_proxy.calls) == {"GET": 1, "PUT": 1}
    assert len(await snapshots(container, "b")) == 1


async def test_two_calls_at_once_do_no_harm(
    services: Services,
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
) -> None:
    for number in range(20):
        await container.upload_blob(f"{number}.csv", b"x")
    other = open_services()
    answers = await asyncio.gather(run(services, container), run(other, container))
    assert all(answer.complete and answer.failed == [] for answer in answers)
    assert set(await requested(reader)) == set(await live(container))
    await asyncio.gather(reader.drain(services), reader.drain(other))
    assert await assert_protected(container, backups) == 20
    assert (await run(services, container)).changed == 0


async def test_a_missing_container_is_told_apart(services: Services, container: ContainerClient) -> None:
    await container.delete_container()
    with pytest.raises(ContainerNotFound):
        await run(services, container)


@pytest.mark.parametrize("name", ["$logs", "$web", "azure-webjobs-secrets", "snapkeep-state", "snapkeep-staging"])
async def test_system_containers_are_refused_without_a_call(
    name: str, open_behind_proxies: OpenServices, blob_proxy: FaultProxy
) -> None:
    services = open_behind_proxies(SNAPKEEP_INCLUDE_CONTAINERS="*")
    with pytest.raises(ContainerExcluded):
        await protect(services, name, elapsed=lambda: 0.0)
    assert blob_proxy.calls == []


async def test_a_container_that_the_settings_exclude_is_refused(
    open_services: OpenServices, container: ContainerClient
) -> None:
    services = open_services(SNAPKEEP_EXCLUDE_CONTAINERS="raw-*")
    with pytest.raises(ContainerExcluded):
        await run(services, container)


@pytest.mark.parametrize("name", ["Raw", "a", "a--b", "../x", "a/b", "x" * 64, "raw?comp=list", ""])
async def test_what_is_no_container_name_is_refused_without_a_call(
    name: str, open_behind_proxies: OpenServices, blob_proxy: FaultProxy
) -> None:
    with pytest.raises(BadParameter):
        await protect(open_behind_proxies(SNAPKEEP_INCLUDE_CONTAINERS="*"), name, elapsed=lambda: 0.0)
    assert blob_proxy.calls == []


async def test_a_container_whose_backup_could_not_be_named_is_refused(open_services: OpenServices) -> None:
    with pytest.raises(BadParameter, match="too long"):
        await protect(open_services(SNAPKEEP_INCLUDE_CONTAINERS="*"), "x" * 61, elapsed=lambda: 0.0)


@pytest.mark.parametrize("text", ["nonsense", "e30", "😀", "x" * 5000])
async def test_a_continuation_that_is_not_one_is_refused(
    text: str, services: Services, container: ContainerClient
) -> None:
    with pytest.raises(BadParameter, match="continuation"):
        await run(services, container, continuation=text)


async def test_many_deleted_blobs_leave_no_trace(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob("a.csv", b"1")
    await run(services, container)
    await reader.drain(services)
    await blob.delete_blob(delete_snapshots="include")
    with pytest.raises(HttpResponseError):
        await blob.get_blob_properties()
    answer = await run(services, container)
    assert (answer.scanned, answer.complete, answer.failed) == (0, True, [])
    assert len(await backup_names(backups)) == 1

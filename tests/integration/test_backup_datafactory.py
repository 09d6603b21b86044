"""`backup` by the shipped pipeline in the Data Factory stand-in: one run a message, and nothing unproven is trusted."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import BlobClient, BlobLeaseClient, BlobServiceClient, ContainerClient

from shared.adapters import leases
from shared.containers import STAGING_CONTAINER
from shared.operations.protect import protect
from shared.services import Services
from tests.conftest import OpenServices, Ready
from tests.fault_proxy import FaultProxy, Rule, answer, lose_answer
from tests.names import HARD_NAMES
from tests.protection import assert_protected, backup_names, content, entries
from tests.queue_reader import QueueReader

ADF = {"SNAPKEEP_ENGINE": "adf"}
LEASED = {**ADF, "SNAPKEEP_USE_LEASE": "true"}


class StandIn:
    """The Data Factory stand-in's controls and runs, over HTTP, for the runs of one container."""

    def __init__(self, url: str, container: str, session: aiohttp.ClientSession) -> None:
        self._url, self._container, self._session = url, container, session

    async def set(self, control: str, **arguments: object) -> None:
        async with self._session.post(f"{self._url}/standin/{control}", json=arguments) as response:
            assert response.status == 200, await response.text()

    async def runs(self) -> list[dict[str, Any]]:
        async with self._session.get(f"{self._url}/standin/runs") as response:
            found = (await response.json())["runs"]
        return [run for run in found if run["parameters"].get("container") == self._container]

    async def until_all_runs_have_ended(self) -> None:
        async with asyncio.timeout(20):
            while not {run["status"] for run in await self.runs()} <= {"Succeeded", "Failed", "Cancelled"}:  # noqa: ASYNC110 -- in another thread
                await asyncio.sleep(0.01)

    async def until_copies_are_held(self) -> None:
        async with asyncio.timeout(20):
            while True:
                async with self._session.get(f"{self._url}/standin/state") as response:
                    if (await response.json())["held_copies"]:
                        return
                await asyncio.sleep(0.01)


@pytest.fixture
async def stand_in(stack: Ready, container: ContainerClient) -> AsyncIterator[StandIn]:
    async with aiohttp.ClientSession() as session:
        controls = StandIn(stack["adf"], container.container_name, session)
        yield controls
        await controls.set("reset")


@pytest.fixture
async def adf_proxy(stack: Ready) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(stack["adf"]) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
async def staging(backup_account: BlobServiceClient) -> AsyncIterator[ContainerClient]:
    """The staging container, in which no test may leave anything."""
    client = backup_account.get_container_client(STAGING_CONTAINER)
    before = set(await backup_names(client))
    yield client
    assert set(await backup_names(client)) <= before


async def run_protect(services: Services, container: ContainerClient) -> None:
    answered = await protect(services, container.container_name, elapsed=lambda: 0.0)
    assert answered.complete


async def test_one_run_copies_all_blobs_of_a_message(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    for number in range(30):
        await container.upload_blob(
            f"{number}.csv",
            b"x" * number,
            metadata={"n": str(number)},
            tags={"t": "1"},
            content_settings=ContentSettings(content_type="text/csv", cache_control="no-store"),
        )
    services = open_services(**ADF)
    await run_protect(services, container)
    await reader.drain(services)
    [run] = await stand_in.runs()
    assert run["status"] == "Succeeded"
    assert await assert_protected(container, backups) == 30
    name = (await backup_names(backups))[0]
    assert await backups.get_blob_client(name).get_blob_tags() == {"t": "1"}
    assert await reader.poison() == []


async def test_the_engine_auto_splits_a_message_by_size(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    for size in (0, 99, 100, 5000):
        await container.upload_blob(f"{size}", b"x" * size)
    services = open_services(SNAPKEEP_ENGINE="auto", SNAPKEEP_ADF_MIN_BYTES=100)
    await run_protect(services, container)
    await reader.drain(services)
    [run] = await stand_in.runs()
    assert sorted(blob["source"] for blob in run["parameters"]["blobs"]) == ["100", "5000"]
    assert await assert_protected(container, backups) == 4


async def test_what_data_factory_cannot_copy_goes_by_the_blob_service(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    log = container.get_blob_client("log")
    await log.create_append_blob()
    await log.append_block(b"1")
    await container.get_blob_client("disk").create_page_blob(512)
    await container.upload_blob("folder//file", b"2")
    old = await container.upload_blob("old", b"version one")
    services = open_services(**ADF)
    await run_protect(services, container)
    await old.upload_blob(b"version two", overwrite=True)
    await run_protect(services, container)
    await reader.drain(services)
    sources = [blob["source"] for run in await stand_in.runs() for blob in run["parameters"]["blobs"]]
    assert sources == ["old"]  # its current version
    assert await assert_protected(container, backups) == 5


async def test_every_hard_name_goes_through_the_pipeline_as_plain_text(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    names = {name for name in HARD_NAMES.values() if "\\" not in name and len(name) < 500}
    for name in names:
        await container.upload_blob(name, name.encode())
    services = open_services(**ADF)
    await run_protect(services, container)
    await reader.drain(services)
    assert await reader.poison() == []
    assert await assert_protected(container, backups) == len(names)
    copied = {blob["source"] for run in await stand_in.runs() for blob in run["parameters"]["blobs"]}
    # Names that Data Factory may take for folders or wildcards are not left to it.
    kinds = ("interpolation", "expression", "both quotes", "percent encoded slash", "hash", "emoji", "json", "tilde")
    assert {HARD_NAMES[kind] for kind in kinds} <= copied
    assert not {HARD_NAMES["asterisk"], HARD_NAMES["doubled slash"]} & copied


async def test_the_function_does_not_wait_for_the_run(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    await container.upload_blob("a", b"1")
    await stand_in.set("hold-runs")
    services = open_services(**ADF)
    await run_protect(services, container)
    for _ in range(3):
        await reader.deliver_one(services, deadline_seconds=5)
    [follow_up] = await reader.requests()
    [run] = await stand_in.runs()
    assert (follow_up["kind"], follow_up["run_id"], run["status"]) == ("run", run["run_id"], "Queued")
    assert await backup_names(backups) == []
    await stand_in.set("release-runs")
    await reader.drain(services)
    assert len(await stand_in.runs()) == 1
    assert await assert_protected(container, backups) == 1


async def test_a_throttled_start_is_tried_again_after_the_time_that_was_asked_for(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    await container.upload_blob("a", b"1")
    await stand_in.set("throttle-create-run", count=1, retry_after_seconds=1)
    services = open_services(**ADF)
    await run_protect(services, container)
    began = asyncio.get_running_loop().time()
    await reader.drain(services)
    assert asyncio.get_running_loop().time() - began >= 0.9  # the queue counts in whole seconds
    assert len(await stand_in.runs()) == 1
    assert await assert_protected(container, backups) == 1
    assert await reader.poison() == []


async def test_being_throttled_uses_up_no_attempt(
    open_services: OpenServices,
    container: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    await container.upload_blob("a", b"1")
    await stand_in.set("throttle-create-run", count=7, retry_after_seconds=0)
    services = open_services(**ADF)
    await run_protect(services, container)
    await reader.drain(services)
    assert await reader.poison() == []
    assert len(await stand_in.runs()) == 1


@pytest.mark.parametrize("status", [None, 500])
async def test_a_start_whose_answer_is_lost_is_found_and_not_repeated(
    status: int | None,
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    await container.upload_blob("a", b"1")
    lost: dict[str, object] = {"count": 1} if status is None else {"count": 1, "status": status}
    await stand_in.set("lose-create-run-answers", **lost)
    services = open_services(**ADF)
    await run_protect(services, container)
    await reader.drain(services)
    assert len(await stand_in.runs()) == 1
    assert await assert_protected(container, backups) == 1


async def test_a_start_that_can_be_found_only_later_does_no_harm(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    await container.upload_blob("a", b"1")
    await stand_in.set("lose-create-run-answers", count=1)
    await stand_in.set("lag-queries", seconds=3600)
    services = open_services(**ADF)
    await run_protect(services, container)
    await reader.drain(services)
    assert await assert_protected(container, backups) == 1
    assert await reader.poison() == []
    await discard_of_lost_runs(services, stand_in)


async def discard_of_lost_runs(services: Services, stand_in: StandIn) -> None:
    """What a run that nobody knows of staged is swept away by `reconcile` days later; here at once."""
    await stand_in.until_all_runs_have_ended()
    await services.backup.sweep_staging("9999-12-31T00:00:00Z")


async def test_a_redelivered_message_goes_on_with_the_run_that_it_started(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    queue_proxy: FaultProxy,
    environment: dict[str, str],
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    await container.upload_blob("a", b"1")
    services = open_services(**ADF, BackupQueue=queue_proxy.in_place_of(environment["BackupQueue"], "Queue"))
    await run_protect(services, container)
    # The run is started, and the follow-up message can't be sent.
    queue_proxy.add(Rule(answer(403, "AuthorizationFailure"), method="POST", times=1))
    assert await reader.deliver_one(services) is None
    await reader.drain(services)
    assert len(await stand_in.runs()) == 1
    assert await assert_protected(container, backups) == 1


async def test_the_blobs_of_a_failed_run_are_requested_again(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    for name in "ab":
        await container.upload_blob(name, b"1")
    await stand_in.set("fail-runs", count=2, message="out of disk")
    services = open_services(**ADF)
    await run_protect(services, container)
    await reader.drain(services)
    assert [run["status"] for run in await stand_in.runs()] == ["Failed", "Failed", "Succeeded"]
    assert await assert_protected(container, backups) == 2


async def test_a_blob_whose_runs_keep_failing_ends_in_the_poison_queue_with_the_reason(
    open_services: OpenServices,
    container: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    await container.upload_blob("a", b"1")
    await stand_in.set("fail-runs", count=10, message="out of disk")
    services = open_services(**ADF)
    await run_protect(services, container)
    await reader.drain(services)
    [poison] = await reader.poison()
    assert poison["attempt"] == 5
    assert "out of disk" in poison["reason"]
    assert len(await stand_in.runs()) == 5


async def test_a_run_that_does_not_end_is_cancelled_after_the_deadline_and_its_blobs_are_requested_again(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    clock = [datetime.now(UTC)]
    await container.upload_blob("a", b"1")
    await stand_in.set("hold-runs")
    services = open_services(**ADF, now=lambda: clock[0], SNAPKEEP_ADF_DEADLINE_MINUTES=30)
    await run_protect(services, container)
    await reader.deliver_one(services)
    clock[0] += timedelta(minutes=29)
    await reader.deliver_one(services)
    [run] = await stand_in.runs()
    assert run["status"] == "Queued"
    clock[0] += timedelta(minutes=2)
    await reader.deliver_one(services)
    [again] = await reader.requests()
    assert (again["kind"], again["attempt"]) == ("backup", 2)
    assert "not ended" in again["reason"]
    await stand_in.set("release-runs")
    await reader.drain(services)
    assert [run["status"] for run in await stand_in.runs()] == ["Cancelled", "Succeeded"]
    assert await assert_protected(container, backups) == 1


async def test_a_run_that_vanished_from_the_history_is_made_up_for(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    await container.upload_blob("a", b"1")
    await stand_in.set("hold-runs")
    services = open_services(**ADF)
    await run_protect(services, container)
    await reader.deliver_one(services)
    [run] = await stand_in.runs()
    await stand_in.set("forget-run", run_id=run["run_id"])
    await reader.deliver_one(services)
    await stand_in.set("release-runs")
    await reader.drain(services)
    assert await assert_protected(container, backups) == 1
    assert await reader.poison() == []
    await discard_of_lost_runs(services, stand_in)


async def test_a_blob_that_fails_in_a_run_is_requested_again_alone(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    for name in ("a", "b", "c"):
        await container.upload_blob(name, b"old")
    await stand_in.set("hold-copies", point="before_commit", source="b")
    services = open_services(**ADF)
    await run_protect(services, container)
    await reader.deliver_one(services)
    await stand_in.until_copies_are_held()
    # The pipeline tries it again by itself, and that copy is whole, but of the new version.
    await container.upload_blob("b", b"new version", overwrite=True)
    await stand_in.set("release-copies")
    await reader.drain(services)
    assert len(await stand_in.runs()) == 1
    await run_protect(services, container)
    await reader.drain(services)
    assert await assert_protected(container, backups) == 4
    assert await reader.poison() == []


@pytest.mark.parametrize("point", ["before_reading", "before_commit"])
async def test_a_source_that_changes_under_the_copy_leaves_nothing_wrong_under_the_old_versions_name(
    point: str,
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    await container.upload_blob("a", b"old one")
    services = open_services(**ADF)
    await run_protect(services, container)
    await stand_in.set("hold-copies", point=point)
    await reader.deliver_one(services)
    await stand_in.until_copies_are_held()
    await container.upload_blob("a", b"new one", overwrite=True)  # of the same size
    await stand_in.set("release-copies")
    await reader.drain(services)
    [name] = await backup_names(backups)
    assert await content(backups, name) == b"old one"  # from its snapshot
    await run_protect(services, container)
    await reader.drain(services)
    assert await assert_protected(container, backups) == 2


async def test_an_unsnapshotted_version_that_changes_under_the_copy_is_never_confused_with_the_next(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    await container.upload_blob("a", b"old one")
    services = open_services(**ADF)
    await run_protect(services, container)
    await stand_in.set("hold-copies", point="before_reading")
    await reader.deliver_one(services)
    await stand_in.until_copies_are_held()
    await container.delete_blob("a", delete_snapshots="include")
    await container.upload_blob("a", b"new one")
    await stand_in.set("release-copies")
    await reader.drain(services)
    assert [await content(backups, name) for name in await backup_names(backups)] == [b"new one"]
    await run_protect(services, container)
    await reader.drain(services)
    assert await assert_protected(container, backups) == 1


async def test_a_staged_copy_whose_bytes_are_damaged_is_not_trusted(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    staging: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    await container.upload_blob("a", b"right")
    services = open_behind_proxies(**ADF)
    damaged = asyncio.Event()

    async def damage(request: Any, forward: Any) -> Any:
        name = request.path.partition(f"/{STAGING_CONTAINER}/")[2]
        await staging.upload_blob(name, b"wrong", overwrite=True)
        damaged.set()
        return await forward(request)

    blob_proxy.add(Rule(damage, method="HEAD", target=f"/{STAGING_CONTAINER}/", times=1))
    await run_protect(services, container)
    await reader.drain(services)
    assert damaged.is_set()
    assert await assert_protected(container, backups) == 1
    assert len(await stand_in.runs()) == 2


async def test_an_outage_of_data_factory_is_survived_by_a_run_that_is_on_its_way(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    adf_proxy: FaultProxy,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    await container.upload_blob("a", b"1")
    await stand_in.set("hold-runs")
    services = open_services(**ADF, SNAPKEEP_ADF_ENDPOINT=adf_proxy.url)
    await run_protect(services, container)
    await reader.deliver_one(services)
    outage = adf_proxy.add(Rule(answer(403, "Forbidden"), method="GET", target="/pipelineruns/"))
    for _ in range(7):
        await reader.deliver_one(services)
    assert outage.hits == 7
    adf_proxy.clear()
    await stand_in.set("release-runs")
    await reader.drain(services)
    assert len(await stand_in.runs()) == 1
    assert await assert_protected(container, backups) == 1


async def test_no_second_copy_is_made_of_a_version_that_was_backed_up_meanwhile(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    await container.upload_blob("a", b"1")
    await stand_in.set("hold-runs")
    by_data_factory, by_server = open_services(**ADF), open_services(SNAPKEEP_ENGINE="server")
    await run_protect(by_data_factory, container)
    [message] = await reader.requests()
    await reader.deliver_one(by_data_factory)
    follow_up = await reader.requests()
    assert [each["kind"] for each in follow_up] == ["run"]
    await reader.clear()
    await reader.put(message)
    await reader.drain(by_server)
    [before] = await entries(backups)
    await stand_in.set("release-runs")
    await reader.put(follow_up[0])
    await reader.drain(by_data_factory)
    [after] = await entries(backups)
    assert after.etag == before.etag


async def test_the_message_of_a_run_holds_no_secret_and_no_address(
    open_services: OpenServices,
    container: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    await container.upload_blob("a", b"1")
    services = open_services(**ADF)
    await run_protect(services, container)
    await reader.deliver_one(services)
    [run] = await stand_in.runs()
    for text in (json.dumps(await reader.requests()), json.dumps(run["parameters"])):
        assert "http" not in text
        assert "sig=" not in text
        assert str(services.settings.source.account_key) not in text
    await reader.drain(services)


async def test_with_a_lease_writers_are_locked_out_and_readers_are_not_until_the_copy_is_verified(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    blob = await container.upload_blob("a", b"old")
    services = open_services(**LEASED)
    await run_protect(services, container)
    await stand_in.set("hold-copies", point="before_commit")
    delivery = asyncio.create_task(reader.deliver_one(services))
    await stand_in.until_copies_are_held()
    with pytest.raises(HttpResponseError) as refused:
        await blob.upload_blob(b"new", overwrite=True)
    assert refused.value.status_code == 412
    assert await content(container, "a") == b"old"
    lease = (await blob.get_blob_properties()).lease
    assert (lease.state, lease.duration) == ("leased", "fixed")
    await stand_in.set("release-copies")
    outcome = await delivery
    assert outcome is not None
    assert outcome.failures == []
    assert (await blob.get_blob_properties()).lease.state == "available"
    assert await assert_protected(container, backups) == 1
    await blob.upload_blob(b"new", overwrite=True)


async def test_a_lease_of_somebody_else_is_never_broken_and_the_blob_is_tried_again_alone(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
) -> None:
    held = await container.upload_blob("held", b"1")
    await container.upload_blob("free", b"2")
    theirs = await held.acquire_lease()
    services = open_services(**LEASED)
    await run_protect(services, container)
    outcome = await reader.deliver_one(services)
    assert outcome is not None
    assert [failure.version.name for failure in outcome.failures] == ["held"]
    assert len(await backup_names(backups)) == 1
    await theirs.renew()  # it is still theirs
    await theirs.release()
    await reader.drain(services)
    assert await assert_protected(container, backups) == 2


async def test_a_lease_that_is_never_given_back_ends_in_the_poison_queue(
    open_services: OpenServices,
    container: ContainerClient,
    reader: QueueReader,
) -> None:
    blob = await container.upload_blob("held", b"1")
    theirs = await blob.acquire_lease()
    services = open_services(**LEASED)
    await run_protect(services, container)
    await reader.drain(services)
    [poison] = await reader.poison()
    assert "somebody else" in poison["reason"]
    await theirs.renew()


async def test_a_copy_whose_lease_was_lost_is_not_trusted(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    blob = await container.upload_blob("a", b"old")
    services = open_services(**LEASED)
    await run_protect(services, container)
    await stand_in.set("hold-copies", point="before_commit")
    delivery = asyncio.create_task(reader.deliver_one(services))
    await stand_in.until_copies_are_held()
    await break_lease(blob)
    await asyncio.sleep(0.3)  # the next renewal finds it broken
    await stand_in.set("release-copies")
    outcome = await delivery
    assert outcome is not None
    [failure] = outcome.failures
    assert "lease was lost" in failure.reason
    assert await backup_names(backups) == []
    await reader.drain(services)
    assert await assert_protected(container, backups) == 1


async def break_lease(blob: BlobClient) -> None:
    await BlobLeaseClient(blob).break_lease(lease_break_period=0)


async def test_every_lease_is_given_back_when_the_run_fails_and_when_it_cannot_be_started(
    open_services: OpenServices,
    container: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
    adf_proxy: FaultProxy,
) -> None:
    for name in "abc":
        await container.upload_blob(name, b"1")
    services = open_services(**LEASED, SNAPKEEP_ADF_ENDPOINT=adf_proxy.url)
    await run_protect(services, container)
    adf_proxy.add(Rule(answer(400, "BadRequest"), target=re.compile("createRun"), times=1))
    await stand_in.set("fail-runs", count=1)
    for _ in range(2):
        outcome = await reader.deliver_one(services)
        assert outcome is not None
        assert len(outcome.failures) == 3
        for name in "abc":
            assert (await container.get_blob_client(name).get_blob_properties()).lease.state == "available"
    await reader.drain(services)


async def test_every_lease_is_given_back_and_the_run_cancelled_when_the_app_is_stopped(
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    blob = await container.upload_blob("a", b"1")
    services = open_services(**LEASED)
    await run_protect(services, container)
    await stand_in.set("hold-copies", point="before_commit")
    delivery = asyncio.create_task(reader.deliver_one(services))
    await stand_in.until_copies_are_held()
    delivery.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivery
    assert (await blob.get_blob_properties()).lease.state == "available"
    await stand_in.set("reset")
    await reader.drain(services)
    assert [run["status"] for run in await stand_in.runs()] == ["Cancelled", "Succeeded"]
    assert await assert_protected(container, backups) == 1


async def test_a_source_that_changed_before_its_lease_was_had_is_copied_from_its_snapshot(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
    stand_in: StandIn,
) -> None:
    await container.upload_blob("a", b"old")
    services = open_behind_proxies(**LEASED)
    await run_protect(services, container)

    async def change(request: Any, forward: Any) -> Any:
        await container.upload_blob("a", b"new", overwrite=True)
        return await forward(request)

    blob_proxy.add(Rule(change, method="PUT", target="comp=lease", times=1))
    await reader.drain(services)
    assert [await content(backups, name) for name in await backup_names(backups)] == [b"old"]
    assert await stand_in.runs() == []


async def test_a_lease_whose_answer_is_lost_is_finite_and_the_blob_is_tried_again(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    blob = await container.upload_blob("a", b"1")
    services = open_behind_proxies(**LEASED)
    await run_protect(services, container)
    lost = blob_proxy.add(Rule(lose_answer(), method="PUT", target="comp=lease", times=1))
    await reader.deliver_one(services)
    assert lost.hits == 1
    lease = (await blob.get_blob_properties()).lease
    assert (lease.state, lease.duration) in {("leased", "fixed"), ("available", None)}
    if lease.state == "leased":
        await break_lease(blob)  # as its 60 s do, if nobody renews it
    await reader.drain(services)
    assert await assert_protected(container, backups) == 1


async def test_being_throttled_longer_than_the_deadline_is_a_failure_with_its_reason(
    open_services: OpenServices, container: ContainerClient, reader: QueueReader, stand_in: StandIn
) -> None:
    await container.upload_blob("a", b"1")
    await stand_in.set("throttle-create-run", count=100, retry_after_seconds=0)
    services = open_services(**ADF, SNAPKEEP_ADF_DEADLINE_MINUTES=0.0001)
    await run_protect(services, container)
    await reader.drain(services)
    [given_up] = await reader.poison()
    assert "429" in given_up["reason"]


async def test_a_staging_container_that_is_refused_is_a_failure_with_its_reason(
    open_behind_proxies: OpenServices, container: ContainerClient, reader: QueueReader, blob_proxy: FaultProxy
) -> None:
    await container.upload_blob("a", b"1")
    blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), target=f"/{STAGING_CONTAINER}?restype=container"))
    services = open_behind_proxies(**ADF)
    await run_protect(services, container)
    await reader.drain(services)
    [given_up] = await reader.poison()
    assert "403" in given_up["reason"]

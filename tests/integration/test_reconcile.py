"""`reconcile` against real storage: what was missed is found, filled in and reported, at the price of two listings."""

import asyncio
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob import StandardBlobTier
from azure.storage.blob.aio import BlobLeaseClient, BlobServiceClient, ContainerClient

from local.gateway.messages import Headers, Request, Response, make_response
from shared.adapters import leases
from shared.containers import STAGING_CONTAINER, STATE_CONTAINER, backup_container
from shared.decisions.sampling import Sampler
from shared.errors import AlreadyRunning, LeaseUnavailable, StorageFailed
from shared.operations import reconcile as operation
from shared.operations.proof import Proof
from shared.operations.protect import protect
from shared.operations.reconcile import CHECKPOINT, HISTORY, reconcile
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import Action, FaultProxy, Forward, Rule, answer, hold, pages_of
from tests.protection import assert_protected, backup_name, backup_names, entries
from tests.queue_reader import QueueReader
from tests.waiting import until

LISTING = re.compile(r"comp=list")


@pytest.fixture(autouse=True)
async def no_checkpoint(services: Services) -> None:
    """A run that a failed test left unfinished is not gone on with here."""
    await services.state.delete(CHECKPOINT)


async def run(services: Services, elapsed: Callable[[], float] = lambda: 0.0) -> dict[str, Any]:
    return await reconcile(services, elapsed=elapsed)


async def part(services: Services) -> dict[str, Any]:
    """The report's part of the one container that the settings let it see."""
    report = await run(services)
    assert report["complete"]
    [only] = report["containers"]
    found: dict[str, Any] = only
    return found


def reversed_listing() -> Action:
    """One page with its entries in the opposite order."""

    async def act(request: Request, forward: Forward) -> Response:
        text = (await (await forward(request)).read()).decode()
        blobs = re.findall(r"<Blob>.*?</Blob>", text, re.DOTALL)
        turned = re.sub(r"<Blobs>.*</Blobs>", lambda _: f"<Blobs>{''.join(reversed(blobs))}</Blobs>", text, flags=re.S)
        return make_response(200, "OK", Headers([("Content-Type", "application/xml")]), turned.encode())

    return act


async def test_a_container_that_nobody_announced_is_protected(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    for number in range(7):
        await container.upload_blob(f"{number}.csv", b"x" * number)
    first = await part(services)
    assert (first["blobs"], first["versions"], first["protected"]) == (7, 7, 0)
    assert (first["snapshots_created"], first["backups_requested"]) == (7, 7)
    await reader.drain(services)
    assert await assert_protected(container, backups) == 7
    second = await part(services)
    assert (second["versions"], second["protected"]) == (7, 7)
    assert (second["snapshots_created"], second["backups_requested"], second["oldest_unprotected"]) == (0, 0, None)


async def test_with_nothing_to_do_it_costs_the_listings_of_both_accounts_alone(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    queue_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    for number in range(20):
        await container.upload_blob(f"{number}", b"x")
    services = open_behind_proxies()
    await part(services)
    await reader.drain(services)
    blob_proxy.clear()
    queue_proxy.clear()
    await part(services)
    own = "/backup/snapkeep-state"
    calls = Counter(
        (call.method, call.target.split("?")[0]) for call in blob_proxy.calls if not call.target.startswith(own)
    )
    name = container.container_name
    assert calls == {("GET", "/source/"): 1, ("GET", f"/source/{name}"): 1, ("GET", f"/backup/{name}bak"): 1}
    assert {call.method for call in queue_proxy.calls} == {"GET"}  # the status page tells how many requests wait
    assert len(queue_proxy.calls) <= 4
    # Its lock, checkpoint, report and history; what was deleted before; and the status page with what that tells.
    assert sum(call.target.startswith(own) for call in blob_proxy.calls) <= 40


async def test_missing_backups_of_all_snapshotted_versions_are_requested(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob("a", b"0")
    for number in range(1, 4):
        await blob.create_snapshot()
        await blob.upload_blob(str(number).encode(), overwrite=True)
    found = await part(services)
    assert (found["blobs"], found["versions"], found["backups_requested"], found["snapshots_created"]) == (1, 4, 4, 1)
    await reader.drain(services)
    assert await assert_protected(container, backups) == 4
    await backups.delete_blob((await backup_names(backups))[1])
    assert (await part(services))["backups_requested"] == 1
    await reader.drain(services)
    assert await assert_protected(container, backups) == 4


async def test_with_current_history_older_versions_are_neither_counted_nor_requested(
    open_services: OpenServices, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    services = open_services(SNAPKEEP_HISTORY="current")
    blob = await container.upload_blob("a", b"old")
    await blob.create_snapshot()
    await blob.upload_blob(b"current", overwrite=True)
    found = await part(services)
    assert (found["versions"], found["backups_requested"], found["snapshots_created"]) == (1, 1, 1)
    await reader.drain(services)
    assert len(await backup_names(backups)) == 1


async def test_a_request_that_got_lost_is_made_again(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a", b"1")
    await protect(services, container.container_name, elapsed=lambda: 0.0)
    await reader.clear()
    found = await part(services)
    assert (found["snapshots_created"], found["backups_requested"]) == (0, 1)
    await reader.drain(services)
    assert await assert_protected(container, backups) == 1


async def test_directories_are_left_alone(services: Services, container: ContainerClient, reader: QueueReader) -> None:
    await container.upload_blob("folder", b"", metadata={"hdi_isfolder": "true"})
    found = await part(services)
    assert (found["blobs"], found["versions"], found["snapshots_created"]) == (0, 0, 0)
    assert await reader.waiting() == 0


@pytest.mark.parametrize("account", ["source", "backup"])
async def test_the_order_of_the_listings_does_not_matter(
    account: str,
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    for name in ("a", "a/b", "a-b", "a.b", "A", "é", "😀", "\uffed", "z"):
        await container.upload_blob(name, b"x")
    await (await container.upload_blob("a", b"y", overwrite=True)).create_snapshot()
    services = open_behind_proxies()
    await part(services)
    await reader.drain(services)
    target = re.compile(rf"/{account}/{container.container_name}.*comp=list")
    turned = blob_proxy.add(Rule(reversed_listing(), target=target))
    found = await part(services)
    assert turned.hits > 1  # each way of joining them was tried in vain
    assert (found["snapshots_created"], found["backups_requested"]) == (0, 0)
    assert found["versions"] == found["protected"] > 0


async def test_a_run_that_is_out_of_time_saves_where_it_is_and_is_gone_on_with(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    for number in range(10):
        await container.upload_blob(f"{number}", b"x")
    source = re.compile(rf"/source/{container.container_name}.*comp=list")
    blob_proxy.add(Rule(pages_of(3), target=source))
    services = open_behind_proxies()
    reports = [await run(services, elapsed=lambda: 1e9)]
    for _ in range(20):
        if reports[-1]["complete"]:
            break
        reports.append(await run(services, elapsed=lambda: 1e9))
    assert [report["complete"] for report in reports] == [False] * 3 + [True]
    assert len({report["run_id"] for report in reports}) == 1
    assert len({report["started_at"] for report in reports}) == 1
    assert not reports[0]["containers"][0]["complete"]
    [last] = reports[-1]["containers"]
    assert (last["blobs"], last["snapshots_created"], last["backups_requested"]) == (10, 10, 10)
    assert (last["complete"], reports[-1]["totals"]["blobs"]) == (True, 10)
    assert await services.state.read(CHECKPOINT) is None
    await reader.drain(services)
    assert await assert_protected(container, backups) == 10


async def test_a_container_that_was_begun_is_ended_before_one_that_is_new_since(
    open_behind_proxies: OpenServices, source_account: BlobServiceClient, blob_proxy: FaultProxy
) -> None:
    family = f"family-{uuid4().hex[:8]}"
    services = open_behind_proxies(SNAPKEEP_INCLUDE_CONTAINERS=f"{family}-*")
    begun = await source_account.create_container(f"{family}-b")
    for name in "abcd":
        await begun.upload_blob(name, b"x")
    pages = re.compile(rf"/source/{family}-b.*comp=list.*snapshots")
    blob_proxy.add(Rule(pages_of(2), target=pages))
    assert not (await run(services, elapsed=lambda: 1e9))["complete"]
    await source_account.create_container(f"{family}-a")
    blob_proxy.calls.clear()
    report = await run(services)
    assert (report["complete"], report["totals"]["blobs"]) == (True, 4)
    assert blob_proxy.count(target=pages) == 1


async def test_a_checkpoint_outlives_a_restart_and_a_container_that_was_done_is_not_done_again(
    open_behind_proxies: OpenServices, source_account: BlobServiceClient, blob_proxy: FaultProxy
) -> None:
    family = f"family-{uuid4().hex[:8]}"
    for number in range(3):
        client = await source_account.create_container(f"{family}-{number}")
        for name in "abcd":
            await client.upload_blob(name, b"x")
    blob_proxy.add(Rule(pages_of(2), target=re.compile(r"/source/.*comp=list.*snapshots")))
    done = []
    for _ in range(20):
        services = open_behind_proxies(SNAPKEEP_INCLUDE_CONTAINERS=f"{family}-*")
        done.append(await run(services, elapsed=lambda: 1e9))
        if done[-1]["complete"]:
            break
    assert done[-1]["complete"]
    assert done[-1]["totals"]["blobs"] == done[-1]["totals"]["backups_requested"] == 12
    assert [each["container"] for each in done[-1]["containers"]] == [f"{family}-{number}" for number in range(3)]


async def test_a_failing_container_is_named_and_does_not_stop_the_others(
    open_behind_proxies: OpenServices, source_account: BlobServiceClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    family = f"family-{uuid4().hex[:8]}"
    for name in ("bad", "good"):
        await (await source_account.create_container(f"{family}-{name}")).upload_blob("a", b"x")
    broken = re.compile(rf"/source/{family}-bad.*comp=list")
    blob_proxy.add(Rule(answer(403, "AuthorizationPermissionMismatch"), target=broken))
    services = open_behind_proxies(SNAPKEEP_INCLUDE_CONTAINERS=f"{family}-*")
    report = await run(services)
    bad, good = report["containers"]
    assert (bad["complete"], "AuthorizationPermissionMismatch" in bad["error"]) == (False, True)
    assert (good["complete"], good["error"], good["backups_requested"]) == (True, None, 1)
    assert not report["complete"]
    blob_proxy.clear()
    await reader.drain(services)
    assert (await run(services))["complete"]


async def test_a_backup_container_that_was_deleted_is_an_error_in_the_report_and_nothing_is_requested(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a", b"1")
    await part(services)
    await reader.drain(services)
    await backups.delete_container()
    report = await run(services)
    [found] = report["containers"]
    assert "existed and is gone" in found["error"]
    assert not report["complete"]
    assert await reader.waiting() == 0
    assert not await backups.exists()


async def test_one_run_at_a_time_and_a_second_says_so(
    open_behind_proxies: OpenServices,
    open_services: OpenServices,
    container: ContainerClient,
    blob_proxy: FaultProxy,
) -> None:
    await container.upload_blob("a", b"1")
    go_on = asyncio.Event()
    held = blob_proxy.add(Rule(hold(go_on), target=re.compile(rf"/source/{container.container_name}.*comp=list")))
    first = asyncio.create_task(run(open_behind_proxies()))
    await until(lambda: held.hits == 1)
    with pytest.raises(AlreadyRunning):
        await run(open_services())
    go_on.set()
    assert (await first)["complete"]
    assert (await run(open_services()))["complete"]


async def test_a_run_that_loses_its_lock_ends_and_writes_nothing_where_another_may_write(
    open_behind_proxies: OpenServices,
    backup_account: BlobServiceClient,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    await container.upload_blob("a", b"1")
    services = open_behind_proxies()
    before = await services.state.read("reports/latest.json")
    go_on = asyncio.Event()
    held = blob_proxy.add(Rule(hold(go_on), target=re.compile(rf"/source/{container.container_name}.*comp=list")))
    running = asyncio.create_task(run(services))
    await until(lambda: held.hits == 1)
    lock = backup_account.get_blob_client(STATE_CONTAINER, "locks/reconcile")
    await BlobLeaseClient(lock).break_lease(lease_break_period=0)
    await until(lambda: "renew the lease of locks/reconcile" in caplog.text)
    checkpoint = await services.state.read(CHECKPOINT)
    go_on.set()
    with pytest.raises(LeaseUnavailable, match="lost its lock"):
        await running
    assert await services.state.read("reports/latest.json") == before
    assert await services.state.read(CHECKPOINT) == checkpoint


async def test_the_report_holds_every_count_and_reason_and_stands_as_latest(
    open_services: OpenServices, container: ContainerClient
) -> None:
    clock = [datetime.now(UTC)]
    services = open_services(now=lambda: clock[0])
    await container.upload_blob("good", b"1")
    cold = await container.upload_blob("cold", b"22")
    await container.upload_blob("a\\..\\b", b"333")
    await cold.set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    modified = {entry.name: entry.last_modified for entry in await entries(container)}
    clock[0] = max(modified.values()) + timedelta(hours=5)
    report = await run(services)
    stamp = f"{clock[0]:%Y%m%dT%H%M%SZ}"
    assert await services.state.read("reports/latest.json") == report
    assert await services.state.read(f"reports/reconcile-{stamp}-{report['run_id']}.json") == report
    [found] = report["containers"]
    oldest = min(modified.values())
    listed = {line["name"]: line for line in found.pop("unprotectable")}
    assert found == {
        "container": container.container_name,
        "blobs": 3,
        "versions": 3,
        "protected": 0,
        "snapshots_created": 2,
        "backups_requested": 1,
        "vanished": 0,
        "unprotectable_by_reason": {"refused name": 1, "archived": 1},
        "failed_count": 0,
        "failed": [],
        "oldest_unprotected": f"{oldest:%Y-%m-%dT%H:%M:%SZ}",
        "oldest_unprotected_seconds": int((clock[0] - oldest).total_seconds()),
        "deleted": 0,
        "deleted_in_run": 0,
        "deleted_lately": 0,
        "deletions_unconfirmed": 0,
        "created_lately": 3,
        "overwritten_lately": 0,
        "overwritten_percent": 0.0,
        "deleted_percent": 0.0,
        "alarm": None,
        "listing": "live",
        "duration_seconds": 0.0,
        "complete": True,
        "error": None,
    }
    assert {name: line["reason"] for name, line in listed.items()} == {"a/../b": "refused name", "cold": "archived"}
    assert listed["cold"]["last_modified"] == f"{modified['cold']:%Y-%m-%dT%H:%M:%SZ}"
    assert {key: report[key] for key in ("schema", "kind", "started_at", "finished_at", "complete")} == {
        "schema": 1,
        "kind": "reconcile",
        "started_at": f"{clock[0]:%Y-%m-%dT%H:%M:%SZ}",
        "finished_at": f"{clock[0]:%Y-%m-%dT%H:%M:%SZ}",
        "complete": True,
    }
    assert report["totals"] == {
        "blobs": 3,
        "versions": 3,
        "protected": 0,
        "snapshots_created": 2,
        "backups_requested": 1,
        "unprotectable": 2,
    }


async def test_a_lost_version_stands_in_the_report_for_a_month(
    open_services: OpenServices, container: ContainerClient, reader: QueueReader
) -> None:
    clock = [datetime.now(UTC)]
    services = open_services(now=lambda: clock[0])
    blob = await container.upload_blob("a", b"1")
    await protect(services, container.container_name, elapsed=lambda: 0.0)
    await blob.delete_blob(delete_snapshots="include")
    await reader.drain(services)
    found = await part(services)
    assert found["unprotectable_by_reason"] == {"gone before it was copied": 1}
    assert [line["name"] for line in found["unprotectable"]] == ["a"]
    clock[0] += timedelta(days=29)
    assert (await part(services))["unprotectable_by_reason"] == {"gone before it was copied": 1}
    clock[0] += timedelta(days=2)
    assert (await part(services))["unprotectable_by_reason"] == {}


async def test_what_backup_gave_up_on_stands_in_the_report_until_it_is_backed_up(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    await container.upload_blob("a", b"1")
    services = open_behind_proxies()
    await protect(services, container.container_name, elapsed=lambda: 0.0)
    blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), method="PUT", target="bak/a/"))
    await reader.drain(services)
    found = await part(services)
    assert found["unprotectable_by_reason"] == {"failed": 1}
    assert "AuthorizationFailure" in found["unprotectable"][0]["detail"]
    assert found["backups_requested"] == 1  # and it is tried again
    blob_proxy.clear()
    await reader.drain(services)
    healed = await part(services)
    assert (healed["unprotectable_by_reason"], healed["protected"]) == ({}, 1)
    assert await services.state.names(f"unprotected/{container.container_name}/") == []


async def test_an_archived_version_is_backed_up_once_it_is_rehydrated(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob("cold", b"1")
    await blob.set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    assert (await part(services))["unprotectable_by_reason"] == {"archived": 1}
    assert await reader.waiting() == 0
    await blob.set_standard_blob_tier(StandardBlobTier.HOT)
    found = await part(services)
    assert (found["unprotectable_by_reason"], found["backups_requested"]) == ({}, 1)
    await reader.drain(services)
    assert (await part(services))["protected"] == 1
    assert len(await backup_names(backups)) == 1


async def test_a_foreign_blob_under_a_backups_name_is_reported_and_not_counted_as_protected(
    services: Services, container: ContainerClient, backups: ContainerClient
) -> None:
    await container.upload_blob("a", b"1")
    [source] = await entries(container)
    await backups.create_container()
    await backups.upload_blob(backup_name(source), b"planted")
    found = await part(services)
    assert found["protected"] == 0
    assert found["unprotectable_by_reason"] == {"another blob stands under the backup's name": 1}


async def test_a_backup_that_is_half_written_does_not_count_and_is_requested(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    log = container.get_blob_client("log")
    await log.create_append_blob()
    await log.append_block(b"1234")
    disk = container.get_blob_client("disk")
    await disk.create_page_blob(1024)
    await disk.upload_page(b"p" * 512, 0, 512)
    services = open_behind_proxies()
    blob_proxy.add(
        Rule(answer(403, "AuthorizationFailure"), method="PUT", target=re.compile("comp=(appendblock|page)"))
    )
    await part(services)
    await reader.deliver_one(services)
    await reader.clear()
    assert len(await backup_names(backups)) == 2
    found = await part(services)
    assert (found["protected"], found["backups_requested"]) == (0, 2)
    blob_proxy.clear()
    await reader.drain(services)
    assert await assert_protected(container, backups) == 2
    assert (await part(services))["protected"] == 2


async def test_a_blob_that_changes_under_the_run_is_snapshotted_as_it_is_now(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await container.upload_blob("a", b"1")

    async def change(request: Request, forward: Forward) -> Response:
        await container.upload_blob("a", b"2", overwrite=True)
        return await forward(request)

    blob_proxy.add(Rule(change, method="PUT", target="comp=snapshot", times=1))
    services = open_behind_proxies()
    await part(services)
    await reader.drain(services)
    assert await assert_protected(container, backups) == 1
    assert (await part(services))["protected"] == 1


async def test_a_container_that_goes_away_takes_nothing_from_its_backups(
    services: Services,
    container: ContainerClient,
    backup_account: BlobServiceClient,
    reader: QueueReader,
) -> None:
    await container.upload_blob("a", b"1")
    await part(services)
    await reader.drain(services)
    await container.delete_container()
    report = await run(services)
    [gone] = report["containers"]
    assert (report["complete"], gone["container"]) == (False, container.container_name)
    assert "the source container is gone" in gone["error"]
    kept = backup_account.get_container_client(backup_container(container.container_name))
    assert len(await backup_names(kept)) == 1


async def test_system_containers_are_left_out(
    open_services: OpenServices, source_account: BlobServiceClient, container: ContainerClient
) -> None:
    name = f"azure-webjobs-{uuid4().hex[:8]}"
    system = await source_account.create_container(name)
    await system.upload_blob("a", b"1")
    services = open_services(SNAPKEEP_INCLUDE_CONTAINERS=f"{name},{container.container_name}")
    report = await run(services)
    assert [each["container"] for each in report["containers"]] == [container.container_name]
    assert len(await entries(system)) == 1


async def test_what_runs_left_in_the_staging_container_is_swept_away_after_days(
    open_services: OpenServices, backup_account: BlobServiceClient
) -> None:
    clock = [datetime.now(UTC)]
    services = open_services(SNAPKEEP_ENGINE="adf", now=lambda: clock[0])
    staging = backup_account.get_container_client(STAGING_CONTAINER)
    await services.backup.ensure_staging()
    await staging.upload_blob("orphan", b"1")
    clock[0] += timedelta(days=1)
    await run(services)
    assert "orphan" in await backup_names(staging)
    clock[0] += timedelta(days=2)
    await run(services)
    assert await backup_names(staging) == []


async def test_an_interrupted_run_is_made_up_for_by_the_next(
    open_behind_proxies: OpenServices,
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    for name in "abc":
        await container.upload_blob(name, b"1")
    never = asyncio.Event()
    held = blob_proxy.add(Rule(hold(never), method="PUT", target="comp=snapshot", skip=1))
    task = asyncio.create_task(run(open_behind_proxies(SNAPKEEP_CONCURRENCY=1)))
    await until(lambda: held.hits == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    services = open_services()
    found = await part(services)  # its lock was given back
    assert found["snapshots_created"] == 2
    await reader.drain(services)
    assert await assert_protected(container, backups) == 3


async def test_a_container_that_fails_unexpectedly_is_named_and_the_report_is_written(
    services: Services, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await container.upload_blob("a", b"1")
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")  # as a disk that is full or gone
    report = await run(services)
    [failed] = report["containers"]
    assert (report["complete"], failed["complete"]) == (False, False)
    assert "FileNotFoundError" in failed["error"]
    assert await services.state.read("reports/latest.json") == report


async def test_a_staged_blob_that_cannot_be_swept_away_keeps_no_report_from_being_written(
    open_services: OpenServices, backup_account: BlobServiceClient
) -> None:
    services = open_services(SNAPKEEP_ENGINE="adf", now=lambda: datetime.now(UTC) + timedelta(days=5))
    await services.backup.ensure_staging()
    leased = await backup_account.get_container_client(STAGING_CONTAINER).upload_blob("leased", b"1")
    lease = BlobLeaseClient(leased)
    await lease.acquire(60)
    assert (await run(services))["complete"]
    await lease.release()
    await leased.delete_blob()


async def test_a_checkpoint_of_another_release_is_not_gone_on_with(
    services: Services, container: ContainerClient
) -> None:
    await container.upload_blob("a", b"1")
    await services.state.write(CHECKPOINT, {"run_id": "old", "what": "another release wrote"})
    report = await run(services)
    assert (report["complete"], report["totals"]["blobs"]) == (True, 1)
    assert await services.state.read(CHECKPOINT) is None


async def test_versions_that_a_deleted_container_took_along_stand_in_the_report(
    services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a", b"1")
    await protect(services, container.container_name, elapsed=lambda: 0.0)
    await container.delete_container()
    await reader.drain(services)
    report = await run(services)
    [gone] = report["containers"]
    assert (report["complete"], gone["unprotectable_by_reason"]) == (False, {"gone before it was copied": 1})
    assert "the source container is gone" in gone["error"]


async def test_snapshots_are_taken_although_the_backup_container_was_deleted(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a", b"1")
    await part(services)
    await reader.drain(services)
    await backups.delete_container()
    await container.upload_blob("b", b"2")
    [found] = (await run(services))["containers"]
    assert (found["blobs"], found["snapshots_created"], found["backups_requested"]) == (2, 1, 0)
    assert "existed and is gone" in found["error"]


async def test_a_run_ends_with_proofs_of_what_it_found_protected_and_reports_them(
    open_services: OpenServices, container: ContainerClient, reader: QueueReader
) -> None:
    services = open_services(SNAPKEEP_VERIFY_SAMPLE_PERCENT=100, SNAPKEEP_DRILL_BLOBS=2)
    for name in "abc":
        await container.upload_blob(name, b"content of " + name.encode())
    report = await run(services)
    assert report["drill"]["picked"] == 0  # nothing is protected yet
    await reader.drain(services)
    report = await run(services)
    assert report["errors"] == []
    assert (report["verify"]["complete"], report["verify"]["mode"]) == (True, "bytes")
    assert (report["verify"]["totals"]["checked"], report["verify"]["totals"]["problems"]) == (3, 0)
    assert (report["drill"]["result"], report["drill"]["restored"]) == ("succeeded", 2)
    assert await services.state.read("reports/latest.json") == report
    stamp = report["finished_at"].replace("-", "").replace(":", "")
    assert await services.state.read(f"reports/reconcile-{stamp}-{report['run_id']}.json") == report


async def test_unless_it_is_told_otherwise_it_proves_by_metadata(
    open_services: OpenServices, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def prove(_services: Services, sampler: Sampler, *, seconds: float, by_bytes: bool) -> Proof:
        asked.append((sampler.percent, sampler.drill_blobs, seconds, by_bytes))
        return Proof(None, None)

    monkeypatch.setattr(operation, "prove", prove)
    await run(open_services(SNAPKEEP_VERIFY_SAMPLE_PERCENT="", SNAPKEEP_DRILL_BLOBS=""))
    await run(open_services(SNAPKEEP_VERIFY_SAMPLE_PERCENT=1), elapsed=lambda: 1490.0)
    assert asked == [(1, 20, 300, False), (1, 0, 10, True)]


@pytest.mark.parametrize("failure", [StorageFailed("write reports: 403"), ValueError("a defect")])
async def test_proofs_that_fail_are_an_error_in_a_report_that_is_written_all_the_same(
    failure: Exception, open_services: OpenServices, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def prove(*_: object, **__: object) -> Proof:
        raise failure

    monkeypatch.setattr(operation, "prove", prove)
    services = open_services(SNAPKEEP_DRILL_BLOBS=1)
    report = await run(services)
    assert report["complete"]
    [error] = report["errors"]
    assert str(failure) in error
    assert (report["verify"], report["drill"]) == (None, None)
    assert await services.state.read("reports/latest.json") == report


async def test_a_run_that_is_ended_while_it_makes_its_proofs_is_reported_by_the_next(
    open_services: OpenServices, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(BaseException):
        pass

    async def prove(*_: object, **__: object) -> Proof:
        raise Ended

    services = open_services(SNAPKEEP_DRILL_BLOBS=1)
    with monkeypatch.context() as patched:
        patched.setattr(operation, "prove", prove)
        with pytest.raises(Ended):
            await run(services)
    before = {run["run_id"] for run in (await services.state.read("history/coverage.json") or {"runs": []})["runs"]}
    report = await run(services)
    after = [run["run_id"] for run in (await services.state.read("history/coverage.json"))["runs"]]
    [ended] = {*after} - before - {report["run_id"]}
    assert after[-2:] == [ended, report["run_id"]]
    [name] = [name for name in await services.state.names("reports/reconcile-") if ended in name]
    told = await services.state.read(name)
    assert (told["complete"], told["errors"]) == (True, ["proofs: the app ended while they were made"])
    assert told["containers"][0]["deleted_percent"] == 0.0  # alarms do not wait for proofs
    assert (await services.state.read("reports/latest.json"))["run_id"] == report["run_id"]


async def test_without_time_there_are_no_proofs_and_the_report_says_so(
    open_services: OpenServices, container: ContainerClient
) -> None:
    report = await run(open_services(SNAPKEEP_DRILL_BLOBS=1), elapsed=lambda: 1e9)
    assert report["complete"]
    assert "no time was left" in report["errors"][0]


async def test_what_was_sampled_is_kept_from_one_invocation_to_the_next(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    for number in range(8):
        await container.upload_blob(f"{number}", b"x")
    await part(open_behind_proxies())
    await reader.drain(open_behind_proxies())
    blob_proxy.add(Rule(pages_of(5), target=re.compile(rf"/source/{container.container_name}.*comp=list")))
    proving = {"SNAPKEEP_VERIFY_SAMPLE_PERCENT": 100}
    first = await run(open_behind_proxies(**proving), elapsed=lambda: 1e9)
    assert (first["complete"], first["verify"]) == (False, None)
    for _ in range(10):
        last = await run(open_behind_proxies(), elapsed=lambda: 0.0)
        if last["complete"]:
            break
    assert last["run_id"] == first["run_id"]
    assert last["verify"]["totals"]["checked"] == 8


async def test_each_run_stands_in_the_history_once(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    for number in range(4):
        await container.upload_blob(f"{number}", b"x")
    services = open_behind_proxies()
    blob_proxy.add(Rule(pages_of(2), target=re.compile(rf"/source/{container.container_name}.*comp=list")))
    invocations = 0
    while not (report := await run(services, elapsed=lambda: 1e9))["complete"]:
        invocations += 1
    assert invocations > 0
    await reader.drain(services)
    after = await run(services)
    *_, one, other = (await services.state.read(HISTORY))["runs"]
    assert (one["run_id"], one["complete"], one["versions"], one["protected"]) == (report["run_id"], True, 4, 0)
    assert (other["run_id"], other["versions"], other["protected"]) == (after["run_id"], 4, 4)
    assert other["containers"] == {
        container.container_name: {"versions": 4, "protected": 4, "oldest_unprotected_seconds": None}
    }


async def test_a_history_of_a_later_release_is_left_as_it_is(
    services: Services, container: ContainerClient, caplog: pytest.LogCaptureFixture
) -> None:
    later = {"schema": 2, "what": "a later release wrote"}
    await services.state.write(HISTORY, later)
    assert (await run(services))["complete"]
    assert await services.state.read(HISTORY) == later
    assert HISTORY in caplog.text
    await services.state.delete(HISTORY)


async def test_requests_that_people_discarded_stay_in_the_report(
    services: Services, container: ContainerClient
) -> None:
    message_id = uuid4().hex
    record = {
        "schema": 1,
        "queue": "requests-poison",
        "message_id": message_id,
        "discarded_at": "2026-11-20T14:05:33Z",
        "reason": "the blob was a test",
        "message": {"text": "x"},
    }
    await services.state.write(f"discarded/{message_id}.json", record)
    found = (await run(services))["discarded"]
    assert found["count"] == len(found["listed"])
    assert record in found["listed"]


async def test_what_cannot_be_told_beside_the_coverage_is_an_error_in_the_report(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    refused = Rule(answer(403, "AuthorizationFailure"), target=re.compile(r"prefix=discarded"))
    blob_proxy.add(refused)
    report = await run(open_behind_proxies())
    assert (report["complete"], report["discarded"]) == (True, None)
    assert report["errors"][0].startswith("discarded requests:")


async def test_the_status_page_is_written_and_a_failure_of_that_fails_no_run(
    open_behind_proxies: OpenServices,
    backup_account: BlobServiceClient,
    container: ContainerClient,
    blob_proxy: FaultProxy,
) -> None:
    services = open_behind_proxies()
    page = backup_account.get_blob_client(STATE_CONTAINER, "status.html")
    report = await run(services)
    assert report["finished_at"][:10] in (await (await page.download_blob()).readall()).decode()
    refused = blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), method="PUT", target="status.html"))
    assert (await run(services))["complete"]
    assert refused.hits == 1

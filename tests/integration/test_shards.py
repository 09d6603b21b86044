"""A reconciliation in shards: many instances, whatever dies when, and each blob is counted once in one report."""

import asyncio
import contextlib
import re
from collections import Counter
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobLeaseClient, BlobServiceClient, ContainerClient

from local.gateway.messages import Request, Response
from shared.adapters import folders
from shared.containers import STATE_CONTAINER
from shared.decisions.messages import scan
from shared.decisions.metrics import RUNS, VERSIONS
from shared.decisions.shards import Piece, Shard
from shared.errors import SnapkeepError
from shared.operations import scan as scan_operation
from shared.operations import scanning
from shared.operations.listed import pieces
from shared.operations.measurements import of_result
from shared.operations.protect import protect
from shared.operations.reconcile import CHECKPOINT, reconcile
from shared.operations.scanning import Plan
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import Action, FaultProxy, Forward, Rule, answer, pages_of
from tests.protection import assert_protected
from tests.queue_reader import QueueReader
from tests.sweep import FaultAt, Kind

SHARDED = {"SNAPKEEP_SHARD_BLOBS": 2}
LONG = "deep/" + "n" * 1000
NAMES = [*(f"large/{letter}/{number}" for letter in "xy" for number in range(4)), "a/b", "large", "large/x", LONG]
FLAT = [f"{number:03}.csv" for number in range(12)]
FEW = FLAT[:6]
NOW = "2026-11-20T14:05:33Z"


@pytest.fixture(autouse=True)
async def no_checkpoint(services: Services) -> None:
    """A run that a failed test left unfinished is not gone on with here."""
    await services.state.delete(CHECKPOINT)


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is kept after every page, and a shard that is busy is looked at again at once."""
    monkeypatch.setattr(scanning, "KEEP_SECONDS", 0.0)
    monkeypatch.setattr(scan_operation, "BUSY_SECONDS", 0.0)


def without_ranges() -> Action:
    """A service that does not know of ranges: it lists from the beginning."""

    async def act(request: Request, forward: Forward) -> Response:
        target = re.sub(r"&startFrom=[^&]*", "", request.target)
        head = request.head.replace(request.target.encode("latin-1"), target.encode("latin-1"), 1)
        return await forward(Request(request.method, target, request.headers, request.body, head))

    return act


async def run(services: Services, elapsed: float = 0.0, *, wait: bool = True) -> dict[str, Any]:
    return await reconcile(services, elapsed=lambda: elapsed, wait=wait)


async def counted(services: Services, container: ContainerClient, reader: QueueReader, *names: str) -> None:
    """Protects these blobs, and has a run count them that is not cut up yet."""
    await asyncio.gather(*(container.upload_blob(name, name.encode(), overwrite=True) for name in names))
    [part] = (await run(services))["containers"]
    assert (part["blobs"], part["error"]) == (len(names), None)
    await reader.drain(services)


async def cut(services: Services, container: ContainerClient) -> Plan:
    """Has a run plan and ask for its shards, and nothing more: its time is over."""
    assert not (await run(services, elapsed=1e9))["complete"]
    plan = await Plan.read(services, (await services.state.read(CHECKPOINT))["run_id"], container.container_name)
    assert plan is not None
    return plan


def same(report: dict[str, Any]) -> dict[str, Any]:
    """What two runs over the same blobs tell alike, when the first has filled in what was missing."""
    [part] = report["containers"]
    done = {"snapshots_created", "backups_requested", "protected", "deleted_in_run", "deleted_percent"}
    other = {"duration_seconds", "oldest_unprotected", "oldest_unprotected_seconds"}
    return {name: value for name, value in part.items() if name not in done | other}


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_container_in_shards_is_reported_as_it_is_in_one(
    ranges: bool,
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    if not ranges:
        blob_proxy.add(Rule(without_ranges(), target="startFrom"))
    services = open_behind_proxies(**SHARDED, SNAPKEEP_VERIFY_SAMPLE_PERCENT=100)
    names = [*NAMES, *(FLAT if ranges else ())]
    await counted(services, container, reader, *names)
    gone = ["large", "large/y/3", LONG]
    for name in gone:
        await container.delete_blob(name, delete_snapshots="include")
    await container.upload_blob("lost", b"1")
    await protect(services, container.container_name, elapsed=lambda: 0.0)
    await container.delete_blob("lost", delete_snapshots="include")
    await reader.drain(services)
    await container.upload_blob("new/of/today", b"new")

    plan = await cut(services, container)
    assert (plan.ranges, len(plan.shards) > 5) == (ranges, True)
    assert {shard.prefix for shard in plan.shards} >= {"", "large/", "large/x/", "large/y/"}
    sharded = await run(services)

    [part] = sharded["containers"]
    assert (part["blobs"], part["deleted"], part["deleted_in_run"]) == (len(names) - 3 + 1, 3, 3)
    assert (part["snapshots_created"], part["backups_requested"]) == (1, 1)
    assert part["unprotectable_by_reason"] == {"gone before it was copied": 1}
    assert (part["protected"], sharded["verify"]["totals"]["checked"]) == (len(names) - 3, len(names) - 3)
    assert (sharded["complete"], sharded["errors"], await services.state.names("scans/")) == (True, [], [])
    await reader.drain(services)
    whole = await run(open_behind_proxies(SNAPKEEP_SHARD_BLOBS=1000))
    assert same(whole) == same(sharded)
    assert whole["containers"][0]["protected"] == len(names) - 3 + 1
    for name in gone:
        await container.upload_blob(name, b"back")
    assert (await run(services))["containers"][0]["deleted"] == 0
    assert await services.state.names(f"unprotected/{container.container_name}/") != []


async def test_shards_are_done_once_each_by_many_instances_and_the_last_one_reports(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    first = open_behind_proxies(**SHARDED)
    await counted(first, container, reader, *NAMES, *FLAT)
    await container.upload_blob("new", b"new")
    plan = await cut(first, container)
    for number in range(len(plan.shards)):
        await first.queue.send(scan(container.container_name, plan.run_id, number, NOW))  # each twice
    blob_proxy.calls.clear()
    before = len(await first.state.names("reports/reconcile-"))
    ended = await asyncio.gather(*(reader.drain(open_behind_proxies(**SHARDED)) for _ in range(4)))

    said = [one for outcomes in ended for each in outcomes for one in of_result("backup", each, 1.0, first.now())]
    reconciled = {"function": "reconcile", "outcome": "complete"}
    assert [one.value for one in said if one.metric is RUNS and one.attributes == reconciled] == [1]
    assert [one.value for one in said if one.metric is VERSIONS] == [len(NAMES + FLAT) + 1]
    report = await first.state.read("reports/latest.json")
    assert (report["run_id"], report["complete"], report["totals"]["blobs"]) == (
        plan.run_id,
        True,
        len(NAMES + FLAT) + 1,
    )
    assert len(await first.state.names("reports/reconcile-")) == before + 1
    assert await first.state.read(CHECKPOINT) is None
    assert await reader.poison() == []
    listings = Counter(
        call.target
        for call in blob_proxy.calls
        if f"/source/{container.container_name}?" in call.target and "snapshots" in call.target
    )
    assert max(listings.values()) == 1  # no page was read twice
    assert await assert_protected(container, backups) == len(NAMES + FLAT) + 1


async def test_a_shard_that_is_out_of_time_is_gone_on_with_where_it_was(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    services = open_behind_proxies(SNAPKEEP_SHARD_BLOBS=8, SNAPKEEP_RECONCILE_BUDGET_SECONDS=1e-9)
    names = [f"{number:03}" for number in range(24)]
    await asyncio.gather(*(container.upload_blob(name, b"1") for name in names))
    blob_proxy.add(Rule(pages_of(3), target=re.compile(rf"/source/{container.container_name}\?.*snapshots")))
    invocations = 0
    while True:
        invocations += 1
        await run(services, elapsed=1e9)
        await reader.drain(services)
        report = await services.state.read("reports/latest.json")
        if report["complete"]:
            break
    assert report["totals"]["blobs"] == report["totals"]["versions"] == 24
    assert invocations < 8  # the first came to where there are too many; the shards got on by themselves


async def break_leases(account: BlobServiceClient) -> None:
    """What becomes of a crashed holder's leases by themselves within a minute."""
    state = account.get_container_client(STATE_CONTAINER)
    async for blob in state.list_blobs():
        if blob.lease and blob.lease.state == "leased":
            with contextlib.suppress(HttpResponseError):
                await BlobLeaseClient(state.get_blob_client(blob.name)).break_lease(lease_break_period=0)


@pytest.mark.parametrize("kind", [Kind.CRASH, Kind.LOST])
async def test_whichever_calls_fail_each_blob_is_counted_once_in_one_report(
    kind: Kind,
    open_behind_proxies: OpenServices,
    open_services: OpenServices,
    backup_account: BlobServiceClient,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    queue_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    """One instance after the other takes messages until one of its calls fails, another call each time."""
    services = open_services(**SHARDED)
    await counted(services, container, reader, *NAMES)
    await container.delete_blob("large/y/3", delete_snapshots="include")
    await container.upload_blob("new", b"new")
    plan = await cut(services, container)
    struck: list[str] = []
    number = 0
    while await reader.waiting():
        number += 1
        blob_proxy.clear()
        queue_proxy.clear()
        fault = FaultAt(kind, 1 + 11 * number % 25)
        fault.stand_before(blob_proxy, queue_proxy)
        instance = open_behind_proxies(**SHARDED)
        while not fault.struck and await reader.waiting():
            await reader.deliver_one(instance)
        struck += fault.struck
        await break_leases(backup_account)
        if await reader.waiting():
            await reader.deliver_one(services)  # a message that five instances died of would be poison
    report = await services.state.read("reports/latest.json")
    assert await reader.poison() == []
    assert (report["run_id"], report["complete"], len(struck) > 3) == (plan.run_id, True, True), struck
    [part] = report["containers"]
    assert (part["blobs"], part["deleted"], part["deleted_in_run"], part["error"]) == (len(NAMES), 1, 1, None)
    assert (part["protected"], part["snapshots_created"] > 0) == (len(NAMES) - 1, True)
    assert (await run(services))["containers"][0]["protected"] == len(NAMES)


async def test_whoever_ends_the_run_may_die_at_any_call_and_it_ends_in_a_report(
    open_behind_proxies: OpenServices,
    open_services: OpenServices,
    backup_account: BlobServiceClient,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    settings = {"SNAPKEEP_SHARD_BLOBS": 5, "SNAPKEEP_VERIFY_SAMPLE_PERCENT": 100}
    services = open_services(**settings)
    await counted(services, container, reader, *NAMES)
    plan = await cut(services, container)
    await reader.clear()
    for number in range(len(plan.shards)):
        await scanning.work(services, plan, number, lambda: False)
    kept = [*await services.state.names("scans/"), CHECKPOINT]
    documents = {name: await services.state.read(name) for name in kept if not name.endswith(".gz")}
    last = scan(container.container_name, plan.run_id, 0, NOW)
    crashes = 0
    while True:
        for name, document in documents.items():
            await services.state.write(name, document)
        await services.state.write("reports/latest.json", {"run_id": "earlier", "complete": True})
        blob_proxy.clear()
        fault = FaultAt(Kind.CRASH, 5 + 4 * crashes)
        fault.stand_before(blob_proxy, target=re.compile("snapkeep-state"))
        with contextlib.suppress(SnapkeepError):
            await scan_operation.scan(open_behind_proxies(**settings), last)
        await break_leases(backup_account)
        await scan_operation.scan(services, last)  # as its message is delivered again
        report = await services.state.read("reports/latest.json")
        assert (report["run_id"], report["complete"]) == (plan.run_id, True), fault.struck
        assert report["totals"]["blobs"] == report["totals"]["protected"] == len(NAMES), fault.struck
        if not fault.struck:
            break
        crashes += 1
    assert crashes > 5


async def test_a_shard_whose_listing_fails_again_and_again_is_an_error_in_a_report_of_the_rest(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    services = open_behind_proxies(**SHARDED)
    await counted(services, container, reader, *NAMES)
    plan = await cut(services, container)
    bad = next(number for number, shard in enumerate(plan.shards) if shard.prefix == "large/x/")
    prefix = re.compile(rf"/source/{container.container_name}\?.*prefix=large/x/")
    blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), target=prefix))
    await reader.drain(services)
    report = await services.state.read("reports/latest.json")
    [part] = report["containers"]
    assert (report["run_id"], report["complete"], part["complete"]) == (plan.run_id, False, False)
    assert f"shard {bad} (" in part["error"]
    assert "AuthorizationFailure" in part["error"]
    assert 0 < part["blobs"] < len(NAMES)
    assert await reader.poison() == []
    blob_proxy.clear()
    after = await run(services)
    assert (after["complete"], after["totals"]["blobs"], after["run_id"] != plan.run_id) == (True, len(NAMES), True)


async def test_a_shard_that_ends_whoever_works_on_it_is_given_up_and_the_run_reported(
    services: Services,
    open_services: OpenServices,
    container: ContainerClient,
    reader: QueueReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Killed(BaseException):
        pass

    sharded = open_services(**SHARDED)
    await counted(sharded, container, reader, *NAMES)
    plan = await cut(sharded, container)

    async def die(*_: object, **__: object) -> None:
        raise Killed

    for _ in range(scanning.MAX_BEGUN):
        with monkeypatch.context() as patched:
            patched.setattr(scanning, "pieces", die)
            with pytest.raises(Killed):
                await scanning.work(sharded, plan, 0, lambda: False)
    report = await run(sharded)
    [part] = report["containers"]
    assert (report["run_id"], report["complete"]) == (plan.run_id, False)
    assert "begun 5 times in vain" in part["error"]
    assert (await run(sharded))["complete"]


async def test_messages_of_no_run_and_of_no_shard(
    open_services: OpenServices, container: ContainerClient, reader: QueueReader
) -> None:
    services = open_services(**SHARDED)
    await counted(services, container, reader, *NAMES)
    plan = await cut(services, container)
    await reader.clear()
    await services.queue.send(scan(container.container_name, "0" * 12, 0, NOW))
    await services.queue.send(scan(container.container_name, plan.run_id, 999, NOW))
    await services.queue.send(scan("elsewhere", plan.run_id, 0, NOW))
    await reader.drain(services)
    assert sorted((one["container"] == "elsewhere", one["shard"]) for one in await reader.poison()) == [
        (False, 999),
        (True, 0),
    ]
    assert (await run(services))["complete"]


@pytest.mark.parametrize("ranges", [True, False])
async def test_of_a_level_no_more_is_listed_than_where_a_shard_begins_and_ends(
    ranges: bool,
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [*(f"a{number:02}" for number in range(20)), "large", "large-2/a", "large/a", "m", "z-1", "z-2/a", "zz"]
    await asyncio.gather(*(container.upload_blob(name, b"1", overwrite=True) for name in names))
    await asyncio.gather(*(container.upload_blob(f"zz{number:02}", b"1") for number in range(20)))
    monkeypatch.setattr(folders, "PAGE_SIZE", 2)
    shard = Shard("", "large\0", "z-2")
    source, _ = await pieces(open_behind_proxies(), container.container_name, shard, ranges=ranges)
    assert source == [Piece("large-"), Piece("m"), Piece("z-1")]
    assert blob_proxy.count(target="/source/") == (4 if ranges else 14)


async def test_a_shard_of_which_nothing_is_known_any_more_is_an_error_and_never_counts_as_looked_at(
    open_services: OpenServices, container: ContainerClient, reader: QueueReader
) -> None:
    services = open_services(**SHARDED)
    await counted(services, container, reader, *FEW)
    plan = await cut(services, container)
    for number in range(len(plan.shards)):
        await scanning.work(services, plan, number, lambda: False)
    await services.state.delete(plan.shard_name(1))
    known = await services.state.read(f"counts/{container.container_name}.json")
    report = await run(services)
    [part] = report["containers"]
    assert (report["run_id"], report["complete"], part["complete"]) == (plan.run_id, False, False)
    assert part["error"].startswith("shard 1 (")
    assert await services.state.read(f"counts/{container.container_name}.json") == known  # not those of a part
    after = await run(services)
    assert (after["complete"], after["totals"]["blobs"], after["run_id"] != plan.run_id) == (True, len(FEW), True)


async def test_a_run_whose_shards_cannot_all_be_gone_through_any_more_begins_anew(
    open_services: OpenServices, container: ContainerClient, reader: QueueReader
) -> None:
    services = open_services(**SHARDED)
    await counted(services, container, reader, *FEW)
    plan = await cut(services, container)
    await scanning.work(services, plan, 0, lambda: False)
    await services.state.delete(Plan.name(plan.run_id, container.container_name))
    report = await run(services)
    assert (report["complete"], report["totals"]["blobs"]) == (True, len(FEW))
    assert report["run_id"] != plan.run_id
    assert await services.state.names("scans/") == []
    plan = await cut(services, container)
    without = await run(open_services(**SHARDED, SNAPKEEP_EXCLUDE_CONTAINERS=container.container_name))
    assert (without["containers"], without["run_id"] != plan.run_id) == ([], True)


@pytest.mark.parametrize("damaged", ["checkpoint", "plan", "shard"])
async def test_a_damaged_document_costs_the_work_that_it_tells_of_and_no_more(
    damaged: str, open_services: OpenServices, container: ContainerClient, reader: QueueReader
) -> None:
    services = open_services(**SHARDED)
    await counted(services, container, reader, *FEW)
    plan = await cut(services, container)
    names = {"plan": Plan.name(plan.run_id, container.container_name), "shard": plan.shard_name(0)}
    await services.state.write_text(names.get(damaged, CHECKPOINT), '{"schema":', None)
    await reader.drain(services)
    report = await run(services)
    assert (report["complete"], report["totals"]["blobs"]) == (True, len(FEW))
    assert await reader.poison() == []


async def test_what_fails_when_shards_are_put_together_is_that_containers_error(
    open_services: OpenServices, container: ContainerClient, reader: QueueReader
) -> None:
    services = open_services(**SHARDED)
    await counted(services, container, reader, *FEW)
    record = f"unprotected/{container.container_name}/of-another-release.json"
    version = {"name": "a/b", "etag": "0x1", "last_modified": NOW, "size": 3, "detail": "", "seen_at": NOW}
    await services.state.write(record, version | {"reason": "not known here"})
    report = await run(services)
    await services.state.delete(record)
    [part] = report["containers"]
    assert (report["complete"], part["complete"], part["blobs"]) == (False, False, len(FEW))
    assert "not known here" in part["error"]
    assert await services.state.read(CHECKPOINT) is None

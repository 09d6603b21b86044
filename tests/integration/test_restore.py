"""Restores into another container: each version whole, verified before it counts, from wherever it still stands."""

from __future__ import annotations

import asyncio
import gzip
from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import md5
from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob import BlobBlock, ContentSettings, StandardBlobTier
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from shared.adapters import copying
from shared.containers import backup_container
from shared.decisions.names import backup_name, refusal
from shared.decisions.restoring import Action, Mode, Place, Step
from shared.errors import StorageFailed
from shared.operations.protect import protect
from shared.operations.restore import Restorer, Result, restore, to_be_gone_on_with
from shared.recovery import Recovery
from shared.services import Services
from shared.settings import RecoverySettings
from tests.conftest import OpenServices
from tests.fault_proxy import FaultProxy, Rule, answer
from tests.names import HARD_NAMES
from tests.queue_reader import QueueReader
from tests.restoring import Told, assert_same, job, keep, restore_step, version_of, without
from tests.waiting import until

ALL_PLACES = (Place.LIVE, Place.SNAPSHOT, Place.BACKUP)
RICH = ContentSettings(
    content_type="text/csv",
    content_encoding="gzip",
    content_language="de-AT",
    content_disposition='attachment; filename="o.csv"',
    cache_control="no-cache",
)


@pytest.fixture
def recovery(services: Services) -> Recovery:
    return Recovery.of(services)


@pytest.fixture
async def target(source_account: BlobServiceClient) -> ContainerClient:
    """An empty container in the source account to restore into."""
    client = source_account.get_container_client(f"restored-{uuid4().hex[:12]}")
    await client.create_container()
    return client


@pytest.fixture
async def far_target(backup_account: BlobServiceClient) -> ContainerClient:
    """The same in the backup account."""
    client = backup_account.get_container_client(f"restored-{uuid4().hex[:12]}")
    await client.create_container()
    return client


async def back_up_all(services: Services, container: ContainerClient, reader: QueueReader) -> None:
    await protect(services, container.container_name, elapsed=lambda: 0.0)
    await reader.drain(services)


def restorer(recovery: Recovery, container: ContainerClient, target: ContainerClient, **options: Any) -> Restorer:
    return Restorer(recovery, job(container, Mode.CONTAINER, target.container_name, **options), "job")


async def make_block_blob(container: ContainerClient) -> None:
    await container.upload_blob(
        "blob.csv",
        gzip.compress(b"1,2\n"),
        content_settings=RICH,
        metadata={"owner": "me", "Mixed_Case": "Value"},
        tags={"class": "secret", "year": "2026"},
        standard_blob_tier=StandardBlobTier.COOL,
    )


async def make_bare_blob(container: ContainerClient) -> None:
    await container.upload_blob("blob.csv", b"nothing but bytes")


async def make_empty_blob(container: ContainerClient) -> None:
    await container.upload_blob("blob.csv", b"", metadata={"k": "v"})


async def make_append_blob(container: ContainerClient) -> None:
    blob = container.get_blob_client("blob.csv")
    await blob.create_append_blob(RICH, {"owner": "me"}, tags={"t": "1"})
    for piece in (b"a" * 1000, b"b"):
        await blob.append_block(piece)


async def make_page_blob(container: ContainerClient) -> None:
    blob = container.get_blob_client("blob.csv")
    await blob.create_page_blob(4096, RICH, {"owner": "me"}, tags={"t": "1"})
    await blob.upload_page(b"a" * 512, 0, 512)
    await blob.upload_page(b"b" * 1024, 2048, 1024)


MAKERS = {
    "block": make_block_blob,
    "bare": make_bare_blob,
    "empty": make_empty_blob,
    "append": make_append_blob,
    "page": make_page_blob,
}


@pytest.mark.parametrize("account", ["source", "backup"])
@pytest.mark.parametrize("place", ALL_PLACES)
@pytest.mark.parametrize("kind", list(MAKERS))
async def test_a_version_comes_back_from_each_place_with_all_that_it_had(
    kind: str,
    place: Place,
    account: str,
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    target: ContainerClient,
    far_target: ContainerClient,
    reader: QueueReader,
) -> None:
    into = target if account == "source" else far_target
    await MAKERS[kind](container)
    await back_up_all(services, container, reader)
    wanted = await keep(container.get_blob_client("blob.csv"))
    step = await restore_step(recovery, container, await version_of(container, "blob.csv"), [place])
    told = Told()
    work = Restorer(
        recovery, job(container, Mode.CONTAINER, into.container_name, target_account=account), "job", told.moved
    )
    outcome = await work.carry_out(step)
    assert (outcome.result, outcome.reason) == (Result.RESTORED, "")
    found = await keep(into.get_blob_client("blob.csv"))
    assert_same(found, wanted)
    assert outcome.etag == found.properties.etag.strip('"')
    assert outcome.bytes == told.bytes == len(wanted.content)
    again = await work.carry_out(step)
    assert again.result is Result.ALREADY
    assert (await keep(into.get_blob_client("blob.csv"))).properties.etag == found.properties.etag


async def test_hard_names_come_back_byte_for_byte(
    recovery: Recovery, services: Services, container: ContainerClient, far_target: ContainerClient, reader: QueueReader
) -> None:
    for name in HARD_NAMES.values():
        await container.upload_blob(name, name.encode(), metadata={"k": "v"})
    await back_up_all(services, container, reader)
    work = restorer(recovery, container, far_target, target_account="backup")
    # The service keeps a backslash as a slash, which makes names that are refused out of some.
    stored = [name for name in {blob.name async for blob in container.list_blobs()} if refusal(name) is None]
    assert len(stored) > 20
    for name in stored:
        step = await restore_step(recovery, container, await version_of(container, name), [Place.BACKUP])
        outcome = await work.carry_out(step)
        assert (outcome.result, outcome.reason) == (Result.RESTORED, ""), name
        assert_same(await keep(far_target.get_blob_client(name)), await keep(container.get_blob_client(name)))


async def test_a_large_blob_is_copied_by_blocks_and_a_second_attempt_takes_no_block_of_another_version(
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    target: ContainerClient,
    reader: QueueReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copying, "MAX_COPY_BLOB_BYTES", 1000)
    monkeypatch.setattr(copying, "BLOCK_BYTES", 700)
    work = restorer(recovery, container, target)
    steps = []
    for content in (b"old" * 500, b"new" * 500):
        await container.upload_blob("large", content, metadata={"k": "v"}, overwrite=True)
        await back_up_all(services, container, reader)
        steps.append(await restore_step(recovery, container, await version_of(container, "large"), [Place.BACKUP]))
    with monkeypatch.context() as patched:

        async def cut_short(*_arguments: object) -> None:
            raise ConnectionAbortedError

        patched.setattr(copying, "_commit", cut_short)
        outcome = await work.carry_out(steps[0])
    assert outcome.result is Result.FAILED
    assert "ConnectionAbortedError" in outcome.reason
    outcome = await work.carry_out(steps[1])
    assert outcome.result is Result.RESTORED
    assert (await keep(target.get_blob_client("large"))).content == b"new" * 500


async def spoil(backups: ContainerClient, name: str, content: bytes) -> None:
    """Gives a backup other bytes of the same length under the same Content-MD5, as a bit that flipped would."""
    blob = backups.get_blob_client(name)
    properties = await blob.get_blob_properties()
    await blob.stage_block("0", content)
    await blob.commit_block_list(
        [BlobBlock("0")], content_settings=properties.content_settings, metadata=properties.metadata
    )


async def test_a_damaged_backup_is_passed_over_and_nothing_is_left_of_it(
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    backups: ContainerClient,
    target: ContainerClient,
    reader: QueueReader,
) -> None:
    await container.upload_blob("a", b"right")
    await back_up_all(services, container, reader)
    version = await version_of(container, "a")
    await spoil(backups, backup_name(version), b"wrong")
    step = await restore_step(recovery, container, version, [Place.BACKUP, Place.SNAPSHOT])
    work = restorer(recovery, container, target)
    outcome = await work.carry_out(without(step, Place.SNAPSHOT))
    assert (outcome.result, outcome.offered) == (Result.DAMAGED, step.offered)
    assert "backup: damaged, its bytes have the MD5" in outcome.reason
    assert [blob.name async for blob in target.list_blobs()] == []
    outcome = await work.carry_out(step)
    assert outcome.result is Result.RESTORED
    assert (await keep(target.get_blob_client("a"))).content == b"right"


async def test_bytes_in_the_target_that_no_place_holds_do_not_count_and_are_left(
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    backups: ContainerClient,
    target: ContainerClient,
    reader: QueueReader,
) -> None:
    await container.upload_blob("a", b"right", metadata={"k": "v"})
    await back_up_all(services, container, reader)
    version = await version_of(container, "a")
    properties = await container.get_blob_client("a").get_blob_properties()
    await target.upload_blob("a", b"right", metadata={"k": "v"}, content_settings=properties.content_settings)
    await spoil(target, "a", b"wrong")
    step = await restore_step(recovery, container, version, [Place.BACKUP, Place.SNAPSHOT])
    outcome = await restorer(recovery, container, target).carry_out(step)
    assert outcome.result is Result.CHANGED  # no place holds these bytes: nothing proves that they are nobody's
    assert (await keep(target.get_blob_client("a"))).content == b"wrong"


async def test_the_hash_that_verify_kept_stands_in_for_a_missing_md5_and_is_no_tag_of_the_restored_blob(
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    backups: ContainerClient,
    target: ContainerClient,
    reader: QueueReader,
) -> None:
    blob = container.get_blob_client("a")
    await blob.stage_block("0", b"right")
    await blob.commit_block_list([BlobBlock("0")], tags={"own": "tag"})
    await back_up_all(services, container, reader)
    version = await version_of(container, "a")
    backup = backups.get_blob_client(backup_name(version))
    assert (await backup.get_blob_properties()).content_settings.content_md5 is None
    step = await restore_step(recovery, container, version, [Place.BACKUP])
    work = restorer(recovery, container, target)
    await backup.set_blob_tags({"own": "tag", "snapkeep_md5": "AAAAAAAAAAAAAAAAAAAAAA=="})
    assert (await work.carry_out(step)).result is Result.DAMAGED
    await backup.set_blob_tags(
        {"own": "tag", "snapkeep_md5": b64encode(md5(b"right", usedforsecurity=False).digest()).decode()}
    )
    outcome = await work.carry_out(step)
    assert (outcome.result, outcome.reason) == (Result.RESTORED, "")
    assert_same(await keep(target.get_blob_client("a")), await keep(blob))


async def test_another_blob_in_the_target_is_left_alone(
    recovery: Recovery, services: Services, container: ContainerClient, target: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a", b"right")
    await back_up_all(services, container, reader)
    await target.upload_blob("a", b"THEIR")
    step = await restore_step(recovery, container, await version_of(container, "a"), [Place.LIVE])
    outcome = await restorer(recovery, container, target).carry_out(step)
    assert (outcome.result, outcome.reason) == (Result.CHANGED, "another blob stands there; it is left as it is")
    assert (await keep(target.get_blob_client("a"))).content == b"THEIR"


async def test_a_live_blob_that_changed_since_the_plan_is_taken_from_its_snapshot(
    recovery: Recovery, services: Services, container: ContainerClient, target: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob("a", b"wanted")
    await back_up_all(services, container, reader)
    step = await restore_step(recovery, container, await version_of(container, "a"), [Place.LIVE])
    await blob.upload_blob(b"later", overwrite=True)
    outcome = await restorer(recovery, container, target).carry_out(step)
    assert outcome.result is Result.RESTORED
    assert (await keep(target.get_blob_client("a"))).content == b"wanted"


async def test_a_version_that_no_place_holds_any_more_is_reported_with_older_ones(
    recovery: Recovery, services: Services, container: ContainerClient, target: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob("a", b"1")
    await back_up_all(services, container, reader)
    step = await restore_step(recovery, container, await version_of(container, "a"), [Place.LIVE, Place.SNAPSHOT])
    await blob.delete_blob(delete_snapshots="include")
    outcome = await restorer(recovery, container, target).carry_out(step)
    assert (outcome.result, outcome.offered) == (Result.DAMAGED, step.offered)
    assert outcome.reason == "live blob: it is gone; snapshot: it is gone"


async def test_an_archived_version_is_rehydrated_only_when_asked_for_and_then_restored(
    recovery: Recovery, services: Services, container: ContainerClient, target: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a", b"cold")
    await back_up_all(services, container, reader)
    version = await version_of(container, "a")
    backup = recovery.backups.account.blob(backup_container(container.container_name), backup_name(version))
    await backup.set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    step = await restore_step(recovery, container, version, [Place.BACKUP])
    outcome = await restorer(recovery, container, target).carry_out(step)
    assert outcome.result is Result.IMPOSSIBLE
    assert "up to 15 hours" in outcome.reason
    assert (await backup.get_blob_properties()).blob_tier == "Archive"
    work = restorer(recovery, container, target, rehydrate="high")
    outcome = await work.carry_out(step)
    assert outcome.result is Result.REHYDRATING
    assert "one hour" in outcome.reason
    outcome = await work.carry_out(step)  # there it takes no time
    assert outcome.result is Result.RESTORED
    assert (await keep(target.get_blob_client("a"))).content == b"cold"


async def test_a_backup_of_another_version_under_the_name_is_not_restored(
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    backups: ContainerClient,
    target: ContainerClient,
    reader: QueueReader,
) -> None:
    blob = await container.upload_blob("a", b"one")
    await back_up_all(services, container, reader)
    version = await version_of(container, "a")
    await blob.upload_blob(b"two", overwrite=True)
    await back_up_all(services, container, reader)
    other = backups.get_blob_client(backup_name(await version_of(container, "a")))
    swapped = await keep(other)
    await backups.upload_blob(
        backup_name(version), swapped.content, overwrite=True, metadata=swapped.properties.metadata
    )
    step = await restore_step(recovery, container, version, [Place.BACKUP])
    outcome = await restorer(recovery, container, target).carry_out(step)
    assert outcome.result is Result.DAMAGED
    assert "it says that it is another version" in outcome.reason


async def test_steps_that_need_nothing_cost_nothing(recovery: Recovery, container: ContainerClient) -> None:
    work = Restorer(recovery, job(container, Mode.CONTAINER, "no-such-container"), "job")
    left = await work.carry_out(Step(Action.LEAVE, "a", "is that version"))
    assert (left.result, left.reason) == (Result.LEFT, "is that version")
    impossible = await work.carry_out(Step(Action.IMPOSSIBLE, "b", "no version", offered=("x",)))
    assert (impossible.result, impossible.reason, impossible.offered) == (Result.IMPOSSIBLE, "no version", ("x",))


async def planned(
    recovery: Recovery, services: Services, container: ContainerClient, reader: QueueReader, count: int = 5
) -> list[Step]:
    for number in range(count):
        await container.upload_blob(f"{number}", b"x" * number)
    await back_up_all(services, container, reader)
    return [
        await restore_step(recovery, container, await version_of(container, f"{number}"), [Place.BACKUP])
        for number in range(count)
    ]


async def test_a_restore_makes_its_container_and_reports(
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    source_account: BlobServiceClient,
    reader: QueueReader,
) -> None:
    steps = await planned(recovery, services, container, reader)
    steps.append(Step(Action.IMPOSSIBLE, "z", "no version"))
    name, job_id = f"new-{uuid4().hex[:12]}", f"job-{uuid4().hex[:12]}"
    told = Told()
    what = job(container, Mode.CONTAINER, name)
    report = await restore(recovery, what, steps, job_id=job_id, progress=told)
    assert report.complete
    assert not report.well
    assert {blob.name async for blob in source_account.get_container_client(name).list_blobs()} == set("01234")
    assert told.bytes == 10
    assert len(told.outcomes) == 6
    document = report.to_json()
    assert document["totals"]["restored"] == 5
    assert document["bytes_restored"] == 10
    assert document["listed"] == [{"name": "z", "result": "impossible", "reason": "no version", "offered": []}]
    assert document["target"] == name
    assert await recovery.state.read(f"restores/{job_id}/report.json") == document
    assert not to_be_gone_on_with(document)


async def test_a_restore_that_is_run_again_only_looks_whether_what_is_done_still_stands(
    open_behind_proxies: OpenServices,
    services: Services,
    recovery: Recovery,
    container: ContainerClient,
    target: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    steps = await planned(recovery, services, container, reader)
    job_id = f"job-{uuid4().hex[:12]}"
    what = job(container, Mode.CONTAINER, target.container_name)
    first = await restore(recovery, what, steps, job_id=job_id, progress=Told())
    blob_proxy.clear()
    again = await restore(Recovery.of(open_behind_proxies()), what, steps, job_id=job_id, progress=Told())
    assert again.to_json() | {"started_at": "", "finished_at": ""} == first.to_json() | {
        "started_at": "",
        "finished_at": "",
    }
    assert blob_proxy.count(target=f"/{target.container_name}/") == len(steps)
    assert blob_proxy.count(method="HEAD", target=f"/{target.container_name}/") == len(steps)
    assert blob_proxy.count(target=f"/{backup_container(container.container_name)}/") == 0


async def test_a_container_that_is_gone_since_the_first_run_is_not_made_again(
    recovery: Recovery, services: Services, container: ContainerClient, target: ContainerClient, reader: QueueReader
) -> None:
    steps = await planned(recovery, services, container, reader)
    job_id = f"job-{uuid4().hex[:12]}"
    what = job(container, Mode.CONTAINER, target.container_name)
    await restore(recovery, what, steps[:2], job_id=job_id, progress=Told())
    await target.delete_container()
    with pytest.raises(Exception, match="is gone: --restart begins anew"):
        await restore(recovery, what, steps, job_id=job_id, progress=Told())


async def test_the_backup_account_alone_is_enough(
    environment: dict[str, str],
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    far_target: ContainerClient,
    reader: QueueReader,
    alone: Recovery,
) -> None:
    steps = await planned(recovery, services, container, reader)
    await container.delete_container()
    what = job(container, Mode.CONTAINER, far_target.container_name, target_account="backup")
    report = await restore(alone, what, steps, job_id=f"job-{uuid4().hex[:12]}", progress=Told())
    assert report.well
    assert report.bytes_restored == 10


@pytest.fixture
async def alone(environment: dict[str, str]) -> AsyncIterator[Recovery]:
    """What there is on the day that all but the backup account is lost."""
    async with Recovery.open(RecoverySettings.load({"BackupStorage": environment["BackupStorage"]})) as opened:
        yield opened


async def test_an_outage_ends_the_run_and_the_next_one_goes_on(
    open_behind_proxies: OpenServices,
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    target: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.operations.restore.OUTAGE", 3)
    monkeypatch.setattr("shared.adapters.retrying.RETRIES", 1)
    steps = await planned(recovery, services, container, reader, 20)
    job_id = f"job-{uuid4().hex[:12]}"
    what = job(container, Mode.CONTAINER, target.container_name)
    blob_proxy.add(Rule(answer(503, "ServerBusy"), target=f"/{target.container_name}/", skip=6))
    told = Told()
    behind = Recovery.of(open_behind_proxies(SNAPKEEP_CONCURRENCY=1))
    report = await restore(behind, what, steps, job_id=job_id, progress=told)
    assert not report.complete
    assert "503 ServerBusy" in report.warnings[0]
    assert report.totals[Result.FAILED] == 3
    assert report.totals[Result.RESTORED] == 2
    assert to_be_gone_on_with(await recovery.state.read(f"restores/{job_id}/report.json"))
    report = await restore(recovery, what, steps, job_id=job_id, progress=Told())
    assert report.well
    assert report.totals[Result.RESTORED] == 20


async def test_what_is_done_when_it_is_interrupted_is_in_the_journal(
    open_behind_proxies: OpenServices,
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    target: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    steps = await planned(recovery, services, container, reader)
    job_id = f"job-{uuid4().hex[:12]}"
    what = job(container, Mode.CONTAINER, target.container_name)
    told = Told()
    behind = Recovery.of(open_behind_proxies(SNAPKEEP_CONCURRENCY=1))
    run = asyncio.create_task(restore(behind, what, steps, job_id=job_id, progress=told))
    await until(lambda: len(told.outcomes) == 2)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    done = {outcome.name for outcome in told.outcomes}
    blob_proxy.clear()
    report = await restore(behind, what, steps, job_id=job_id, progress=Told())
    assert report.well
    assert report.totals[Result.RESTORED] + report.totals[Result.ALREADY] == 5
    for name in done:
        assert blob_proxy.count(target=f"/{target.container_name}/{name}") == 1  # a look whether it still stands


async def test_the_md5_of_append_and_page_blobs_is_no_proof_against_them(
    recovery: Recovery, services: Services, container: ContainerClient, target: ContainerClient, reader: QueueReader
) -> None:
    """The service leaves it as it was when a block is appended."""
    blob = container.get_blob_client("log")
    stale = bytearray(md5(b"first", usedforsecurity=False).digest())
    await blob.create_append_blob(ContentSettings(content_md5=stale))
    await blob.append_block(b"first")
    await blob.append_block(b" second")
    assert (await blob.get_blob_properties()).content_settings.content_md5 == stale
    await back_up_all(services, container, reader)
    step = await restore_step(recovery, container, await version_of(container, "log"), [Place.BACKUP])
    outcome = await restorer(recovery, container, target).carry_out(step)
    assert (outcome.result, outcome.reason) == (Result.RESTORED, "")
    assert_same(await keep(target.get_blob_client("log")), await keep(blob))


async def test_a_blob_of_somebodys_that_tells_no_md5_is_never_deleted(
    recovery: Recovery, services: Services, container: ContainerClient, reader: QueueReader, target: ContainerClient
) -> None:
    await container.upload_blob("a.csv", b"wanted--")
    await back_up_all(services, container, reader)
    headers = (await container.get_blob_client("a.csv").get_blob_properties()).content_settings
    blob = target.get_blob_client("a.csv")
    await blob.stage_block("0001", b"precious")
    await blob.commit_block_list([BlobBlock("0001")], content_settings=ContentSettings(headers.content_type))
    step = await restore_step(recovery, container, await version_of(container, "a.csv"), [Place.BACKUP])
    work = Restorer(recovery, job(container, Mode.CONTAINER, target.container_name), "job")
    assert (await work.carry_out(step)).result is Result.CHANGED
    assert await (await blob.download_blob()).readall() == b"precious"


async def test_a_place_that_refuses_to_be_looked_at_is_passed_over(
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    reader: QueueReader,
    target: ContainerClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await container.upload_blob("a", b"good")
    await back_up_all(services, container, reader)
    step = await restore_step(recovery, container, await version_of(container, "a"), [Place.SNAPSHOT, Place.BACKUP])
    assert recovery.source is not None
    look = recovery.source.state

    async def refused(name: str, *of: Any) -> Any:
        if name == container.container_name:
            raise StorageFailed("look: 403 AuthorizationFailure")
        return await look(name, *of)

    monkeypatch.setattr(recovery.source, "state", refused)
    work = Restorer(recovery, job(container, Mode.CONTAINER, target.container_name), "job")
    assert (await work.carry_out(step)).result is Result.RESTORED

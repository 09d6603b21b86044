"""Restores in place: what stands there is in a snapshot first, and whatever changed meanwhile is left alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob import BlobBlock, StandardBlobTier
from azure.storage.blob.aio import ContainerClient

from local.gateway.messages import Request, Response
from shared.adapters import copying, copying_pieces
from shared.decisions.names import backup_name
from shared.decisions.restoring import Mode, Place
from shared.model import Version
from shared.operations import restore_blob
from shared.operations.restore import Restorer, Result, restore
from shared.recovery import Recovery
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import FaultProxy, Forward, Rule, answer, call_hook, lose_answer
from tests.integration.test_restore import MAKERS, back_up_all, spoil
from tests.protection import backup_names, content, snapshots
from tests.queue_reader import QueueReader
from tests.restoring import Told, assert_same, delete_step, job, keep, restore_step, version_of

NAME = "blob.csv"


@pytest.fixture
def recovery(services: Services) -> Recovery:
    return Recovery.of(services)


def restorer(recovery: Recovery, container: ContainerClient, **options: Any) -> Restorer:
    return Restorer(recovery, job(container, Mode.IN_PLACE, container.container_name, **options), "job")


async def garbage(container: ContainerClient, kind: str = "BlockBlob") -> Version:
    """What a bad day makes of the blob, without a snapshot of it."""
    await container.upload_blob(
        NAME, b"garbage " * 64, blob_type=kind, overwrite=True, metadata={"made": "by accident"}, tags={"bad": "yes"}
    )
    return await version_of(container, NAME)


async def overwritten(services: Services, container: ContainerClient, reader: QueueReader) -> tuple[Version, Version]:
    """The version that is wanted back, which is backed up, and the garbage that stands over it."""
    await container.upload_blob(NAME, b"wanted")
    await back_up_all(services, container, reader)
    return await version_of(container, NAME), await garbage(container)


@pytest.mark.parametrize("place", [Place.SNAPSHOT, Place.BACKUP])
@pytest.mark.parametrize("instead", ["BlockBlob", "AppendBlob", "PageBlob"])
@pytest.mark.parametrize("kind", list(MAKERS))
async def test_a_version_goes_over_what_its_blob_has_become_which_is_snapshotted_first(
    kind: str,
    instead: str,
    place: Place,
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    reader: QueueReader,
) -> None:
    await MAKERS[kind](container)
    await back_up_all(services, container, reader)
    blob = container.get_blob_client(NAME)
    wanted = await keep(blob)
    version = await version_of(container, NAME)
    bad = await garbage(container, instead)
    step = await restore_step(recovery, container, version, [place], replaces=bad.etag)
    work = restorer(recovery, container)
    outcome = await work.carry_out(step)
    assert (outcome.result, outcome.reason) == (Result.RESTORED, "")
    found = await keep(blob)
    assert_same(found, wanted)
    assert outcome.etag == found.properties.etag.strip('"')
    held = {entry.etag.strip('"'): entry.snapshot for entry in await snapshots(container, NAME)}
    assert set(held) == {version.etag, bad.etag}
    assert await content(container, NAME, held[bad.etag]) == b"garbage " * 64
    assert (await work.carry_out(step)).result is Result.ALREADY
    assert (await keep(blob)).properties.etag == found.properties.etag


async def test_a_blob_that_was_written_again_as_it_was_is_left(
    recovery: Recovery, services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob(NAME, b"1,2\n", metadata={"a": "1"}, tags={"b": "2"})
    await back_up_all(services, container, reader)
    version = await version_of(container, NAME)
    await container.upload_blob(NAME, b"1,2\n", metadata={"a": "1"}, tags={"b": "2"}, overwrite=True)
    again = await version_of(container, NAME)
    step = await restore_step(recovery, container, version, [Place.SNAPSHOT], replaces=again.etag)
    outcome = await restorer(recovery, container).carry_out(step)
    assert (outcome.result, outcome.etag) == (Result.ALREADY, again.etag)
    assert len(await snapshots(container, NAME)) == 1


async def test_a_blob_that_claims_the_right_md5_for_other_bytes_is_not_taken_for_the_right_one(
    recovery: Recovery, services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob(NAME, b"1,2\n")
    await back_up_all(services, container, reader)
    blob = container.get_blob_client(NAME)
    wanted = await keep(blob)
    version = await version_of(container, NAME)
    await blob.stage_block("AAAA", b"3,4\n")
    await blob.commit_block_list([BlobBlock("AAAA")], content_settings=wanted.properties.content_settings)
    forged = await version_of(container, NAME)
    step = await restore_step(recovery, container, version, [Place.SNAPSHOT], replaces=forged.etag)
    assert (await restorer(recovery, container).carry_out(step)).result is Result.RESTORED
    assert_same(await keep(blob), wanted)


@pytest.mark.parametrize("kind", list(MAKERS))
async def test_a_deleted_blob_comes_back_where_nothing_stands(
    kind: str, recovery: Recovery, services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    await MAKERS[kind](container)
    await back_up_all(services, container, reader)
    blob = container.get_blob_client(NAME)
    wanted = await keep(blob)
    step = await restore_step(recovery, container, await version_of(container, NAME), [Place.BACKUP])
    await blob.delete_blob(delete_snapshots="include")
    work = restorer(recovery, container)
    assert (await work.carry_out(step)).result is Result.RESTORED
    assert_same(await keep(blob), wanted)
    assert (await work.carry_out(step)).result is Result.ALREADY


async def test_what_is_snapshotted_already_is_not_snapshotted_again(
    recovery: Recovery, services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    version, bad = await overwritten(services, container, reader)
    await back_up_all(services, container, reader)
    step = await restore_step(recovery, container, version, [Place.SNAPSHOT], replaces=bad.etag)
    assert (await restorer(recovery, container).carry_out(step)).result is Result.RESTORED
    assert len(await snapshots(container, NAME)) == 2


async def test_a_blob_is_not_overwritten_when_its_snapshot_fails(
    open_behind_proxies: OpenServices,
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    version, bad = await overwritten(services, container, reader)
    step = await restore_step(recovery, container, version, [Place.BACKUP], replaces=bad.etag)
    blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), method="PUT", target="comp=snapshot"))
    outcome = await restorer(Recovery.of(open_behind_proxies()), container).carry_out(step)
    assert outcome.result is Result.FAILED
    assert "snapshot" in outcome.reason
    assert (await version_of(container, NAME)).etag == bad.etag


async def test_a_damaged_backup_never_touches_what_stands_there(
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
) -> None:
    version, bad = await overwritten(services, container, reader)
    await spoil(backups, backup_name(version), b"WANTED")
    step = await restore_step(recovery, container, version, [Place.BACKUP], replaces=bad.etag)
    outcome = await restorer(recovery, container).carry_out(step)
    assert (outcome.result, outcome.offered) == (Result.DAMAGED, step.offered)
    assert (await version_of(container, NAME)).etag == bad.etag
    step = await restore_step(recovery, container, version, [Place.BACKUP, Place.SNAPSHOT], replaces=bad.etag)
    assert (await restorer(recovery, container).carry_out(step)).result is Result.RESTORED
    assert await content(container, NAME) == b"wanted"


async def changed(container: ContainerClient) -> None:
    await container.upload_blob(NAME, b"somebody's work", overwrite=True)


async def removed(container: ContainerClient) -> None:
    await container.get_blob_client(NAME).delete_blob(delete_snapshots="include")


@pytest.mark.parametrize("meanwhile", [changed, removed])
async def test_a_blob_that_somebody_changed_since_the_plan_is_left_as_it_is(
    meanwhile: Callable[[ContainerClient], Awaitable[None]],
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    reader: QueueReader,
) -> None:
    version, bad = await overwritten(services, container, reader)
    step = await restore_step(recovery, container, version, [Place.BACKUP], replaces=bad.etag)
    await meanwhile(container)
    before = {blob.name: blob.etag async for blob in container.list_blobs(include=["snapshots"])}
    outcome = await restorer(recovery, container).carry_out(step)
    assert outcome.result is Result.CHANGED
    assert {blob.name: blob.etag async for blob in container.list_blobs(include=["snapshots"])} == before


@pytest.mark.parametrize("kind", ["BlockBlob", "AppendBlob", "PageBlob"])
async def test_a_change_in_the_last_moment_is_not_overwritten(
    kind: str,
    open_behind_proxies: OpenServices,
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await container.upload_blob(NAME, b"wanted! " * 64, blob_type=kind)
    await back_up_all(services, container, reader)
    version = await version_of(container, NAME)
    bad = await garbage(container, kind)
    step = await restore_step(recovery, container, version, [Place.BACKUP], replaces=bad.etag)

    async def change(_request: Request) -> None:
        await changed(container)

    snapshot = Rule(call_hook(after=change), method="PUT", target="comp=snapshot", times=1)
    blob_proxy.add(snapshot)
    outcome = await restorer(Recovery.of(open_behind_proxies()), container).carry_out(step)
    assert snapshot.hits == 1
    assert outcome.result is Result.CHANGED
    assert await content(container, NAME) == b"somebody's work"


async def test_a_leased_blob_is_reported_and_its_lease_not_broken(
    recovery: Recovery, services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob(NAME, b"wanted")
    await back_up_all(services, container, reader)
    version = await version_of(container, NAME)
    bad = await garbage(container)
    step = await restore_step(recovery, container, version, [Place.SNAPSHOT], replaces=bad.etag)
    lease = await blob.acquire_lease()
    work = restorer(recovery, container)
    outcome = await work.carry_out(step)
    assert outcome.result is Result.LEASED
    assert (await version_of(container, NAME)).etag == bad.etag
    deleted = await work.carry_out(delete_step(bad))
    assert deleted.result is Result.LEASED
    await lease.release()
    assert (await work.carry_out(step)).result is Result.RESTORED


async def test_an_overwritten_blob_does_not_hand_on_its_tier(
    recovery: Recovery, services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob(NAME, b"wanted")
    await back_up_all(services, container, reader)
    version = await version_of(container, NAME)
    bad = await garbage(container)
    await blob.set_standard_blob_tier(StandardBlobTier.COOL)
    step = await restore_step(recovery, container, version, [Place.SNAPSHOT], replaces=bad.etag)
    assert (await restorer(recovery, container).carry_out(step)).result is Result.RESTORED
    assert (await blob.get_blob_properties()).blob_tier == "Hot"


@pytest.mark.parametrize("kind", ["AppendBlob", "PageBlob"])
async def test_a_half_written_blob_is_known_and_gone_on_with_by_the_next_attempt(
    kind: str,
    open_behind_proxies: OpenServices,
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copying_pieces, "PIECE_BYTES", 512)
    whole = b"".join(bytes([65 + number]) * 512 for number in range(4))
    await container.upload_blob(NAME, whole, blob_type=kind, metadata={"k": "v"}, tags={"t": "1"})
    await back_up_all(services, container, reader)
    blob = container.get_blob_client(NAME)
    wanted = await keep(blob)
    version = await version_of(container, NAME)
    bad = await garbage(container, kind)
    step = await restore_step(recovery, container, version, [Place.BACKUP], replaces=bad.etag)
    piece = "comp=appendblock" if kind == "AppendBlob" else "comp=page"
    blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), method="PUT", target=piece, skip=2, times=1))
    proxied = Recovery.of(open_behind_proxies())
    outcome = await restorer(proxied, container).carry_out(step)
    assert outcome.result is Result.FAILED
    half = await blob.get_blob_properties()
    assert half.metadata == {"snapkeep_restoring": half.metadata["snapkeep_restoring"]}
    blob_proxy.clear()
    blob_proxy.add(Rule(lose_answer(), method="PUT", target=piece, times=1))  # what is repeated is refused, and known
    outcome = await restorer(proxied, container).carry_out(step)
    assert (outcome.result, outcome.reason) == (Result.RESTORED, "")
    assert_same(await keep(blob), wanted)
    written = [
        call for call in blob_proxy.calls if call.method == "PUT" and piece in call.target and call.status == 201
    ]
    assert len(written) == 1  # the last; of the third the answer was lost
    assert len(await snapshots(container, NAME)) == 2


async def test_a_half_written_blob_of_another_place_is_begun_anew(
    open_behind_proxies: OpenServices,
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copying_pieces, "PIECE_BYTES", 512)
    monkeypatch.setattr(copying, "_promotes", lambda *_: False)
    await container.upload_blob(NAME, b"a" * 2048, blob_type="AppendBlob", metadata={"k": "v"})
    await back_up_all(services, container, reader)
    version = await version_of(container, NAME)
    bad = await garbage(container, "AppendBlob")
    step = await restore_step(recovery, container, version, [Place.BACKUP, Place.SNAPSHOT], replaces=bad.etag)
    blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), method="PUT", target="comp=appendblock", skip=2, times=1))
    outcome = await restorer(Recovery.of(open_behind_proxies()), container).carry_out(step)
    assert outcome.result is Result.FAILED
    await backups.get_blob_client(backup_name(version)).delete_blob()
    outcome = await restorer(recovery, container).carry_out(step)
    assert (outcome.result, outcome.reason) == (Result.RESTORED, "")
    assert await content(container, NAME) == b"a" * 2048


async def test_what_was_created_after_the_moment_is_deleted_once_every_version_has_a_backup(
    recovery: Recovery, services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob(NAME, b"one")
    await back_up_all(services, container, reader)
    blob = await container.upload_blob(NAME, b"two", overwrite=True)
    await blob.create_snapshot()
    await container.upload_blob(f"{NAME}.neighbour", b"stays")
    newest = await garbage(container)
    outcome = await restorer(recovery, container).carry_out(delete_step(newest))
    assert (outcome.result, outcome.reason) == (Result.DELETED, "newer")
    assert [entry.name async for entry in container.list_blobs(include=["snapshots"])] == [f"{NAME}.neighbour"]
    kept = [await content(backups, name) for name in await backup_names(backups)]
    assert sorted(kept) == [b"garbage " * 64, b"one", b"two"]
    again = await restorer(recovery, container).carry_out(delete_step(newest))
    assert (again.result, again.reason) == (Result.ALREADY, "is gone already")


async def test_nothing_is_deleted_whose_backup_is_damaged(
    recovery: Recovery, services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob(NAME, b"right")
    await back_up_all(services, container, reader)
    version = await version_of(container, NAME)
    await spoil(backups, backup_name(version), b"wrong")
    outcome = await restorer(recovery, container).carry_out(delete_step(version))
    assert outcome.result is Result.FAILED
    assert "is damaged" in outcome.reason
    assert (await version_of(container, NAME)) == version


async def test_a_blob_that_changes_while_its_backups_are_proven_is_not_deleted(
    open_behind_proxies: OpenServices,
    services: Services,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await container.upload_blob(NAME, b"newer")
    await back_up_all(services, container, reader)
    version = await version_of(container, NAME)

    async def change(_request: Request) -> None:
        await changed(container)

    blob_proxy.add(Rule(call_hook(before=change), method="DELETE", times=1))
    outcome = await restorer(Recovery.of(open_behind_proxies()), container).carry_out(delete_step(version))
    assert outcome.result is Result.CHANGED
    assert await content(container, NAME) == b"somebody's work"


async def test_directories_are_deleted_last_and_only_when_they_are_empty(
    recovery: Recovery, services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    """As far as a flat account has directories: markers, which the service would delete whatever is below them."""
    for name in ("new", "new/deep", "kept"):
        await container.upload_blob(name, b"", metadata={"hdi_isfolder": "true"})
    await container.upload_blob("new/deep/file", b"newer")
    await container.upload_blob("kept/file", b"stays")
    folders = [delete_step(await version_of(container, name), directory=True) for name in ("new", "new/deep", "kept")]
    file = delete_step(await version_of(container, "new/deep/file"))
    told = Told()
    what = job(container, Mode.IN_PLACE, container.container_name)
    report = await restore(recovery, what, [*folders, file], job_id=f"job-{uuid4().hex[:12]}", progress=told)
    assert report.well
    assert [outcome.name for outcome in told.outcomes if outcome.result is Result.DELETED] == [
        "new/deep/file",
        "new/deep",
        "new",
    ]
    assert [outcome.reason for outcome in told.outcomes if outcome.result is Result.LEFT] == [
        "a directory that was created after the moment is not empty"
    ]
    assert {blob.name async for blob in container.list_blobs()} == {"kept", "kept/file"}


def pending(times: int) -> Rule:
    """Has the service's own copy look unfinished for so many answers."""

    async def act(request: Request, forward: Forward) -> Response:
        response = await forward(request)
        response.head = response.head.replace(b"x-ms-copy-status: success", b"x-ms-copy-status: pending")
        return response

    return Rule(act, target=NAME, times=times)


async def test_a_copy_that_the_service_takes_its_time_for_counts_when_it_is_finished(
    open_behind_proxies: OpenServices,
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copying_pieces, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(restore_blob, "POLL_SECONDS", 0.01)
    await container.upload_blob(NAME, b"wanted! " * 64, blob_type="PageBlob")
    await back_up_all(services, container, reader)
    version = await version_of(container, NAME)
    bad = await garbage(container, "PageBlob")
    step = await restore_step(recovery, container, version, [Place.SNAPSHOT], replaces=bad.etag)
    slow = blob_proxy.add(pending(9))
    work = restorer(Recovery.of(open_behind_proxies()), container)
    assert (await work.carry_out(step)).result is Result.RESTORED
    assert slow.hits == 9
    assert await content(container, NAME) == b"wanted! " * 64
    slow = blob_proxy.add(pending(5))  # and as an attempt finds it that comes after a crash
    assert (await work.carry_out(step)).result is Result.ALREADY
    assert slow.hits == 5


async def test_what_a_logger_appends_to_the_half_never_ends_up_in_the_restored_blob(
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    reader: QueueReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copying_pieces, "PIECE_BYTES", 4)
    await container.upload_blob(NAME, b"AAAABBBBCCCC", blob_type="AppendBlob")
    await back_up_all(services, container, reader)
    version = await version_of(container, NAME)
    bad = await garbage(container, "AppendBlob")
    step = await restore_step(recovery, container, version, [Place.BACKUP], replaces=bad.etag)
    read, pieces = recovery.backups.read, 0

    async def while_it_logs(*of: Any) -> bytes:
        nonlocal pieces
        piece = await read(*of)
        pieces += 1
        if pieces == 3:  # the first read the whole backup, the second the first piece
            await container.get_blob_client(NAME).append_block(b"new!")
        return piece

    monkeypatch.setattr(recovery.backups, "read", while_it_logs)
    assert (await restorer(recovery, container).carry_out(step)).result is Result.RESTORED
    assert await content(container, NAME) == b"AAAABBBBCCCC"

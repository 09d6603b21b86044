"""`backup` against real storage: the requested version, whole, once, or the reason why not."""

import asyncio
from base64 import b64encode
from typing import Any

import pytest
from azure.storage.blob import BlobBlock, ContentSettings, StandardBlobTier
from azure.storage.blob.aio import ContainerClient

from local.gateway.messages import Request, Response
from shared.errors import MessageError
from shared.operations.backup import back_up
from shared.operations.protect import protect
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import FaultProxy, Forward, Rule, answer, call_hook
from tests.protection import assert_protected, backup_name, backup_names, content, entries, snapshots, versions
from tests.queue_reader import QueueReader
from tests.waiting import until

MIB = 1024 * 1024


async def current_request(container: ContainerClient) -> dict[str, Any]:
    """A message that asks for the current version of each blob in the container."""
    blobs = [
        {
            "name": entry.name,
            "etag": entry.etag.strip('"'),
            "last_modified": f"{entry.last_modified:%Y-%m-%dT%H:%M:%SZ}",
            "size": entry.size,
        }
        for entry in await entries(container)
        if not entry.snapshot
    ]
    return {
        "schema": 1,
        "kind": "backup",
        "container": container.container_name,
        "attempt": 1,
        "requested_at": "2026-11-20T14:05:33Z",
        "blobs": blobs,
    }


async def run_protect(services: Services, container: ContainerClient) -> None:
    answered = await protect(services, container.container_name, elapsed=lambda: 0.0)
    assert answered.complete


async def recorded(services: Services, container: ContainerClient) -> list[dict[str, Any]]:
    """What stands in the state of versions that could not be protected."""
    names = await services.state.names(f"unprotected/{container.container_name}/")
    return [await services.state.read(name) for name in names]


async def test_a_block_blob_comes_back_with_its_headers_metadata_tags_and_tier(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob(
        "sales/orders.csv.gz",
        b"1,2\n",
        metadata={"owner": "me", "Mixed_Case": "Value"},
        tags={"class": "secret", "year": "2026"},
        standard_blob_tier=StandardBlobTier.COOL,
        content_settings=ContentSettings(
            content_type="text/csv",
            content_encoding="gzip",
            content_language="de-AT",
            content_disposition='attachment; filename="o.csv"',
            cache_control="no-cache",
        ),
    )
    source = await blob.get_blob_properties()
    await run_protect(services, container)
    [outcome] = await reader.drain(services)
    assert (outcome.copied, outcome.already, outcome.failures) == (1, 0, [])
    assert await assert_protected(container, backups) == 1
    [name] = await backup_names(backups)
    backup = backups.get_blob_client(name)
    properties = await backup.get_blob_properties()
    assert name == f"sales/orders.csv.gz/{source.last_modified:%Y%m%dT%H%M%SZ}-{source.etag[1:-1]}.gz"
    assert properties.metadata["snapkeep_source_last_modified"] == f"{source.last_modified:%Y-%m-%dT%H:%M:%SZ}"
    assert properties.metadata["snapkeep_source_name"] == "sales/orders.csv.gz"
    assert properties.blob_tier == "Cool"
    assert await backup.get_blob_tags() == {"class": "secret", "year": "2026"}


async def test_an_append_blob_comes_back_as_one(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    blob = container.get_blob_client("app.log")
    settings = ContentSettings(content_type="text/plain", content_encoding="gzip")  # and passed on as it is
    await blob.create_append_blob(settings, {"k": "v"}, tags={"t": "1"})
    for piece in (b"a" * 4 * MIB, b"b" * 3, b"c" * MIB):
        await blob.append_block(piece)
    await run_protect(services, container)
    await reader.drain(services)
    assert await assert_protected(container, backups) == 1
    [name] = await backup_names(backups)
    assert await backups.get_blob_client(name).get_blob_tags() == {"t": "1"}


async def test_a_page_blob_comes_back_as_one_with_its_holes(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    blob = container.get_blob_client("disk.vhd")
    await blob.create_page_blob(6 * MIB, ContentSettings(content_type="application/vhd"), {"k": "v"})
    await blob.upload_page(b"a" * 512, 0, 512)
    await blob.upload_page(b"b" * 1024, 5 * MIB, 1024)
    await run_protect(services, container)
    await reader.drain(services)
    assert await assert_protected(container, backups) == 1
    [name] = await backup_names(backups)
    ranges = [(each.start, each.end) async for each in backups.get_blob_client(name).list_page_ranges()]
    assert ranges == [(0, 511), (5 * MIB, 5 * MIB + 1023)]


@pytest.mark.parametrize("kind", ["block", "append", "page"])
async def test_empty_blobs_of_each_type_are_backed_up(
    kind: str, services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    blob = container.get_blob_client("empty")
    if kind == "block":
        await blob.upload_blob(b"")
    elif kind == "append":
        await blob.create_append_blob()
    else:
        await blob.create_page_blob(0)
    await run_protect(services, container)
    await reader.drain(services)
    assert await assert_protected(container, backups) == 1


async def test_a_blob_above_256_mib_is_copied_by_blocks_and_a_second_attempt_stages_only_what_is_missing(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    blob = container.get_blob_client("large.bin")
    pieces = [bytes([number]) * 16 * MIB for number in range(2)]
    for number, piece in enumerate(pieces):
        await blob.stage_block(f"{number}", piece)
    order = [0, 1] * 8 + [1]  # a block may stand in a blob more than once
    await blob.commit_block_list(
        [BlobBlock(f"{number}") for number in order],
        content_settings=ContentSettings(content_type="application/x-large"),
        metadata={"k": "v"},
    )
    size = 17 * 16 * MIB
    block = f"blockid={b64encode(b'0000000134217728-000067108864').decode()[:-1]}"  # the third of five of 64 MiB
    refuse = answer(403, "AuthorizationFailure")

    async def refuse_when_the_others_are_staged(request: Request, forward: Forward) -> Response:
        await until(lambda: sum(call.status == 201 for call in blob_proxy.calls if "comp=block&" in call.target) == 4)
        return await refuse(request, forward)

    blob_proxy.add(Rule(refuse_when_the_others_are_staged, method="PUT", target=block, times=1))
    services = open_behind_proxies()
    await run_protect(services, container)
    await reader.deliver_one(services)
    assert await backup_names(backups) == []
    await reader.drain(services)
    assert blob_proxy.count(method="PUT", target="comp=block&") == 6
    assert blob_proxy.count(method="PUT", target=block) == 2
    [name] = await backup_names(backups)
    backup = backups.get_blob_client(name)
    properties = await backup.get_blob_properties()
    assert (properties.size, properties.content_settings.content_type) == (size, "application/x-large")
    assert properties.metadata["k"] == "v"
    for place, number in enumerate(order):
        sample = await backup.download_blob(place * len(pieces[0]), 1024)
        assert await sample.readall() == pieces[number][:1024]
    await backup.delete_blob()  # the memory that it takes is the other tests' too
    await blob.delete_blob(delete_snapshots="include")


async def test_a_version_that_is_backed_up_costs_one_call(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    await container.upload_blob("a", b"1")
    services = open_behind_proxies()
    await run_protect(services, container)
    message = await current_request(container)
    await reader.drain(services)
    await reader.put(message)
    blob_proxy.clear()
    [outcome] = await reader.drain(services)
    assert (outcome.already, outcome.copied) == (1, 0)
    assert [call.method for call in blob_proxy.calls] == ["HEAD"]


async def test_duplicates_at_once_in_two_instances_make_one_backup_of_each_version(
    open_services: OpenServices, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    for number in range(6):
        await container.upload_blob(f"{number}", b"x" * 1000)
    log = container.get_blob_client("log")
    await log.create_append_blob()
    await log.append_block(b"y" * 5000)
    disk = container.get_blob_client("disk")
    await disk.create_page_blob(4096)
    await disk.upload_page(b"z" * 512, 1024, 512)
    here, there = open_services(), open_services()
    await run_protect(here, container)
    for _ in range(3):
        await reader.put(await current_request(container))
    await asyncio.gather(reader.drain(here), reader.drain(there), reader.drain(here))
    assert await reader.poison() == []
    assert await assert_protected(container, backups) == 8
    assert await recorded(here, container) == []


async def test_the_backup_of_an_old_version_is_never_touched_again(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob("a", b"1")
    await run_protect(services, container)
    await reader.drain(services)
    [old] = await entries(backups)
    await blob.upload_blob(b"ransom", overwrite=True)
    await run_protect(services, container)
    await reader.drain(services)
    kept = {entry.name: entry for entry in await entries(backups)}
    assert len(kept) == 2
    assert kept[old.name].etag == old.etag
    assert await content(backups, old.name) == b"1"


async def test_a_version_that_lives_on_in_a_snapshot_alone_is_copied_from_there(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob("a", b"old", metadata={"v": "1"})
    await run_protect(services, container)
    await blob.upload_blob(b"new content", overwrite=True, metadata={"v": "2"})
    [outcome] = await reader.drain(services)
    assert (outcome.copied, outcome.lost) == (1, 0)
    [name] = await backup_names(backups)
    assert await content(backups, name) == b"old"
    assert (await backups.get_blob_client(name).get_blob_properties()).metadata["v"] == "1"
    await run_protect(services, container)
    await reader.drain(services)
    assert await assert_protected(container, backups) == 2


@pytest.mark.parametrize("kind", ["BlockBlob", "AppendBlob", "PageBlob"])
async def test_a_blob_that_changes_between_the_look_and_the_copy_is_copied_from_its_snapshot_at_once(
    kind: str,
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await container.upload_blob("a", b"old " * 128, blob_type=kind)
    services = open_behind_proxies()
    await run_protect(services, container)

    async def change(_request: Request) -> None:
        await container.upload_blob("a", b"new " * 128, blob_type=kind, overwrite=True)

    blob_proxy.add(Rule(call_hook(before=change), method="PUT", target="bak/a/", times=1))
    [outcome] = await reader.drain(services)
    assert (outcome.copied, outcome.failures) == (1, [])
    [name] = await backup_names(backups)
    assert await content(backups, name) == b"old " * 128
    await run_protect(services, container)
    await reader.drain(services)
    assert await assert_protected(container, backups) == 2


@pytest.mark.parametrize("kind", ["append", "page"])
async def test_old_versions_of_append_and_page_blobs_are_copied_from_their_snapshots(
    kind: str, services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    blob = container.get_blob_client("grows")
    await (blob.create_append_blob() if kind == "append" else blob.create_page_blob(2048))
    for number in range(3):
        piece = bytes([65 + number]) * 512
        await (blob.append_block(piece) if kind == "append" else blob.upload_page(piece, number * 512, 512))
        await run_protect(services, container)
    await reader.drain(services)
    assert await assert_protected(container, backups) == 3


async def test_a_version_whose_blob_is_deleted_is_copied_from_its_snapshot(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    """Deleting a blob alone deletes its snapshots, so this takes a blob that is deleted while they stay."""
    blob = await container.upload_blob("a", b"old")
    await run_protect(services, container)
    await blob.upload_blob(b"", overwrite=True)
    await container.upload_blob("ab", b"a longer name that begins alike")
    await reader.drain(services)
    [name] = await backup_names(backups)
    assert await content(backups, name) == b"old"


async def test_a_request_for_a_version_that_is_nowhere_protects_the_current_one_instead(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob("a", b"never snapshotted")
    stale = await current_request(container)
    await blob.upload_blob(b"current", overwrite=True)
    await reader.put(stale)
    [outcome] = await reader.drain(services)
    assert (outcome.copied, outcome.lost, outcome.failures) == (1, 1, [])
    [record] = await recorded(services, container)
    assert "overwritten, without a snapshot of it" in record["detail"]
    [name] = await backup_names(backups)
    assert name == backup_name(next(iter(await entries(container))))
    assert await content(backups, name) == b"current"


async def test_a_request_for_a_version_that_is_nowhere_costs_no_second_backup_of_the_current_one(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob("a", b"never snapshotted")
    stale = await current_request(container)
    await blob.upload_blob(b"current", overwrite=True)
    for _ in range(2):
        await reader.put(stale)
    outcomes = await reader.drain(services)
    assert [(outcome.copied, outcome.already) for outcome in outcomes] == [(1, 0), (0, 1)]
    assert len(await backup_names(backups)) == 1


async def test_a_version_that_is_gone_without_a_snapshot_is_recorded_as_lost(
    services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob("a b", b"1")
    await container.upload_blob("other", b"2")
    message = await current_request(container)
    await blob.delete_blob()
    await reader.put(message)
    [outcome] = await reader.drain(services)
    assert (outcome.lost, outcome.copied, outcome.failures) == (1, 1, [])
    assert await reader.poison() == []
    [record] = await recorded(services, container)
    lost = next(each for each in message["blobs"] if each["name"] == "a b")
    assert {key: record[key] for key in lost} == lost
    assert record["reason"] == "gone before it was copied"


async def test_a_foreign_blob_under_a_backups_name_is_left_alone_and_the_request_ends_in_the_poison_queue(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a", b"1")
    await container.upload_blob("good", b"2")
    await run_protect(services, container)
    [a, _] = [entry for entry in await entries(container) if not entry.snapshot]
    await backups.create_container()
    foreign = await backups.upload_blob(backup_name(a), b"planted here", metadata={"k": "v"})
    before = await foreign.get_blob_properties()
    outcomes = await reader.drain(services)
    assert sum(outcome.copied for outcome in outcomes) == 1
    assert [len(outcome.failures) for outcome in outcomes] == [1, 1, 1, 1, 1]
    [poison] = await reader.poison()
    assert [blob["name"] for blob in poison["blobs"]] == ["a"]
    assert poison["attempt"] == 5
    assert "left untouched" in poison["reason"]
    after = await foreign.get_blob_properties()
    assert (after.etag, after.metadata) == (before.etag, before.metadata)
    [record] = await recorded(services, container)
    assert (record["name"], record["reason"]) == ("a", "failed")


async def test_an_identical_blob_without_snapkeeps_metadata_counts_as_the_backup(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a", b"the same")
    await run_protect(services, container)
    [source] = [entry for entry in await entries(container) if not entry.snapshot]
    assert source.content_settings.content_md5
    await backups.create_container()
    await backups.upload_blob(backup_name(source), b"the same")
    [outcome] = await reader.drain(services)
    assert (outcome.already, outcome.failures) == (1, [])


async def test_a_blob_of_the_right_size_but_another_content_is_not_taken_for_the_backup(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a", b"the same")
    await run_protect(services, container)
    [source] = [entry for entry in await entries(container) if not entry.snapshot]
    await backups.create_container()
    await backups.upload_blob(backup_name(source), b"THE SAME")
    await reader.drain(services)
    assert len(await reader.poison()) == 1
    assert await content(backups, backup_name(source)) == b"THE SAME"


async def test_an_archived_blob_is_reported_and_not_poisoned(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob("cold", b"1")
    await container.upload_blob("warm", b"2")
    await blob.set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    await run_protect(services, container)
    [outcome] = await reader.drain(services)
    assert (outcome.unprotectable, outcome.copied) == (1, 1)
    assert await reader.poison() == []
    [record] = await recorded(services, container)
    assert (record["name"], record["reason"]) == ("cold", "archived")
    assert len(await backup_names(backups)) == 1


async def test_a_blob_that_was_archived_since_is_copied_from_its_snapshot(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    blob = await container.upload_blob("cooling", b"1")
    await run_protect(services, container)
    await blob.set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    [outcome] = await reader.drain(services)
    assert (outcome.unprotectable, outcome.copied) == (0, 1)
    assert len(await backup_names(backups)) == 1


async def test_a_blob_that_is_archived_under_the_copy_is_reported_too(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    await container.upload_blob("cold", b"1")
    blob_proxy.add(Rule(answer(409, "BlobArchived"), method="PUT", target="/cold/2"))
    services = open_behind_proxies()
    await run_protect(services, container)
    [outcome] = await reader.drain(services)
    assert outcome.unprotectable == 1
    assert [record["reason"] for record in await recorded(services, container)] == ["archived"]


async def test_a_blob_with_a_customer_provided_key_is_reported_and_not_poisoned(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    await container.upload_blob("locked", b"1")
    services = open_behind_proxies()
    await run_protect(services, container)
    refusal = answer(409, "BlobUsesCustomerSpecifiedEncryption")
    blob_proxy.add(Rule(refusal, method="HEAD", target=f"/{container.container_name}/locked"))
    [outcome] = await reader.drain(services)
    assert outcome.unprotectable == 1
    assert [record["reason"] for record in await recorded(services, container)] == ["customer-provided key"]
    assert await reader.poison() == []


async def test_a_backup_container_is_created_on_first_need_and_is_private(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    assert not await backups.exists()
    await container.upload_blob("a", b"1")
    await run_protect(services, container)
    assert not await backups.exists()
    await reader.drain(services)
    assert (await backups.get_container_properties()).public_access is None


@pytest.mark.parametrize("restarted", [True, False])
async def test_a_backup_container_that_is_deleted_is_an_error_and_not_created_again(
    restarted: bool,
    open_services: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
) -> None:
    services = open_services()
    await container.upload_blob("a", b"1")
    await run_protect(services, container)
    await reader.drain(services)
    await backups.delete_container()
    await container.upload_blob("a", b"2", overwrite=True)
    if restarted:
        services = open_services()
    await run_protect(services, container)
    await reader.drain(services)
    assert not await backups.exists()
    [poison] = await reader.poison()
    assert "existed and is gone" in poison["reason"]


async def test_a_source_container_that_is_deleted_leaves_the_backups_and_is_recorded(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a", b"1")
    await run_protect(services, container)
    await reader.drain(services)
    await container.upload_blob("b", b"2")
    await run_protect(services, container)
    await container.delete_container()
    await reader.drain(services)
    assert len(await backup_names(backups)) == 1
    assert [record["name"] for record in await recorded(services, container)] == ["b"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"schema": 2}',
        b'{"schema": 1, "kind": "scan", "container": "raw", "blobs": []}',
    ],
)
async def test_what_is_no_message_raises(body: bytes, services: Services) -> None:
    with pytest.raises(MessageError):
        await back_up(services, body, "id", redelivered=False)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"schema": "1"},
        {"kind": "delete"},
        {"container": "../other"},
        {"container": "$logs"},
        {"container": "somebody-elses"},
        {"container": "snapkeep-state"},
        {"blobs": []},
        {"blobs": [{"name": "../x", "etag": "0x1", "last_modified": "2026-11-20T14:05:33Z", "size": 1}]},
        {"blobs": [{"name": "x", "etag": '0x1"', "last_modified": "2026-11-20T14:05:33Z", "size": 1}]},
        {"blobs": [{"name": "x", "etag": "0x1", "last_modified": "yesterday", "size": 1}]},
        {"blobs": [{"name": "x", "etag": "0x1", "last_modified": "2026-11-20T14:05:33Z", "size": -1}]},
        {"blobs": [{"name": "x", "etag": "0x1", "last_modified": "2026-11-20T14:05:33Z", "size": 1, "url": "http://"}]},
        {"account": "other"},
    ],
)
async def test_a_forged_message_ends_in_the_poison_queue_without_a_call_to_storage(
    change: dict[str, Any],
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await container.upload_blob("a", b"1")
    services = open_behind_proxies()
    message = await current_request(container) | change
    await reader.put(message)
    assert await reader.drain(services) == []
    assert await reader.poison() == [message]
    assert blob_proxy.calls == []


async def test_a_message_whose_container_is_excluded_by_now_ends_in_the_poison_queue(
    open_services: OpenServices, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a", b"1")
    await run_protect(open_services(), container)
    await reader.drain(open_services(SNAPKEEP_EXCLUDE_CONTAINERS=container.container_name))
    assert len(await reader.poison()) == 1
    assert not await backups.exists()


async def test_one_failing_blob_is_retried_by_itself_and_the_others_are_done_once(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    for name in ("a", "bad", "c"):
        await container.upload_blob(name, b"1")
    copies = "bak/bad/"
    refused = blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), method="PUT", target=copies, times=2))
    services = open_behind_proxies()
    await run_protect(services, container)
    await reader.deliver_one(services)
    [again] = await reader.requests()
    assert ([blob["name"] for blob in again["blobs"]], again["attempt"]) == (["bad"], 2)
    assert "AuthorizationFailure" in again["reason"]
    outcomes = await reader.drain(services)
    assert [(outcome.copied, len(outcome.failures)) for outcome in outcomes] == [(0, 1), (1, 0)]
    assert refused.hits == 2
    assert await reader.poison() == []
    assert await assert_protected(container, backups) == 3


async def test_a_blob_that_keeps_failing_waits_longer_each_time_and_is_poisoned_after_five_attempts(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    queue_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await container.upload_blob("bad", b"1")
    tries = blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), method="PUT", target="bak/bad/"))
    services = open_behind_proxies(SNAPKEEP_RETRY_DELAY_SECONDS=0.15)  # 0.15, 0.3, 0.6 and 1.2 s
    await run_protect(services, container)
    await reader.drain(services)
    delays = [
        int(call.target.partition("visibilitytimeout=")[2].partition("&")[0])
        for call in queue_proxy.calls
        if "visibilitytimeout=" in call.target and "poison" not in call.target
    ]
    assert delays[-4:] == [0, 0, 1, 1]
    assert tries.hits == 5
    [poison] = await reader.poison()
    assert (poison["attempt"], [blob["name"] for blob in poison["blobs"]]) == (5, ["bad"])
    assert "AuthorizationFailure" in poison["reason"]
    [record] = await recorded(services, container)
    assert (record["reason"], "AuthorizationFailure" in record["detail"]) == ("failed", True)


async def test_a_blob_that_changes_all_the_time_still_gets_backups_of_what_it_was(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
) -> None:
    blob = await container.upload_blob("busy", b"0")
    services = open_behind_proxies()
    for number in range(1, 4):
        await run_protect(services, container)
        await blob.upload_blob(str(number).encode(), overwrite=True)
        await reader.drain(services)
        assert len(await backup_names(backups)) == number
    held = sorted([await content(backups, name) for name in await backup_names(backups)])
    assert held == [b"0", b"1", b"2"]
    assert len(await snapshots(container, "busy")) == 3


async def test_nothing_secret_and_no_address_stands_in_a_message(
    services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a", b"1")
    await run_protect(services, container)
    text = str(await reader.requests())
    assert "http" not in text
    assert "sig=" not in text
    assert str(services.settings.source.account_key) not in text


async def test_the_names_of_versions_are_told_apart_when_a_blob_is_written_twice_in_a_second(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    for number in range(5):
        await container.upload_blob("fast", str(number).encode(), overwrite=True)
        await run_protect(services, container)
    await reader.drain(services)
    assert len([version async for version in versions(container)]) == 5
    assert await assert_protected(container, backups) == 5

"""What the operations rely on of each adapter, against real storage: conditions, errors by type, lost answers."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import AccountSasPermissions, ResourceTypes, StandardBlobTier, generate_account_sas
from azure.storage.blob.aio import BlobServiceClient, ContainerClient
from azure.storage.queue.aio import QueueClient

from shared import __version__
from shared.adapters import copying
from shared.adapters.copying import copy_version
from shared.adapters.target import Target
from shared.containers import STAGING_CONTAINER
from shared.decisions.messages import request
from shared.errors import (
    BackupConflict,
    BackupContainerGone,
    BackupExists,
    BlobChanged,
    BlobGone,
    ContainerNotFound,
    StorageFailed,
)
from shared.model import BlobState, Version
from shared.operations.protect import protect
from shared.operations.reconcile import reconcile
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import FaultProxy, Rule, answer, lose_answer
from tests.integration.conftest import endpoint
from tests.protection import assert_protected, backup_names, content, snapshots
from tests.queue_reader import QueueReader


async def state_of(services: Services, container: ContainerClient, name: str) -> BlobState:
    found = await services.source.state(container.container_name, name)
    assert found is not None
    return found


@pytest.fixture
async def target(services: Services, backups: ContainerClient) -> Target:
    await backups.create_container()
    return Target(services.backup.account, backups.container_name, "the/backup", {"k": "v"}, {"t": "1"})


# The source


async def test_the_state_of_a_blob_is_all_that_decisions_need(services: Services, container: ContainerClient) -> None:
    blob = await container.upload_blob(
        "a b.csv", b"12345", metadata={"k": "v"}, tags={"t": "1"}, standard_blob_tier=StandardBlobTier.COOL
    )
    properties = await blob.get_blob_properties()
    state = await state_of(services, container, "a b.csv")
    etag, modified = properties.etag.strip('"'), f"{properties.last_modified:%Y-%m-%dT%H:%M:%SZ}"
    assert state.version == Version("a b.csv", etag, modified, 5)
    assert (state.blob_type, state.tier, state.tier_inferred) == ("BlockBlob", "Cool", False)
    assert (state.metadata, state.tag_count, state.snapshot) == ({"k": "v"}, 1, None)
    assert state.md5 is not None
    assert await services.source.tags(container.container_name, state) == {"t": "1"}


async def test_a_blob_or_container_that_is_not_there_has_no_state(
    services: Services, container: ContainerClient
) -> None:
    assert await services.source.state(container.container_name, "missing") is None
    assert await services.source.state("no-such-container", "missing") is None


@pytest.mark.parametrize("name", ["../other/secret", "a/../b", ".", "..", "./a"])
async def test_no_call_is_made_for_a_name_that_http_would_resolve(
    name: str, open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    services = open_behind_proxies()
    with pytest.raises(BlobGone, match="segment"):
        await services.source.state(container.container_name, name)
    with pytest.raises(BlobGone, match="segment"):
        await services.source.take_snapshot(container.container_name, Version(name, "0x1", "", 1))
    assert blob_proxy.calls == []


async def test_a_snapshot_is_taken_of_the_named_version_alone(services: Services, container: ContainerClient) -> None:
    blob = await container.upload_blob("a", b"1")
    old = (await state_of(services, container, "a")).version
    await blob.upload_blob(b"2", overwrite=True)
    with pytest.raises(BlobChanged):
        await services.source.take_snapshot(container.container_name, old)
    assert await snapshots(container, "a") == []
    await blob.delete_blob()
    with pytest.raises((BlobGone, BlobChanged)):
        await services.source.take_snapshot(container.container_name, old)
    await container.delete_container()
    with pytest.raises(ContainerNotFound):
        await services.source.take_snapshot(container.container_name, old)


async def test_the_snapshot_of_a_version_is_found_among_many_and_beside_longer_names(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    services = open_behind_proxies()
    blob = await container.upload_blob("a", b"0")
    wanted = []
    for number in range(5):
        wanted.append((await state_of(services, container, "a")).version)
        await blob.create_snapshot()
        await blob.upload_blob(str(number).encode() * (number + 1), overwrite=True)
    await container.upload_blob("a b", b"0")
    await container.upload_blob("ab", b"0")
    for version in wanted:
        found = await services.source.snapshot_of(container.container_name, version)
        assert found is not None
        assert (found.version, found.snapshot is not None) == (version, True)
    now = (await state_of(services, container, "a")).version
    assert await services.source.snapshot_of(container.container_name, now) is None
    assert await services.source.snapshot_of("no-such-container", now) is None


async def test_bytes_are_read_of_the_named_version_alone(services: Services, container: ContainerClient) -> None:
    blob = await container.upload_blob("a", b"12345")
    state = await state_of(services, container, "a")
    assert await services.source.read(container.container_name, state, 1, 3) == b"234"
    await blob.upload_blob(b"67890", overwrite=True)
    with pytest.raises(BlobChanged):
        await services.source.read(container.container_name, state, 1, 3)


# Copies


@pytest.mark.parametrize("kind", ["BlockBlob", "AppendBlob", "PageBlob"])
async def test_a_copy_is_never_written_over_another_blob(
    kind: str, services: Services, container: ContainerClient, backups: ContainerClient, target: Target
) -> None:
    await container.upload_blob("a", b"x" * 512, blob_type=kind)
    await backups.upload_blob(target.name, b"first", metadata={"k": "another"})
    source = await state_of(services, container, "a")
    with pytest.raises((BackupExists, BackupConflict)):
        await copy_version(services.source, container.container_name, source, target)
    assert await content(backups, target.name) == b"first"


async def test_a_block_blob_that_is_there_already_is_said_to_be(
    services: Services, container: ContainerClient, target: Target
) -> None:
    await container.upload_blob("a", b"1")
    source = await state_of(services, container, "a")
    await copy_version(services.source, container.container_name, source, target)
    with pytest.raises(BackupExists):
        await copy_version(services.source, container.container_name, source, target)


@pytest.mark.parametrize("kind", ["BlockBlob", "AppendBlob", "PageBlob"])
async def test_a_source_that_has_changed_is_not_copied_under_the_old_versions_name(
    kind: str, services: Services, container: ContainerClient, backups: ContainerClient, target: Target
) -> None:
    blob = await container.upload_blob("a", b"1" * 512, blob_type=kind)
    source = await state_of(services, container, "a")
    await blob.upload_blob(b"2" * 512, blob_type=kind, overwrite=True)
    # Of a 412 to a copy by the service nobody can tell which side's condition it is about.
    with pytest.raises((BlobChanged, BackupExists)):
        await copy_version(services.source, container.container_name, source, target)
    # An append or a page blob may have been begun; it is not as large as a whole one then.
    left = [entry.size async for entry in backups.list_blobs()]
    assert left == {"BlockBlob": [], "AppendBlob": [0], "PageBlob": [1024]}[kind]


async def test_a_source_that_is_gone_is_told_apart(
    services: Services, container: ContainerClient, backups: ContainerClient, target: Target
) -> None:
    blob = await container.upload_blob("a", b"1")
    source = await state_of(services, container, "a")
    await blob.delete_blob()
    with pytest.raises((BlobGone, BlobChanged)):
        await copy_version(services.source, container.container_name, source, target)
    assert await backup_names(backups) == []


@pytest.mark.parametrize("kind", ["AppendBlob", "PageBlob"])
async def test_a_copy_in_pieces_that_was_cut_short_is_gone_on_with(
    kind: str,
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    target: Target,
    blob_proxy: FaultProxy,
) -> None:
    services = open_behind_proxies()
    bytes_written = bytes(range(256)) * 20_000  # two pieces
    blob = container.get_blob_client("a")
    await blob.upload_blob(bytes_written, blob_type=kind)
    source = await state_of(services, container, "a")
    through_proxy = Target(services.backup.account, target.container, target.name, target.metadata, target.tags)
    pieces = re.compile("the/backup.comp=(appendblock|page)")
    blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), method="PUT", target=pieces, skip=1, times=1))
    with pytest.raises(StorageFailed):
        await copy_version(services.source, container.container_name, source, through_proxy)
    await copy_version(services.source, container.container_name, source, through_proxy)
    assert await content(backups, target.name) == bytes_written
    assert await backups.get_blob_client(target.name).get_blob_tags() == {"t": "1"}


# The backup account


async def test_a_backup_container_is_made_once_by_any_number_of_instances(
    open_services: OpenServices, backups: ContainerClient
) -> None:
    name = backups.container_name
    instances = [open_services() for _ in range(4)]
    await asyncio.gather(*(each.backup.ensure_container(name) for each in instances for _ in range(3)))
    assert await backups.exists()
    with pytest.raises(BackupContainerGone):
        await instances[0].backup.check_not_gone(name)
    await backups.delete_container()
    instances[0].backup.forget(name)
    with pytest.raises(BackupContainerGone, match=name):
        await instances[0].backup.ensure_container(name)
    assert not await backups.exists()


async def test_a_backup_container_whose_creation_was_not_answered_is_there_and_known(
    open_behind_proxies: OpenServices, backups: ContainerClient, blob_proxy: FaultProxy
) -> None:
    services = open_behind_proxies()
    creation = re.compile(rf"^/backup/{backups.container_name}\?restype=container")
    lost = blob_proxy.add(Rule(lose_answer(), method="PUT", target=creation, times=1))
    await services.backup.ensure_container(backups.container_name)
    assert lost.hits == 1
    with pytest.raises(BackupContainerGone):
        await services.backup.check_not_gone(backups.container_name)


async def test_a_staged_blob_is_discarded_only_while_it_is_that_one(
    services: Services, backup_account: BlobServiceClient
) -> None:
    await services.backup.ensure_staging()
    staging = backup_account.get_container_client(STAGING_CONTAINER)
    blob = await staging.upload_blob("contract", b"1")
    staged = await services.backup.state(STAGING_CONTAINER, "contract")
    assert staged is not None
    await blob.upload_blob(b"2", overwrite=True)
    await services.backup.discard_staged(staged.version)
    assert await content(staging, "contract") == b"2"
    now = await services.backup.state(STAGING_CONTAINER, "contract")
    assert now is not None
    await services.backup.discard_staged(now.version)
    await services.backup.discard_staged(now.version)
    assert "contract" not in await backup_names(staging)  # other tests leave what they staged


# The queue


async def test_messages_never_expire(
    services: Services, container: ContainerClient, environment: dict[str, str]
) -> None:
    version = Version("a", "0x1", "2026-11-20T14:05:33Z", 1)
    await services.queue.send(request(container.container_name, [version], "2026-11-20T14:05:33Z"))
    async with QueueClient.from_connection_string(
        environment["BackupQueue"], environment["SNAPKEEP_BACKUP_QUEUE"]
    ) as queue:
        [message] = await queue.peek_messages()
    assert message.expires_on is not None
    assert message.expires_on - datetime.now(UTC) > timedelta(days=365 * 100)


async def test_a_delayed_message_is_seen_after_its_delay(
    services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    version = Version("a", "0x1", "2026-11-20T14:05:33Z", 1)
    await services.queue.send(request(container.container_name, [version], "2026-11-20T14:05:33Z"), 60)
    assert await reader.waiting() == 1
    assert await reader.requests() == []


# All of it


async def test_every_request_names_the_app_and_its_version(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    queue_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await container.upload_blob("a", b"1")
    agents: set[str] = set()

    async def note(given: object, forward: object) -> object:
        # Azurite itself looks at a copy's source, and comes through the proxy for that.
        if "x-ms-client-request-id" in given.headers:  # type: ignore[attr-defined]
            agents.add(given.headers.get("user-agent"))  # type: ignore[attr-defined]
        return await forward(given)  # type: ignore[operator]

    for proxy in (blob_proxy, queue_proxy):
        proxy.add(Rule(note))  # type: ignore[arg-type]
    services = open_behind_proxies()
    await protect(services, container.container_name, elapsed=lambda: 0.0)
    await reader.drain(services)
    assert agents
    assert all(agent.startswith(f"snapkeep/{__version__}") for agent in agents)


async def test_accounts_that_are_reached_with_a_sas_are_protected_just_as_well(
    open_services: OpenServices,
    environment: dict[str, str],
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
) -> None:
    def with_sas(connection_string: str, permission: AccountSasPermissions) -> str:
        parts = dict(part.split("=", 1) for part in connection_string.split(";") if part)
        sas = generate_account_sas(
            parts["AccountName"],
            parts["AccountKey"],
            ResourceTypes(service=True, container=True, object=True),
            permission,
            datetime.now(UTC) + timedelta(hours=1),
        )
        return f"BlobEndpoint={endpoint(connection_string, 'Blob')};SharedAccessSignature={sas}"

    reading = AccountSasPermissions(read=True, list=True, write=True, create=True, tag=True)
    writing = AccountSasPermissions(read=True, list=True, write=True, create=True, add=True, tag=True)
    services = open_services(
        SourceStorage=with_sas(environment["SourceStorage"], reading),
        BackupStorage=with_sas(environment["BackupStorage"], writing),
    )
    blob = await container.upload_blob("a b.csv", b"old", tags={"t": "1"})
    await container.upload_blob("log", b"appended", blob_type="AppendBlob")
    await protect(services, container.container_name, elapsed=lambda: 0.0)
    await blob.upload_blob(b"new", overwrite=True)
    await protect(services, container.container_name, elapsed=lambda: 0.0)
    await reader.drain(services)
    assert await reader.poison() == []
    assert await assert_protected(container, backups) == 3
    report = await reconcile(services, elapsed=lambda: 0.0)
    assert report["totals"]["protected"] == 3


async def test_pieces_that_one_way_of_copying_left_are_never_taken_for_blocks_of_another(
    services: Services,
    container: ContainerClient,
    backups: ContainerClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = b"".join(bytes([number]) * 4096 for number in range(1, 4))
    await container.upload_blob("a", content)
    await backups.create_container()
    source = await services.source.state(container.container_name, "a")
    assert source is not None
    target = Target(services.backup.account, backups.container_name, "copy", {}, {})
    monkeypatch.setattr(copying, "PIECE_BYTES", 4096)
    monkeypatch.setattr(copying, "BLOCK_BYTES", 8192)
    monkeypatch.setattr(copying, "MAX_COPY_BLOB_BYTES", 0)
    monkeypatch.setattr(copying, "MAX_SOURCE_URL_CHARACTERS", 1)
    monkeypatch.setattr(copying, "_commit", _cut_short)  # as a crash between the last piece and the commit
    with pytest.raises(ConnectionAbortedError):
        await copy_version(services.source, container.container_name, source, target)
    monkeypatch.undo()
    monkeypatch.setattr(copying, "BLOCK_BYTES", 8192)
    monkeypatch.setattr(copying, "MAX_COPY_BLOB_BYTES", 0)
    await copy_version(services.source, container.container_name, source, target)
    copied = await backups.get_blob_client("copy").download_blob()
    assert await copied.readall() == content


async def _cut_short(*_arguments: object) -> None:
    raise ConnectionAbortedError


async def test_a_container_that_was_first_a_mirror_is_known_by_the_versions_it_holds_since(
    services: Services, container: ContainerClient, backups: ContainerClient
) -> None:
    await services.backup.ensure_container(backups.container_name)
    assert container.container_name not in await services.backup.marked_sources(set())
    await services.backup.ensure_container(backups.container_name, versions_of=container.container_name)
    assert container.container_name in await services.backup.marked_sources(set())
    assert container.container_name not in await services.backup.marked_sources({container.container_name})

"""The change feed against real storage: what nobody announced is found, once, and nothing is passed over.

All tests share one account, so each feed stands in a container of its own here, in the published layout, and not in
`$blobchangefeed`; one test is about an account that has none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from shared.adapters.changefeed import ChangeFeed
from shared.errors import StorageFailed
from shared.operations import timed
from shared.operations.changefeed import CURSOR, Followed, follow
from shared.operations.filling import MAX_OUTAGES
from shared.operations.protect import protect
from shared.operations.reconcile import LATEST
from shared.operations.run_notes import Ending, ending_of
from shared.operations.timed import reconcile_on_timer
from shared.services import Services
from tests.changefeeds import FOLDERS, Feed, event
from tests.conftest import OpenServices
from tests.fault_proxy import FaultProxy, Rule, answer
from tests.protection import assert_protected
from tests.queue_reader import QueueReader

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
BEFORE = HOUR - timedelta(hours=1)


@pytest.fixture
async def feed(source_account: BlobServiceClient, services: Services) -> AsyncIterator[Feed]:
    container = source_account.get_container_client(f"feed-{uuid4().hex[:12]}")
    await container.create_container()
    await services.state.delete(CURSOR)
    yield Feed(container)
    await services.state.delete(CURSOR)


async def run(services: Services, feed: Feed) -> Followed:
    reader = ChangeFeed(services.source.account, feed.container.container_name)
    return await follow(services, reader, elapsed=lambda: 0.0)


def done(followed: Followed) -> tuple[int, int, int, int]:
    return followed.events, followed.looked_at, followed.requested, followed.snapshots_created


async def test_what_nobody_announced_is_protected_and_events_are_read_once(
    services: Services, feed: Feed, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    name = container.container_name
    for blob in ("a.csv", "b é.csv", "announced"):
        await container.upload_blob(blob, b"x")
    await protect(services, name, "announced", elapsed=lambda: 0.0)
    await reader.drain(services)
    await feed.append(BEFORE, FOLDERS[0], [event(name, "a.csv"), event(name, "gone"), event("excluded", "a")])
    await feed.append(BEFORE, FOLDERS[1], [event(name, "announced"), event(name, "announced", "BlobSnapshotCreated")])
    await feed.segment(BEFORE, "Finalized")
    await feed.append(HOUR, FOLDERS[0], [event(name, "b é.csv")])
    await feed.segment(HOUR)
    await feed.consumable(HOUR)
    assert done(await run(services, feed)) == (6, 4, 2, 2)
    await reader.drain(services)
    assert await assert_protected(container, backups) == 3
    assert done(await run(services, feed)) == (0, 0, 0, 0)
    await container.upload_blob("a.csv", b"changed", overwrite=True)
    await feed.append(HOUR, FOLDERS[0], [event(name, "a.csv")])
    assert done(await run(services, feed)) == (1, 1, 1, 1)


async def test_what_may_not_be_read_yet_is_left_and_then_read(
    services: Services, feed: Feed, container: ContainerClient
) -> None:
    await container.upload_blob("a", b"x")
    await feed.append(HOUR, FOLDERS[0], [event(container.container_name, "a")])
    await feed.segment(HOUR)
    await feed.consumable(BEFORE)
    assert done(await run(services, feed)) == (0, 0, 0, 0)
    await feed.consumable(HOUR)
    assert done(await run(services, feed)) == (1, 1, 1, 1)


async def test_a_run_that_cannot_enqueue_reads_the_same_events_again(
    open_behind_proxies: OpenServices,
    services: Services,
    feed: Feed,
    container: ContainerClient,
    queue_proxy: FaultProxy,
) -> None:
    await container.upload_blob("a", b"x")
    await feed.append(HOUR, FOLDERS[0], [event(container.container_name, "a")])
    await feed.segment(HOUR)
    await feed.consumable(HOUR)
    queue_proxy.add(Rule(answer(403, "AuthorizationFailure"), target="/messages"))
    with pytest.raises(StorageFailed):
        await run(open_behind_proxies(), feed)
    assert done(await run(services, feed)) == (1, 1, 1, 1)


async def test_a_file_that_is_damaged_is_never_passed_over(
    services: Services, feed: Feed, container: ContainerClient
) -> None:
    await container.upload_blob("a", b"x")
    name = await feed.append(HOUR, FOLDERS[0], [event(container.container_name, "a")])
    await feed.container.get_blob_client(name).append_block(b"half a block")
    await feed.segment(HOUR)
    await feed.consumable(HOUR)
    assert done(await run(services, feed)) == (1, 1, 1, 1)
    await feed.segment(HOUR, "Finalized")
    for _ in range(2):
        with pytest.raises(StorageFailed, match="is damaged from byte"):
            await run(services, feed)


async def test_when_no_blob_can_be_looked_at_the_same_events_are_read_again(
    open_behind_proxies: OpenServices,
    services: Services,
    feed: Feed,
    container: ContainerClient,
    blob_proxy: FaultProxy,
) -> None:
    events = [event(container.container_name, f"{number}") for number in range(MAX_OUTAGES)]
    await container.upload_blob("0", b"x")
    await feed.append(HOUR, FOLDERS[0], events)
    await feed.segment(HOUR)
    await feed.consumable(HOUR)
    blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), method="HEAD", target=container.container_name))
    with pytest.raises(StorageFailed, match="AuthorizationFailure"):
        await run(open_behind_proxies(), feed)
    assert done(await run(services, feed)) == (MAX_OUTAGES, MAX_OUTAGES, 1, 1)


async def test_a_blob_that_cannot_be_looked_at_is_left_to_the_reconciliation_and_told_of(
    open_behind_proxies: OpenServices, feed: Feed, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    for name in ("bad", "good"):
        await container.upload_blob(name, b"x")
    await feed.append(HOUR, FOLDERS[0], [event(container.container_name, name) for name in ("bad", "good")])
    await feed.segment(HOUR)
    await feed.consumable(HOUR)
    blob_proxy.add(Rule(answer(403, "KeyVaultEncryptionKeyNotFound"), method="HEAD", target="/bad"))
    followed = await run(open_behind_proxies(), feed)
    assert (followed.requested, followed.failed) == (1, 1)
    assert ending_of(followed) == Ending(
        "incomplete", "change feed: 2 events, 1 backups requested, 1 blobs left to the next reconciliation"
    )


async def test_where_another_accounts_feed_was_read_to_says_nothing(
    services: Services, feed: Feed, container: ContainerClient
) -> None:
    await container.upload_blob("a", b"x")
    await feed.append(BEFORE, FOLDERS[0], [event(container.container_name, "a")])
    for hour in (BEFORE, HOUR):
        await feed.segment(hour, "Finalized")
    await feed.consumable(HOUR)
    assert done(await run(services, feed)) == (1, 1, 1, 1)
    assert done(await run(services, feed)) == (0, 0, 0, 0)
    cursor = await services.state.read(CURSOR)
    await services.state.write(CURSOR, cursor | {"account": "another"})
    await services.state.delete(LATEST)
    assert (await run(services, feed)).events == 1


async def test_half_of_the_time_is_left_to_the_reconciliation(
    services: Services, feed: Feed, container: ContainerClient
) -> None:
    await container.upload_blob("a", b"x")
    await feed.append(HOUR, FOLDERS[0], [event(container.container_name, "a")])
    await feed.segment(HOUR)
    await feed.consumable(HOUR)
    reader = ChangeFeed(services.source.account, feed.container.container_name)
    half = services.settings.reconcile_budget_seconds / 2
    followed = await follow(services, reader, elapsed=lambda: half)
    assert (followed.events, followed.complete) == (0, False)
    assert (await follow(services, reader, elapsed=lambda: half - 1)).events == 1


async def test_whatever_befalls_the_feed_the_reconciliation_is_made(
    open_services: OpenServices, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> Followed:
        raise RuntimeError("a defect")

    monkeypatch.setattr(timed, "follow", fail)
    services = open_services(SNAPKEEP_CHANGE_FEED="true")
    await services.state.delete(LATEST)
    assert isinstance(await reconcile_on_timer(services, elapsed=lambda: 0.0), dict)
    followed = await reconcile_on_timer(services, elapsed=lambda: 0.0)
    assert isinstance(followed, Followed)
    assert (followed.complete, followed.reason) == (False, "unexpected RuntimeError: a defect")


async def test_without_a_feed_it_says_so_and_the_reconciliation_goes_on(
    open_services: OpenServices, container: ContainerClient
) -> None:
    services = open_services(SNAPKEEP_CHANGE_FEED="true")
    await container.upload_blob("a", b"x")
    await services.state.delete(LATEST)
    whole = await reconcile_on_timer(services, elapsed=lambda: 0.0)
    assert isinstance(whole, dict)
    assert whole["totals"]["backups_requested"] == 1
    followed = await reconcile_on_timer(services, elapsed=lambda: 0.0)
    assert isinstance(followed, Followed)
    assert "has no change feed" in str(followed.reason)

"""Crashes, refusals and lost answers at every external call of `protect` and `backup`: all is protected in the end."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from shared.containers import backup_container
from shared.errors import SnapkeepError
from shared.operations.protect import protect
from shared.operations.reconcile import reconcile
from shared.services import Services
from shared.settings import Settings
from tests.conftest import Ready
from tests.fault_proxy import FaultProxy
from tests.integration.conftest import endpoint
from tests.protection import assert_protected
from tests.queue_reader import QueueReader
from tests.sweep import FaultAt, Kind

CASES_AT_ONCE = 4
STRIDE = 8
MAX_CALLS = 80
AFTER_PROTECT = 6
"""The first call of `backup` when there is one blob; those before are the same for each engine."""
LEAST_CALLS = 34
LEAST_CALLS_OF_ADF = 17
"""What a run takes that nothing befalls; with fewer, the sweep would have missed some."""


@dataclass
class World:
    """A container of its own, with blobs in it, a queue, and proxies before everything."""

    environment: Mapping[str, str]
    container: ContainerClient
    backups: ContainerClient
    reader: QueueReader
    proxies: tuple[FaultProxy, ...]
    behind_proxies: Mapping[str, str]

    async def protect_and_back_up(self, environment: Mapping[str, str]) -> None:
        """What a producer and the host do between them, from the first call to an empty queue."""
        async with Services.open(Settings.load(environment)) as services:
            await protect(services, self.container.container_name, elapsed=lambda: 0.0)
            await self.reader.drain(services)


@asynccontextmanager
async def new_world(
    stack: Ready,
    environment: Mapping[str, str],
    accounts: tuple[BlobServiceClient, BlobServiceClient],
    name: str,
    **settings: str,
) -> AsyncIterator[World]:
    source, backup = accounts
    container = source.get_container_client(name)
    await container.create_container()
    await container.upload_blob("a b.csv", b"block", metadata={"k": "v"}, tags={"t": "1"})
    environment = {
        **environment,
        "SNAPKEEP_INCLUDE_CONTAINERS": name,
        "SNAPKEEP_BACKUP_QUEUE": name,
        "SNAPKEEP_CONCURRENCY": "1",  # so that a call has the same number in every case
        **settings,
    }
    async with AsyncExitStack() as closing:
        blob = await closing.enter_async_context(FaultProxy(endpoint(stack["source"], "Blob")))
        queue = await closing.enter_async_context(FaultProxy(endpoint(stack["queue"], "Queue")))
        factory = await closing.enter_async_context(FaultProxy(stack["adf"]))
        reader = await closing.enter_async_context(QueueReader(environment["BackupQueue"], name))
        proxied = {
            **environment,
            "SourceStorage": blob.in_place_of(environment["SourceStorage"], "Blob"),
            "BackupStorage": blob.in_place_of(environment["BackupStorage"], "Blob"),
            "AzureWebJobsStorage": blob.in_place_of(environment["AzureWebJobsStorage"], "Blob"),
            "BackupQueue": queue.in_place_of(environment["BackupQueue"], "Queue"),
            "SNAPKEEP_ADF_ENDPOINT": factory.url,
        }
        backups = backup.get_container_client(backup_container(name))
        yield World(environment, container, backups, reader, (blob, queue, factory), proxied)


async def under_fault(world: World, fault: FaultAt) -> None:
    """One run in which something happens to one call; whatever comes of it is fine."""
    fault.stand_before(*world.proxies)
    task = asyncio.create_task(world.protect_and_back_up(world.behind_proxies))
    fault.crash = task.cancel
    with suppress(asyncio.CancelledError, SnapkeepError):
        await task


async def report_of(environment: Mapping[str, str], glob: str) -> dict[str, Any]:
    """What a reconciliation of some containers says, which has all the time it wants."""
    settings = Settings.load({**environment, "SNAPKEEP_INCLUDE_CONTAINERS": glob})
    async with Services.open(settings) as services:
        return await reconcile(services, elapsed=lambda: 0.0)


async def add_an_append_and_a_page_blob(container: ContainerClient) -> None:
    log = container.get_blob_client("log")
    await log.create_append_blob()
    await log.append_block(b"append")
    disk = container.get_blob_client("disk")
    await disk.create_page_blob(1024)
    await disk.upload_page(b"p" * 512, 512, 512)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(("engine", "first_call"), [("server", 1), ("adf", AFTER_PROTECT)])
async def test_whatever_befalls_any_one_call_everything_is_protected_once_in_the_end(
    engine: str,
    first_call: int,
    kind: Kind,
    stack: Ready,
    environment: dict[str, str],
    source_account: BlobServiceClient,
    backup_account: BlobServiceClient,
) -> None:
    sweep = f"sweep-{uuid4().hex[:8]}"
    accounts = (source_account, backup_account)
    all_types = engine == "server"
    # A lost answer changes nothing in what comes after, so that one run can bear several.
    every = STRIDE if kind is Kind.LOST else 0

    async def one(number: int) -> list[str]:
        name = f"{sweep}-{number:03}"
        async with new_world(stack, environment, accounts, name, SNAPKEEP_ENGINE=engine) as world:
            if all_types:
                await add_an_append_and_a_page_blob(world.container)
            fault = FaultAt(kind, number, every)
            await under_fault(world, fault)
            await world.protect_and_back_up(world.environment)
            try:
                assert await world.reader.poison() == []
                assert await assert_protected(world.container, world.backups) == (3 if all_types else 1)
            except AssertionError as error:
                error.add_note(f"{kind} at call {number}: {fault.struck}")
                raise
            return fault.struck

    struck: list[str] = []
    for first in range(first_call, first_call + (every or MAX_CALLS), CASES_AT_ONCE):
        async with asyncio.TaskGroup() as group:
            cases = [group.create_task(one(number)) for number in range(first, first + CASES_AT_ONCE)]
        struck += chain.from_iterable(case.result() for case in cases)
        if not cases[-1].result():
            break  # beyond the last call of a run
    assert len(struck) >= (LEAST_CALLS if engine == "server" else LEAST_CALLS_OF_ADF)
    assert len(struck) < MAX_CALLS
    report = await report_of(environment, f"{sweep}-*")
    totals = report["totals"]
    assert report["complete"]
    assert totals["versions"] == totals["protected"] > 0
    assert (totals["snapshots_created"], totals["backups_requested"], totals["unprotectable"]) == (0, 0, 0)

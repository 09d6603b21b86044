"""Snapkeep's own ways of doing what is compared, through what it offers to its operations."""

from __future__ import annotations

import asyncio
import contextlib
import time
from base64 import b64decode
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from azure.storage.queue.aio import QueueClient

from bench.measure import VoidError, expect
from shared.adapters.accounts import Account
from shared.adapters.listing import Listing
from shared.connections import connection_of
from shared.decisions.messages import BackupRequest
from shared.model import Entry, Version
from shared.operations.backup import back_up
from shared.operations.filling import Filled, take_snapshots
from shared.operations.protect import Protected
from shared.operations.protect import protect as protect_operation
from shared.operations.reconcile import reconcile as reconcile_operation
from shared.parallel import for_each
from shared.services import Services
from shared.settings import Settings

MESSAGES_AT_ONCE = 6
"""As many as one instance of the app works on: host.json's batchSize and newBatchThreshold."""

LOOK_AGAIN_SECONDS = 0.1

LOCAL_FACTORY = {
    "SNAPKEEP_ADF_SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000000",
    "SNAPKEEP_ADF_RESOURCE_GROUP": "local",
    "SNAPKEEP_ADF_FACTORY": "local",
}


def open_services(source: str, backup: str, queue: str, /, **settings: object) -> Services:
    """Services with the Blob service as their engine unless `settings` say otherwise."""
    given = {"SNAPKEEP_ENGINE": "server"} | {name: str(value) for name, value in settings.items()}
    connections = {"SourceStorage": source, "BackupStorage": backup, "BackupQueue": queue, "AzureWebJobsStorage": queue}
    return Services.open(Settings.load(connections | given))


async def entries(text: str, container: str, include: str = "") -> list[Entry]:
    """All that a container of an account holds."""
    account = Account(connection_of({"Account": text}, "Account", ("blob",), []))
    listing = Listing(account)
    try:
        return [entry async for page in listing.pages(container, include=include) for entry in page.entries]
    finally:
        await listing.close()
        await account.close()


async def list_entries(services: Services, container: str) -> int:
    """Reads a listing to its end; gives how many entries it has."""
    count = 0
    async with aclosing(services.source.pages(container)) as pages:
        async for page in pages:
            count += len(page.entries)
    return count


async def snapshot_all(services: Services, container: str, versions: Sequence[Version]) -> None:
    done = Filled()
    await take_snapshots(services, container, versions, done)
    expect((done.snapshots_created, done.failed), (len(versions), []), "snapshots")


async def head_all(services: Services, container: str, versions: Sequence[Version]) -> None:
    async def one(version: Version) -> None:
        if await services.source.state(container, version.name) is None:
            raise VoidError(f"{version.name} is not there")

    await for_each(versions, one, services.settings.concurrency)


async def send_all(services: Services, messages: Sequence[BackupRequest]) -> None:
    await for_each(messages, services.queue.send, services.settings.concurrency)


async def protect(services: Services, container: str) -> int:
    """Protects a container to its end; gives how many blobs had changed."""
    answer: Protected | None = None
    began, changed = time.monotonic(), 0
    while answer is None or not answer.complete:
        continuation = answer.continuation if answer else None
        answer = await protect_operation(
            services, container, continuation=continuation, elapsed=lambda: time.monotonic() - began
        )
        changed += answer.snapshots_created
        if answer.error is not None or answer.failed:
            raise VoidError(f"protect {container}: {answer.error or answer.failed[:3]}")
    return changed


class Drained(NamedTuple):
    """What was in the queue: versions that were copied now, and the messages that it took."""

    copied: int
    messages: int


async def drain(services: Services, queue_text: str) -> Drained:
    """Carries out all messages, as many at once as the Functions host does."""
    async with QueueClient.from_connection_string(queue_text, services.settings.backup_queue) as queue:
        settled = asyncio.Condition()

        async def work() -> Drained:
            copied = messages = 0
            while (await queue.get_queue_properties()).approximate_message_count:
                message = await queue.receive_message(visibility_timeout=600)
                if message is None:  # what is left is at work elsewhere, or follows a run of Data Factory
                    async with settled:
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(settled.wait(), LOOK_AGAIN_SECONDS)
                    continue
                outcome = await back_up(services, b64decode(message.content), str(message.id), redelivered=False)
                if outcome.failures or outcome.lost or outcome.unprotectable:
                    raise VoidError(f"backup: {outcome}")
                copied, messages = copied + outcome.copied, messages + 1
                await queue.delete_message(message)
                async with settled:
                    settled.notify_all()
            return Drained(copied, messages)

        parts = await asyncio.gather(*(work() for _ in range(MESSAGES_AT_ONCE)))
    return Drained(sum(part.copied for part in parts), sum(part.messages for part in parts))


async def reconcile(services: Services) -> dict[str, Any]:
    """Reconciles to the end; gives the report, which must find everything protected."""
    began = time.monotonic()
    report = await reconcile_operation(services, elapsed=lambda: time.monotonic() - began)
    if not report["complete"]:
        raise VoidError(f"reconcile was not complete: {report['totals']}")
    return report

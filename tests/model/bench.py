"""What the model's runs share: storage, connections to it, the app's services, and proxies that disturb on demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from unittest import mock

import aiohttp

from shared.adapters import retrying
from shared.operations import reconcile
from shared.services import Services
from shared.settings import Settings
from tests.fault_proxy import FaultProxy
from tests.model.product import Product
from tests.model.stack import running_storage
from tests.model.wire import Account
from tests.queue_reader import QueueReader

QUEUE = "model-requests"


@dataclass
class Bench:
    """Opened once a process.

    Attributes:
        behind_proxies: settings of an app whose every call to storage goes through the proxies.
        state: the account of the app's own state.
        tally: counts what was done, in all runs.
    """

    environment: Mapping[str, str]
    behind_proxies: Mapping[str, str]
    source: Account
    backup: Account
    state: Account
    services: Services
    reader: QueueReader
    proxies: tuple[FaultProxy, ...]
    product: Product
    tally: Counter[str] = field(default_factory=Counter)


@asynccontextmanager
async def running_bench(product: Product) -> AsyncIterator[Bench]:
    """Starts it all. A call that failed is repeated at once: what befell it is over by then."""
    async with AsyncExitStack() as stack:
        stack.enter_context(mock.patch.object(retrying, "MAX_BACKOFF_SECONDS", 0.0))
        # To draw the status page takes longer than all else that a reconciliation of five blobs does.
        stack.enter_context(mock.patch.object(reconcile, "write_page"))
        storage = await stack.enter_async_context(running_storage())
        environment = storage | {
            "SNAPKEEP_BACKUP_QUEUE": QUEUE,
            "SNAPKEEP_ENGINE": "server",
            "SNAPKEEP_CONCURRENCY": "4",
            "SNAPKEEP_RETRY_DELAY_SECONDS": "0.01",  # a queue's delays are whole seconds: none
            "SNAPKEEP_VERIFY_SAMPLE_PERCENT": "0",
            "SNAPKEEP_DRILL_BLOBS": "0",
        }
        fast = await stack.enter_async_context(FaultProxy(_endpoint(storage["SourceStorage"], "Blob")))
        state = await stack.enter_async_context(FaultProxy(_endpoint(storage["AzureWebJobsStorage"], "Blob")))
        queue = await stack.enter_async_context(FaultProxy(_endpoint(storage["BackupQueue"], "Queue")))
        behind = environment | {
            "SourceStorage": fast.in_place_of(storage["SourceStorage"], "Blob"),
            "BackupStorage": fast.in_place_of(storage["BackupStorage"], "Blob"),
            "AzureWebJobsStorage": state.in_place_of(storage["AzureWebJobsStorage"], "Blob"),
            "BackupQueue": queue.in_place_of(storage["BackupQueue"], "Queue"),
            "SNAPKEEP_CONCURRENCY": "1",  # so that a call has the same number each time
        }
        session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        services = await stack.enter_async_context(Services.open(Settings.load(environment)))
        reader = await stack.enter_async_context(QueueReader(environment["BackupQueue"], QUEUE))
        await reader.create()
        yield Bench(
            environment,
            behind,
            Account(session, storage["SourceStorage"]),
            Account(session, storage["BackupStorage"]),
            Account(session, storage["AzureWebJobsStorage"]),
            services,
            reader,
            (fast, state, queue),
            product,
        )


def _endpoint(connection_string: str, service: str) -> str:
    parts = dict(part.split("=", 1) for part in connection_string.split(";") if part)
    return parts[f"{service}Endpoint"]

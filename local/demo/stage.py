"""Everything that the demo's steps work with: the page, the two accounts, the queues, and who is called."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import aiohttp
from azure.storage.blob.aio import BlobServiceClient, ContainerClient
from azure.storage.queue.aio import QueueClient

from local.demo.calls import DataFactory, FunctionApp
from local.demo.contract import backup_container
from local.demo.page import Page
from local.demo.progress import Reports
from local.demo.record import RecordedContainer

QUEUE = "backup-requests"


@dataclass(frozen=True)
class Stage:
    page: Page
    app: FunctionApp
    data_factory: DataFactory
    source: BlobServiceClient
    backup: BlobServiceClient
    queue: QueueClient
    poison: QueueClient
    coverage_reports: Reports
    sync_reports: Reports
    differences: list[str] = field(default_factory=list)

    def expect(self, right: bool, otherwise: str) -> None:
        """Shows and keeps what is not as it should be; the demo goes on, and fails in the end."""
        if not right:
            self.page.problem(otherwise)
            self.differences.append(otherwise)

    async def new_container(self, name: str) -> RecordedContainer:
        """An empty container in the source account, and its record."""
        return RecordedContainer(await self.source.create_container(name))

    def backups_of(self, record: RecordedContainer) -> ContainerClient:
        """The container of the backup account that belongs to a source container."""
        return self.backup.get_container_client(backup_container(record.name))


@contextlib.asynccontextmanager
async def open_stage(page: Page, ready: Mapping[str, str]) -> AsyncIterator[Stage]:
    """Connects to the stack that printed this READY object."""
    async with (
        BlobServiceClient.from_connection_string(ready["source"]) as source,
        BlobServiceClient.from_connection_string(ready["backup"]) as backup,
        BlobServiceClient.from_connection_string(ready["queue"]) as state,
        QueueClient.from_connection_string(ready["queue"], QUEUE) as queue,
        QueueClient.from_connection_string(ready["queue"], f"{QUEUE}-poison") as poison,
        aiohttp.ClientSession() as session,
    ):
        yield Stage(
            page,
            FunctionApp(session, ready),
            DataFactory(session, ready),
            source,
            backup,
            queue,
            poison,
            coverage_reports=Reports(state, "latest"),
            sync_reports=Reports(state, "sync-latest"),
        )

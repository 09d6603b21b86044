"""What tests of all levels share: one local stack for the session, and services with settings of their own."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from uuid import uuid4

import pytest
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from local.services import running_services
from shared.containers import backup_container
from shared.services import Services
from shared.settings import Settings

Ready = dict[str, str]
OpenServices = Callable[..., Services]


LONGEST = [
    *("integration/test_model.py", "integration/test_restore_faults.py", "integration/test_sync.py"),
    *("integration/test_restore_command.py", "integration/test_reconcile_deletions.py"),
    *("integration/test_backup_faults.py", "integration/test_status.py", "integration/test_local_services.py"),
    *("e2e/test_runbook.py", "e2e/test_stories.py", "e2e/test_restore_interrupted.py", "e2e/test_demo.py"),
    *("e2e/test_crashes.py", "e2e/test_status_page.py", "e2e/test_timer_sync.py", "e2e/test_scan_goes_on.py"),
]
"""The files of tests that take half a minute and more, the longest first."""


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and would hand that on to the programs that tests send it to."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with what takes long: otherwise the workers that are done wait for it in the end."""
    places = {path: place for place, path in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(f"{item.path.parent.name}/{item.path.name}", len(places)))


@pytest.fixture(scope="session")
def stack() -> Iterator[Ready]:
    """The READY object of services (Azurite, gateway, Data Factory stand-in), in a thread of their own."""
    ready: list[Ready] = []
    failure: list[BaseException] = []
    started = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        try:
            async with running_services() as services:
                ready.append(services.ready)
                started.set()
                await stop.wait()
        except BaseException as error:
            failure.append(error)
            started.set()
            raise

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="local stack", daemon=True)
    thread.start()
    started.wait()
    if failure:
        raise failure[0]
    yield ready[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(timeout=30)
    loop.close()


@pytest.fixture
def environment(stack: Ready) -> dict[str, str]:
    """App settings for the stack, with a queue of this test's own, and without proofs."""
    return {
        "SourceStorage": stack["source"],
        "BackupStorage": stack["backup"],
        "BackupQueue": stack["queue"],
        "AzureWebJobsStorage": stack["queue"],
        "SNAPKEEP_BACKUP_QUEUE": f"requests-{uuid4().hex[:12]}",
        "SNAPKEEP_ADF_ENDPOINT": stack["adf"],
        "SNAPKEEP_ADF_SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000000",
        "SNAPKEEP_ADF_RESOURCE_GROUP": "local",
        "SNAPKEEP_ADF_FACTORY": "local",
        # The proofs that a reconciliation ends with are asked for by the tests that are about them.
        "SNAPKEEP_VERIFY_SAMPLE_PERCENT": "0",
        "SNAPKEEP_DRILL_BLOBS": "0",
    }


@pytest.fixture
async def open_services(environment: dict[str, str]) -> AsyncIterator[OpenServices]:
    """Opens services on the stack; keyword arguments are settings (`SNAPKEEP_ENGINE="server"`) or `now`."""
    opened: list[Services] = []

    def open_with(**overrides: object) -> Services:
        options = {"now": overrides.pop("now")} if "now" in overrides else {}
        settings = Settings.load(environment | {name: str(value) for name, value in overrides.items()})
        opened.append(Services.open(settings, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_with
    for services in opened:
        await services.close()


@pytest.fixture
async def source_account(stack: Ready) -> AsyncIterator[BlobServiceClient]:
    async with BlobServiceClient.from_connection_string(stack["source"]) as client:
        yield client


@pytest.fixture
async def backup_account(stack: Ready) -> AsyncIterator[BlobServiceClient]:
    async with BlobServiceClient.from_connection_string(stack["backup"]) as client:
        yield client


@pytest.fixture
async def container(source_account: BlobServiceClient) -> ContainerClient:
    """A new, empty source container of this test's own."""
    client = source_account.get_container_client(f"raw-{uuid4().hex[:12]}")
    await client.create_container()
    return client


@pytest.fixture
def backups(backup_account: BlobServiceClient, container: ContainerClient) -> ContainerClient:
    """The backup container of `container`; it does not exist yet."""
    return backup_account.get_container_client(backup_container(container.container_name))

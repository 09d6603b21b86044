"""What the tests of the operations share: proxies that fail on purpose before the services, and a queue reader."""

from collections.abc import AsyncIterator, Iterator

import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.blob.aio import ContainerClient

from shared.services import Services
from tests.conftest import OpenServices, Ready
from tests.fault_proxy import FaultProxy
from tests.queue_reader import QueueReader

FAST = {
    "SNAPKEEP_RETRY_DELAY_SECONDS": 0.01,  # rounded down to no delay at all: a queue's delays are whole seconds
    "SNAPKEEP_ADF_POLL_SECONDS": 0.05,
}


def endpoint(connection_string: str, service: str) -> str:
    """The address of the "Blob" or "Queue" service in a connection string."""
    parts = dict(part.split("=", 1) for part in connection_string.split(";") if part)
    return parts[f"{service}Endpoint"]


@pytest.fixture
async def blob_proxy(stack: Ready) -> AsyncIterator[FaultProxy]:
    """Before the blob service of both accounts; it passes everything on until it is told otherwise."""
    async with FaultProxy(endpoint(stack["source"], "Blob")) as proxy:
        yield proxy


@pytest.fixture
async def queue_proxy(stack: Ready) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(endpoint(stack["queue"], "Queue")) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def emptied(stack: Ready) -> Iterator[None]:
    """Leaves no container behind a module: a thousand of them cost each that lists an account half a second."""
    yield
    for account in ("source", "backup"):
        with BlobServiceClient.from_connection_string(stack[account]) as service:
            for container in service.list_containers():
                service.delete_container(container.name)


@pytest.fixture
def environment(environment: dict[str, str], container: ContainerClient, emptied: None) -> dict[str, str]:
    """Settings that see this test's container alone, with the Blob service as the engine and no delays."""
    return environment | {
        "SNAPKEEP_INCLUDE_CONTAINERS": container.container_name,
        "SNAPKEEP_ENGINE": "server",
        **{name: str(value) for name, value in FAST.items()},
    }


@pytest.fixture
def services(open_services: OpenServices) -> Services:
    return open_services()


@pytest.fixture
def open_behind_proxies(
    open_services: OpenServices, environment: dict[str, str], blob_proxy: FaultProxy, queue_proxy: FaultProxy
) -> OpenServices:
    """As `open_services`, with every call to storage going through the proxies."""
    storage = {
        "SourceStorage": blob_proxy.in_place_of(environment["SourceStorage"], "Blob"),
        "BackupStorage": blob_proxy.in_place_of(environment["BackupStorage"], "Blob"),
        "AzureWebJobsStorage": blob_proxy.in_place_of(environment["AzureWebJobsStorage"], "Blob"),
        "BackupQueue": queue_proxy.in_place_of(environment["BackupQueue"], "Queue"),
    }
    return lambda **overrides: open_services(**storage | overrides)


@pytest.fixture
async def reader(environment: dict[str, str]) -> AsyncIterator[QueueReader]:
    """Reads this test's queue as the Functions host would."""
    async with QueueReader(environment["BackupQueue"], environment["SNAPKEEP_BACKUP_QUEUE"]) as queue_reader:
        yield queue_reader

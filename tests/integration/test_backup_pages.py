"""Long requests: pages of the listings tell of their blobs before and after, and what they do not tell is looked at."""

import asyncio
import re

import pytest
from azure.storage.blob import StandardBlobTier
from azure.storage.blob.aio import ContainerClient

from local.gateway.messages import Headers, Request, Response, make_response
from shared.adapters import listing
from shared.operations.protect import protect
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import FaultProxy, Forward, Rule, answer
from tests.protection import assert_protected, backup_names
from tests.queue_reader import QueueReader

BLOBS = 60
COPY = re.compile(r"^/backup/raw-[^/?]+/")
LOOK = re.compile("comp=list.*include=copy")


async def fill(container: ContainerClient) -> None:
    """Sixty blobs with all that a backup must carry over, among others that are left alone."""
    await asyncio.gather(
        *(
            container.upload_blob(
                f"day=27/part-{number:03d}.csv",
                f"{number}".encode(),
                metadata={"Owner": f"a & <{number}>"},
                tags={"class": f"{number}"},
                standard_blob_tier=StandardBlobTier.COOL,
                overwrite=True,
            )
            for number in range(BLOBS)
        )
    )


async def request(services: Services, container: ContainerClient) -> None:
    assert (await protect(services, container.container_name, elapsed=lambda: 0.0)).requested == BLOBS


def heads(proxy: FaultProxy) -> int:
    """The app's own: Azurite looks at a copy's source through the proxy, too."""
    return proxy.count(method="HEAD", target="ss=b")


async def test_a_long_request_costs_its_copies_and_a_few_pages(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await fill(container)
    services = open_behind_proxies()
    await request(services, container)
    blob_proxy.clear()
    [outcome] = await reader.drain(services)
    assert (outcome.copied, outcome.already, outcome.failures) == (BLOBS, 0, [])
    assert blob_proxy.count(method="PUT", target=COPY) == BLOBS
    assert heads(blob_proxy) == 0
    assert blob_proxy.count(method="GET", target="comp=tags") == 0
    assert 3 <= blob_proxy.count(target=LOOK) <= 6
    assert await assert_protected(container, backups) == BLOBS
    [name] = [name for name in await backup_names(backups) if "part-007" in name]
    backup = backups.get_blob_client(name)
    properties = await backup.get_blob_properties()
    assert properties.blob_tier == "Cool"
    assert properties.metadata["Owner"] == "a & <7>"
    assert await backup.get_blob_tags() == {"class": "7"}


async def test_a_request_that_comes_again_costs_pages_alone(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    await fill(container)
    services = open_behind_proxies()
    await request(services, container)
    [message] = await reader.requests()
    await reader.drain(services)
    await reader.put(message)
    blob_proxy.clear()
    [outcome] = await reader.drain(services)
    assert (outcome.copied, outcome.already, outcome.failures) == (0, BLOBS, [])
    assert {call.method for call in blob_proxy.calls} == {"GET"}
    assert len(blob_proxy.calls) <= 3


async def test_blobs_that_changed_vanished_or_are_backed_up_already_are_settled_as_in_a_short_request(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await fill(container)
    services = open_behind_proxies()
    await request(services, container)
    await container.upload_blob("day=27/part-001.csv", b"changed", overwrite=True)
    await container.delete_blob("day=27/part-002.csv", delete_snapshots="include")

    async def change_under_the_copy(asked: Request, forward: Forward) -> Response:
        await container.upload_blob("day=27/part-003.csv", b"under the copy", overwrite=True)
        return await forward(asked)

    blob_proxy.add(Rule(change_under_the_copy, method="PUT", target=re.compile("/backup/.*part-003"), times=1))
    [outcome] = await reader.drain(services)
    # Of the two that changed, the old version is copied from its snapshot.
    assert (outcome.copied, outcome.lost, outcome.failures) == (BLOBS - 1, 1, [])
    assert len(await backup_names(backups)) == BLOBS - 1
    assert [name for name in await backup_names(backups) if "part-002" in name] == []


async def test_where_tags_may_not_be_read_each_blob_is_looked_at_by_itself(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await fill(container)
    refused = blob_proxy.add(Rule(answer(403, "AuthorizationPermissionMismatch"), target=LOOK))
    services = open_behind_proxies()
    await request(services, container)
    blob_proxy.calls.clear()
    [outcome] = await reader.drain(services)
    assert (outcome.copied, outcome.failures) == (BLOBS, [])
    assert heads(blob_proxy) == 2 * BLOBS
    assert refused.hits == 2  # once for each account, and not again
    assert await assert_protected(container, backups) == BLOBS
    await fill(container)
    await request(services, container)
    await reader.drain(services)
    assert refused.hits == 2
    # Roles take minutes to count: after a while it is asked again.
    refused.times = 0
    monkeypatch.setattr(listing, "ASK_AGAIN_SECONDS", 0.0)
    await fill(container)
    await request(services, container)
    blob_proxy.calls.clear()
    await reader.drain(services)
    assert heads(blob_proxy) < BLOBS


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (rb"<Content-Length>1</Content-Length>", b"<Content-Length>9</Content-Length>"),
        (rb"<Content-MD5>[^<]*</Content-MD5>", b"<Content-MD5>1B2M2Y8AsgTpgAmY7PhCfg==</Content-MD5>"),
    ],
    ids=["size", "MD5"],
)
async def test_a_copy_that_a_page_shows_to_be_another_is_not_counted_as_one(
    part: bytes, instead: bytes, open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:  # fmt: skip
    await fill(container)
    services = open_behind_proxies()
    await request(services, container)

    async def show_another(asked: Request, forward: Forward) -> Response:
        response = await forward(asked)
        one = rb"(part-004\.csv/.*?)" + part
        body = re.sub(one, rb"\g<1>" + instead, await response.read(), count=1, flags=re.DOTALL)
        return make_response(200, "OK", Headers([("Content-Type", "application/xml")]), body)

    blob_proxy.add(Rule(show_another, target=re.compile("^/backup/.*include=copy")))
    outcome = await reader.deliver_one(services)
    assert outcome is not None
    assert outcome.copied == BLOBS - 1
    assert ["part-004" in failure.version.name for failure in outcome.failures] == [True]


async def test_a_page_that_is_lost_costs_calls_and_no_backup(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await fill(container)
    services = open_behind_proxies()
    await request(services, container)
    blob_proxy.add(Rule(answer(400, "InvalidUri"), target=re.compile("^/source/.*include=copy")))
    [outcome] = await reader.drain(services)
    assert (outcome.copied, outcome.failures) == (BLOBS, [])
    assert await assert_protected(container, backups) == BLOBS

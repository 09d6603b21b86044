"""`reconcile` records which blobs were deleted, between which moments, and never one that is there."""

import contextlib
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import uuid4

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobLeaseClient, BlobServiceClient, ContainerClient

from local.gateway.messages import Headers, Request, Response, make_response
from shared.containers import STATE_CONTAINER
from shared.decisions.deletions import Back, Deletion, Gone, fold
from shared.decisions.names import refusal
from shared.errors import SnapkeepError, StorageFailed
from shared.model import second_of
from shared.operations import deletions, missing
from shared.operations.deletions import DeletionRecords
from shared.operations.missing import LEFT_TO_SEE
from shared.operations.reconcile import CHECKPOINT, reconcile
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import Action, FaultProxy, Forward, Rule, answer, pages_of
from tests.names import HARD_NAMES
from tests.protection import backup_names, entries
from tests.queue_reader import QueueReader
from tests.sweep import FaultAt, Kind

OUT_OF_TIME = 1e9


@pytest.fixture(autouse=True)
async def no_checkpoint(services: Services) -> None:
    """A run that a failed test left unfinished is not gone on with here."""
    await services.state.delete(CHECKPOINT)


@pytest.fixture
async def behind(open_behind_proxies: OpenServices) -> Services:
    return open_behind_proxies()


async def run(services: Services, elapsed: float = 0.0) -> dict[str, Any]:
    """The report's part of the one container that the settings let it see."""
    report = await reconcile(services, elapsed=lambda: elapsed)
    [part] = report["containers"]
    found: dict[str, Any] = part
    return found


async def protect_all(services: Services, reader: QueueReader) -> None:
    """Snapshots and backs up all that there is."""
    await run(services)
    await reader.drain(services)


async def recorded(services: Services, container: ContainerClient) -> dict[str, list[Deletion]]:
    gone: list[Gone] = []
    back: list[Back] = []

    def take(more_gone: list[Gone], more_back: list[Back]) -> None:
        gone.extend(more_gone)
        back.extend(more_back)

    await DeletionRecords(services.state, container.container_name).read(take)
    return fold(gone, back)


async def upload(container: ContainerClient, *names: str) -> None:
    for name in names:
        await container.upload_blob(name, b"x", overwrite=True)


async def delete(container: ContainerClient, *names: str) -> None:
    for name in names:
        await container.delete_blob(name, delete_snapshots="include")


def back_again(times: dict[str, list[Deletion]]) -> dict[str, bool]:
    """Whether each name is back. The last deletion counts: a blob that was missed in the very second in which it was
    written is missed once more."""
    return {name: deletions_of[-1].back_by is not None for name, deletions_of in times.items()}


def heads(proxy: FaultProxy, container: ContainerClient) -> int:
    return proxy.count(method="HEAD", target=f"/source/{container.container_name}/")


def source_listing(container: ContainerClient) -> re.Pattern[str]:
    return re.compile(rf"/source/{container.container_name}\?.*comp=list")


def dated(moment: datetime | None) -> Action:
    """The answer, as if the service had given it at that moment; None for one that does not say when."""
    line = f"\r\nDate: {format_datetime(moment, usegmt=True)}".encode() if moment else b""

    async def act(request: Request, forward: Forward) -> Response:
        response = await forward(request)
        response.head = re.sub(rb"(?i)\r\ndate:[^\r]*", line, response.head)
        return response

    return act


def look_in(hours: int, proxy: FaultProxy) -> datetime:
    """Has the service answer whoever looks for a blob, or a container, at that distance from now.

    Times have whole seconds. Of a version and an absence in one second it is not known which came last, so that
    it would be looked for once more.
    """
    moment = datetime.now(UTC) + timedelta(hours=hours)
    proxy.add(Rule(dated(moment), method="HEAD"))
    proxy.add(Rule(dated(moment), method="GET", target=re.compile(r"\?restype=container$")))
    return moment


def without(*names: str) -> Action:
    """A page of a listing that has lost these blobs."""

    async def act(request: Request, forward: Forward) -> Response:
        text = (await (await forward(request)).read()).decode()
        for name in names:
            text = re.sub(rf"<Blob><Name>{name}</Name>.*?</Blob>", "", text, flags=re.DOTALL)
        now = format_datetime(datetime.now(UTC), usegmt=True)
        return make_response(200, "OK", Headers([("Content-Type", "application/xml"), ("Date", now)]), text.encode())

    return act


async def test_a_blob_that_is_gone_is_recorded_once_with_the_service_s_times(
    behind: Services, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    await upload(container, "a", "b")
    [modified] = {entry.last_modified for entry in await entries(container) if entry.name == "a"}
    began = datetime.now(UTC) + timedelta(hours=1)
    blob_proxy.add(Rule(dated(began), target=re.compile(rf"{container.container_name}bak\?.*comp=list")))
    await protect_all(behind, reader)
    assert await recorded(behind, container) == {}
    await run(behind)
    blob_proxy.clear()
    await delete(container, "a")
    missed = look_in(7, blob_proxy)

    first = await run(behind)

    assert (first["complete"], first["blobs"]) == (True, 1)
    assert (first["deleted"], first["deleted_in_run"], first["deletions_unconfirmed"]) == (1, 1, 0)
    deletion = Deletion("a", second_of(began), second_of(missed))
    assert second_of(modified) < deletion.last_seen
    assert await recorded(behind, container) == {"a": [deletion]}
    assert heads(blob_proxy, container) == 1

    blob_proxy.clear()
    second = await run(behind)
    assert (second["deleted"], second["deleted_in_run"]) == (1, 0)
    assert heads(blob_proxy, container) == 0
    assert await recorded(behind, container) == {"a": [deletion]}


async def test_a_blob_that_no_listing_ever_saw_was_last_seen_when_it_was_written(
    services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    await upload(container, "a")
    [modified] = {entry.last_modified for entry in await entries(container)}
    await protect_all(services, reader)
    await services.state.delete(f"seen/{container.container_name}.json")
    await delete(container, "a")
    await run(services)
    [deletion] = (await recorded(services, container))["a"]
    assert deletion.last_seen == second_of(modified)


async def test_a_blob_that_is_back_is_recorded_as_back_and_can_be_gone_again(
    behind: Services, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    await upload(container, "a", "stays")
    await protect_all(behind, reader)
    await delete(container, "a")
    missed = look_in(1, blob_proxy)
    await run(behind)
    blob_proxy.clear()

    await upload(container, "a")
    seen = datetime.now(UTC) + timedelta(hours=2)
    blob_proxy.add(Rule(dated(seen), target=source_listing(container)))
    back = await run(behind)
    assert (back["deleted"], back["deleted_in_run"]) == (0, 0)
    [deletion] = (await recorded(behind, container))["a"]
    assert (deletion.first_missed, deletion.back_by) == (second_of(missed), second_of(seen))

    blob_proxy.clear()
    await delete(container, "a")
    missed_again = look_in(3, blob_proxy)
    again = await run(behind)
    assert (again["deleted"], again["deleted_in_run"]) == (1, 1)
    first, second = (await recorded(behind, container))["a"]
    assert (first, second.first_missed) == (deletion, second_of(missed_again))


async def test_a_blob_that_was_written_anew_and_deleted_between_two_runs_is_recorded_twice(
    behind: Services, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    await upload(container, "a")
    await protect_all(behind, reader)
    await delete(container, "a")
    await run(behind)
    await upload(container, "a")
    await run(behind)  # for its backup
    await reader.drain(behind)
    await forget_backs(behind, container)  # as if `protect` alone had seen it
    await delete(container, "a")
    later = look_in(1, blob_proxy)
    found = await run(behind)
    assert (found["deleted"], found["deleted_in_run"]) == (1, 1)
    first, second = (await recorded(behind, container))["a"]
    assert first.back_by == second.last_seen
    assert second.first_missed == second_of(later)


async def forget_backs(services: Services, container: ContainerClient) -> None:
    for name in await services.state.names(f"deletions/{container.container_name}/"):
        document = await services.state.read(name)
        await services.state.write(name, document | {"back": []})


async def test_a_blob_that_a_listing_lost_is_not_gone(
    behind: Services, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    await upload(container, "a", "b", "c")
    await protect_all(behind, reader)
    lossy = blob_proxy.add(Rule(without("b", "c"), target=source_listing(container)))
    found = await run(behind)
    assert (lossy.hits, found["complete"], found["blobs"]) == (1, True, 1)
    assert (found["deleted"], found["deletions_unconfirmed"]) == (0, 0)
    assert await recorded(behind, container) == {}


async def test_a_blob_that_is_written_anew_behind_the_listing_is_not_gone(
    behind: Services, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    await upload(container, "a", "b")
    await protect_all(behind, reader)
    await delete(container, "a")

    async def written_anew(request: Request, forward: Forward) -> Response:
        await upload(container, "a")
        return await forward(request)

    blob_proxy.add(Rule(written_anew, method="HEAD", target=f"{container.container_name}/a", times=1))
    found = await run(behind)
    assert (found["complete"], found["deleted"]) == (True, 0)
    assert await recorded(behind, container) == {}


async def test_of_a_renamed_blob_the_old_name_is_gone(
    services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    await upload(container, "old")
    await protect_all(services, reader)
    await delete(container, "old")
    await upload(container, "new")
    assert (await run(services))["deleted"] == 1
    assert list(await recorded(services, container)) == ["old"]


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "AuthorizationPermissionMismatch"), (409, "BlobUsesCustomerSpecifiedEncryption"), (404, "ResourceNotFound")],
)
async def test_a_blob_that_cannot_be_looked_for_is_not_gone_and_is_looked_for_again(
    status: int,
    code: str,
    behind: Services,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await upload(container, "a", "b")
    await protect_all(behind, reader)
    seen = f"seen/{container.container_name}.json"
    before = await behind.state.read(seen)
    await delete(container, "a")
    blob_proxy.add(Rule(answer(status, code), method="HEAD"))
    blob_proxy.add(Rule(dated(datetime.now(UTC) + timedelta(days=1)), target=re.compile(r"bak\?.*comp=list")))
    found = await run(behind)
    assert (found["deleted"], found["deleted_in_run"], found["deletions_unconfirmed"]) == (0, 0, 1)
    assert code in caplog.text
    assert await recorded(behind, container) == {}
    assert await behind.state.read(seen) == before  # "a" was not there when this listing began
    blob_proxy.clear()
    found = await run(behind)
    assert (found["deleted"], found["deletions_unconfirmed"]) == (1, 0)
    [deletion] = (await recorded(behind, container))["a"]
    assert deletion.last_seen <= before["listed_from"]


async def test_an_outage_ends_the_looking_and_leaves_the_rest_to_the_next_run(
    behind: Services,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(missing, "MAX_OUTAGES", 1)
    names = [f"{number:02}" for number in range(40)]
    await upload(container, *names, "stays")
    await protect_all(behind, reader)
    await delete(container, *names)
    outage = blob_proxy.add(Rule(answer(400, "OutOfRangeInput"), method="HEAD", times=1))
    outage.action = answer(501, "NotImplemented")  # a failure of the service that is not tried again
    found = await run(behind)
    assert found["deletions_unconfirmed"] > 0
    assert found["deleted"] + found["deletions_unconfirmed"] == 40
    blob_proxy.clear()
    assert (await run(behind))["deleted"] == 40


async def test_more_than_one_run_looks_for_are_left_to_the_next_and_counted(
    behind: Services,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(missing, "MAX_CONFIRMED", 3)
    await upload(container, *"abcdefgh")
    await protect_all(behind, reader)
    listed_from = (await behind.state.read(f"seen/{container.container_name}.json"))["listed_from"]
    await delete(container, *"abcdefgh")
    look_in(2, blob_proxy)
    blob_proxy.add(Rule(dated(datetime.now(UTC) + timedelta(hours=1)), target=re.compile(r"bak\?.*comp=list")))
    counts = []
    for _ in range(3):
        found = await run(behind)
        counts.append((found["deleted"], found["deleted_in_run"], found["deletions_unconfirmed"]))
    assert counts == [(3, 3, 5), (6, 3, 2), (8, 2, 0)]
    # Those that were left were missed already by the listings that began an hour later.
    assert all(one.last_seen <= listed_from for [one] in (await recorded(behind, container)).values())


async def test_documents_hold_so_many_names_and_no_more(
    services: Services, container: ContainerClient, reader: QueueReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletions, "MAX_NAMES", 2)
    await upload(container, *"abcde")
    await protect_all(services, reader)
    await delete(container, *"abcde")
    await run(services)
    names = await services.state.names(f"deletions/{container.container_name}/")
    documents = [await services.state.read(name) for name in names]
    assert sorted(len(document["gone"]) for document in documents) == [1, 2, 2]
    assert {document["container"] for document in documents} == {container.container_name}
    assert set(await recorded(services, container)) == set("abcde")
    assert all(re.fullmatch(r"deletions/[^/]+/\d{8}T\d{6}Z-[0-9a-f]{12}-\d\.json", name) for name in names)


async def test_a_container_that_is_gone_takes_all_its_blobs_along_at_one_moment(
    behind: Services,
    source_account: BlobServiceClient,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await upload(container, *"abc")
    await protect_all(behind, reader)
    await delete(container, "a")
    look_in(1, blob_proxy)
    await run(behind)
    await container.delete_container()
    blob_proxy.calls.clear()
    found = await run(behind)
    assert "the source container is gone" in found["error"]
    assert (found["deleted"], found["deleted_in_run"]) == (3, 2)
    assert heads(blob_proxy, container) == 0
    times = await recorded(behind, container)
    assert times["b"][0].first_missed == times["c"][0].first_missed >= times["a"][0].first_missed
    again = await run(behind)
    assert (again["deleted"], again["deleted_in_run"]) == (3, 0)

    blob_proxy.clear()
    seen = datetime.now(UTC) + timedelta(hours=2)
    blob_proxy.add(Rule(dated(seen), target=source_listing(container)))
    anew = await source_account.create_container(container.container_name)
    await upload(anew, "b")
    found = await run(behind)
    assert (found["complete"], found["deleted"]) == (True, 2)
    assert {name for name, [one] in (await recorded(behind, container)).items() if one.back_by} == {"b"}


async def test_a_container_of_which_it_is_not_known_whether_it_is_gone_takes_nothing_along(
    behind: Services, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    await upload(container, "a")
    await protect_all(behind, reader)

    async def without_containers(request: Request, forward: Forward) -> Response:
        text = (await (await forward(request)).read()).decode()
        text = re.sub(r"<Containers>.*</Containers>", "<Containers/>", text, flags=re.DOTALL)
        return make_response(200, "OK", Headers([("Content-Type", "application/xml")]), text.encode())

    hidden = blob_proxy.add(Rule(without_containers, target=re.compile(r"^/source/?\?.*comp=list")))
    refused = blob_proxy.add(
        Rule(answer(403, "AuthorizationFailure"), target=f"/source/{container.container_name}?restype=container")
    )
    assert (await run(behind))["deleted"] == 0
    assert refused.hits == 1
    refused.times = 0
    assert (await run(behind))["deleted"] == 0  # it is there after all
    assert hidden.hits == 2
    assert await recorded(behind, container) == {}


async def test_a_directory_in_a_blob_s_place_is_no_blob(
    services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    await upload(container, "a", "b")
    await protect_all(services, reader)
    await delete(container, "a")
    await container.upload_blob("a", b"", metadata={"hdi_isfolder": "true"})
    assert (await run(services))["deleted"] == 1
    assert list(await recorded(services, container)) == ["a"]


async def test_names_of_every_kind_are_recorded_as_they_are(
    behind: Services, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    services = behind
    look_in(1, blob_proxy)
    names = sorted({name for name in HARD_NAMES.values() if len(name.encode("utf-16-le")) // 2 <= 1024})
    names += ["long/" + "n" * 1000, "é" * 900 + ".csv"]
    await upload(container, *names, "stays")
    # As they are in the account: a client makes slashes of backslashes.
    names = [entry.name for entry in await entries(container) if refusal(entry.name) is None and entry.name != "stays"]
    await protect_all(services, reader)
    assert any(name.startswith(".snapkeep/long/") for name in await backup_names(backups_of(services, container)))
    assert (await run(services))["deleted"] == 0
    await delete(container, *names)
    assert (await run(services))["deleted"] == len(names)
    assert set(await recorded(services, container)) == set(names)
    assert (await run(services))["deleted_in_run"] == 0
    blob_proxy.clear()
    seen = datetime.now(UTC) + timedelta(hours=2)
    blob_proxy.add(Rule(dated(seen), target=source_listing(container)))
    await upload(container, names[0], names[-1])
    assert (await run(services))["deleted"] == len(names) - 2


def backups_of(services: Services, container: ContainerClient) -> ContainerClient:
    return services.backup.account.service.get_container_client(f"{container.container_name}bak")


async def test_what_is_no_version_s_backup_is_never_missed(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    await upload(container, "a")
    await protect_all(services, reader)
    for name in (
        "mirrored.csv",
        "folder/mirrored.csv",
        "gone.csv/20261120T140533Z-0x1.txt",
        f".snapkeep/long/{'0' * 64}/20261120T140533Z-0x1",
        "20261120T140533Z-0x1",
    ):
        await backups.upload_blob(name, b"x")
    found = await run(services)
    assert (found["complete"], found["deleted"], found["deletions_unconfirmed"]) == (True, 0, 0)
    assert await recorded(services, container) == {}


async def test_a_run_of_many_invocations_finds_what_was_deleted(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    names = [f"{number:02}" for number in range(20)]
    await upload(container, *names)
    await protect_all(open_behind_proxies(), reader)
    gone = ["00", "01", "05", "09", "10", "19"]
    await delete(container, *gone)
    blob_proxy.add(Rule(pages_of(5), target=source_listing(container)))
    blob_proxy.calls.clear()
    invocations = 0
    while True:
        services = open_behind_proxies()
        report = await reconcile(services, elapsed=lambda: OUT_OF_TIME)
        invocations += 1
        if report["complete"]:
            break
        assert await recorded(services, container) == {}
        assert LEFT_TO_SEE in await services.state.names(LEFT_TO_SEE)
    assert invocations > 3
    [found] = report["containers"]
    assert (found["blobs"], found["deleted"], found["deleted_in_run"]) == (14, 6, 6)
    assert sorted(await recorded(services, container)) == gone
    assert heads(blob_proxy, container) == 6
    assert await services.state.names(LEFT_TO_SEE) == []


async def test_blobs_that_come_and_go_between_invocations_are_told_apart(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    names = [f"{number:02}" for number in range(12)]
    await upload(container, *names)
    services = open_behind_proxies()
    await protect_all(services, reader)
    await delete(container, "02", "08")
    await run(services)
    blob_proxy.add(Rule(pages_of(8), target=source_listing(container)))
    await upload(container, "02")  # back, and seen by the first invocation
    await delete(container, "03")  # missed by the first invocation, and back before the last
    assert not (await run(services, OUT_OF_TIME))["complete"]
    await upload(container, "03", "00-new")
    await delete(container, "01")  # seen by the first invocation: the next run misses it
    await reader.drain(services)
    for _ in range(20):
        found = await run(services, OUT_OF_TIME)
        if found["complete"]:
            break
    assert found["complete"]
    assert back_again(await recorded(services, container)) == {"02": True, "08": False}
    blob_proxy.clear()
    assert (await run(services))["deleted"] == 2
    assert set(await recorded(services, container)) == {"01", "02", "08"}


@pytest.mark.parametrize("damage", ["missing", "of another run", "no archive"])
async def test_without_what_was_left_to_see_nothing_is_missed_until_the_next_run(
    damage: str,
    behind: Services,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await upload(container, *"abcdefgh")
    await protect_all(behind, reader)
    seen = await behind.state.read(f"seen/{container.container_name}.json")
    await delete(container, "a", "h")
    blob_proxy.add(Rule(pages_of(6), target=source_listing(container)))
    assert not (await run(behind, OUT_OF_TIME))["complete"]
    if damage == "missing":
        await behind.state.delete(LEFT_TO_SEE)
    elif damage == "no archive":
        await behind.state.write(LEFT_TO_SEE, "garbage")
    else:
        checkpoint = await behind.state.read(CHECKPOINT)
        await behind.state.write(CHECKPOINT, checkpoint | {"run_id": "0" * 12})
    blob_proxy.clear()
    found = await run(behind)
    assert (found["complete"], found["deleted"]) == (True, 0)
    assert heads(blob_proxy, container) == 0
    assert await behind.state.read(f"seen/{container.container_name}.json") == seen
    assert (await run(behind))["deleted"] == 2


async def test_nothing_is_gone_as_long_as_its_backups_cannot_be_listed(
    behind: Services, container: ContainerClient, backups: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    await upload(container, "a", "b")
    await protect_all(behind, reader)
    seen = await behind.state.read(f"seen/{container.container_name}.json")
    await delete(container, "a")
    broken = blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), target=f"{container.container_name}bak?"))
    assert not (await run(behind))["complete"]
    broken.times = 0
    await backups.delete_container()
    assert "existed and is gone" in (await run(behind))["error"]
    assert await recorded(behind, container) == {}
    assert await behind.state.read(f"seen/{container.container_name}.json") == seen


async def test_records_that_cannot_be_read_are_an_error_and_keep_no_blob_from_being_protected(
    services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    await upload(container, "a", "b")
    await protect_all(services, reader)
    await delete(container, "a")
    await upload(container, "c")
    document = f"deletions/{container.container_name}/20261120T140533Z-000000000000-0.json"
    await services.state.write(document, {"schema": 2})
    with pytest.raises(StorageFailed, match="not what this release understands"):
        await recorded(services, container)
    found = await run(services)
    assert (found["complete"], found["snapshots_created"], found["backups_requested"]) == (False, 1, 1)
    assert document in found["error"]
    await services.state.delete(document)
    assert (await run(services))["deleted"] == 1


@pytest.mark.parametrize("kind", ["listing", "HEAD"])
async def test_what_the_service_does_not_date_is_not_recorded(
    kind: str, behind: Services, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    await upload(container, "a", "b", "c")
    await protect_all(behind, reader)
    await delete(container, "a")
    await run(behind)
    seen = await behind.state.read(f"seen/{container.container_name}.json")
    await delete(container, "b")
    await upload(container, "a")
    target = "HEAD" if kind == "HEAD" else "GET"
    blob_proxy.add(Rule(dated(None), method=target, target=container.container_name))
    found = await run(behind)
    blob_proxy.clear()
    times = await recorded(behind, container)
    if kind == "HEAD":
        assert (found["deleted"], found["deletions_unconfirmed"]) == (0, 1)
        assert back_again(times) == {"a": True}
    else:
        assert (found["deleted"], found["deletions_unconfirmed"]) == (2, 0)
        assert back_again(times) == {"a": False, "b": False}
    assert await behind.state.read(f"seen/{container.container_name}.json") == seen
    assert (await run(behind))["deleted"] == 1
    assert back_again(await recorded(behind, container)) == {"a": True, "b": False}


@pytest.mark.parametrize("kind", [Kind.REFUSED, Kind.CRASH])
async def test_whatever_call_fails_each_deletion_is_recorded_in_the_end_and_only_those(
    kind: Kind,
    open_behind_proxies: OpenServices,
    open_services: OpenServices,
    source_account: BlobServiceClient,
    backup_account: BlobServiceClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    number = 0
    while True:
        number += 1
        blob_proxy.clear()
        container = await source_account.create_container(f"swept-{uuid4().hex[:12]}")
        alone = {"SNAPKEEP_INCLUDE_CONTAINERS": container.container_name}
        services = open_services(**alone)
        await services.state.delete(CHECKPOINT)
        await upload(container, "a", "b", "c", "d")
        await protect_all(services, reader)
        await delete(container, "a")
        await run(services)
        before = await recorded(services, container)
        await delete(container, "b", "c")
        await upload(container, "a")
        fault = FaultAt(kind, number)
        fault.stand_before(blob_proxy, target=re.compile(rf"{container.container_name}|checkpoints/"))
        with contextlib.suppress(SnapkeepError):
            await reconcile(open_behind_proxies(**alone), elapsed=lambda: 0.0)
        await reader.drain(services)
        times = await recorded(services, container)
        assert set(times) <= {"a", "b", "c"}, fault.struck
        assert all(len(deletions_of) == 1 for deletions_of in times.values()), fault.struck
        await break_lock(backup_account)
        found = await run(services)
        assert (found["complete"], found["deleted"]) == (True, 2), fault.struck
        after = await recorded(services, container)
        assert back_again(after) == {"a": True, "b": False, "c": False}
        assert after["a"][0].first_missed == before["a"][0].first_missed
        if not fault.struck:
            break
    assert number > 12


async def break_lock(backup_account: BlobServiceClient) -> None:
    """What becomes of a crashed holder's lock by itself within a minute."""
    lock = BlobLeaseClient(backup_account.get_blob_client(STATE_CONTAINER, "locks/reconcile"))
    with contextlib.suppress(HttpResponseError):
        await lock.break_lease(lease_break_period=0)

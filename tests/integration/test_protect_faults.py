"""`protect` while the services fail, blobs change under it, and time runs out: it never says more than is true."""

import asyncio
import gc
import json
import re
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count

import pytest
from azure.storage.blob.aio import ContainerClient

from local.gateway.messages import Headers, Request, Response, make_response
from shared.errors import ContainerNotFound
from shared.operations import protect as protect_operation
from shared.operations.filling import MAX_LOOKS
from shared.operations.protect import MAX_FAILED, Protected, protect
from shared.services import Services
from shared.web import answer as http_answer
from tests.conftest import OpenServices
from tests.fault_proxy import (
    Action,
    FaultProxy,
    Forward,
    Rule,
    answer,
    call_hook,
    cut_body,
    hold,
    lose_answer,
    pages_of,
    reset,
)
from tests.protection import assert_protected, entries, snapshots
from tests.queue_reader import QueueReader
from tests.waiting import until

LISTING = re.compile(r"comp=list")
SNAPSHOT = "comp=snapshot"
MESSAGES = "/messages"


async def run(
    services: Services,
    container: ContainerClient,
    continuation: str | None = None,
    elapsed: Callable[[], float] = lambda: 0.0,
) -> Protected:
    return await protect(services, container.container_name, continuation=continuation, elapsed=elapsed)


async def upload(container: ContainerClient, *names: str) -> None:
    await asyncio.gather(*(container.upload_blob(name, name.encode()) for name in names))


async def in_calls(
    services: Services, container: ContainerClient, between: Callable[[int], Awaitable[None]] | None = None
) -> list[Protected]:
    """One call after another, each with time for a single page, until one is complete."""
    answers: list[Protected] = []
    continuation: str | None = None
    for number in count():
        assert number < 100, "a scan that does not end"
        answers.append(await run(services, container, continuation, elapsed=lambda: 1e6))
        if answers[-1].complete:
            return answers
        continuation = answers[-1].continuation
        assert continuation
        if between is not None:
            await between(number)
    raise AssertionError


async def test_the_request_is_on_the_queue_before_the_snapshot_is_taken(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    queue_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await upload(container, "a", "b", "c")
    seen_at_snapshot: list[int] = []

    async def before(_request: Request) -> None:
        seen_at_snapshot.append(sum(len(message["blobs"]) for message in await reader.requests()))

    blob_proxy.add(Rule(call_hook(before=before), method="PUT", target=SNAPSHOT))
    await run(open_behind_proxies(), container)
    assert seen_at_snapshot == [3, 3, 3]


async def test_no_snapshot_is_taken_of_what_could_not_be_requested(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy, queue_proxy: FaultProxy
) -> None:
    await upload(container, "a", "b")
    rule = queue_proxy.add(Rule(answer(403, "AuthorizationFailure")))
    services = open_behind_proxies()
    failed = await run(services, container)
    assert rule.hits > 0
    assert not failed.complete
    assert failed.error is not None
    assert http_answer(failed).status_code == 502
    body = json.loads(http_answer(failed).get_body())
    assert body["error"]["code"] == "StorageFailed"
    assert (body["complete"], body["requested"], body["snapshots_created"]) == (False, 0, 0)
    assert blob_proxy.count(target=SNAPSHOT) == 0
    queue_proxy.clear()
    assert (await run(services, container)).snapshots_created == 2


async def test_snapshots_are_conditional_on_the_listed_etag_and_carry_no_metadata(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    blob = await container.upload_blob("a", b"1", metadata={"k": "v"})
    etag = (await blob.get_blob_properties()).etag
    sent: list[Headers] = []

    async def before(request: Request) -> None:
        sent.append(request.headers)

    blob_proxy.add(Rule(call_hook(before=before), method="PUT", target=SNAPSHOT))
    await run(open_behind_proxies(), container)
    [headers] = sent
    assert headers.get("if-match") == etag
    assert headers.starting("x-ms-meta") == []
    [snapshot] = await snapshots(container, "a")
    assert (f'"{snapshot.etag}"', snapshot.metadata) == (etag, {"k": "v"})


async def test_a_blob_that_changes_between_list_and_snapshot_is_looked_at_again_in_the_same_run(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await upload(container, "a", "b")

    async def change(_request: Request) -> None:
        await container.upload_blob("a", b"changed", overwrite=True)

    blob_proxy.add(Rule(call_hook(before=change), method="PUT", target=re.compile(r"/a\?comp=snapshot"), times=1))
    services = open_behind_proxies()
    answered = await run(services, container)
    assert (answered.changed, answered.snapshots_created, answered.requested) == (2, 2, 3)
    assert (answered.failed, answered.complete) == ([], True)
    assert (await run(services, container)).changed == 0
    await reader.drain(services)
    assert await assert_protected(container, backups) == 2


async def test_a_blob_that_changes_faster_than_it_is_snapshotted_is_reported_and_the_others_are_done(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    await upload(container, "a", "b")

    async def change(_request: Request) -> None:
        await container.upload_blob("a", b"again", overwrite=True)

    busy = blob_proxy.add(Rule(call_hook(before=change), method="PUT", target=re.compile(r"/a\?comp=snapshot")))
    services = open_behind_proxies()
    answered = await run(services, container)
    assert busy.hits == MAX_LOOKS
    assert [failure["name"] for failure in answered.failed] == ["a"]
    assert answered.snapshots_created == 1
    assert len(await snapshots(container, "b")) == 1
    blob_proxy.clear()
    assert (await run(services, container)).snapshots_created == 1


async def test_a_blob_that_vanishes_after_the_list_is_counted_and_is_no_error(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    await upload(container, "a", "b")

    async def delete(_request: Request) -> None:
        await container.delete_blob("a")

    blob_proxy.add(Rule(call_hook(before=delete), method="PUT", target=re.compile(r"/a\?comp=snapshot"), times=1))
    answered = await run(open_behind_proxies(), container)
    assert (answered.vanished, answered.snapshots_created, answered.failed) == (1, 1, [])
    assert (answered.complete, answered.error) == (True, None)


async def test_a_snapshot_whose_answer_is_lost_does_no_harm(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await upload(container, "a")
    lost = blob_proxy.add(Rule(lose_answer(), method="PUT", target=SNAPSHOT, times=1))
    services = open_behind_proxies()
    assert (await run(services, container)).snapshots_created == 1
    assert lost.hits == 1
    assert len(await snapshots(container, "a")) == 2
    assert (await run(services, container)).changed == 0
    await reader.drain(services)
    assert await assert_protected(container, backups) == 1


async def test_a_message_whose_answer_is_lost_is_sent_again_and_does_no_harm(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    queue_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await upload(container, "a", "b")
    services = open_behind_proxies()
    await reader.create()
    lost = queue_proxy.add(Rule(lose_answer(), method="POST", target=MESSAGES, times=1))
    answered = await run(services, container)
    assert (lost.hits, answered.requested, answered.complete) == (1, 2, True)
    assert await reader.waiting() == 2
    outcomes = await reader.drain(services)
    assert sorted((outcome.copied, outcome.already) for outcome in outcomes) == [(0, 2), (2, 0)]
    assert await assert_protected(container, backups) == 2


@pytest.mark.parametrize(
    "fault", [answer(503, "ServerBusy"), answer(500, "OperationTimedOut"), reset()], ids=["503", "500", "reset"]
)
@pytest.mark.parametrize("call", ["comp=list", SNAPSHOT, MESSAGES])
async def test_a_passing_failure_of_any_call_is_got_over(
    call: str,
    fault: Action,
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    queue_proxy: FaultProxy,
) -> None:
    await upload(container, "a")
    rules = [proxy.add(Rule(fault, target=call, times=1)) for proxy in (blob_proxy, queue_proxy)]
    answered = await run(open_behind_proxies(), container)
    assert sum(rule.hits for rule in rules) == 1
    assert (answered.complete, answered.requested, answered.snapshots_created) == (True, 1, 1)


@pytest.mark.parametrize(("status", "call"), [(503, "comp=list"), (429, "comp=list"), (503, SNAPSHOT), (429, MESSAGES)])
async def test_a_service_that_says_how_long_to_wait_is_not_asked_sooner(
    status: int,
    call: str,
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    blob_proxy: FaultProxy,
    queue_proxy: FaultProxy,
) -> None:
    await upload(container, "a")
    moments: list[float] = []

    async def note(_request: Request) -> None:
        moments.append(asyncio.get_running_loop().time())

    refuse = answer(status, "ServerBusy", retry_after=1)  # of itself, the first wait is shorter than that

    async def refuse_once(request: Request, forward: Forward) -> Response:
        await note(request)
        return await (refuse(request, forward) if len(moments) == 1 else forward(request))

    for proxy in (blob_proxy, queue_proxy):
        proxy.add(Rule(refuse_once, target=call))
    answered = await run(open_behind_proxies(), container)
    assert answered.complete
    assert moments[1] - moments[0] >= 1


async def test_a_page_that_is_cut_midway_is_asked_for_again(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    await upload(container, *(f"{number:02}" for number in range(20)))
    cut = blob_proxy.add(Rule(cut_body(2000), target=LISTING, times=1))
    answered = await run(open_behind_proxies(), container)
    assert cut.hits == 1
    assert blob_proxy.count(target=LISTING) == 2
    assert (answered.scanned, answered.complete) == (20, True)


async def test_a_page_that_is_not_a_whole_listing_ends_the_run_as_incomplete(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    await upload(container, *(f"{number:02}" for number in range(6)))

    async def shorten(request: Request, forward: Forward) -> Response:
        body = await (await forward(request)).read()
        return make_response(200, "OK", Headers([("Content-Type", "application/xml")]), body[: len(body) // 2])

    blob_proxy.add(Rule(shorten, target=LISTING))
    answered = await run(open_behind_proxies(), container)
    assert (answered.scanned, answered.complete) == (0, False)
    assert http_answer(answered).status_code == 502


async def test_an_outage_in_mid_scan_answers_502_with_what_was_done_and_the_next_call_goes_on(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await upload(container, *(f"{number:02}" for number in range(10)))
    blob_proxy.add(Rule(answer(403, "AuthenticationFailed"), target=re.compile(r"comp=list.*marker=")))
    pages = blob_proxy.add(Rule(pages_of(4), target=LISTING))
    services = open_behind_proxies()
    broken = await run(services, container)
    response = http_answer(broken)
    assert (response.status_code, response.mimetype) == (502, "application/json")
    # The last name of a page may go on in the next one, so it is not done yet.
    assert (broken.scanned, broken.snapshots_created, broken.requested, broken.complete) == (3, 3, 3, False)
    assert broken.continuation
    assert pages.hits == 1
    blob_proxy.clear()
    rest = await run(services, container, broken.continuation)
    assert (rest.scanned, rest.snapshots_created, rest.complete) == (7, 7, True)
    await reader.drain(services)
    assert await assert_protected(container, backups) == 10


async def test_a_container_that_is_deleted_in_mid_scan_is_said_to_be_gone(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    await upload(container, *"abcdef")
    gone = answer(404, "ContainerNotFound")
    blob_proxy.add(Rule(gone, target=re.compile(r"comp=list.*marker=")))
    blob_proxy.add(Rule(pages_of(2), target=LISTING))
    with pytest.raises(ContainerNotFound):
        await run(open_behind_proxies(), container)


async def test_calls_that_run_out_of_time_go_on_where_they_were_and_leave_nothing_out(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    names = [f"dir/{number:02}" for number in range(23)]
    await upload(container, *names)
    blob_proxy.add(Rule(pages_of(5), target=LISTING))
    services = open_behind_proxies()
    answers = await in_calls(services, container)
    assert len(answers) == 5
    assert [answer.complete for answer in answers] == [False] * 4 + [True]
    assert all(http_answer(answer).status_code == 202 for answer in answers[:-1])
    assert sum(answer.scanned for answer in answers) == 23
    assert sum(answer.snapshots_created for answer in answers) == 23
    blobs = [blob["name"] for message in await reader.requests() for blob in message["blobs"]]
    assert sorted(blobs) == names
    await reader.drain(services)
    assert await assert_protected(container, backups) == 23


@pytest.mark.parametrize("page_size", [1, 2, 3, 7])
async def test_snapshots_that_straddle_pages_and_calls_hide_no_blob_and_double_none(
    page_size: int, open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    for name, number in (("a", 3), ("b", 0), ("c", 5), ("d", 1), ("e", 2)):
        blob = await container.upload_blob(name, b"0")
        for version in range(number):
            await blob.create_snapshot()
            if version % 2:
                await blob.upload_blob(b"x", overwrite=True)
    newest = {name: [entry.etag for entry in await snapshots(container, name)] for name in "abcde"}
    current = {entry.name: entry.etag for entry in await entries(container) if not entry.snapshot}
    expected = {name for name in current if current[name] not in newest[name]}
    assert expected
    assert expected != set(current)
    blob_proxy.add(Rule(pages_of(page_size), target=LISTING))
    answers = await in_calls(open_behind_proxies(), container)
    assert sum(answer.scanned for answer in answers) == 5
    assert sum(answer.snapshots_created for answer in answers) == len(expected)
    for name in current:
        assert current[name] in {entry.etag for entry in await snapshots(container, name)}


async def test_blobs_that_come_go_and_change_between_calls_leave_no_other_out(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    names = [f"{number:02}" for number in range(16)]
    await upload(container, *names)
    blob_proxy.add(Rule(pages_of(3), target=LISTING))
    services = open_behind_proxies()

    async def disturb(number: int) -> None:
        await container.upload_blob(f"{number * 3:02}-new", b"behind or ahead of the scan")
        await container.upload_blob("15", str(number).encode(), overwrite=True)
        if number == 1:
            await container.delete_blob("10")

    answers = await in_calls(services, container, disturb)
    assert all(answer.failed == [] for answer in answers)
    taken = Counter(entry.name for entry in await entries(container) if entry.snapshot)
    assert {name: taken[name] for name in names if name != "10"} == dict.fromkeys(set(names) - {"10"}, 1)
    assert (await run(services, container)).complete
    found = await entries(container)
    held = {(entry.name, entry.etag) for entry in found if entry.snapshot}
    assert {(entry.name, entry.etag) for entry in found if not entry.snapshot} <= held


async def test_a_scan_that_is_cancelled_has_requested_all_that_it_snapshotted(
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    backups: ContainerClient,
    blob_proxy: FaultProxy,
    reader: QueueReader,
) -> None:
    await upload(container, *(f"{number:02}" for number in range(12)))
    never = asyncio.Event()
    held = blob_proxy.add(Rule(hold(never), method="PUT", target=SNAPSHOT, skip=4))
    services = open_behind_proxies(SNAPKEEP_CONCURRENCY=2)
    task = asyncio.create_task(run(services, container))
    await until(lambda: held.hits == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    blob_proxy.clear()
    again = await run(services, container)
    assert again.complete
    await reader.drain(services)
    assert await assert_protected(container, backups) == 12


async def test_one_blob_that_cannot_be_snapshotted_is_reported_and_the_others_are_done(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    await upload(container, *"abc")
    blob_proxy.add(Rule(answer(409, "SnapshotCountExceeded"), method="PUT", target=re.compile(r"/b\?comp=snapshot")))
    answered = await run(open_behind_proxies(), container)
    [failure] = answered.failed
    assert failure["name"] == "b"
    assert "SnapshotCountExceeded" in failure["reason"]
    assert (answered.snapshots_created, answered.complete) == (2, True)


async def test_an_answer_with_very_many_failures_ends_early_and_is_continued(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    blob_proxy.add(Rule(canned_listing(3, MAX_FAILED // 2 + 10, refused=True), target=LISTING))
    services = open_behind_proxies()
    first = await run(services, container)
    assert (first.complete, len(first.failed)) == (False, MAX_FAILED + 19)  # the last name of a page waits
    rest = await run(services, container, first.continuation)
    assert (rest.complete, first.scanned + rest.scanned) == (True, 3 * (MAX_FAILED // 2 + 10))
    assert blob_proxy.count(method="PUT") == 0


async def test_the_memory_of_a_scan_does_not_grow_with_the_container(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    services = open_behind_proxies()

    async def peak_bytes(pages: int) -> int:
        blob_proxy.clear()
        blob_proxy.add(Rule(canned_listing(pages, 300), target=LISTING))
        gc.collect()
        tracemalloc.start()
        try:
            answered = await run(services, container)
            assert (answered.scanned, answered.changed, answered.complete) == (pages * 300, 0, True)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    await peak_bytes(3)  # what is made once is made now
    few, many = await peak_bytes(4), await peak_bytes(20)
    # 9,600 entries more; kept, they would be some 5 MB.
    assert many - few < 1_000_000


def canned_listing(pages: int, blobs_per_page: int, *, refused: bool = False) -> Action:
    """A listing of blobs that each have a snapshot of their current version, made here page by page."""

    def entry(number: int) -> str:
        name = f"{'../' if refused else ''}folder/blob-{number:09}.csv"
        etag = f"0x8D{number:013X}"
        properties = (
            f"<Properties><Last-Modified>Fri, 20 Nov 2026 14:05:33 GMT</Last-Modified><Etag>{etag}</Etag>"
            "<Content-Length>812</Content-Length><BlobType>BlockBlob</BlobType></Properties><Metadata/>"
        )
        snapshot = "" if refused else f"<Blob><Name>{name}</Name><Snapshot>2026-11-20T15:00:00.0000000Z</Snapshot>"
        return f"{snapshot}{properties + '</Blob>' if snapshot else ''}<Blob><Name>{name}</Name>{properties}</Blob>"

    async def act(request: Request, _forward: Forward) -> Response:
        number = int(request.query.get("marker", "0"))
        entries = "".join(entry(number * blobs_per_page + each) for each in range(blobs_per_page))
        following = str(number + 1) if number + 1 < pages else ""
        body = (
            '<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>'
            f"{entries}</Blobs><NextMarker>{following}</NextMarker></EnumerationResults>"
        )
        return make_response(200, "OK", Headers([("Content-Type", "application/xml")]), body.encode())

    return act


async def test_the_canned_listing_is_what_the_scan_takes_for_one(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    blob_proxy.add(Rule(canned_listing(2, 3), target=LISTING))
    services = open_behind_proxies()
    names: Counter[tuple[str, bool]] = Counter()
    async for page in services.source.pages(container.container_name):
        names.update((entry.name, entry.snapshot is not None) for entry in page.entries)
    assert len(names) == 12
    assert set(names.values()) == {1}


async def test_a_service_that_fails_for_single_blobs_ends_in_502_and_never_in_complete(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy, backups: ContainerClient
) -> None:
    await upload(container, "a", "b", "c")
    blob_proxy.add(Rule(answer(503, "ServerBusy"), method="PUT", target="/b?", times=100))
    done = await run(open_behind_proxies(), container)
    assert (done.complete, done.snapshots_created, [failure["name"] for failure in done.failed]) == (False, 2, ["b"])
    assert http_answer(done).status_code == 502
    blob_proxy.clear()
    again = await run(open_behind_proxies(), container, done.continuation)
    assert (again.complete, again.snapshots_created) == (True, 1)


async def test_the_time_is_looked_at_within_a_page_and_the_next_call_does_the_rest_of_it(
    services: Services, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protect_operation, "FILLED_AT_ONCE", 2)
    await upload(container, *(f"blob-{number}" for number in range(5)))
    answers = await in_calls(services, container)
    assert [answer.snapshots_created for answer in answers] == [2, 2, 1]
    assert sum(entry.snapshot is not None for entry in await entries(container)) == 5

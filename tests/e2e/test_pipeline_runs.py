"""Pipeline runs that fail, are throttled or never end, as the Data Factory stand-in is told to; and with leases."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobLeaseClient

from tests.e2e.app import App, Queue, Ready, until, until_it_is
from tests.e2e.blobs import Pair
from tests.e2e.conftest import Control, NewApp, NewPair, factory_runs, factory_state

THREE = {"a.csv": b"one", "b.csv": b"two" * 1000, "c": b""}


async def runs_of(stack: Ready, pair: Pair) -> list[dict[str, Any]]:
    """The runs that were started for a container, in their order."""
    return [run for run in await factory_runs(stack) if run["parameters"]["container"] == pair.name]


async def until_a_copy_is_held(stack: Ready) -> None:
    async def held() -> bool:
        return bool((await factory_state(stack))["held_copies"])

    await until_it_is(held, "a copy")


@pytest.fixture
async def queue(stack: Ready, app: App) -> AsyncIterator[Queue]:
    async with Queue(stack["queue"], app) as opened:
        yield opened


@pytest.fixture(scope="module")
def app(stack: Ready, folder: Path, work: Path) -> Iterator[App]:
    """An app that copies with Data Factory alone, and gives a run two seconds."""
    settings = {"SNAPKEEP_ENGINE": "adf", "SNAPKEEP_ADF_POLL_SECONDS": "0.4", "SNAPKEEP_ADF_DEADLINE_MINUTES": "0.03"}
    one = App(stack, folder, work, visibility_seconds=600, settings=settings)
    try:
        one.start()
        yield one
    finally:
        one.stop()


async def test_a_run_that_fails_is_made_up_for_by_another(
    stack: Ready, app: App, queue: Queue, new_pair: NewPair, control: Control
) -> None:
    pair = await new_pair(THREE)
    await control("fail-runs", count=1)
    await app.protect(pair.name)
    await queue.drained()
    assert [run["status"] for run in await runs_of(stack, pair)] == ["Failed", "Succeeded"]
    assert await pair.problems() == []


async def test_runs_that_fail_five_times_end_in_the_poison_queue_with_the_reason(
    stack: Ready, app: App, queue: Queue, new_pair: NewPair, control: Control
) -> None:
    pair = await new_pair({"a.csv": b"one"})
    await control("fail-runs", count=5, message="The integration runtime is offline.")
    await app.protect(pair.name)
    poisoned = json.loads(await queue.poisoned(pair.name))
    await queue.drained()
    assert "The integration runtime is offline." in poisoned["reason"]
    assert len(await runs_of(stack, pair)) == 5
    await queue.put(poisoned | {"attempt": 1})
    await queue.drained()
    assert await pair.problems() == []


async def test_a_throttled_start_is_repeated_when_the_factory_asks_for_it(
    stack: Ready, app: App, queue: Queue, new_pair: NewPair, control: Control
) -> None:
    pair = await new_pair(THREE)
    await control("throttle-create-run", count=2, retry_after_seconds=1)
    await app.protect(pair.name)
    await queue.drained()
    assert (await factory_state(stack))["throttled_create_runs"] == 0
    assert len(await runs_of(stack, pair)) == 1
    assert await pair.problems() == []


async def test_a_run_that_never_ends_is_cancelled_at_its_deadline_and_made_up_for(
    stack: Ready, app: App, queue: Queue, new_pair: NewPair, control: Control
) -> None:
    pair = await new_pair(THREE)
    await control("hold-copies", point="before_commit")
    logged = len(app.log)
    await app.protect(pair.name)
    await until(lambda: "not ended after" in app.log[logged:], "the deadline")
    await control("release-copies")
    await queue.drained()
    runs = await runs_of(stack, pair)
    assert runs[0]["status"] == "Cancelled"
    assert runs[-1]["status"] == "Succeeded"
    assert await pair.problems() == []


async def test_a_run_that_history_forgets_is_made_up_for(
    stack: Ready, app: App, queue: Queue, new_pair: NewPair, control: Control
) -> None:
    pair = await new_pair(THREE)
    await control("hold-runs")
    await app.protect(pair.name)

    async def started() -> bool:
        return bool(await runs_of(stack, pair))

    await until_it_is(started, "a run")
    await control("forget-run", run_id=(await runs_of(stack, pair))[0]["run_id"])
    await control("release-runs")
    await queue.drained()
    assert await pair.problems() == []


async def test_a_source_that_changes_under_the_copy_leaves_no_wrong_backup(
    stack: Ready, app: App, queue: Queue, new_pair: NewPair, control: Control
) -> None:
    pair = await new_pair({"a.csv": b"before", "b.csv": b"stays"})
    await control("hold-copies", point="before_reading", source="a.csv")
    await app.protect(pair.name)
    await until_a_copy_is_held(stack)
    await pair.write({"a.csv": b"after!"})  # of the same size
    await control("release-copies")
    await queue.drained()
    await app.protect(pair.name)
    await queue.drained()
    assert await pair.problems() == []


async def test_with_leases_writers_wait_and_a_lease_of_somebody_elses_is_never_broken(
    stack: Ready, new_app: NewApp, new_pair: NewPair, control: Control
) -> None:
    pair = await new_pair({"free.csv": b"one", "leased.csv": b"two"})
    theirs = BlobLeaseClient(pair.source.get_blob_client("leased.csv"))
    await theirs.acquire(lease_duration=-1)
    free = pair.source.get_blob_client("free.csv")
    app = new_app(
        SNAPKEEP_ENGINE="adf",
        SNAPKEEP_USE_LEASE="true",
        SNAPKEEP_ADF_POLL_SECONDS="0.1",
        SNAPKEEP_RETRY_DELAY_SECONDS="1",
    )
    async with Queue(stack["queue"], app) as queue:
        await app.start_beside()
        await control("hold-copies", point="before_commit", source="free.csv")
        await app.protect(pair.name)
        await until_a_copy_is_held(stack)
        # Writers are locked out while the copy is under way, readers are not.
        with pytest.raises(HttpResponseError) as refused:
            await free.upload_blob(b"other", overwrite=True)
        assert refused.value.status_code == 412
        assert await (await free.download_blob()).readall() == b"one"
        await control("release-copies")

        await until(lambda: f"backup {pair.name}:" in app.log, "the end of the first attempt")
        assert "somebody else holds" in app.log
        await theirs.renew()  # it is still theirs
        assert (await free.get_blob_properties()).lease.state == "available"
        problems = await pair.problems()
        assert len(problems) == 1
        assert "leased.csv" in problems[0]
        assert "0 backups" in problems[0]

        await theirs.release()
        await queue.drained()
    assert await pair.problems() == []
    for name in ("free.csv", "leased.csv"):
        assert (await pair.source.get_blob_client(name).get_blob_properties()).lease.state == "available"

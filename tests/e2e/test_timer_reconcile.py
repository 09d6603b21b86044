"""`reconcile` by its timer and by hand: it fills in what was missed, reports it, and runs once at a time."""

import asyncio
from typing import Any
from uuid import uuid4

from tests.e2e.app import App, Queue, Ready, state_document, until, until_it_is
from tests.e2e.blobs import Pair
from tests.e2e.conftest import NewApp, NewPair
from tests.fault_proxy import FaultProxy, Rule, hold

LATEST = "reports/latest.json"


async def report_after(stack: Ready, earlier: Any) -> dict[str, Any]:
    """The latest report, as soon as it is another than `earlier`."""

    async def there() -> bool:
        return await state_document(stack, LATEST) not in (None, earlier)

    await until_it_is(there, "a report")
    return dict(await state_document(stack, LATEST))


async def reconciled(stack: Ready, app: App) -> dict[str, Any]:
    """The report of a run that an administrator starts."""
    earlier = await state_document(stack, LATEST)
    await app.start_by_hand("reconcile")
    return await report_after(stack, earlier)


def part(report: dict[str, Any], pair: Pair) -> dict[str, Any]:
    """What a report says of one container, as far as these tests can foretell it."""
    found = next(each for each in report["containers"] if each["container"] == pair.name)
    names = ("blobs", "versions", "protected", "snapshots_created", "backups_requested", "complete", "error")
    return {name: found[name] for name in names}


async def test_what_nobody_announced_is_found_filled_in_and_reported(
    stack: Ready, new_app: NewApp, new_pair: NewPair
) -> None:
    mark = f"rec-{uuid4().hex[:8]}"
    # One that nobody announced; one where backups were missed of a current and of an older version.
    fresh = await new_pair({"a.csv": b"one", "b/b.csv": b"two"}, f"{mark}-fresh")
    missed = await new_pair({"c.csv": b"older", "d.csv": b"three"}, f"{mark}-missed")
    for name in ("c.csv", "d.csv"):
        await missed.source.get_blob_client(name).create_snapshot()
    await missed.write({"c.csv": b"newer"})
    app = new_app(SNAPKEEP_ENGINE="server", SNAPKEEP_INCLUDE_CONTAINERS=f"{mark}-*")
    async with Queue(stack["queue"], app) as queue:
        await app.start_beside()
        report = await reconciled(stack, app)
        counts = {"protected": 0, "complete": True, "error": None}
        expected = {"blobs": 2, "versions": 2, "snapshots_created": 2, "backups_requested": 2}
        assert part(report, fresh) == expected | counts
        expected = {"blobs": 2, "versions": 3, "snapshots_created": 1, "backups_requested": 3}
        assert part(report, missed) == expected | counts
        assert report["complete"] is True
        await queue.drained()
        assert await fresh.problems() + await missed.problems() == []

        again = await reconciled(stack, app)
        assert again["totals"]["protected"] == again["totals"]["versions"] == 5
        assert again["totals"]["snapshots_created"] == again["totals"]["backups_requested"] == 0
        name = f"reports/reconcile-{again['finished_at'].translate({45: None, 58: None})}-{again['run_id']}.json"
        assert await state_document(stack, name) == again
        assert await queue.length() == 0


async def test_the_timer_reconciles_and_a_second_run_says_so_and_does_nothing(
    stack: Ready, new_app: NewApp, new_pair: NewPair
) -> None:
    pair = await new_pair({"a.csv": b"one", "b.csv": b"two"}, f"rec-{uuid4().hex[:8]}")
    async with FaultProxy(pair.source.url.rpartition("/source/")[0]) as proxy:
        let_go = asyncio.Event()
        held = proxy.add(Rule(hold(let_go), method="GET", target="comp=list", times=1))
        services = {name: proxy.in_place_of(stack[name], "Blob") for name in ("source", "backup")}
        settings = {"SNAPKEEP_RECONCILE_SCHEDULE": "*/2 * * * * *", "SNAPKEEP_INCLUDE_CONTAINERS": pair.name}
        app = new_app(stack | services, SNAPKEEP_ENGINE="server", **settings)
        earlier = await state_document(stack, LATEST)
        async with Queue(stack["queue"], app) as queue:
            await app.start_beside()
            await until(lambda: held.hits == 1, "the timer")
            assert "timer: schedule" in app.log
            await app.start_by_hand("reconcile")
            await until(lambda: "another instance runs reconcile now; nothing was done here" in app.log, "the refusal")
            assert await state_document(stack, LATEST) == earlier
            let_go.set()
            report = await report_after(stack, earlier)
            assert part(report, pair)["backups_requested"] == 2
            await queue.drained()
        app.host.stop()
    assert await pair.problems() == []

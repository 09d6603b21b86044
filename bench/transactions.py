"""Storage calls per million blobs, job by job, as the gateway counts them; for both engines and a plain script.

Each job is done for two numbers of blobs. The difference says what one more blob costs; what a run costs whatever
the number of blobs falls out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench import cost, ours, plain
from bench.calls import CALLS, Calls, Job, by_operation, slope
from bench.case import Case, Plan
from bench.counting import CountingProxy
from bench.ground import QUEUE, Ground, ground
from bench.measure import expect
from shared.containers import backup_container

SERVER, FACTORY, SCRIPT = "Snapkeep, engine server", "Snapkeep, engine adf", "plain script"
PROTECT_NEW, BACK_UP, PROTECT_UNCHANGED, RECONCILE = (
    "protect new blobs",
    "back them up",
    "protect, nothing changed",
    "reconcile, nothing changed",
)


async def measure(plan: Plan) -> str:
    jobs = []
    for approach, size in ((SERVER, "blobs"), (FACTORY, "factory_blobs"), (SCRIPT, "blobs")):
        few, many = plan.sizes[size], 2 * plan.sizes[size]
        counts = [await _count(approach, blobs, plan) for blobs in (few, many)]
        jobs += [Job(approach, job, slope(counts[0][job], counts[1][job], many - few)) for job in counts[0]]
    calls = Calls(tuple(jobs))
    if plan.writes:
        CALLS.write_text(calls.to_json())
        cost.write_page(calls)
    return (
        f"Counted by the gateway and a proxy before the queue, on {plan.sizes['blobs']:,} and twice as many blobs "
        f"({plan.sizes['factory_blobs']:,} with Data Factory); `docs/cost.md` has what they cost.\n\n{calls.table()}"
    )


async def _count(approach: str, blobs: int, plan: Plan) -> dict[str, dict[str, int]]:
    """What each job makes of calls for so many blobs."""
    plan.say(f"{approach}: {blobs:,} blobs")
    async with ground() as azurite, CountingProxy(azurite.queue, "Queue") as queues:
        await azurite.make_queue()
        await azurite.fill(azurite.source, "raw", blobs)
        steps = _script(azurite, queues, blobs) if approach == SCRIPT else _snapkeep(azurite, queues, blobs, approach)
        if approach == SCRIPT:
            await azurite.fill(azurite.backup, plain.backup_container("raw"), 0)
        counter = _Counter(azurite, queues)
        return {name: await counter.count(step) for name, step in steps.items()}


Step = Callable[[], Awaitable[dict[str, int]]]
"""Does a job; gives what it knows of besides the calls that were counted."""


@dataclass(frozen=True)
class _Counter:
    azurite: Ground
    queues: CountingProxy

    async def count(self, step: Step) -> dict[str, int]:
        async with aiohttp.ClientSession() as session:
            await (await session.post(f"{self.azurite.gateway}/reset")).read()
            self.queues.transactions.reset()
            known = await step()
            async with session.post(f"{self.azurite.gateway}/reset") as answer:
                counted = by_operation(await answer.json())
        counted = {**counted, **by_operation(self.queues.transactions.counts())}
        return {key: counted.get(key, 0) + known.get(key, 0) for key in {*counted, *known}}


def _snapkeep(azurite: Ground, queues: CountingProxy, blobs: int, approach: str) -> dict[str, Step]:
    settings: dict[str, object] = {"SNAPKEEP_BACKUP_QUEUE": QUEUE, "SNAPKEEP_RECONCILE_BUDGET_SECONDS": 36_000}
    if approach == FACTORY:
        settings |= {**ours.LOCAL_FACTORY, "SNAPKEEP_ENGINE": "adf", "SNAPKEEP_ADF_ENDPOINT": azurite.factory}
    accounts = (azurite.gateway_source, azurite.gateway_backup, queues.before(azurite.gateway_backup))

    async def protect(changed: int) -> dict[str, int]:
        async with ours.open_services(*accounts, **settings) as services:
            expect(await ours.protect(services, "raw"), changed, "blobs protected")
        return {}

    async def back_up() -> dict[str, int]:
        async with ours.open_services(*accounts, **settings) as services:
            drained = await ours.drain(services, azurite.queue)
        expect(len(await ours.entries(azurite.backup, backup_container("raw"))), blobs, "versions backed up")
        # What the Functions host does with a message, which speaks to the queue itself: it takes and deletes it.
        return {"queue": 2 * drained.messages, **await _factory_work(azurite)}

    async def reconcile() -> dict[str, int]:
        async with ours.open_services(*accounts, **settings) as services:
            report = await ours.reconcile(services)
        expect(report["totals"]["protected"], blobs, "versions that reconcile found protected")
        return {}

    return {
        PROTECT_NEW: lambda: protect(blobs),
        BACK_UP: back_up,
        PROTECT_UNCHANGED: lambda: protect(0),
        RECONCILE: reconcile,
    }


async def _factory_work(azurite: Ground) -> dict[str, int]:
    """What the Data Factory stand-in ran: activities, and the copies among them."""
    async with aiohttp.ClientSession() as session, session.get(f"{azurite.factory}/standin/runs") as answer:
        ran: dict[str, list[dict[str, Any]]] = await answer.json()
    activities = [activity for run in ran["runs"] for activity in run["activities"]]
    copies = sum(activity["type"] == "Copy" for activity in activities)
    return {"activity_runs": len(activities), "copies": copies} if activities else {}


def _script(azurite: Ground, queues: CountingProxy, blobs: int) -> dict[str, Step]:
    queue = queues.before(azurite.queue)

    async def protect(changed: int) -> dict[str, int]:
        loop = asyncio.to_thread(plain.protect, azurite.gateway_source, queue, QUEUE, "raw")
        expect(await loop, changed, "blobs protected")
        return {}

    async def back_up() -> dict[str, int]:
        loop = asyncio.to_thread(plain.back_up, azurite.gateway_source, azurite.gateway_backup, queue, QUEUE)
        expect(await loop, blobs, "blobs copied")
        return {}

    async def reconcile() -> dict[str, int]:
        loop = asyncio.to_thread(plain.reconcile, azurite.gateway_source, azurite.gateway_backup, "raw")
        expect(await loop, 0, "blobs without a copy")
        return {}

    return {
        PROTECT_NEW: lambda: protect(blobs),
        BACK_UP: back_up,
        PROTECT_UNCHANGED: lambda: protect(0),
        RECONCILE: reconcile,
    }


CASE = Case(
    "transactions",
    "Storage calls per million blobs",
    {"blobs": 5_000, "factory_blobs": 1_000},
    {"blobs": 500, "factory_blobs": 100},
    measure,
)

"""Storage calls per million blobs, job by job, as the gateway counts them; for both engines and a plain script.

Azurite's own pages are counted, not the gateway's, which end with a whole name and are a little shorter.

Each job is done for two numbers of blobs. The difference says what one more blob costs; what a run costs whatever
the number of blobs falls out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench import cost, ours, plain
from bench.calls import CALLS, Calls, Job, added, slope, total
from bench.canned_pages import PAGE_ENTRIES
from bench.case import Case, Plan
from bench.counting import CountingProxy
from bench.ground import QUEUE, Ground, ground
from bench.measure import expect
from shared.containers import backup_container
from shared.services import Services

SNAPKEEP, SCRIPT = "Snapkeep", "plain script"
CONTAINER = "raw"
_SCRIPT_PAGE = 500
PROTECT_NEW, BACK_UP, BACK_UP_BY_FACTORY, PROTECT_UNCHANGED, RECONCILE = (
    "protect, all blobs new",
    "back up, engine `server`",
    "back up, engine `adf`",
    "protect, nothing changed",
    "reconcile, nothing changed",
)

Step = Callable[[], Awaitable[dict[str, int]]]
"""Does a job; gives what it knows of besides the calls that were counted."""


async def measure(plan: Plan) -> str:
    few, few_by_factory, few_by_script = (plan.sizes[name] for name in ("blobs", "factory_blobs", "script_blobs"))
    ours_found = await _slopes(SNAPKEEP, few, _count_ours, plan)
    script = await _slopes(SCRIPT, few_by_script, _count_script, plan)
    [by_factory] = await _slopes(SNAPKEEP, few_by_factory, _count_factory, plan)
    calls = Calls((*ours_found[:2], by_factory, *ours_found[2:], *script))
    if plan.writes:
        CALLS.write_text(calls.to_json())
        cost.write_page(calls)
    return (
        f"Counted as the gateway does, on {few:,} and twice as many blobs ({few_by_factory:,} by Data Factory, "
        f"{few_by_script:,} by the script), each small enough for one call; `docs/cost.md` has what these calls cost."
        f"\n\n{calls.table()}"
    )


async def _slopes(
    approach: str, few: int, count: Callable[[int], Awaitable[dict[str, dict[str, float]]]], plan: Plan
) -> list[Job]:
    """What each job costs for a million blobs, from its calls for `few` blobs and for twice as many."""
    counts = []
    for blobs in (few, 2 * few):
        plan.say(f"{approach}: {blobs:,} blobs")
        counts.append(await count(blobs))
    return [Job(approach, job, slope(made, counts[1][job], few)) for job, made in counts[0].items()]


async def _count_ours(blobs: int) -> dict[str, dict[str, float]]:
    async with ground() as azurite, _Counter.before(azurite) as counter:
        await azurite.make_queue()
        await azurite.fill(azurite.source, CONTAINER, blobs)
        snapkeep = _Snapkeep(azurite, (counter.source, counter.backup, counter.queue), blobs)
        return {
            PROTECT_NEW: await counter.count(lambda: snapkeep.protect(blobs)),
            BACK_UP: await counter.count(snapkeep.back_up),
            PROTECT_UNCHANGED: await counter.count(lambda: snapkeep.protect(0)),
            RECONCILE: await counter.count(snapkeep.reconcile),
        }


async def _count_script(blobs: int) -> dict[str, dict[str, float]]:
    """By pages of 500 entries, ten of which the service serves as one: a script takes long to do as many as we do."""
    async with ground() as azurite, _Counter.before(azurite) as counter:
        await azurite.make_queue()
        await azurite.fill(azurite.source, CONTAINER, blobs)
        await azurite.fill(azurite.backup, plain.backup_container(CONTAINER), 0)

        async def protect(changed: int) -> dict[str, int]:
            loop = asyncio.to_thread(plain.protect, counter.source, counter.queue, QUEUE, CONTAINER, _SCRIPT_PAGE)
            expect(await loop, changed, "blobs protected")
            return {}

        async def back_up() -> dict[str, int]:
            loop = asyncio.to_thread(plain.back_up, counter.source, counter.backup, counter.queue, QUEUE)
            expect(await loop, blobs, "blobs copied")
            return {}

        async def reconcile() -> dict[str, int]:
            loop = asyncio.to_thread(plain.reconcile, counter.source, counter.backup, CONTAINER, _SCRIPT_PAGE)
            expect(await loop, 0, "blobs without a copy")
            return {}

        counts = {
            PROTECT_NEW: await counter.count(lambda: protect(blobs)),
            "back up, the service's copy": await counter.count(back_up),
            PROTECT_UNCHANGED: await counter.count(lambda: protect(0)),
            "reconcile, a HEAD for each": await counter.count(reconcile),
        }
        return {
            job: {**made, "list": made.get("list", 0) * _SCRIPT_PAGE / PAGE_ENTRIES} for job, made in counts.items()
        }


async def _count_factory(blobs: int) -> dict[str, dict[str, float]]:
    """Through the gateway, which counts: the Data Factory stand-in speaks to storage through it, too."""
    async with ground() as azurite, CountingProxy(azurite.queue, "Queue") as queues, aiohttp.ClientSession() as session:
        await azurite.make_queue()
        await azurite.fill(azurite.source, CONTAINER, blobs)
        accounts = (azurite.gateway_source, azurite.gateway_backup, queues.before(azurite.gateway_backup))
        snapkeep = _Snapkeep(azurite, accounts, blobs)
        await snapkeep.protect(blobs)
        await (await session.post(f"{azurite.gateway}/reset")).read()
        queues.transactions.reset()
        known = await snapkeep.back_up()
        async with session.post(f"{azurite.gateway}/reset") as answer:
            counted = total(await answer.json(), queues.transactions.counts())
        return {BACK_UP_BY_FACTORY: added(counted, known, await _factory_work(azurite))}


@dataclass(frozen=True)
class _Counter:
    """Proxies before Azurite that count, and the connection strings that lead through them."""

    source: str
    backup: str
    queue: str
    proxies: tuple[CountingProxy, CountingProxy]

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, azurite: Ground) -> AsyncIterator[_Counter]:
        async with CountingProxy(azurite.source, "Blob") as blobs, CountingProxy(azurite.queue, "Queue") as queues:
            backup = blobs.before(azurite.backup)
            yield cls(blobs.before(azurite.source), backup, queues.before(backup), (blobs, queues))

    async def count(self, step: Step) -> dict[str, float]:
        for proxy in self.proxies:
            proxy.transactions.reset()
        known = await step()
        return added(total(*(proxy.transactions.counts() for proxy in self.proxies)), known)


@dataclass(frozen=True)
class _Snapkeep:
    """Snapkeep's jobs, with these connection strings of source, backup and queue."""

    azurite: Ground
    accounts: tuple[str, str, str]
    blobs: int

    def _open(self) -> Services:
        settings: dict[str, object] = {"SNAPKEEP_BACKUP_QUEUE": QUEUE, "SNAPKEEP_RECONCILE_BUDGET_SECONDS": 36_000}
        if self.accounts[0] == self.azurite.gateway_source:
            factory = {"SNAPKEEP_ENGINE": "adf", "SNAPKEEP_ADF_ENDPOINT": self.azurite.factory}
            settings |= {**ours.LOCAL_FACTORY, **factory}
        return ours.open_services(*self.accounts, **settings)

    async def protect(self, changed: int) -> dict[str, int]:
        async with self._open() as services:
            expect(await ours.protect(services, CONTAINER), changed, "blobs protected")
        return {}

    async def back_up(self) -> dict[str, int]:
        async with self._open() as services:
            drained = await ours.drain(services, self.azurite.queue)
        copies = await ours.entries(self.azurite.backup, backup_container(CONTAINER))
        expect(len(copies), self.blobs, "versions backed up")
        # What the Functions host does with a message, which speaks to the queue itself: it takes and deletes it.
        return {"queue": 2 * drained.messages}

    async def reconcile(self) -> dict[str, int]:
        async with self._open() as services:
            report = await ours.reconcile(services)
        expect(report["totals"]["protected"], self.blobs, "versions that reconcile found protected")
        return {}


async def _factory_work(azurite: Ground) -> dict[str, int]:
    """What the Data Factory stand-in ran: activities, and the copies among them."""
    async with aiohttp.ClientSession() as session, session.get(f"{azurite.factory}/standin/runs") as answer:
        ran: dict[str, list[dict[str, Any]]] = await answer.json()
    activities = [activity for run in ran["runs"] for activity in run["activities"]]
    copies = sum(activity["type"] == "Copy" for activity in activities)
    return {"activity_runs": len(activities), "copies": copies}


CASE = Case(
    "transactions",
    "Storage calls per million blobs",
    {"blobs": 5_000, "factory_blobs": 700, "script_blobs": 500},
    {"blobs": 200, "factory_blobs": 50, "script_blobs": 200},
    measure,
    in_quick=False,  # it is about no time, and takes one: runs of Data Factory are looked at every 15 s
)

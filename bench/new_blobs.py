"""Protecting new blobs, beside a plain loop of the SDK's client: each is listed, requested and snapshotted."""

from __future__ import annotations

import asyncio

from bench import ours, plain
from bench.case import Case, Plan
from bench.ground import QUEUE, Ground, ground
from bench.measure import Contestant, Usage, contest, expect, measured
from bench.report import CPU_SECONDS, WALL_SECONDS, table


async def measure(plan: Plan) -> str:
    async with ground() as azurite:
        await azurite.make_queue()
        series = await contest(_contestants(azurite, plan.sizes["blobs"]), plan.rounds, plan.say)
    return f"{plan.sizes['blobs']:,} new blobs.\n\n{table(series, (WALL_SECONDS, CPU_SECONDS), 'protects')}"


def _contestants(azurite: Ground, blobs: int) -> list[Contestant]:
    async def run_ours(number: int) -> Usage:
        container = f"new-ours-{number}"
        await azurite.fill(azurite.source, container, blobs)
        async with ours.open_services(
            azurite.source, azurite.backup, azurite.queue, SNAPKEEP_BACKUP_QUEUE=QUEUE
        ) as services:
            usage = await measured(ours.protect(services, container), int)
        expect(usage.done, blobs, "blobs protected")
        await azurite.remove(azurite.source, container)
        return usage

    async def run_plain(number: int) -> Usage:
        container = f"new-plain-{number}"
        await azurite.fill(azurite.source, container, blobs)
        loop = asyncio.to_thread(plain.protect, azurite.source, azurite.queue, QUEUE, container)
        usage = await measured(loop, int)
        expect(usage.done, blobs, "blobs protected")
        await azurite.remove(azurite.source, container)
        return usage

    return [
        Contestant("Snapkeep", "`protect`, as it comes", run_ours),
        Contestant("plain loop", "azure-storage-*, sync: list, then a message and a snapshot each", run_plain),
    ]


CASE = Case("new", "Protecting new blobs", {"blobs": 10_000}, {"blobs": 300}, measure)

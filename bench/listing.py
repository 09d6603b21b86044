"""Listing, the client alone: canned pages, read by Snapkeep, the SDK, rclone, azcopy, and by nobody in particular."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

from bench import ours, plain
from bench.bare import fetch_pages
from bench.canned import CannedServer, canned_server
from bench.canned_pages import PAGE_ENTRIES
from bench.case import Case, Plan
from bench.measure import Contestant, Usage, VoidError, contest, expect, measured
from bench.programs import azcopy_url, run_azcopy, run_rclone
from bench.report import PER_CPU_SECOND, PER_SECOND, Goal, goals, plain_table, table
from local.processes import Child

RCLONE = ("size", "--fast-list", "--json")  # as fast as `lsf -R`, which has more to print
_INCLUDE = "snapshots,metadata"


async def measure(plan: Plan) -> str:
    async with canned_server() as server:
        series = await contest(_contestants(server, plan.sizes["entries"]), plan.rounds, plan.say)
        growth = await _memory(server, plan)
    found, sdk, rclone, azcopy, raw = series
    reached = [
        Goal("entries per second of CPU", PER_CPU_SECOND.median(found), at_least=100_000),
        Goal("times the SDK's list_blobs", PER_CPU_SECOND.advantage(found, sdk), at_least=20),
        Goal("times rclone", PER_CPU_SECOND.advantage(found, rclone), at_least=2),
        Goal("times azcopy", PER_CPU_SECOND.advantage(found, azcopy), at_least=2),
        Goal(f"entries per second as they are transferred ({raw.name})", PER_SECOND.median(raw), at_least=1_000_000),
        Goal("MiB that memory grows", growth[-1][1] - growth[0][1], at_most=30),
    ]
    memory = plain_table(
        ["entries listed", "memory at the end, MiB"], [[f"{entries:,}", f"{mib:.1f}"] for entries, mib in growth]
    )
    return (
        f"{plan.sizes['entries']:,} entries in pages of 5,000 with metadata, half of them snapshots, from a server in "
        f"a process of its own that makes nothing but the pages.\n\n"
        f"{table(series, (PER_CPU_SECOND, PER_SECOND), 'lists')}\n\n{memory}\n\n{goals(reached)}"
    )


def _contestants(server: CannedServer, entries: int) -> list[Contestant]:
    container, calls = f"entries-{entries}", {"list": -(-entries // PAGE_ENTRIES)}

    async def finished(usage: Usage) -> Usage:
        expect(usage.done, entries, "entries listed")
        await server.expect_calls(calls)
        return usage

    async def run_ours(_: int) -> Usage:
        async with ours.open_services(server.text, server.other, server.other) as services:
            return await finished(await measured(ours.list_entries(services, container), int))

    async def run_sdk(_: int) -> Usage:
        work = asyncio.to_thread(plain.list_entries, server.text, container)
        return await finished(await measured(work, int))

    async def run_listing_rclone(_: int) -> Usage:
        arguments = [*RCLONE, f"canned:{container}"]
        program = await run_rclone(arguments, {"canned": server.text}, entries)
        expect(json.loads(program.output)["count"], entries, "entries that rclone lists")
        return await finished(program.usage)

    async def run_listing_azcopy(_: int) -> Usage:
        arguments = ["list", azcopy_url(server.text, container), "--location=Blob", "--machine-readable"]
        program = await run_azcopy(arguments, entries)
        expect(len(re.findall(r"; +Content Length: ", program.output)), entries, "entries that azcopy lists")
        return await finished(program.usage)

    async def run_raw(_: int) -> Usage:
        work = asyncio.to_thread(fetch_pages, server.text, container, _INCLUDE)
        return await finished(await measured(work, lambda answer: answer[1]))

    return [
        Contestant("Snapkeep", "`SourceStorage.pages`, the next page fetched meanwhile", run_ours),
        Contestant("azure-storage-blob", "`list_blobs(include=[snapshots, metadata])`", run_sdk),
        Contestant("rclone", f"`rclone {' '.join(RCLONE)}`", run_listing_rclone),
        Contestant("azcopy", "`azcopy list --machine-readable`", run_listing_azcopy),
        Contestant("transfer alone", "http.client; entries are counted, not read", run_raw),
    ]


async def _memory(server: CannedServer, plan: Plan) -> list[tuple[int, float]]:
    """How much memory a process of its own holds at most when it has listed so many entries."""
    found = []
    for entries in (plan.sizes["memory_from"], plan.sizes["memory_to"]):
        child = await Child.start(
            [sys.executable, "-m", "bench.listing", server.text, server.other, f"entries-{entries}"],
            environment=os.environ,
            stdout=asyncio.subprocess.PIPE,
        )
        output = (await child.stdout.read()).decode()
        if await child.wait():
            raise VoidError("listing in a process of its own failed")
        answer = json.loads(output)
        expect(answer["entries"], entries, "entries listed")
        found.append((entries, answer["mib"]))
        plan.say(f"memory after {entries:,} entries: {answer['mib']:.1f} MiB")
    return found


async def _list_alone(text: str, other: str, container: str) -> int:
    async with ours.open_services(text, other, other) as services:
        return await ours.list_entries(services, container)


def _peak_mib() -> float:
    """The most memory that this process has held. Not getrusage's, which begins with the parent's."""
    [kib] = re.findall(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(kib) / 1024


CASE = Case(
    "listing",
    "Listing, the client alone",
    {"entries": 200_000, "memory_from": 100_000, "memory_to": 10_000_000},
    {"entries": 10_000, "memory_from": 50_000, "memory_to": 500_000},
    measure,
)

if __name__ == "__main__":
    listed = asyncio.run(_list_alone(*sys.argv[1:]))
    print(json.dumps({"entries": listed, "mib": _peak_mib()}))

"""A container in which nothing has changed: protect and reconcile, beside those who look at the same blobs.

rclone and azcopy compare the source with a mirror of the same names: backups have names of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bench import ours, plain
from bench.bare import fetch_pages
from bench.canned_pages import PAGE_ENTRIES
from bench.case import Case, Plan
from bench.counting import CountingProxy
from bench.ground import QUEUE, Ground, ground
from bench.measure import Contestant, Usage, contest, expect, measured
from bench.programs import azcopy_url, run_azcopy, run_rclone
from bench.report import CPU_SECONDS, WALL_SECONDS, Goal, goals, plain_table, table
from shared.containers import backup_container

CONTAINER, MIRROR = "unchanged", "unchanged-mirror"
_COMPARED = (f"/source/{CONTAINER}", f"/backup/{backup_container(CONTAINER)}")
RCLONE = ("check", "--size-only", "--fast-list", "--checkers=32")
AZCOPY = ("--from-to=BlobBlob", "--dry-run", "--recursive")
_ALONE = {
    "SNAPKEEP_BACKUP_QUEUE": QUEUE,
    "SNAPKEEP_INCLUDE_CONTAINERS": CONTAINER,
    # What reconcile proves of the backups besides is no part of comparing listings.
    "SNAPKEEP_VERIFY_SAMPLE_PERCENT": 0,
    "SNAPKEEP_DRILL_BLOBS": 0,
    "SNAPKEEP_RECONCILE_BUDGET_SECONDS": 36_000,
}


@dataclass(frozen=True)
class Accounts:
    """Where a contestant finds the two accounts and the queue: at Azurite, or behind proxies that count."""

    source: str
    backup: str
    queue: str


Work = Callable[[Accounts], Awaitable[Usage]]


@dataclass(frozen=True)
class Way:
    """One way to do the work, and how the table names it."""

    name: str
    settings: str
    work: Work


async def measure(plan: Plan) -> str:
    blobs = plan.sizes["blobs"]
    async with ground() as azurite:
        await _prepare(azurite, blobs, plan.say)
        direct = Accounts(azurite.source, azurite.backup, azurite.queue)
        protects, reconciles = _protect_ways(blobs), _reconcile_ways(blobs)
        protecting = await contest(_contestants(protects, direct), plan.rounds, plan.say)
        reconciling = await contest(_contestants(reconciles, direct), plan.rounds, plan.say)
        counts = {way.name: await _counted(azurite, way) for way in (*protects, *reconciles)}
    found, bare, rclone, azcopy = reconciling
    source_pages, backup_pages = -(-2 * blobs // PAGE_ENTRIES), -(-blobs // PAGE_ENTRIES)
    reached = [
        Goal("calls of protect, of which its list pages are the goal", counts["protect"].total, at_most=source_pages),
        Goal(
            "pages that reconcile lists, of which those of both accounts are the goal",
            counts["reconcile"].listed,
            at_most=source_pages + backup_pages,
        ),
        Goal(
            "times the wall time of fetching the same pages bare", 1 / WALL_SECONDS.advantage(found, bare), at_most=1.15
        ),
        Goal("of rclone check's CPU", 1 / CPU_SECONDS.advantage(found, rclone), at_most=1),
        Goal("of azcopy sync --dry-run's CPU", 1 / CPU_SECONDS.advantage(found, azcopy), at_most=0.1),
    ]
    calls = plain_table(["calls that one run makes", ""], [[name, str(counted)] for name, counted in counts.items()])
    measures = (WALL_SECONDS, CPU_SECONDS)
    return "\n\n".join(
        [
            f"{blobs:,} blobs with one snapshot and one backup each; Azurite in memory, without the gateway.",
            table(protecting, measures, "protect"),
            table(reconciling, measures, "reconcile"),
            calls,
            goals(reached),
        ]
    )


async def _prepare(azurite: Ground, blobs: int, say: Callable[[str], None]) -> None:
    await azurite.make_queue()
    await azurite.fill(azurite.source, CONTAINER, blobs)
    say("filled the source")
    await azurite.fill(azurite.backup, MIRROR, blobs)  # after the source, so that azcopy finds it newer
    say("filled the mirror")
    async with ours.open_services(azurite.source, azurite.backup, azurite.queue, **_ALONE) as services:
        expect(await ours.protect(services, CONTAINER), blobs, "protected")
        say("protected")
        expect((await ours.drain(services, azurite.queue)).copied, blobs, "backed up")
        say("backed up")


def _contestants(ways: Sequence[Way], accounts: Accounts) -> list[Contestant]:
    def runner(work: Work) -> Callable[[int], Awaitable[Usage]]:
        return lambda _round: work(accounts)

    return [Contestant(way.name, way.settings, runner(way.work)) for way in ways]


@dataclass(frozen=True)
class Counted:
    """The calls of one way: by account and type, and the listings of the containers that are compared."""

    calls: dict[str, dict[str, int]]
    listed: int

    @property
    def total(self) -> int:
        return sum(sum(account.values()) for account in self.calls.values())

    def __str__(self) -> str:
        return "; ".join(
            f"{account}: {', '.join(f'{count:,} {operation}' for operation, count in made.items())}"
            for account, made in self.calls.items()
        )


async def _counted(azurite: Ground, way: Way) -> Counted:
    async with CountingProxy(azurite.source, "Blob") as blobs, CountingProxy(azurite.queue, "Queue") as queues:
        proxies = (blobs.before(azurite.source), blobs.before(azurite.backup))
        await way.work(Accounts(*proxies, queues.before(proxies[1])))
        calls = blobs.transactions.counts()
        for account, made in queues.transactions.counts().items():
            calls[account] = calls.get(account, {}) | made
        return Counted(calls, sum(blobs.listed[path] for path in _COMPARED))


def _protect_ways(blobs: int) -> list[Way]:
    async def run_ours(accounts: Accounts) -> Usage:
        async with ours.open_services(accounts.source, accounts.backup, accounts.queue, **_ALONE) as services:
            usage = await measured(ours.protect(services, CONTAINER), int)
        expect(usage.done, 0, "blobs that changed")
        return usage

    async def run_bare(accounts: Accounts) -> Usage:
        fetching = asyncio.to_thread(fetch_pages, accounts.source, CONTAINER, "snapshots,metadata")
        usage = await measured(fetching, lambda answer: answer[1])
        expect(usage.done, 2 * blobs, "entries")
        return usage

    async def run_plain(accounts: Accounts) -> Usage:
        loop = asyncio.to_thread(plain.protect, accounts.source, accounts.queue, QUEUE, CONTAINER)
        usage = await measured(loop, int)
        expect(usage.done, 0, "blobs that changed")
        return usage

    return [
        Way("protect", "as it comes", run_ours),
        Way("pages of the source, bare", "http.client, one after another", run_bare),
        Way("plain loop of protect", "azure-storage-blob, sync: `list_blobs`, compared by ETag", run_plain),
    ]


def _reconcile_ways(blobs: int) -> list[Way]:
    async def run_ours(accounts: Accounts) -> Usage:
        async with ours.open_services(accounts.source, accounts.backup, accounts.queue, **_ALONE) as services:
            usage = await measured(ours.reconcile(services), lambda report: int(report["totals"]["protected"]))
        expect(usage.done, blobs, "versions that reconcile found protected")
        return usage

    def fetch_both(accounts: Accounts) -> int:
        _, source = fetch_pages(accounts.source, CONTAINER, "snapshots,metadata")
        _, backup = fetch_pages(accounts.backup, backup_container(CONTAINER), "")
        return source + backup

    async def run_bare(accounts: Accounts) -> Usage:
        usage = await measured(asyncio.to_thread(fetch_both, accounts), int)
        expect(usage.done, 3 * blobs, "entries")
        return usage

    async def check_with_rclone(accounts: Accounts) -> Usage:
        remotes = {"source": accounts.source, "backup": accounts.backup}
        program = await run_rclone([*RCLONE, f"source:{CONTAINER}", f"backup:{MIRROR}"], remotes, blobs)
        expect(f"{blobs} matching files" in program.errors, True, "rclone found all files to match")
        return program.usage

    async def sync_with_azcopy(accounts: Accounts) -> Usage:
        pair = azcopy_url(accounts.source, CONTAINER), azcopy_url(accounts.backup, MIRROR)
        program = await run_azcopy(["sync", *pair, *AZCOPY], blobs)
        expect("DRYRUN" in program.output, False, "azcopy found something to copy")
        return program.usage

    return [
        Way("reconcile", "as it comes, without proofs", run_ours),
        Way("pages of both accounts, bare", "http.client, one after another", run_bare),
        Way("rclone check", f"`rclone {' '.join(RCLONE)}`, against a mirror, without snapshots", check_with_rclone),
        Way("azcopy sync", f"`azcopy sync {' '.join(AZCOPY)}`, against a mirror, without snapshots", sync_with_azcopy),
    ]


CASE = Case("unchanged", "An unchanged container", {"blobs": 100_000}, {"blobs": 2_500}, measure)

"""Calls that are made for each blob: snapshots, HEADs, messages; the client alone, with latency, and on Azurite."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bench import ours, plain
from bench.bare import Bare
from bench.canned import CannedServer, canned_server
from bench.case import Case, Plan
from bench.ground import QUEUE, Ground, ground, made_up_versions
from bench.measure import Contestant, Series, Usage, contest, expect, measured
from bench.report import CPU_MICROSECONDS, PER_CPU_SECOND, PER_SECOND, Goal, goals, table
from shared.decisions.messages import BackupRequest, encode, request
from shared.model import Version
from shared.parallel import for_each
from shared.services import Services

LATENCY_SECONDS = 0.02
SDK_AT_ONCE = 64
AT_ONCE = 256
AT_ONCE_ON_AZURITE = 64
"""Azurite is no faster with more, and nobody can be."""

CONTAINER = "raw"


@dataclass(frozen=True)
class Subject:
    """One kind of call, and how each contestant makes many of them: given versions of blobs, or messages."""

    name: str
    one_by_one: Callable[[str, Sequence[Version]], None]
    aio: Callable[[str, Sequence[Version]], Awaitable[None]]
    bare: Callable[[Bare, Version], Awaitable[None]]
    ours: Callable[[Services, Sequence[Version]], Awaitable[None]]


def _message(version: Version) -> BackupRequest:
    return request(CONTAINER, [version], "2026-11-20T14:05:33Z")


def _text(version: Version) -> str:
    return b64encode(encode(_message(version))).decode()


SNAPSHOT = Subject(
    "snapshot",
    lambda text, versions: plain.snapshot_each(text, CONTAINER, versions),
    lambda text, versions: plain.snapshot_at_once(text, CONTAINER, versions, SDK_AT_ONCE),
    lambda bare, version: bare.snapshot(CONTAINER, version.name, version.etag),
    lambda services, versions: ours.snapshot_all(services, CONTAINER, versions),
)
HEAD = Subject(
    "head",
    lambda text, versions: plain.head_each(text, CONTAINER, versions),
    lambda text, versions: plain.head_at_once(text, CONTAINER, versions, SDK_AT_ONCE),
    lambda bare, version: bare.head(CONTAINER, version.name),
    lambda services, versions: ours.head_all(services, CONTAINER, versions),
)
MESSAGE = Subject(
    "message",
    lambda text, versions: plain.send_each(text, QUEUE, [_text(version) for version in versions]),
    lambda text, versions: plain.send_at_once(text, QUEUE, [_text(version) for version in versions], SDK_AT_ONCE),
    lambda bare, version: bare.put_message(QUEUE, _text(version)),
    lambda services, versions: ours.send_all(services, [_message(version) for version in versions]),
)


@dataclass(frozen=True)
class Place:
    """Where calls go: to the account of `text`, whose like is `other`, at most so many `at_once`.

    `prepare` gives the versions for so many of them, `check` raises unless they were all made.
    """

    text: str
    other: str
    at_once: int
    prepare: Callable[[int], Awaitable[Sequence[Version]]]
    check: Callable[[int], Awaitable[None]]


async def measure(plan: Plan) -> str:
    sections = []
    async with canned_server() as server:
        for subject in (SNAPSHOT, HEAD, MESSAGE):
            series = await _compare(subject, _canned(server, subject), plan.sizes["calls"], plan.sizes["calls"], plan)
            sections += [f"**{subject.name}, canned answers without latency**", _table(series), _goals_alone(series)]
    async with canned_server(LATENCY_SECONDS) as server:
        for subject in (SNAPSHOT, MESSAGE):
            place = _canned(server, subject)
            series = await _compare(subject, place, plan.sizes["late_calls"], plan.sizes["late_one_by_one"], plan)
            sections += [f"**{subject.name}, canned answers after 20 ms**", _table(series), _goals_late(series)]
    async with ground() as azurite:
        for subject, place in ((SNAPSHOT, _snapshots_on(azurite)), (MESSAGE, _messages_on(azurite))):
            series = await _compare(subject, place, plan.sizes["azurite_calls"], plan.sizes["azurite_calls"], plan)
            sections += [f"**{subject.name}, Azurite in memory**", _table(series), _goals_azurite(series)]
    return "\n\n".join(sections)


async def _compare(subject: Subject, place: Place, calls: int, one_by_one: int, plan: Plan) -> list[Series]:
    plan.say(f"{subject.name} at {place.text.partition('BlobEndpoint=')[2].partition(';')[0]}")
    return await contest(_contestants(subject, place, calls, one_by_one), plan.rounds, plan.say)


def _contestants(subject: Subject, place: Place, calls: int, one_by_one: int) -> list[Contestant]:
    async def timed(count: int, work: Callable[[Sequence[Version]], Awaitable[None]]) -> Usage:
        versions = await place.prepare(count)
        usage = await measured(work(versions), lambda _: count)
        await place.check(count)
        return usage

    async def run_ours(_: int) -> Usage:
        async with ours.open_services(
            place.text, place.other, place.text, SNAPKEEP_CONCURRENCY=place.at_once, SNAPKEEP_BACKUP_QUEUE=QUEUE
        ) as services:
            return await timed(calls, lambda versions: subject.ours(services, versions))

    async def run_bare(_: int) -> Usage:
        async with Bare(place.text, place.at_once) as bare:
            return await timed(
                calls, lambda versions: for_each(versions, lambda each: subject.bare(bare, each), place.at_once)
            )

    async def run_one_by_one(_: int) -> Usage:
        return await timed(one_by_one, lambda versions: asyncio.to_thread(subject.one_by_one, place.text, versions))

    async def run_aio(_: int) -> Usage:
        return await timed(calls, lambda versions: subject.aio(place.text, versions))

    return [
        Contestant("Snapkeep", f"at most {place.at_once} at once", run_ours),
        Contestant("SDK, one by one", "azure-storage-*, sync, one client", run_one_by_one),
        Contestant("SDK, aio", f"azure-storage-*, aio, {SDK_AT_ONCE} at once, one client", run_aio),
        Contestant("aiohttp, bare", f"a SAS and nothing of Azure's, {place.at_once} at once", run_bare),
    ]


def _canned(server: CannedServer, subject: Subject) -> Place:
    async def prepare(count: int) -> Sequence[Version]:
        return made_up_versions(count)

    return Place(server.text, server.other, AT_ONCE, prepare, lambda count: server.expect_calls({subject.name: count}))


def _snapshots_on(azurite: Ground) -> Place:
    """A container that is made anew for each, so that none works on what another left."""

    async def prepare(count: int) -> Sequence[Version]:
        await azurite.remove(azurite.source, CONTAINER)
        await azurite.fill(azurite.source, CONTAINER, count)
        return [entry.version for entry in await ours.entries(azurite.source, CONTAINER)]

    async def check(count: int) -> None:
        entries = await ours.entries(azurite.gateway_source, CONTAINER, "snapshots")
        expect(sum(entry.snapshot is not None for entry in entries), count, "snapshots on Azurite")

    return Place(azurite.source, azurite.backup, AT_ONCE_ON_AZURITE, prepare, check)


def _messages_on(azurite: Ground) -> Place:
    async def prepare(count: int) -> Sequence[Version]:
        async with Bare(azurite.queue) as bare:
            await bare.create_queue(QUEUE)
            await bare.clear(QUEUE)
        return made_up_versions(count)

    async def check(count: int) -> None:
        async with Bare(azurite.queue) as bare:
            found = await bare.messages(QUEUE)
        # Azurite drops idle connections: a message whose answer was lost so is sent again, and may be there twice.
        if not count <= found <= count + max(4, count // 100):
            expect(found, count, "messages in Azurite's queue")

    return Place(azurite.queue, azurite.source, AT_ONCE_ON_AZURITE, prepare, check)


def _table(series: Sequence[Series]) -> str:
    return table(series, (PER_SECOND, CPU_MICROSECONDS))


def _goals_alone(series: Sequence[Series]) -> str:
    found, _, aio, _ = series
    return goals(
        [
            Goal("calls per second of CPU", PER_CPU_SECOND.median(found), at_least=4000),
            Goal("times the SDK's aio client, per second of CPU", PER_CPU_SECOND.advantage(found, aio), at_least=3),
        ]
    )


def _goals_late(series: Sequence[Series]) -> str:
    found, one_by_one, _, _ = series
    return goals([Goal("times the loop that calls one by one", PER_SECOND.advantage(found, one_by_one), at_least=80)])


def _goals_azurite(series: Sequence[Series]) -> str:
    found, _, _, bare = series
    return goals(
        [Goal("of the bare aiohttp client's calls per second", PER_SECOND.advantage(found, bare), at_least=0.85)]
    )


CASE = Case(
    "calls",
    "Calls for each blob",
    {"calls": 10_000, "late_calls": 20_000, "late_one_by_one": 200, "azurite_calls": 2_000},
    {"calls": 400, "late_calls": 1_000, "late_one_by_one": 40, "azurite_calls": 200},
    measure,
)

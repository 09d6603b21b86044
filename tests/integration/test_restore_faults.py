"""Crashes, refusals and lost answers at every external call of a restore: nothing is lost, and the next run ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from shared.adapters import copying_pieces
from shared.decisions.restore_report import DONE
from shared.decisions.restoring import Job, Mode, Place, Step
from shared.errors import SnapkeepError
from shared.operations.protect import protect
from shared.operations.restore import Restorer, restore
from shared.parallel import for_each
from shared.recovery import Recovery
from shared.services import Services
from shared.settings import RecoverySettings
from tests.fault_proxy import FaultProxy
from tests.integration.conftest import endpoint
from tests.protection import content
from tests.queue_reader import QueueReader
from tests.restoring import Kept, Told, assert_same, delete_step, job, keep, restore_step, version_of
from tests.sweep import FaultAt, Kind

CASES_AT_ONCE = 6
HALF = b"12345678" * 64


@dataclass(frozen=True)
class What:
    """A step to be swept.

    Attributes:
        became: what is in place of the blob by now; None where nothing is.
        calls: about how many the step takes when nothing befalls them; with fewer, the sweep has missed some.
    """

    blob_type: str
    place: Place | None
    metadata: Mapping[str, str]
    became: str | None
    calls: int


IN_PLACE = {
    "blocks": What("BlockBlob", Place.BACKUP, {}, "BlockBlob", 9),
    "copied": What("BlockBlob", Place.SNAPSHOT, {"k": "v"}, "BlockBlob", 7),
    "gone": What("BlockBlob", Place.BACKUP, {"k": "v"}, None, 7),
    "log": What("AppendBlob", Place.BACKUP, {"k": "v"}, "AppendBlob", 13),
    "disk": What("PageBlob", Place.BACKUP, {}, "PageBlob", 16),
    "promoted": What("PageBlob", Place.SNAPSHOT, {}, "PageBlob", 8),
    "retyped": What("BlockBlob", Place.BACKUP, {"k": "v"}, "AppendBlob", 10),
    "newer": What("BlockBlob", None, {}, "BlockBlob", 17),
}
INTO_A_CONTAINER = {
    "blocks": What("BlockBlob", Place.BACKUP, {}, None, 6),
    "copied": What("BlockBlob", Place.SNAPSHOT, {"k": "v"}, None, 5),
    "log": What("AppendBlob", Place.BACKUP, {"k": "v"}, None, 10),
    "disk": What("PageBlob", Place.BACKUP, {}, None, 13),
}
TO_A_DIRECTORY = {"file": What("BlockBlob", Place.BACKUP, {}, None, 3)}
SWEPT = [
    (mode, name)
    for mode, all_of in (
        (Mode.IN_PLACE, IN_PLACE),
        (Mode.CONTAINER, INTO_A_CONTAINER),
        (Mode.DIRECTORY, TO_A_DIRECTORY),
    )
    for name in all_of
]


@dataclass
class World:
    """One container, with a blob for each case, and the step that makes it good again."""

    environment: Mapping[str, str]
    recovery: Recovery
    container: ContainerClient
    backups: ContainerClient
    target: ContainerClient
    job: Job
    what: What

    async def a_good_day(self, names: Iterable[str], services: Services, reader: QueueReader) -> None:
        async def make(name: str) -> None:
            whole = f"{name:<512}".encode() + HALF
            tags = {"of": "it"}
            await self.container.upload_blob(
                name, whole, blob_type=self.what.blob_type, metadata=dict(self.what.metadata), tags=tags
            )

        await for_each(names, make, CASES_AT_ONCE)
        await protect(services, self.container.container_name, elapsed=lambda: 0.0)
        await reader.drain(services)

    async def a_bad_day(self, name: str) -> tuple[Step, Kept]:
        """Makes garbage of a blob; gives the step that makes it good again, and what it must be then."""
        blob = self.container.get_blob_client(name)
        wanted = await keep(blob)
        version = await version_of(self.container, name)
        step = await restore_step(self.recovery, self.container, version, [self.what.place] if self.what.place else [])
        if self.job.mode is not Mode.IN_PLACE:
            return step, wanted
        if self.what.became is None:
            await blob.delete_blob(delete_snapshots="include")
            return step, wanted
        bad = f"bad {name:<508}".encode()
        await self.container.upload_blob(name, bad, blob_type=self.what.became, overwrite=True)
        newest = await version_of(self.container, name)
        return (replace(step, replaces=newest.etag) if self.what.place else delete_step(newest)), wanted

    async def versions(self, name: str) -> set[bytes]:
        """The content of each version of a blob that stands anywhere: live, in a snapshot, or in a backup."""
        live = [
            await content(self.container, blob.name, blob.snapshot)
            async for blob in self.container.list_blobs(name_starts_with=name, include=["snapshots"])
        ]
        kept = [
            await content(self.backups, blob.name)
            async for blob in self.backups.list_blobs(name_starts_with=f"{name}/")
        ]
        return {*live, *kept}

    async def carry_out(self, step: Step, fault: FaultAt | None, proxy: FaultProxy) -> None:
        """Does the step through the proxy; whatever comes of it under a fault is fine."""
        settings = RecoverySettings.load(behind(proxy, self.environment))
        if fault is not None:
            fault.stand_before(proxy)
        async with Recovery.open(settings) as recovery:
            with Restorer(recovery, self.job, step.name) as restorer:
                task = asyncio.create_task(restorer.carry_out(step))
                if fault is not None:
                    fault.crash = task.cancel
                with suppress(asyncio.CancelledError):
                    await task

    async def assert_restored(self, name: str, wanted: Kept) -> None:
        if self.job.mode is Mode.DIRECTORY:
            file = Path(self.job.target) / name
            assert await asyncio.to_thread(file.read_bytes) == wanted.content
        elif self.what.place is None:
            assert not await self.container.get_blob_client(name).exists()
        else:
            assert_same(await keep(self.target.get_blob_client(name)), wanted)


def behind(proxy: FaultProxy, environment: Mapping[str, str]) -> dict[str, str]:
    names = ("SourceStorage", "BackupStorage", "AzureWebJobsStorage")
    return {name: proxy.in_place_of(environment[name], "Blob") for name in names} | {"SNAPKEEP_CONCURRENCY": "1"}


@pytest.fixture
async def target(source_account: BlobServiceClient) -> ContainerClient:
    client = source_account.get_container_client(f"restored-{uuid4().hex[:12]}")
    await client.create_container()
    return client


@pytest.mark.parametrize(("mode", "name"), SWEPT)
async def test_whatever_befalls_any_one_call_nothing_is_lost_and_the_next_attempt_ends_it(
    mode: Mode,
    name: str,
    stack: dict[str, str],
    environment: dict[str, str],
    services: Services,
    container: ContainerClient,
    backups: ContainerClient,
    target: ContainerClient,
    reader: QueueReader,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(copying_pieces, "PIECE_BYTES", 512)
    what = {Mode.IN_PLACE: IN_PLACE, Mode.CONTAINER: INTO_A_CONTAINER, Mode.DIRECTORY: TO_A_DIRECTORY}[mode][name]
    into = {Mode.IN_PLACE: container, Mode.CONTAINER: target, Mode.DIRECTORY: target}[mode]
    goes_to = str(tmp_path) if mode is Mode.DIRECTORY else into.container_name
    world = World(environment, Recovery.of(services), container, backups, into, job(container, mode, goes_to), what)
    cases = [(kind, number) for kind in Kind for number in range(1, what.calls + 4)]
    names = {case: f"{name}-{case[0]}-{case[1]:02}" for case in cases}
    await world.a_good_day(names.values(), services, reader)
    struck: dict[Kind, int] = dict.fromkeys(Kind, 0)

    async def one(case: tuple[Kind, int]) -> None:
        blob = names[case]
        step, wanted = await world.a_bad_day(blob)
        before = await world.versions(blob)
        fault = FaultAt(*case)
        async with FaultProxy(endpoint(stack["source"], "Blob")) as proxy:
            await world.carry_out(step, fault, proxy)
        struck[case[0]] += len(fault.struck)
        try:
            assert before - await world.versions(blob) == set()
            with Restorer(world.recovery, world.job, blob) as restorer:
                outcome = await restorer.carry_out(step)
            assert outcome.result in DONE, outcome
            await world.assert_restored(blob, wanted)
            assert before - await world.versions(blob) == set()
        except AssertionError as error:
            error.add_note(f"{case[0]} at call {case[1]}: {fault.struck}")
            raise

    for kind in Kind:
        for first in range(0, len(cases), CASES_AT_ONCE):
            of_kind = [case for case in cases if case[0] is kind][first : first + CASES_AT_ONCE]
            known = struck[kind]
            await for_each(of_kind, one, CASES_AT_ONCE)
            if struck[kind] - known < len(of_kind):
                break  # beyond the last call of an attempt
    for kind in Kind:
        assert what.calls - 1 <= struck[kind] < what.calls + 3, struck


@pytest.mark.parametrize("kind", list(Kind))
async def test_whatever_befalls_any_one_call_of_a_run_the_next_run_ends_it(
    kind: Kind,
    stack: dict[str, str],
    environment: dict[str, str],
    services: Services,
    source_account: BlobServiceClient,
    container: ContainerClient,
) -> None:
    recovery = Recovery.of(services)
    sweep = f"sweep-{uuid4().hex[:8]}"
    for name in ("a", "b"):
        await container.upload_blob(name, name.encode())
    steps = [
        await restore_step(recovery, container, await version_of(container, name), [Place.LIVE]) for name in ("a", "b")
    ]
    struck = 0

    async def one(number: int) -> None:
        nonlocal struck
        what = job(container, Mode.CONTAINER, f"{sweep}-{number:02}")
        fault = FaultAt(kind, number)
        async with FaultProxy(endpoint(stack["source"], "Blob")) as proxy:
            settings = RecoverySettings.load(behind(proxy, environment))
            fault.stand_before(proxy)
            async with Recovery.open(settings) as proxied:
                task = asyncio.create_task(restore(proxied, what, steps, job_id=what.target, progress=Told()))
                fault.crash = task.cancel
                with suppress(asyncio.CancelledError, SnapkeepError):
                    await task
        struck += len(fault.struck)
        report = await restore(recovery, what, steps, job_id=what.target, progress=Told())
        assert report.well, (fault.struck, report.to_json())
        assert sum(report.totals.values()) == 2, fault.struck
        target = source_account.get_container_client(what.target)
        assert {blob.name: await content(target, blob.name) async for blob in target.list_blobs()} == {
            "a": b"a",
            "b": b"b",
        }

    await for_each(range(1, 31), one, CASES_AT_ONCE)
    assert 14 <= struck < 30

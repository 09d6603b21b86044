"""A restore that was killed, stopped or cut off goes on when the command is given again, and loses nothing.

The real command runs behind a proxy that ends it at its writes to storage: at the first and the last of each kind.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from itertools import count
from pathlib import Path

from azure.storage.blob import BlobType
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from local.app_environment import connections
from local.demo.command import end_of_this_second
from tests.e2e.app import App, Queue, Ready
from tests.e2e.blobs import Pair, backups_in
from tests.e2e.command import Ended, Snapkeep
from tests.e2e.conftest import NewPair
from tests.e2e.interruptions import Fate, Point, Wire, points_of
from tests.e2e.picture import Blob, Picture, delete, differences, picture, versions, write

CUT = Point("PUT source blob", 2, Fate.CUT)
"""In the middle of the blobs."""

ELSEWHERE = {
    # Between these and the write before them there is nothing that the command has done.
    "PUT state plan.jsonl.gz",
    "PUT state done.jsonl",
}
REPORT = "report.json"
AT_ONCE = 4
"""So many commands run at the same time: a process takes most of a second to start."""

WRITTEN: Picture = {
    "a.csv": Blob(b"first", {"content_type": "text/csv"}, {"origin": "story"}, {"stage": "raw"}),
    "b/b.csv": Blob(b"second" * 100),
    "c": Blob(b""),
    "d.log": Blob(b"third\n", kind=BlobType.APPENDBLOB),
}
GARBAGE: Picture = {"a.csv": Blob(b"garbage a"), "b/b.csv": Blob(b"garbage b"), "d.log": Blob(b"garbage d")}
DELETED = ("c",)
NEWER: Picture = {"ransom.txt": Blob(b"pay us")}


async def protect(app: App, queue: Queue, pairs: Iterable[Pair]) -> None:
    for pair in pairs:
        await app.protect(pair.name)
    await queue.drained()


class Story:
    """One restore that is interrupted at a point, and run again."""

    def __init__(self, stack: Ready, folder: Path, pair: Pair, point: Point | None, arguments: tuple[str, ...]) -> None:
        self.wire = Wire(stack, point)
        self._stack = stack
        self._folder = folder
        self._pair = pair
        self._point = point
        self._arguments = arguments
        self.waits = point is not None and point.fate is Fate.CUT
        self.journaled: set[str] = set()
        """What the first run had noted as done."""

    async def told(self, target: ContainerClient, wanted: Picture) -> list[str]:
        """What is not as it should be, when it was interrupted and when it has ended."""
        before = await all_versions(self._pair)
        async with self.wire as wire:
            # One call after the other, so that they come in the same order each time.
            settings = connections(wire.services) | {"SNAPKEEP_ENGINE": "server", "SNAPKEEP_CONCURRENCY": "1"}
            snapkeep = Snapkeep(self._folder, settings)
            problems = []
            if self._point is not None:
                problems += await self._interrupted(snapkeep)
                problems += lost(before, await all_versions(self._pair))
            self.journaled = await self._journaled(target.container_name)
            wire.mend()
            written = wire.written.copy()
            problems += exit_problems(await snapkeep.run(*self._arguments, exit_code=None), 0)
            problems += differences(wanted, await picture(target))
            problems += lost(before, await all_versions(self._pair))
            anew = wire.written - written
            problems += [f"{name} was restored once more" for name in self.journaled if path_of(target, name) in anew]
            whole = [name for name, blob in wanted.items() if blob.kind == BlobType.BLOCKBLOB]
            problems += [f"{name} was written twice" for name in whole if wire.written[path_of(target, name)] > 1]
        return problems

    async def _interrupted(self, snapkeep: Snapkeep) -> list[str]:
        assert self._point is not None
        running = await snapkeep.start(*self._arguments)
        ending = asyncio.create_task(running.ended())
        reached = asyncio.create_task(self.wire.reached.wait())
        await asyncio.wait({ending, reached}, return_when=asyncio.FIRST_COMPLETED)
        if not reached.done():
            reached.cancel()
            return [f"it never came to that point: {await ending}"]
        if self._point.fate is Fate.CUT:
            return exit_problems(await ending, 1)
        if self._point.fate is Fate.CTRL_C:
            running.interrupt()
            return exit_problems(await ending, 1)
        running.kill()
        return exit_problems(await ending, -9)

    async def _journaled(self, target: str) -> set[str]:
        """The blobs that the journal has as done."""
        async with ContainerClient.from_connection_string(self._stack["queue"], "snapkeep-state") as state:
            names = [name async for name in state.list_blob_names(name_starts_with="restores/")]
            for name in names:
                folder = name.removesuffix("job.json")
                if name.endswith("/job.json") and json.loads(await read(state, name))["job"]["target"] == target:
                    parts = [part for part in names if part.startswith(f"{folder}done")]
                    lines = b"".join([await read(state, part) for part in parts]).splitlines()
                    return {json.loads(line)["name"] for line in lines}
        return set()


async def read(container: ContainerClient, name: str) -> bytes:
    content: bytes = await (await container.get_blob_client(name).download_blob()).readall()
    return content


async def all_versions(pair: Pair) -> dict[tuple[str, str], bytes]:
    """All versions that stand anywhere: live, as snapshots, or as backups."""
    backups = await backups_in(pair.backups)
    return {key: copies[0].content for key, copies in backups.items()} | await versions(pair.source)


def lost(before: dict[tuple[str, str], bytes], now: dict[tuple[str, str], bytes]) -> list[str]:
    return [f"{key} is lost" for key, content in before.items() if now.get(key) != content]


def path_of(container: ContainerClient, name: str) -> str:
    return f"/{container.account_name}/{container.container_name}/{name}"


def exit_problems(ended: Ended, wanted: int) -> list[str]:
    return [] if ended.exit_code == wanted else [f"exit code {wanted} was to be expected: {ended}"]


async def told_all(stories: dict[str, tuple[Story, ContainerClient]], wanted: Picture) -> dict[str, list[str]]:
    """What is not as it should be with each of the stories, which are told some at a time."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, story: Story, target: ContainerClient) -> tuple[str, list[str]]:
        if story.waits:
            return name, await story.told(target, wanted)  # for a line that stays cut, and takes no processor
        async with places:
            return name, await story.told(target, wanted)

    told = await asyncio.gather(*(one(name, story, target) for name, (story, target) in stories.items()))
    return {name: problems for name, problems in told if problems}


async def test_in_place_it_goes_on_and_neither_the_garbage_nor_the_data_is_lost(
    stack: Ready, app: App, queue: Queue, new_pair: NewPair, tmp_path: Path
) -> None:
    async def ruined(count: int) -> tuple[list[Pair], str]:
        """Containers that were protected before they were ruined, and the last second before that."""
        pairs = [await new_pair() for _ in range(count)]
        await asyncio.gather(*(write(pair.source, WRITTEN) for pair in pairs))
        await protect(app, queue, pairs)
        before = await end_of_this_second()
        await asyncio.gather(*(write(pair.source, GARBAGE | NEWER) for pair in pairs))
        await asyncio.gather(*(delete(pair.source, DELETED) for pair in pairs))
        return pairs, before

    def story(pair: Pair, before: str, point: Point | None) -> Story:
        arguments = ("restore", pair.name, "--in-place", "--at", before, "--delete-newer", "--yes")
        return Story(stack, tmp_path / pair.name, pair, point, arguments)

    [rehearsed], before = await ruined(1)
    rehearsal = story(rehearsed, before, None)
    assert await rehearsal.told(rehearsed.source, WRITTEN) == []
    points = [*(point for point in points_of(rehearsal.wire.kinds) if point.kind not in ELSEWHERE), CUT]
    pairs, before = await ruined(len(points))
    stories = {str(point): (story(pair, before, point), pair.source) for point, pair in zip(points, pairs, strict=True)}
    assert await told_all(stories, WRITTEN) == {}
    assert any(one.journaled for one, _ in stories.values()), "no run was interrupted late enough to try the journal"


async def test_into_a_new_container_it_goes_on_and_writes_nothing_twice(
    stack: Ready, app: App, queue: Queue, new_pair: NewPair, tmp_path: Path, source_account: BlobServiceClient
) -> None:
    pair = await new_pair()
    await write(pair.source, WRITTEN)
    await protect(app, queue, [pair])
    before = await end_of_this_second()
    await write(pair.source, GARBAGE | NEWER)
    numbers = count()

    def story(point: Point | None) -> tuple[Story, ContainerClient]:
        target = f"{pair.name}-{next(numbers)}"
        arguments = ("restore", pair.name, "--to", target, "--at", before, "--yes")
        return Story(stack, tmp_path / target, pair, point, arguments), source_account.get_container_client(target)

    rehearsal, target = story(None)
    assert await rehearsal.told(target, WRITTEN) == []
    # What it writes into the state is the same in place, where it was tried; but for the report: where that
    # stands, the restore has ended, and the command given again finds a container that is full.
    kinds = [point for point in points_of(rehearsal.wire.kinds) if " state " not in point.kind or REPORT in point.kind]
    points = [*kinds, CUT]
    stories = {str(point): story(point) for point in points}
    assert await told_all(stories, WRITTEN) == {}
    assert any(one.journaled for one, _ in stories.values()), "no run was interrupted late enough to try the journal"


async def test_run_again_it_keeps_to_the_moment_and_the_container_that_it_began_with(
    stack: Ready, app: App, queue: Queue, new_pair: NewPair, tmp_path: Path, source_account: BlobServiceClient
) -> None:
    pair = await new_pair()
    await write(pair.source, WRITTEN)
    await protect(app, queue, [pair])
    # When the second of four blobs was copied, and the command does not know it yet.
    async with Wire(stack, Point("PUT source blob", 2, Fate.KILLED)) as wire:
        settings = connections(wire.services) | {"SNAPKEEP_ENGINE": "server", "SNAPKEEP_CONCURRENCY": "1"}
        snapkeep = Snapkeep(tmp_path / pair.name, settings)
        running = await snapkeep.start("restore", pair.name, "--yes", "--json")
        await wire.reached.wait()
        running.kill()
        await running.ended()
        wire.mend()
        await end_of_this_second()
        await write(pair.source, GARBAGE | NEWER)
        report = (await snapkeep.run("restore", pair.name, "--yes", "--json")).json
    restored = [name async for name in containers(source_account, f"{pair.name}-restored-")]
    assert restored == [report["job"]["target"]]
    assert differences(WRITTEN, await picture(source_account.get_container_client(restored[0]))) == []


async def containers(account: BlobServiceClient, prefix: str) -> AsyncIterator[str]:
    async for container in account.list_containers(name_starts_with=prefix):
        yield container.name

"""The app is killed between any two of its calls, or never gets an answer to one; in the end all is protected.

The calls are not listed here: they are those that an undisturbed run makes.
"""

import asyncio
import time
from collections import Counter
from uuid import uuid4

import aiohttp
import pytest

from tests.e2e.app import DEADLINE_SECONDS, App, Queue, Ready
from tests.e2e.blobs import Pair
from tests.e2e.call_points import READS, CallPoints, Fate, Point
from tests.e2e.conftest import NewApp, NewPair, factory_runs

BLOBS = {"a.csv": b"first", "b/b.csv": b"second" * 100, "c": b""}
# One blob after the other, so that the calls for a container come in the same order each time.
SETTINGS = {"SNAPKEEP_CONCURRENCY": "1"}


async def rehearse(app: App, queue: Queue, points: CallPoints, new_pair: NewPair, mark: str) -> list[tuple[str, int]]:
    """What calls it takes to protect a container. Polling a run is done as often as it takes: once counts."""
    # The second of two: the first may have to create the containers that serve all.
    for number in ("01", "02"):
        pair = await new_pair(dict(BLOBS), f"{mark}-{number}")
        await app.protect(pair.name)
        await queue.drained()
        assert await pair.problems() == []
    polls = {"GET run", "put the message that follows a run"}
    return [(kind, 1 if kind in polls else count) for kind, count in points.calls_for(pair.name)]


async def pairs_for(new_pair: NewPair, mark: str, wanted: list[Point], points: CallPoints) -> list[tuple[Pair, Point]]:
    pairs = await asyncio.gather(*(new_pair(dict(BLOBS), f"{mark}-{n}") for n in range(1, len(wanted) + 1)))
    for pair, point in zip(pairs, wanted, strict=True):
        points.interrupt(pair.name, point)
    return list(zip(pairs, wanted, strict=True))


async def all_problems(pairs: list[tuple[Pair, Point]], snapshots: int | None) -> dict[str, list[str]]:
    """By the point at which it was interrupted, what is not as it should be with a container."""
    found = await asyncio.gather(*(pair.problems(snapshots=snapshots) for pair, _ in pairs))
    return {str(point): problems for (_, point), problems in zip(pairs, found, strict=True) if problems}


@pytest.mark.parametrize("engine", ["server", "adf"])
async def test_a_crash_at_any_call_leaves_nothing_unprotected_and_nothing_twice(
    stack: Ready, new_app: NewApp, new_pair: NewPair, engine: str
) -> None:
    mark = f"crash-{uuid4().hex[:8]}"
    async with CallPoints(stack, mark) as points:
        app = new_app(points.services, visibility_seconds=3, SNAPKEEP_ENGINE=engine, **SETTINGS)
        async with Queue(stack["queue"], app) as queue:
            await app.start_beside()
            calls = await rehearse(app, queue, points, new_pair, mark)
            # To a call that changes nothing, before it and after it are the same.
            wanted = [
                Point(kind, number, fate)
                for kind, count in calls
                for number in range(1, count + 1)
                for fate in ([Fate.HELD_BEFORE] if kind.startswith(READS) else [Fate.HELD_BEFORE, Fate.HELD_AFTER])
            ]
            pairs = await pairs_for(new_pair, mark, wanted, points)
            protecting = [asyncio.create_task(app.protect(pair.name)) for pair, _ in pairs]
            deadline = time.monotonic() + DEADLINE_SECONDS
            while unreached := points.unreached():
                assert time.monotonic() < deadline, [str(point) for point in unreached.values()]
                await asyncio.sleep(0.05)

            app.host.kill()
            points.crashed()
            ended = await asyncio.gather(*protecting, return_exceptions=True)
            assert all(isinstance(end, dict | aiohttp.ClientError) for end in ended), ended

            await app.start_beside()
            await asyncio.gather(*(app.protect(pair.name) for pair, _ in pairs))
            await queue.drained()
            assert await all_problems(pairs, snapshots=1) == {}
            assert not [text for text in await queue.texts() if text]
        written_twice = {path: times for path, times in points.commits.items() if "bak/" in path and times > 1}
        assert written_twice == {}
    requests = [run["parameters"]["request_id"] for run in await factory_runs(stack)]
    assert len(requests) == len(set(requests)), "a run was started for a request that had one"


@pytest.mark.parametrize("engine", ["server", "adf"])
async def test_a_lost_answer_to_any_call_leaves_nothing_unprotected_and_no_backup_twice(
    stack: Ready, new_app: NewApp, new_pair: NewPair, engine: str
) -> None:
    mark = f"lost-{uuid4().hex[:8]}"
    async with CallPoints(stack, mark) as points:
        app = new_app(points.services, visibility_seconds=3, SNAPKEEP_ENGINE=engine, **SETTINGS)
        async with Queue(stack["queue"], app) as queue:
            await app.start_beside()
            calls = await rehearse(app, queue, points, new_pair, mark)
            wanted = [Point(kind, n, Fate.ANSWER_LOST) for kind, count in calls for n in range(1, count + 1)]
            pairs = await pairs_for(new_pair, mark, wanted, points)
            answers = await asyncio.gather(*(app.protect(pair.name) for pair, _ in pairs))
            await queue.drained()
            assert not points.unreached()
            assert [answer for answer in answers if answer["failed"] or not answer["complete"]] == []
            # A snapshot whose answer was lost is taken once more, which is harmless.
            assert await all_problems(pairs, snapshots=None) == {}
            assert not [text for text in await queue.texts() if text]
        written_twice = {path: times for path, times in points.commits.items() if "bak/" in path and times > 1}
        assert written_twice == {}
    # A run whose start went unanswered is found, and not started once more.
    runs = Counter(run["parameters"]["container"] for run in await factory_runs(stack))
    starts = [pair.name for pair, point in pairs if point.kind == "start a run"]
    assert [runs[name] for name in starts] == [1] * (engine == "adf")

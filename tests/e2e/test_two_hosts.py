"""Two instances of the app share one queue; nothing is done wrongly twice."""

import asyncio
from pathlib import Path

from tests.e2e.app import Queue, Ready, app_folder
from tests.e2e.conftest import NewApp, NewPair
from tests.fault_proxy import FaultProxy


async def test_two_hosts_on_one_queue_make_each_backup_once(
    stack: Ready, new_app: NewApp, new_pair: NewPair, tmp_path: Path
) -> None:
    pair = await new_pair({f"{number}.csv": b"content" * (number % 2 + 1) for number in range(10, 26)})
    # One message at a time, so that neither can take them all.
    folder = app_folder(tmp_path / "app", batchSize=1, newBatchThreshold=0)
    async with FaultProxy(pair.source.url.rpartition("/source/")[0]) as proxy:
        services = {name: proxy.in_place_of(stack[name], "Blob") for name in ("source", "backup", "queue")}
        # Half of the blobs go by each engine.
        first = new_app(stack | services, folder, SNAPKEEP_ENGINE="auto", SNAPKEEP_ADF_MIN_BYTES="10")
        async with Queue(stack["queue"], first) as queue:
            second = first.beside()
            await asyncio.gather(first.start_beside(), second.start_beside())
            # Both are asked for all of it at once, part by part.
            calls = [app.protect(pair.name, prefix=str(part)) for part in range(10, 26) for app in (first, second)]
            answers = await asyncio.gather(*calls)
            await queue.drained()
            assert all(answer["complete"] and not answer["failed"] for answer in answers)
            assert await queue.texts() == []
        assert "Executed backup (succeeded" in first.log
        assert "Executed backup (succeeded" in second.log
        # Snapshots may be taken twice by calls at the same moment, which is harmless.
        assert await pair.problems(snapshots=None) == []
        writes = [
            call.target.partition("?")[0]
            for call in proxy.calls
            if call.method == "PUT"
            and f"/{pair.name}bak/" in call.target
            and call.status in {201, 202}
            and "comp=block&" not in f"{call.target}&"
        ]
        assert len(writes) == len(set(writes)) == len(pair.versions)

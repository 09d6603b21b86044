"""Several hosts work on one reconciliation in shards; some are killed, and in the end each blob is counted once."""

import contextlib
from asyncio import Event, gather
from pathlib import Path
from typing import Any
from uuid import uuid4

from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobLeaseClient, BlobServiceClient

from tests.e2e.app import Queue, Ready, app_folder, state_document, until, until_it_is
from tests.e2e.conftest import NewApp, NewPair
from tests.fault_proxy import FaultProxy, Rule, hold

LATEST = "reports/latest.json"
FIRST = {f"{folder}/{number}.csv": b"content" for folder in ("a", "large/x", "large/y", "z") for number in range(6)}
LATER = {f"later/{number}.csv": b"later" for number in range(3)}


async def report_of(stack: Ready, run_id: str) -> dict[str, Any]:
    """The report that ends this run, or, without one, any other than there was."""
    earlier = await state_document(stack, LATEST)

    async def there() -> bool:
        latest = await state_document(stack, LATEST)
        return bool(latest and latest["complete"] and (latest["run_id"] == run_id if run_id else latest != earlier))

    await until_it_is(there, "a report")
    return dict(await state_document(stack, LATEST))


async def break_leases(account: BlobServiceClient) -> None:
    """What becomes of the locks of hosts that were killed by themselves, within a minute."""
    state = account.get_container_client("snapkeep-state")
    async for blob in state.list_blobs():
        if blob.lease and blob.lease.state == "leased":
            with contextlib.suppress(HttpResponseError):
                await BlobLeaseClient(state.get_blob_client(blob.name)).break_lease(lease_break_period=0)


async def test_hosts_share_a_run_and_those_that_are_killed_cost_nothing(
    stack: Ready, new_app: NewApp, new_pair: NewPair, backup_account: BlobServiceClient, tmp_path: Path
) -> None:
    pair = await new_pair(dict(FIRST), f"shards-{uuid4().hex[:8]}")
    folder = app_folder(tmp_path / "app", batchSize=1, newBatchThreshold=0)
    async with FaultProxy(pair.source.url.rpartition("/source/")[0]) as proxy:
        services = {name: proxy.in_place_of(stack[name], "Blob") for name in ("source", "backup", "queue")}
        settings = {"SNAPKEEP_INCLUDE_CONTAINERS": pair.name, "SNAPKEEP_ENGINE": "server", "SNAPKEEP_SHARD_BLOBS": "3"}
        first = new_app(stack | services, folder, visibility_seconds=3, SNAPKEEP_DRILL_BLOBS="0", **settings)
        async with Queue(stack["queue"], first) as queue:
            second, third = first.beside(), first.beside()
            await gather(*(app.start_beside() for app in (first, second, third)))
            await first.start_by_hand("reconcile")  # which counts them
            await report_of(stack, "")
            await queue.drained()
            await pair.write(LATER)

            never = Event()
            held = proxy.add(Rule(hold(never), target=f"/source/{pair.name}?", method="GET", skip=1))
            await first.start_by_hand("reconcile")
            await until(lambda: held.hits >= 3, "each host at work on a shard")
            run_id = (await state_document(stack, "checkpoints/reconcile.json"))["run_id"]
            first.host.kill()
            second.host.kill()
            held.times = 0
            never.set()
            await break_leases(backup_account)
            await second.start_beside()
            await second.start_by_hand("reconcile")
            report = await report_of(stack, run_id)

            [part] = report["containers"]
            assert (part["blobs"], part["versions"], part["error"]) == (len(FIRST | LATER), len(FIRST | LATER), None)
            assert (report["errors"], part["deleted"]) == ([], 0)

            async def protected() -> bool:
                return not await pair.problems(snapshots=None)

            await until_it_is(protected, "the backups of what came later")
            assert await queue.texts() == []
        assert "reconcile: shard" in third.log

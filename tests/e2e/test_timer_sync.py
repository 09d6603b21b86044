"""`sync` by its timer and by hand, with the real azcopy; it ends with the host, however that ends."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobClient, BlobLeaseClient, BlobServiceClient

from tests.e2e.app import Ready, state_document, until, until_it_is
from tests.e2e.conftest import NewApp, NewPair

LATEST = "reports/sync-latest.json"

# What looks like azcopy, goes on for ever, and has a child that a signal to it alone would leave behind.
ENDLESS = """#!/bin/sh
if [ "$1" = --version ]; then echo "azcopy version 10.32.2"; exit; fi
sleep 1000 &
echo "$$ $!" > "$0.pids.arriving"
mv "$0.pids.arriving" "$0.pids"
while :; do sleep 0.1; done
"""


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be fetched by its parent does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def report_of(stack: Ready, source: str) -> dict[str, Any]:
    """The latest report, as soon as it is of a run that mirrors `source`."""

    async def there() -> bool:
        report = await state_document(stack, LATEST)
        return report is not None and any(pair["source"] == source for pair in report["pairs"])

    await until_it_is(there, "a report")
    return dict(await state_document(stack, LATEST))


async def test_the_timer_mirrors_and_a_run_by_hand_mirrors_what_came_since(
    stack: Ready, new_app: NewApp, new_pair: NewPair, backup_account: BlobServiceClient
) -> None:
    pair = await new_pair({"a.csv": b"one", "folder/b c.csv": b"two", "größe 😀.csv": b"three"})
    mirror = backup_account.get_container_client(f"{pair.name}-mirror")

    async def mirrored() -> dict[str, bytes]:
        names = [blob.name async for blob in mirror.list_blobs()]
        return {name: await (await mirror.download_blob(name)).readall() for name in names}

    settings = {"SNAPKEEP_ENGINE": "server", "SNAPKEEP_SYNC_CONTAINERS": f"{pair.name}:{mirror.container_name}"}
    on_time = new_app(SNAPKEEP_SYNC_SCHEDULE="*/2 * * * * *", **settings)
    await on_time.start_beside()
    first = await report_of(stack, pair.name)
    assert "timer: schedule" in on_time.log
    on_time.host.stop()
    assert first["complete"] is True, first
    assert (first["pairs"][0]["outcome"], first["pairs"][0]["copied"]) == ("succeeded", 3)
    assert await mirrored() == {name: content for (name, _), content in pair.versions.items()}

    await pair.write({"new.csv": b"four"})
    by_hand = new_app(**settings)
    await by_hand.start_beside()
    await by_hand.start_by_hand("sync")
    await until(lambda: "Executed sync (succeeded" in by_hand.log, "the end of the run by hand")
    assert await mirrored() == {name: content for (name, _), content in pair.versions.items()}


async def free_the_lock(state: Ready) -> None:
    """Ends the lease that a killed run of an earlier test may have left."""
    async with BlobClient.from_connection_string(state["queue"], "snapkeep-state", "locks/sync") as blob:
        with contextlib.suppress(ResourceNotFoundError, ResourceExistsError):
            await BlobLeaseClient(blob).break_lease(lease_break_period=0)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
async def test_azcopy_ends_with_the_host(
    stack: Ready, new_app: NewApp, new_pair: NewPair, tmp_path: Path, ending: signal.Signals
) -> None:
    pair = await new_pair({"a.csv": b"one"})
    program = tmp_path / "azcopy"
    # With a child where the host can still end it; after kill -9 it is the kernel that ends azcopy, which has none.
    program.write_text(ENDLESS if ending is signal.SIGTERM else ENDLESS.replace("sleep 1000 &\n", ""))
    program.chmod(0o700)
    pids = tmp_path / "azcopy.pids"
    # The state goes to the other account: a killed run's lock lasts a minute, and other tests want theirs.
    state = {"queue": stack["source"]}
    settings = {"SNAPKEEP_SYNC_CONTAINERS": pair.name, "AZCOPY_PATH": str(program)}
    app = new_app(stack | state, SNAPKEEP_ENGINE="server", **settings)
    await app.start_beside()
    await free_the_lock(state)
    await app.start_by_hand("sync")
    await until(pids.exists, "azcopy's start")
    running = [int(pid) for pid in pids.read_text().split()]
    assert len(running) == (2 if ending is signal.SIGTERM else 1)
    assert all(map(lives, running))
    os.kill(app.host.pid, ending)
    assert await asyncio.to_thread(app.host.wait) == (0 if ending is signal.SIGTERM else -signal.SIGKILL)
    await until(lambda: not any(map(lives, running)), "the end of azcopy", 10)
    if ending is signal.SIGTERM:
        report = await state_document(state, LATEST)
        assert (report["complete"], report["pairs"][0]["outcome"]) == (False, "stopped")

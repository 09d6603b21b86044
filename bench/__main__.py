"""`python -m bench`: `protect` beside a plain loop of the azure-storage-blob client, on one Azurite.

Both do the same work, in turn, on containers of the same content. What stands in RESULTS.md are the
ratios of one run; the absolute times are Azurite's on the machine that ran it.
"""

from __future__ import annotations

import asyncio
import json
import platform
import statistics
import sys
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path

import click
from azure.storage.blob import BlobProperties, BlobServiceClient
from azure.storage.blob.aio import BlobServiceClient as AsyncBlobServiceClient
from azure.storage.queue import QueueClient

from local.azurite import BACKUP, SOURCE, Azurite, connection_string
from shared import __version__
from shared.operations.protect import Protected, protect
from shared.parallel import for_each
from shared.services import Services
from shared.settings import Settings

RESULTS = Path(__file__).parent / "RESULTS.md"
QUEUE = "bench-requests"


@dataclass
class Times:
    """Wall and CPU seconds of this process, one of each for every round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    async def measure(self, work: Callable[[], Awaitable[None]]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        await work()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)


@dataclass(frozen=True)
class Case:
    """One comparison: Snapkeep and the plain loop, round by round in turn."""

    name: str
    blobs: int
    ours: Times = field(default_factory=Times)
    plain: Times = field(default_factory=Times)


def plain_loop(source: str, queue: str, container: str) -> int:
    """What a script does: list, compare each blob with its newest snapshot, then a message and a snapshot for each."""
    with (
        BlobServiceClient.from_connection_string(source) as service,
        QueueClient.from_connection_string(queue, QUEUE) as messages,
    ):
        client = service.get_container_client(container)
        live: dict[str, BlobProperties] = {}
        newest: dict[str, BlobProperties] = {}
        for blob in client.list_blobs(include=["snapshots", "metadata"]):
            if not blob.snapshot:
                live[blob.name] = blob
            elif blob.name not in newest or blob.snapshot > str(newest[blob.name].snapshot):
                newest[blob.name] = blob
        changed = [blob for name, blob in live.items() if name not in newest or newest[name].etag != blob.etag]
        for blob in changed:
            request = {"container": container, "name": blob.name, "etag": blob.etag, "size": blob.size}
            messages.send_message(b64encode(json.dumps(request).encode()).decode(), time_to_live=-1)
            client.get_blob_client(blob.name).create_snapshot()
        return len(changed)


async def fill(source: str, container: str, blobs: int) -> None:
    """Creates a container of so many small blobs."""
    async with AsyncBlobServiceClient.from_connection_string(source) as service:
        client = service.get_container_client(container)
        await client.create_container()

        async def upload(number: int) -> None:
            name = f"year={number % 7}/month={number % 12:02d}/part-{number:07d}.parquet"
            await client.get_blob_client(name).upload_blob(b"x", metadata={"run": str(number)})

        await for_each(range(blobs), upload, 32)


async def compare_new(case: Case, services: Services, source: str, queue: str, rounds: int) -> None:
    """New blobs: each is listed, requested and snapshotted."""
    for number in range(rounds):
        for who in ("ours", "plain"):
            await fill(source, f"new-{who}-{number}", case.blobs)
        await case.ours.measure(partial(ours, services, f"new-ours-{number}", case.blobs))
        await case.plain.measure(partial(plain, source, queue, f"new-plain-{number}", case.blobs))


async def compare_unchanged(case: Case, services: Services, source: str, queue: str, rounds: int) -> None:
    """An unchanged container: nothing but its listing is needed."""
    await fill(source, "unchanged", case.blobs)
    await ours(services, "unchanged", case.blobs)
    for _ in range(rounds):
        await case.ours.measure(partial(ours, services, "unchanged", 0))
        await case.plain.measure(partial(plain, source, queue, "unchanged", 0))


async def ours(services: Services, container: str, expected: int) -> None:
    answer: Protected | None = None
    began, changed = time.monotonic(), 0
    while answer is None or not answer.complete:
        continuation = answer.continuation if answer else None
        answer = await protect(services, container, continuation=continuation, elapsed=lambda: time.monotonic() - began)
        changed += answer.snapshots_created
        if answer.error is not None or answer.failed:
            raise answer.error or RuntimeError(str(answer.failed[:3]))
    if changed != expected:
        raise RuntimeError(f"{container}: {changed} changed, not {expected}: the comparison would be void")


async def plain(source: str, queue: str, container: str, expected: int) -> None:
    changed = await asyncio.to_thread(plain_loop, source, queue, container)
    if changed != expected:
        raise RuntimeError(f"{container}: {changed} changed, not {expected}: the comparison would be void")


def table(cases: list[Case]) -> str:
    """The results as a Markdown table: medians and spreads of the rounds, and the ratios of the medians."""
    lines = [
        "| case | plain loop: wall s | Snapkeep: wall s | **times as fast** | plain loop: CPU s | Snapkeep: CPU s "
        "| **CPU, times less** |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in cases:
        wall = statistics.median(case.plain.wall) / statistics.median(case.ours.wall)
        cpu = statistics.median(case.plain.cpu) / statistics.median(case.ours.cpu)
        cells = [
            case.name,
            _spread(case.plain.wall),
            _spread(case.ours.wall),
            f"**{wall:.1f}**",
            _spread(case.plain.cpu),
            _spread(case.ours.cpu),
            f"**{cpu:.1f}**",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


async def run(new: int, unchanged: int, rounds: int) -> list[Case]:
    azurite = Azurite()
    await azurite.start()
    try:
        source, queue = (
            connection_string(account, azurite.blob_port, azurite.queue_port) for account in (SOURCE, BACKUP)
        )
        with QueueClient.from_connection_string(queue, QUEUE) as messages:
            messages.create_queue()
        settings = Settings.load(
            {"SourceStorage": source, "BackupStorage": queue, "BackupQueue": queue, "AzureWebJobsStorage": queue}
            | {"SNAPKEEP_BACKUP_QUEUE": QUEUE, "SNAPKEEP_ENGINE": "server"}
        )
        cases = [Case(f"{new:,} new blobs", new), Case(f"{unchanged:,} unchanged blobs", unchanged)]
        async with Services.open(settings) as services:
            await compare_new(cases[0], services, source, queue, rounds)
            await compare_unchanged(cases[1], services, source, queue, rounds)
        return cases
    finally:
        await azurite.stop()


@click.command()
@click.option("--new", default=10_000, show_default=True, help="New blobs in the first case.")
@click.option("--unchanged", default=100_000, show_default=True, help="Blobs in the second case.")
@click.option("--rounds", default=2, show_default=True, help="How often each case is measured.")
def main(new: int, unchanged: int, rounds: int) -> None:
    """Measure, print the table, and write it to bench/RESULTS.md."""
    cases = asyncio.run(run(new, unchanged, rounds))
    text = (
        "# `make bench`\n\n`protect` beside a plain loop of the azure-storage-blob sync client, "
        f"{rounds} rounds in turn on one Azurite in memory: medians (and the lowest and highest).\n\n"
        f"{table(cases)}\n\n"
        f"Snapkeep {__version__}, azure-storage-blob {version('azure-storage-blob')}, "
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}. CPU is this process's alone; "
        "Azurite runs on the same machine and is what both wait for.\n"
    )
    RESULTS.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()

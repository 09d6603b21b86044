"""What most cases stand on: Azurite behind the gateway, in processes of their own, and containers full of blobs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from bench.bare import Bare
from local.azurite import BACKUP, SOURCE, connection_string
from local.ports import block_of_ports, first_taken
from local.stack import StackProcess
from shared.model import Version

QUEUE = "bench-requests"
FILL_AT_ONCE = 32
_BLOCK_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Ground:
    """Connection strings. `source` and `backup` go straight to Azurite; the others through the gateway.

    `gateway` is the address of the gateway's own controls, `factory` that of the Data Factory stand-in.
    """

    source: str
    backup: str
    gateway_source: str
    gateway_backup: str
    gateway: str
    factory: str

    @property
    def queue(self) -> str:
        return self.backup

    async def make_queue(self, name: str = QUEUE) -> None:
        async with Bare(self.queue) as bare:
            await bare.create_queue(name)

    async def fill(self, account: str, container: str, blobs: int, size: int = 1) -> None:
        """Creates a container in the account of a connection string, of so many blobs of a data lake's names."""
        content = b"x" * size
        async with Bare(account, FILL_AT_ONCE) as bare:
            await bare.create_container(container)
            numbers = iter(range(blobs))

            async def upload() -> None:
                for number in numbers:
                    await bare.put(container, blob_name(number), content, number)

            await asyncio.gather(*(upload() for _ in range(FILL_AT_ONCE)))

    async def fill_large(self, container: str, size: int) -> None:
        """Creates a container in the source account with one blob of `size` bytes, in blocks."""
        content = random.Random(0).randbytes(min(size, _BLOCK_BYTES))  # noqa: S311 -- content, not a secret
        async with Bare(self.source) as bare:
            await bare.create_container(container)
            blocks = []
            for offset in range(0, size, _BLOCK_BYTES):
                blocks.append(base64.b64encode(f"{offset:012d}".encode()).decode())
                await bare.put_block(container, blob_name(0), blocks[-1], content[: min(_BLOCK_BYTES, size - offset)])
            await bare.put_block_list(container, blob_name(0), blocks)

    async def remove(self, account: str, *containers: str) -> None:
        async with Bare(account) as bare:
            for container in containers:
                await bare.delete_container(container)


def blob_name(number: int) -> str:
    return f"year={2020 + number % 7}/month={number % 12 + 1:02d}/part-{number:07d}.parquet"


def made_up_versions(count: int) -> list[Version]:
    """Versions of blobs that nobody has: a canned server takes any."""
    return [Version(blob_name(number), "0x8DE27F0A1B2C3D4", "2026-11-20T14:05:33Z", 4096) for number in range(count)]


@contextlib.asynccontextmanager
async def ground(data: Path | None = None) -> AsyncIterator[Ground]:
    """Starts the local stack's services, and stops them; `data`: where Azurite keeps its data, None for memory."""
    base = _free_block()
    arguments = ["--port-base", str(base), *(["--data", str(data)] if data else [])]
    services = await StackProcess.start("services", *arguments)
    try:
        ports = block_of_ports(base)
        source, backup = (connection_string(account, ports.azurite_blob, ports.queue) for account in (SOURCE, BACKUP))
        yield Ground(
            source,
            backup,
            services.ready["source"],
            services.ready["backup"],
            f"http://127.0.0.1:{ports.blob}/gateway",
            services.ready["adf"],
        )
    finally:
        await services.stop()


def _free_block() -> int:
    bases = list(range(20_000, 32_000, 10))
    random.shuffle(bases)
    return next(base for base in bases if first_taken(block_of_ports(base)) is None)

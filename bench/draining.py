"""Backing up what is requested, by the Blob service, beside rclone and azcopy that copy the same blobs.

All copy what `protect` has just been through: every blob has a snapshot.

rclone speaks to Azurite directly, as Snapkeep does where Azurite can do the call; azcopy, and Snapkeep's blocks, go
through the gateway, which adds the calls that Azurite lacks. Data is on disk: in memory it would be there many times.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import ours
from bench.bare import Bare
from bench.case import Case, Plan
from bench.ground import QUEUE, Ground, ground
from bench.measure import Contestant, Usage, contest, expect, measured
from bench.programs import azcopy_url, expect_azcopy_copied, run_azcopy, run_rclone
from bench.report import CPU_SECONDS, MEGABYTES_PER_SECOND, PER_SECOND, Goal, Measure, goals, table
from shared.containers import backup_container
from shared.services import Services

RCLONE = (
    "copy",
    "--server-side-across-configs",
    "--no-traverse",
    "--no-check-dest",
    "--transfers=32",
    "--checkers=32",
    "--azureblob-no-check-container",
    "--azureblob-chunk-size=64Mi",
)
AZCOPY = ("--from-to=BlobBlob", "--recursive", "--output-type=json", "--check-length=false", "--overwrite=true")
KIB, MIB = 1024, 1024**2


@dataclass(frozen=True)
class Load:
    """Blobs to copy. `fill` creates them in a container; `through_gateway`: whether our calls need it."""

    name: str
    blobs: int
    size: int
    through_gateway: bool
    measure: Measure
    fill: Callable[[Ground, str], Awaitable[None]]

    @property
    def done(self) -> int:
        return self.blobs if self.measure is PER_SECOND else self.blobs * self.size


def _loads(plan: Plan) -> list[Load]:
    small, medium, large = (plan.sizes[name] for name in ("small", "medium", "large_mib"))
    return [
        Load(
            f"{small:,} blobs of 4 KiB", small, 4 * KIB, False, PER_SECOND,
            lambda azurite, name: azurite.fill(azurite.source, name, small, 4 * KIB),
        ),
        Load(
            f"{medium:,} blobs of 1 MiB", medium, MIB, False, PER_SECOND,
            lambda azurite, name: azurite.fill(azurite.source, name, medium, MIB),
        ),
        Load(
            f"one blob of {large:,} MiB", 1, large * MIB, True, MEGABYTES_PER_SECOND,
            lambda azurite, name: azurite.fill_large(name, large * MIB),
        ),
    ]  # fmt: skip


async def measure(plan: Plan) -> str:
    sections = []
    for load in _loads(plan):
        plan.say(load.name)
        with tempfile.TemporaryDirectory(prefix="snapkeep-bench-") as folder:
            async with ground(Path(folder)) as azurite:
                await azurite.make_queue()
                series = await contest(_Copying(azurite, load).contestants(), plan.rounds, plan.say)
        found, rclone, azcopy = series
        if load.measure is PER_SECOND:
            reached = Goal("times as fast as rclone", load.measure.advantage(found, rclone), at_least=1.2)
        else:
            reached = Goal("times as fast as azcopy", load.measure.advantage(found, azcopy), at_least=1)
        sections += [f"**{load.name}**", table(series, (load.measure, CPU_SECONDS), "copies"), goals([reached])]
    return "\n\n".join(sections)


@dataclass(frozen=True)
class _Copying:
    azurite: Ground
    load: Load

    def contestants(self) -> Sequence[Contestant]:
        way = "through the gateway" if self.load.through_gateway else "directly"
        return [
            Contestant(
                "Snapkeep",
                f"`backup`, engine `server`, {ours.MESSAGES_AT_ONCE} messages at once, {way}; each copy is verified",
                self._ours,
            ),
            Contestant("rclone", f"`rclone {' '.join(RCLONE)}`, directly", self._rclone),
            Contestant("azcopy", f"`azcopy copy {' '.join(AZCOPY)}`, through the gateway", self._azcopy),
        ]

    async def _ours(self, number: int) -> Usage:
        container = f"ours-{number}"
        async with self._protected(container) as services:
            usage = await measured(ours.drain(services, self.azurite.queue), lambda drained: drained.copied)
        expect(usage.done, self.load.blobs, "copied")
        return await self._checked(usage, container, backup_container(container))

    async def _rclone(self, number: int) -> Usage:
        container = await self._to_be_copied(f"rclone-{number}")
        remotes = {"source": self.azurite.source, "backup": self.azurite.backup}
        arguments = [*RCLONE, f"source:{container}", f"backup:{container}bak"]
        program = await run_rclone(arguments, remotes, self.load.done)
        return await self._checked(program.usage, container, f"{container}bak")

    async def _azcopy(self, number: int) -> Usage:
        container = await self._to_be_copied(f"azcopy-{number}")
        source = azcopy_url(self.azurite.gateway_source, f"{container}/*")
        target = azcopy_url(self.azurite.gateway_backup, f"{container}bak")
        program = await run_azcopy(["copy", source, target, *AZCOPY], self.load.done)
        expect_azcopy_copied(program.output, self.load.blobs)
        return await self._checked(program.usage, container, f"{container}bak")

    @asynccontextmanager
    async def _protected(self, container: str) -> AsyncIterator[Services]:
        """Fills and protects a container, for whoever copies it: the same for all."""
        azurite = self.azurite
        await self.load.fill(azurite, container)
        accounts = (
            (azurite.gateway_source, azurite.gateway_backup)
            if self.load.through_gateway
            else (azurite.source, azurite.backup)
        )
        async with ours.open_services(*accounts, azurite.queue, SNAPKEEP_BACKUP_QUEUE=QUEUE) as services:
            expect(await ours.protect(services, container), self.load.blobs, "requested")
            yield services

    async def _to_be_copied(self, container: str) -> str:
        async with self._protected(container), Bare(self.azurite.queue) as queue:
            await queue.clear(QUEUE)
        await self.azurite.fill(self.azurite.backup, f"{container}bak", 0)
        return container

    async def _checked(self, usage: Usage, container: str, copies: str) -> Usage:
        """Counts the copies and their bytes, and clears up."""
        entries = await ours.entries(self.azurite.backup, copies)
        found = (len(entries), sum(entry.size for entry in entries))
        expect(found, (self.load.blobs, self.load.blobs * self.load.size), "copies (blobs, bytes)")
        await self.azurite.remove(self.azurite.source, container)
        await self.azurite.remove(self.azurite.backup, copies)
        return Usage(usage.wall_seconds, usage.cpu_seconds, self.load.done)


CASE = Case(
    "backup",
    "Backing up by the Blob service",
    {"small": 10_000, "medium": 500, "large_mib": 1024},
    {"small": 400, "medium": 40, "large_mib": 260},
    measure,
)

"""Has Snapkeep protect, back up and reconcile, and holds it to what it promises of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.services import Services
from tests.model.disturbance import Disturbance, Fault, Work, disturbed
from tests.model.model import Reconciliation
from tests.model.world import Held, World


@dataclass(frozen=True)
class Working:
    """The functions of the app, run on one world; each may be disturbed."""

    world: World

    async def protect(self, disturbance: Disturbance | None = None) -> str | None:
        world, answers = self.world, list[dict[str, Any]]()

        async def work(services: Services) -> None:
            answers.append(await world.bench.product.protect(services, world.container))

        world.pending = True
        told = await self._run(work, disturbance)
        meddled_with = set(world.meddled_with)
        await world.look(requests=True)
        if not isinstance(disturbance, Fault):
            [answer] = answers
            assert answer["complete"], f"protect did not finish: {answer}"
            assert answer["failed"] == [], f"protect failed for some blobs: {answer}"
            self._all_have_snapshots("protect", meddled_with)
        return told

    async def back_up(self, *, everything: bool, disturbance: Disturbance | None = None) -> str | None:
        world = self.world

        async def work(services: Services) -> None:
            await world.bench.product.back_up(services, world.bench.reader, everything=everything)

        told = await self._run(work, disturbance)
        await world.look()
        if everything and not isinstance(disturbance, Fault):
            world.pending = False
            given_up = await world.bench.reader.poison()
            lacking = (world.requested & world.held.in_source) - set(world.held.backups)
            assert given_up or not lacking, f"the queue is empty, and these have no backup: {sorted(lacking)}"
        return told

    async def protect_and_back_up(self) -> None:
        await self.protect()
        await self.back_up(everything=True)

    async def reconcile(self, disturbance: Disturbance | None = None) -> str | None:
        world, reports = self.world, list[dict[str, Any]]()

        async def work(services: Services) -> None:
            reports.append(await world.bench.product.reconcile(services))

        world.pending = True
        before, began = world.held, await world.bench.source.time()
        await world.next_second()
        told = await self._run(work, disturbance)
        whole = not isinstance(disturbance, Fault)
        world.history.reconciliations.append(Reconciliation(began, await world.bench.source.time(), whole))
        await world.next_second()
        meddled_with = set(world.meddled_with)
        await world.look(requests=True)
        if whole:
            [report] = reports
            assert report["complete"], f"reconcile did not finish: {report}"
            self._all_have_snapshots("reconcile", meddled_with)
            world.requested |= {key for key in world.held.in_source if key[0] not in meddled_with}
        if disturbance is None:
            _check_counts(report, before)
        return told

    async def disturbed(self, work: str, disturbance: Disturbance) -> str | None:
        """One of the above: with a call that fails, the backup of one message, else of all."""
        if work == "protect":
            return await self.protect(disturbance)
        if work == "reconcile":
            return await self.reconcile(disturbance)
        return await self.back_up(everything=not isinstance(disturbance, Fault), disturbance=disturbance)

    async def _run(self, work: Work, disturbance: Disturbance | None) -> str | None:
        if disturbance is None:
            await work(self.world.services)
            return None
        return None if await disturbed(self.world, disturbance, work) else "it came to no such call"

    def _all_have_snapshots(self, what: str, meddled_with: set[str]) -> None:
        lacking = self.world.held.live - set(self.world.held.snapshots.values())
        lacking = {key for key in lacking if key[0] not in meddled_with}
        assert not lacking, f"{what} is complete, and these live blobs have no snapshot: {sorted(lacking)}"


def _check_counts(report: dict[str, Any], before: Held) -> None:
    """Protected is what has both a snapshot and a whole backup, and is said of nothing else."""
    [part] = report["containers"]
    protected = set(before.snapshots.values()) & set(before.backups)
    said, true = (part["versions"], part["protected"]), (len(before.in_source), len(protected))
    assert said == true, f"reconcile reports (versions, protected) as {said}; they were {true}"

"""Snapkeep, as the model runs it: one method for each thing that it does. A planted defect replaces one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from shared.decisions.restoring import Job, Step
from shared.operations.protect import protect
from shared.operations.reconcile import reconcile
from shared.operations.restore import Outcome, restore
from shared.operations.restore_plan import make_plan
from shared.plan import Plan
from shared.recovery import Recovery
from shared.services import Services
from tests.queue_reader import QueueReader


class Product:
    """The real one."""

    async def protect(self, services: Services, container: str) -> dict[str, Any]:
        return (await protect(services, container, elapsed=lambda: 0.0)).to_json()

    async def back_up(self, services: Services, reader: QueueReader, *, everything: bool) -> None:
        """Carries out one message, or all of them."""
        if everything:
            await reader.drain(services)
        elif await reader.waiting():
            await reader.deliver_one(services)

    async def reconcile(self, services: Services) -> dict[str, Any]:
        return await reconcile(services, elapsed=lambda: 0.0)

    async def plan(self, services: Services, job: Job) -> Plan:
        return await make_plan(_recovery(services, job), job)

    def steps(self, plan: Plan) -> Iterator[Step]:
        return plan.steps()

    async def restore(self, services: Services, job: Job, plan: Plan, job_id: str) -> dict[str, Any]:
        """Carries a plan out, or goes on with it."""
        report = await restore(_recovery(services, job), job, self.steps(plan), job_id=job_id, progress=_Unwatched())
        return report.to_json()


def _recovery(services: Services, job: Job) -> Recovery:
    """From backups alone, into their account, as after the loss of the source account: there is none then."""
    recovery = Recovery.of(services)
    return replace(recovery, source=None) if (job.origin, job.target_account) == ("backups", "backup") else recovery


class _Unwatched:
    """Nobody looks at the progress bar."""

    def moved(self, size: int) -> None:
        pass

    def finished(self, outcome: Outcome) -> None:
        pass

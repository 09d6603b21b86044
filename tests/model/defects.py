"""Defects to plant in Snapkeep: each is one that somebody could make, and that the model must find."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shared.decisions.restoring import Action, Job, Step
from shared.plan import Plan
from shared.services import Services
from tests.model.model import second_before
from tests.model.product import Product
from tests.queue_reader import QueueReader


class DropsRequests(Product):
    async def back_up(self, services: Services, reader: QueueReader, *, everything: bool) -> None:
        await reader.clear()


class IgnoresDeletions(Product):
    async def plan(self, services: Services, job: Job) -> Plan:
        return await super().plan(services, replace(job, include_deleted=True))


class LeavesNewerBlobs(Product):
    async def plan(self, services: Services, job: Job) -> Plan:
        return await super().plan(services, replace(job, delete_newer=False))


class IsASecondLate(Product):
    """Takes versions that were written before the moment, and none of the very second."""

    async def plan(self, services: Services, job: Job) -> Plan:
        return await super().plan(services, replace(job, at=second_before(job.at)))


class TakesWhatStandsForTheVersion(Product):
    """Leaves every blob that there is in place, be it another version."""

    def steps(self, plan: Plan) -> Iterator[Step]:
        for step in super().steps(plan):
            stands = step.action is Action.RESTORE and step.replaces is not None
            yield replace(step, action=Action.LEAVE) if stands else step


DEFECTS: dict[str, type[Product]] = {
    "requests are dropped": DropsRequests,
    "deletions are ignored": IgnoresDeletions,
    "newer blobs are left": LeavesNewerBlobs,
    "the moment's own second is left out": IsASecondLate,
    "what stands in place is taken for the version": TakesWhatStandsForTheVersion,
}

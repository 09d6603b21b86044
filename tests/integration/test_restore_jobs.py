"""Restores in the state: an interrupted one is found by its arguments, with the plan that it had."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from shared.decisions.restore_report import RestoreReport, Result
from shared.decisions.restore_request import Arguments
from shared.decisions.restore_summary import Tally
from shared.decisions.restoring import Action, Job, Mode, Step
from shared.errors import ServiceUnavailable, SnapkeepError
from shared.operations.restore_jobs import Stored, store, unfinished
from shared.plan import Plan, PlanFolder, PlanWriter
from shared.recovery import Recovery
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import FaultProxy, Rule, answer
from tests.names import HARD_NAMES

NOW = datetime(2026, 11, 20, 14, 5, 33, tzinfo=UTC)
STEPS = [Step(Action.LEAVE, name, "as it is") for name in HARD_NAMES.values()]


@pytest.fixture
def arguments() -> Arguments:
    return Arguments(f"raw-{uuid4().hex[:8]}", at="2026-11-20T12:00:00Z", names=("a",))


@pytest.fixture
async def plan(arguments: Arguments) -> AsyncIterator[Plan]:
    job = Job(arguments.container, "2026-11-20T12:00:00Z", Mode.CONTAINER, "x", names=("a",))
    writer, tally = PlanWriter(), Tally(job)
    for step in STEPS:
        writer.add(step)
        tally.add(step)
    with writer.finish(job, tally.summary(3, ["something to know"])) as made:
        yield made


def at(services: Services, moment: datetime = NOW) -> Recovery:
    return replace(Recovery.of(services), now=lambda: moment)


async def found(recovery: Recovery, arguments: Arguments) -> Stored | None:
    stored = await unfinished(recovery, arguments)
    if stored is not None:
        stored.plan.close()
    return stored


def report(stored: Stored, *, complete: bool, **totals: int) -> dict[str, object]:
    made = RestoreReport(stored.job_id, stored.plan.job, "2026-11-20T14:05:33Z", complete=complete)
    made.totals.update({Result(name): count for name, count in totals.items()})
    return made.to_json()


async def test_an_interrupted_restore_is_found_with_its_own_moment_target_and_plan(
    services: Services, arguments: Arguments, plan: Plan
) -> None:
    begun = await store(at(services), arguments, plan)
    later = at(services, NOW + timedelta(days=6, hours=23))
    stored = await unfinished(later, replace(arguments, names=("a", "a")))
    assert stored is not None
    with stored.plan:
        assert (stored.job_id, stored.begun_at) == (begun.job_id, "2026-11-20T14:05:33Z")
        assert stored.plan.job == plan.job
        assert stored.plan.summary == plan.summary
        assert list(stored.plan.steps()) == STEPS
    document = await services.state.read(f"restores/{begun.job_id}/job.json")
    assert (document["schema"], document["kind"], document["id"]) == (1, "restore", begun.job_id)


async def test_that_of_other_arguments_is_not(services: Services, arguments: Arguments, plan: Plan) -> None:
    await store(at(services), arguments, plan)
    assert await found(at(services), replace(arguments, at="2026-11-20T11:00:00Z")) is None


async def test_whoever_waited_for_rehydration_may_leave_that_option_out(
    services: Services, arguments: Arguments, plan: Plan
) -> None:
    rehydrating = replace(arguments, rehydrate="standard")
    with Plan(replace(plan.job, rehydrate="standard"), plan.summary, PlanFolder()) as other:
        other.file.write_bytes(plan.file.read_bytes())
        begun = await store(at(services), rehydrating, other)
    for again in (rehydrating, arguments):
        stored = await found(at(services), again)
        assert stored is not None
        assert stored.job_id == begun.job_id


async def test_a_plan_without_archived_blobs_does_not_do_for_rehydration(
    services: Services, arguments: Arguments, plan: Plan
) -> None:
    await store(at(services), arguments, plan)
    assert await found(at(services), replace(arguments, rehydrate="high")) is None


async def test_a_state_that_is_lost_too_is_said_with_what_to_do(
    open_behind_proxies: OpenServices, blob_proxy: FaultProxy, arguments: Arguments
) -> None:
    recovery = Recovery.of(open_behind_proxies())
    blob_proxy.add(Rule(answer(501, "NotImplemented"), target="snapkeep-state"))
    with pytest.raises(ServiceUnavailable, match="leave AzureWebJobsStorage out of the settings"):
        await unfinished(recovery, arguments)


async def test_one_that_is_too_old_is_not_gone_on_with(services: Services, arguments: Arguments, plan: Plan) -> None:
    await store(at(services), arguments, plan)
    assert await found(at(services, NOW + timedelta(days=7, seconds=1)), arguments) is None


@pytest.mark.parametrize("words", ["", "now", "2 hours ago", " 1 Week ago "])
async def test_where_the_moment_counts_from_now_it_goes_on_for_a_day(
    words: str, services: Services, arguments: Arguments, plan: Plan
) -> None:
    asked = replace(arguments, at=words)
    await store(at(services), asked, plan)
    assert await found(at(services, NOW + timedelta(hours=23)), asked) is not None
    assert await found(at(services, NOW + timedelta(days=1, seconds=1)), asked) is None


@pytest.mark.parametrize(
    ("complete", "totals", "goes_on"),
    [
        (True, {"restored": 2}, False),
        (True, {"restored": 1, "damaged": 1, "changed": 1, "impossible": 1}, False),
        (True, {"restored": 1, "leased": 1}, False),
        (True, {"failed": 1}, False),
        (True, {"rehydrating": 1, "failed": 1}, True),
        (False, {"restored": 1}, True),
    ],
)
async def test_it_goes_on_when_it_was_interrupted_or_waits_for_rehydration(
    complete: bool, totals: dict[str, int], goes_on: bool, services: Services, arguments: Arguments, plan: Plan
) -> None:
    stored = await store(at(services), arguments, plan)
    await services.state.write(f"restores/{stored.job_id}/report.json", report(stored, complete=complete, **totals))
    assert (await found(at(services), arguments) is not None) == goes_on


async def test_the_newest_of_several_decides(services: Services, arguments: Arguments, plan: Plan) -> None:
    await store(at(services), arguments, plan)
    newest = await store(at(services, NOW + timedelta(hours=1)), arguments, plan)
    later = at(services, NOW + timedelta(hours=2))
    stored = await found(later, arguments)
    assert stored is not None
    assert stored.job_id == newest.job_id
    await services.state.write(f"restores/{newest.job_id}/report.json", report(newest, complete=True, restored=1))
    assert await found(later, arguments) is None


async def test_one_whose_plan_was_not_stored_in_whole_never_began(
    services: Services, arguments: Arguments, plan: Plan
) -> None:
    stored = await store(at(services), arguments, plan)
    await services.state.delete(f"restores/{stored.job_id}/job.json")
    assert await found(at(services), arguments) is None


async def test_one_of_another_release_is_left_alone(services: Services, arguments: Arguments, plan: Plan) -> None:
    stored = await store(at(services), arguments, plan)
    name = f"restores/{stored.job_id}/job.json"
    await services.state.write(name, await services.state.read(name) | {"schema": 2})
    assert await found(at(services), arguments) is None


async def test_a_plan_that_somebody_removed_is_said(services: Services, arguments: Arguments, plan: Plan) -> None:
    stored = await store(at(services), arguments, plan)
    await services.state.delete(f"restores/{stored.job_id}/plan.jsonl.gz")
    with pytest.raises(SnapkeepError, match="--restart begins anew"):
        await found(at(services), arguments)

"""Executes a pipeline: activities in the order of their dependencies, loops, retries, copies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from local.datafactory.controls import Controls
from local.datafactory.copying import BlobPath, CopyError, CopyResult, copy_blob
from local.datafactory.definitions import arguments
from local.datafactory.expressions import ExpressionError, Scope, evaluate
from local.datafactory.fields import DefinitionError
from local.datafactory.model import (
    Activity,
    ActivityState,
    AssignVariable,
    Copy,
    DatasetReference,
    Factory,
    ForEach,
)
from local.datafactory.outcome import failed_activities, should_run
from local.datafactory.runs import ActivityRun, Run, RunState, utc_now

if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobServiceClient

# Limit of the service: learn.microsoft.com/azure/data-factory/control-flow-for-each-activity
_MAX_ITEMS = 100_000

Output = Mapping[str, Any]


class ActivityError(Exception):
    """An activity failed for a reason of its own: bad input, or activities inside it that failed."""


class PipelineExecutor:
    """Runs pipelines of one factory against the accounts behind its linked services."""

    def __init__(
        self,
        factory: Factory,
        accounts: Mapping[str, BlobServiceClient],
        controls: Controls,
        *,
        retry_interval_scale: float,
    ) -> None:
        self._factory = factory
        self._accounts = accounts
        self._controls = controls
        self._retry_interval_scale = retry_interval_scale

    async def execute(self, run: Run) -> str | None:
        """Runs the pipeline to its end. Returns why it failed, or None."""
        context = {"parameters": run.parameters, "RunId": run.id, "Pipeline": run.pipeline.name}
        scope = Scope(pipeline=context, variables=run.variables)
        errors = await self._activities(run, run.pipeline.activities, scope)
        return "; ".join(f"Operation on target {name} failed: {error}" for name, error in errors.items()) or None

    async def _activities(self, run: Run, activities: tuple[Activity, ...], scope: Scope) -> dict[str, str]:
        """Runs the activities of a pipeline or of a turn of a loop. Returns the errors that make it fail."""
        errors: dict[str, str] = {}
        ending: dict[str, asyncio.Task[ActivityState]] = {}

        async def in_turn(activity: Activity) -> ActivityState:
            before = {arrow.activity: await ending[arrow.activity] for arrow in activity.depends_on}
            if not should_run(activity.depends_on, before):
                return ActivityState.SKIPPED
            error = await self._attempts(run, activity, scope)
            if error is None:
                return ActivityState.SUCCEEDED
            errors[activity.name] = error
            return ActivityState.FAILED

        async with asyncio.TaskGroup() as group:
            for activity in activities:
                ending[activity.name] = group.create_task(in_turn(activity))
        states = {name: task.result() for name, task in ending.items()}
        return {name: errors[name] for name in failed_activities(activities, states)}

    async def _attempts(self, run: Run, activity: Activity, scope: Scope) -> str | None:
        """Tries an activity as often as its policy says. Returns the last error, or None."""
        retries = activity.policy.retries if isinstance(activity, Copy) else 0
        for attempt in range(retries + 1):
            if attempt and isinstance(activity, Copy):
                await asyncio.sleep(activity.policy.retry_interval_seconds * self._retry_interval_scale)
            error = await self._attempt(run, activity, scope, attempt)
            if error is None:
                return None
        return error

    async def _attempt(self, run: Run, activity: Activity, scope: Scope, attempt: int) -> str | None:
        record = ActivityRun(activity.name, _type_name(activity), attempt, start=utc_now())
        run.activities.append(record)
        try:
            record.output = await self._act(run, activity, scope, record)
        except asyncio.CancelledError:
            self._close(record, RunState.CANCELLED)
            raise
        except (ActivityError, CopyError, ExpressionError, DefinitionError) as error:
            record.error = {
                "errorCode": "2200",
                "message": str(error),
                "failureType": "UserError",
                "target": activity.name,
            }
            self._close(record, RunState.FAILED)
            return str(error)
        self._close(record, RunState.SUCCEEDED)
        return None

    async def _act(self, run: Run, activity: Activity, scope: Scope, record: ActivityRun) -> Output:
        match activity:
            case Copy():
                return await self._copy(run, activity, scope, record)
            case AssignVariable():
                return _assign(run, activity, scope)
            case ForEach():
                return await self._for_each(run, activity, scope)

    async def _for_each(self, run: Run, loop: ForEach, scope: Scope) -> Output:
        items = evaluate(loop.items, scope)
        if not isinstance(items, list) or len(items) > _MAX_ITEMS:
            raise ActivityError(f"items must be an array of at most {_MAX_ITEMS} values")
        failures: list[str] = []

        async def work(remaining: Iterator[Any]) -> None:
            for item in remaining:
                turn = replace(scope, item=item, in_loop=True)
                for name, error in (await self._activities(run, loop.activities, turn)).items():
                    failures.append(f"Inner activity name: {name}, Error: {error}")

        remaining = iter(items)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(loop.parallel, len(items))):
                group.create_task(work(remaining))
        if failures:
            raise ActivityError(f"Activity failed because an inner activity failed; {failures[0]}")
        return {"itemsCount": len(items)}

    async def _copy(self, run: Run, copy: Copy, scope: Scope, record: ActivityRun) -> Output:
        source, sink = self._path(copy.source, scope), self._path(copy.sink, scope)
        record.input = {
            "source": {"container": source.container, "fileName": source.name},
            "sink": {"container": sink.container, "fileName": sink.name},
        }
        try:
            async with asyncio.timeout(copy.policy.timeout_seconds):
                result = await copy_blob(
                    source,
                    sink,
                    preserve_attributes=copy.preserve_attributes,
                    skip_missing=copy.skip_missing,
                    block_size_bytes=copy.block_size_bytes,
                    reached=lambda point: self._controls.copy_reached(run.id, source.name, point),
                )
        except TimeoutError:
            raise ActivityError(f"the copy took longer than {copy.policy.timeout_seconds:.0f} s") from None
        return _copy_output(result)

    def _path(self, reference: DatasetReference, scope: Scope) -> BlobPath:
        dataset = self._factory.datasets[reference.dataset]
        given = {name: evaluate(template, scope) for name, template in reference.arguments.items()}
        inner = Scope(dataset=arguments(dataset.parameters, given, f"dataset {dataset.name}"))
        return BlobPath(
            account=self._accounts[dataset.linked_service],
            container=evaluate(dataset.container, inner),
            name=evaluate(dataset.blob, inner),
        )

    def _close(self, record: ActivityRun, state: RunState) -> None:
        record.status = state
        record.end = utc_now()


def _assign(run: Run, assignment: AssignVariable, scope: Scope) -> Output:
    value = evaluate(assignment.value, scope)
    if assignment.append:
        run.variables[assignment.variable].append(value)
    elif type(value) is not type(run.variables[assignment.variable]):
        raise ActivityError(f"variable {assignment.variable} cannot hold a value of type {type(value).__name__}")
    else:
        run.variables[assignment.variable] = value
    return {}


def _type_name(activity: Activity) -> str:
    match activity:
        case Copy():
            return "Copy"
        case ForEach():
            return "ForEach"
        case AssignVariable():
            return "AppendVariable" if activity.append else "SetVariable"


def _copy_output(result: CopyResult) -> Output:
    return {
        "dataRead": result.size_bytes,
        "dataWritten": result.size_bytes,
        "filesRead": result.files,
        "filesWritten": result.files,
        "filesSkipped": 1 - result.files,
        "dataConsistencyVerification": {"VerificationResult": "Verified", "InconsistentData": "None"},
    }

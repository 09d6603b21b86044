"""Executes a pipeline: activities in the order of their dependencies, loops, retries, copies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from local.datafactory.calling import CallError, FunctionApp, call_function
from local.datafactory.controls import Controls
from local.datafactory.copying import BlobPath, CopyError, CopyResult, copy_blob
from local.datafactory.definitions import arguments
from local.datafactory.expressions import ExpressionError, Scope, evaluate
from local.datafactory.fields import DefinitionError
from local.datafactory.model import (
    Activity,
    ActivityState,
    AssignVariable,
    CallFunction,
    Copy,
    DatasetReference,
    Factory,
    Fail,
    ForEach,
    IfCondition,
    Policy,
    Until,
)
from local.datafactory.outcome import failed_activities, should_run
from local.datafactory.runs import ActivityRun, Run, RunState, utc_now

if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobServiceClient

# Limit of the service: learn.microsoft.com/azure/data-factory/control-flow-for-each-activity
_MAX_ITEMS = 100_000

Output = Mapping[str, Any]


_ONCE = Policy(timeout_seconds=0, retries=0, retry_interval_seconds=0)
"""For activities that the service knows no policy for."""


class ActivityError(Exception):
    """An activity failed for a reason of its own: bad input, or activities inside it that failed."""

    def __init__(self, message: str, code: str = "2200") -> None:
        super().__init__(message)
        self.code = code


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
        self.function_apps: dict[str, FunctionApp] = {}
        """Where the Functions apps of the linked services are."""

    async def execute(self, run: Run) -> str | None:
        """Runs the pipeline to its end. Returns why it failed, or None."""
        context = {"parameters": run.parameters, "RunId": run.id, "Pipeline": run.pipeline.name}
        scope = Scope(pipeline=context, variables=run.variables)
        errors = await self._activities(run, run.pipeline.activities, scope)
        return "; ".join(f"Operation on target {name} failed: {error}" for name, error in errors.items()) or None

    async def _activities(self, run: Run, activities: tuple[Activity, ...], scope: Scope) -> dict[str, str]:
        """Runs the activities of a pipeline or of a turn of a loop. Returns the errors that make it fail."""
        scope = replace(scope, activities=dict(scope.activities))
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
        policy = activity.policy if isinstance(activity, Copy | CallFunction) else _ONCE
        for attempt in range(policy.retries + 1):
            if attempt:
                await asyncio.sleep(policy.retry_interval_seconds * self._retry_interval_scale)
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
        except (ActivityError, CallError, CopyError, ExpressionError, DefinitionError) as error:
            record.error = {
                "errorCode": error.code if isinstance(error, ActivityError) else "2200",
                "message": str(error),
                "failureType": "UserError",
                "target": activity.name,
            }
            self._close(record, RunState.FAILED)
            return str(error)
        finally:
            ended = {"output": record.output, "error": record.error}
            scope.activities[activity.name] = ended  # type: ignore[index]  # `_activities` gave it a dict of its own
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
            case Until():
                return await self._until(run, activity, scope)
            case IfCondition():
                return await self._branch(run, activity, scope)
            case Fail():
                raise ActivityError(str(evaluate(activity.message, scope)), str(evaluate(activity.error_code, scope)))
            case CallFunction():
                return await self._call(activity, scope, record)

    async def _until(self, run: Run, loop: Until, scope: Scope) -> Output:
        """Turns until the condition holds, whatever becomes of a turn's activities; the last turn decides."""
        failures: Mapping[str, str] = {}
        try:
            async with asyncio.timeout(loop.timeout_seconds):
                turns = 0
                while turns == 0 or not _truth(evaluate(loop.condition, scope)):
                    failures = await self._activities(run, loop.activities, scope)
                    turns += 1
        except TimeoutError:
            raise ActivityError(f"the condition did not hold within {loop.timeout_seconds:.0f} s") from None
        return _unless_failed(failures)

    async def _branch(self, run: Run, branch: IfCondition, scope: Scope) -> Output:
        chosen = branch.if_true if _truth(evaluate(branch.condition, scope)) else branch.if_false
        return _unless_failed(await self._activities(run, chosen, scope))

    async def _call(self, call: CallFunction, scope: Scope, record: ActivityRun) -> Output:
        app = self.function_apps.get(call.linked_service)
        if app is None:
            raise ActivityError(f"the stand-in was not told where the Functions app {call.linked_service} is")
        body = None if call.body is None else evaluate(call.body, scope)
        record.input = {"functionName": call.function, "method": call.method, "body": body}
        return await call_function(app, call, body)

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


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ActivityError(f"a condition must be true or false, not a value of type {type(value).__name__}")
    return value


def _unless_failed(failures: Mapping[str, str]) -> Output:
    for name, error in failures.items():
        raise ActivityError(
            f"Activity failed because an inner activity failed; Inner activity name: {name}, Error: {error}"
        )
    return {}


def _type_name(activity: Activity) -> str:
    match activity:
        case AssignVariable():
            return "AppendVariable" if activity.append else "SetVariable"
        case CallFunction():
            return "AzureFunctionActivity"
        case _:
            return type(activity).__name__


def _copy_output(result: CopyResult) -> Output:
    return {
        "dataRead": result.size_bytes,
        "dataWritten": result.size_bytes,
        "filesRead": result.files,
        "filesWritten": result.files,
        "filesSkipped": 1 - result.files,
        "dataConsistencyVerification": {"VerificationResult": "Verified", "InconsistentData": "None"},
    }

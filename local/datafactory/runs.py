"""Pipeline runs: their states, their history in memory, starting and cancelling them."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from local.datafactory.controls import Controls
from local.datafactory.definitions import arguments
from local.datafactory.model import Pipeline

LOG = logging.getLogger(__name__)


class RunState(StrEnum):
    """The states of pipeline and activity runs."""

    QUEUED = "Queued"
    IN_PROGRESS = "InProgress"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELING = "Canceling"
    CANCELLED = "Cancelled"


@dataclass
class ActivityRun:
    """One attempt of one activity."""

    name: str
    type: str
    attempt: int
    start: datetime
    status: RunState = RunState.IN_PROGRESS
    end: datetime | None = None
    input: Mapping[str, Any] = field(default_factory=dict)
    output: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Run:
    """One run of a pipeline, with the names it was asked for under."""

    id: str
    number: int
    factory_id: str
    pipeline: Pipeline
    parameters: Mapping[str, Any]
    variables: dict[str, Any]
    start: datetime
    last_updated: datetime
    status: RunState = RunState.QUEUED
    end: datetime | None = None
    message: str = ""
    made_to_fail: str | None = None
    activities: list[ActivityRun] = field(default_factory=list)


class Executor(Protocol):
    """Does what a pipeline says."""

    async def execute(self, run: Run) -> str | None:
        """Returns why the run failed, or None."""


class NotCancellableError(Exception):
    """The run has ended already."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class Runs:
    """All runs since the start of the stand-in."""

    def __init__(self, executor: Executor, controls: Controls) -> None:
        self._executor = executor
        self._controls = controls
        self._runs: dict[str, Run] = {}
        self._tasks: dict[str, asyncio.Task[str | None]] = {}

    def start(self, factory_id: str, pipeline: Pipeline, given: Mapping[str, Any]) -> Run:
        """Queues a run. Raises DefinitionError when the parameters don't fit the pipeline."""
        parameters = arguments(pipeline.parameters, given, f"pipeline {pipeline.name}")
        now = utc_now()
        run = Run(
            id=str(uuid.uuid4()),
            number=len(self._runs) + 1,
            factory_id=factory_id,
            pipeline=pipeline,
            parameters=parameters,
            variables={n: list(v) if isinstance(v, list) else v for n, v in pipeline.variables.items()},
            start=now,
            last_updated=now,
            made_to_fail=self._controls.take_failure(),
        )
        self._runs[run.id] = run
        task = self._tasks[run.id] = asyncio.create_task(self._execute(run))
        task.add_done_callback(lambda done: self._ended(run, done))
        return run

    def get(self, run_id: str) -> Run | None:
        return None if self._controls.is_forgotten(run_id) else self._runs.get(run_id)

    def all(self) -> list[Run]:
        """Every run in the order of their start, forgotten ones too."""
        return list(self._runs.values())

    def listed(self) -> list[Run]:
        """The runs that a query can find now."""
        now, lag = utc_now(), self._controls.query_lag_seconds
        return [
            run
            for run in self._runs.values()
            if not self._controls.is_forgotten(run.id) and (now - run.start).total_seconds() >= lag
        ]

    def cancel(self, run: Run) -> None:
        """Asks a run to stop. Raises NotCancellableError when it has ended."""
        if run.status not in {RunState.QUEUED, RunState.IN_PROGRESS, RunState.CANCELING}:
            raise NotCancellableError(f"run {run.id} is {run.status}")
        self._enter(run, RunState.CANCELING)
        self._tasks[run.id].cancel()

    async def stop(self) -> None:
        """Ends what still runs."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _execute(self, run: Run) -> str | None:
        await self._controls.until_run_may_begin(self._in_progress)
        self._enter(run, RunState.IN_PROGRESS)
        if run.made_to_fail is not None:
            return run.made_to_fail
        return await self._executor.execute(run)

    def _in_progress(self) -> int:
        return sum(run.status in {RunState.IN_PROGRESS, RunState.CANCELING} for run in self._runs.values())

    def _ended(self, run: Run, task: asyncio.Task[str | None]) -> None:
        # A callback, not a `finally` in the task: a task that is cancelled before its first step never runs.
        if task.cancelled():
            state, run.message = RunState.CANCELLED, "The run was cancelled."
        elif error := task.exception():
            LOG.error("the stand-in failed in run %s", run.id, exc_info=error)
            state, run.message = RunState.FAILED, f"the Data Factory stand-in failed: {error!r}"
        else:
            run.message = task.result() or ""
            state = RunState.FAILED if run.message else RunState.SUCCEEDED
        run.end = utc_now()
        self._enter(run, state)
        self._controls.run_ended()

    def _enter(self, run: Run, state: RunState) -> None:
        run.status = state
        run.last_updated = utc_now()

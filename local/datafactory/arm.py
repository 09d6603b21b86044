"""The JSON of Data Factory's management API: runs as it shows them, queries as it takes them. Pure.

Source: learn.microsoft.com/rest/api/datafactory (2018-06-01) and the models of azure-mgmt-datafactory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from local.datafactory.fields import Fields
from local.datafactory.model import Pipeline
from local.datafactory.runs import ActivityRun, Run

_OPERATORS: Mapping[str, Callable[[str, list[str]], bool]] = {
    "Equals": lambda value, wanted: value == wanted[0],
    "NotEquals": lambda value, wanted: value != wanted[0],
    "In": lambda value, wanted: value in wanted,
    "NotIn": lambda value, wanted: value not in wanted,
}
_RUN_OPERANDS: Mapping[str, Callable[[Run], str]] = {
    "PipelineName": lambda run: run.pipeline.name,
    "Status": lambda run: run.status,
    "RunStart": lambda run: timestamp(run.start),
    "RunEnd": lambda run: timestamp(run.end) if run.end else "",
}
_ACTIVITY_OPERANDS: Mapping[str, Callable[[ActivityRun], str]] = {
    "ActivityName": lambda activity: activity.name,
    "ActivityType": lambda activity: activity.type,
    "Status": lambda activity: activity.status,
}


def timestamp(moment: datetime) -> str:
    """As Azure writes a time: UTC, with a Z."""
    return moment.isoformat().replace("+00:00", "Z")


def error_json(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def pipeline_json(factory_id: str, pipeline: Pipeline) -> dict[str, Any]:
    return {
        "id": f"{factory_id}/pipelines/{pipeline.name}",
        "name": pipeline.name,
        "type": "Microsoft.DataFactory/factories/pipelines",
        "properties": pipeline.document,
    }


def run_json(run: Run) -> dict[str, Any]:
    return {
        "id": f"{run.factory_id}/pipelineruns/{run.id}",
        "runId": run.id,
        "runGroupId": run.id,
        "isLatest": True,
        "pipelineName": run.pipeline.name,
        # The API shows every parameter as text; arrays and objects as JSON.
        "parameters": {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in run.parameters.items()
        },
        "runDimensions": {},
        "invokedBy": {"id": run.id, "name": "Manual", "invokedByType": "Manual"},
        "lastUpdated": timestamp(run.last_updated),
        "runStart": timestamp(run.start),
        "runEnd": timestamp(run.end) if run.end else None,
        "durationInMs": _milliseconds(run.start, run.end),
        "status": run.status,
        "message": run.message,
    }


def activity_json(run: Run, activity: ActivityRun) -> dict[str, Any]:
    return {
        "id": f"{run.factory_id}/pipelineruns/{run.id}/activityruns/{activity.id}",
        "pipelineName": run.pipeline.name,
        "pipelineRunId": run.id,
        "activityName": activity.name,
        "activityType": activity.type,
        "activityRunId": activity.id,
        "linkedServiceName": "",
        "status": activity.status,
        "activityRunStart": timestamp(activity.start),
        "activityRunEnd": timestamp(activity.end) if activity.end else None,
        "durationInMs": _milliseconds(activity.start, activity.end),
        "retryAttempt": activity.attempt or None,
        "input": activity.input,
        "output": activity.output,
        "error": activity.error or {"errorCode": "", "message": "", "failureType": "", "target": activity.name},
    }


def _milliseconds(start: datetime, end: datetime | None) -> int | None:
    return None if end is None else round((end - start).total_seconds() * 1000)


@dataclass(frozen=True)
class _Filter:
    operand: str
    matches: Callable[[str], bool]


@dataclass(frozen=True)
class RunQuery:
    """The body of queryPipelineRuns and queryActivityruns."""

    updated_after: datetime
    updated_before: datetime
    filters: tuple[_Filter, ...]
    newest_first: bool
    after_number: int | None

    def wants_run(self, run: Run) -> bool:
        return self.updated_after <= run.last_updated <= self.updated_before and all(
            wanted.matches(_RUN_OPERANDS[wanted.operand](run)) for wanted in self.filters
        )

    def wants_activity(self, activity: ActivityRun) -> bool:
        updated = activity.end or activity.start
        return self.updated_after <= updated <= self.updated_before and all(
            wanted.matches(_ACTIVITY_OPERANDS[wanted.operand](activity)) for wanted in self.filters
        )

    def page(self, runs: list[Run], size: int) -> dict[str, Any]:
        """One page of the answer; the token is the number of the last run on it."""
        found = sorted(filter(self.wants_run, runs), key=lambda run: run.number, reverse=self.newest_first)
        if self.after_number is not None:
            after = self.after_number
            found = [run for run in found if (run.number < after if self.newest_first else run.number > after)]
        answer: dict[str, Any] = {"value": [run_json(run) for run in found[:size]]}
        if len(found) > size:
            answer["continuationToken"] = str(found[size - 1].number)
        return answer


def read_run_query(body: Any) -> RunQuery:
    """Raises ValueError (DefinitionError among them) for what the stand-in cannot answer."""
    return _read_query(body, _RUN_OPERANDS)


def read_activity_query(body: Any) -> RunQuery:
    """Raises ValueError (DefinitionError among them) for what the stand-in cannot answer."""
    return _read_query(body, _ACTIVITY_OPERANDS)


def _read_query(body: Any, operands: Mapping[str, Any]) -> RunQuery:
    with Fields(body, "query") as query:
        token = query.optional("continuationToken", str, "")
        return RunQuery(
            updated_after=_instant(query.required("lastUpdatedAfter", str)),
            updated_before=_instant(query.required("lastUpdatedBefore", str)),
            filters=tuple(_read_filter(each, operands) for each in query.optional("filters", list, [])),
            newest_first=_read_order(query.optional("orderBy", list, [])),
            after_number=int(token) if token else None,
        )


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


def _read_filter(body: Any, operands: Mapping[str, Any]) -> _Filter:
    with Fields(body, "query.filters") as one:
        operand = one.only("operand", *operands)
        operator = _OPERATORS[one.only("operator", *_OPERATORS)]
        values = one.required("values", list)
    if not values or not all(isinstance(value, str) for value in values):
        raise ValueError("query.filters: values must be one or more texts")
    if operand in {"RunStart", "RunEnd"}:
        values = [timestamp(_instant(value)) for value in values]
    return _Filter(operand, lambda value: operator(value, values))


def _read_order(listed: list[Any]) -> bool:
    if len(listed) > 1:
        raise ValueError("query.orderBy: the stand-in sorts by RunStart alone")
    for each in listed:
        with Fields(each, "query.orderBy") as order:
            order.only("orderBy", "RunStart")
            return bool(order.only("order", "ASC", "DESC") == "DESC")
    return False

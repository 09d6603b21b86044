"""Reads the activities of a pipeline definition; `definitions` reads what is around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from local.datafactory.copy_activity import read_copy
from local.datafactory.expressions import Names
from local.datafactory.fields import DefinitionError, Fields
from local.datafactory.model import (
    Activity,
    AssignVariable,
    CallFunction,
    Condition,
    Dependency,
    Fail,
    ForEach,
    IfCondition,
    Until,
)
from local.datafactory.reading import read_policy, read_template, read_timeout

# Limits of the service: learn.microsoft.com/azure/data-factory/control-flow-for-each-activity
_DEFAULT_BATCH_COUNT, _MAX_BATCH_COUNT = 20, 50


def read_activities(
    fields: Fields, names: Names, arrays: frozenset[str], listed_as: str = "activities"
) -> tuple[Activity, ...]:
    """The activities of a pipeline, a loop or a branch. `arrays` are the variables that can be appended to."""
    listed = fields.required(listed_as, list)
    earlier = _earlier(listed)
    activities = tuple(
        _activity(Fields(value, f"{fields.where}.{listed_as}[{index}]"), names, arrays, earlier)
        for index, value in enumerate(listed)
    )
    _check_order(activities, fields.where)
    return activities


def _earlier(listed: list[Any]) -> Mapping[str, frozenset[str]]:
    """The activities that each waits for, directly or not: those whose outputs it may name."""
    direct = {
        value["name"]: [str(arrow.get("activity")) for arrow in value.get("dependsOn", []) if isinstance(arrow, dict)]
        for value in listed
        if isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("dependsOn", []), list)
    }

    def before(name: str, seen: frozenset[str]) -> frozenset[str]:
        for parent in direct.get(name, []):
            if parent not in seen:
                seen = before(parent, seen | {parent})
        return seen

    return {name: before(name, frozenset()) for name in direct}


def _check_order(activities: tuple[Activity, ...], where: str) -> None:
    order = {a.name: [arrow.activity for arrow in a.depends_on] for a in activities}
    if len(order) != len(activities):
        raise DefinitionError(f"{where}: two activities have the same name")
    if unknown := {name for arrows in order.values() for name in arrows} - set(order):
        raise DefinitionError(f"{where}: dependsOn names no activity: {', '.join(sorted(unknown))}")
    try:
        TopologicalSorter(order).prepare()
    except CycleError as error:
        raise DefinitionError(f"{where}: the activities wait for each other in a circle") from error


def _activity(fields: Fields, names: Names, arrays: frozenset[str], earlier: Mapping[str, frozenset[str]]) -> Activity:
    with fields:
        name = fields.required("name", str)
        kind = fields.only(
            *("type", "Copy", "ForEach", "Until", "IfCondition", "AppendVariable", "SetVariable", "Fail"),
            "AzureFunctionActivity",
        )
        fields.where = f"{fields.where} ({name})"
        fields.ignore("description")
        fields.only("userProperties", [], default=[])
        depends_on = _dependencies(fields)
        names = replace(names, activities=names.activities | earlier[name])
        match kind:
            case "Copy":
                return read_copy(fields, name, depends_on, names)
            case "AzureFunctionActivity":
                return _call_function(fields, name, depends_on, names)
            case "ForEach":
                return _for_each(fields, name, depends_on, names, arrays)
            case "Until":
                return _until(fields, name, depends_on, names, arrays)
            case "IfCondition":
                return _if_condition(fields, name, depends_on, names, arrays)
            case "Fail":
                return _fail(fields, name, depends_on, names)
            case _:
                return _assign_variable(fields, name, depends_on, names, arrays, append=kind == "AppendVariable")


def _dependencies(fields: Fields) -> tuple[Dependency, ...]:
    dependencies = []
    for index, value in enumerate(fields.optional("dependsOn", list, [])):
        with Fields(value, f"{fields.where}.dependsOn[{index}]") as arrow:
            conditions = arrow.required("dependencyConditions", list)
            if not conditions or not set(conditions) <= set(Condition):
                raise DefinitionError(f"{arrow.where}: dependencyConditions must be of {', '.join(Condition)}")
            dependencies.append(Dependency(arrow.required("activity", str), frozenset(map(Condition, conditions))))
    return tuple(dependencies)


def _for_each(
    fields: Fields, name: str, depends_on: tuple[Dependency, ...], names: Names, arrays: frozenset[str]
) -> ForEach:
    _refuse_nesting(fields, "ForEach", names)
    with fields.nested("typeProperties") as settings:
        items = read_template(settings, "items", names)
        sequential = settings.optional("isSequential", bool, False)
        batch_count = settings.optional("batchCount", int, _DEFAULT_BATCH_COUNT)
        if not 1 <= batch_count <= _MAX_BATCH_COUNT:
            raise DefinitionError(f"{settings.where}: batchCount must be 1 to {_MAX_BATCH_COUNT}")
        activities = read_activities(settings, replace(names, in_loop=True, nested_in="ForEach"), arrays)
    sets_variable = any(isinstance(inner, AssignVariable) and not inner.append for inner in activities)
    if sets_variable and not sequential:
        raise DefinitionError(f"{fields.where}: Data Factory does not allow SetVariable in a parallel ForEach")
    return ForEach(name, depends_on, items, 1 if sequential else batch_count, activities)


def _until(
    fields: Fields, name: str, depends_on: tuple[Dependency, ...], names: Names, arrays: frozenset[str]
) -> Until:
    _refuse_nesting(fields, "Until", names)
    with fields.nested("typeProperties") as settings:
        condition = read_template(settings, "expression", names)
        timeout_seconds = read_timeout(settings)
        activities = read_activities(settings, replace(names, nested_in="Until"), arrays)
    return Until(name, depends_on, condition, timeout_seconds, activities)


def _if_condition(
    fields: Fields, name: str, depends_on: tuple[Dependency, ...], names: Names, arrays: frozenset[str]
) -> IfCondition:
    _refuse_nesting(fields, "IfCondition", names, inside=("IfCondition",))
    inner = replace(names, nested_in="IfCondition")
    with fields.nested("typeProperties") as settings:
        condition = read_template(settings, "expression", names)
        branches = [
            read_activities(settings, inner, arrays, branch) if settings.has(branch) else ()
            for branch in ("ifTrueActivities", "ifFalseActivities")
        ]
    return IfCondition(name, depends_on, condition, *branches)


def _refuse_nesting(
    fields: Fields, kind: str, names: Names, inside: tuple[str, ...] = ("ForEach", "Until", "IfCondition")
) -> None:
    """The service's own rule: learn.microsoft.com/azure/data-factory/concepts-nested-activities."""
    if names.nested_in in inside:
        raise DefinitionError(f"{fields.where}: Data Factory does not allow {kind} inside {names.nested_in}")


def _fail(fields: Fields, name: str, depends_on: tuple[Dependency, ...], names: Names) -> Fail:
    with fields.nested("typeProperties") as settings:
        message = read_template(settings, "message", names)
        return Fail(name, depends_on, message, read_template(settings, "errorCode", names))


def _call_function(fields: Fields, name: str, depends_on: tuple[Dependency, ...], names: Names) -> CallFunction:
    policy = read_policy(fields)
    with fields.nested("linkedServiceName") as reference:
        reference.only("type", "LinkedServiceReference")
        linked_service = reference.required("referenceName", str)
    with fields.nested("typeProperties") as settings:
        function = settings.required("functionName", str)
        method = settings.only("method", "GET", "POST")
        headers = settings.optional("headers", dict, {})
        body = read_template(settings, "body", names) if method == "POST" else None
    return CallFunction(name, depends_on, policy, linked_service, function, method, headers, body)


def _assign_variable(
    fields: Fields,
    name: str,
    depends_on: tuple[Dependency, ...],
    names: Names,
    arrays: frozenset[str],
    *,
    append: bool,
) -> AssignVariable:
    with fields.nested("typeProperties") as settings:
        variable = settings.required("variableName", str)
        value = read_template(settings, "value", names)
        if variable not in names.variables:
            raise DefinitionError(f"{settings.where}: the pipeline has no variable {variable}")
        if append and variable not in arrays:
            raise DefinitionError(f"{settings.where}: {variable} is not an array")
        if not append and value.names_variable(variable):
            raise DefinitionError(f"{settings.where}: Data Factory does not allow {variable} in its own new value")
    return AssignVariable(name, depends_on, variable, value, append)

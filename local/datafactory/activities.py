"""Reads the activities of a pipeline definition; `definitions` reads what is around them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from local.datafactory.expressions import ExpressionError, Names, Template, check, parse
from local.datafactory.fields import DefinitionError, Fields
from local.datafactory.model import (
    Activity,
    AssignVariable,
    Condition,
    Copy,
    DatasetReference,
    Dependency,
    ForEach,
    Parameter,
    Policy,
)

# Limits of the service: learn.microsoft.com/azure/data-factory/control-flow-for-each-activity
_DEFAULT_BATCH_COUNT, _MAX_BATCH_COUNT = 20, 50
_TIMEOUT = re.compile(r"(?:(\d+)\.)?(\d\d):(\d\d):(\d\d)")


def read_parameters(fields: Fields, types: Iterable[str]) -> dict[str, Parameter]:
    """The `parameters` of a pipeline or dataset."""
    parameters: dict[str, Parameter] = {}
    for name, value in fields.optional("parameters", dict, {}).items():
        with Fields(value, f"{fields.where}.parameters.{name}") as parameter:
            required = not parameter.has("defaultValue")
            parameters[name] = Parameter(
                type=parameter.only("type", *types),
                required=required,
                default=None if required else parameter.raw("defaultValue"),
            )
    return parameters


def read_template(fields: Fields, name: str, names: Names) -> Template:
    """A string property, plain or as `{"value": ..., "type": "Expression"}`."""
    value = fields.raw(name)
    where = f"{fields.where}.{name}"
    if isinstance(value, dict):
        with Fields(value, where) as expression:
            expression.only("type", "Expression")
            value = expression.required("value", str)
    if not isinstance(value, str):
        raise DefinitionError(f"{where} must be text or an expression")
    try:
        template = parse(value)
        check(template, names)
    except ExpressionError as error:
        raise DefinitionError(f"{where}: {error}") from error
    return template


def read_activities(fields: Fields, names: Names, arrays: frozenset[str]) -> tuple[Activity, ...]:
    """The `activities` of a pipeline or loop. `arrays` are the variables that can be appended to."""
    listed = fields.required("activities", list)
    activities = tuple(
        _activity(Fields(value, f"{fields.where}.activities[{index}]"), names, arrays)
        for index, value in enumerate(listed)
    )
    _check_order(activities, fields.where)
    return activities


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


def _activity(fields: Fields, names: Names, arrays: frozenset[str]) -> Activity:
    with fields:
        name = fields.required("name", str)
        kind = fields.only("type", "Copy", "ForEach", "AppendVariable", "SetVariable")
        fields.where = f"{fields.where} ({name})"
        fields.ignore("description")
        fields.only("userProperties", [], default=[])
        depends_on = _dependencies(fields)
        match kind:
            case "Copy":
                return _copy(fields, name, depends_on, names)
            case "ForEach":
                return _for_each(fields, name, depends_on, names, arrays)
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
    if names.in_loop:
        raise DefinitionError(f"{fields.where}: Data Factory does not allow ForEach inside ForEach")
    with fields.nested("typeProperties") as settings:
        items = read_template(settings, "items", names)
        sequential = settings.optional("isSequential", bool, False)
        batch_count = settings.optional("batchCount", int, _DEFAULT_BATCH_COUNT)
        if not 1 <= batch_count <= _MAX_BATCH_COUNT:
            raise DefinitionError(f"{settings.where}: batchCount must be 1 to {_MAX_BATCH_COUNT}")
        activities = read_activities(settings, replace(names, in_loop=True), arrays)
    sets_variable = any(isinstance(inner, AssignVariable) and not inner.append for inner in activities)
    if sets_variable and not sequential:
        raise DefinitionError(f"{fields.where}: Data Factory does not allow SetVariable in a parallel ForEach")
    return ForEach(name, depends_on, items, 1 if sequential else batch_count, activities)


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
    return AssignVariable(name, depends_on, variable, value, append)


def _copy(fields: Fields, name: str, depends_on: tuple[Dependency, ...], names: Names) -> Copy:
    policy = _policy(fields)
    source, sink = _reference(fields, "inputs", names), _reference(fields, "outputs", names)
    with fields.nested("typeProperties") as settings:
        _read_source(settings)
        block_size_bytes = _read_sink(settings)
        preserve = settings.only("preserve", [], ["Attributes"], default=[])
        # Without it Data Factory does not notice that the source changed while it was read.
        settings.only("validateDataConsistency", True)
        settings.only("enableStaging", False, default=False)
        if not 2 <= settings.required("dataIntegrationUnits", int) <= 256:
            raise DefinitionError(f"{settings.where}: dataIntegrationUnits must be 2 to 256")
        with settings.nested("skipErrorFile") as skip:
            # Data Factory's default is true, so it must be said.
            skip_missing = skip.required("fileMissing", bool)
            skip.only("dataInconsistency", False, default=False)
    return Copy(name, depends_on, policy, source, sink, preserve != [], skip_missing, block_size_bytes)


def _read_source(settings: Fields) -> None:
    with settings.nested("source") as source:
        source.only("type", "BinarySource")
        with source.nested("storeSettings") as store:
            store.only("type", "AzureBlobStorageReadSettings")
            store.only("recursive", False, True, default=True)
            # A backup must never delete what it protects.
            store.only("deleteFilesAfterCompletion", False, default=False)


def _read_sink(settings: Fields) -> int:
    with settings.nested("sink") as sink:
        sink.only("type", "BinarySink")
        with sink.nested("storeSettings") as store:
            store.only("type", "AzureBlobStorageWriteSettings")
            # Consistency is checked with this behaviour alone:
            # learn.microsoft.com/azure/data-factory/copy-activity-data-consistency
            store.only("copyBehavior", "PreserveHierarchy")
            return store.optional("blockSizeInMB", int, 4) * 1024 * 1024


def _reference(fields: Fields, name: str, names: Names) -> DatasetReference:
    listed: list[Any] = fields.required(name, list)
    if len(listed) != 1:
        raise DefinitionError(f"{fields.where}: {name} must hold exactly one dataset")
    with Fields(listed[0], f"{fields.where}.{name}[0]") as reference:
        reference.only("type", "DatasetReference")
        dataset = reference.required("referenceName", str)
        given: Mapping[str, Any] = reference.optional("parameters", dict, {})
    with Fields(given, f"{reference.where}.parameters") as parameters:
        return DatasetReference(dataset, {key: read_template(parameters, key, names) for key in given})


def _policy(fields: Fields) -> Policy:
    with fields.nested("policy") as policy:
        timeout = policy.required("timeout", str)
        retries = policy.optional("retry", int, 0)
        interval = policy.optional("retryIntervalInSeconds", int, 30)
        policy.only("secureInput", False, True, default=False)
        policy.only("secureOutput", False, True, default=False)
        match = _TIMEOUT.fullmatch(timeout)
        if match is None:
            raise DefinitionError(f"{policy.where}: timeout must look like 0.12:00:00, not {timeout}")
        if not 30 <= interval <= 86400:
            raise DefinitionError(f"{policy.where}: retryIntervalInSeconds must be 30 to 86400")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return Policy(((days * 24 + hours) * 60 + minutes) * 60.0 + seconds, retries, float(interval))

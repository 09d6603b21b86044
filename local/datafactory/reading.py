"""Reads what several definitions have in common: parameters, templates, policies."""

from __future__ import annotations

import re
from collections.abc import Iterable

from local.datafactory.expressions import ExpressionError, Names, Template, check, parse
from local.datafactory.fields import DefinitionError, Fields
from local.datafactory.model import Parameter, Policy

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


def read_policy(fields: Fields) -> Policy:
    """How often and for how long an activity is tried."""
    with fields.nested("policy") as policy:
        seconds = read_timeout(policy)
        retries = policy.optional("retry", int, 0)
        interval = policy.optional("retryIntervalInSeconds", int, 30)
        policy.only("secureInput", False, True, default=False)
        policy.only("secureOutput", False, True, default=False)
        if not 30 <= interval <= 86400:
            raise DefinitionError(f"{policy.where}: retryIntervalInSeconds must be 30 to 86400")
    return Policy(seconds, retries, float(interval))


def read_timeout(fields: Fields) -> float:
    """A `timeout`, in seconds."""
    timeout = fields.required("timeout", str)
    match = _TIMEOUT.fullmatch(timeout)
    if match is None:
        raise DefinitionError(f"{fields.where}: timeout must look like 0.12:00:00, not {timeout}")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60.0 + seconds

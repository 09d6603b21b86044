"""Calls a Functions app as the Azure Function activity does: a JSON object is the only good answer.

Source: learn.microsoft.com/azure/data-factory/control-flow-azure-function-activity.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from local.datafactory.model import CallFunction

_ANSWER_SECONDS = 230
"""How long the platform's load balancer waits for an answer."""


class CallError(Exception):
    """The call was refused, or its answer is none that Data Factory takes."""


@dataclass(frozen=True)
class FunctionApp:
    """Where a Functions app is, and its function key."""

    url: str
    key: str = field(repr=False)


async def call_function(app: FunctionApp, call: CallFunction, body: Any) -> Mapping[str, Any]:
    """The answer of the app.

    Raises:
        CallError: with the status and what the app said.
    """
    headers = {**call.headers, "x-functions-key": app.key}
    timeout = aiohttp.ClientTimeout(total=min(_ANSWER_SECONDS, call.policy.timeout_seconds))
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(call.method, f"{app.url}/api/{call.function}", headers=headers, data=body) as answer,
        ):
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise CallError(f"Call to provided Azure function '{call.function}' failed: {error!r}") from error
    if answer.status >= 300:
        raise CallError(
            f"Call to provided Azure function '{call.function}' failed with status-'{answer.reason}' and message - "
            f"'Invoking Azure function failed with HttpStatusCode - {answer.status}, message - {text}'."
        )
    return _object(text)


def _object(text: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise CallError("Response Content is not a valid JObject")
    return document

"""The HTTP face of `protect`: reads its parameters strictly, and shapes every answer as a JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import azure.functions as func

from shared.errors import BadParameter, SnapkeepError
from shared.operations.protect import Protected

MAX_BODY_BYTES = 64 * 1024
_PARAMETERS = ("container", "prefix", "continuation")
_PLATFORM_PARAMETERS = {"code", "clientId"}
"""The platform's own, for function keys; they reach the function with the rest of the query."""


class ProtectCall(NamedTuple):
    """What a caller asks of `protect`."""

    container: str
    prefix: str
    continuation: str | None


def protect_call(request: func.HttpRequest) -> ProtectCall:
    """The parameters, from the query or a JSON body.

    Raises:
        BadParameter: one is missing, unknown, malformed, or given twice with different values.
    """
    query = {name: value for name, value in request.params.items() if name not in _PLATFORM_PARAMETERS}
    given: dict[str, Any] = {}
    for values in (query, _body(request)):
        for name, value in values.items():
            if name not in _PARAMETERS:
                raise BadParameter(f"{_shown(name)}: unknown parameter; there are {', '.join(_PARAMETERS)}")
            if value is None:
                continue
            if not isinstance(value, str):
                raise BadParameter(f"{name}: expects a text")
            if given.setdefault(name, value) != value:
                raise BadParameter(f"{name}: the query and the body say different things")
    if not given.get("container"):
        raise BadParameter("container: missing; name the container to protect")
    prefix = given.get("prefix", "")
    if len(prefix) > 1024 or "\0" in prefix or not _is_text(prefix):
        raise BadParameter("prefix: expects at most 1,024 characters of text")
    return ProtectCall(given["container"], prefix, given.get("continuation") or None)


def answer(protected: Protected) -> func.HttpResponse:
    """200 when complete, 202 to be continued, or the status of the error that ended it."""
    status = 200 if protected.complete else 202
    if protected.error is not None:
        status = protected.error.http_status
    return _json(protected.to_json(), status)


def error_answer(error: SnapkeepError) -> func.HttpResponse:
    """The answer to a call that was not carried out."""
    return _json({"error": {"code": error.code, "message": str(error)}}, error.http_status)


def _json(document: Mapping[str, Any], status: int) -> func.HttpResponse:
    body = json.dumps(document, ensure_ascii=False)
    return func.HttpResponse(body, status_code=status, mimetype="application/json", charset="utf-8")


def _body(request: func.HttpRequest) -> dict[str, Any]:
    body = request.get_body() or b""
    if len(body) > MAX_BODY_BYTES:
        raise BadParameter(f"body: expects at most {MAX_BODY_BYTES} bytes of JSON; got {len(body)}")
    if not body.strip():
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadParameter("body: expects a JSON object; it is not JSON in UTF-8") from None
    if not isinstance(document, dict):
        raise BadParameter('body: expects a JSON object, such as {"container": "raw"}')
    return document


def _shown(name: str) -> str:
    return repr(name[:60])


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True

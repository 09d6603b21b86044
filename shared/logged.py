"""What a log line is about: the function, its invocation, the container and the run, at the end of the line.

The Functions worker hands on nothing but a line's text (its RPC has room for properties, which the worker for
Python leaves empty), so the fields stand in it, as `name=value`, and as attributes of the record for any other handler.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

FIELDS = ("function", "invocation", "container", "run")

_LOGGERS = frozenset({"shared", "snapkeep"})
_PLAIN = re.compile(r"[\w.:-]+")
_about: ContextVar[dict[str, str]] = ContextVar("about", default={})  # noqa: B039 -- never changed: `about` sets another


@contextlib.contextmanager
def about(**fields: object) -> Iterator[None]:
    """Within the block, and in the tasks that it starts, lines are about this, too; what is no field is passed over."""
    known = {name: str(fields[name]) for name in FIELDS if name in fields}
    token = _about.set(_about.get() | known)
    try:
        yield
    finally:
        _about.reset(token)


def mark_records() -> None:
    """Has the records of Snapkeep's own loggers carry the fields, within invocations of the app, from now on."""
    make = logging.getLogRecordFactory()
    if isinstance(make, _Marking):
        return
    logging.setLogRecordFactory(_Marking(make))


class _Marking:
    def __init__(self, make: Any) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._make(*args, **kwargs)
        fields = _about.get()
        if "function" in fields and record.name.partition(".")[0] in _LOGGERS:
            record.__dict__.update(fields)
            suffix = f" [{_text(fields)}]"
            record.msg = f"{record.msg}{suffix.replace('%', '%%') if record.args else suffix}"
        return record


def _text(fields: Mapping[str, str]) -> str:
    return " ".join(
        f"{name}={value if _PLAIN.fullmatch(value) else json.dumps(value)}" for name, value in fields.items()
    )

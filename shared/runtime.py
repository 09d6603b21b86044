"""Ties the app to the Functions platform: settings checked at start, services opened at first use, runs told of."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, NamedTuple, TypeVar, cast

import azure.functions as func
from azure.functions.decorators.function_app import Function

from shared.logged import about, mark_records
from shared.operations.run_notes import RunNotes
from shared.services import Services
from shared.settings import Settings
from shared.telemetry import Telemetry
from shared.tracing import within

Result = TypeVar("Result")

NO_CONTEXT = cast("func.Context", None)
"""For callers other than the platform. Its worker refuses a `context` parameter of any type but `func.Context`."""


class _Opened(NamedTuple):
    services: Services
    telemetry: Telemetry


class SnapkeepApp(func.FunctionApp):
    """The Functions app. Nothing is built when it is imported.

    The platform asks for the functions once, when it starts the app: that is when wrong settings stop it.
    """

    def __init__(self) -> None:
        super().__init__(http_auth_level=func.AuthLevel.FUNCTION)
        self._life = _life()
        self._opened: _Opened | None = None
        self._notes = RunNotes()
        # The SDKs log every request at INFO; their names of blobs and hosts belong in no log of ours.
        logging.getLogger("azure").setLevel(logging.WARNING)
        mark_records()

    def get_functions(self) -> list[Function]:
        """What the platform indexes.

        Raises:
            SettingsError: naming every setting that is missing or malformed.
        """
        Settings.load()
        return super().get_functions()

    async def run(
        self, function: str, work: Callable[[Services], Awaitable[Result]], context: func.Context | None
    ) -> Result:
        """Does the work of one invocation of a function; notes, measures and traces it."""
        if self._opened is None:
            # The one set of this process. All functions are async and share one event loop.
            self._opened = await anext(self._life)
        services, telemetry = self._opened
        with about(function=function, **_invocation(context)), within(_traceparent(context)):
            return await telemetry.observed(services, function, self._notes.noted(services, function, work(services)))


def _invocation(context: func.Context | None) -> dict[str, str]:
    return {"invocation": context.invocation_id} if context else {}


def _traceparent(context: func.Context | None) -> str | None:
    # The library types it as text, and without the None that a host may give.
    trace: Any = context.trace_context if context else None
    return trace.trace_parent or None if trace else None


async def _life() -> AsyncGenerator[_Opened]:
    """Services that are closed with the event loop: it ends its asynchronous generators before itself."""
    settings = Settings.load()
    telemetry = Telemetry.of(settings)
    try:
        async with Services.open(settings) as services:
            yield _Opened(services, telemetry)
    finally:
        telemetry.close()

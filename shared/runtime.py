"""Ties the app to the Functions platform: settings checked at start, services opened at first use, runs noted."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

import azure.functions as func
from azure.functions.decorators.function_app import Function

from shared.operations.run_notes import RunNotes
from shared.services import Services
from shared.settings import Settings

Result = TypeVar("Result")


class SnapkeepApp(func.FunctionApp):
    """The Functions app. Nothing is built when it is imported.

    The platform asks for the functions once, when it starts the app: that is when wrong settings stop it.
    """

    def __init__(self) -> None:
        super().__init__(http_auth_level=func.AuthLevel.FUNCTION)
        self._life = _life()
        self._services: Services | None = None
        self._notes = RunNotes()
        # The SDKs log every request at INFO; their names of blobs and hosts belong in no log of ours.
        logging.getLogger("azure").setLevel(logging.WARNING)

    def get_functions(self) -> list[Function]:
        """What the platform indexes.

        Raises:
            SettingsError: naming every setting that is missing or malformed.
        """
        Settings.load()
        return super().get_functions()

    async def services(self) -> Services:
        """The one set of services of this process. All functions are async and share one event loop."""
        if self._services is None:
            self._services = await anext(self._life)
        return self._services

    async def run(self, function: str, work: Callable[[Services], Awaitable[Result]]) -> Result:
        """Does the work of one invocation of a function, and notes how it ended."""
        services = await self.services()
        return await self._notes.noted(services, function, work(services))


async def _life() -> AsyncGenerator[Services]:
    """Services that are closed with the event loop: it ends its asynchronous generators before itself."""
    async with Services.open(Settings.load()) as services:
        yield services

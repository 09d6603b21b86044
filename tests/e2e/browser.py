"""Headless Chromium from Debian, driven by Playwright's library alone: it downloads nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playwright.async_api import Browser, Page, Request, Route, async_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",  # which root may not have, nor everybody in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Tab:
    """A page in a browser of its own, and all that it did: requests, messages on the console, dialogs, errors."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.console: list[str] = []
        self.errors: list[str] = []
        self.dialogs: list[str] = []

    async def __aenter__(self) -> Self:
        page = self.page
        page.on("request", self._requested)
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", self._asked)
        await page.route("**/*", self._stopped)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.page.close()

    async def open(self, path: Path) -> None:
        """Opens a file; it has loaded when this returns."""
        await self.page.goto(path.as_uri(), wait_until="load")

    @property
    def left(self) -> list[str]:
        """Requests for anything but files and what the page itself holds."""
        return [url for url in self.requests if not url.startswith(("file:", "data:"))]

    def _requested(self, request: Request) -> None:
        self.requests.append(request.url)

    async def _asked(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        await dialog.dismiss()

    async def _stopped(self, route: Route) -> None:
        """Whatever a page asks for of others is noted, and not had."""
        await (route.continue_() if route.request.url.startswith("file:") else route.abort())


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """Chromium, with a profile of its own that is gone with it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, headless=True)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def tab_of(browser: Browser, **options: Any) -> AsyncIterator[Tab]:
    """A tab that knows nothing of the others; the options are those of Playwright's contexts."""
    context = await browser.new_context(**options)
    try:
        async with Tab(await context.new_page()) as tab:
            yield tab
    finally:
        await context.close()

"""The operation `status`: gathers what is known of the protection of everything, and writes the status page.

Each thing is read on its own: one that cannot be read makes the status `unknown`, and keeps no other from being told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from importlib import import_module
from typing import TypeVar

from shared.decisions.status import FUNCTIONS, Inputs, Status
from shared.decisions.status import status as decide
from shared.decisions.status_documents import Found, Unreadable
from shared.errors import SnapkeepError
from shared.operations import alarms
from shared.services import Services

PAGE = "status.html"
DOCUMENTS = {
    "coverage": "reports/latest.json",
    "history": "history/coverage.json",
    "sync": "reports/sync-latest.json",
    "verify": "reports/verify-latest.json",
    "drill": "reports/drill-latest.json",
}

Value = TypeVar("Value")

log = logging.getLogger(__name__)


async def status(services: Services) -> Status:
    """The status as of now. Raises nothing for what cannot be read: the status says so."""
    queue, discarded, alarmed, documents, runs = await asyncio.gather(
        _tried(services.queue.overview()),
        _tried(_discarded(services)),
        _tried(_alarms(services)),
        _documents(services, DOCUMENTS),
        _documents(services, {function: f"runs/{function}.json" for function in FUNCTIONS}),
    )
    settings = services.settings
    inputs = Inputs(
        **documents,
        runs=runs,
        queue=queue,
        discarded=discarded,
        mirrors=tuple((pair.source, pair.backup) for pair in settings.sync_containers),
        verifies=settings.verify_sample.percent > 0,
        drills=settings.drill_blobs > 0,
        alarms=alarmed,
    )
    return decide(inputs, services.now())


async def page_of(found: Status) -> str:
    """The status as a page of HTML."""
    # Templates and charts take a while to import, which most invocations never need; in a thread, so that
    # leases are renewed meanwhile.
    status_page = await asyncio.to_thread(import_module, "shared.status_page")
    text: str = await asyncio.to_thread(status_page.render, found)
    return text


async def write_page(services: Services) -> None:
    """Writes the page to the state. It is about the work, never part of it: a failure is a warning in the log."""
    try:
        await services.state.write_text(PAGE, await page_of(await status(services)), "text/html; charset=utf-8")
    except SnapkeepError as error:
        log.warning("the status page could not be written: %s", error)
    except Exception:
        log.exception("the status page could not be written")


async def _documents(services: Services, names: Mapping[str, str]) -> dict[str, Found]:
    found = await asyncio.gather(*(_tried(services.state.read(name)) for name in names.values()))
    return dict(zip(names, found, strict=True))


async def _discarded(services: Services) -> int:
    return len(await services.state.names("discarded/"))


async def _alarms(services: Services) -> tuple[str, ...]:
    return tuple(alarm.finding for alarm in await alarms.standing(services))


async def _tried(reading: Awaitable[Value]) -> Value | Unreadable:
    try:
        return await reading
    except SnapkeepError as error:
        return Unreadable(str(error))
    except ValueError:
        return Unreadable("it is not JSON")
    except Exception as error:
        log.exception("something could not be read for the status")
        return Unreadable(f"unexpected {type(error).__name__}")

"""`python -m local.demo`: starts the local stack, tells the story, and stops everything.

Exit code 0: everything matched. 1: something did not, or the story could not be told to its end. 130: Ctrl-C.
"""

import asyncio
import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

from local.demo.page import Page, Stopwatch
from local.demo.settings import app_settings
from local.demo.story import tell
from local.errors import CommandFailed
from local.processes import watched
from local.sentinel import carriers
from local.stack import StackProcess, running_stack

APP = Path(__file__).parents[2]
MATCHED, FAILED, INTERRUPTED = 0, 1, 130


def main() -> int:
    """Runs the demo; returns the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the terminal's encoding may not have all of a hard name
    page = Page()
    watch = Stopwatch()
    page.title("Snapkeep: snapshots and verified backups of real files, all on this machine")
    exit_code = FAILED
    handle, log = tempfile.mkstemp(prefix="snapkeep-demo-", suffix=".log")
    try:
        with standard_error_in(handle), watched() as identity:
            exit_code, verdict = run(page)
            left = carriers(identity)
        if left:
            exit_code = FAILED
        still = f"Left running: processes {left}." if left else "Nothing is left running."
        page.verdict(f"{verdict} {still} {watch.seconds:.1f} s in all.", good=exit_code == MATCHED)
    finally:
        os.close(handle)
        if exit_code == FAILED:
            page.line(f"log of the app and the services: {log}")
        else:
            Path(log).unlink()
    return exit_code


def run(page: Page) -> tuple[int, str]:
    """Tells the story, in one way or the other to its end; returns the exit code and the verdict."""
    try:
        differences = asyncio.run(demo(page))
    except KeyboardInterrupt:
        return INTERRUPTED, "Interrupted."
    except CommandFailed as error:
        return FAILED, f"The demo failed: {error}."
    if differences:
        return FAILED, f"Not everything matched: {len(differences)} differences."
    return MATCHED, "Everything matched."


async def demo(page: Page) -> list[str]:
    """Tells the story on a local stack of its own; returns what did not match. Raises CommandFailed."""
    # The host hands its environment to the app, as on the platform.
    os.environ.update(app_settings())
    watch = Stopwatch()
    page.step("The local stack starts", "All of it runs on this machine: nothing here reaches Azure.")
    async with contextlib.AsyncExitStack() as stack:
        with page.waiting("starting"):
            started = running_stack(host_arguments=["--app", str(APP)])
            services, host = await stack.enter_async_context(started)
        page.line("Azurite, the Data Factory stand-in and the app answer", watch.seconds)
        return await while_running(tell(page, host.ready), services, host)


async def while_running(story: Coroutine[Any, Any, list[str]], *processes: StackProcess) -> list[str]:
    """Awaits the story, but no longer than all processes run. Raises StackFailed when one ends."""
    telling = asyncio.ensure_future(story)
    ends = [asyncio.ensure_future(process.ended()) for process in processes]
    try:
        await asyncio.wait([telling, *ends], return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            if end.done():
                end.result()
        return await telling
    finally:
        for task in (telling, *ends):
            task.cancel()
        await asyncio.gather(telling, *ends, return_exceptions=True)


@contextlib.contextmanager
def standard_error_in(handle: int) -> Iterator[None]:
    """Has a file take what this process and those that it starts write to standard error: the stack's log."""
    ours = os.dup(2)
    os.dup2(handle, 2)
    try:
        yield
    finally:
        os.dup2(ours, 2)
        os.close(ours)


if __name__ == "__main__":
    sys.exit(main())

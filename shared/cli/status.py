"""`snapkeep status`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shared.cli.running import json_option, print_json, run, settings_option
from shared.decisions.status import ContainerStatus, RunStatus, Status
from shared.decisions.status_findings import Verdict
from shared.errors import SnapkeepError
from shared.operations.status import page_of
from shared.operations.status import status as gather
from shared.services import Services
from shared.wording import age, count, minute, percent, visible

WATCH_SECONDS = 10.0
STYLES = {
    Verdict.PROTECTED: "bold green",
    Verdict.AT_RISK: "bold red",
    Verdict.UNKNOWN: "bold yellow",
    "succeeded": "green",
    "failed": "red",
    "incomplete": "yellow",
    "unknown": "yellow",
}
COLUMNS = ("container", "blobs", "versions", "protected", "missing", "unprotectable", "oldest\nunprotected", "deleted")


@click.command()
@settings_option
@json_option
@click.option(
    "--fail-on",
    type=click.Choice(["at-risk", "unknown", "never"]),
    default="at-risk",
    show_default=True,
    help="When to exit with 1: at-risk: unless all is known to be protected; "
    "unknown: only when something could not be known; never: not at all.",
)
@click.option(
    "--watch",
    "watch_seconds",
    is_flag=False,
    flag_value=WATCH_SECONDS,
    type=click.FloatRange(min=0.1),
    metavar="[SECONDS]",
    help=f"Look again every so many seconds ({WATCH_SECONDS:g} unless given) until Ctrl-C, which exits with 0.",
)
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write the status to FILE, as one HTML page that needs nothing else.",
)
def status(
    settings_file: Path | None, as_json: bool, fail_on: str, watch_seconds: float | None, page: Path | None
) -> None:
    """Tell what is protected, what is not and why, from the latest reports and the queue.

    The verdict is "protected", "at risk" (something bad is known) or "unknown" (something could not be known: then
    nothing is called protected). It is as good as the last reconciliation: `snapkeep reconcile` looks again.
    """

    async def look(services: Services) -> Status:
        found = await gather(services)
        if page is not None:
            await _write_page(page, found)
        return found

    async def watch(services: Services) -> None:
        # Ctrl-C cancels this task, as it is meant to be left.
        try:
            await _watch(services, watch_seconds or WATCH_SECONDS)
        except asyncio.CancelledError:
            return

    async def _watch(services: Services, seconds: float) -> None:
        console = Console()
        if as_json or not console.is_terminal:
            while True:
                _print(await look(services), as_json=as_json)
                await asyncio.sleep(seconds)
        with Live(Text("reading"), console=console, auto_refresh=False, vertical_overflow="visible") as live:
            while True:
                live.update(_drawn(await look(services)), refresh=True)
                await asyncio.sleep(seconds)

    if watch_seconds is not None:
        run(settings_file, watch)
        return
    found = run(settings_file, look)
    _print(found, as_json=as_json)
    sys.exit(exit_code(found, fail_on))


def exit_code(found: Status, fail_on: str) -> int:
    """0 or 1, by what the caller wants to be told of."""
    if fail_on == "never":
        return 0
    good = found.knows_all if fail_on == "unknown" else found.verdict is Verdict.PROTECTED
    return 0 if good else 1


async def _write_page(path: Path, found: Status) -> None:
    text = await page_of(found)
    try:
        await asyncio.to_thread(path.write_text, text, encoding="utf-8")
    except OSError as error:
        raise SnapkeepError(f"{path} could not be written: {error.strerror or error}") from error


def _print(found: Status, *, as_json: bool) -> None:
    console = Console()
    if as_json:
        print_json(found.to_json())
    elif console.is_terminal:
        console.print(_drawn(found))
    else:
        for line in lines(found):
            click.echo(line)


def lines(found: Status) -> Iterator[str]:
    """The status for a pipe: one thing a line, each called by its name first."""
    yield f"status: {found.verdict}, as of {found.as_of}"
    for reason in found.reasons:
        yield f"{reason.verdict}: {visible(reason.text)}"
    if found.total is not None:
        yield f"coverage: as of {found.reported_at}"
        for part in (*found.containers, found.total):
            yield visible(f"coverage: {part.container}: {_coverage_line(part)}")
    for run_status in (*found.functions, *found.checks):
        ended = f" at {run_status.finished_at}" if run_status.finished_at else ""
        detail = f": {run_status.detail}" if run_status.detail else ""
        yield visible(f"last {run_status.what}: {run_status.result}{ended}{detail}")
    yield f"queue: {_queue_line(found)}"


def _coverage_line(part: ContainerStatus) -> str:
    values = (
        f"{part.blobs:,} blobs",
        f"{part.versions:,} versions",
        f"{percent(part.protected_percent)} protected",
        f"{part.missing:,} missing",
        f"{_unprotectable(part)} unprotectable",
        f"oldest unprotected {age(part.recovery_point_seconds)}",
        f"{count(part.deleted)} deleted",
    )
    return ", ".join(values) + (f": {part.error}" if part.error else "")


def _queue_line(found: Status) -> str:
    if found.queue is None:
        return "not known"
    queue = found.queue
    waiting = f", the oldest for {age(queue.oldest_waiting_seconds)}" if queue.oldest_waiting_seconds else ""
    poison = f", the oldest {age(queue.oldest_poison_seconds)} ago" if queue.oldest_poison_seconds else ""
    return (
        f"{queue.waiting:,} waiting{waiting}; {queue.poison:,} given up on{poison}; {count(found.discarded)} discarded"
    )


def _unprotectable(part: ContainerStatus) -> str:
    total = sum(part.unprotectable.values())
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in part.unprotectable.items())
    return f"{total:,} ({reasons})" if total else "0"


def _drawn(found: Status) -> RenderableType:
    """The status for a terminal. Nothing of it is read as markup: names and reasons come from outside."""
    parts: list[RenderableType] = [
        Text.assemble((str(found.verdict), STYLES[found.verdict]), (f"   as of {minute(found.as_of)}", "dim"))
    ]
    for reason in found.reasons:
        parts.append(
            Padding(Text.assemble((f"{reason.verdict}: ", STYLES[reason.verdict]), visible(reason.text)), (0, 0, 0, 2))
        )
    if found.total is not None:
        parts.append(_coverage_table(found))
    parts.append(_runs_table((*found.functions, *found.checks)))
    parts.append(Text.assemble(("queue  ", "bold"), _queue_line(found)))
    return Group(*parts)


def _table(title: str | None = None) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=0)


def _coverage_table(found: Status) -> Table:
    table = _table(title=f"coverage as of {minute(found.reported_at)}")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "container" else "right", overflow="fold")
    shown = list(found.containers)
    if len(shown) > 1 and found.total is not None:
        shown.append(found.total)
    for position, part in enumerate(shown):
        whole = part.protected == part.versions and part.error is None
        table.add_row(
            Text("all" if part is found.total else visible(part.container)),
            f"{part.blobs:,}",
            f"{part.versions:,}",
            Text(percent(part.protected_percent), style="green" if whole else "red"),
            f"{part.missing:,}",
            Text("\n".join(visible(f"{number:,} {reason}") for reason, number in part.unprotectable.items()) or "0"),
            age(part.recovery_point_seconds),
            count(part.deleted),
            end_section=position == len(found.containers) - 1,
        )
    return table


def _runs_table(runs: tuple[RunStatus, ...]) -> Table:
    table = _table()
    for column in ("last", "result", "ended", "what it did"):
        table.add_column(column, overflow="fold")
    for one in runs:
        table.add_row(
            one.what,
            Text(one.result, style=STYLES.get(one.result, "")),
            minute(one.finished_at),
            Text(visible(one.detail)),
        )
    return table

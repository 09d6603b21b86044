"""Shows a restore's plan, progress and outcome: tables and a bar on a terminal, plain lines and no bar elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from shared.decisions.restore_report import ANEW, Outcome, RestoreReport, Result, to_be_gone_on_with
from shared.decisions.restore_summary import Count, Summary, blobs
from shared.decisions.restoring import Action, Job, Mode, Step
from shared.wording import visible

MAX_NAMES = 20
"""How many blobs are named one by one on the screen: the report names them all."""


CENT = 0.01


@dataclass(frozen=True)
class Block:
    """A table of a few rows."""

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def show_plan(job: Job, summary: Summary, impossible: Sequence[Step], *, err: bool) -> None:
    """Prints what is to be done. `err` is for when something else goes to standard output."""
    _echo(f"{job.container} as it was at {job.at}, {where(job)}", err)
    for block in _plan_blocks(summary, impossible):
        _show(block, err)
    if summary.oldest is not None:
        _echo(f"versions from {summary.oldest} to {summary.newest}", err)
    requests = ", ".join(f"{count:,} {kind}" for kind, count in summary.requests.items() if count)
    cost = f"${summary.cost_usd:,.2f}" if summary.cost_usd >= CENT else "less than a cent"
    _echo(
        f"about {sum(summary.requests.values()):,} requests ({requests}): {cost}, an estimate at sample prices, "
        "without transfer between regions and retrieval from cool tiers",
        err,
    )
    for warning in summary.warnings:
        _echo(f"warning: {warning}", err)


def where(job: Job) -> str:
    """Where it goes to, in words."""
    if job.mode is Mode.IN_PLACE:
        return f"over what stands in {job.container} now"
    if job.mode is Mode.DIRECTORY:
        return f"into the directory {job.target}"
    return f"into the container {job.target} of the {job.target_account} account"


def question(job: Job, summary: Summary) -> str:
    """What somebody is asked before anything is written."""
    restored, deleted = summary.count(Action.RESTORE), summary.count(Action.DELETE)
    parts = []
    if restored.blobs:
        parts.append(f"restore {blobs(restored.blobs)} ({decimal(restored.bytes)}) {where(job)}")
    if deleted.blobs:
        parts.append(f"delete {blobs(deleted.blobs)} of {job.container} that came later")
    text = " and ".join(parts)
    return f"{text[:1].upper()}{text[1:]}?"


def show_report(report: RestoreReport, file: str) -> None:
    """Prints what became of it."""
    totals = tuple((result.value, f"{count:,}") for result, count in sorted(report.totals.items()) if count)
    _show(Block("", ("result", "blobs"), totals), err=False)
    listed = sorted(report.listed, key=lambda one: one.name)
    rows = [(visible(one.name), one.result.value, visible(one.reason), _offer(one.offered)) for one in listed]
    _show(_cut(Block("not done", ("name", "result", "reason", "older versions"), rows), len(rows)), err=False)
    for warning in report.warnings:
        _echo(f"warning: {warning}", err=False)
    verdict = (
        "everything that was planned has happened" if report.well else "NOT everything that was planned has happened"
    )
    _echo(f"{decimal(report.bytes_restored)} restored {where(report.job)}; {verdict}; report: {file}", err=False)
    if to_be_gone_on_with(report.to_json()):
        _echo("run the same command again to go on where it was", err=False)
    elif any(report.totals[result] for result in ANEW):
        into = f" --to {report.job.target}" if report.job.mode is Mode.CONTAINER else ""
        _echo(f"for what is not done, run it again with --at {report.job.at}{into}", err=False)


class Bar:
    """The progress of a restore on a terminal; nothing in a pipe. What `shared.operations.restore` tells goes here."""

    def __init__(self, summary: Summary, done: RestoreReport) -> None:
        """`done` is what earlier runs did: the bar begins there."""
        restored, deleted = summary.count(Action.RESTORE), summary.count(Action.DELETE)
        self._console = Console(stderr=True)
        self._bar = ProgressBar(
            TextColumn("{task.fields[blobs]}/{task.fields[of]} blobs"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._blobs = sum(done.totals.values())
        self._task = self._bar.add_task(
            "",
            total=restored.bytes,
            completed=done.bytes_restored,
            blobs=f"{self._blobs:,}",
            of=f"{restored.blobs + deleted.blobs:,}",
        )

    def moved(self, size: int) -> None:
        self._bar.advance(self._task, size)

    def finished(self, outcome: Outcome) -> None:
        self._blobs += outcome.result not in {Result.LEFT, Result.IMPOSSIBLE}  # those were no work
        self._bar.update(self._task, blobs=f"{self._blobs:,}")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._bar.stop()


def _plan_blocks(summary: Summary, impossible: Sequence[Step]) -> Iterable[Block]:
    actions = [(action.value, *_counted(summary.count(action))) for action in Action if summary.count(action).blobs]
    yield Block("plan", ("action", "blobs", "bytes"), actions or [("nothing", "0", "0 bytes")])
    reasons = [
        (action, visible(reason), *_counted(count))
        for action, of_action in summary.reasons.items()
        for reason, count in of_action.items()
    ]
    yield Block("why", ("action", "reason", "blobs", "bytes"), reasons)
    places = [(place, *_counted(count)) for place, count in summary.places.items() if count.blobs]
    yield Block("taken from", ("place", "blobs", "bytes"), places)
    largest = [(visible(one.name), decimal(one.size), one.last_modified) for one in summary.largest]
    yield Block("the largest", ("name", "size", "version of"), largest)
    rows = [(visible(one.name), visible(one.reason), _offer(one.offered)) for one in impossible]
    total = summary.count(Action.IMPOSSIBLE).blobs
    yield _cut(Block("impossible", ("name", "reason", "older versions"), rows), total)


def _cut(block: Block, total: int) -> Block:
    """The first rows, and how many more there are."""
    if total <= MAX_NAMES:
        return block
    rest = (f"... and {total - MAX_NAMES:,} more", *("" for _ in block.headings[1:]))
    return Block(block.title, block.headings, [*block.rows[:MAX_NAMES], rest])


def _counted(count: Count) -> tuple[str, str]:
    return f"{count.blobs:,}", decimal(count.bytes)


def _offer(offered: tuple[str, ...]) -> str:
    return ", ".join(offered)


def _echo(text: str, err: bool) -> None:
    click.echo(visible(text), err=err)


def _show(block: Block, err: bool) -> None:
    """A table on a terminal; in a pipe one line a row, with a tab between cells, whatever the terminal's width."""
    if not block.rows:
        return
    console = Console(stderr=err, markup=False, highlight=False, emoji=False)
    if console.is_terminal:
        table = Table(*block.headings, title=block.title or None, title_justify="left")
        for row in block.rows:
            table.add_row(*row)
        console.print(table)
        return
    for row in block.rows:
        click.echo("\t".join([block.title, *row] if block.title else row), err=err)

"""The command `snapkeep`: the functions' operations, run by hand with the same settings.

Exit codes: 0 good; 1 something failed or is unprotected; 2 wrong usage or settings.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from shared import __version__
from shared.decisions.sync_report import SyncReport
from shared.errors import SnapkeepError, SyncFailed
from shared.operations.protect import Protected
from shared.operations.protect import protect as protect_container
from shared.operations.reconcile import reconcile as reconcile_all
from shared.operations.sync import sync as sync_all
from shared.services import Services
from shared.settings import Settings, read_settings_file

SLICE_SECONDS = 2.0
"""How long one call of `protect` takes before the progress on a terminal is brought up to date."""

Result = TypeVar("Result")

log = logging.getLogger("snapkeep")
settings_option = click.option(
    "--settings",
    "settings_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file like local.settings.json whose Values are the settings. Default: the environment.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


@click.group()
@click.version_option(__version__, prog_name="snapkeep")
@click.option("--verbose", is_flag=True, help="Log what is done to standard error.")
def main(verbose: bool) -> None:
    """Snapshots, verified backups and mirrors for Azure Blob Storage."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("azure").setLevel(logging.WARNING)


@main.command()
@click.argument("container")
@click.option("--prefix", default="", help="Only blobs whose names begin so.")
@settings_option
@json_option
def protect(container: str, prefix: str, settings_file: Path | None, as_json: bool) -> None:
    """Snapshot what changed in CONTAINER, and have it backed up."""

    async def work(services: Services) -> Protected:
        total = Protected(container=container, prefix=prefix)
        with Console(stderr=True).status("listing") as status:
            while not total.complete and total.error is None:
                await _add_slice(services, total)
                status.update(f"{total.scanned:,} scanned, {total.changed:,} changed")
        return total

    total = _run(settings_file, work, protect_budget_seconds=SLICE_SECONDS)
    if as_json:
        click.echo(json.dumps(total.to_json(), ensure_ascii=False))
    else:
        _print_protected(total)
    sys.exit(1 if total.failed or total.error else 0)


@main.command()
@settings_option
@json_option
def reconcile(settings_file: Path | None, as_json: bool) -> None:
    """Fill in missing snapshots and backups in all containers, and report the coverage."""

    async def work(services: Services) -> dict[str, Any]:
        began = time.monotonic()
        with Console(stderr=True).status("reconciling"):
            return await reconcile_all(services, elapsed=lambda: time.monotonic() - began)

    report = _run(settings_file, work)
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        _print_coverage(report)
    sys.exit(0 if report["complete"] and report["totals"]["protected"] == report["totals"]["versions"] else 1)


@main.command()
@settings_option
@json_option
def sync(settings_file: Path | None, as_json: bool) -> None:
    """Mirror the configured containers with azcopy."""

    async def work(services: Services) -> dict[str, Any]:
        with Console(stderr=True).status("mirroring"):
            try:
                report: SyncReport = await sync_all(services)
            except SyncFailed as failed:
                return failed.report
            return report.to_json()

    report = _run(settings_file, work)
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        _print_mirrors(report)
    sys.exit(0 if report["complete"] else 1)


async def _add_slice(services: Services, total: Protected) -> None:
    began = time.monotonic()
    part = await protect_container(
        services, total.container, total.prefix, total.continuation, elapsed=lambda: time.monotonic() - began
    )
    for count in ("scanned", "changed", "snapshots_created", "requested", "vanished", "elapsed_seconds"):
        setattr(total, count, getattr(total, count) + getattr(part, count))
    total.failed += part.failed
    total.complete, total.continuation, total.error = part.complete, part.continuation, part.error


def _run(settings_file: Path | None, work: Callable[[Services], Awaitable[Result]], **overrides: float) -> Result:
    async def run() -> Result:
        async with Services.open(_settings(settings_file).model_copy(update=overrides)) as services:
            return await work(services)

    try:
        return asyncio.run(run())
    except SnapkeepError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("stopped; nothing is lost: run it again", err=True)
        sys.exit(1)


def _settings(settings_file: Path | None) -> Settings:
    return Settings.load(read_settings_file(settings_file) if settings_file else None)


def _print_protected(total: Protected) -> None:
    click.echo(
        f"{total.container}: {total.scanned:,} scanned, {total.changed:,} changed, "
        f"{total.snapshots_created:,} snapshots created, {total.requested:,} backups requested, "
        f"{total.vanished:,} vanished, {len(total.failed):,} failed, {total.elapsed_seconds:.1f} s"
    )
    for failure in total.failed:
        click.echo(f"  failed: {failure['name']!r}: {failure['reason']}")
    if total.error is not None:
        click.echo(f"error: {total.error}; run it again", err=True)


def _print_coverage(report: dict[str, Any]) -> None:
    table = Table(title=f"reconcile {report['run_id']}: {'complete' if report['complete'] else 'NOT complete'}")
    for heading in ("container", "blobs", "versions", "protected", "snapshots", "requested", "unprotectable", "error"):
        table.add_column(heading, justify="left" if heading in {"container", "error"} else "right")
    for part in report["containers"]:
        numbers = ("blobs", "versions", "protected", "snapshots_created", "backups_requested")
        unprotectable = sum(part["unprotectable_by_reason"].values())
        table.add_row(
            part["container"],
            *(f"{part[number]:,}" for number in numbers),
            f"{unprotectable:,}",
            part["error"] or "",
        )
    Console().print(table)


def _print_mirrors(report: dict[str, Any]) -> None:
    if not report["pairs"]:
        click.echo(report["reason"] or "nothing to mirror")
    for pair in report["pairs"]:
        counts = ", ".join(f"{pair[name]:,} {name}" for name in ("scanned", "copied", "skipped", "failed", "deleted"))
        line = f"{pair['source']} to {pair['backup']}: {pair['outcome']}, {counts}, {pair['elapsed_seconds']:.1f} s"
        click.echo(f"{line}: {pair['reason']}" if pair["reason"] else line)

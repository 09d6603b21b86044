"""`snapkeep reconcile`."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from shared.cli.running import json_option, print_json, run, settings_option
from shared.errors import printable
from shared.operations.inventory import reconcile_from_inventory
from shared.operations.reconcile import reconcile as reconcile_all
from shared.services import Services

PIPE_COLUMNS = 160


@click.command()
@click.option(
    "--from-inventory",
    is_flag=True,
    help="Compare the accounts' daily Blob Inventories instead of listing them; see the README, many blobs.",
)
@settings_option
@json_option
def reconcile(from_inventory: bool, settings_file: Path | None, as_json: bool) -> None:
    """Fill in missing snapshots and backups in all containers, and report the coverage.

    Afterwards a part of the backups is verified and a few are restored, and the status page is written anew. Exit
    code 0: all is protected, and what was proven has held. 1: something is missing, failed or could not be read.
    """

    # Others may work on shards of it; whoever waits at a terminal wants the report of the whole.
    operation = reconcile_from_inventory if from_inventory else partial(reconcile_all, wait=True)

    async def work(services: Services) -> dict[str, Any]:
        began = time.monotonic()
        with Console(stderr=True).status("reconciling"):
            return await operation(services, elapsed=lambda: time.monotonic() - began)

    report = run(settings_file, work)
    if as_json:
        print_json(report)
    else:
        _print_coverage(report)
    sys.exit(0 if _well(report) else 1)


def _well(report: dict[str, Any]) -> bool:
    """Whether all is protected, and what was proven of it has held."""
    verify, drill, totals = report["verify"], report["drill"], report["totals"]
    return (
        report["complete"]
        and totals["protected"] == totals["versions"]
        and not report["errors"]
        and not (verify and verify["totals"]["problems"])
        and not (drill and drill["result"] == "failed")
    )


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
            printable(part["error"] or ""),
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_COLUMNS)  # a pipe has no width, and rich would cut the table at 80
    console.print(table)
    if listing := report["listing"]:
        click.echo(f"by inventories: what changed since {listing['as_of']} need not be known of")
        for note in (*listing["fallbacks"], *listing["notes"]):
            click.echo(printable(f"note: {note}"))
    if verify := report["verify"]:
        totals = verify["totals"]
        click.echo(f"verify: {totals['checked']:,} backups looked at, {totals['problems']:,} problems")
    if drill := report["drill"]:
        click.echo(f"drill: {drill['result']}, {drill['restored']:,} of {drill['picked']:,} versions restored")
    for error in report["errors"]:
        click.echo(printable(f"error: {error}"), err=True)

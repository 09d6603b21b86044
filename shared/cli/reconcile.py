"""`snapkeep reconcile`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from shared.cli.running import json_option, print_json, run, settings_option
from shared.operations.reconcile import reconcile as reconcile_all
from shared.services import Services


@click.command()
@settings_option
@json_option
def reconcile(settings_file: Path | None, as_json: bool) -> None:
    """Fill in missing snapshots and backups in all containers, and report the coverage."""

    async def work(services: Services) -> dict[str, Any]:
        began = time.monotonic()
        with Console(stderr=True).status("reconciling"):
            return await reconcile_all(services, elapsed=lambda: time.monotonic() - began)

    report = run(settings_file, work)
    if as_json:
        print_json(report)
    else:
        _print_coverage(report)
    sys.exit(0 if report["complete"] and report["totals"]["protected"] == report["totals"]["versions"] else 1)


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

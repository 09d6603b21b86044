"""`snapkeep sync`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from shared.cli.running import json_option, print_json, run, settings_option
from shared.decisions.sync_report import SyncReport
from shared.errors import SyncFailed
from shared.operations.sync import sync as sync_all
from shared.services import Services


@click.command()
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

    report = run(settings_file, work)
    if as_json:
        print_json(report)
    else:
        _print_mirrors(report)
    sys.exit(0 if report["complete"] else 1)


def _print_mirrors(report: dict[str, Any]) -> None:
    if not report["pairs"]:
        click.echo(report["reason"] or "nothing to mirror")
    for pair in report["pairs"]:
        counts = ", ".join(f"{pair[name]:,} {name}" for name in ("scanned", "copied", "skipped", "failed", "deleted"))
        line = f"{pair['source']} to {pair['backup']}: {pair['outcome']}, {counts}, {pair['elapsed_seconds']:.1f} s"
        click.echo(f"{line}: {pair['reason']}" if pair["reason"] else line)

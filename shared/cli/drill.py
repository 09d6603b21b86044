"""`snapkeep drill`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
from rich.console import Console

from shared.cli.running import json_option, print_json, run, settings_option
from shared.decisions.drilling import DrillReport
from shared.errors import printable
from shared.operations.drill import MAX_BYTES, drill_at_random
from shared.services import Services


@click.command()
@click.option(
    "--blobs", type=click.IntRange(min=1), default=20, show_default=True, help="How many versions to restore."
)
@click.option(
    "--max-bytes",
    type=click.IntRange(min=1),
    default=MAX_BYTES,
    show_default=True,
    help="Restore no more than that in all; a version that would exceed it is skipped, and named.",
)
@click.option(
    "--to-directory",
    "directory",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    help="Restore to files in this directory, whose bytes are compared, instead of to a container.",
)
@settings_option
@json_option
def drill(blobs: int, max_bytes: int, directory: Path | None, settings_file: Path | None, as_json: bool) -> None:
    """Restore a few backups, chosen at random, compare them with their source, and remove them again.

    They go to a scratch container in the backup account. Every byte and property is compared: with the version in the
    source account, or, where that has lost it, with what the backup tells of it. Exit code 1 when one did not come
    back as it was.
    """

    async def work(services: Services) -> dict[str, Any]:
        with Console(stderr=True).status("choosing") as status:

            def show(report: DrillReport) -> None:
                done = report.restored + len(report.failed) + len(report.skipped)
                status.update(f"{done:,} of {len(report.chosen):,} done" if report.chosen else "choosing")

            return await drill_at_random(
                services, blobs, uuid4().hex[:12], max_bytes=max_bytes, directory=directory, progress=show
            )

    report = run(settings_file, work)
    if as_json:
        print_json(report)
    else:
        _print_drill(report)
    sys.exit(1 if report["failed"] else 0)


def _print_drill(report: dict[str, Any]) -> None:
    for word, lines in (("failed", report["failed"]), ("skipped", report["skipped"]), ("note", report["notes"])):
        for line in lines:
            what = line["container"] if line["name"] is None else f"{line['container']}: {line['name']!r}"
            click.echo(printable(f"{word}: {what}: {line['reason']}"))
    click.echo(
        f"{report['result']}: {report['picked']:,} versions picked, {report['restored']:,} restored and like their "
        f"source, {report['bytes']:,} bytes, {len(report['skipped']):,} skipped, {len(report['failed']):,} failed"
    )

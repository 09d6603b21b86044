"""`snapkeep protect`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
from rich.console import Console

from shared.cli.running import json_option, print_json, run, settings_option
from shared.operations.protect import Protected
from shared.operations.protect import protect as protect_container
from shared.operations.run_notes import RunNotes
from shared.services import Services

SLICE_SECONDS = 2.0
"""How long one call of `protect` takes before the progress on a terminal is brought up to date."""


@click.command()
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

    async def noted(services: Services) -> Protected:
        return await RunNotes().noted(services, "protect", work(services))

    total = run(settings_file, noted, protect_budget_seconds=SLICE_SECONDS)
    if as_json:
        print_json(total.to_json())
    else:
        _print_protected(total)
    sys.exit(1 if total.failed or total.error else 0)


async def _add_slice(services: Services, total: Protected) -> None:
    began = time.monotonic()
    part = await protect_container(
        services, total.container, total.prefix, total.continuation, elapsed=lambda: time.monotonic() - began
    )
    for count in ("scanned", "changed", "snapshots_created", "requested", "vanished", "elapsed_seconds"):
        setattr(total, count, getattr(total, count) + getattr(part, count))
    total.failed += part.failed
    total.complete, total.continuation, total.error = part.complete, part.continuation, part.error


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

"""`snapkeep alarms`: unusual shares of overwritten or deleted blobs, and what keeps mirrors from losing theirs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from shared.cli.running import json_option, print_json, run, settings_option
from shared.decisions.alarms import Alarm
from shared.errors import printable
from shared.operations.alarms import acknowledge, all_alarms
from shared.services import Services


@click.group()
def alarms() -> None:
    """Look at alarms of possible mass encryption or deletion, and acknowledge those that are none."""


@alarms.command("list")
@settings_option
@json_option
def list_command(settings_file: Path | None, as_json: bool) -> None:
    """List the alarms. Exit code 1 when one stands that nobody acknowledged."""

    async def work(services: Services) -> list[Alarm]:
        return await all_alarms(services)

    found = run(settings_file, work)
    if as_json:
        print_json({"schema": 1, "alarms": [alarm.document() for alarm in found]})
    for alarm in () if as_json else found:
        since = f"acknowledged {alarm.acknowledged_at}" if alarm.acknowledged_at else f"stands since {alarm.raised_at}"
        click.echo(printable(f"{alarm.container}: {since}: {alarm.text}"))
    if not found and not as_json:
        click.echo("no alarm")
    sys.exit(1 if any(alarm.stands for alarm in found) else 0)


@alarms.command("acknowledge")
@click.argument("container")
@settings_option
def acknowledge_command(container: str, settings_file: Path | None) -> None:
    """Say that what a container's alarm is about is meant: deletions are mirrored again."""

    async def work(services: Services) -> Alarm:
        return await acknowledge(services, container)

    alarm = run(settings_file, work)
    click.echo(printable(f"{alarm.container}: acknowledged {alarm.acknowledged_at}: {alarm.text}"))

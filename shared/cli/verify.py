"""`snapkeep verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from shared.cli.running import json_option, print_json, run, settings_option
from shared.decisions.moments import parse_moment
from shared.decisions.proof_reports import ContainerProof
from shared.errors import printable
from shared.operations.verify import Task
from shared.operations.verify import verify as verify_backups
from shared.services import Services


@click.command()
@click.argument("containers", nargs=-1, metavar="[CONTAINER]...")
@click.option(
    "--sample",
    "percent",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    metavar="PERCENT",
    help="Of how many backups to read the bytes back: others each day, till all came round. 0: listings alone.",
)
@click.option("--full", is_flag=True, help="Read back the bytes of all backups.")
@click.option(
    "--since", metavar="TIME", help="Only versions that were modified since: 2026-11-20T14:05:33Z, or '2 days ago'."
)
@click.option(
    "--max-bytes-per-second",
    type=click.IntRange(min=1),
    metavar="N",
    help="Read no faster than that, over all that is read at once.",
)
@settings_option
@json_option
def verify(
    containers: tuple[str, ...],
    percent: float,
    full: bool,
    since: str | None,
    max_bytes_per_second: int | None,
    settings_file: Path | None,
    as_json: bool,
) -> None:
    """Check that each version's backup is there and is what it must be.

    Presence, size, MD5 and claims of all backups are compared by listings; the bytes of a sample are read back and
    hashed. Without CONTAINER, of all containers that are protected. Exit code 1 when a backup is missing, truncated,
    swapped, corrupt or unreadable, when a foreign file stands among them, or when not all could be looked at.
    """

    async def work(services: Services) -> dict[str, Any]:
        moment = parse_moment(since, services.now()) if since else None
        task = Task(containers, 100 if full else percent, moment, max_bytes_per_second)
        with Console(stderr=True).status("listing") as status:

            def show(part: ContainerProof) -> None:
                status.update(
                    f"{part.container}: {part.versions:,} versions, {part.checked:,} backups looked at, "
                    f"{part.bytes_read:,} bytes read, {part.problems:,} problems"
                )

            return await verify_backups(services, task, progress=show)

    report = run(settings_file, work)
    if as_json:
        print_json(report)
    else:
        _print_problems(report)
    sys.exit(0 if report["complete"] and not report["totals"]["problems"] else 1)


def _print_problems(report: dict[str, Any]) -> None:
    for part in report["containers"]:
        for problem in part["listed"]:
            what = problem["name"] if problem["name"] is not None else problem["backup"]
            click.echo(printable(f"{problem['kind']}: {part['container']}: {what!r}: {problem['detail']}"))
            if problem["name"] is not None:
                click.echo(printable(f"  its backup: {part['container']}bak: {problem['backup']!r}"))
        if part["problems"] > len(part["listed"]):
            click.echo(f"{part['container']}: {part['problems'] - len(part['listed']):,} more problems are not listed")
    for part in report["containers"]:
        click.echo(printable(_line(part)))
    totals = report["totals"]
    click.echo(
        f"{'complete' if report['complete'] else 'NOT complete'}: {totals['versions']:,} versions, "
        f"{totals['checked']:,} backups looked at, the bytes of {totals['bytes_checked']:,} read back, "
        f"{totals['problems']:,} problems"
    )


def _line(part: dict[str, Any]) -> str:
    counts = {
        "unprotectable": "without a backup for a reason that the coverage report tells",
        "unproven": "with nothing to compare them with",
        "archived": "in the archive tier, whose bytes cannot be read",
        "mirrored": "files mirrored by sync",
        "hashes_kept": "hashes kept for the next time",
        "hashes_not_kept": "hashes that could not be kept",
    }
    told = [f"{text}: {part[name]:,}" for name, text in counts.items() if part[name]]
    told += [f"{kind}: {count:,}" for kind, count in sorted(part["problems_by_kind"].items())]
    told += [text for text in (part["note"], f"error: {part['error']}" if part["error"] else None) if text]
    looked = f"{part['container']}: {part['checked']:,} of {part['versions']:,} versions have a backup"
    return "; ".join([looked, *told])

"""`snapkeep requests`: what waits in the queue, and what stands in the poison queue."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from shared.cli.running import json_option, print_json, run, settings_option
from shared.decisions.poison import SHOWN_NAMES, Inspected
from shared.errors import printable
from shared.operations.requests import Listed, Settled, discard, find_request, list_requests, replay
from shared.services import Services


@click.group()
def requests() -> None:
    """Look at the queued requests for backups, and settle those that nobody could carry out."""


@requests.command("list")
@click.option("--all", "every", is_flag=True, help="All poison messages, not the first 32 alone.")
@settings_option
@json_option
def list_command(every: bool, settings_file: Path | None, as_json: bool) -> None:
    """List the waiting and the poison messages, with reasons.

    Of each queue the first 32 are shown. With --all the poison messages are taken and put back at once, which
    hides them from other commands for seconds; waiting ones are never taken.
    """

    async def work(services: Services) -> tuple[Listed, Listed]:
        return await list_requests(services, every=every)

    waiting, poison = run(settings_file, work)
    if as_json:
        print_json({"schema": 1, "waiting": waiting.to_json(), "poison": poison.to_json()})
        return
    _print_queue("waiting", waiting)
    _print_queue("poison", poison)
    if not every and len(poison.messages) < poison.total:
        click.echo("--all lists the other poison messages")


@requests.command()
@click.argument("message_id", metavar="ID")
@settings_option
@json_option
def show(message_id: str, settings_file: Path | None, as_json: bool) -> None:
    """Print one message as JSON, with --json on one line."""

    async def work(services: Services) -> Inspected:
        return await find_request(services, message_id)

    found = run(settings_file, work)
    shown = found.row() | {"message": found.content()}
    # ASCII alone: a name may hold what moves a terminal's cursor, and an escape is still the same JSON.
    click.echo(json.dumps(shown, indent=None if as_json else 2))


@requests.command("replay")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All poison messages.")
@settings_option
@json_option
def replay_command(ids: tuple[str, ...], every: bool, settings_file: Path | None, as_json: bool) -> None:
    """Ask anew for what poison messages asked for, as if for the first time.

    Each is sent again before it is removed from the poison queue. One that nobody can carry out stays there;
    then the exit code is 1.
    """
    if bool(ids) == every:
        raise click.UsageError("name the messages to replay by their IDs, or say --all")

    async def work(services: Services) -> Settled:
        return await replay(services, None if every else set(ids))

    _settle(settings_file, work, "sent again", as_json=as_json)


@requests.command("discard")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why nobody needs it; the reports keep it.")
@settings_option
@json_option
def discard_command(ids: tuple[str, ...], reason: str, settings_file: Path | None, as_json: bool) -> None:
    """Remove poison messages for good, on record.

    What each was, and the reason, stays in snapkeep-state/discarded. A version that has no backup stays
    unprotected, and the reports go on saying so.
    """
    if not reason.strip():
        raise click.UsageError("--reason needs a text: whoever reads the report will ask")

    async def work(services: Services) -> Settled:
        return await discard(services, set(ids), reason.strip())

    _settle(settings_file, work, "discarded", as_json=as_json)


def _settle(
    settings_file: Path | None, work: Callable[[Services], Awaitable[Settled]], done: str, *, as_json: bool
) -> None:
    settled = run(settings_file, work)
    if as_json:
        print_json({"schema": 1} | settled.to_json())
    else:
        for row in settled.done:
            click.echo(f"{row['id']}: {done}: {_asked(row)}")
        for failure in settled.failed:
            click.echo(f"{failure['id']}: not {done}: {printable(failure['reason'])}")
        if not settled.done and not settled.failed:
            click.echo("the poison queue shows no message")
    sys.exit(1 if settled.failed else 0)


def _print_queue(word: str, listed: Listed) -> None:
    shown = len(listed.messages)
    click.echo(f"{listed.queue} ({word}): {_counted(shown, listed.total)}")
    for message in listed.messages:
        row = message.row()
        expiry = f"expires {row['expires_at']}" if row["expires_at"] else "never expires"
        attempt = f"attempt {row['attempt']}, " if row["attempt"] else ""
        click.echo(f"  {row['id']}: {_asked(row)}; {attempt}put there {row['inserted_at']}, {expiry}")
        if row["reason"]:
            click.echo(f"      {printable(row['reason'])}")
        elif word == "poison" and message.message is not None:
            click.echo("      without a reason: it failed five times as a whole; the app's log says why")


def _counted(shown: int, total: int) -> str:
    if total == 0:
        return "no messages"
    plural = "" if total == 1 else "s"
    return f"{total:,} message{plural}" if shown == total else f"{shown:,} of {total:,} messages shown"


def _asked(row: dict[str, Any]) -> str:
    if row["kind"] is None:
        return f"malformed, {printable(row['malformed'])}: {row['excerpt']}"
    names = ", ".join(repr(name) for name in row["names"])
    more = ", ..." if row["blobs"] > SHOWN_NAMES else ""
    plural = "" if row["blobs"] == 1 else "s"
    what = "backup" if row["kind"] == "backup" else "follow-up of a pipeline run"
    return f"{what}, {row['container']}, {row['blobs']} blob{plural}: {names}{more}"

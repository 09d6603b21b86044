"""`snapkeep restore`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console

from shared.cli.restore_output import Bar, question, show_plan, show_report, where
from shared.cli.running import finish, given, json_option, print_json, settings_option
from shared.decisions.restore_request import Arguments
from shared.decisions.restoring import Action, Step
from shared.errors import BadParameter, SnapkeepError
from shared.operations.restore import restore as carry_out
from shared.operations.restore_jobs import Stored, done_so_far, store, unfinished
from shared.operations.restore_plan import is_there, make_plan, service_time
from shared.plan import Plan
from shared.recovery import Recovery
from shared.settings import RecoverySettings

MAX_LISTED = 10_000
"""How many blobs `--plan --json` names that cannot be restored; the report's own limit."""

STOPPED = "stopped; nothing is lost: the same command goes on where it was"


@click.command()
@click.argument("container")
@click.option("--prefix", default="", metavar="P", help="Only blobs whose names begin so.")
@click.option("--name", "names", multiple=True, metavar="N", help="Only this blob; may be given more than once.")
@click.option(
    "--at",
    default="",
    metavar="TIME",
    help="The moment whose state is wanted: 2026-11-20T14:05:33Z, 2026-11-20T16:05+02:00, '2 hours ago'. Default: now.",
)
@click.option(
    "--to", default="", metavar="CONTAINER", help="Restore into this container; nothing in it is overwritten."
)
@click.option(
    "--to-account",
    type=click.Choice(["source", "backup"]),
    help="The account of that container. Default: source, if it is set; with --from backups, if it answers too.",
)
@click.option(
    "--in-place", is_flag=True, help="Restore over what stands in CONTAINER now; each blob is snapshotted first."
)
@click.option(
    "--to-directory", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Restore to files."
)
@click.option("--overwrite", is_flag=True, help="With --to-directory: replace files that exist.")
@click.option(
    "--from",
    "origin",
    type=click.Choice(["snapshots", "backups", "auto"]),
    default="auto",
    show_default=True,
    help="Where versions may be taken from: the source account alone, the backup account alone, or both.",
)
@click.option("--include-deleted", is_flag=True, help="Bring back blobs, too, that were deleted by that moment.")
@click.option("--delete-newer", is_flag=True, help="With --in-place: delete blobs that were created after that moment.")
@click.option(
    "--rehydrate",
    type=click.Choice(["standard", "high"]),
    help="Have archived blobs rehydrated at this priority; run the command again when they are.",
)
@click.option("--plan", "plan_only", is_flag=True, help="Show the plan, and write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--restart", is_flag=True, help="Begin anew, whatever an interrupted run of this command left to do.")
@click.option(
    "--report",
    "report_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the report goes. Default: snapkeep-restore-<id>.json in this directory.",
)
@settings_option
@json_option
def restore(
    container: str,
    to_account: Literal["source", "backup"] | None,
    to_directory: Path | None,
    rehydrate: Literal["standard", "high"] | None,
    plan_only: bool,
    yes: bool,
    restart: bool,
    report_file: Path | None,
    settings_file: Path | None,
    as_json: bool,
    **others: Any,
) -> None:
    """Bring CONTAINER's blobs back as they were at a moment.

    For each name the newest version that is not after TIME is taken, from the cheapest place that holds it. It goes
    into a new container CONTAINER-restored-<now>, unless told otherwise. The plan is shown first. Interrupted, the
    same command goes on where it was, within a week; within a day where --at names no time of the clock.
    BackupStorage is the only setting that must be there.

    Exit code 0: all that was planned has happened; with --plan: all of it can be restored. 1: something is
    impossible, or did not happen; the report says what. 2: wrong usage or settings.
    """
    arguments = Arguments(
        container,
        to_account=to_account or "",
        directory=str(to_directory.absolute()) if to_directory else "",
        rehydrate=rehydrate or "",
        **others,
    )

    async def work() -> int:
        settings = RecoverySettings.load(given(settings_file))
        arguments.check(has_source=settings.source is not None)
        async with Recovery.open(settings) as recovery:
            stored = None if restart else await unfinished(recovery, arguments)
            if stored is not None:
                with stored.plan:
                    _say_it_goes_on(stored)
                    return await restored(recovery, stored, stored.plan)
            with await _new_plan(recovery, arguments) as plan:
                return await restored(recovery, None, plan)

    async def restored(recovery: Recovery, stored: Stored | None, plan: Plan) -> int:
        job, summary = plan.job, plan.summary
        impossible = summary.count(Action.IMPOSSIBLE).blobs
        to_do = summary.count(Action.RESTORE).blobs + summary.count(Action.DELETE).blobs
        if not (plan_only and as_json):
            show_plan(job, summary, _impossible(plan), err=as_json)
        if plan_only or not to_do:
            if as_json:
                print_json({"schema": 1, "kind": "restore plan", "plan": _plan_document(plan)})
            elif not to_do:
                click.echo("nothing is to be done")
            return 1 if impossible else 0
        if not yes and not _agreed(question(job, summary)):
            click.echo("nothing was done", err=True)
            return 1
        stored = stored or await store(recovery, arguments, plan)
        with Bar(summary, await done_so_far(recovery, stored)) as bar:
            report = await carry_out(recovery, job, plan.steps(), job_id=stored.job_id, progress=bar)
        file = report_file or Path(f"snapkeep-restore-{stored.job_id}.json")
        document = report.to_json()
        if as_json:
            print_json(document)
        else:
            show_report(report, str(file))
        _write(file, document)
        return 0 if report.well else 1

    sys.exit(finish(work, STOPPED))


async def _new_plan(recovery: Recovery, arguments: Arguments) -> Plan:
    has_source = recovery.source is not None
    if await _source_is_lost(recovery, arguments):
        click.echo("the source account does not answer: what is restored goes to the backup account", err=True)
        arguments = replace(arguments, to_account="backup")
    service_now = await service_time(recovery, arguments.container, from_source=arguments.origin != "backups")
    job = arguments.job(recovery.now(), service_now, has_source=has_source)
    with Console(stderr=True).status("listing") as status:
        return await make_plan(
            recovery, job, now=service_now, progress=lambda entries: status.update(f"{entries:,} entries listed")
        )


async def _source_is_lost(recovery: Recovery, arguments: Arguments) -> bool:
    """Whether a new container cannot be made in the source account, and nobody insists on it."""
    elsewhere = arguments.to_account or arguments.in_place or arguments.directory
    if recovery.source is None or elsewhere or arguments.origin != "backups":
        return False
    return not await is_there(recovery.source, arguments.container)


def _say_it_goes_on(stored: Stored) -> None:
    job = stored.plan.job
    click.echo(
        f"going on with the restore begun at {stored.begun_at}, state of {job.at}, {where(job)}; --restart begins anew",
        err=True,
    )


def _impossible(plan: Plan) -> list[Step]:
    if not plan.summary.count(Action.IMPOSSIBLE).blobs:
        return []
    return list(islice((step for step in plan.steps() if step.action is Action.IMPOSSIBLE), MAX_LISTED))


def _plan_document(plan: Plan) -> dict[str, Any]:
    listed = [{"name": step.name, "reason": step.reason, "offered": list(step.offered)} for step in _impossible(plan)]
    return {"job": plan.job.document(), **plan.summary.to_json(), "impossible": listed}


def _agreed(asked: str) -> bool:
    """Raises BadParameter where nobody is there to be asked."""
    if not sys.stdin.isatty():
        raise BadParameter("nothing was done: this is no terminal to ask on; give --yes to restore, or --plan to look")
    return click.confirm(asked, err=True)


def _write(file: Path, document: dict[str, Any]) -> None:
    try:
        file.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise SnapkeepError(
            f"the report could not be written to {file}: {error.strerror}; it stands in the state, in restores/"
        ) from error

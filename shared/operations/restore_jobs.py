"""Keeps restores in the state, so that one that was interrupted is known again and goes on.

`restores/<id>/plan.jsonl.gz` is stored before `job.json`, and both before anything is written elsewhere: a job that
can be found has its whole plan. What is done stands in the journal beside them, the outcome in `report.json`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from shared.decisions.moments import is_relative
from shared.decisions.restore_report import RestoreReport, to_be_gone_on_with
from shared.decisions.restore_request import Arguments, begun_at, job_id
from shared.decisions.restore_summary import Summary
from shared.decisions.restoring import Job
from shared.errors import ServiceUnavailable, SnapkeepError
from shared.model import second_of
from shared.operations.restore_journal import Journal
from shared.plan import Plan, PlanFolder
from shared.recovery import Recovery

SCHEMA = 1
"""To be raised with every change of what a stored job or plan holds: others are left alone."""

GO_ON_FOR = timedelta(days=7)
"""How old an interrupted restore may be to go on: by then too much has changed for its plan."""

GO_ON_FOR_WITHOUT_A_TIME = timedelta(days=1)
"""The same where no time was named, or "2 hours ago": the next day these words mean another moment."""


@dataclass(frozen=True)
class Stored:
    """A restore that stands in the state with its whole plan."""

    job_id: str
    begun_at: str
    plan: Plan


def digest_of(recovery: Recovery, arguments: Arguments) -> str:
    """What tells these arguments, for these accounts, from others."""
    accounts = (recovery.settings.source, recovery.settings.backup)
    return arguments.digest([account.blob_endpoint if account else "" for account in accounts])


async def store(recovery: Recovery, arguments: Arguments, plan: Plan) -> Stored:
    """Stores a new restore, plan first."""
    begun = second_of(recovery.now())
    identity = job_id(begun, digest_of(recovery, arguments))
    await recovery.state.upload(_plan(identity), plan.file)
    document = {
        "schema": SCHEMA,
        "kind": "restore",
        "id": identity,
        "begun_at": begun,
        "arguments": asdict(arguments),
        "job": plan.job.document(),
        "summary": plan.summary.to_json(),
    }
    await recovery.state.write(_job(identity), document)
    return Stored(identity, begun, plan)


async def unfinished(recovery: Recovery, arguments: Arguments) -> Stored | None:
    """The newest restore of the same arguments that has something left to do; None where there is none.

    Raises:
        SnapkeepError: it stands in the state, but cannot be read.
        ServiceUnavailable: the state is not to be had.
    """
    wanted = digest_of(recovery, arguments)
    age = GO_ON_FOR_WITHOUT_A_TIME if is_relative(arguments.at) else GO_ON_FOR
    oldest = second_of(recovery.now() - age)
    try:
        names = await recovery.state.names("restores/")
    except ServiceUnavailable as error:
        if not recovery.state_is_the_apps:
            raise
        hint = "if the app's storage account is lost, leave AzureWebJobsStorage out of the settings"
        raise ServiceUnavailable(f"{error}; {hint}") from error
    identities = {name.split("/")[1] for name in names}
    for identity in sorted(identities, reverse=True):
        begun = begun_at(identity)
        if begun is None or begun < oldest or not identity.endswith(f"-{wanted}"):
            continue
        document = await recovery.state.read(_job(identity))
        if document is None or document.get("schema") != SCHEMA:
            continue  # its plan was not stored in whole, or by another release
        report = await recovery.state.read(f"restores/{identity}/report.json")
        if report is not None and not to_be_gone_on_with(report):
            return None
        if arguments.rehydrate and not document["job"]["rehydrate"]:
            return None  # its plan has no archived blob in it
        return await _load(recovery, identity, document)
    return None


async def done_so_far(recovery: Recovery, stored: Stored) -> RestoreReport:
    """What the journal of earlier runs tells of."""
    report = RestoreReport(stored.job_id, stored.plan.job, stored.begun_at)
    await Journal.open(recovery.state, stored.job_id, recovery.now, report)
    return report


async def _load(recovery: Recovery, identity: str, document: dict[str, Any]) -> Stored:
    folder = PlanFolder()
    try:
        found = await recovery.state.download(_plan(identity), folder.file)
        plan = Plan(Job.of(document["job"]), Summary.of(document["summary"]), folder)
    except BaseException:
        folder.close()
        raise
    if not found:
        plan.close()
        raise SnapkeepError(f"the plan of the restore {identity} is gone from the state; --restart begins anew")
    return Stored(identity, document["begun_at"], plan)


def _job(identity: str) -> str:
    return f"restores/{identity}/job.json"


def _plan(identity: str) -> str:
    return f"restores/{identity}/plan.jsonl.gz"

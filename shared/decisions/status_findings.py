"""What keeps a status from `protected`: known problems, and what is not known, each on one line.

`protected` may be said only when everything that could speak against it was read, is complete and recent,
and does not. So whatever is missing, unreadable, unfinished or old is a finding of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.decisions.inventory import MAX_AGE
from shared.decisions.status_documents import (
    ContainerCoverage,
    Coverage,
    Drill,
    Mirrors,
    RunNote,
    Unreadable,
    Verification,
)
from shared.errors import printable
from shared.model import QueueOverview, Reason, second_of

TOO_OLD = timedelta(hours=26)
"""Reconciliation is nightly: a day, and time for a long run."""

RESTS_ON_TOO_OLD = TOO_OLD + MAX_AGE
"""From when on what a recent report rests on, an inventory or the first of its listings, tells too little of today."""

WAITED_TOO_LONG = timedelta(hours=1)
CLOCKS_DIFFER = timedelta(minutes=5)
NAMED_AT_MOST = 10
"""So many containers, or pairs, get a line of their own; the tables beside hold them all."""


class Verdict(StrEnum):
    """The whole in a word; these stand in the output for machines."""

    PROTECTED = "protected"
    AT_RISK = "at risk"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """One reason why not everything is known to be protected: something bad (`at risk`), or something unknown."""

    verdict: Verdict
    text: str
    unreadable: bool = False


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """Only without any finding is all protected.

    What could not be read makes it unknown: whatever else is known may be the smaller part. But a known problem
    outweighs what is only old, unfinished or not there yet: somebody has to act on it.
    """
    if any(finding.unreadable for finding in findings):
        return Verdict.UNKNOWN
    verdicts = {finding.verdict for finding in findings}
    for worst in (Verdict.AT_RISK, Verdict.UNKNOWN):
        if worst in verdicts:
            return worst
    return Verdict.PROTECTED


def missing(part: ContainerCoverage) -> int:
    """Versions that are to be protected by the next runs: neither protected nor reported with a reason.

    Lost versions stand in no listing any more, so they are not among the versions that were counted.
    """
    explained = sum(count for reason, count in part.unprotectable_by_reason.items() if reason != Reason.LOST)
    return max(0, part.versions - part.protected - explained)


def coverage_findings(coverage: Coverage | Unreadable | None, now: datetime) -> Iterator[Finding]:
    """What the last reconciliation says of the containers."""
    if coverage is None:
        yield _unknown("there is no coverage report yet: run `snapkeep reconcile`")
        return
    if isinstance(coverage, Unreadable):
        yield _unreadable(f"the coverage report could not be read: {coverage.reason}")
        return
    yield from _age("the coverage report", coverage.finished_at, now, "see why `reconcile` does not run")
    yield from _rests_on(coverage, now)
    unfinished = [part for part in coverage.containers if part.error or not part.complete]
    if not coverage.containers:
        yield _unknown("no container was looked at: see SNAPKEEP_INCLUDE_CONTAINERS and SNAPKEEP_EXCLUDE_CONTAINERS")
    elif not coverage.complete and not any(part.error for part in unfinished):
        yield _unknown("the last reconciliation did not come to its end; the next one goes on from there")
    for part in unfinished[:NAMED_AT_MOST]:
        yield _unknown(f"{part.container}: {part.error or 'not looked at to its end'}")
    yield from _more(Verdict.UNKNOWN, unfinished, "containers were not looked at to their end")
    for error in coverage.errors[:NAMED_AT_MOST]:
        yield _unknown(f"the last reconciliation could not find out everything: {error}")
    unprotected = [part for part in coverage.containers if _unprotected(part)]
    for part in unprotected[:NAMED_AT_MOST]:
        yield _at_risk(_unprotected(part))
    yield from _more(Verdict.AT_RISK, unprotected, "containers have unprotected versions")


def _rests_on(coverage: Coverage, now: datetime) -> Iterator[Finding]:
    hours = RESTS_ON_TOO_OLD.total_seconds() / 3600
    if coverage.listing is not None and now - coverage.listing.as_of > RESTS_ON_TOO_OLD:
        yield _unknown(
            f"the coverage report rests on an inventory of {second_of(coverage.as_of)}, more than {hours:.0f} h ago: "
            "see whether the inventories are written daily"
        )
    if coverage.listing is None and now - coverage.started_at > RESTS_ON_TOO_OLD:
        yield _unknown(
            f"the coverage report rests on listings from {second_of(coverage.started_at)} on, more than {hours:.0f} h "
            "ago: let `reconcile` run more often, or longer at a time"
        )


def _unprotected(part: ContainerCoverage) -> str:
    """What is unprotected in a container; empty when nothing is."""
    waiting = missing(part)
    counts = [f"{waiting:,} missing"] if waiting else []
    counts += [f"{count:,} {reason}" for reason, count in part.unprotectable_by_reason.items() if count]
    if part.failed_count:
        counts.append(f"{part.failed_count:,} could not be snapshotted")
    if not counts and part.protected == part.versions:
        return ""
    requested = f"; {part.backups_requested:,} were requested since" if waiting and part.backups_requested else ""
    return f"{part.container}: {', '.join(counts) or 'not all protected'}, of {part.versions:,} versions{requested}"


def alarm_findings(alarms: Sequence[str] | Unreadable) -> Iterator[Finding]:
    """Unusual shares of overwritten or deleted blobs, as long as they stand."""
    if isinstance(alarms, Unreadable):
        yield _unreadable(f"the alarms could not be read: {alarms.reason}")
        return
    for alarm in alarms[:NAMED_AT_MOST]:
        yield _at_risk(alarm)
    yield from _more(Verdict.AT_RISK, alarms, "alarms: see `snapkeep alarms list`")


def queue_findings(queue: QueueOverview | Unreadable, now: datetime) -> Iterator[Finding]:
    """What stands in the queue too long, or for good."""
    if isinstance(queue, Unreadable):
        yield _unreadable(f"the queue could not be read: {queue.reason}")
        return
    if queue.poison:
        verb = "request was" if queue.poison == 1 else "requests were"
        yield _at_risk(f"{queue.poison:,} {verb} given up on: see `snapkeep requests list`")
    if queue.oldest_waiting is not None and now - queue.oldest_waiting > WAITED_TOO_LONG:
        yield _at_risk(
            f"a request has been waiting since {second_of(queue.oldest_waiting)}, of {queue.waiting:,}: "
            "see whether `backup` runs"
        )


def run_findings(
    runs: Mapping[str, RunNote | Unreadable | None], reported_at: Mapping[str, datetime | None]
) -> Iterator[Finding]:
    """Functions whose last run failed, unless a report speaks in its place. One that never ran tells nothing.

    Args:
        reported_at: when the last report of a function was written, where it writes one.
    """
    for name, note in runs.items():
        if isinstance(note, Unreadable):
            yield _unreadable(f"the note of the last run of `{name}` could not be read: {note.reason}")
        elif note is not None and note.result == "failed" and not _spoken_for(note, reported_at.get(name)):
            yield _at_risk(f"the last run of `{name}` failed at {second_of(note.finished_at)}: {note.detail}")


def _spoken_for(note: RunNote, reported_at: datetime | None) -> bool:
    """A run by hand leaves a report, and no note; and a failed sync's own report tells more than its note."""
    if reported_at is None:
        return False
    return reported_at >= note.started_at if note.function == "sync" else reported_at > note.finished_at


def sync_findings(
    sync: Mirrors | Unreadable | None, pairs: Sequence[tuple[str, str]], now: datetime
) -> Iterator[Finding]:
    """Whether each pair that the settings name is a mirror, as far as the last run could tell."""
    if not pairs:
        return
    if sync is None:
        yield _unknown("nothing was mirrored yet: run `snapkeep sync`")
        return
    if isinstance(sync, Unreadable):
        yield _unreadable(f"the report of the last sync could not be read: {sync.reason}")
        return
    yield from _age("the report of the last sync", sync.finished_at, now, "see why `sync` does not run")
    reported = {(pair.source, pair.backup) for pair in sync.pairs}
    unseen = [pair for pair in pairs if pair not in reported]
    for source, backup in unseen[:NAMED_AT_MOST]:
        yield _unknown(f"the last sync did not look at {source} and its mirror {backup}")
    yield from _more(Verdict.UNKNOWN, unseen, "pairs were not looked at by the last sync")
    failed = [pair for pair in sync.pairs if pair.outcome != "succeeded"]
    for pair in failed[:NAMED_AT_MOST]:
        reason = f": {pair.reason}" if pair.reason else ""
        yield _at_risk(f"the last sync of {pair.source} to {pair.backup} {_ended(pair.outcome)}{reason}")
    yield from _more(Verdict.AT_RISK, failed, "pairs were not mirrored by the last sync")
    if not sync.complete and not failed:
        yield _at_risk("the last sync was not complete")


def verify_findings(verify: Verification | Unreadable | None, now: datetime, *, expected: bool) -> Iterator[Finding]:
    """What the last look at the backups themselves found. What it found bad counts, however old it is."""
    if isinstance(verify, Unreadable):
        yield _unreadable(f"the report of the last verify could not be read: {verify.reason}")
        return
    if verify is None:
        if expected:
            yield _unknown("no backup was verified yet: run `snapkeep verify`")
        return
    if expected:
        yield from _age("the report of the last verify", verify.finished_at, now, "run `snapkeep verify`")
    if verify.totals.problems:
        where = [part.container for part in verify.containers if part.problems]
        names = f" in {', '.join(where[:NAMED_AT_MOST])}" if where else ""
        backups = "1 bad backup" if verify.totals.problems == 1 else f"{verify.totals.problems:,} bad backups"
        yield _at_risk(f"the last verify found {backups}{names}")
    for part in verify.containers:
        if part.error:
            yield _unknown(f"the last verify could not look at {part.container}: {part.error}")
    if not verify.complete and not any(part.error for part in verify.containers):
        yield _unknown("the last verify did not come to its end: run `snapkeep verify`")


def drill_findings(drill: Drill | Unreadable | None, now: datetime, *, expected: bool) -> Iterator[Finding]:
    """Whether restoring works, as far as the last drill could tell."""
    if isinstance(drill, Unreadable):
        yield _unreadable(f"the report of the last drill could not be read: {drill.reason}")
        return
    if drill is None:
        if expected:
            yield _unknown("no restore was tried yet: run `snapkeep drill`")
        return
    if expected:
        yield from _age("the report of the last drill", drill.finished_at, now, "run `snapkeep drill`")
    if drill.result == "failed" or drill.failed:
        yield _at_risk(f"the last drill failed: {len(drill.failed):,} of {drill.picked:,} versions did not come back")
    elif expected and drill.picked and not drill.restored:
        yield _unknown(
            f"the last drill restored none of the {drill.picked:,} versions that it picked, which were too large or "
            "archived, or there was no time: run `snapkeep drill`, or do without drills (SNAPKEEP_DRILL_BLOBS=0)"
        )


def unreadable(what: str, found: object) -> Iterator[Finding]:
    """For what has no bearing on protection by itself: not to be able to read it is an unknown all the same."""
    if isinstance(found, Unreadable):
        yield _unreadable(f"{what} could not be read: {found.reason}")


def _age(what: str, finished_at: datetime, now: datetime, advice: str) -> Iterator[Finding]:
    if now - finished_at > TOO_OLD:
        hours = TOO_OLD.total_seconds() / 3600
        yield _unknown(f"{what} is of {second_of(finished_at)}, more than {hours:.0f} h ago: {advice}")
    elif finished_at - now > CLOCKS_DIFFER:
        yield _unknown(f"{what} is of {second_of(finished_at)}, which is yet to come: set this machine's clock")


def _more(verdict: Verdict, found: Sequence[object], what: str) -> Iterator[Finding]:
    if len(found) > NAMED_AT_MOST:
        yield Finding(verdict, f"{len(found) - NAMED_AT_MOST:,} more {what}")


def _ended(outcome: str) -> str:
    return {"stopped": "was stopped", "not started": "was not started"}.get(outcome, outcome)


def _at_risk(text: str) -> Finding:
    return Finding(Verdict.AT_RISK, printable(text))


def _unreadable(text: str) -> Finding:
    return Finding(Verdict.UNKNOWN, printable(text), unreadable=True)


def _unknown(text: str) -> Finding:
    return Finding(Verdict.UNKNOWN, printable(text))

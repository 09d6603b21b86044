"""Judges what the doctor saw of the settings, the clock, the signatures, the queue, the containers and the mirrors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from shared.connections import Connection
from shared.containers import (
    BACKUP_SUFFIX,
    MAX_CONTAINER_CHARACTERS,
    POISON_SUFFIX,
    backup_container,
    is_system_container,
)
from shared.decisions.findings import Answer, Finding, ok, warning, wrong
from shared.decisions.mirroring import identity_refusal, pair_refusal, sas_expiry
from shared.model import QueueOverview, second_of
from shared.settings import Settings, SyncPair

SAS_WARNING = timedelta(days=14)
CLOCK_WARNING, CLOCK_WRONG = timedelta(minutes=1), timedelta(minutes=5)
"""The service refuses what was signed 15 minutes before or after its own time: this is well before that."""

SHOWN_NAMES = 5


@dataclass(frozen=True)
class BackupContainer:
    """What is known of one container of the backup account.

    Attributes:
        versions_of: the source container whose versions it holds; None for a mirror.
        marked: the state says that it was created once.
        found: whether it has an immutability policy, and whether a legal hold, where the service tells.
    """

    name: str
    versions_of: str | None
    marked: bool
    found: Answer[tuple[bool, bool]]


def settings_findings(problems: Sequence[str], unknown: Sequence[str]) -> list[Finding]:
    """One line for each wrong setting, and for each that is none."""
    findings = [
        wrong(name, what.strip(), f"correct {name} in the app's settings; README, settings, lists them all")
        for name, _, what in (problem.partition(":") for problem in problems)
    ]
    findings += [
        warning(name, "no setting of Snapkeep has this name, so it changes nothing", "correct its name, or remove it")
        for name in unknown
    ]
    return findings or [ok("settings", "all are there and well-formed")]


def unchecked(connection: Connection) -> Finding:
    """For a connection that names no account."""
    return warning(f"{connection.name}: reachable", "not checked", f"correct the setting {connection.name} first")


def clock(skew: timedelta | None) -> Finding:
    """This machine's clock beside the service's: `skew` is how far ahead it is."""
    if skew is None:
        return warning("clock", "no service said what time it is", "make one of the connections work first")
    seconds = round(skew.total_seconds())
    text = f"{abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} the storage service's"
    remedy = "set this machine's clock (NTP): the service refuses requests that are 15 minutes off"
    if abs(skew) > CLOCK_WRONG:
        return wrong("clock", text, remedy)
    if abs(skew) > CLOCK_WARNING:
        return warning("clock", text, remedy)
    return ok("clock", "within a minute of the storage service's")


def signature(connection: Connection, now: datetime) -> list[Finding]:
    """When the connection's shared access signature ends; nothing where it has none."""
    if not connection.sas:
        return []
    subject, expiry = f"{connection.name}: SAS expiry", sas_expiry(connection.sas)
    if expiry is None:
        return [ok(subject, "not in the SAS itself: a stored access policy says it")]
    renew = f"put a new SAS into {connection.name}"
    if expiry <= now:
        return [wrong(subject, f"expired {second_of(expiry)}", renew)]
    days = (expiry - now).days
    if expiry - now < SAS_WARNING:
        return [warning(subject, f"expires {second_of(expiry)}, in {days} days", f"{renew} before that")]
    return [ok(subject, f"expires {second_of(expiry)}, in {days} days")]


def queues(settings: Settings, there: Answer[object], overview: QueueOverview | None) -> list[Finding]:
    """Whether the queue is there, and what was given up on."""
    name = settings.backup_queue
    if there.status == 404:
        return [
            warning(
                f"queue {name}",
                "does not exist yet: it is created when the first backup is requested",
                "run `snapkeep protect` once; if it is there by another name, correct SNAPKEEP_BACKUP_QUEUE",
            )
        ]
    if overview is None:
        return []  # what is not allowed or failed has its line already
    since = (
        f", the oldest of those that show since {second_of(overview.oldest_waiting)}" if overview.oldest_waiting else ""
    )
    findings = [ok(f"queue {name}", f"{overview.waiting:,} waiting{since}")]
    poison = f"queue {name}{POISON_SUFFIX}"
    if overview.poison:
        findings.append(
            warning(
                poison,
                f"messages that were given up on: {overview.poison:,}",
                "`snapkeep requests list` says why; `snapkeep requests replay` asks again, `discard` keeps your reason",
            )
        )
    else:
        findings.append(ok(poison, "nothing was given up on"))
    return findings


def protected_names(settings: Settings, containers: Collection[str]) -> list[Finding]:
    """Whether each glob finds something, and each container that is to be protected can have a backup container."""
    findings = []
    own = [name for name in containers if not is_system_container(name)]
    for glob in settings.include_containers:
        if not any(fnmatchcase(name, glob) for name in own):
            findings.append(
                warning(
                    "SNAPKEEP_INCLUDE_CONTAINERS",
                    f"{glob} matches no container of the source account",
                    "correct it, unless such a container is yet to come",
                )
            )
    longest = MAX_CONTAINER_CHARACTERS - len(BACKUP_SUFFIX)
    protected = sorted(name for name in own if settings.protects(name))
    findings += [
        wrong(
            f"container {name}",
            f"its name of {len(name)} characters leaves no room for {BACKUP_SUFFIX!r}: it is never backed up",
            f"name it in SNAPKEEP_EXCLUDE_CONTAINERS, or move its blobs to one of at most {longest} characters",
        )
        for name in protected
        if len(name) > longest
    ]
    fitting = [name for name in protected if len(name) <= longest]
    if fitting:
        findings.append(ok("protected containers", f"{len(fitting):,}: {_listed(fitting)}"))
    return findings


def backup_containers(containers: Sequence[BackupContainer], soft_delete: Answer[int]) -> list[Finding]:
    """Whether the backup containers that existed are there, and what guards them against deletion."""
    findings = [
        wrong(
            f"container {container.name}",
            "this backup container existed and is gone; nothing of "
            f"{container.versions_of or 'its source'} is written to it until somebody decides",
            "restore it (container soft delete), or create it anew with the policies it needs",
        )
        for container in containers
        if container.marked and container.found.status == 404
    ]
    there = [container for container in containers if container.found.value is not None]
    bare = [container.name for container in there if not any(container.found.value or ())]
    recoverable = soft_delete.value
    if there and not bare:
        findings.append(ok("BackupStorage: immutability", f"all {len(there)} backup containers have a policy or hold"))
    elif bare:
        text = f"{len(bare)} of {len(there)} backup containers have no policy or hold: {_listed(bare)}"
        if recoverable == 0:
            findings.append(
                warning(
                    "BackupStorage: immutability",
                    f"{text}; soft delete is off too, so whoever may delete a backup deletes it for good",
                    "set a time-based immutability policy on them, or switch on the account's soft delete for blobs",
                )
            )
        else:
            findings.append(ok("BackupStorage: immutability", text))
    return findings


def soft_delete(connection: Connection, answer: Answer[int]) -> Finding:
    """What the account says of its soft delete; whether blobs have versions no storage client can ask an account."""
    subject = f"{connection.name}: soft delete"
    versioning = "; whether versioning is on is not visible to a storage client"
    if answer.value is None:
        return ok(subject, f"not visible to this key, SAS or identity ({answer}): look in the portal")
    state = f"deleted blobs are kept for {answer.value} days" if answer.value else "off"
    return ok(subject, state + versioning)


def pairs(
    settings: Settings,
    sources: Collection[str] | None,
    mirrors: Mapping[str, Answer[object]],
    marks: Collection[str],
) -> list[Finding]:
    """Whether each pair of `sync` can be mirrored.

    Args:
        sources: the source account's containers; None where they could not be listed.
        mirrors: what the backup account answered for each mirror container.
        marks: the containers of the backup account that were created once.
    """
    findings = []
    if settings.sync_containers and (refused := identity_refusal(settings.source, settings.backup)):
        findings.append(wrong("SNAPKEEP_SYNC_CONTAINERS", refused, "as it says; sync refuses all pairs until then"))
    return findings + [_pair(pair, settings, sources, mirrors[pair.backup], marks) for pair in settings.sync_containers]


def _pair(
    pair: SyncPair,
    settings: Settings,
    sources: Collection[str] | None,
    mirror: Answer[object],
    marks: Collection[str],
) -> Finding:
    subject = f"mirror {pair.source} to {pair.backup}"
    if refused := pair_refusal(pair, settings):
        return wrong(subject, refused, "correct SNAPKEEP_SYNC_CONTAINERS")
    if sources is None:
        return warning(subject, "not checked: the source's containers could not be listed", "see SourceStorage above")
    if pair.source not in sources:
        text = f"the source account has no container {pair.source}"
        return wrong(subject, text, "correct SNAPKEEP_SYNC_CONTAINERS, or create it")
    if mirror.status == 200:
        return ok(subject, "both containers are there")
    if mirror.status != 404:
        return warning(subject, f"the source is there; {pair.backup}: {mirror}", "see BackupStorage above")
    if pair.backup in marks:
        return wrong(subject, f"{pair.backup} existed and is gone", "restore it (container soft delete), or create it")
    return ok(subject, f"the source is there; {pair.backup} is created at the first run")


def container_to_try(settings: Settings, containers: Collection[str]) -> str | None:
    """The container of the source account that calls are tried on; None where none is to be protected."""
    return min((name for name in containers if settings.protects(name)), default=None)


def expected_backups(
    settings: Settings, containers: Collection[str], marks: Mapping[str, str | None]
) -> dict[str, str | None]:
    """The backup containers that exist or are to, and whose versions each holds (None: a mirror's files)."""
    longest = MAX_CONTAINER_CHARACTERS - len(BACKUP_SUFFIX)
    protected = {
        backup_container(name): name for name in containers if settings.protects(name) and len(name) <= longest
    }
    return dict(sorted((dict(marks) | protected).items()))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")

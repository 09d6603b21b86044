"""What a restore must do for one blob: which version, from where, over what; or why it cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

from shared.decisions.deletions import Deletion, Fate, fate
from shared.decisions.names import refusal
from shared.model import ARCHIVE, Entry, Version

MAX_OFFERED = 3
"""How many older versions a step names, for the case that no place holds the wanted one undamaged."""


class Mode(StrEnum):
    """Where restored blobs go."""

    CONTAINER = "container"
    IN_PLACE = "in place"
    DIRECTORY = "directory"


@dataclass(frozen=True)
class Job:
    """What is to be restored, and where to.

    Attributes:
        at: the moment whose state is wanted, `YYYY-MM-DDTHH:MM:SSZ`.
        names: these blobs alone; empty for all that begin with `prefix`.
        origin: where versions may come from: the source account, the backup account, or both.
        target: the container or directory that they go to; the source container itself in place.
        target_account: the account of that container.
    """

    container: str
    at: str
    mode: Mode
    target: str
    target_account: Literal["source", "backup"] = "source"
    prefix: str = ""
    names: tuple[str, ...] = ()
    origin: Literal["auto", "snapshots", "backups"] = "auto"
    include_deleted: bool = False
    delete_newer: bool = False
    overwrite: bool = False


class Place(StrEnum):
    """Where a version stands."""

    LIVE = "live blob"
    SNAPSHOT = "snapshot"
    BACKUP = "backup"


class Held(NamedTuple):
    """A version, as one place holds it.

    Attributes:
        key: what the place calls it: a snapshot's timestamp, a backup's name; empty for the live blob.
        etag: the ETag of the blob in that place, which for a backup is not the version's.
        size: of the blob in that place: another one than the version's is damage, or a backup half written.
        md5: the Content-MD5 that the place has for it.
    """

    place: Place
    version: Version
    key: str
    etag: str
    size: int
    md5: str | None
    blob_type: str
    tier: str


class Action(StrEnum):
    """What becomes of one blob."""

    RESTORE = "restore"
    LEAVE = "leave"
    DELETE = "delete"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True)
class Step:
    """What is to be done for one blob, and why.

    Attributes:
        version: the version that was the blob's at the moment; None where there was none.
        places: where that version stands, cheapest first.
        replaces: the ETag of the live blob that is overwritten or deleted; None where nothing may stand.
        offered: Last-Modified of older versions, newest first, for when no place holds this one undamaged.
    """

    action: Action
    name: str
    reason: str
    version: Version | None = None
    places: tuple[Held, ...] = ()
    replaces: str | None = None
    directory: bool = False
    offered: tuple[str, ...] = ()


def step(job: Job, name: str, live: Entry | None, held: Iterable[Held], deletions: Sequence[Deletion]) -> Step | None:
    """What the restore does for this name; None when it has nothing to do with it.

    Args:
        live: what stands under the name in the source container now, a directory too; None when nothing
            does, or nobody could look.
        held: every version of the blob, of the moment or not, at every place that may be taken from.
    """
    refused = refusal(name)
    if live is not None and live.directory:
        return _directory(job, live)
    places = list(held)
    known = [version for version in _in_order(places) if version.last_modified <= job.at]
    if not known:
        return _newer(job, live, f"created after {job.at}") if live is not None else None
    version = known[-1]
    ended = fate(version, job.at, deletions)
    if ended is Fate.DELETED and not job.include_deleted:
        if live is not None and live.last_modified > job.at:
            return _newer(job, live, f"was deleted before {job.at}, and created again after it")
        return Step(Action.LEAVE, name, f"was deleted before {job.at}", version)
    if refused:
        return Step(Action.IMPOSSIBLE, name, refused, version)
    if job.mode is Mode.IN_PLACE and live is not None and live.etag == version.etag:
        return Step(Action.LEAVE, name, "is that version", version)
    standing = _cheapest_first(job, [one for one in places if one.version.etag == version.etag])
    offered = _offered(known, version)
    whole = tuple(one for one in standing if one.size == version.size)
    if not whole:
        reason = f"its backup holds {standing[0].size} bytes, the version {version.size}"
        return Step(Action.IMPOSSIBLE, name, reason, version, standing, offered=offered)
    standing = whole
    if all(one.tier == ARCHIVE for one in standing):
        reason = "in the archive tier: it must be rehydrated first, which takes up to 15 hours"
        return Step(Action.IMPOSSIBLE, name, reason, version, standing, offered=offered)
    replaces = live.etag if live is not None and job.mode is Mode.IN_PLACE else None
    return Step(Action.RESTORE, name, _why(job, version, ended, live), version, standing, replaces, offered=offered)


def _in_order(held: Iterable[Held]) -> list[Version]:
    """The versions of one blob, oldest first.

    Last-Modified has whole seconds. Within one, the live blob is the newest, and snapshots tell the order by
    their timestamps. For versions that backups alone hold, the ETags decide: the service makes them of its
    clock, which is documented nowhere, so that they decide nothing else.
    """
    ages: dict[str, tuple[str, bool, str, str]] = {}
    versions: dict[str, Version] = {}
    for one in held:
        snapshot = one.key if one.place is Place.SNAPSHOT else ""
        age = (one.version.last_modified, one.place is Place.LIVE, snapshot, one.version.etag)
        ages[one.version.etag] = max(age, ages.get(one.version.etag, age))
        if one.place is not Place.BACKUP or one.version.etag not in versions:
            versions[one.version.etag] = one.version  # the source knows better what it is than a copy
    return sorted(versions.values(), key=lambda version: ages[version.etag])


def _newer(job: Job, live: Entry, why: str) -> Step | None:
    if job.mode is not Mode.IN_PLACE:
        return None
    if not job.delete_newer:
        return Step(Action.LEAVE, live.name, why, live.version)
    refused = refusal(live.name)
    if refused:
        return Step(Action.IMPOSSIBLE, live.name, refused, live.version)
    return Step(Action.DELETE, live.name, why, live.version, replaces=live.etag)


def _directory(job: Job, live: Entry) -> Step | None:
    """A directory of a hierarchical namespace is deleted only with what was created after the moment, and empty."""
    if job.mode is not Mode.IN_PLACE or live.last_modified <= job.at or not job.delete_newer:
        return None
    reason = f"a directory that was created after {job.at}, if it is empty by then"
    return Step(Action.DELETE, live.name, reason, live.version, replaces=live.etag, directory=True)


def _cheapest_first(job: Job, places: Iterable[Held]) -> tuple[Held, ...]:
    """What can be read comes first, then what stands in the account it goes to, then the live blob before copies."""
    near = {Place.BACKUP} if job.target_account == "backup" else {Place.LIVE, Place.SNAPSHOT}
    order = [Place.LIVE, Place.SNAPSHOT, Place.BACKUP]
    return tuple(
        sorted(places, key=lambda one: (one.tier == ARCHIVE, one.place not in near, order.index(one.place), one.key))
    )


def _offered(known: Sequence[Version], version: Version) -> tuple[str, ...]:
    older = {one.last_modified for one in known if one.last_modified < version.last_modified}
    return tuple(sorted(older, reverse=True)[:MAX_OFFERED])


def _why(job: Job, version: Version, ended: Fate, live: Entry | None) -> str:
    if ended is Fate.PERHAPS_DELETED:
        return f"the version of {version.last_modified}; it may have been deleted by {job.at}"
    if job.mode is not Mode.IN_PLACE or live is None:
        return f"the version of {version.last_modified}"
    return f"the version of {version.last_modified}, over that of {live.last_modified}"

"""What a restore must do for one blob: which version, from where, over what; or why it cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shared.decisions.backups import same_content
from shared.decisions.deletions import Deletion, Fate, fate
from shared.decisions.names import refusal
from shared.decisions.restore_places import HALF_RESTORED
from shared.decisions.restoring import Action, Held, Job, Mode, Place, Step
from shared.decisions.version_order import in_order, moved_here, tied
from shared.model import ARCHIVE, Entry, Version, md5_that_counts

MAX_OFFERED = 3
"""How many older versions a step names, for the case that no place holds the wanted one undamaged."""

WRONG_SIZE = "its copy has another size than the version: it is damaged, or was never finished"
WRONG_MD5 = "its backup has another MD5 than the version: it is damaged"
ARCHIVED = "in the archive tier: --rehydrate has it read again, which takes up to 15 hours"
ARCHIVED_SNAPSHOT = (
    "in an archived snapshot, and the service rehydrates none: Copy Blob brings it to a new blob in an online tier"
)
"""Source: the service's overview of rehydration: "snapshots and previous versions cannot be rehydrated"."""
OTHER_STANDS = "another blob stands in the target under its name, and is not overwritten"
DIRECTORY_STANDS = "a directory stands under its name now"
MOVED_HERE = "the blob was renamed or moved here: its time does not tell since when it is there"
ALREADY_THERE = "is in the target already"
IS_THAT_VERSION = "is that version"


def step(
    job: Job,
    name: str,
    live: Entry | None,
    held: Iterable[Held],
    deletions: Sequence[Deletion],
    standing: Entry | None = None,
    now: str = "",
) -> Step | None:
    """What the restore does for this name; None when it has nothing to do with it.

    Args:
        live: what stands under the name in the source container now, a directory too; None when nothing
            does, or nobody could look.
        held: every version of the blob, of the moment or not, at every place that was looked at.
        standing: what stands under the name in a target container that exists already.
        now: the service's time before anything was listed; empty where it is not known.
    """
    directory = live if live is not None and live.directory else None
    blob = None if directory is not None else live
    places = list(held)
    of_now = bool(now) and job.at >= now
    history = in_order(places, of_now=of_now)
    known = [version for version in history if version.last_modified <= job.at]
    if not known:
        return _directory(job, directory) if directory is not None else _not_there(job, name, blob)
    version = known[-1]
    ended = _fate(job, version, blob, deletions)
    if ended is Fate.DELETED and not job.include_deleted:
        if job.mode is Mode.IN_PLACE and blob is not None and blob.last_modified > job.at:
            return _newer(job, blob, f"was deleted before {job.at}, and created again after it")
        return Step(Action.LEAVE, name, f"was deleted before {job.at}; --include-deleted brings it back", version)
    impossible = refusal(name) or (DIRECTORY_STANDS if job.mode is Mode.IN_PLACE and directory is not None else None)
    if impossible:
        return Step(Action.IMPOSSIBLE, name, impossible, version)
    if job.mode is Mode.IN_PLACE and blob is not None and blob.etag == version.etag:
        return Step(Action.LEAVE, name, IS_THAT_VERSION, version)
    holders = [one._replace(version=version) for one in places if one.version.etag == version.etag]
    return _restored(job, version, holders, known, _doubt(job, version, ended, places, of_now=of_now), blob, standing)


def _restored(
    job: Job,
    version: Version,
    holders: list[Held],
    known: Sequence[Version],
    caution: str,
    blob: Entry | None,
    standing: Entry | None,
) -> Step:
    """How the wanted version is brought back, from whichever of its holders is good for that."""
    offered = _offered(known, version)
    md5 = next((one.md5 for one in holders if one.place is not Place.BACKUP and one.md5), None)
    if standing is not None:
        settled = _beside(
            standing, version, md5 or next((one.md5 for one in holders if one.md5), None), holders[0].blob_type
        )
        if settled is not None:
            return settled
    flaws = {one: _flaw(one, md5) for one in holders}
    whole = _cheapest_first(job, [one for one in holders if not flaws[one]])
    if not whole:
        reason = "; ".join(sorted(set(flaws.values())))
        return Step(Action.IMPOSSIBLE, version.name, reason, version, tuple(holders), offered=offered)
    reason = f"the version of {version.last_modified}"
    if standing is not None:
        reason += ", if it is not what stands there already"
    if all(one.tier == ARCHIVE for one in whole):
        if not job.rehydrate:
            return Step(Action.IMPOSSIBLE, version.name, ARCHIVED, version, whole, offered=offered)
        reason += f", rehydrated first, which takes {_rehydration(job)}"
    replaces = blob.etag if blob is not None and job.mode is Mode.IN_PLACE else None
    if replaces is not None and blob is not None:
        reason += f", over that of {blob.last_modified}"
    if caution:
        reason += f"; {caution}"
    return Step(Action.RESTORE, version.name, reason, version, whole, replaces, offered=offered, caution=caution)


def _fate(job: Job, version: Version, blob: Entry | None, deletions: Sequence[Deletion]) -> Fate:
    """As the records have it; but a version that lives is back, since when is not known: perhaps it was by then."""
    recorded = fate(version, job.at, deletions)
    back = blob is not None and blob.etag == version.etag
    return Fate.PERHAPS_DELETED if recorded is Fate.DELETED and back else recorded


def _doubt(job: Job, version: Version, ended: Fate, held: Sequence[Held], *, of_now: bool) -> str:
    if ended is Fate.PERHAPS_DELETED:
        return f"it may have been deleted by {job.at}"
    if not of_now and moved_here(held):
        return MOVED_HERE
    return "another version of that second may be the newer one" if tied(version, held) else ""


def _not_there(job: Job, name: str, blob: Entry | None) -> Step | None:
    """No version is known that is not after the moment."""
    stood = blob is not None and existed(blob, job.at)
    if stood or (name in job.names and not (blob is not None and job.delete_newer)):
        reason = f"no version of it is known that is not after {job.at}"
        version = blob.version if blob is not None else None
        return Step(Action.IMPOSSIBLE, name, f"it existed, but {reason}" if stood else reason, version)
    if blob is None or job.mode is not Mode.IN_PLACE:
        return None
    if blob.last_modified <= job.at:  # it is not newer, and yet no version: what is left of another restore
        return Step(Action.IMPOSSIBLE, name, f"no version of it is known, and what stands there is {HALF_RESTORED}")
    return _newer(job, blob, f"created after {job.at}")


def existed(entry: Entry, at: str) -> bool:
    """Whether a blob, or a directory, that was written after `at` stood there before that already.

    Only where its Creation-Time says so: a service that counts an overwrite as a creation tells nothing by it.
    """
    return bool(entry.created) and entry.created <= at


def _newer(job: Job, blob: Entry, why: str) -> Step:
    """What becomes of a blob in place that was not there at the moment, or not so."""
    if not job.delete_newer:
        return Step(Action.LEAVE, blob.name, why, blob.version)
    refused = refusal(blob.name)
    if refused:
        return Step(Action.IMPOSSIBLE, blob.name, refused, blob.version)
    if existed(blob, job.at):
        return Step(Action.LEAVE, blob.name, f"{why}, or so it seems: it existed by then", blob.version)
    return Step(Action.DELETE, blob.name, why, blob.version, replaces=blob.etag)


def _directory(job: Job, directory: Entry) -> Step | None:
    """A directory of a hierarchical namespace is deleted only with what was created after the moment, and empty."""
    if job.mode is not Mode.IN_PLACE or not job.delete_newer:
        return None
    if (directory.created or directory.last_modified) <= job.at:
        return None
    refused = refusal(directory.name)
    if refused:
        return Step(Action.IMPOSSIBLE, directory.name, refused, directory.version, directory=True)
    reason = f"a directory that was created after {job.at}, if it is empty by then"
    return Step(Action.DELETE, directory.name, reason, directory.version, replaces=directory.etag, directory=True)


def _flaw(one: Held, md5: str | None) -> str:
    """Why nothing is taken from this place; empty where it is good. `md5` is what the source says the version's is."""
    if one.unusable:
        return one.unusable
    if one.place is Place.SNAPSHOT and one.tier == ARCHIVE:
        return ARCHIVED_SNAPSHOT
    if one.size != one.version.size:
        return WRONG_SIZE
    return "" if same_content(one.size, one.md5, one.version.size, md5) else WRONG_MD5


def _beside(standing: Entry, version: Version, md5: str | None, blob_type: str) -> Step | None:
    """What stands in the target is never overwritten; it is the version where size and MD5 prove it.

    Without an MD5 that counts, which append and page blobs lack, only a comparison can tell: None.
    """
    if standing.directory or standing.size != version.size or standing.blob_type != blob_type:
        return Step(Action.IMPOSSIBLE, version.name, OTHER_STANDS, version)
    if md5 is None or md5_that_counts(standing.md5, blob_type) is None:
        return None
    same = standing.md5 == md5
    return Step(
        Action.LEAVE if same else Action.IMPOSSIBLE, version.name, ALREADY_THERE if same else OTHER_STANDS, version
    )


def _cheapest_first(job: Job, places: Iterable[Held]) -> tuple[Held, ...]:
    """What can be read comes first, then what stands in the account it goes to, then the live blob before copies.

    What must be rehydrated comes the other way round: the source is changed last.
    """
    order = [Place.LIVE, Place.SNAPSHOT, Place.BACKUP]
    near = [Place.BACKUP, Place.LIVE, Place.SNAPSHOT] if job.target_account == "backup" else order

    def cost(one: Held) -> tuple[bool, int, str]:
        archived = one.tier == ARCHIVE
        return archived, -order.index(one.place) if archived else near.index(one.place), one.key

    return tuple(sorted(places, key=cost))


def _offered(known: Sequence[Version], version: Version) -> tuple[str, ...]:
    older = {one.last_modified for one in known if one.last_modified < version.last_modified}
    return tuple(sorted(older, reverse=True)[:MAX_OFFERED])


def _rehydration(job: Job) -> str:
    return "up to 15 hours" if job.rehydrate == "standard" else "an hour or so, for less than 10 GiB"

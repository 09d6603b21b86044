"""Which of a blob's versions is the newest: Last-Modified alone does not tell, as it has whole seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from shared.decisions.restoring import Held, Place
from shared.model import Version


class _Age(NamedTuple):
    """Sorts the versions of one blob; see `in_order`."""

    last_modified: str
    live: bool
    snapshot: str
    etag: str


def in_order(held: Iterable[Held], *, of_now: bool = False) -> list[Version]:
    """The versions of one blob, oldest first.

    Args:
        of_now: whether the state of now is asked for, of which the live blob is, whatever its Last-Modified.

    Last-Modified has whole seconds. Within one, the live blob is the newest, and snapshots tell the order by
    their timestamps. For versions that backups alone hold, the ETags decide: the service makes them of its
    clock, which is documented nowhere, so that they decide nothing else.
    """
    places = list(held)
    ages = _ages(places)
    current = {one.version.etag for one in places if one.place is Place.LIVE} if of_now else set()
    versions: dict[str, Version] = {}
    for one in places:
        if one.place is not Place.BACKUP or one.version.etag not in versions:
            versions[one.version.etag] = one.version  # the source knows better what it is than a copy
    return sorted(versions.values(), key=lambda version: (version.etag in current, ages[version.etag]))


def tied(version: Version, held: Iterable[Held]) -> bool:
    """Whether nothing that is documented tells that this version is the newest of its second."""
    ages = _ages(held)
    own = ages.pop(version.etag)
    rivals = [age for age in ages.values() if age.last_modified == version.last_modified]
    return not own.live and any(not own.snapshot or not age.snapshot for age in rivals)


def moved_here(held: Iterable[Held]) -> bool:
    """Whether the live blob is older than another version of its name: it came from elsewhere, nobody knows when.

    A rename in a hierarchical namespace keeps Last-Modified. Nothing else puts an older blob over a newer one.
    """
    ages = _ages(held)
    live = [age for age in ages.values() if age.live]
    return any(age.last_modified > one.last_modified for one in live for age in ages.values())


def _ages(held: Iterable[Held]) -> dict[str, _Age]:
    ages: dict[str, _Age] = {}
    for one in held:
        snapshot = one.key if one.place is Place.SNAPSHOT else ""
        age = _Age(one.version.last_modified, one.place is Place.LIVE, snapshot, one.version.etag)
        ages[one.version.etag] = max(age, ages.get(one.version.etag, age))
    return ages

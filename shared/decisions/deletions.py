"""When a blob was deleted, as far as reconciliations can tell, and what that means for a moment in the past.

A reconciliation that misses a blob, or finds one again, writes down that event, and never changes what is
written. What follows from all events of a name does not depend on the order in which they are read, nor on
how often one of them stands there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, NamedTuple

from shared.decisions.names import long_name_folder
from shared.model import Version, moment_of

SCHEMA = 1
"""To be raised with every change of what a document of deletions holds."""

MAX_NAMES = 5000
"""How many names one document holds at most."""

_LONG_CHARACTERS = 200
_DEEP_SEGMENTS = 250


class Gone(NamedTuple):
    """A blob was there at `last_seen`, and was not at `first_missed`: the storage service's times, to the second."""

    name: str
    last_seen: str
    first_missed: str


class Back(NamedTuple):
    """A blob that had been gone was there at `seen_at`."""

    name: str
    seen_at: str


class Deletion(NamedTuple):
    """A blob that was there at `last_seen`, was missed at `first_missed`, and (if ever) was back by `back_by`.

    All three are times of the storage service, as `YYYY-MM-DDTHH:MM:SSZ`.
    """

    name: str
    last_seen: str
    first_missed: str
    back_by: str | None = None


class Fate(Enum):
    """Whether a version that was its blob's newest at some moment was still there at that moment."""

    THERE = "there"
    PERHAPS_DELETED = "perhaps deleted"
    DELETED = "deleted"


def fate(version: Version, at: str, deletions: Iterable[Deletion]) -> Fate:
    """Whether the newest version not after `at` was still there at `at`.

    In doubt it was: data that is back can be deleted again, data that stays away is missed.
    """
    verdict = Fate.THERE
    for deletion in deletions:
        over = deletion.back_by is not None and deletion.back_by <= at
        if not ended(version.last_modified, deletion.first_missed) or over:
            continue
        if deletion.first_missed <= at:
            return Fate.DELETED
        if deletion.last_seen < at:
            verdict = Fate.PERHAPS_DELETED
    return verdict


def ended(last_modified: str, first_missed: str) -> bool:
    """Whether a blob that was missed then had been this version, or whether the version was written afterwards.

    Of the same second it was written afterwards: if it was not, the next reconciliation misses it again.
    """
    return last_modified < first_missed


def time_of_backup(name: str) -> str:
    """The Last-Modified of a version, from the second part of `shared.decisions.names.folder_of_backup`."""
    return f"{name[:4]}-{name[4:6]}-{name[6:8]}T{name[9:11]}:{name[11:13]}:{name[13:15]}Z"


def document(container: str, gone: Sequence[Gone], back: Sequence[Back]) -> dict[str, Any]:
    """Events as they are stored."""
    return {
        "schema": SCHEMA,
        "container": container,
        "gone": [one._asdict() for one in gone],
        "back": [one._asdict() for one in back],
    }


def events(stored: Any) -> tuple[list[Gone], list[Back]]:
    """The events of one document.

    Raises:
        ValueError: it is not as this release writes it, so that nothing may be concluded from it.
    """
    if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
        raise ValueError(f"expected a document of schema {SCHEMA}")
    try:
        gone = [Gone(str(one["name"]), one["last_seen"], one["first_missed"]) for one in stored["gone"]]
        back = [Back(str(one["name"]), one["seen_at"]) for one in stored["back"]]
        for second in (*(time for one in gone for time in one[1:]), *(one.seen_at for one in back)):
            moment_of(second)
    except (KeyError, TypeError) as error:
        raise ValueError(f"an event has another form: {type(error).__name__} {error}") from error
    return gone, back


def fold(gone: Iterable[Gone], back: Iterable[Back]) -> dict[str, list[Deletion]]:
    """Each name's deletions, oldest first, from all events that are known.

    Two events that a blob is gone, without its having been there in between, are of one deletion.
    """
    missed: dict[str, set[Gone]] = {}
    for one in gone:
        missed.setdefault(one.name, set()).add(one)
    seen: dict[str, list[str]] = {}
    for other in back:
        if other.name in missed:
            seen.setdefault(other.name, []).append(other.seen_at)
    return {name: _deletions(of_name, sorted(seen.get(name, ()))) for name, of_name in missed.items()}


def _deletions(gone: Iterable[Gone], seen: Sequence[str]) -> list[Deletion]:
    deletions: list[Deletion] = []
    for one in sorted(gone, key=lambda event: (event.first_missed, event.last_seen)):
        back_by = next((second for second in seen if second >= one.first_missed), None)
        found = Deletion(one.name, one.last_seen, one.first_missed, back_by)
        if deletions:
            last = deletions.pop()
            back = [last.back_by] if last.back_by is not None and last.back_by <= found.first_missed else []
            if not ended(found.last_seen, last.first_missed):
                back.append(found.last_seen)
            if back:
                deletions.append(last._replace(back_by=min(back)))
            else:  # it was missed twice, and never there in between
                found = last._replace(last_seen=max(last.last_seen, found.last_seen))
        deletions.append(found)
    return deletions


def backup_folders(name: str) -> tuple[str, ...]:
    """The folders in which backups of this name can stand: its own, and where that may get too long, the hashed one.

    Near the limit both have some, since ETags differ in length.
    """
    return name, *hashed_folders(name)


def hashed_folders(name: str) -> tuple[str, ...]:
    """The hashed one of these, where backups of this name can have hashed names."""
    if len(name) < _LONG_CHARACTERS and name.count("/") < _DEEP_SEGMENTS:
        return ()
    return (long_name_folder(name),)

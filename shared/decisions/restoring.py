"""The nouns of a restore: the job, the places that hold a version, and the steps that a plan is made of.

A plan is written as one line of JSON a step, so that carrying it out, now or after a crash, takes nothing else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from shared.model import Version


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
        rehydrate: the priority at which archived blobs are rehydrated; empty for not at all.
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
    rehydrate: Literal["", "standard", "high"] = ""

    def document(self) -> dict[str, Any]:
        """All of it, as it stands in the state and in reports."""
        return asdict(self) | {"mode": self.mode.value, "names": list(self.names)}

    @classmethod
    def of(cls, document: dict[str, Any]) -> Job:
        """What `document` gave."""
        return cls(**document | {"mode": Mode(document["mode"]), "names": tuple(document["names"])})


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
        unusable: why nothing can be taken from there; empty where it can. That the version existed counts
            all the same: else an older one would be restored in its place, and nobody would notice.
    """

    place: Place
    version: Version
    key: str
    etag: str
    size: int
    md5: str | None
    blob_type: str
    tier: str
    unusable: str = ""


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
        caution: what nobody could find out about this blob, and its owner may know.
    """

    action: Action
    name: str
    reason: str
    version: Version | None = None
    places: tuple[Held, ...] = ()
    replaces: str | None = None
    directory: bool = False
    offered: tuple[str, ...] = ()
    caution: str = ""


def to_line(step: Step) -> str:
    """A step as one line of a plan; `of_line` reads it."""
    document: dict[str, Any] = {"action": step.action.value, "name": step.name, "reason": step.reason}
    if step.version is not None:
        document["version"] = step.version._asdict()
    if step.places:
        document["places"] = [_place(one, step.version) for one in step.places]
    for key, value in (
        ("replaces", step.replaces),
        ("directory", step.directory),
        ("offered", list(step.offered)),
        ("caution", step.caution),
    ):
        if value:
            document[key] = value
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def of_line(text: str) -> Step:
    """The step that `to_line` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    document = json.loads(text)
    version = Version(**document["version"]) if "version" in document else None
    return Step(
        Action(document["action"]),
        document["name"],
        document["reason"],
        version,
        tuple(_held(place, document) for place in document.get("places", ())),
        document.get("replaces"),
        document.get("directory", False),
        tuple(document.get("offered", ())),
        document.get("caution", ""),
    )


def _place(one: Held, version: Version | None) -> dict[str, Any]:
    document = one._asdict() | {"place": one.place.value, "version": one.version._asdict()}
    if one.version == version:
        del document["version"]
    if not one.unusable:
        del document["unusable"]
    return document


def _held(document: dict[str, Any], of: dict[str, Any]) -> Held:
    version = Version(**(document["version"] if "version" in document else of["version"]))
    return Held(**document | {"place": Place(document["place"]), "version": version})

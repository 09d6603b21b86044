"""What the change feed tells: which segments are to be read from where on, and which blobs its events hint at.

The layout is the service's: https://learn.microsoft.com/azure/storage/blobs/storage-blob-change-feed, "Specifications".
Segments are hours. Each names folders, whose files grow by whole Avro blocks until the segment is finalized; what
stands in a file stays where it is. So a position is the number of bytes of each file that were read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import unquote

from pydantic import AwareDatetime, BaseModel, Field

SCHEMA = 1
"""To be raised with every change of what a cursor holds."""

CONTAINER = "$blobchangefeed"
META = "meta/segments.json"
FINALIZED = "Finalized"
INACCURACY = timedelta(hours=1, minutes=15)
"""A segment is an hour, and holds events of up to 15 minutes before and after it."""

MAX_CATCH_UP = timedelta(days=7)
"""From where a feed is read that was never read before, when no complete reconciliation tells a better time."""

NO_HINT = frozenset(
    {"BlobDeleted", "BlobSnapshotCreated", "BlobAsyncOperationInitiated", "RestorePointMarkerCreated", "Control"}
)
"""Events after which no version is new. Of an event that is not known here, the blob is looked at."""

_SEGMENT = re.compile(r"idx/segments/(\d{4})/(\d\d)/(\d\d)/(\d{4})/meta\.json")
_SUBJECT = re.compile(r"/blobServices/default/containers/([^/]+)/blobs/(.+)", re.DOTALL)


@dataclass(frozen=True)
class Segment:
    """An hour of the feed: where its files are, and whether no more come."""

    path: str
    folders: tuple[str, ...]
    finalized: bool


@dataclass
class Cursor:
    """How far the feed was read.

    Attributes:
        account: whose feed it is.
        segment: the first that is not read to its end; all before it are done with.
        read: how many bytes were read of each file of this segment and those after it.
    """

    account: str
    segment: str
    read: dict[str, int] = field(default_factory=dict)

    def move_on(self, segments: Sequence[Segment]) -> None:
        """Takes all of these as read, as far as they go; the first that more may come to is where the feed goes on."""
        left = list(segments)
        while len(left) > 1 and left[0].finalized:
            del left[0]
        if left:
            folders = tuple(folder for one in left for folder in one.folders)
            self.segment = left[0].path
            self.read = {name: size for name, size in self.read.items() if name.startswith(folders)}

    def document(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "account": self.account, "segment": self.segment, "read": self.read}

    @classmethod
    def of(cls, document: Any, account: str) -> Cursor | None:
        """The cursor that was saved; None for one of another release or of another account, and for none."""
        if not isinstance(document, dict) or (document.get("schema"), document.get("account")) != (SCHEMA, account):
            return None
        return cls(account, str(document["segment"]), {str(name): int(size) for name, size in document["read"].items()})


class Hint(NamedTuple):
    """A blob that an event is about. `snapshotted`: its last event says that a snapshot was taken since."""

    container: str
    name: str
    snapshotted: bool = False


def start(last_complete: datetime | None, now: datetime) -> str:
    """From which segment on a feed is read that was never read before: all before it was reconciled."""
    earliest = now - MAX_CATCH_UP
    began = max(last_complete, earliest) if last_complete is not None else earliest
    return f"idx/segments/{began - INACCURACY:%Y/%m/%d/%H}00/meta.json"


class _Manifest(BaseModel):
    status: str
    folders: tuple[str, ...] = Field(alias="chunkFilePaths")


class _Meta(BaseModel):
    last_consumable: AwareDatetime = Field(alias="lastConsumable")


def segment_of(path: str, manifest: Any) -> Segment:
    """A segment, from its `meta.json`.

    Raises:
        ValueError: it has another form.
    """
    found = _Manifest.model_validate(manifest)
    folders = tuple(folder.removeprefix(f"{CONTAINER}/") for folder in found.folders)
    return Segment(path, folders, found.status == FINALIZED)


def last_consumable(document: Any) -> datetime:
    """Up to which segment a feed may be read, from `meta/segments.json`.

    Raises:
        ValueError: it has another form.
    """
    return _Meta.model_validate(document).last_consumable


def to_read(paths: Iterable[str], cursor: str, last: datetime) -> list[str]:
    """The segments from the cursor's on, in order, as far as they may be read."""
    found = []
    for path in paths:
        match = _SEGMENT.fullmatch(path)
        # The one of the year 1601 is there as soon as the feed is, and always empty.
        if match is not None and match[1] != "1601" and path >= cursor and _begin(match) <= last:
            found.append(path)
    return sorted(found)


def years_from(cursor: str, last: datetime) -> list[str]:
    """The folders in which the segments from the cursor's on are."""
    match = _SEGMENT.fullmatch(cursor)
    first = int(match[1]) if match else last.year
    return [f"idx/segments/{year}/" for year in range(first, last.year + 1)]


def _begin(match: re.Match[str]) -> datetime:
    year, month, day, time = match.groups()
    return datetime.fromisoformat(f"{year}-{month}-{day}T{time[:2]}:{time[2:]}:00Z")


def hints(events: Iterable[Mapping[str, Any]]) -> list[Hint]:
    """The blobs that these events hint at, each once, whatever comes first of its events.

    Raises:
        ValueError: an event of a blob has another form.
    """
    found: dict[tuple[str, str], bool] = {}
    for event in events:
        kind = str(event.get("eventType"))
        match = _SUBJECT.fullmatch(str(event.get("subject")))
        if match is None:
            if kind in NO_HINT or not kind.startswith("Blob"):
                continue
            raise ValueError(f"an event of type {kind} is of no blob")
        for name in spellings(match[2]):
            key = match[1], name
            if kind == "BlobSnapshotCreated":
                if key in found:
                    found[key] = True
            elif kind == "BlobDeleted":
                found.pop(key, None)
            elif kind not in NO_HINT:
                found[key] = False
    return [Hint(container, name, snapshotted) for (container, name), snapshotted in found.items()]


def spellings(name: str) -> list[str]:
    """The names that an event's subject may mean: it is not documented whether it is percent-encoded."""
    try:
        decoded = unquote(name, errors="strict")
    except ValueError:
        decoded = name
    return [name] if decoded == name else [name, decoded]

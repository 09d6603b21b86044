"""The nouns of the domain: versions of blobs, what a listing says of them, and why one is unprotected."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

ARCHIVE = "Archive"
"""The access tier whose blobs can be neither read nor copied until they are rehydrated."""

_MONTHS = {
    month: f"{number:02d}"
    for number, month in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
_SECOND = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class Version(NamedTuple):
    """One state of a source blob.

    `etag` is without quotes. `last_modified` is UTC to the second, `YYYY-MM-DDTHH:MM:SSZ`: text,
    since listings bring millions of them, names are made of it, and it sorts as time does.
    """

    name: str
    etag: str
    last_modified: str
    size: int


class Entry(NamedTuple):
    """One line of a listing: a live blob, or (with `snapshot`) a snapshot of one.

    `snapshot` is the service's timestamp, which sorts as time does; `md5` the Content-MD5 in base64
    where the service holds one; `tier` is empty where the service names none; `metadata` is None, and
    `created` empty, unless the listing was asked to read them. `half` is what an interrupted restore left,
    where the listing includes metadata.
    """

    name: str
    snapshot: str | None
    etag: str
    last_modified: str
    size: int
    md5: str | None = None
    blob_type: str = "BlockBlob"
    tier: str = ""
    directory: bool = False
    customer_key: bool = False
    metadata: dict[str, str] | None = None
    created: str = ""
    half: bool = False

    @property
    def version(self) -> Version:
        return Version(self.name, self.etag, self.last_modified, self.size)


class IndexedBlob(NamedTuple):
    """What an index of a listing keeps of one live blob; MD5 and time as in `Entry`."""

    name: str
    size: int
    md5: str | None
    blob_type: str
    last_modified: str


@dataclass(frozen=True)
class BlobState:
    """What a HEAD tells of one blob, snapshot or backup.

    `copying` is the state of the service's own asynchronous copy onto it (`pending`, `failed`, `aborted`);
    empty where there was none, and for one that succeeded.
    """

    version: Version
    md5: str | None
    blob_type: str
    tier: str
    tier_inferred: bool
    headers: ContentHeaders
    metadata: dict[str, str]
    tag_count: int
    snapshot: str | None = None
    copying: str = ""


@dataclass(frozen=True)
class ContentHeaders:
    """The headers that a reader of the blob gets with its content."""

    content_type: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    content_disposition: str | None = None
    cache_control: str | None = None


class Reason(StrEnum):
    """Why a version is unprotected and stays so until somebody acts; these words stand in reports."""

    ARCHIVED = "archived"
    REFUSED_NAME = "refused name"
    CUSTOMER_KEY = "customer-provided key"
    HALF_RESTORED = "half restored"
    UNSUPPORTED_TYPE = "unsupported blob type"
    LOST = "gone before it was copied"
    CONFLICT = "another blob stands under the backup's name"
    FAILED = "failed"


def md5_that_counts(md5: str | None, blob_type: str) -> str | None:
    """The Content-MD5 where it is of the bytes: the service leaves that of append and page blobs as it is when
    blocks are appended or pages written.
    """
    return md5 if blob_type == "BlockBlob" else None


def second_of_http_date(text: str) -> str:
    """`Fri, 20 Nov 2026 14:05:33 GMT`, as the service writes it, as `2026-11-20T14:05:33Z`.

    By slices: a listing brings one for every entry, and `email.utils` takes ten times as long.

    Raises:
        ValueError: not a date in that form.
    """
    if len(text) != 29 or text[25:] != " GMT":
        raise ValueError(f"not an HTTP date: {text!r}")
    month = _MONTHS.get(text[8:11])
    second = f"{text[12:16]}-{month}-{text[5:7]}T{text[17:25]}Z"
    if month is None or not _SECOND.fullmatch(second):
        raise ValueError(f"not an HTTP date: {text!r}")
    return second


def second_of(moment: datetime) -> str:
    """An aware moment as `YYYY-MM-DDTHH:MM:SSZ`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(second: str) -> datetime:
    """`YYYY-MM-DDTHH:MM:SSZ` as an aware moment.

    Raises:
        ValueError: not in that form.
    """
    if not _SECOND.fullmatch(second):
        raise ValueError(f"not a UTC time such as 2026-11-20T14:05:33Z: {second!r}")
    return datetime.fromisoformat(second)


@dataclass(frozen=True)
class QueueOverview:
    """How much stands in the backup queue and its poison queue, and since when; no time where no message shows one."""

    waiting: int
    oldest_waiting: datetime | None
    poison: int
    oldest_poison: datetime | None


@dataclass(frozen=True)
class QueuedMessage:
    """A message as it stands in a queue; `text` as it was put there, `expires_at` None where it never does.

    `receipt` is what the service asks of whoever deletes it or hands it back, and `visible_at` when others see it
    again if nobody does; None when it was only looked at.
    """

    queue: str
    message_id: str
    text: str
    inserted_at: datetime
    expires_at: datetime | None
    receipt: str | None = None
    visible_at: datetime | None = None

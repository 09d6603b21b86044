"""Understands one page of a listing: light tuples, and where the next page begins.

The SDK builds a model of some 40 fields for every entry, at about 190 µs each; this takes the ten fields that
decisions need. An entry of the usual form, in the order in which the service or Azurite writes it, is matched
whole by one regular expression, at about 3.5 µs; any other is read by `shared.adapters.listing_entry`, which
gives the same for both. Anything unexpected in a page is an error: a listing that is not understood must never
count as complete.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from shared.adapters.listing_entry import read_entry, unescaped
from shared.decisions.restored import RESTORING
from shared.errors import StorageFailed
from shared.model import Entry, second_of_http_date

_PART_CHARACTERS = 256 * 1024
"""How much of a page is read in one go, which takes a millisecond or two."""

_MARKER = r"<NextMarker\s*(?:/>|>([^<]*)</NextMarker>)\s*</EnumerationResults>\s*\Z"
_END = re.compile(_MARKER)
_OPENING = re.compile(r"<EnumerationResults\b[^<]*+(?:<(?!Blob)[^<]*+)*+<Blobs>\s*+")
_CLOSING = re.compile(rf"</Blobs>\s*{_MARKER}")
_EMPTY = re.compile(rf"<EnumerationResults\b[^<]*+(?:<(?!Blob)[^<]*+)*+<Blobs\s*/>\s*{_MARKER}")

_EMPTY_OR_TEXT = r"(?: ?/>|>[^<]*+</[A-Za-z0-9-]++>)"
_DATE = r"[A-Z][a-z]{2}, ([0-9]{2} [A-Z][a-z]{2} [0-9]{4}) ([0-9]{2}:[0-9]{2}:[0-9]{2}) GMT"


def _ignored(*names: str) -> str:
    return "".join(f"(?:<{name}{_EMPTY_OR_TEXT})?+" for name in names)


_USUAL = (
    r"<Blob><Name>([^<]*+)</Name>(?:<Snapshot>([^<]*+)</Snapshot>)?+"
    r"(?:<VersionId>[^<]*+</VersionId><IsCurrentVersion>true</IsCurrentVersion>)?+"
    rf"<Properties>(?:<Creation-Time>{_DATE}</Creation-Time>)?+<Last-Modified>{_DATE}</Last-Modified>"
    r'<Etag>"?+([^<&"]++)"?+</Etag>(?:<ResourceType>file</ResourceType>)?+'
    r"<Content-Length>([0-9]{1,18})</Content-Length>"
    + _ignored("Content-Type", "Content-Encoding", "Content-Language", "Content-CRC64")
    + r"(?:<Content-MD5(?: ?/>|>([^<]*+)</Content-MD5>))?+"
    + _ignored("Cache-Control", "Content-Disposition", "x-ms-blob-sequence-number")
    + r"<BlobType>([A-Za-z]++)</BlobType>"
    + _ignored("LeaseStatus", "LeaseState", "LeaseDuration", "ServerEncrypted")
    + r"(?:<AccessTier>([A-Za-z0-9]++)</AccessTier>)?+"
    # Whatever else the service says of it, but for what `read_entry` looks for.
    rf"(?:<(?!(?:Last-Modified|Etag|Content-Length|Content-MD5|BlobType|AccessTier|ResourceType|Creation-Time"
    rf"|CustomerProvidedKeySha256)>)[A-Za-z0-9-]++{_EMPTY_OR_TEXT})*+</Properties>"
    rf"(?:<Metadata>((?:<((?!(?i:hdi_isfolder|{RESTORING}))[A-Za-z_][A-Za-z0-9_]*+)>[^<]*+</\13>)*+)</Metadata>"
    r"|<Metadata ?/>)?+(?:<OrMetadata ?/>)?+</Blob>\s*+"
)
# Metadata may have a key of any of these names: an entry is known by the name that it begins with.
_ENTRIES = re.compile(rf"{_USUAL}|<Blob>(\s*<Name[^<]*+(?:<(?!Blob>\s*<Name)[^<]*+)*+)|(.)", re.DOTALL)
"""A usual entry, or one to be looked at more closely, or else a character that belongs to none.

Since the last of the three takes any character, each match begins where the one before it ended, and nothing of a
page is ever passed over.
"""

_PLAIN_VALUE = re.compile(r"<([^>]++)>([^<]*+)<")


def parse(body: bytes, container: str, *, metadata: bool = False) -> list[Entry]:
    """The entries of one page, in its order; soft-deleted and older versions are left out.

    Args:
        metadata: whether to read the metadata too, and when the blob was created.

    Raises:
        StorageFailed: the page is cut short, or says something that is not understood.
    """
    return [entry for part in parts(body, container, metadata=metadata) for entry in part]


def parts(body: bytes, container: str, *, metadata: bool = False) -> Iterator[list[Entry]]:
    """As `parse`, a part of the page after the other: what runs beside it has a turn in between."""
    text = listed(body, container)
    start = 0
    while start < len(text):
        cut = text.find("<Blob><Name", start + _PART_CHARACTERS)
        part = text[start : cut if cut > 0 else len(text)]
        yield _entries(part, container, metadata)
        start += len(part)


def listed(body: bytes, container: str) -> str:
    """What a page lists: its entries as they stand there, and nothing else. Raises StorageFailed as `parse`."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StorageFailed(f"list {container}: a page is not UTF-8: {error.reason}") from error
    opening, closing = _OPENING.search(text), _CLOSING.match(text, max(text.rfind("</Blobs>"), 0))
    if opening is None or closing is None:
        if _EMPTY.search(text):
            return ""
        raise StorageFailed(f"list {container}: a page is cut short, or is no listing")
    return text[opening.end() : closing.start()]


def _entries(part: str, container: str, metadata: bool) -> list[Entry]:
    entries: list[Entry] = []
    # The constructor of a NamedTuple takes twice as long as the tuple's own.
    make, add = tuple.__new__, entries.append
    name = unusual = ""
    try:
        for (
            name, snapshot, created_day, created_time, day, time, etag, size, md5, blob_type, tier, values, _, unusual,
            neither,
        ) in _ENTRIES.findall(part):  # fmt: skip
            if neither:
                raise ValueError("something that is no entry stands there")  # noqa: TRY301  # it has one way out
            if unusual:
                entry = read_entry(unusual, metadata=metadata)
                if entry is not None:
                    add(entry)
                continue
            add(
                make(
                    Entry,
                    (
                        unescaped(name) if "&" in name else name,
                        snapshot or None,
                        etag,
                        f"{_day(day)}{time}Z",
                        int(size),
                        md5 or None,
                        blob_type,
                        tier,
                        False,
                        False,
                        _metadata(values) if metadata else None,
                        f"{_day(created_day)}{created_time}Z" if metadata and created_day else "",
                        False,
                    ),
                )
            )
    except (KeyError, ValueError) as error:
        shown = (unusual or name)[:200]
        raise StorageFailed(f"list {container}: an entry is not understood: {error}: {shown!r}") from error
    return entries


@lru_cache(maxsize=4096)
def _day(text: str) -> str:
    """`20 Nov 2026` as `2026-11-20T`."""
    return second_of_http_date(f"Fri, {text} 00:00:00 GMT")[:11]


def _metadata(values: str) -> dict[str, str]:
    found = dict(_PLAIN_VALUE.findall(values))
    return {key: unescaped(value) for key, value in found.items()} if "&" in values else found


def next_marker(body: bytes, container: str) -> str | None:
    """Where the next page begins; None on the last.

    Raises:
        StorageFailed: the page is cut short, or its end is not understood.
    """
    end = body[max(body.rfind(b"<NextMarker"), 0) :]
    try:
        marker = _END.match(end.decode())
        if marker is not None:
            return unescaped(marker[1] or "") or None
    except ValueError as error:
        raise StorageFailed(f"list {container}: a page's end is not understood: {error}") from error
    raise StorageFailed(f"list {container}: a page is cut short, or is no listing")

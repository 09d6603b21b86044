"""Understands one page of a listing: light tuples, and where the next page begins.

The SDK builds a model of some 40 fields for every entry, at about 190 µs each; this takes the ten
fields that decisions need, in about 10 µs. Anything unexpected in a page is an error: a listing that
is not understood must never count as complete.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from shared.decisions.restored import RESTORING
from shared.errors import StorageFailed
from shared.model import Entry, second_of_http_date

_PROPERTY = re.compile(
    r"<(Etag|Last-Modified|Content-Length|Content-MD5|BlobType|AccessTier|ResourceType|CustomerProvidedKeySha256)>"
    r"([^<]*)</"
)
# Metadata may have a key of any of these names: an entry is known by the name that it begins with.
_BEGIN = re.compile(r"<Blob>(?=\s*<Name)")
_END = re.compile(r"<NextMarker\s*(?:/>|>([^<]*)</NextMarker>)\s*</EnumerationResults>\s*\Z")
_OVERLOOKED = re.compile(r"</Blob>\s*<Blob>")
_HEAD = re.compile(r"<(Name|Snapshot|Deleted|VersionId)( Encoded=\"true\")?>([^<]*)</")
_CREATED = re.compile(r"<Creation-Time>([^<]+)</Creation-Time>")
# To the last closing tag of that name: a key may be called Metadata, too.
_METADATA = re.compile(r"<Metadata>(.*)</Metadata>", re.DOTALL)
_VALUE = re.compile(r"<([A-Za-z_][A-Za-z0-9_]*)( Encoded=\"true\")?(?:\s*/>|>([^<]*)</\1>)")
_FOLDER = re.compile(r"<hdi_isfolder>true</hdi_isfolder>", re.IGNORECASE)
_REFERENCE = re.compile(r"&(?:(lt|gt|amp|quot|apos)|#x([0-9A-Fa-f]{1,6})|#([0-9]{1,7}));|&")
_CHARACTERS = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}


def parse(body: bytes, container: str, *, metadata: bool = False) -> list[Entry]:
    """The entries of one page, in its order; soft-deleted and older versions are left out.

    Args:
        metadata: whether to read the metadata too, and when the blob was created, which takes as long as all the rest.

    Raises:
        StorageFailed: the page is cut short, or says something that is not understood.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StorageFailed(f"list {container}: a page is not UTF-8: {error.reason}") from error
    opening, *chunks = _BEGIN.split(text)
    whole = "<EnumerationResults" in opening and _END.match(text, max(text.rfind("<NextMarker"), 0))
    if not whole or "<Blob>" in opening:
        raise StorageFailed(f"list {container}: a page is cut short, or is no listing")
    entries = []
    for chunk in chunks:
        try:
            entry = _entry(chunk)
            if metadata and entry is not None:
                entry = entry._replace(metadata=_metadata(chunk), created=_created(chunk))
        except (KeyError, ValueError) as error:
            raise StorageFailed(f"list {container}: an entry is not understood: {error}: {chunk[:200]!r}") from error
        if entry is not None:
            entries.append(entry)
    return entries


def _entry(chunk: str) -> Entry | None:
    """One entry, or None for one that is left out. Raises KeyError or ValueError when it is not understood."""
    head, _, rest = chunk.partition("<Properties>")
    properties, end, tail = rest.partition("</Properties>")
    if not end or "</Blob>" not in tail or ("<Blob>" in chunk and _OVERLOOKED.search(chunk)):
        raise ValueError("it has no end")
    name, snapshot, hidden = None, None, False
    for tag, encoded, value in _HEAD.findall(head):
        if tag == "Name":
            name = unquote(value, errors="strict") if encoded else _unescaped(value)
        elif tag == "Snapshot":
            snapshot = value or None
        elif tag == "Deleted":
            hidden |= value == "true"
        elif tag == "VersionId":
            hidden |= "<Snapshot>" not in head and "<IsCurrentVersion>true<" not in head
    if hidden:
        return None
    found = dict(_PROPERTY.findall(properties))
    directory = found.get("ResourceType") == "directory"
    size = found.get("Content-Length", "0" if directory else "")
    lowered = tail.lower()
    if "isfolder" in lowered and size == "0" and _FOLDER.search(tail):
        directory = True
    etag = _unescaped(found["Etag"]).strip('"')
    if name is None or not etag:
        raise ValueError("no name or no ETag")
    return Entry(
        name,
        snapshot,
        etag,
        second_of_http_date(found["Last-Modified"]),
        int(size),
        found.get("Content-MD5") or None,
        found.get("BlobType", "BlockBlob"),
        found.get("AccessTier", ""),
        directory,
        "CustomerProvidedKeySha256" in found,
        half=f"<{RESTORING}" in lowered,  # a value has its < escaped
    )


def _created(chunk: str) -> str:
    """When a blob of this name was created; a service of an older version does not tell."""
    found = _CREATED.search(chunk, 0, chunk.index("</Properties>"))
    return second_of_http_date(found[1]) if found else ""


def _metadata(chunk: str) -> dict[str, str]:
    found = _METADATA.search(chunk, chunk.index("</Properties>"))
    if found is None:
        return {}
    values = {
        key: unquote(value, errors="strict") if encoded else _unescaped(value)
        for key, encoded, value in _VALUE.findall(found[1])
    }
    if _VALUE.sub("", found[1]).strip():
        raise ValueError("its metadata has another form")
    return values


def _unescaped(text: str) -> str:
    if "&" not in text:
        return text
    return _REFERENCE.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    name, hexadecimal, decimal = match.groups()
    if name:
        return _CHARACTERS[name]
    character = chr(int(hexadecimal, 16) if hexadecimal else int(decimal or "-1"))
    if "\ud800" <= character <= "\udfff":
        raise ValueError(f"half a character: {match[0]}")
    return character


def next_marker(body: bytes, container: str) -> str | None:
    """Where the next page begins; None on the last.

    Raises:
        StorageFailed: the page is cut short, or its end is not understood.
    """
    end = body[max(body.rfind(b"<NextMarker"), 0) :]
    try:
        marker = _END.match(end.decode())
        if marker is not None:
            return _unescaped(marker[1] or "") or None
    except ValueError as error:
        raise StorageFailed(f"list {container}: a page's end is not understood: {error}") from error
    raise StorageFailed(f"list {container}: a page is cut short, or is no listing")

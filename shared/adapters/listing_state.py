"""Reads what a page of a listing tells of its live blobs as a HEAD of each would tell it, their index tags too."""

from __future__ import annotations

import re
from typing import NamedTuple

from shared.adapters.listing_entry import read_entry, unescaped
from shared.adapters.listing_page import listed
from shared.errors import StorageFailed
from shared.model import BlobState, ContentHeaders

INCLUDE = "copy,metadata,tags"
"""What the service must be asked to include. Tags take a permission of their own, and not every account has any."""

_BEGIN = re.compile(r"<Blob>(?=\s*<Name)")
_PROPERTY = re.compile(r"<([A-Za-z0-9-]+)>([^<]*)</")
_TAGS = re.compile(r"<Tags>\s*<TagSet>(.*?)</TagSet>\s*</Tags>", re.DOTALL)
_TAG = re.compile(r"\s*<Tag>\s*<Key>([^<]*)</Key>\s*(?:<Value>([^<]*)</Value>|<Value\s*/>)\s*</Tag>\s*")


class Looked(NamedTuple):
    """One live blob, as it is now."""

    state: BlobState
    tags: dict[str, str]


def read_states(body: bytes, container: str) -> dict[str, Looked]:
    """The page's live blobs, by their names; without directories, and what is encrypted with a customer's key.

    Raises:
        StorageFailed: the page, or something in it, is not understood.
    """
    found = {}
    for chunk in _BEGIN.split(listed(body, container))[1:]:
        try:
            looked = _looked(chunk)
        except (KeyError, ValueError) as error:
            raise StorageFailed(f"list {container}: an entry is not understood: {error}: {chunk[:200]!r}") from error
        if looked is not None:
            found[looked.state.version.name] = looked
    return found


def _looked(chunk: str) -> Looked | None:
    entry = read_entry(chunk, metadata=True)
    if entry is None or entry.snapshot or entry.directory or entry.customer_key:
        return None
    properties, _, tail = chunk.partition("<Properties>")[2].partition("</Properties>")
    given = {name: unescaped(value) for name, value in _PROPERTY.findall(properties) if value}
    tags = _tags(tail)
    if int(given.get("TagCount", "0")) > len(tags):
        raise ValueError("its tags are not among what is told of it")
    copying = given.get("CopyStatus", "")
    state = BlobState(
        version=entry.version,
        md5=entry.md5,
        blob_type=entry.blob_type,
        tier=entry.tier,
        tier_inferred=given.get("AccessTierInferred") == "true",
        headers=ContentHeaders(
            given.get("Content-Type"),
            given.get("Content-Encoding"),
            given.get("Content-Language"),
            given.get("Content-Disposition"),
            given.get("Cache-Control"),
        ),
        metadata=entry.metadata or {},
        tag_count=len(tags),
        copying="" if copying == "success" else copying,
    )
    return Looked(state, tags)


def _tags(tail: str) -> dict[str, str]:
    # Metadata may have a key of that name; but its value has no elements in it.
    found = _TAGS.search(tail)
    if found is None:
        return {}
    if _TAG.sub("", found[1]):
        raise ValueError("its tags have another form")
    return {unescaped(key): unescaped(value) for key, value in _TAG.findall(found[1])}

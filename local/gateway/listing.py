"""Mends Azurite's listings with snapshots, which lose entries where a page ends between two of the same blob.

Azurite 3.37 continues a listing after a *name*, so what the cut page left out of its last name never comes.
Here a page ends with a whole name; a name with more entries than a page holds is served in parts, snapshots
oldest first and the blob itself last. Markers are opaque, as the service's are.
https://learn.microsoft.com/rest/api/storageservices/list-blobs
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from itertools import groupby

from local.gateway.messages import Request, Response, make_response
from local.gateway.relay import Upstream
from local.gateway.responses import storage_error
from local.gateway.signing import Signer

PAGE_LIMIT = 5000
_LAST = b"~"  # sorts after every snapshot's time
_BLOB = re.compile(rb"<Blob><Name>(.*?)</Name>(?:<Snapshot>(.*?)</Snapshot>)?.*?</Blob>", re.DOTALL)
_ENVELOPE = re.compile(
    rb"(?P<before>.*?)<Marker(?:/>|>.*?</Marker>)<MaxResults>\d+</MaxResults>"
    rb"<Blobs(?:/>|>(?P<blobs>.*)</Blobs>)<NextMarker(?:/>|>(?P<next>.*?)</NextMarker>)(?P<after>.*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Entry:
    """A blob, or one snapshot of it, in a listing."""

    name: str
    order: str  # its place among those of the same name
    xml: bytes


@dataclass(frozen=True)
class Position:
    """Where a page begins: at `name`, behind its entry `after`."""

    name: str = ""
    after: str = ""

    def marker(self) -> str:
        return base64.urlsafe_b64encode(json.dumps([self.name, self.after]).encode()).decode()

    @classmethod
    def parse(cls, marker: str) -> "Position":
        """Raises ValueError for a marker that `marker()` did not make."""
        if not marker:
            return cls()
        try:
            name, after = json.loads(base64.urlsafe_b64decode(marker))
        except (binascii.Error, TypeError) as error:
            raise ValueError(marker) from error
        return cls(str(name), str(after))


@dataclass(frozen=True)
class Page:
    entries: Sequence[Entry]
    next: Position | None


def cut_page(found: Sequence[Entry], *, more: bool, begin: Position, size: int) -> Page | None:
    """The page of at most `size` entries from `begin` on, out of what the storage listed from that name on.

    `more`: the storage did not list all, so the last name it listed may be cut. None when that leaves
    nothing to give: then the storage must be asked for a longer list.
    """
    cut_name = found[-1].name if more else None
    fresh = [
        entry
        for entry in _in_order(found)
        if entry.name != cut_name and (entry.name != begin.name or entry.order > begin.after)
    ]
    if len(fresh) > size:
        last = fresh[size - 1]
        return Page(fresh[:size], Position(last.name, last.order))
    if cut_name is None:
        return Page(fresh, None)
    return Page(fresh, Position(cut_name)) if fresh else None


def _in_order(found: Sequence[Entry]) -> Iterator[Entry]:
    """Sorted within each name alone: names have the storage's order (UTF-16 code units), not Python's."""
    for _, same_name in groupby(found, key=lambda entry: entry.name):
        yield from sorted(same_name, key=lambda entry: entry.order)


def is_listing_with_snapshots(request: Request) -> bool:
    if request.method != "GET" or "comp=list" not in request.target or "snapshots" not in request.target:
        return False
    query = request.query
    included = query.get("include", "").lower().split(",")
    # With a delimiter Azurite's pages mix in prefixes; the service refuses that together with snapshots.
    return query.get("comp") == "list" and "snapshots" in included and "delimiter" not in query


class SnapshotListing:
    """List Blobs with include=snapshots, in pages that lose nothing."""

    def __init__(self, upstream: Upstream, signer: Signer) -> None:
        self._upstream, self._signer = upstream, signer

    async def answer(self, request: Request) -> Response:
        query = request.query
        try:
            begin = Position.parse(query.pop("marker", ""))
            size = min(int(query.get("maxresults", PAGE_LIMIT)), PAGE_LIMIT)
        except ValueError:
            return storage_error(400, "OutOfRangeInput", "The marker is not one of a listing with snapshots.")
        if begin.name:
            query["startFrom"] = begin.name  # inclusive, unlike Azurite's marker
        limit = min(size + 1, PAGE_LIMIT)
        while True:
            response = await self._list(request, {**query, "maxresults": str(limit)})
            if not response.ok:
                return response
            envelope = _ENVELOPE.fullmatch(await response.read())
            if envelope is None:
                return storage_error(500, "InternalError", "The local gateway does not understand Azurite's listing.")
            page = cut_page(_entries(envelope), more=bool(envelope["next"]), begin=begin, size=size)
            if page is not None:
                headers = response.headers.without("transfer-encoding")
                content = _listing(envelope, page, request.query.get("marker", ""), size)
                return make_response(response.status, "OK", headers, content)
            if limit == PAGE_LIMIT:
                message = f"The local gateway cannot list a blob with {PAGE_LIMIT} snapshots."
                return storage_error(500, "InternalError", message)
            limit = min(2 * limit, PAGE_LIMIT)

    async def _list(self, request: Request, query: dict[str, str]) -> Response:
        target = request.with_query(query)
        headers = self._signer.sign_again(request, target, request.headers)
        return await self._upstream.send("GET", target, headers)


def _entries(envelope: re.Match[bytes]) -> list[Entry]:
    return [
        Entry(unescape(found[1].decode()), (found[2] or _LAST).decode(), found[0])
        for found in _BLOB.finditer(envelope["blobs"] or b"")
    ]


def _listing(envelope: re.Match[bytes], page: Page, marker: str, size: int) -> bytes:
    """The page in the XML that Azurite wrapped its own in."""
    following = page.next.marker() if page.next else ""
    pieces = [
        envelope["before"],
        f"<Marker>{marker}</Marker><MaxResults>{size}</MaxResults><Blobs>".encode(),
        *(entry.xml for entry in page.entries),
        f"</Blobs><NextMarker>{following}</NextMarker>".encode(),
        envelope["after"],
    ]
    return b"".join(pieces)

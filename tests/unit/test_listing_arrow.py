"""Pages in Arrow's format, made with the library itself: the same entries as from XML, and nothing taken on trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

import nanoarrow as na  # type: ignore[import-untyped]  # it brings no types
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from nanoarrow.ipc import StreamWriter  # type: ignore[import-untyped]  # as above

from shared.adapters.accounts import Account
from shared.adapters.listing import Listing
from shared.adapters.listing_arrow import arrow_marker, read_arrow
from shared.adapters.listing_page import parse
from shared.connections import Connection
from shared.errors import StorageFailed
from shared.model import Entry
from tests.canned import Asked, canned

ARROW = "application/vnd.apache.arrow.stream"
Row = Mapping[str, Any]

TIMES = ("Creation-Time", "Last-Modified")
MODIFIED = 1795183533
TYPES = {
    **dict.fromkeys(TIMES, na.timestamp("s", timezone="UTC")),
    "Content-Length": na.int64(),
    "Deleted": na.bool_(),
    "IsCurrentVersion": na.bool_(),
}
PLAIN = {
    "Name": "a.csv",
    "Last-Modified": MODIFIED,
    "Etag": "0x8DE27F0A1B2C3D4",
    "Content-Length": 812,
    "BlobType": "BlockBlob",
}
ENTRY = Entry("a.csv", None, "0x8DE27F0A1B2C3D4", "2026-11-20T14:05:33Z", 812)


def arrow_page(rows: Sequence[Row], marker: str | None = None, types: Mapping[str, Any] | None = None) -> bytes:
    """A page of these rows, with a column for whatever one of them has."""
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["Name"]
    schemas, arrays = {}, []
    for name in names:
        values = [row.get(name) for row in rows]
        schemas[name] = ({"Metadata": MAP} | TYPES | dict(types or {})).get(name, na.string())
        arrays.append(maps(values) if schemas[name] is MAP else na.c_array(values, schemas[name]))
    schema = na.Schema(na.struct(schemas, nullable=False), metadata={"NextMarker": marker} if marker else None)
    written = BytesIO()
    with StreamWriter.from_writable(written) as stream:
        stream.write_array(na.c_array_from_buffers(schema, len(rows), [None], children=arrays))
    return written.getvalue()


MAP = na.map_(na.string(nullable=False), na.string())


def maps(values: Sequence[Mapping[str, str] | None]) -> Any:
    pairs = [pair for value in values for pair in (value or {}).items()]
    offsets = [0]
    for value in values:
        offsets.append(offsets[-1] + len(value or {}))
    schema = na.struct({"key": na.string(nullable=False), "value": na.string()}, nullable=False)
    columns = [na.c_array([pair[number] for pair in pairs], na.string()) for number in (0, 1)]
    children = [na.c_array_from_buffers(schema, len(pairs), [None], children=columns)]
    return na.c_array_from_buffers(MAP, len(values), [None, na.c_buffer(offsets, na.int32())], children=children)


def xml_page(rows: Sequence[Row], marker: str = "") -> bytes:
    """The same page as the service writes it in XML."""
    blobs = ""
    for row in rows:
        texts = {name: text(name, value) for name, value in row.items() if name != "Metadata" and value is not None}
        outside = ("Name", "Snapshot", "Deleted", "VersionId", "IsCurrentVersion")
        head = "".join(f"<{name}>{texts[name]}</{name}>" for name in outside if name in texts)
        inner = "".join(f"<{name}>{each}</{name}>" for name, each in texts.items() if name not in outside)
        values = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in (row.get("Metadata") or {}).items())
        blobs += f"<Blob>{head}<Properties>{inner}</Properties><Metadata>{values}</Metadata></Blob>"
    end = f"<NextMarker>{marker}</NextMarker></EnumerationResults>"
    return f"<EnumerationResults><Blobs>{blobs}</Blobs>{end}".encode()


def text(name: str, value: Any) -> str:
    if name in TIMES:
        return f"{datetime.fromtimestamp(value, UTC):%a, %d %b %Y %H:%M:%S} GMT"
    return str(value).lower() if isinstance(value, bool) else escape(str(value))


def read_last(body: bytes, page_size: int) -> list[Entry]:
    assert arrow_marker(body, "raw") is None
    return read_arrow(body, "raw", page_size)


def refused(body: bytes, page_size: int = 5000) -> str:
    with pytest.raises(StorageFailed) as failed:
        read_last(body, page_size)
    return str(failed.value)


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=12)
KEYS = st.sampled_from(["owner", "hdi_isfolder", "Hdi_IsFolder", "snapkeep_restoring", "k"])
ROWS = st.fixed_dictionaries(
    {
        "Name": WORDS.filter(bool),
        "Last-Modified": st.integers(0, 4_000_000_000),
        "Etag": st.sampled_from(["0x8DE27F0A1B2C3D4", '"0x8DE27F0A1B2C3D4"']),
        "Content-Length": st.integers(0, 3),
        "BlobType": st.sampled_from(["BlockBlob", "PageBlob", "AppendBlob"]),
    },
    optional={
        "Snapshot": st.just("2026-11-20T14:05:34.1234567Z"),
        "VersionId": st.just("2026-11-20T14:05:34.1234567Z"),
        "IsCurrentVersion": st.booleans(),
        "Deleted": st.booleans(),
        "ResourceType": st.sampled_from(["file", "directory"]),
        "Content-MD5": st.just("1B2M2Y8AsgTpgAmY7PhCfg=="),
        "AccessTier": st.sampled_from(["Hot", "Archive"]),
        "CustomerProvidedKeySha256": st.just("x"),
        "Creation-Time": st.integers(0, 4_000_000_000),
        "Metadata": st.dictionaries(KEYS, st.sampled_from(["true", "", "a <b> & c"]), max_size=3),
    },
)


@given(st.lists(ROWS, max_size=6), st.booleans())
def test_it_gives_the_same_entries_as_the_same_page_in_xml(rows: list[Row], metadata: bool) -> None:
    expected = parse(xml_page(rows), "raw", metadata=metadata)
    assert read_arrow(arrow_page(rows), "raw", 5000, metadata=metadata) == expected


def test_names_that_xml_cannot_hold_are_taken_as_they_are() -> None:
    [entry] = read_arrow(arrow_page([PLAIN | {"Name": "bell\x07 \uffff &amp; %41"}]), "raw", 5000)
    assert entry.name == "bell\x07 \uffff &amp; %41"


@pytest.mark.parametrize(("unit", "ticks"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("timezone", ["UTC", ""])
def test_times_are_read_in_whatever_unit(unit: str, ticks: int, timezone: str) -> None:
    row = PLAIN | {"Last-Modified": MODIFIED * ticks + ticks - 1}
    types = {"Last-Modified": na.timestamp(unit, timezone=timezone or None)}
    assert read_arrow(arrow_page([row], types=types), "raw", 5000) == [ENTRY]


def test_the_marker_stands_in_the_schema() -> None:
    assert arrow_marker(arrow_page([PLAIN], "2!76!a-_.b"), "raw") == "2!76!a-_.b"
    assert arrow_marker(arrow_page([PLAIN]), "raw") is None
    assert arrow_marker(arrow_page([]), "raw") is None
    assert read_arrow(arrow_page([]), "raw", 5000) == []


def test_a_page_cut_anywhere_is_refused() -> None:
    body = arrow_page([PLAIN, PLAIN])
    for length in range(0, len(body), 7):
        refused(body[:length])
    refused(body[:-8])


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_storage_failed(body: bytes) -> None:
    refused(body)
    refused(body + b"\xff\xff\xff\xff\x00\x00\x00\x00")


@pytest.mark.parametrize("missing", ["Name", "Etag", "Last-Modified", "Content-Length"])
def test_a_row_without_what_decisions_need_is_refused(missing: str) -> None:
    without = {name: value for name, value in PLAIN.items() if name != missing}
    refused(arrow_page([PLAIN, without]))
    refused(arrow_page([without]))


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [
        ("Content-Length", "812", na.string()),
        ("Content-Length", 812.0, na.float64()),
        ("Last-Modified", MODIFIED, na.int64()),
        ("Last-Modified", MODIFIED, na.timestamp("s", timezone="Europe/Vienna")),
        ("Deleted", "false", na.string()),
        ("Name", b"a.csv", na.binary()),
        ("Metadata", "owner=me", na.string()),
    ],
)
def test_a_column_of_another_type_is_refused(name: str, value: Any, other: Any) -> None:
    assert name in refused(arrow_page([PLAIN | {name: value}], types={name: other}))


@pytest.mark.parametrize("etag", ["", '""', "8DE27F0A1B2C3D4", "0x8DE27F0A1B2C3D4-1", 'W/"0x8DE"'])
def test_an_etag_of_another_form_than_in_xml_is_refused(etag: str) -> None:
    refused(arrow_page([PLAIN | {"Etag": etag}]))


def test_a_full_page_that_names_no_next_one_is_not_believed() -> None:
    assert "whether it is the last" in refused(arrow_page([PLAIN] * 3), page_size=3)
    assert len(read_arrow(arrow_page([PLAIN] * 3, "more"), "raw", 3)) == 3


class Service:
    """Answers a listing of two pages, in the format that is asked for and that it knows."""

    def __init__(self, first: bytes, second: bytes) -> None:
        self._pages = {False: first, True: second}

    def __call__(self, asked: Asked) -> web.Response:
        later = "marker=" in asked.target
        if not asked.headers["accept"].startswith(ARROW):
            return web.Response(body=xml_page([PLAIN | {"Name": "xml2" if later else "xml1"}], "" if later else "m"))
        body = self._pages[later]
        return web.Response(body=body, content_type="application/xml" if body.startswith(b"<") else ARROW)


async def names(service: Service, page_size: int = 5000) -> tuple[list[str], list[str]]:
    """What is listed, and the formats that were asked for."""
    async with canned(service) as server:
        text = f"AccountName=account;AccountKey=c2VjcmV0;BlobEndpoint={server.url}/account"
        account = Account(Connection("SourceStorage", text))
        listing = Listing(account)
        found = [entry.name async for page in listing.pages("raw", page_size=page_size) for entry in page.entries]
        await listing.close()
        await account.close()
        return found, [asked.headers["accept"].partition("/")[2] for asked in server.asked]


BOTH = "vnd.apache.arrow.stream,application/xml"


def named(name: str, marker: str | None = None) -> bytes:
    return arrow_page([PLAIN | {"Name": name}], marker)


async def test_a_service_that_offers_arrow_is_listed_by_it() -> None:
    assert await names(Service(named("arrow1", "m"), named("arrow2"))) == (["arrow1", "arrow2"], [BOTH, BOTH])


async def test_a_service_that_answers_xml_is_listed_by_that() -> None:
    first, second = (xml_page([PLAIN | {"Name": name}], marker) for name, marker in (("one", "m"), ("two", "")))
    assert await names(Service(first, second)) == (["one", "two"], [BOTH, BOTH])


@pytest.mark.parametrize("wrong", [b"no arrow", named("arrow2")[:-8], arrow_page([{"Name": "a"}])])
async def test_a_page_that_is_not_understood_is_asked_for_again_as_xml(wrong: bytes) -> None:
    assert await names(Service(named("arrow1", "m"), wrong)) == (["arrow1", "xml2"], [BOTH, BOTH, "xml"])


async def test_after_such_a_page_all_are_asked_for_as_xml() -> None:
    wrong = arrow_page([{"Name": "a"}], "m")
    found, formats = await names(Service(wrong, named("arrow2")))
    assert found == ["xml1", "xml2"]
    assert [each for each in formats if each != BOTH] == ["xml", "xml"]


async def test_the_end_of_a_full_page_is_read_from_xml() -> None:
    assert await names(Service(named("arrow1", "m"), named("arrow2")), page_size=1) == (
        ["arrow1", "xml2"],
        [BOTH, BOTH, "xml"],
    )

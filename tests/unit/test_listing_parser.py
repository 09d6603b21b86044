"""Pages of listings: what the services really send is read exactly, and anything else is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters import listing_page
from shared.adapters.listing_entry import read_entry
from shared.adapters.listing_page import next_marker, parse, parts
from shared.errors import StorageFailed
from shared.model import Entry
from tests.names import HARD_NAMES

RESOURCES = Path(__file__).parent / "resources"
AZURE = (RESOURCES / "listing.azure.xml").read_bytes()
"""In the form that the service's reference documents, one entry of each kind."""
AZURITE = (RESOURCES / "listing.azurite.xml").read_bytes()
"""Recorded from Azurite 3.37 with `include=snapshots,metadata`."""

LAST_MODIFIED = "Fri, 20 Nov 2026 14:05:33 GMT"
PROPERTIES = {
    "Last-Modified": LAST_MODIFIED,
    "Etag": "0x8DE27F0A1B2C3D4",
    "Content-Length": "812",
    "BlobType": "BlockBlob",
}
PLAIN = Entry("a.csv", None, "0x8DE27F0A1B2C3D4", "2026-11-20T14:05:33Z", 812)


def element(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"


def blob(
    name: str = "<Name>a.csv</Name>",
    *,
    head: str = "",
    properties: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
) -> str:
    inner = "".join(element(key, text) for key, text in (PROPERTIES if properties is None else properties).items())
    meta = "".join(element(key, text) for key, text in (metadata or {}).items())
    return f"<Blob>{name}{head}<Properties>{inner}</Properties><Metadata>{meta}</Metadata></Blob>"


def page(*blobs: str, marker: str = "<NextMarker />", declaration: str = "") -> bytes:
    return (
        f'{declaration}<EnumerationResults ServiceEndpoint="https://a.blob.core.windows.net/" ContainerName="raw">'
        f"<Blobs>{''.join(blobs)}</Blobs>{marker}</EnumerationResults>"
    ).encode()


def refused(body: bytes) -> str:
    with pytest.raises(StorageFailed) as failed:
        parse(body, "raw")
    assert str(failed.value).startswith("list raw: ")
    return str(failed.value)


class TestRecordedPages:
    def test_a_page_of_the_service_is_read(self) -> None:
        assert parse(AZURE, "raw") == [
            Entry("folder", None, "0x8DE27000000D1A0", "2026-11-19T08:00:00Z", 0, None, "BlockBlob", "Hot", True),
            Entry(
                'folder/a & b <"é">.csv',
                "2026-11-20T14:05:34.1234567Z",
                "0x8DE27F0A1B2C3D4",
                "2026-11-20T14:05:33Z",
                812,
                "1B2M2Y8AsgTpgAmY7PhCfg==",
                "BlockBlob",
                "Cool",
            ),
            Entry(
                'folder/a & b <"é">.csv',
                None,
                "0x8DE27F0A1B2C3D5",
                "2026-11-20T14:06:33Z",
                813,
                None,
                "BlockBlob",
                "Archive",
            ),
            Entry(
                "bell\x07\uffff.txt",
                None,
                "0x8DE27F0A1B2C3D6",
                "2026-11-20T14:05:33Z",
                1024,
                None,
                "PageBlob",
                "P10",
                customer_key=True,
            ),
        ]
        marker = "2!96!MDAwMDA4IXpldGEudHh0ITAwMDAyOCE5OTk5LTEyLTMxVDIzOjU5OjU5Ljk5OTk5OTlaIQ--"
        assert next_marker(AZURE, "raw") == marker

    def test_a_page_of_azurite_is_read(self) -> None:
        entries = parse(AZURITE, "raw")
        name = 'a & b "<é>".csv'
        assert [(entry.name, entry.snapshot is None, entry.size) for entry in entries] == [
            (name, False, 3),
            (name, False, 6),
            (name, True, 6),
            ("archived", True, 1),
            ("dir", True, 0),
            ("disk", True, 1024),
            ("empty", True, 0),
            ("log", True, 5),
        ]
        by_name = {entry.name: entry for entry in entries}
        assert (by_name["archived"].tier, by_name["disk"].blob_type, by_name["log"].blob_type) == (
            "Archive",
            "PageBlob",
            "AppendBlob",
        )
        assert [entry.name for entry in entries if entry.directory] == ["dir"]
        assert entries[1].etag == entries[2].etag != entries[0].etag != "0xFORGED"
        assert next_marker(AZURITE, "raw") is None

    @pytest.mark.parametrize("recorded", [AZURE, AZURITE], ids=["azure", "azurite"])
    def test_a_real_xml_parser_finds_the_same(self, recorded: bytes) -> None:
        root = ElementTree.fromstring(recorded)  # noqa: S314  # our own resource
        expected = [
            (found.findtext("Name") or "", found.findtext("Properties/Content-Length"))
            for found in root.iter("Blob")
            if found.findtext("Deleted") != "true"
            and (found.find("VersionId") is None or found.findtext("IsCurrentVersion") == "true")
        ]
        entries = [(entry.name, str(entry.size)) for entry in parse(recorded, "raw")]
        assert entries == [(name.replace("%07%EF%BF%BF", "\x07\uffff"), size) for name, size in expected]

    @pytest.mark.parametrize("recorded", [AZURE, AZURITE], ids=["azure", "azurite"])
    def test_a_page_that_is_cut_short_is_refused(self, recorded: bytes) -> None:
        for length in range(0, len(recorded), 29):
            refused(recorded[:length])

    @pytest.mark.parametrize("lead", [b"", b"\xef\xbb\xbf", b"\n"])
    @pytest.mark.parametrize("end", [b"", b"\n", b"\r\n "])
    def test_what_surrounds_the_document_says_nothing(self, lead: bytes, end: bytes) -> None:
        assert parse(lead + AZURE + end, "raw") == parse(AZURE, "raw")

    def test_a_page_laid_out_for_readers_is_read(self) -> None:
        spread = AZURE.replace(b"><", b">\n  <")
        assert parse(spread, "raw") == parse(AZURE, "raw")


class TestEntries:
    def test_a_plain_blob(self) -> None:
        assert parse(page(blob()), "raw") == [PLAIN]

    def test_a_page_cut_at_any_byte_is_refused(self) -> None:
        body = page(blob(), blob(metadata={"Blob": "x", "EnumerationResults": "y"}))
        for length in range(len(body)):
            refused(body[:length])

    def test_an_empty_page(self) -> None:
        assert parse(page(), "raw") == []
        assert parse(page().replace(b"<Blobs></Blobs>", b"<Blobs />"), "raw") == []

    @pytest.mark.parametrize("missing", ["Last-Modified", "Etag", "Content-Length"])
    def test_an_entry_without_a_property_that_decisions_need_is_refused(self, missing: str) -> None:
        properties = {key: text for key, text in PROPERTIES.items() if key != missing}
        assert "not understood" in refused(page(blob(), blob(properties=properties)))

    @pytest.mark.parametrize(
        ("key", "text"),
        [
            ("Etag", ""),
            ("Etag", '""'),
            ("Content-Length", ""),
            ("Content-Length", "many"),
            ("Content-Length", "1.5"),
            ("Last-Modified", ""),
            ("Last-Modified", "2026-11-20T14:05:33Z"),
            ("Last-Modified", "Fri, 20 Nov 2026 14:05:33 CET"),
            ("Last-Modified", "Fri, 20 Nop 2026 14:05:33 GMT"),
        ],
    )
    def test_a_property_that_is_not_what_it_should_be_is_refused(self, key: str, text: str) -> None:
        assert "not understood" in refused(page(blob(properties=PROPERTIES | {key: text})))

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "<Name/>",
            '<Name Encoded="false">a</Name>',
            '<Name Encoded="true">%FF</Name>',
            '<Name Encoded="true">%ED%A0%80</Name>',
            "<Name>&#xD800;</Name>",
            "<Name>&#x110000;</Name>",
            "<Name>&#99999999;</Name>",
            "<Name>&unknown;</Name>",
            "<Name>a & b</Name>",
            "<Name>a &amp b</Name>",
            "<Name><b>a</b></Name>",
        ],
    )
    def test_a_name_that_is_not_understood_is_refused(self, name: str) -> None:
        refused(page(blob(name)))

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("a &lt;&gt;&amp;&quot;&apos;", "a <>&\"'"),
            ("&#60;&#x3C;&#x3c;", "<<<"),
            ("&#38;lt;", "&lt;"),
            ("&amp;lt;", "&lt;"),
            ("&amp;amp;", "&amp;"),
            ("&amp;#65;", "&#65;"),
            ("&#x1F600;", "😀"),
            ("&#xD;&#10;&#9;", "\r\n\t"),
            (" a ", " a "),
            ("100%25", "100%25"),
        ],
    )
    def test_references_mean_characters_and_are_undone_once(self, name: str, meant: str) -> None:
        assert [entry.name for entry in parse(page(blob(f"<Name>{name}</Name>")), "raw")] == [meant]

    @pytest.mark.parametrize("length", ["0", "1"])
    @pytest.mark.parametrize("key", ["hdi_isfolder", "Hdi_isfolder", "HDI_ISFOLDER"])
    @pytest.mark.parametrize("value", ["true", "True", "false"])
    def test_an_empty_blob_that_says_so_is_a_directory(self, key: str, value: str, length: str) -> None:
        body = page(blob(properties=PROPERTIES | {"Content-Length": length}, metadata={"x": "y", key: value}))
        assert [entry.directory for entry in parse(body, "raw")] == [length == "0" and value != "false"]

    def test_a_resource_type_tells_a_directory_whatever_its_metadata(self) -> None:
        directory = {key: text for key, text in PROPERTIES.items() if key != "Content-Length"} | {
            "ResourceType": "directory"
        }
        file = PROPERTIES | {"ResourceType": "file"}
        entries = parse(page(blob(properties=directory), blob(properties=file)), "raw")
        assert [(entry.directory, entry.size) for entry in entries] == [(True, 0), (False, 812)]

    @pytest.mark.parametrize(
        ("head", "listed"),
        [
            ("<Snapshot>2026-11-20T14:05:34.1234567Z</Snapshot>", True),
            ("<Deleted>true</Deleted>", False),
            ("<Deleted>false</Deleted>", True),
            ("<Snapshot>s</Snapshot><Deleted>true</Deleted>", False),
            ("<VersionId>v</VersionId>", False),
            ("<VersionId>v</VersionId><IsCurrentVersion>true</IsCurrentVersion>", True),
            ("<VersionId>v</VersionId><IsCurrentVersion>false</IsCurrentVersion>", False),
            ("<Snapshot>s</Snapshot><VersionId>v</VersionId>", True),
        ],
    )
    def test_soft_deleted_blobs_and_older_versions_are_not_live_blobs(self, head: str, listed: bool) -> None:
        assert len(parse(page(blob(head=head)), "raw")) == listed

    @pytest.mark.parametrize(
        "key",
        [
            *("Etag", "Name", "Snapshot", "Deleted", "VersionId", "ResourceType", "CustomerProvidedKeySha256"),
            *("Properties", "Metadata", "Blob", "blob", "Blobs", "NextMarker", "EnumerationResults"),
        ],
    )
    @pytest.mark.parametrize("value", ["", "directory", "true", "a <Blob> & </Blob>"])
    def test_metadata_named_like_something_else_changes_nothing(self, key: str, value: str) -> None:
        entries = parse(page(blob(metadata={key: value, "z": ""}), blob("<Name>b</Name>")), "raw")
        assert entries == [PLAIN, PLAIN._replace(name="b")]
        assert next_marker(page(blob(metadata={key: value})), "raw") is None

    def test_an_entry_that_does_not_begin_with_its_name_is_refused_and_never_overlooked(self) -> None:
        strange = blob(name="", head="<Snapshot>s</Snapshot><Name>b</Name>")
        refused(page(strange, blob()))
        refused(page(blob(), strange))
        refused(page(blob(metadata={"Blob": "x"}), strange, blob()))

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html>not now</html>",
            b'<?xml version="1.0"?><Error><Code>ServerBusy</Code></Error>',
            b"\xff\xfe",
            AZURE.replace("é".encode(), b"\xe9"),
            AZURE.decode().encode("utf-16"),
            page(blob()).replace(b"</Properties>", b""),
            page(blob()).replace(b"<Properties>", b""),
            page(blob()).replace(b"</Blob><", b"<"),
        ],
        ids=lambda body: repr(body[:30]),
    )
    def test_what_is_no_listing_is_refused(self, body: bytes) -> None:
        refused(body)

    def test_a_refusal_shows_where_and_no_whole_page(self) -> None:
        message = refused(page(*[blob()] * 100, blob(properties=PROPERTIES | {"Content-Length": "x"}), *[blob()] * 100))
        assert "a.csv" in message
        assert len(message) < 500


class TestMarker:
    @pytest.mark.parametrize(
        ("element", "marker"),
        [
            ("<NextMarker />", None),
            ("<NextMarker/>", None),
            ("<NextMarker></NextMarker>", None),
            ("<NextMarker>2!76!a-_.b</NextMarker>", "2!76!a-_.b"),
            ("<NextMarker>a&amp;b</NextMarker>", "a&b"),
            ("<NextMarker>é😀</NextMarker>", "é😀"),
        ],
    )
    def test_it_is_where_the_next_page_begins(self, element: str, marker: str | None) -> None:
        assert next_marker(page(blob(), marker=element), "raw") == marker

    @pytest.mark.parametrize(
        "marker", ["", "<NextMarker>", "<NextMarker>a", "<NextMarker>&x;</NextMarker>", "<NextMarker x"]
    )
    def test_a_page_that_does_not_say_whether_it_is_the_last_is_refused(self, marker: str) -> None:
        with pytest.raises(StorageFailed, match="list raw: "):
            next_marker(page(blob(), marker=marker), "raw")

    def test_a_marker_that_is_no_text_is_refused(self) -> None:
        with pytest.raises(StorageFailed, match="end is not understood"):
            next_marker(page(marker="<NextMarker>?</NextMarker>").replace(b"?", b"\xff"), "raw")


# What XML 1.0 can hold; the service sends all other names percent-encoded.
_XML = re.compile(r"[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")


def entity(character: str) -> str:
    return f"&#{ord(character)};"


def hexadecimal(character: str) -> str:
    return f"&#x{ord(character):X};"


WRITERS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: f"<Name>{escape(text)}</Name>",
    "quotes": lambda text: f"<Name>{escape(text, {chr(34): '&quot;', chr(39): '&apos;'})}</Name>",
    "decimal": lambda text: f"<Name>{''.join(map(entity, text))}</Name>",
    "hexadecimal": lambda text: f"<Name>{''.join(map(hexadecimal, text))}</Name>",
    "encoded": lambda text: f'<Name Encoded="true">{quote(text)}</Name>',
}
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30) | st.sampled_from(
    sorted(HARD_NAMES.values())
)
KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True) | st.sampled_from(["Blob", "Name", "Properties"])
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=20)


@st.composite
def written(draw: st.DrawFn) -> tuple[Entry, str]:
    """An entry, and how some service might write it."""
    name = draw(NAMES)
    writer = draw(st.sampled_from(sorted(WRITERS))) if _XML.fullmatch(name) else "encoded"
    snapshot = draw(st.none() | st.just("2026-11-20T14:05:34.1234567Z"))
    entry = Entry(
        name,
        snapshot,
        draw(st.from_regex(r"0x[0-9A-F]{15}", fullmatch=True)),
        "2026-11-20T14:05:33Z",
        draw(st.integers(0, 2**50)),
        draw(st.none() | st.just("1B2M2Y8AsgTpgAmY7PhCfg==")),
        draw(st.sampled_from(["BlockBlob", "PageBlob", "AppendBlob"])),
        draw(st.sampled_from(["", "Hot", "Archive", "P10"])),
        False,
        draw(st.booleans()),
    )
    properties = {
        "Creation-Time": LAST_MODIFIED,
        "Last-Modified": LAST_MODIFIED,
        "Etag": draw(st.sampled_from([entry.etag, f'"{entry.etag}"'])),
        "Content-Length": str(entry.size),
        "Content-Type": draw(TEXTS),
        "BlobType": entry.blob_type,
    }
    if entry.md5 or draw(st.booleans()):
        properties["Content-MD5"] = entry.md5 or ""
    if entry.tier:
        properties["AccessTier"] = entry.tier
    if entry.customer_key:
        properties["CustomerProvidedKeySha256"] = "u4p7b6dxW3hQz6iIhQF2p0vX1y8yXl3r0v0k8n8mX5o="
    shuffled = dict(draw(st.permutations(sorted(properties.items()))))
    metadata = draw(st.dictionaries(KEYS, TEXTS, max_size=4))
    metadata = {key: text for key, text in metadata.items() if key.lower() != "hdi_isfolder"}
    head = f"<Snapshot>{snapshot}</Snapshot>" if snapshot else ""
    return entry, blob(WRITERS[writer](name), head=head, properties=shuffled, metadata=metadata)


class TestAnyPage:
    @given(st.lists(written(), max_size=8), st.sampled_from(["", '<?xml version="1.0" encoding="utf-8"?>']))
    def test_what_is_written_is_what_is_read(self, entries: list[tuple[Entry, str]], declaration: str) -> None:
        body = page(*(text for _, text in entries), declaration=declaration)
        assert parse(body, "raw") == [entry for entry, _ in entries]

    @given(st.lists(written(), min_size=1, max_size=3), st.data())
    def test_a_page_cut_anywhere_is_refused(self, entries: list[tuple[Entry, str]], data: st.DataObject) -> None:
        body = page(*(text for _, text in entries))
        refused(body[: data.draw(st.integers(0, len(body) - 1))])

    @given(st.binary(max_size=300))
    def test_no_bytes_raise_anything_but_storage_failed(self, body: bytes) -> None:
        refused(body)

    @given(st.text("&#x;<>/ab0", max_size=20))
    def test_no_name_raises_anything_but_storage_failed(self, text: str) -> None:
        try:
            entries = parse(page(blob(f"<Name>{text}</Name>")), "raw")
        except StorageFailed:
            return
        assert len(entries) == 1


class TestMetadata:
    @pytest.mark.parametrize(
        "metadata",
        [
            {},
            {"owner": "sales"},
            {"owner": "a & b <c>", "Owner2": "  spaced  ", "_x": ""},
            {"Metadata": "x", "Name": "other", "Blob": "y", "OrMetadata": "z", "Properties": "p"},
        ],
    )
    def test_it_is_read_where_it_is_asked_for(self, metadata: dict[str, str]) -> None:
        body = page(blob(metadata=metadata), blob("<Name>b.csv</Name>", metadata={"other": "1"}))
        assert [entry.metadata for entry in parse(body, "raw", metadata=True)] == [metadata, {"other": "1"}]
        assert [entry.metadata for entry in parse(body, "raw")] == [None, None]

    @pytest.mark.parametrize("recorded", [AZURE, AZURITE], ids=["azure", "azurite"])
    def test_a_real_xml_parser_finds_the_same(self, recorded: bytes) -> None:
        root = ElementTree.fromstring(recorded)  # noqa: S314  # our own resource
        expected = [
            {value.tag: value.text or "" for value in found.findall("Metadata/*")}
            for found in root.iter("Blob")
            if found.findtext("Deleted") != "true"
            and (found.find("VersionId") is None or found.findtext("IsCurrentVersion") == "true")
        ]
        assert [entry.metadata for entry in parse(recorded, "raw", metadata=True)] == expected
        assert any(expected)

    def test_when_a_blob_was_created_is_read_along_with_it(self) -> None:
        body = page(blob(properties=PROPERTIES | {"Creation-Time": LAST_MODIFIED}), blob("<Name>b.csv</Name>"))
        assert [entry.created for entry in parse(body, "raw", metadata=True)] == ["2026-11-20T14:05:33Z", ""]
        assert [entry.created for entry in parse(body, "raw")] == ["", ""]

    @pytest.mark.parametrize("inner", ["<a>1</b>", "<a>1", "<a><b>1</b></a>", "text <a>&bogus;</a>"])
    def test_a_form_that_is_not_understood_is_refused(self, inner: str) -> None:
        body = page(blob(metadata={"marker": "x"})).replace(b"<marker>x</marker>", inner.encode())
        with pytest.raises(StorageFailed, match="not understood"):
            parse(body, "raw", metadata=True)


def entry_by_entry(body: bytes, *, metadata: bool) -> list[Entry]:
    """The page as `read_entry` reads it, with nothing taken for usual."""
    listed = body.decode().rpartition("</Blobs>")[0]
    _, *chunks = re.split(r"<Blob>(?=\s*<Name)", listed)
    entries = [read_entry(chunk, metadata=metadata) for chunk in chunks]
    return [entry for entry in entries if entry is not None]


@st.composite
def as_the_service_writes(draw: st.DrawFn) -> str:
    """An entry in the service's order, or in Azurite's, complete or not, and now and then with something strange."""
    dates = st.sampled_from([LAST_MODIFIED, "Sun, 29 Feb 2032 23:59:59 GMT", "Fri, 31 Apr 2026 14:05:33 GMT", "soon"])
    usual = st.sampled_from(["", "", "", "Hot", "true", "a &amp; b", "&bogus;", "1B2M2Y8AsgTpgAmY7PhCfg=="])

    def one(name: str, texts: st.SearchStrategy[str], presence: st.SearchStrategy[bool]) -> str:
        if not draw(presence):
            return ""
        text = draw(texts)
        return draw(st.sampled_from([f"<{name} />", f"<{name}/>"])) if not text else f"<{name}>{text}</{name}>"

    always, maybe = st.sampled_from([True] * 30 + [False]), st.booleans()
    head = [
        one("Name", st.sampled_from(["a.csv", "é/&lt;b&gt; &#x41;", " ", "&bogus;"]), always),
        one("Snapshot", st.just("2026-11-20T14:05:34.1234567Z"), maybe),
        draw(
            st.sampled_from(
                ["", "", "<VersionId>v</VersionId><IsCurrentVersion>true</IsCurrentVersion>", "<Deleted>true</Deleted>"]
            )
        ),
    ]
    content = [
        one(name, usual, maybe) for name in ("Content-Type", "Content-Encoding", "Content-Language", "Content-CRC64")
    ]
    lease = [one("LeaseStatus", usual, maybe), one("LeaseState", usual, maybe), one("ServerEncrypted", usual, maybe)]
    tier = [
        one("AccessTier", st.sampled_from(["Hot", "Archive", "P10", "a&amp;b"]), maybe),
        one("AccessTierInferred", usual, maybe),
    ]
    properties = [
        one("Creation-Time", dates, maybe),
        one("Last-Modified", dates, always),
        one("Etag", st.sampled_from(["0x8D1", '"0x8D2"', "&quot;0x8D3&quot;", '"', "0x&bogus;"]), always),
        one("ResourceType", st.sampled_from(["file", "directory"]), maybe),
        one("Content-Length", st.sampled_from(["0", "812", "many"]), always),
        *content,
        one("Content-MD5", st.sampled_from(["", "1B2M2Y8AsgTpgAmY7PhCfg==", "a&amp;b"]), maybe),
        one("Cache-Control", usual, maybe),
        one("BlobType", st.sampled_from(["BlockBlob", "PageBlob", "a&amp;b"]), always),
        *draw(st.sampled_from([[*tier, *lease], [*lease, *tier]])),
        one("CustomerProvidedKeySha256", st.just("x"), st.sampled_from([True] + [False] * 9)),
        one("TagCount", st.just("1"), maybe),
    ]
    if draw(st.sampled_from([True] + [False] * 5)):
        properties = draw(st.permutations(properties))
    keys = KEYS | st.sampled_from(["hdi_isfolder", "Hdi_IsFolder", "snapkeep_restoring", "Metadata"])
    pairs = draw(st.dictionaries(keys, st.sampled_from(["true", "", "x", "a &lt; b", "&bogus;"]), max_size=3))
    metadata = "".join(f"<{key}>{value}</{key}>" for key, value in pairs.items())
    tail = draw(st.sampled_from([f"<Metadata>{metadata}</Metadata>", "<Metadata />", "<Metadata/>", ""]))
    tail += draw(st.sampled_from(["", "<OrMetadata />", "<Tags />"]))
    return f"<Blob>{''.join(head)}<Properties>{''.join(properties)}</Properties>{tail}</Blob>"


class TestUsualEntries:
    """Those that one regular expression matches whole are read as `read_entry` reads every entry."""

    @given(st.lists(as_the_service_writes(), min_size=1, max_size=5), st.sampled_from(["", "\n"]), st.booleans())
    def test_they_are_read_as_strictly_as_all_others(self, blobs: list[str], gap: str, metadata: bool) -> None:
        body = page(*(f"{blob}{gap}" for blob in blobs))
        expected: list[Entry] | None
        try:
            expected = entry_by_entry(body, metadata=metadata)
        except (KeyError, ValueError):
            expected = None
        try:
            found = parse(body, "raw", metadata=metadata)
        except StorageFailed:
            assert expected is None
        else:
            assert found == expected

    @pytest.mark.parametrize("recorded", [AZURE, AZURITE], ids=["azure", "azurite"])
    def test_recorded_pages_are_read_alike(self, recorded: bytes) -> None:
        assert parse(recorded, "raw", metadata=True) == entry_by_entry(recorded, metadata=True)

    def test_what_the_service_and_azurite_usually_write_is_usual(self, monkeypatch: pytest.MonkeyPatch) -> None:
        unusual: list[str] = []

        def note(chunk: str, *, metadata: bool) -> None:
            unusual.append(chunk[: chunk.index("</Name>")])

        monkeypatch.setattr(listing_page, "read_entry", note)
        parse(AZURE, "raw")
        parse(AZURITE, "raw")
        assert unusual == [
            "<Name>folder",
            '<Name Encoded="true">bell%07%EF%BF%BF.txt',
            "<Name>older",
            "<Name>deleted",
            "<Name>dir",
        ]

    @pytest.mark.parametrize(
        "text", ["x", "<x/>", "</Blob>", "<Blob>", "<Blob></Blob>", "<BlobPrefix><Name>a</Name></BlobPrefix>"]
    )
    @pytest.mark.parametrize("after", [blob(), blob(head="<Deleted>false</Deleted>")], ids=["usual", "unusual"])
    def test_nothing_between_entries_is_passed_over(self, text: str, after: str) -> None:
        for blobs in ((text, after), (blob(), text, after), (blob(), after, text), (after, text, blob())):
            refused(page(*blobs))

    @pytest.mark.parametrize("size", [1, 700, 5000])
    def test_a_page_is_read_in_parts_wherever_they_end(self, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listing_page, "_PART_CHARACTERS", size)
        body = page(*(blob(f"<Name>{number}</Name>", metadata={"Blob": "<Blob><Name>"}) for number in range(30)))
        read = list(parts(body, "raw"))
        assert [entry.name for part in read for entry in part] == [str(number) for number in range(30)]
        assert len(read) > 1

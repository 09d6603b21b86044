"""What a page tells of live blobs as a HEAD would: all that a copy carries over, or an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.adapters.listing_state import read_states
from shared.errors import StorageFailed
from shared.model import ContentHeaders, Version

AZURITE = (Path(__file__).parent / "resources" / "listing.azurite.xml").read_bytes()


def page(properties: str = "", tail: str = "", head: str = "<Name>a &amp; b.csv</Name>") -> bytes:
    standard = (
        "<Last-Modified>Fri, 20 Nov 2026 14:05:33 GMT</Last-Modified><Etag>0x8DE27F0A1B2C3D4</Etag>"
        "<Content-Length>812</Content-Length><BlobType>BlockBlob</BlobType>"
    )
    blob = f"<Blob>{head}<Properties>{standard}{properties}</Properties>{tail}</Blob>"
    return f"<EnumerationResults><Blobs>{blob}</Blobs><NextMarker /></EnumerationResults>".encode()


def tags(**pairs: str) -> str:
    inner = "".join(f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>" for key, value in pairs.items())
    return f"<Tags><TagSet>{inner}</TagSet></Tags>"


def test_all_that_a_copy_carries_over_is_read() -> None:
    body = page(
        "<Content-MD5>1B2M2Y8AsgTpgAmY7PhCfg==</Content-MD5><Content-Type>text/csv; a=&quot;b&quot;</Content-Type>"
        "<Content-Encoding>gzip</Content-Encoding><Content-Language>de</Content-Language>"
        "<Content-Disposition>inline</Content-Disposition><Cache-Control>no-cache</Cache-Control>"
        "<AccessTier>Cool</AccessTier><TagCount>2</TagCount><CopyStatus>success</CopyStatus>",
        "<Metadata><Owner>a &lt; b</Owner><Tags>x</Tags></Metadata>" + tags(class_="a &amp; b", year="2026"),
    )
    state, found = read_states(body, "raw")["a & b.csv"]
    assert state.version == Version("a & b.csv", "0x8DE27F0A1B2C3D4", "2026-11-20T14:05:33Z", 812)
    assert (state.md5, state.blob_type) == ("1B2M2Y8AsgTpgAmY7PhCfg==", "BlockBlob")
    assert (state.tier, state.tier_inferred, state.copying) == ("Cool", False, "")
    assert state.headers == ContentHeaders('text/csv; a="b"', "gzip", "de", "inline", "no-cache")
    assert state.metadata == {"Owner": "a < b", "Tags": "x"}
    assert (found, state.tag_count, state.snapshot) == ({"class_": "a & b", "year": "2026"}, 2, None)


def test_what_is_absent_or_empty_is_nothing() -> None:
    state, found = read_states(page("<Content-Encoding /><Content-MD5></Content-MD5>"), "raw")["a & b.csv"]
    assert (state.md5, state.tier, state.metadata, found, state.headers) == (None, "", {}, {}, ContentHeaders())


def test_an_inferred_tier_and_a_copy_under_way_are_told() -> None:
    body = page("<AccessTierInferred>true</AccessTierInferred><CopyStatus>pending</CopyStatus>")
    state, _ = read_states(body, "raw")["a & b.csv"]
    assert (state.tier_inferred, state.copying) == (True, "pending")


@pytest.mark.parametrize(
    "body",
    [
        page(head="<Name>a</Name><Snapshot>2026-11-20T14:05:34.1234567Z</Snapshot>"),
        page(head="<Name>a</Name><Deleted>true</Deleted>"),
        page("<ResourceType>directory</ResourceType>"),
        page("<CustomerProvidedKeySha256>x</CustomerProvidedKeySha256>"),
    ],
    ids=["snapshot", "deleted", "directory", "customer key"],
)
def test_only_live_blobs_that_can_be_read_are_told_of(body: bytes) -> None:
    assert read_states(body, "raw") == {}


@pytest.mark.parametrize(
    "body",
    [
        page("<TagCount>2</TagCount>", tags(a="b")),
        page("<TagCount>1</TagCount>"),
        page("<TagCount>1</TagCount>", "<Metadata><Tags>&lt;TagSet&gt;</Tags></Metadata>"),
        page(tail="<Tags><TagSet><Tag><Key>a</Key></Tag></TagSet></Tags>"),
        page(tail="<Tags><TagSet><Tag><Key>&bogus;</Key><Value>b</Value></Tag></TagSet></Tags>"),
        page()[:-30],
    ],
)
def test_tags_that_are_not_all_there_are_an_error_and_never_fewer_tags(body: bytes) -> None:
    with pytest.raises(StorageFailed):
        read_states(body, "raw")


def test_a_recorded_page_is_read() -> None:
    states = read_states(AZURITE, "raw")
    assert {name: looked.state.blob_type for name, looked in states.items()} == {
        'a & b "<é>".csv': "BlockBlob",
        "archived": "BlockBlob",
        "disk": "PageBlob",
        "empty": "BlockBlob",
        "log": "AppendBlob",
    }
    assert states["archived"].state.tier == "Archive"

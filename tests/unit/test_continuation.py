"""Where a scan goes on: what callers hand back is the place that they were given, or refused."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.continuation import Position, from_text, to_text
from shared.errors import BadParameter
from shared.model import Entry
from shared.web import MAX_BODY_BYTES
from tests.names import HARD_NAMES

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ENTRIES = st.builds(
    Entry,
    name=TEXT | st.sampled_from(sorted(HARD_NAMES.values())),
    snapshot=st.none() | TEXT,
    etag=TEXT,
    last_modified=TEXT,
    size=st.integers(0, 2**60),
    md5=st.none() | TEXT,
    blob_type=st.sampled_from(["BlockBlob", "PageBlob", "AppendBlob"]),
    tier=st.sampled_from(["", "Hot", "Archive"]),
    directory=st.booleans(),
    customer_key=st.booleans(),
)
POSITIONS = st.builds(
    Position,
    container=st.sampled_from(["raw", "x" * 63]),
    prefix=TEXT,
    marker=st.none() | TEXT,
    carry=st.lists(ENTRIES, max_size=2),
)
PLACE = Position(container="raw", prefix="sales/", marker="2!76!MDAwMDA", carry=[Entry("a", None, "E1", "t", 7)])


def encoded(document: object) -> str:
    return urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


@given(POSITIONS)
def test_a_place_comes_back_as_it_was(position: Position) -> None:
    back = from_text(to_text(position), position.container, position.prefix)
    assert back == position
    assert all(type(entry) is Entry for entry in back.carry)


@given(POSITIONS)
def test_a_continuation_needs_no_escaping_in_a_query(position: Position) -> None:
    text = to_text(position)
    assert all(character.isascii() and (character.isalnum() or character in "-_") for character in text)


@pytest.mark.parametrize(
    ("container", "prefix"), [("other", "sales/"), ("raw", ""), ("raw", "sales"), ("raw", "sales/2026")]
)
def test_the_continuation_of_another_scan_is_refused(container: str, prefix: str) -> None:
    with pytest.raises(BadParameter, match="another container or prefix"):
        from_text(to_text(PLACE), container, prefix)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": "1"},
        {"container": None},
        {"marker": 7},
        {"carry": None},
        {"carry": [["a", None, "E1", "t", "7"]]},
        {"carry": [["a"]]},
        {"carry": [["a", None, "E1", "t", 7]] * 3},
        {"carry": ["a"]},
        {"account": "other"},
    ],
    ids=repr,
)
def test_a_forged_place_is_refused(change: dict[str, object]) -> None:
    document = json.loads(urlsafe_b64decode(to_text(PLACE) + "==="))
    assert from_text(encoded(document), "raw", "sales/") == PLACE
    with pytest.raises(BadParameter, match="continuation: not one"):
        from_text(encoded(document | change), "raw", "sales/")


@pytest.mark.parametrize(
    "text", ["x", "é", "\ud800", "A" * 100_000, encoded([]), encoded(None), "===", "%20"], ids=lambda t: ascii(t[:9])
)
def test_what_is_no_continuation_is_refused(text: str) -> None:
    with pytest.raises(BadParameter, match="continuation: not one"):
        from_text(text, "raw", "")


@given(st.text(max_size=200))
def test_no_text_raises_anything_but_a_bad_parameter(text: str) -> None:
    with pytest.raises(BadParameter):
        from_text(text, "raw", "")


def test_every_cut_of_a_continuation_is_refused() -> None:
    text = to_text(PLACE)
    for length in range(len(text)):
        with pytest.raises(BadParameter):
            from_text(text[:length], "raw", "sales/")


def test_the_largest_continuation_fits_the_body_of_a_call() -> None:
    name = "\x01" * 1024
    carry = [Entry(name, "2026-11-20T14:05:34.1234567Z", "x" * 64, "t", 2**50, "m" * 24, "AppendBlob", "Archive")] * 2
    position = Position(container="x" * 63, prefix=name, marker="m" * 8192, carry=carry)
    text = to_text(position)
    body = json.dumps({"container": "x" * 63, "prefix": name, "continuation": text}).encode()
    assert len(body) <= MAX_BODY_BYTES

"""Listings through the gateway: whatever Azurite's pages cut apart, every entry comes exactly once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.gateway.listing import PAGE_LIMIT, Entry, Position, cut_page

names = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=4) | st.sampled_from(
    ["a", "a/b", "\uffff", "😀", "e\u0301", "é"]
)
snapshots = st.lists(st.integers(0, 99).map(lambda n: f"2026-11-20T00:00:{n:02}Z"), unique=True, max_size=7)
blobs = st.dictionaries(names, snapshots, max_size=8)


def utf16(name: str) -> bytes:
    return name.encode("utf-16-be")


def azurite_page(entries: list[Entry], start_from: str, limit: int) -> tuple[list[Entry], bool]:
    """What Azurite lists from a name on, in its order of names, and whether there is more."""
    left = [entry for entry in entries if utf16(entry.name) >= utf16(start_from)]
    return left[:limit], len(left) > limit


def list_all(entries: list[Entry], size: int) -> list[Entry]:
    found: list[Entry] = []
    position: Position | None = Position()
    while position is not None:
        page, limit = None, min(size + 1, PAGE_LIMIT)
        while page is None:
            listed, more = azurite_page(entries, position.name, limit)
            page = cut_page(listed, more=more, begin=position, size=size)
            limit *= 2
        assert len(page.entries) <= size
        found += page.entries
        position = None if page.next is None else Position.parse(page.next.marker())
    return found


@given(blobs, st.integers(1, 12), st.randoms())
def test_every_entry_is_listed_once(blobs: dict[str, list[str]], size: int, shuffle: st.DataObject) -> None:
    entries = []
    for name in sorted(blobs, key=utf16):
        same_name = [Entry(name, order, b"") for order in [*blobs[name], "~"]]
        shuffle.shuffle(same_name)  # type: ignore[attr-defined]
        entries += same_name
    found = list_all(entries, size)
    assert len(found) == len(entries)
    assert set(found) == set(entries)


def test_within_a_name_snapshots_come_oldest_first_and_the_blob_last() -> None:
    listed = [Entry("a", "~", b""), Entry("a", "2", b""), Entry("a", "1", b"")]
    assert [entry.order for entry in list_all(listed, 2)] == ["1", "2", "~"]


def test_a_name_that_does_not_fit_a_whole_list_asks_for_a_longer_one() -> None:
    listed = [Entry("a", str(number), b"") for number in range(3)]
    assert cut_page(listed, more=True, begin=Position(), size=2) is None


@pytest.mark.parametrize("marker", ["a name", "bm90anNvbg==", "WzFd", "!"])
def test_a_marker_that_is_not_ours_is_refused(marker: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- each part of decoding raises in its own words
        Position.parse(marker)

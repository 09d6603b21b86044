"""Which blobs changed since their newest snapshot, in whatever order and pages a listing brings them."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.changes import Group, Grouper, changed, essence, unprotectable
from shared.decisions.continuation import Position, from_text, to_text
from shared.model import Entry, Reason, Version
from tests.names import HARD_NAMES, REFUSED_NAMES

NOW = "2026-11-20T14:05:33Z"


def entry(
    name: str = "a",
    etag: str = "E1",
    snapshot: int | None = None,
    *,
    directory: bool = False,
    customer_key: bool = False,
) -> Entry:
    stamp = None if snapshot is None else f"2026-11-20T14:05:{snapshot:02}.0000000Z"
    return Entry(name, stamp, etag, NOW, 7, directory=directory, customer_key=customer_key)


def group(*entries: Entry) -> Group:
    grouper = Grouper()
    assert grouper.feed(entries) == []
    (only,) = grouper.finish()
    return only


class TestOneBlob:
    def test_a_blob_without_a_snapshot_is_changed(self) -> None:
        assert changed(group(entry())) == Version("a", "E1", NOW, 7)

    def test_a_blob_whose_newest_snapshot_is_of_it_is_unchanged(self) -> None:
        assert changed(group(entry(etag="E2"), entry(etag="E1", snapshot=1), entry(etag="E2", snapshot=2))) is None

    def test_a_blob_whose_newest_snapshot_is_of_an_older_version_is_changed(self) -> None:
        found = changed(group(entry(etag="E2"), entry(etag="E1", snapshot=1)))
        assert found is not None
        assert found.etag == "E2"

    def test_the_order_of_the_entries_of_a_name_says_nothing(self) -> None:
        older, newer, live = entry(etag="E1", snapshot=1), entry(etag="E2", snapshot=2), entry(etag="E2")
        for entries in ((older, newer, live), (live, newer, older), (newer, live, older)):
            assert changed(group(*entries)) is None

    def test_two_snapshots_of_one_version_do_no_harm(self) -> None:
        assert changed(group(entry(), entry(snapshot=1), entry(snapshot=2))) is None

    def test_a_blob_that_is_gone_is_not_changed(self) -> None:
        only_snapshots = group(entry(snapshot=1), entry(snapshot=2))
        assert changed(only_snapshots) is None
        assert only_snapshots.blob is None

    def test_a_directory_is_no_blob_and_never_changed(self) -> None:
        directory = group(entry(directory=True))
        assert changed(directory) is None
        assert directory.blob is None

    def test_an_empty_blob_is_a_blob(self) -> None:
        empty = group(entry()._replace(size=0))
        assert empty.blob is empty.live
        assert changed(empty) == Version("a", "E1", NOW, 0)


class TestUnprotectable:
    @pytest.mark.parametrize("name", REFUSED_NAMES)
    def test_a_name_that_no_call_can_reach_is_said_to_be(self, name: str) -> None:
        why = unprotectable(group(entry(name)))
        assert why is not None
        assert why[0] is Reason.REFUSED_NAME
        assert "segment" in why[1]

    @pytest.mark.parametrize("name", HARD_NAMES.values(), ids=HARD_NAMES)
    def test_every_legal_name_can_be_protected(self, name: str) -> None:
        assert unprotectable(group(entry(name))) is None

    def test_a_blob_under_a_key_of_its_writer_is_said_to_be(self) -> None:
        why = unprotectable(group(entry(customer_key=True)))
        assert why is not None
        assert why[0] is Reason.CUSTOMER_KEY

    def test_an_older_snapshot_under_such_a_key_keeps_nothing_from_being_protected(self) -> None:
        assert unprotectable(group(entry(etag="E2"), entry(snapshot=1, customer_key=True))) is None


class TestEssence:
    def test_it_is_the_live_blob_and_the_newest_snapshot(self) -> None:
        live, newest = entry(etag="E3"), entry(etag="E2", snapshot=2)
        assert essence([newest, live, entry(etag="E1", snapshot=1)]) == [live, newest]
        assert essence([entry(etag="E1", snapshot=1), newest]) == [newest]
        assert essence([live]) == [live]
        assert essence([]) == []


@st.composite
def blobs(draw: st.DrawFn) -> list[Entry]:
    """All entries of one name, in any order. A blob's ETags only ever go on: it never gets an old one again."""
    name = draw(st.sampled_from(["a", "a/b", "a/../b", "b", "é", "😀", *sorted(HARD_NAMES.values())]))
    in_time = draw(st.permutations(["E1", "E2", "E3"]))
    *etags, live_etag = [in_time[turn] for turn in sorted(draw(st.lists(st.integers(0, 2), min_size=1, max_size=5)))]
    entries = [entry(name, etag, number) for number, etag in enumerate(etags)]
    if draw(st.booleans()):
        entries.append(entry(name, live_etag, directory=not etags and draw(st.booleans())))
    return draw(st.permutations(entries))


LISTINGS = st.lists(blobs().filter(bool), unique_by=lambda entries: entries[0].name, max_size=8)


def expected(entries: list[Entry]) -> Version | None:
    """What `changed` must say of one name, written down a second time as plainly as can be."""
    live = [one for one in entries if one.snapshot is None]
    snapshots = sorted((one for one in entries if one.snapshot is not None), key=lambda one: one.snapshot or "")
    if not live or live[0].directory:
        return None
    if snapshots and snapshots[-1].etag == live[0].etag:
        return None
    return live[0].version


@st.composite
def pages(draw: st.DrawFn, entries: list[Entry]) -> list[list[Entry]]:
    """The same entries, cut anywhere; empty pages happen with the service too."""
    cuts = sorted(draw(st.lists(st.integers(0, len(entries)), max_size=8)))
    return [entries[start:end] for start, end in zip([0, *cuts], [*cuts, len(entries)], strict=True)]


class TestScanning:
    @given(st.data(), LISTINGS)
    def test_every_group_comes_out_once_wherever_pages_end(
        self, data: st.DataObject, listing: list[list[Entry]]
    ) -> None:
        entries = [one for blob in listing for one in blob]
        grouper = Grouper()
        groups = [found for page in data.draw(pages(entries)) for found in grouper.feed(page)] + grouper.finish()
        assert [found.name for found in groups] == [blob[0].name for blob in listing]
        for found, blob in zip(groups, listing, strict=True):
            assert sorted([*found.snapshots, *([found.live] if found.live else [])], key=repr) == sorted(blob, key=repr)
        assert grouper.finish() == []

    @given(st.data(), LISTINGS)
    def test_exactly_the_changed_blobs_are_found_though_the_scan_stops_and_goes_on_at_any_page(
        self, data: st.DataObject, listing: list[list[Entry]]
    ) -> None:
        entries = [one for blob in listing for one in blob]
        cut = data.draw(pages(entries))
        position = Position(container="raw", prefix="p")
        grouper = Grouper(list(position.carry))
        found: list[Version] = []
        for number, page in enumerate(cut):
            groups = grouper.feed(page)
            if number == len(cut) - 1:
                groups += grouper.finish()
            found += [version for version in map(changed, groups) if version is not None]
            if data.draw(st.booleans(), label="stop and go on"):
                carried = {"marker": str(number), "carry": essence(grouper.carry)}
                position = from_text(to_text(position.model_copy(update=carried)), "raw", "p")
                assert position.marker == str(number)
                grouper = Grouper(list(position.carry))
        assert found == [version for version in map(expected, listing) if version is not None]

    @given(st.data(), LISTINGS)
    def test_a_name_whose_entries_are_torn_apart_is_never_overlooked(
        self, data: st.DataObject, listing: list[list[Entry]]
    ) -> None:
        entries = data.draw(st.permutations([one for blob in listing for one in blob]))
        grouper = Grouper()
        found = {version for one in grouper.feed(entries) + grouper.finish() if (version := changed(one))}
        assert found >= {version for version in map(expected, listing) if version is not None}

    def test_a_scan_holds_no_more_than_the_name_it_is_at(self) -> None:
        grouper = Grouper()
        for number in range(1000):
            grouper.feed([entry(f"{number:04}"), entry(f"{number:04}", snapshot=1)])
            assert len(grouper.carry) == 2

    def test_groups_do_not_change_once_they_are_given_out(self) -> None:
        grouper = Grouper()
        (first,) = grouper.feed([entry("a"), entry("b")])
        grouper.feed([entry("c")])
        assert (first.name, first.live, first.snapshots) == ("a", entry("a"), ())


def test_the_model_groups_as_a_listing_does() -> None:
    listing = [entry("a"), entry("a", snapshot=1), entry("b")]
    assert [expected(list(same)) for _, same in groupby(listing, key=lambda one: one.name)] == [
        None,
        entry("b").version,
    ]

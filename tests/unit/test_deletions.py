"""What recorded deletions mean for a moment in the past, whatever order they are read in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.deletions import (
    Back,
    Deletion,
    Fate,
    Gone,
    backup_folders,
    document,
    events,
    fate,
    fold,
    time_of_backup,
)
from shared.decisions.names import backup_name, folder_of_backup, version_of_backup
from shared.model import Version
from tests.names import HARD_NAMES


def at(second: int) -> str:
    return f"2026-11-20T14:{second // 60:02}:{second % 60:02}Z"


def gone(last_seen: int, first_missed: int, name: str = "a") -> Gone:
    return Gone(name, at(last_seen), at(first_missed))


def back(seen_at: int, name: str = "a") -> Back:
    return Back(name, at(seen_at))


def deletion(last_seen: int, first_missed: int, back_by: int | None = None) -> Deletion:
    return Deletion("a", at(last_seen), at(first_missed), None if back_by is None else at(back_by))


def version(second: int) -> Version:
    return Version("a", f"0x{second}", at(second), 1)


class TestFolding:
    @pytest.mark.parametrize(
        ("missed", "seen", "expected"),
        [
            pytest.param([gone(1, 5)], [], [deletion(1, 5)], id="gone for good"),
            pytest.param([gone(1, 5)], [back(8)], [deletion(1, 5, 8)], id="back"),
            pytest.param([gone(1, 5)], [back(5)], [deletion(1, 5, 5)], id="back within that second"),
            pytest.param([gone(1, 5)], [back(3)], [deletion(1, 5)], id="was back before"),
            pytest.param([gone(1, 5)], [back(9), back(8)], [deletion(1, 5, 8)], id="the first time it was back counts"),
            pytest.param([gone(1, 5), gone(9, 12)], [back(8)], [deletion(1, 5, 8), deletion(9, 12)], id="gone twice"),
            pytest.param(
                [gone(1, 5), gone(9, 12)], [], [deletion(1, 5, 9), deletion(9, 12)], id="its being back went unseen"
            ),
            pytest.param(
                [gone(1, 5), gone(7, 12)], [back(8)], [deletion(1, 5, 7), deletion(7, 12)], id="seen before it was back"
            ),
            pytest.param([gone(1, 5), gone(1, 5)], [], [deletion(1, 5)], id="recorded twice"),
            pytest.param([gone(1, 5), gone(1, 6)], [], [deletion(1, 5)], id="missed twice"),
            pytest.param([gone(1, 5), gone(3, 6)], [back(8)], [deletion(3, 5, 8)], id="missed twice, seen later"),
            pytest.param(
                [gone(5, 5), gone(5, 9)], [], [deletion(5, 5, 5), deletion(5, 9)], id="written when it was missed"
            ),
        ],
    )
    def test_events_make_deletions(self, missed: list[Gone], seen: list[Back], expected: list[Deletion]) -> None:
        assert fold(missed, seen) == {"a": expected}

    def test_each_name_has_its_own(self) -> None:
        assert fold([gone(1, 5), gone(2, 6, "b")], [back(9, "b"), back(9, "never gone")]) == {
            "a": [deletion(1, 5)],
            "b": [Deletion("b", at(2), at(6), at(9))],
        }

    @given(
        st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted), max_size=6).flatmap(
            lambda pairs: st.tuples(st.permutations(pairs), st.just(pairs))
        ),
        st.lists(st.integers(0, 30), max_size=4).flatmap(
            lambda times: st.tuples(st.permutations(times), st.just(times))
        ),
    )
    def test_neither_order_nor_repetition_matters(
        self, missed: tuple[list[list[int]], list[list[int]]], seen: tuple[list[int], list[int]]
    ) -> None:
        shuffled, ordered = missed
        once = fold([gone(pair[0], pair[1]) for pair in ordered], [back(time) for time in seen[1]])
        again = fold([gone(pair[0], pair[1]) for pair in shuffled * 2], [back(time) for time in seen[0] * 2])
        assert again == once

    @given(
        st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted), min_size=1, max_size=6),
        st.lists(st.integers(0, 30), max_size=4),
    )
    def test_deletions_follow_each_other_and_all_but_the_last_are_over(
        self, missed: list[list[int]], seen: list[int]
    ) -> None:
        found = fold([gone(pair[0], pair[1]) for pair in missed], [back(time) for time in seen])["a"]
        assert [one.first_missed for one in found] == sorted(one.first_missed for one in found)
        assert all(one.back_by is not None for one in found[:-1])
        seen_since = [at(second) for second in sorted(seen) if at(second) >= found[-1].first_missed]
        assert found[-1].back_by == next(iter(seen_since), None)


class TestFate:
    @pytest.mark.parametrize(
        ("second", "expected"),
        [(2, Fate.THERE), (4, Fate.THERE), (5, Fate.PERHAPS_DELETED), (8, Fate.PERHAPS_DELETED), (9, Fate.DELETED)],
    )
    def test_a_blob_was_there_until_it_was_last_seen_and_gone_from_when_it_was_missed(
        self, second: int, expected: Fate
    ) -> None:
        assert fate(version(1), at(second), [deletion(4, 9)]) is expected

    def test_a_version_that_was_written_since_is_there(self) -> None:
        assert fate(version(12), at(20), [deletion(4, 9)]) is Fate.THERE
        assert fate(version(9), at(20), [deletion(4, 9)]) is Fate.THERE

    def test_a_blob_that_was_back_is_there_again(self) -> None:
        assert fate(version(1), at(12), [deletion(4, 9, 11)]) is Fate.THERE
        assert fate(version(1), at(10), [deletion(4, 9, 11)]) is Fate.DELETED

    def test_of_several_deletions_each_counts_for_its_time(self) -> None:
        both = [deletion(4, 9, 11), deletion(15, 20)]
        fates = [fate(version(1), at(second), both) for second in (3, 10, 12, 17, 20)]
        assert fates == [Fate.THERE, Fate.DELETED, Fate.THERE, Fate.PERHAPS_DELETED, Fate.DELETED]

    @given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
    def test_after_it_was_missed_a_blob_stays_away_and_before_it_was_last_seen_it_was_there(
        self, written: int, last_seen: int, first_missed: int, moment: int
    ) -> None:
        last_seen, first_missed = sorted((max(written, last_seen), max(written, first_missed)))
        verdict = fate(version(written), at(moment), fold([gone(last_seen, first_missed)], []).get("a", []))
        if moment <= last_seen:
            assert verdict in {Fate.THERE} | ({Fate.DELETED} if last_seen == first_missed else set())
        if moment >= first_missed > written:
            assert verdict is Fate.DELETED


class TestDocuments:
    GOLDEN = (
        '{"schema": 1, "container": "raw", "gone": [{"name": "a \\"b\\".csv", "last_seen": "2026-11-20T14:00:01Z",'
        ' "first_missed": "2026-11-20T14:00:05Z"}], "back": [{"name": "c", "seen_at": "2026-11-20T14:00:09Z"}]}'
    )

    def test_a_document_is_what_it_has_been_since_schema_1(self) -> None:
        made = document("raw", [gone(1, 5, 'a "b".csv')], [back(9, "c")])
        assert json.dumps(made) == self.GOLDEN
        assert events(json.loads(self.GOLDEN)) == ([gone(1, 5, 'a "b".csv')], [back(9, "c")])

    def test_keys_of_a_later_release_are_passed_over(self) -> None:
        stored = json.loads(self.GOLDEN) | {"more": 1}
        stored["gone"][0]["more"] = 2
        assert len(events(stored)[0]) == 1

    @pytest.mark.parametrize(
        "stored",
        [
            None,
            [],
            {},
            {"schema": 2, "gone": [], "back": []},
            {"schema": 1, "gone": []},
            {"schema": 1, "gone": [{"name": "a", "last_seen": at(1)}], "back": []},
            {"schema": 1, "gone": [], "back": [{"name": "a", "seen_at": "yesterday"}]},
            {"schema": 1, "gone": [], "back": [{"name": "a", "seen_at": None}]},
            {"schema": 1, "gone": ["a"], "back": []},
        ],
    )
    def test_what_is_not_understood_is_refused(self, stored: Any) -> None:
        with pytest.raises(ValueError, match=r"."):
            events(stored)


class TestFolders:
    NAMES = (*HARD_NAMES.values(), "n" * 1000, "n" * 930 + ".csv", "é" * 1000, "a/" * 252 + "b", "😀" * 300, "." * 90)

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("etag", ["0x1", "0x8DE27F0A1B2C3D4", "F" * 64])
    def test_a_backup_stands_in_a_folder_of_its_name(self, name: str, etag: str) -> None:
        backup = backup_name(Version(name, etag, at(1), 1))
        found = folder_of_backup(backup)
        assert found is not None
        assert found[0] in backup_folders(name)
        assert "/".join(found) == backup
        assert time_of_backup(found[1]) == at(1)

    @given(
        st.text(st.sampled_from("ab/.é😀"), min_size=1, max_size=12),
        st.sampled_from(
            ["20261120T140533Z-0x1", "20261120T140533Z-0x1.csv", "20261120T140533Z", "x", "", ".a", ".b.a"]
        ),
    )
    def test_a_folder_is_found_where_the_name_tells_a_version_and_nowhere_else(self, folder: str, last: str) -> None:
        name = f"{folder}/{last}"
        told = version_of_backup(name, 1)
        found = folder_of_backup(name)
        assert (found is not None) == (told is not None)
        if told is not None and found is not None:
            assert (found[0], time_of_backup(found[1])) == (told.name, told.last_modified)

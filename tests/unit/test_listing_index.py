"""The indexes of listings on disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.index import FolderIndex, ListingIndex
from shared.model import Entry, IndexedBlob
from tests.names import HARD_NAMES


def blob(name: str, size: int = 1, md5: str | None = None) -> IndexedBlob:
    return IndexedBlob(name, size, md5, "BlockBlob", "2026-11-20T14:05:33Z")


def entry(name: str, size: int = 1, md5: str | None = None) -> Entry:
    return Entry(name, None, "0x1", "2026-11-20T14:05:33Z", size, md5)


def test_what_was_added_is_found_by_its_name_and_nothing_else_is() -> None:
    with ListingIndex() as index:
        page = entry("b", 2)._replace(blob_type="PageBlob", last_modified="2026-11-20T14:05:34Z")
        index.add_many([entry("a", 1, "bWQ1"), page])

        assert index.get("a") == blob("a", 1, "bWQ1")
        assert index.get("A") is None
        assert index.get_many(["b", "c"]) == {"b": IndexedBlob("b", 2, None, "PageBlob", "2026-11-20T14:05:34Z")}
        assert len(index) == 2


def test_a_name_that_is_given_twice_holds_what_came_last() -> None:
    with ListingIndex() as index:
        index.add_many([entry("a", 1), entry("a", 2)])
        index.add_many([entry("a", 3)])

        assert index.get("a") == blob("a", 3)
        assert len(index) == 1


def test_hard_names_are_kept_apart_byte_for_byte() -> None:
    names = [*HARD_NAMES.values(), "é", "e\u0301", "a\0b", "a\0c", "a ", "a"]
    with ListingIndex() as index:
        index.add_many(entry(name, size) for size, name in enumerate(dict.fromkeys(names)))

        assert [index.get(name) for name in dict.fromkeys(names)] == [
            blob(name, size) for size, name in enumerate(dict.fromkeys(names))
        ]


def test_removed_names_are_gone_and_the_rest_comes_in_order() -> None:
    names = [f"{number:05}" for number in range(3000)]
    with ListingIndex() as index:
        index.add_many(entry(name) for name in reversed(names))
        index.remove_many([*names[:2500], "nothing"])

        assert [found.name for found in index] == names[2500:]
        assert set(index.get_many(names)) == set(names[2500:])


@given(st.lists(st.tuples(st.text(max_size=5), st.integers(0, 2**60)), max_size=30))
def test_it_answers_as_a_dictionary_does(pairs: list[tuple[str, int]]) -> None:
    expected = {name: blob(name, size) for name, size in pairs}
    with ListingIndex() as index:
        index.add_many(entry(name, size) for name, size in pairs)

        assert index.get_many(list(expected)) == expected
        assert {found.name: found for found in index} == expected


def test_closing_removes_the_file(tmp_path: Path) -> None:
    index = ListingIndex(tmp_path)
    index.add_many([entry("a")])
    assert list(tmp_path.iterdir())

    index.close()
    index.close()

    assert list(tmp_path.iterdir()) == []


def left(index: FolderIndex) -> dict[str, str]:
    return dict(pair for part in index.parts() for pair in part)


class TestFolders:
    def test_the_newest_of_each_folder_is_held_whatever_order_they_come_in(self) -> None:
        with FolderIndex() as index:
            index.add_many([("a", "2"), ("b", "1"), ("a", "3"), ("a", "1")])
            index.add_many([("b", "0"), ("a", "2"), ("c", "5")])
            assert left(index) == {"a": "3", "b": "1", "c": "5"}
            assert len(index) == 3

    def test_what_is_struck_out_is_not_left(self) -> None:
        with FolderIndex() as index:
            index.add_many([(name, "1") for name in "abc"])
            index.strike_out(["b", "x", "b"])
            assert left(index) == {"a": "1", "c": "1"}

    def test_all_but_some_can_be_struck_out_more_than_once(self) -> None:
        with FolderIndex() as index:
            index.add_many([(name, "1") for name in "abcd"])
            index.strike_out_all_but(iter(["a", "c", "c", "x"]))
            assert set(left(index)) == {"a", "c"}
            index.strike_out_all_but(["c", "d"])
            assert set(left(index)) == {"c"}

    def test_what_is_struck_out_for_good_is_gone_whenever_it_is_added(self) -> None:
        with FolderIndex() as index:
            assert not index.struck_any
            index.strike_out_for_good([])
            index.strike_out_for_good(["b", "c", "b"])
            index.add_many([(name, "1") for name in "abc"])
            index.settle_struck()
            assert (left(index), index.struck_any) == ({"a": "1"}, True)
            assert index.struck_among(["a", "b", "x"]) == ["b"]

    def test_it_can_be_gone_through_while_it_changes(self) -> None:
        names = [f"{number:05}" for number in range(2000)]
        with FolderIndex() as index:
            index.add_many((name, "1") for name in names)
            seen = []
            for part in index.parts():
                seen += [name for name, _ in part]
                index.strike_out([name for name, _ in part])
                index.record_gone([((name,), "1") for name, _ in part])
            assert seen == names
            assert index.gone_count() == 2000

    def test_hard_names_are_kept_apart(self) -> None:
        names = list(dict.fromkeys([*HARD_NAMES.values(), "é", "e\u0301", "a\0b", "a\0c"]))
        with FolderIndex() as index:
            index.add_many((name, str(number)) for number, name in enumerate(names))
            index.record_gone([((name,), str(number)) for number, name in enumerate(names, start=1)])
            expected = {name: str(number) for number, name in enumerate(names)}
            assert left(index) == expected
            assert index.gone_among(names) == {name: str(int(number) + 1) for name, number in expected.items()}

    def test_a_blob_is_gone_until_it_was_seen_again_in_whatever_order_that_is_recorded(self) -> None:
        with FolderIndex() as index:
            index.record_back([(("a",), "3"), (("b",), "3"), (("c",), "9")])
            index.record_gone([(("a",), "2"), (("b",), "5"), (("d",), "1")])
            index.record_gone([(("a",), "1"), (("b",), "4")])
            assert index.gone_among(["a", "b", "c", "d", "e"]) == {"b": "5", "d": "1"}
            assert index.gone_count() == 2
            index.record_back([(("b",), "5")])
            assert index.gone_among(["b"]) == {}

    def test_a_blob_of_several_folders_is_known_by_each_and_counts_once(self) -> None:
        with FolderIndex() as index:
            index.record_gone([(("name", "hash"), "1"), (("other",), "2")])
            assert index.gone_among(["hash", "other"]) == {"hash": "1", "other": "2"}
            assert index.gone_count() == 2
            index.record_back([(("name", "hash"), "2")])
            assert (index.gone_among(["name", "hash"]), index.gone_count()) == ({}, 1)

    def test_a_failure_in_what_is_added_leaves_it_usable(self) -> None:
        def broken() -> Iterator[str]:
            yield "a"
            raise ValueError

        with FolderIndex() as index:
            index.add_many([("a", "1"), ("b", "1")])
            with pytest.raises(ValueError):  # noqa: PT011 -- the very one from above
                index.strike_out_all_but(broken())
            index.strike_out(["a"])
            assert left(index) == {"b": "1"}

    def test_closing_removes_its_file(self, tmp_path: Path) -> None:
        index = FolderIndex(tmp_path)
        index.add_many([("a", "1")])
        assert list(tmp_path.iterdir())
        index.close()
        assert list(tmp_path.iterdir()) == []

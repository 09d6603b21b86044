"""The index of a listing on disk."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from shared.index import ListingIndex
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

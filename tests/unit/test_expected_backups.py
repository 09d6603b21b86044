"""The index of the backups that there must be: struck off by name, in any order, and asked by content."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.expected import Expected, ExpectedBackups, Need


def expected(number: int, **changes: object) -> Expected:
    made = Expected(
        f"{number}.csv/v",
        f"{number}.csv",
        f"0x{number}",
        "2026-11-20T14:05:33Z",
        10,
        f"md5 {number}",
        "BlockBlob",
        None,
        "Hot",
        Need.REQUIRED,
    )
    return made._replace(**changes)  # type: ignore[arg-type]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[ExpectedBackups]:
    with ExpectedBackups(tmp_path) as made:
        yield made


def test_what_is_not_struck_off_is_missing(index: ExpectedBackups) -> None:
    index.add_many(expected(number) for number in range(2000))
    names = [f"{number}.csv/v" for number in range(1999, 0, -1)]
    assert index.strike_off([*names, "foreign"]) == {f"{number}.csv/v": expected(number) for number in range(1, 2000)}
    assert list(index.missing()) == [expected(0)]


def test_a_backup_is_known_as_often_as_it_is_listed(index: ExpectedBackups) -> None:
    index.add_many([expected(1)])
    assert index.strike_off(["1.csv/v"]) == index.strike_off(["1.csv/v"]) != {}


def test_all_of_it_comes_back_as_it_was_given(index: ExpectedBackups) -> None:
    odd = expected(1, backup="\0é😀/v", name="\0é😀", md5=None, snapshot="s", tier="", need=Need.OPTIONAL, size=2**40)
    index.add_many([odd])
    assert index.strike_off(["\0é😀/v"]) == {odd.backup: odd}


def test_the_last_of_a_name_counts(index: ExpectedBackups) -> None:
    index.add_many([expected(1)])
    index.add_many([expected(1, need=Need.UNPROTECTABLE)])
    assert list(index.missing()) == [expected(1, need=Need.UNPROTECTABLE)]


def test_another_versions_content_is_found_by_size_and_md5(index: ExpectedBackups) -> None:
    index.add_many([expected(1), expected(2), expected(3, md5=None)])
    assert index.with_content(10, "md5 1", other_than="2.csv/v") == expected(1)
    assert index.with_content(10, "md5 1", other_than="1.csv/v") is None
    assert index.with_content(11, "md5 1", other_than="2.csv/v") is None
    index.add_many([expected(4, md5="md5 1")])
    assert index.with_content(10, "md5 1", other_than="1.csv/v") == expected(4, md5="md5 1")


def test_its_file_is_removed(tmp_path: Path) -> None:
    with ExpectedBackups(tmp_path) as index:
        assert list(tmp_path.iterdir())
        index.close()
    assert not list(tmp_path.iterdir())

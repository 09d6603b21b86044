"""Shards: whatever names there are or will be, each is in exactly one, and its backups are found within its bounds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.names import backup_name, folder_of_backup
from shared.decisions.shards import Piece, Shard, piece_of, plan
from shared.model import Version
from tests.names import HARD_NAMES

# Few characters, so that names share beginnings: on both sides of the slash, around the surrogates, beyond the BMP.
CHARACTERS = "/0a-\0.b\ud7ff\ue000\U0001f600"
NAMES = st.text(CHARACTERS, min_size=1, max_size=6).filter(lambda name: not {".", ".."} & set(name.split("/")))
MARKS = st.lists(NAMES, max_size=40)
SIZES = st.integers(1, 5)
BOUNDS = st.text(CHARACTERS.replace("/", ""), max_size=3)


def holders(shards: list[Shard], name: str) -> list[Shard]:
    return [shard for shard in shards if shard.holds(name)]


@given(MARKS, st.lists(NAMES, max_size=40), SIZES, st.booleans())
def test_each_name_is_in_exactly_one_shard_whatever_was_planned_by(
    marks: list[str], later: list[str], size: int, ranges: bool
) -> None:
    shards = plan(marks, ranges=ranges, size=size)
    bounds = [f"{shard.prefix}{bound}" for shard in shards for bound in (shard.start, shard.end or "x")]
    folders = [shard.prefix for shard in shards] + [shard.prefix[:-1] for shard in shards]
    hard = [*bounds, *folders, *(f"{bound}/x" for bound in bounds), *HARD_NAMES.values()]
    for name in {*marks, *later, *hard} - {""}:
        assert len(holders(shards, name)) == 1, (name, shards)


@given(MARKS, SIZES, st.booleans(), NAMES)
def test_backups_are_held_with_the_blob_that_their_folder_is_named_after(
    marks: list[str], size: int, ranges: bool, name: str
) -> None:
    found = folder_of_backup(backup_name(Version(name, "0x1", "2026-11-20T14:05:33Z", 1)))
    assert found is not None
    assert found[0] == name
    [shard] = holders(plan(marks, ranges=ranges, size=size), name)
    beside = backup_name(Version(name, "0x1", "2026-11-20T14:05:33Z", 1))
    if name != shard.prefix[:-1]:  # those of the folder's own name stand among its segments
        assert shard.takes(beside[len(shard.prefix) :].partition("/")[0])


@pytest.mark.parametrize("order", ["UTF-16", "by segments", "code points"])
@given(names=st.lists(NAMES, max_size=30, unique=True), start=BOUNDS, end=BOUNDS)
def test_a_shard_with_sure_bounds_is_side_by_side_in_every_listing(
    order: str, names: list[str], start: str, end: str
) -> None:
    shard = Shard("", start, end or None)
    if not shard.sure:
        return
    keys: dict[str, Callable[[str], Any]] = {
        "UTF-16": lambda name: name.encode("utf-16-be", "surrogatepass"),
        "by segments": lambda name: [part.encode("utf-16-be", "surrogatepass") for part in name.split("/")],
        "code points": lambda name: name,
    }
    listed = sorted(names, key=keys[order])
    before = [name for name in listed if keys[order](name) < keys[order](start)]
    held = [name for name in listed if shard.holds(name)]
    assert not any(shard.holds(name) for name in before)
    from_start = listed[len(before) :]
    assert from_start[: len(held)] == held


@given(name=NAMES, start=BOUNDS, end=BOUNDS)
def test_all_of_a_shard_is_listed_between_bounds_that_are_sure(name: str, start: str, end: str) -> None:
    shard = Shard("", start, end or None)
    within = Shard("", shard.least, shard.beyond)
    assert within.sure
    assert within.holds(name) or not shard.holds(name)


@given(names=st.lists(NAMES, max_size=30), start=BOUNDS, end=BOUNDS, later=st.lists(NAMES, max_size=30))
def test_pieces_bring_all_of_a_shard_and_nothing_else(names: list[str], start: str, end: str, later: list[str]) -> None:
    shard = Shard("", start, end or None)
    pieces = set()
    for name in names:
        segment, slash, _ = name.partition("/")
        if shard.takes(segment):
            pieces.add(piece_of(shard, segment, folder=bool(slash)))

    def brings(piece: Piece, name: str) -> bool:
        return name == piece.prefix if piece.exact else name.startswith(piece.prefix)

    for name in names:
        assert sum(brings(piece, name) for piece in pieces) == shard.holds(name)
    for name in later:
        assert sum(brings(piece, name) for piece in pieces) <= shard.holds(name)


def marks_of(names: dict[str, int]) -> list[str]:
    """So many marks in each folder."""
    return [f"{folder}{number:03}" for folder, count in names.items() for number in range(count)]


def sizes(shards: list[Shard], marks: list[str]) -> list[int]:
    return [sum(shard.holds(mark) for mark in marks) for shard in shards]


def test_a_small_container_is_one_shard() -> None:
    assert plan(marks_of({"a/": 15}), ranges=True, size=8) == plan([], ranges=False) == [Shard()]


def test_a_flat_container_is_cut_into_ranges_of_about_the_same_size() -> None:
    marks = [f"{number:06}.csv" for number in range(800)]
    shards = plan(marks, ranges=True, size=32)
    assert all(shard.sure and shard.prefix == "" for shard in shards)
    assert len(shards) >= 20
    assert max(sizes(shards, marks)) <= 48


def test_without_ranges_very_many_blobs_in_one_folder_stay_together() -> None:
    marks = [f"{number:06}.csv" for number in range(800)] + marks_of({"folder/": 10})
    assert plan(marks, ranges=False, size=32) == [Shard()]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_large_folder_is_cut_one_level_further_and_small_ones_stay_together(ranges: bool) -> None:
    marks = marks_of({"a/": 3, "b/": 4, "large/x/": 40, "large/y/": 40, "z/": 5})
    shards = plan(marks, ranges=ranges, size=10)
    assert max(sizes(shards, marks)) <= 40
    prefixes = {shard.prefix for shard in shards}
    assert {"", "large/", "large/x/", "large/y/"} & prefixes >= {"", "large/x/", "large/y/"}
    rest = [shard for shard in shards if shard.prefix == ""]
    assert all(sum(shard.holds(mark) for mark in marks) <= 10 for shard in rest)


def test_many_small_folders_whose_names_part_only_after_a_dash_are_cut_between_them() -> None:
    marks = marks_of({f"2026-{month:02}-{day:02}/": 4 for month in range(1, 13) for day in range(1, 29)})
    shards = plan(marks, ranges=True, size=32)
    assert max(sizes(shards, marks)) <= 40
    assert len(shards) > 30


def test_the_name_of_a_folder_goes_with_it() -> None:
    shard = Shard("a/")
    assert [shard.holds(name) for name in ("a", "a/", "a/b", "ab", "a-b")] == [True, True, True, False, False]
    assert (shard.own_name, Shard("a/", "b").own_name, Shard().own_name) == ("a", "", "")


def test_shards_of_a_plan_follow_one_another() -> None:
    shards = plan([f"{number:03}" for number in range(200)], ranges=True, size=10)
    assert shards[0].start == ""
    assert shards[-1].end is None
    assert all(one.end == other.start for one, other in itertools.pairwise(shards))

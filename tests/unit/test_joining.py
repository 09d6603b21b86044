"""The join of both listings: whatever their pages, it tells of each name once, with all its backups; or it says no."""

from __future__ import annotations

import json
from itertools import groupby

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.decisions.changes import Group, grouped
from shared.decisions.joining import FLAT, FOLDERS, Joined, MergeJoin, OutOfOrder
from shared.decisions.names import backup_name, folder_of_backup
from shared.model import Entry, Version

ORDERS = {
    FLAT: lambda name: name.encode("utf-16-be", "surrogatepass"),
    FOLDERS: lambda name: name.replace("/", "\0").encode("utf-16-be", "surrogatepass"),
}
NAMES = st.text("/0-b.z\ue000\U0001f600", min_size=1, max_size=5)


def entry(name: str, etag: str = "0x1", snapshot: str | None = None) -> Entry:
    return Entry(name, snapshot, etag, "2026-11-20T14:05:33Z", 1)


def backup(name: str, etag: str = "0x1") -> Entry:
    return entry(backup_name(Version(name, etag, "2026-11-20T14:05:33Z", 1)))


def cut(entries: list[Entry], sizes: list[int]) -> list[list[Entry]]:
    """Pages of these sizes, over and over."""
    pages: list[list[Entry]] = []
    at = 0
    while at < len(entries):
        size = sizes[len(pages) % len(sizes)]
        pages.append(entries[at : at + size])
        at += size
    return pages or [[]]


def saved(join: MergeJoin, backups: list[list[Entry]], at: int) -> tuple[MergeJoin, int]:
    """The join as another instance goes on with it: with the page of backups in which it was."""
    return MergeJoin.of(json.loads(json.dumps(join.document()))), max(at - 1, 0)


def joined(
    order: str, source: list[list[Entry]], backups: list[list[Entry]], *, interrupted: bool = False
) -> tuple[dict[str, set[str]], list[str], set[str]]:
    """What it tells: each name's backups, the names in turn, and the folders of no blob that is there."""
    join, at = MergeJoin(order), 0
    told: dict[str, set[str]] = {}
    turns: list[str] = []
    unmatched: set[str] = set()
    groups: list[Group] = []
    for number, page in enumerate(source):
        groups = [grouped(list(of_name)) for _, of_name in groupby(page, key=lambda one: one.name)]
        join.add_source(groups, last=number == len(source) - 1)
        unmatched |= {folder for folder, _ in join.advance()}
        while join.wants_backups:
            unmatched |= {folder for folder, _ in join.add_backups(backups[at], last=at == len(backups) - 1)}
            at += 1
        for one in join.decided():
            told[one.group.name] = {name for name in one.names if name in join.found}
            turns.append(one.group.name)
        join.forget()
        if interrupted:
            join, at = saved(join, backups, at)
            if at == len(backups) - 1 and number == len(source) - 1:
                break
    return told, turns, unmatched


@example(FLAT, {"/", "0", ".", "//"}, set(), set(), [1], [1, 2], True)  # interrupted twice in one page of backups
@given(
    order=st.sampled_from(list(ORDERS)),
    live=st.sets(NAMES, max_size=15),
    gone=st.sets(NAMES, max_size=8),
    lacking=st.sets(NAMES, max_size=5),
    source_sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    backup_sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    interrupted=st.booleans(),
)
def test_it_tells_of_each_name_once_with_all_of_its_backups(
    order: str,
    live: set[str],
    gone: set[str],
    lacking: set[str],
    source_sizes: list[int],
    backup_sizes: list[int],
    interrupted: bool,
) -> None:
    key = ORDERS[order]
    source = cut([entry(name, etag) for name in sorted(live, key=key) for etag in ("0x1",)], source_sizes)
    kept = {one.name: one for name in live - lacking | gone for one in (backup(name), backup(name, "0x2"))}
    backups = cut([kept[name] for name in sorted(kept, key=key)], backup_sizes)
    told, turns, unmatched = joined(order, source, backups, interrupted=interrupted)
    assert sorted(turns) == sorted(live)
    assert told == {name: {backup(name).name} & set(kept) for name in live}
    folders = {found[0] for name in kept if (found := folder_of_backup(name)) is not None}
    assert unmatched == folders - live


@given(order=st.sampled_from(list(ORDERS)), names=st.lists(NAMES, min_size=2, max_size=8, unique=True))
def test_a_listing_in_another_order_is_refused_before_anything_is_told(order: str, names: list[str]) -> None:
    in_order = sorted(names, key=ORDERS[order]) == names
    join = MergeJoin(order)
    for add in (
        lambda: join.add_source([grouped([entry(name)]) for name in names], last=True),
        lambda: join.add_backups([entry(name) for name in names], last=True),
    ):
        if in_order:
            add()
        else:
            with pytest.raises(OutOfOrder):
                add()


@pytest.mark.parametrize("which", ["source", "backups"])
def test_the_order_holds_from_page_to_page(which: str) -> None:
    join = MergeJoin(FLAT)
    for name, good in (("b", True), ("a", False)):
        try:
            if which == "source":
                join.add_source([grouped([entry(name)])], last=False)
            else:
                join.add_backups([entry(name)], last=False)
            assert good
        except OutOfOrder:
            assert not good


def test_a_blob_waits_for_its_backups_while_others_stand_between_and_no_page_is_held_for_it() -> None:
    names = ["data", *(f"data-{number:03}" for number in range(100)), "z"]
    backups = sorted((backup(name) for name in names), key=lambda one: one.name)
    assert backups[0].name.startswith("data-")  # the dash comes before the slash
    told, turns, unmatched = joined(FLAT, cut([entry(name) for name in names], [7]), cut(backups, [5]))
    assert all(found for found in told.values())
    assert (turns.index("data") > 90, unmatched) == (True, set())


def test_each_version_of_a_blob_is_asked_for_by_the_name_of_its_backup() -> None:
    group = grouped([entry("a", "0x1", "s1"), entry("a", "0x2", "s2"), entry("a", "0x2")])
    assert Joined.of(group).names == (backup("a", "0x1").name, backup("a", "0x2").name)

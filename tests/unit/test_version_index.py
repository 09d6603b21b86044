"""The index of all places on disk, and a plan's file."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.deletions import Back, Deletion, Gone
from shared.decisions.restore_places import CUSTOMER_KEY, HALF_RESTORED
from shared.decisions.restore_summary import Tally
from shared.decisions.restoring import Action, Held, Job, Mode, Place, Step
from shared.errors import SnapkeepError
from shared.model import Entry, Version
from shared.plan import Plan, PlanWriter
from shared.version_index import Found, VersionIndex
from tests.names import HARD_NAMES

SECOND = "2026-11-20T11:00:00Z"
JOB = Job("raw", SECOND, Mode.CONTAINER, "x")


def entry(name: str, snapshot: str | None = None, etag: str = "0x1", **other: object) -> Entry:
    return Entry(name, snapshot, etag, SECOND, 3, "bWQ1", "PageBlob", "Cool")._replace(**other)  # type: ignore[arg-type]


def backup(name: str, key: str = "key", size: int = 3) -> Held:
    version = Version(name, "0x1", SECOND, 3)
    return Held(Place.BACKUP, version, key, "0xB", size, None, "BlockBlob", "Hot", "")


def found(index: VersionIndex) -> dict[str, Found]:
    return {one.name: one for one in index}


def test_all_places_of_a_name_come_together_whatever_the_order_they_were_added_in() -> None:
    with VersionIndex() as index:
        index.add_backups([backup("b"), backup("a")])
        index.add_source([(entry("a"), ""), (entry("a", "2026-11-20T11:00:00.1Z", "0x0"), "")])
        index.add_standing([entry("a", etag="0x7"), entry("nobody's")])
        assert [one.name for one in index] == ["a", "b"]
        of_a = found(index)["a"]
        assert of_a.live == entry("a")
        assert of_a.standing == entry("a", etag="0x7")
        assert {one.place: one for one in of_a.held} == {
            Place.LIVE: Held(Place.LIVE, entry("a").version, "", "0x1", 3, "bWQ1", "PageBlob", "Cool"),
            Place.SNAPSHOT: Held(
                Place.SNAPSHOT, entry("a", None, "0x0").version, "2026-11-20T11:00:00.1Z", "0x0", 3, "bWQ1",
                "PageBlob", "Cool",
            ),
            Place.BACKUP: backup("a"),
        }  # fmt: skip
        assert found(index)["b"] == Found("b", None, (backup("b"),), None)


def test_deletions_are_told_name_by_name_while_the_index_is_gone_through() -> None:
    gone = Gone("a", "2026-11-20T11:00:00Z", "2026-11-20T12:00:00Z")
    with VersionIndex() as index:
        index.add_source([(entry("a"), ""), (entry("b"), "")])
        index.add_deletions([], [Back("a", "2026-11-20T13:00:00Z"), Back("b", "2026-11-20T13:00:00Z")])
        for _ in range(2):
            index.add_deletions([gone], [])
        assert {one.name: index.deletions_of(one.name) for one in index} == {
            "a": [Deletion(*gone, back_by="2026-11-20T13:00:00Z")],
            "b": [],
        }


def test_what_was_listed_twice_stands_there_once_as_it_was_last() -> None:
    with VersionIndex() as index:
        index.add_source([(entry("a", etag="0x1"), ""), (entry("a", etag="0x2"), "")])
        index.add_backups([backup("a", size=1), backup("a", size=3)])
        of_a = found(index)["a"]
        assert of_a.live == entry("a", etag="0x2")
        assert len(of_a.held) == 2


def test_a_directory_holds_no_version() -> None:
    with VersionIndex() as index:
        index.add_source([(entry("d", directory=True), "")])
        assert found(index)["d"].held == ()
        assert found(index)["d"].live == entry("d", directory=True)


def test_directories_come_deepest_first() -> None:
    with VersionIndex() as index:
        names = ["a", "a/b", "a/b/c", "a-z", "b"]
        index.add_source([(entry(name, directory=True, created=SECOND), "") for name in names])
        index.add_source([(entry("a/blob"), "")])
        order = [one.name for one in index.directories()]
        assert sorted(order) == sorted(names)
        assert all(order.index(inner) < order.index("a") for inner in ("a/b", "a/b/c"))
        assert order.index("a/b/c") < order.index("a/b")


def test_why_a_place_is_unusable_is_kept_and_half_a_restore_is_no_version() -> None:
    with VersionIndex() as index:
        index.add_source([(entry("a"), CUSTOMER_KEY), (entry("b"), HALF_RESTORED)])
        [held] = found(index)["a"].held
        assert held.unusable == CUSTOMER_KEY
        assert (found(index)["b"].held, found(index)["b"].live) == ((), entry("b"))


@given(
    st.sets(st.sampled_from(list(HARD_NAMES.values())) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
)
def test_every_name_is_kept_byte_for_byte(names: set[str]) -> None:
    with VersionIndex() as index:
        index.add_source([(entry(name), "") for name in names])
        index.add_backups([backup(name, name) for name in names])
        assert set(found(index)) == names
        assert all(one.live == entry(name) and len(one.held) == 2 for name, one in found(index).items())


def test_it_leaves_nothing_behind(tmp_path: Path) -> None:
    with VersionIndex(tmp_path) as index:
        index.add_backups([backup("a")])
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def plan_of(*steps: Step) -> Plan:
    writer = PlanWriter()
    for step in steps:
        writer.add(step)
    return writer.finish(JOB, Tally(JOB).summary(1, []))


def test_a_plans_steps_are_read_as_often_as_needed() -> None:
    steps = [Step(Action.LEAVE, name, "as it is") for name in HARD_NAMES.values()]
    with plan_of(*steps) as plan:
        assert list(plan.steps()) == steps
        assert list(plan.steps()) == steps
        assert plan.job == JOB


def test_a_plans_file_is_gone_with_it() -> None:
    plan = plan_of()
    assert plan.file.exists()
    plan.close()
    plan.close()
    assert not plan.file.parent.exists()


DAMAGES = {
    "cut": b"cut",
    "changed": b"changed",
    "no gzip": b"no gzip",
    "no step": gzip.compress(b"{}\n"),
    "unknown action": gzip.compress(b'{"action":"eat"}\n'),
}


@pytest.mark.parametrize("damage", list(DAMAGES.values()), ids=list(DAMAGES))
def test_a_damaged_plan_is_never_carried_out(damage: bytes) -> None:
    with plan_of(*(Step(Action.LEAVE, str(number), "as it is") for number in range(99))) as plan:
        whole = plan.file.read_bytes()
        middle = len(whole) // 2
        cut, changed = whole[:middle], whole[:middle] + b"\xff\xff\xff" + whole[middle + 3 :]
        plan.file.write_bytes({b"cut": cut, b"changed": changed}.get(damage, damage))
        with pytest.raises(SnapkeepError, match=r"the plan cannot be read: .*; begin anew with --restart"):
            list(plan.steps())

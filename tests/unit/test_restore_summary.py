"""What a plan comes to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.decisions.restore_summary import MAX_REASONS, MIB, OTHER_REASONS, Count, Large, Summary, Tally
from shared.decisions.restoring import Action, Held, Job, Mode, Place, Step
from shared.model import Version

AT = "2026-11-20T12:00:00Z"


def job(mode: Mode = Mode.CONTAINER) -> Job:
    return Job("raw", AT, mode, "x")


def version(name: str, size: int, last_modified: str = "2026-11-19T00:00:00Z") -> Version:
    return Version(name, "0x1", last_modified, size)


def restored(of: Version, place: Place = Place.SNAPSHOT, **other: Any) -> Step:
    held = Held(place, of, "", "0x1", of.size, None, "BlockBlob", "Hot")
    return Step(Action.RESTORE, of.name, "wanted", of, (held,), **other)


def summed(*steps: Step, mode: Mode = Mode.CONTAINER) -> Summary:
    tally = Tally(job(mode))
    for step in steps:
        tally.add(step)
    return tally.summary(2, ["something to know"])


def test_blobs_and_bytes_are_counted_by_action_place_and_reason() -> None:
    found = summed(
        restored(version("a", 5)),
        restored(version("b", 7), Place.BACKUP),
        Step(Action.LEAVE, "c", "is that version", version("c", 1)),
        Step(Action.IMPOSSIBLE, "d", "archived", version("d", 2)),
        Step(Action.IMPOSSIBLE, "e", "archived", version("e", 3)),
        Step(Action.IMPOSSIBLE, "f", "nothing is known of it"),
        Step(Action.DELETE, "dir", "newer", version("dir", 0), directory=True),
    )
    assert found.count(Action.RESTORE) == Count(2, 12)
    assert found.count(Action.IMPOSSIBLE) == Count(3, 5)
    assert found.reasons["impossible"] == {"archived": Count(2, 5), "nothing is known of it": Count(1, 0)}
    assert found.places == {"live blob": Count(), "snapshot": Count(1, 5), "backup": Count(1, 7)}
    assert (found.count(Action.DELETE), found.directories) == (Count(1, 0), 1)


def test_the_ten_largest_are_named_largest_first() -> None:
    found = summed(*(restored(version(str(size), size)) for size in (3, 9, 1, 12, 4, 8, 7, 2, 10, 11, 6, 5)))
    assert [one.size for one in found.largest] == [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]
    assert found.largest[0] == Large("12", 12, "2026-11-19T00:00:00Z")


def test_the_span_of_what_is_taken_is_told() -> None:
    days = ["2026-11-18T00:00:00Z", "2026-11-16T00:00:00Z", "2026-11-17T00:00:00Z"]
    found = summed(*(restored(version(day, 1, day)) for day in days))
    assert (found.oldest, found.newest) == (days[1], days[0])
    assert (summed().oldest, summed().newest) == (None, None)


def test_warnings_say_of_how_many_blobs_something_is_not_known() -> None:
    tally = Tally(job())
    for name in "ab":
        tally.add(restored(version(name, 1), caution="it may have been deleted"))
    for day in ("2026-11-19T00:00:00Z", "2026-11-21T00:00:00Z"):
        tally.see([Held(Place.BACKUP, version("a", 1, day), "", "0x1", 1, None, "BlockBlob", "Hot")])
    assert tally.summary(1, ["first"]).warnings == (
        "first",
        f"versions newer than {AT} exist, and are not taken: of 1 blob",
        "it may have been deleted: 2 blobs",
    )


@pytest.mark.parametrize(
    ("step", "mode", "expected"),
    [
        (restored(version("a", 3)), Mode.CONTAINER, {"write": 1, "read": 2, "other": 2}),
        (restored(version("a", 3), replaces="0x2"), Mode.IN_PLACE, {"write": 1, "read": 2, "other": 3}),
        (restored(version("a", 512 * MIB)), Mode.CONTAINER, {"write": 9, "read": 8 + 128, "other": 2}),
        (restored(version("a", 9 * MIB)), Mode.DIRECTORY, {"write": 0, "read": 3, "other": 1}),
        (Step(Action.DELETE, "a", "newer", version("a", 3), replaces="0x2"), Mode.IN_PLACE, {"other": 3}),
        (Step(Action.LEAVE, "a", "is that version", version("a", 3)), Mode.IN_PLACE, {}),
    ],
)
def test_requests_are_estimated_by_kind(step: Step, mode: Mode, expected: dict[str, int]) -> None:
    nothing = {"list": 2, "write": 0, "read": 0, "other": 0}
    assert summed(step, mode=mode).requests == nothing | expected


def test_the_cost_is_that_of_the_sample_prices() -> None:
    found = summed(*(restored(version(str(number), 1)) for number in range(10_000)))
    writes, reads, others, lists = 10_000, 20_000, 20_000, 2
    assert found.cost_usd == pytest.approx(((writes + lists) * 0.055 + (reads + others) * 0.0044) / 10_000)


def test_reasons_that_are_all_different_do_not_grow_without_end() -> None:
    steps = [Step(Action.IMPOSSIBLE, "a", f"reason {number}") for number in range(MAX_REASONS + 5)]
    reasons = summed(*steps).reasons["impossible"]
    assert len(reasons) == MAX_REASONS + 1
    assert reasons[OTHER_REASONS] == Count(5, 0)


def test_it_comes_back_from_the_state_as_it_was() -> None:
    found = summed(
        restored(version('a "b"', 5), caution="perhaps"), Step(Action.LEAVE, "c", "is that version", version("c", 1))
    )
    assert Summary.of(json.loads(json.dumps(found.to_json()))) == found

"""How many calls are made at once: more while the service answers as ever, half when it is too busy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.pace import after_refusal, after_round, begin


def test_it_doubles_up_to_the_cap_while_calls_take_as_long_as_ever() -> None:
    pace, limits = begin(100), []
    for _ in range(5):
        limits.append(pace.limit)
        pace = after_round(pace, 0.02, wanted_more=True)
    assert limits == [32, 64, 100, 100, 100]


def test_a_low_cap_is_never_passed() -> None:
    pace = begin(3)
    assert pace.limit == 3
    assert after_round(pace, 0.02, wanted_more=True).limit == 3


def test_it_does_not_grow_where_no_more_is_to_be_done() -> None:
    pace = begin(100)
    assert after_round(pace, 0.02, wanted_more=False).limit == 32


def test_it_stays_where_calls_begin_to_wait_for_each_other_and_then_grows_slowly() -> None:
    pace = after_round(begin(1000), 0.02, wanted_more=True)
    slow = after_round(pace, 0.05, wanted_more=True)
    assert (slow.limit, slow.doubling) == (64, False)
    assert after_round(slow, 0.02, wanted_more=True).limit == 72


def test_it_halves_when_the_service_is_too_busy_and_recovers() -> None:
    pace = replace(begin(128), limit=128)
    pace = after_refusal(after_refusal(pace))
    assert pace.limit == 32
    rounds = 0
    while pace.limit < 128:
        pace = after_round(pace, 0.02, wanted_more=True)
        rounds += 1
    assert rounds == 13


def test_one_call_at_a_time_remains() -> None:
    pace = begin(4)
    for _ in range(9):
        pace = after_refusal(pace)
    assert pace.limit == 1
    assert after_round(pace, 0.02, wanted_more=True).limit == 2


def test_a_service_that_is_slower_for_good_becomes_the_usual() -> None:
    pace = begin(64)
    pace = after_round(pace, 0.01, wanted_more=True)
    for _ in range(40):
        pace = after_round(pace, 0.03, wanted_more=True)
    assert pace.limit == 64
    assert pace.usual_seconds == pytest.approx(0.03)


@given(
    st.integers(1, 512),
    st.lists(st.none() | st.tuples(st.floats(0.0, 100.0), st.booleans()), max_size=60),
)
def test_it_is_never_below_one_nor_above_the_cap(cap: int, rounds: list[tuple[float, bool] | None]) -> None:
    pace = begin(cap)
    for each in rounds:
        if each is None:
            pace = after_refusal(pace)
        else:
            seconds, wanted_more = each
            pace = after_round(pace, seconds, wanted_more=wanted_more)
        assert 1 <= pace.limit <= cap

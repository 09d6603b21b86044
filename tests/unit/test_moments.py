"""The moments that people name."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.moments import EARLIEST, parse_moment
from shared.errors import BadParameter
from shared.model import moment_of, second_of

NOW = datetime(2026, 11, 20, 14, 5, 33, 900_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T14:05:33Z", "2026-11-20T14:05:33Z"),
        ("2026-11-20 14:05:33+00:00", "2026-11-20T14:05:33Z"),
        ("2026-11-20T16:05+02:00", "2026-11-20T14:05:00Z"),
        ("20261119T140533Z", "2026-11-19T14:05:33Z"),
        (" 2026-11-20T14:05:33Z ", "2026-11-20T14:05:33Z"),
        ("now", "2026-11-20T14:05:33Z"),
        ("1 second ago", "2026-11-20T14:05:32Z"),
        ("90 minutes ago", "2026-11-20T12:35:33Z"),
        ("2 hours ago", "2026-11-20T12:05:33Z"),
        ("2 Days Ago", "2026-11-18T14:05:33Z"),
        ("1 week ago", "2026-11-13T14:05:33Z"),
    ],
)
def test_a_time_with_its_zone_and_how_long_ago_are_understood(text: str, expected: str) -> None:
    assert parse_moment(text, NOW) == expected


def test_a_part_of_a_second_is_rounded_down_as_last_modified_has_whole_ones() -> None:
    assert parse_moment("2026-11-20T14:05:32.999Z", NOW) == "2026-11-20T14:05:32Z"


@pytest.mark.parametrize("text", ["2026-11-20T14:05:33", "2026-11-20 14:05"])
def test_a_time_without_a_zone_is_refused(text: str) -> None:
    with pytest.raises(BadParameter, match="has no zone: add Z"):
        parse_moment(text, NOW)


@pytest.mark.parametrize("text", ["2026-11-20T14:05:34Z", "2026-11-21T00:00+02:00", "2099-01-01T00:00Z"])
def test_the_future_is_refused(text: str) -> None:
    with pytest.raises(BadParameter, match=r"lies in the future: this machine's clock says 2026-11-20T14:05:33Z"):
        parse_moment(text, NOW)


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "-2 hours ago", "1.5 hours ago", "2 hours", "2 months ago", "٢ hours ago", "14:05Z",
     "2026-02-30T00:00Z", "20.11.2026", "999999999 weeks ago", "1763647533"],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BadParameter, match="2 days ago"):
        parse_moment(text, NOW)


def test_a_time_before_there_were_blobs_is_a_slip() -> None:
    with pytest.raises(BadParameter, match="lies before 2000-01-01T00:00:00Z"):
        parse_moment("0202-11-20T14:05:33Z", NOW)


@given(st.datetimes(EARLIEST.replace(tzinfo=None), NOW.replace(tzinfo=None)), st.integers(-14 * 60, 14 * 60))
def test_the_zone_never_changes_the_moment(naive: datetime, minutes: int) -> None:
    moment = naive.replace(tzinfo=UTC, microsecond=0)
    elsewhere = moment.astimezone(timezone(timedelta(minutes=minutes)))
    assert parse_moment(elsewhere.isoformat(), NOW) == second_of(moment)
    assert moment_of(parse_moment(elsewhere.isoformat(), NOW)) == moment


def test_a_day_without_a_time_is_not_told_to_add_what_would_not_be_understood() -> None:
    with pytest.raises(BadParameter, match="no time that is understood"):
        parse_moment("2026-11-20", NOW)

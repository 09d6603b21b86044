"""When the local host's timers are due: NCRONTAB as the platform reads it, and what a stored status means."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.host.schedule import Schedule, ScheduleError, ScheduleStatus, status_after_run, status_at_start

HOURLY = Schedule.parse("0 0 * * * *")
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)  # a Friday
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 -- bounds


@pytest.mark.parametrize(
    ("expression", "comes"),
    [
        ("0 0 * * * *", ["2026-11-20T13:00:00", "2026-11-20T14:00:00"]),
        ("0 30 2 * * *", ["2026-11-21T02:30:00", "2026-11-22T02:30:00"]),
        ("*/20 * * * * *", ["2026-11-20T12:00:20", "2026-11-20T12:00:40"]),
        ("5/25 0 0 1 1 *", ["2027-01-01T00:00:05", "2027-01-01T00:00:30"]),
        ("0 0 9-17/4 * * MON-FRI", ["2026-11-20T13:00:00", "2026-11-20T17:00:00", "2026-11-23T09:00:00"]),
        ("0 0 0 * * 0", ["2026-11-22T00:00:00"]),
        ("0 0 0 * jan,jul sun", ["2027-01-03T00:00:00"]),
        # Both the day of the month AND the day of the week, unlike cron.
        ("0 0 0 13 * FRI", ["2027-08-13T00:00:00"]),
        ("0 0 0 29 2 *", ["2028-02-29T00:00:00"]),
    ],
)
def test_a_schedule_comes_when_the_platform_has_it_come(expression: str, comes: list[str]) -> None:
    schedule, moment, seen = Schedule.parse(expression), NOON, []
    for _ in comes:
        moment = schedule.next_after(moment)
        seen.append(moment.isoformat().removesuffix("+00:00"))
    assert seen == comes


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("*/5 * * * *", "5 field(s) instead of six"),
        ("01:00:00", "1 field(s) instead of six"),
        ("0 0 * * * * *", "7 field(s) instead of six"),
        ("", "0 field(s)"),
        ("@hourly", "1 field(s)"),
        ("0 0 0 * * 7", "'7' is not a day of the week from 0 to 6 (Sunday is 0)"),
        ("60 * * * * *", "'60' is not a second from 0 to 59"),
        ("0 0 0 0 * *", "'0' is not a day of the month from 1 to 31"),
        ("0 0 0 * * FRI-MON", "a range of day of the weeks goes upwards"),
        ("0 0 0 L * *", "'L' is not a day of the month"),
        ("0 0 0 ? * *", "'?' is not a day of the month"),
        ("0 */0 * * * *", "a step is at least 1"),
        ("0 , * * * *", "'' is not a minute"),
        ("0 ٣ * * * *", "is not a minute"),
        ("0 0 0 31 2 *", "it never comes"),
    ],
)
def test_what_the_platform_would_not_take_is_refused_with_the_reason(expression: str, why: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        Schedule.parse(expression)
    assert why in str(caught.value)
    assert "Write six fields" in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "monitored"),
    [
        ("* * * * * *", False),
        ("*/30 * * * * *", False),
        ("0 * * * * *", True),
        ("*/10 0 * * * *", True),
        ("0 0 * * * *", True),
    ],
)
def test_missed_runs_are_remembered_from_once_a_minute_up(expression: str, monitored: bool) -> None:
    for seconds in (0, 0.5, 1, 31, 59.9):
        assert Schedule.parse(expression).is_monitored(NOON + timedelta(seconds=seconds)) is monitored


def test_a_timer_that_was_never_seen_has_missed_nothing() -> None:
    status = status_at_start(HOURLY, None, NOON)
    assert (status.last, status.next) == (None, NOON + timedelta(hours=1))


@given(MOMENTS, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_a_timer_has_missed_a_run_exactly_when_one_was_due_since_its_last(last: datetime, away: timedelta) -> None:
    stored = ScheduleStatus(last=last, next=HOURLY.next_after(last), last_updated=last)
    status = status_at_start(HOURLY, stored, last + away)
    assert status == stored
    assert (status.next < last + away) is (HOURLY.next_after(last) < last + away)


@given(MOMENTS, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_a_changed_schedule_is_never_past_due(last: datetime, away: timedelta) -> None:
    daily = Schedule.parse("0 30 2 * * *")
    stored = ScheduleStatus(last=last, next=HOURLY.next_after(last), last_updated=last)
    status = status_at_start(daily, stored, last + away)
    assert status.next >= last + away
    # And it is settled: the next start changes nothing more.
    assert status_at_start(daily, status, last + away) == status


def test_a_timer_that_fires_early_does_not_fire_again() -> None:
    status = ScheduleStatus(last=None, next=NOON, last_updated=None)
    early = NOON - timedelta(milliseconds=200)
    assert status_after_run(HOURLY, status, early, on_schedule=True).next == NOON + timedelta(hours=1)
    assert status_after_run(HOURLY, status, early, on_schedule=False).next == NOON


def test_the_next_run_is_counted_from_the_start_of_the_last() -> None:
    status = ScheduleStatus(last=None, next=NOON, last_updated=None)
    started = NOON + timedelta(hours=5, minutes=10)
    after = status_after_run(HOURLY, status, started, on_schedule=True)
    assert (after.last, after.next) == (started, NOON + timedelta(hours=6))


@pytest.mark.parametrize("last", [None, NOON])
def test_a_status_survives_being_stored(last: datetime | None) -> None:
    status = ScheduleStatus(last=last, next=NOON, last_updated=last)
    assert ScheduleStatus.from_document(json.loads(json.dumps(status.to_document()))) == status


def test_a_status_that_the_platform_wrote_is_understood() -> None:
    document = {
        "Last": "0001-01-01T00:00:00+00:00",
        "Next": "2026-11-20T12:00:00+00:00",
        "LastUpdated": "2026-11-20T11:00:00.1234567+00:00",
    }
    status = ScheduleStatus.from_document(document)
    assert (status.last, status.next) == (None, NOON)

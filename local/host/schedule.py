"""When a timer is due: NCRONTAB expressions, and what a stored status says about missed runs. Pure; times are
UTC.

From azure-webjobs-sdk-extensions: CronSchedule, TimerSchedule.ShouldDisableScheduleMonitor,
ScheduleMonitor.CheckPastDueAsync and TimerListener.InvokeJobFunction.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from croniter import croniter
from croniter.croniter import CroniterBadDateError

# What .NET writes for "never": default(DateTime).
_NEVER = datetime(1, 1, 1, tzinfo=UTC)

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class ScheduleError(ValueError):
    """Not a schedule that the platform would take."""


@dataclass(frozen=True)
class _Field:
    name: str
    lowest: int
    highest: int
    names: tuple[str, ...] = ()

    def check(self, text: str) -> None:
        for item in text.split(","):
            match = re.fullmatch(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d+))?", item)
            if match is None:
                raise ScheduleError(f"{item!r} is not a {self.name}")
            first, last, step = match.groups()
            bounds = [self._number(value) for value in (first, last) if value]
            if bounds != sorted(bounds):
                raise ScheduleError(f"{item!r}: a range of {self.name}s goes upwards")
            if step is not None and int(step) < 1:
                raise ScheduleError(f"{item!r}: a step is at least 1")

    def _number(self, value: str) -> int:
        if value.upper() in self.names:
            return self.names.index(value.upper()) + self.lowest
        number = int(value) if value.isdecimal() and value.isascii() else -1
        if not self.lowest <= number <= self.highest:
            hint = " (Sunday is 0)" if self.names == _DAYS else ""
            raise ScheduleError(f"{value!r} is not a {self.name} from {self.lowest} to {self.highest}{hint}")
        return number


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 6, _DAYS),
)


@dataclass(frozen=True)
class Schedule:
    """A valid NCRONTAB expression: second, minute, hour, day, month AND day of the week."""

    expression: str

    @classmethod
    def parse(cls, expression: str) -> "Schedule":
        """Raises ScheduleError. Five fields and TimeSpans, which depend on the plan on the platform, are
        refused too.
        """
        schedule = cls(" ".join(expression.split()))
        try:
            schedule._check()
        except ScheduleError as error:
            raise ScheduleError(
                f"{expression!r} is not a schedule: {error}. "
                "Write six fields: second minute hour day month day-of-week, such as '0 30 2 * * *'"
            ) from None
        return schedule

    def _check(self) -> None:
        fields = self.expression.split()
        if len(fields) != len(_FIELDS):
            raise ScheduleError(f"it has {len(fields)} field(s) instead of six")
        for form, text in zip(_FIELDS, fields, strict=True):
            form.check(text)
        # Raises for a day that no month has.
        self.next_after(datetime(2000, 1, 1, tzinfo=UTC))

    def next_after(self, moment: datetime) -> datetime:
        try:
            dates = croniter(self.expression, moment, second_at_beginning=True, day_or=False)
            return dates.get_next(datetime)
        except CroniterBadDateError:
            raise ScheduleError("it never comes") from None

    def is_monitored(self, now: datetime) -> bool:
        """Whether missed runs are made up for: not when it comes more often than once a minute."""
        if any(field != "*" for field in self.expression.split()[1:]):
            return True
        second = self.next_after(self.next_after(now))
        return second > now + timedelta(minutes=1)


@dataclass(frozen=True)
class ScheduleStatus:
    """What the host remembers of a timer. `last` and `last_updated` are None before the first run."""

    last: datetime | None
    next: datetime
    last_updated: datetime | None

    def to_document(self) -> dict[str, str]:
        return {
            "Last": (self.last or _NEVER).isoformat(),
            "Next": self.next.isoformat(),
            "LastUpdated": (self.last_updated or _NEVER).isoformat(),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "ScheduleStatus":
        """Raises ValueError, KeyError or TypeError for anything but what `to_document` wrote."""
        last, upcoming, updated = (datetime.fromisoformat(document[name]) for name in ("Last", "Next", "LastUpdated"))
        return cls(
            last=None if last == _NEVER else last,
            next=upcoming,
            last_updated=None if updated == _NEVER else updated,
        )


def status_at_start(schedule: Schedule, stored: ScheduleStatus | None, now: datetime) -> ScheduleStatus:
    """The status to go on from. Its `next` lies before `now` when runs were missed.

    A schedule that was changed since makes no run past due.
    """
    if stored is None:
        return ScheduleStatus(last=None, next=schedule.next_after(now), last_updated=now)
    counted_from = stored.last or stored.last_updated or now
    expected = schedule.next_after(counted_from)
    if stored.next == expected:
        return stored
    if now > expected:
        counted_from, expected = now, schedule.next_after(now)
    return ScheduleStatus(last=None, next=expected, last_updated=counted_from)


def status_after_run(
    schedule: Schedule, status: ScheduleStatus, invoked_at: datetime, *, on_schedule: bool
) -> ScheduleStatus:
    """A timer that fired a little early counts as fired on time, or the same run would come again."""
    counted = max(invoked_at, status.next) if on_schedule else invoked_at
    return ScheduleStatus(last=counted, next=schedule.next_after(counted), last_updated=counted)

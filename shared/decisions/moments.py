"""Understands the moments that people name on the command line: a time with its zone, or how long ago it was."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from shared.errors import BadParameter
from shared.model import second_of

EXAMPLES = "2026-11-20T14:05:33Z, 2026-11-20T16:05+02:00, '90 minutes ago', '2 days ago' or now"

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Before this there was no Blob service: a time before it is a slip of the keyboard."""

_AGO = re.compile(r"(\d{1,9})\s*(second|minute|hour|day|week)s?\s+ago", re.IGNORECASE | re.ASCII)


def is_relative(text: str) -> bool:
    """Whether these words mean another moment each time that they are said."""
    words = text.strip()
    return words.lower() in {"", "now"} or _AGO.fullmatch(words) is not None


def parse_moment(text: str, now: datetime, latest: datetime | None = None) -> str:
    """A moment as `YYYY-MM-DDTHH:MM:SSZ`: rounded down, as Last-Modified has whole seconds.

    Args:
        text: ISO 8601 with a zone, or `2 hours ago`, or `now`.
        now: aware; what "ago" is counted from.
        latest: after which the future begins; None for `now`.

    Raises:
        BadParameter: it is neither, or lies in the future.
    """
    moment = _moment(text.strip(), now)
    present = latest or now
    if moment > present:
        raise BadParameter(f"{text!r} lies in the future: this machine's clock says {second_of(present)}")
    if moment < EARLIEST:
        raise BadParameter(f"{text!r} lies before {second_of(EARLIEST)}; expects a time such as {EXAMPLES}")
    return second_of(moment)


def _moment(text: str, now: datetime) -> datetime:
    if text.lower() == "now":
        return now
    try:
        ago = _AGO.fullmatch(text)
        if ago is not None:
            return now - timedelta(**{f"{ago[2].lower()}s": int(ago[1])})
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            datetime.fromisoformat(f"{text}Z")  # a day alone takes no zone: what is advised must be understood
            raise BadParameter(f"{text!r} has no zone: add Z for UTC, or an offset such as +02:00")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadParameter(f"{text!r} is no time that is understood; expects one such as {EXAMPLES}") from None

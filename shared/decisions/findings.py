"""What the doctor says: one finding for each thing that it looked at, and what a call answered that it tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

from shared.errors import printable

Value = TypeVar("Value", covariant=True)


class Level(StrEnum):
    """How a finding is meant: `wrong` keeps something from working, a `warning` may do so one day."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and what to do where that is not as it should be."""

    level: Level
    subject: str
    text: str
    remedy: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Trouble(StrEnum):
    """Why a call had no answer at all, as far as the client tells."""

    NAME = "its name cannot be resolved"
    REFUSED = "nothing listens there"
    TLS = "no secure connection could be made"
    TIMEOUT = "no answer in time"
    CREDENTIAL = "the request could not be authorized on this side"
    UNREACHABLE = "the connection failed"


@dataclass(frozen=True)
class Answer(Generic[Value]):
    """What came of one call.

    Attributes:
        status: the HTTP status; 200 for any success, None without an answer.
        code: the service's error code, such as AuthorizationPermissionMismatch.
        skew: how far this machine's clock is ahead of the service's; None where the service did not say.
        value: what a successful call gave.
    """

    status: int | None
    code: str = ""
    trouble: Trouble | None = None
    skew: timedelta | None = None
    value: Value | None = None

    @property
    def refused(self) -> bool:
        return self.status in {401, 403}

    def __str__(self) -> str:
        return str(self.trouble) if self.trouble else f"{self.status} {self.code}".rstrip()


def ok(subject: str, text: str) -> Finding:
    return Finding(Level.OK, subject, printable(text))


def warning(subject: str, text: str, remedy: str) -> Finding:
    return Finding(Level.WARNING, subject, printable(text), printable(remedy))


def wrong(subject: str, text: str, remedy: str) -> Finding:
    return Finding(Level.WRONG, subject, printable(text), printable(remedy))


def verdict(findings: Sequence[Finding]) -> Level:
    """The worst of them."""
    levels = {finding.level for finding in findings}
    return next((level for level in (Level.WRONG, Level.WARNING) if level in levels), Level.OK)

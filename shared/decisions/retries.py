"""What becomes of the versions of a request that could not be backed up this time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.decisions.messages import BackupRequest, Message, request
from shared.model import Version

MAX_ATTEMPTS = 5


@dataclass(frozen=True)
class Failure:
    """A version that was tried in vain, and what stood in the way."""

    version: Version
    reason: str


@dataclass(frozen=True)
class Resend:
    """Ask again, to be seen after the delay."""

    request: BackupRequest
    delay_seconds: float


@dataclass(frozen=True)
class GiveUp:
    """The last attempt failed: to the poison queue, with the reason, for people to see."""

    request: BackupRequest


def after_failures(message: Message, failures: Sequence[Failure], base_delay_seconds: float) -> list[Resend | GiveUp]:
    """Each failed version is asked for again by itself, each time after twice the delay, five attempts in all.

    Where all of a request's versions failed, none held another up: they stay together, so that an
    outage of a service does not turn every request into hundreds. Those that are given up on for
    different reasons part, since each is to stand there with its own.
    """
    if not failures:
        return []
    together = len(failures) == len(message.blobs)
    attempt = message.attempt
    if attempt >= MAX_ATTEMPTS:
        by_reason: dict[str, list[Version]] = {}
        for failure in failures:
            by_reason.setdefault(failure.reason, []).append(failure.version)
        return [
            GiveUp(request(message.container, versions, message.requested_at, attempt, reason))
            for reason, versions in by_reason.items()
        ]
    groups = [list(failures)] if together else [[failure] for failure in failures]
    delay = base_delay_seconds * 2.0 ** (attempt - 1)
    return [
        Resend(
            request(
                message.container,
                [failure.version for failure in group],
                message.requested_at,
                attempt + 1,
                group[0].reason,
            ),
            delay,
        )
        for group in groups
    ]

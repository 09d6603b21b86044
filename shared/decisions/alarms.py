"""Whether an unusual share of a container's blobs was overwritten or deleted, as by mass encryption or deletion.

An alarm stands for a container until somebody acknowledges it, or until a later reconciliation finds nothing unusual.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from shared.decisions.changes import Group
from shared.model import moment_of, second_of

SCHEMA = 1
LATELY = timedelta(hours=26)
"""What counts as of this run: reconciliation is nightly, and `protect` has snapshotted in between what changed."""

REMEDY = "if that is meant: `snapkeep alarms acknowledge {container}`"


class Thresholds(NamedTuple):
    """From where on a share is unusual; a `percent` of 0 is never."""

    percent: float
    min_blobs: int


class Share(NamedTuple):
    """How many of the blobs that a container held before were overwritten and deleted since."""

    overwritten: int
    deleted: int
    before: int

    @property
    def overwritten_percent(self) -> float:
        return _percent(self.overwritten, self.before)

    @property
    def deleted_percent(self) -> float:
        return _percent(self.deleted, self.before)

    def unusual(self, thresholds: Thresholds) -> bool:
        """Whether a person has to look at it."""
        gone = self.overwritten + self.deleted
        if not thresholds.percent or gone < thresholds.min_blobs:
            return False
        return _percent(gone, self.before) >= thresholds.percent

    def __str__(self) -> str:
        percent = _percent(self.overwritten + self.deleted, self.before)
        return (
            f"{percent:g} % of {self.before:,} blobs were overwritten ({self.overwritten:,}) or "
            f"deleted ({self.deleted:,}): possible mass encryption or deletion"
        )


@dataclass(frozen=True)
class Alarm:
    """One container's.

    Attributes:
        raised_by: `reconcile`, of the source's blobs; or `sync`, of files that only the mirror still has.
        overwritten, deleted: how many blobs it is about that were overwritten, and deleted.
        acknowledged_at: when somebody said that it is meant; None while nobody did.
    """

    container: str
    raised_at: str
    raised_by: Literal["reconcile", "sync"]
    overwritten: int
    deleted: int
    text: str
    acknowledged_at: str | None = None

    @property
    def stands(self) -> bool:
        return self.acknowledged_at is None

    @property
    def finding(self) -> str:
        """What somebody has to read of it, and what to do."""
        return f"{self.container}: {self.text}; {REMEDY.format(container=self.container)}"

    def acknowledged(self, now: datetime) -> Alarm:
        return self if self.acknowledged_at else replace(self, acknowledged_at=second_of(now))

    def excuses(self, now: datetime) -> bool:
        """Whether what it is about is still to be expected: for a day after it was acknowledged."""
        return self.acknowledged_at is not None and now - moment_of(self.acknowledged_at) < LATELY

    def document(self) -> dict[str, Any]:
        return {"schema": SCHEMA} | asdict(self)

    @classmethod
    def of(cls, document: Any) -> Alarm:
        """The alarm that was stored.

        Raises:
            ValueError: it is not as this release writes it.
        """
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise ValueError(f"expected an alarm of schema {SCHEMA}")
        try:
            alarm = cls(**{key: value for key, value in document.items() if key != "schema"})
            moment_of(alarm.raised_at)
            moment_of(alarm.acknowledged_at or alarm.raised_at)
        except TypeError as error:
            raise ValueError(f"an alarm has another form: {error}") from error
        return alarm


def lately(started_at: str) -> str:
    """Since when a blob must have been written to count, for a run that began then."""
    return second_of(moment_of(started_at) - LATELY)


def written_since(group: Group, since: str) -> Literal["overwritten", "created"] | None:
    """Whether this blob was written since, in place of what stood there before or not."""
    blob = group.blob
    if blob is None or blob.last_modified < since:
        return None
    return "overwritten" if any(snapshot.last_modified < since for snapshot in group.snapshots) else "created"


def share_of(part: dict[str, Any]) -> Share:
    """What a container's part of a coverage report says."""
    deleted = part["deleted_lately"]
    return Share(part["overwritten_lately"], deleted, part["blobs"] - part["created_lately"] + deleted)


def after_reconciliation(
    part: dict[str, Any], known: Alarm | None, thresholds: Thresholds, now: datetime
) -> Alarm | None:
    """The alarm that stands for a container after a run that came to its end; None for none.

    Args:
        part: the container's part of the report.
        known: the one that stood before. What it was about is excused once it was acknowledged.
    """
    share = fresh = share_of(part)
    if known is not None and known.excuses(now):
        overwritten, deleted = share.overwritten - known.overwritten, share.deleted - known.deleted
        fresh = share._replace(overwritten=max(0, overwritten), deleted=max(0, deleted))
    if fresh.unusual(thresholds):
        text = f"{share} within a day of the run at {part['finished_at']}"
        return Alarm(part["container"], second_of(now), "reconcile", share.overwritten, share.deleted, text)
    return known if known is not None and known.excuses(now) else None


def deletion_refusal(container: str, alarm: Alarm | None) -> str | None:
    """Why the mirror of a container must not lose files now; None when it may."""
    if alarm is None or not alarm.stands:
        return None
    return f"paused: nothing is deleted from the mirror while an alarm stands: {alarm.text}; " + REMEDY.format(
        container=container
    )


def after_comparison(
    container: str, extraneous: int, compared: int, known: Alarm | None, thresholds: Thresholds, now: datetime
) -> Alarm | None:
    """The alarm that stands before a mirror's deletions: files that only the mirror has are deleted at the source."""
    if known is not None and (known.stands or known.excuses(now)):
        return known
    share = Share(0, extraneous, compared + extraneous)
    if not share.unusual(thresholds):
        return known
    return Alarm(container, second_of(now), "sync", 0, extraneous, f"{share} since they were mirrored")


def _percent(part: int, whole: int) -> float:
    return part * 1000 // whole / 10 if whole else 0.0

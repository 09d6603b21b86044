"""When a blob was deleted, as far as reconciliations can tell, and what that means for a moment in the past."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from shared.model import Version


class Deletion(NamedTuple):
    """A blob that was there at `last_seen`, was missed at `first_missed`, and (if ever) was back by `back_by`.

    All three are times of the storage service, as `YYYY-MM-DDTHH:MM:SSZ`.
    """

    name: str
    last_seen: str
    first_missed: str
    back_by: str | None = None


class Fate(Enum):
    """Whether a version that was its blob's newest at some moment was still there at that moment."""

    THERE = "there"
    PERHAPS_DELETED = "perhaps deleted"
    DELETED = "deleted"


def fate(version: Version, at: str, deletions: Iterable[Deletion]) -> Fate:
    """Whether the newest version not after `at` was still there at `at`.

    In doubt it was: data that is back can be deleted again, data that stays away is missed.
    """
    verdict = Fate.THERE
    for deletion in deletions:
        ended_it = version.last_modified < deletion.first_missed
        over = deletion.back_by is not None and deletion.back_by <= at
        if not ended_it or over:
            continue
        if deletion.first_missed <= at:
            return Fate.DELETED
        if deletion.last_seen < at:
            verdict = Fate.PERHAPS_DELETED
    return verdict

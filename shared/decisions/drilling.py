"""A drill: what is restored how, whether what came back is the version, and the report of it all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from shared.decisions.backups import source_metadata
from shared.decisions.names import backup_name
from shared.decisions.restored import KEPT_MD5, difference
from shared.decisions.restoring import Action, Held, Job, Mode, Place, Step
from shared.decisions.sampling import Chosen
from shared.model import BlobState, Entry, Version, second_of

TOO_LARGE = "it would exceed what a drill may restore (--max-bytes)"
NOTHING_LEFT = "an earlier drill could not restore it, and neither the version nor a backup of it is left"
NO_TIME = "there was no time left for it"
TAGS_CHANGED = (
    "its index tags are not those that the source has now: they can change without a new version, and a backup "
    "keeps those of its time"
)


def job_of(container: str, version: Version, mode: Mode, target: str) -> Job:
    """The restore of one version, out of its backup and nothing else: that is what a drill tries."""
    return Job(container, version.last_modified, mode, target, target_account="backup", origin="backups")


def step_of(version: Version, backup: BlobState) -> Step:
    """The one step of that restore. `backup` is what stands under the name of the version's backup."""
    size, etag = backup.version.size, backup.version.etag
    held = Held(Place.BACKUP, version, backup_name(version), etag, size, backup.md5, backup.blob_type, backup.tier)
    return Step(Action.RESTORE, version.name, "a drill", version, (held,))


def within(chosen: Sequence[Chosen], max_bytes: int) -> tuple[list[Chosen], list[Chosen]]:
    """Those that may be restored without exceeding `max_bytes` in all, and the others."""
    taken, left = [], []
    total = 0
    for one in chosen:
        if total + one.entry.size <= max_bytes:
            total += one.entry.size
            taken.append(one)
        else:
            left.append(one)
    return taken, left


def unlike(restored: BlobState, wanted: BlobState, backup: BlobState) -> str | None:
    """In what a restored blob is not the version, as far as HEADs tell; None where it may be the same.

    Args:
        wanted: the version in the source, or its backup where the source has lost it.
        backup: whose tier counts: the source's can change without a new version.
    """
    own = source_metadata(wanted.metadata)
    differs = difference(restored, replace(wanted, metadata=own, copying=""))
    if differs is None and not backup.tier_inferred and restored.tier != backup.tier:
        differs = "access tier"
    return differs


def own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The version's own index tags, out of those of its backup."""
    return {key: value for key, value in tags.items() if key != KEPT_MD5}


@dataclass
class DrillReport:
    """What became of what was chosen.

    Attributes:
        chosen: what was to be restored.
        restored: of how many every byte and property came back.
        failed: what did not come back as it was.
        skipped: what was not tried.
        notes: what is worth knowing of versions that did come back.
    """

    run_id: str
    started_at: datetime
    chosen: list[Chosen] = field(default_factory=list)
    restored: int = 0
    bytes: int = 0
    failed: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    _settled: set[tuple[str, str, str]] = field(default_factory=set)

    def add_restored(self, chosen: Chosen) -> None:
        self._settled.add(_key(chosen))
        self.restored += 1
        self.bytes += chosen.entry.size

    def add_failed(self, chosen: Chosen, reason: str) -> None:
        """Names a version that did not come back, so that the next drill can try it again."""
        self._settled.add(_key(chosen))
        self.failed.append(_line(chosen, reason) | _version(chosen.entry))

    def add_gone(self, chosen: Chosen) -> None:
        """Names a version that an earlier drill could not restore, and of which nothing is left."""
        self._settled.add(_key(chosen))
        self.skipped.append(_line(chosen, NOTHING_LEFT))

    def add_skipped(self, chosen: Chosen, reason: str) -> None:
        """Names a version that was not tried: what an earlier drill found of it stays true."""
        self.skipped.append(_line(chosen, reason))

    def add_note(self, chosen: Chosen, reason: str) -> None:
        self.notes.append(_line(chosen, reason))

    def add_unlisted(self, container: str, reason: str) -> None:
        """Names a container of which nothing could be chosen, or which could not be removed."""
        self.failed.append({"container": container, "name": None, "etag": None, "reason": reason})

    def carry_over(self, failed: Iterable[dict[str, Any]]) -> None:
        """Names once more what an earlier drill could not restore, and this one did not get to."""
        again = [(one, line) for line in failed if (one := to_try_again(line)) is not None]
        self.failed += [line for one, line in again if _key(one) not in self._settled]

    def to_json(self, now: datetime) -> dict[str, Any]:
        """As it stands in the state."""
        result = "failed" if self.failed else "succeeded" if self.restored else "nothing to restore"
        return {
            "schema": 1,
            "kind": "drill",
            "run_id": self.run_id,
            "started_at": second_of(self.started_at),
            "finished_at": second_of(now),
            "result": result,
            "picked": len(self.chosen),
            "restored": self.restored,
            "bytes": self.bytes,
            "failed": self.failed,
            "skipped": self.skipped,
            "notes": self.notes,
        }


def to_try_again(failed: Mapping[str, Any]) -> Chosen | None:
    """A version that an earlier drill could not restore; None for a failure that was no version's."""
    if failed["name"] is None:
        return None
    entry = Entry(failed["name"], None, failed["etag"], failed["last_modified"], failed["size"])
    return Chosen(failed["container"], entry)


def and_again(failed: Iterable[Mapping[str, Any]], chosen: Sequence[Chosen]) -> list[Chosen]:
    """What an earlier drill could not restore, and then what was chosen for this one."""
    known = {_key(one) for one in chosen}
    again = [one for line in failed if (one := to_try_again(line)) is not None]
    return [*(one for one in again if _key(one) not in known), *chosen]


def _key(chosen: Chosen) -> tuple[str, str, str]:
    return chosen.container, chosen.entry.name, chosen.entry.etag


def _line(chosen: Chosen, reason: str) -> dict[str, Any]:
    return {"container": chosen.container, "name": chosen.entry.name, "etag": chosen.entry.etag, "reason": reason}


def _version(entry: Entry) -> dict[str, Any]:
    return {"last_modified": entry.last_modified, "size": entry.size}

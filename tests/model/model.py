"""The reference model: what truly happened to every blob, in plain dictionaries, and what a restore must make of it.

It is written from the contract alone and shares no code with the product. All times are the storage service's,
`YYYY-MM-DDTHH:MM:SSZ`, and no two events share a second, so that text order is the true order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple


class Content(NamedTuple):
    """All that a reader of a blob gets, and that must come back with it.

    `headers`, `metadata` and `tags` are sorted pairs. `tier` is the one that was asked for; empty where none was.
    """

    body: bytes
    kind: str = "BlockBlob"
    headers: tuple[tuple[str, str], ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    tier: str = ""


class Version(NamedTuple):
    """One state that a blob had, from `last_modified` on."""

    name: str
    etag: str
    last_modified: str
    content: Content


class Deletion(NamedTuple):
    """The blob was deleted, with its snapshots."""

    at: str


class Reconciliation(NamedTuple):
    """When one ran; one that was not `complete` may have recorded something, or nothing."""

    began: str
    ended: str
    complete: bool


Holds = Callable[[Version], bool]
"""Whether a version still stands somewhere that the restore may take it from."""


@dataclass
class History:
    """The events of every name, oldest first, and the reconciliations."""

    events: dict[str, list[Version | Deletion]] = field(default_factory=dict)
    reconciliations: list[Reconciliation] = field(default_factory=list)

    def written(self, version: Version) -> None:
        events = self.events.setdefault(version.name, [])
        if events and _second(events[-1]) == version.last_modified:
            events.pop()  # a state of a blob that is being written; nobody can have seen it
        events.append(version)

    def deleted(self, name: str, at: str) -> None:
        self.events[name].append(Deletion(at))

    def versions(self, name: str) -> list[Version]:
        return [event for event in self.events.get(name, []) if isinstance(event, Version)]

    def version(self, name: str, etag: str) -> Version | None:
        return next((version for version in self.versions(name) if version.etag == etag), None)

    def live(self) -> dict[str, Version]:
        """What stands in the container now."""
        last = {name: events[-1] for name, events in self.events.items()}
        return {name: event for name, event in last.items() if isinstance(event, Version)}

    def moments(self) -> list[str]:
        """Every second in which something happened, in order."""
        seconds = {_second(event) for events in self.events.values() for event in events}
        for run in self.reconciliations:
            seconds |= {run.began, run.ended}
        return sorted(seconds)

    def restored(self, name: str, at: str, holds: Holds, *, include_deleted: bool = False) -> set[Version | None]:
        """The answers that are right for this name in a restore to the state of `at`: a version, or None for no blob.

        It is one answer, but where Snapkeep cannot know better. The newest version not after the moment that is
        still held comes back, unless a reconciliation recorded by then that the blob was gone.
        """
        known = [version for version in self.versions(name) if version.last_modified <= at and holds(version)]
        if not known:
            return {None}
        newest = known[-1]
        if include_deleted:
            return {newest}
        answers: set[Version | None] = {newest}
        for gone, back in self._absences(name, newest):
            if gone > at:
                continue
            missed = [run for run in self.reconciliations if run.began < (back or "~") and run.ended > gone]
            certain = [
                run for run in missed if run.complete and run.began > gone and (back is None or run.ended < back)
            ]
            if any(run.ended <= at for run in certain) and (back is None or back > at):
                return {None}
            if any(run.began <= at for run in missed):
                answers.add(None)
        return answers

    def _absences(self, name: str, since: Version) -> list[tuple[str, str | None]]:
        """When the blob was deleted after this version, and when it was created again, if it was."""
        events = self.events[name]
        later = events[events.index(since) + 1 :]
        found: list[tuple[str, str | None]] = []
        for position, event in enumerate(later):
            if isinstance(event, Deletion):
                following = later[position + 1] if position + 1 < len(later) else None
                found.append((event.at, None if following is None else _second(following)))
        return found


def second_before(second: str) -> str:
    return (datetime.fromisoformat(second) - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _second(event: Version | Deletion) -> str:
    return event.last_modified if isinstance(event, Version) else event.at


def short(name: str) -> str:
    """A blob's name as it stands in a story."""
    return repr(name) if len(name) <= 60 else f"{name[:40]!r}... ({len(name)} characters)"

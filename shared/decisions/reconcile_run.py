"""How far a reconciliation is: carried over from one invocation to the next, and from one instance to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from shared.decisions.joining import ORDERS
from shared.decisions.reporting import ContainerReport
from shared.decisions.sampling import Sampler
from shared.decisions.shards import MARKS_PER_SHARD, Piece
from shared.model import Entry

CHECKPOINT_SCHEMA = 5
"""To be raised with every change of what a checkpoint, or the document of a shard, holds."""


class Position(NamedTuple):
    """A page of a listing that is made of pieces: which of them, and the service's marker in it."""

    piece: int = 0
    marker: str | None = None


BEGINNING = Position()


@dataclass
class Progress:
    """How far a container, or one shard of it, was gone through.

    Attributes:
        order: how its listings are taken to be sorted.
        source: the next page of its blobs; None before the first.
        backups: the page of its backups in which it is, where they are joined.
        source_pieces, backup_pieces: what is listed in each account; None before that is known.
        carry: the entries of the name in which the last page ended.
        join: the state of the join, where there is one.
        begun: whether any page was read; `listed_from` is when the service gave the first, None should it not say so.
        seen_long: hashed folders of backups whose blobs were seen.
        marks: some names, evenly spread, by which the next run cuts it into shards; `unmarked` since the last.
    """

    report: ContainerReport
    order: str = ORDERS[0]
    source: Position | None = None
    backups: Position = BEGINNING
    source_pieces: list[Piece] | None = None
    backup_pieces: list[Piece] | None = None
    carry: list[Entry] = field(default_factory=list)
    join: dict[str, Any] | None = None
    begun: bool = False
    listed_from: str | None = None
    seen_long: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    unmarked: int = 0

    def restart(self) -> None:
        """Goes back to the beginning, to read listings that are sorted otherwise than was believed."""
        fresh = Progress(self.report.restarted(), ORDERS[ORDERS.index(self.order) + 1])
        fresh.source_pieces, fresh.backup_pieces = self.source_pieces, self.backup_pieces
        vars(self).update(vars(fresh))

    def mark(self, names: Sequence[str], shard_blobs: int) -> None:
        """Notes down some of these names, which were listed next."""
        every = mark_every(shard_blobs)
        first = every - 1 - self.unmarked
        self.marks += names[first::every] if first < len(names) else []
        self.unmarked = (self.unmarked + len(names)) % every

    def document(self) -> dict[str, Any]:
        """As a checkpoint holds it."""
        return {
            **{name: getattr(self, name) for name in ("order", "join", "begun", "listed_from", "unmarked")},
            **{name: list(getattr(self, name)) for name in ("backups", "seen_long", "marks")},
            "report": asdict(self.report),
            "source": list(self.source) if self.source else None,
            "source_pieces": _rows(self.source_pieces),
            "backup_pieces": _rows(self.backup_pieces),
            "carry": [list(entry) for entry in self.carry],
        }

    @classmethod
    def of(cls, document: dict[str, Any]) -> Progress:
        """The progress that `document` was made of."""
        values = dict(document)
        values["report"] = ContainerReport(**values["report"])
        values["source"] = Position(*values["source"]) if values["source"] else None
        values["backups"] = Position(*values["backups"])
        values["carry"] = [Entry(*entry) for entry in values["carry"]]
        for name in ("source_pieces", "backup_pieces"):
            values[name] = None if values[name] is None else [Piece(*piece) for piece in values[name]]
        return cls(**values)


def mark_every(shard_blobs: int) -> int:
    """After how many blobs a name is noted down."""
    return max(1, shard_blobs // MARKS_PER_SHARD)


def _rows(pieces: list[Piece] | None) -> list[list[Any]] | None:
    return None if pieces is None else [list(piece) for piece in pieces]


@dataclass
class Run:
    """One reconciliation of all containers.

    Attributes:
        sampler: has been offered all protected versions so far, but those of shards.
        done: the containers that were gone through.
        current: the one that is being gone through by the instance that reconciles.
        shards: the containers that were cut into shards, and into how many.
    """

    run_id: str
    started_at: str
    sampler: Sampler
    done: list[ContainerReport] = field(default_factory=list)
    current: Progress | None = None
    shards: dict[str, int] = field(default_factory=dict)

    def begin(self, container: str) -> Progress:
        """The container's progress, as far as it is."""
        if self.current is None or self.current.report.container != container:
            self.current = Progress(ContainerReport(container))
        return self.current

    def end(self, report: ContainerReport) -> None:
        """A container was gone through, be it with an error."""
        self.done.append(report)
        self.shards.pop(report.container, None)
        self.current = None

    @property
    def proves(self) -> bool:
        """Whether any backups are to be proven in the end."""
        return self.sampler.percent > 0 or self.sampler.drill_blobs > 0

    @property
    def parts(self) -> list[ContainerReport]:
        """The reports of all containers so far, but of those that are cut into shards."""
        return self.done + ([self.current.report] if self.current else [])

    def document(self) -> dict[str, Any]:
        """As a checkpoint holds it."""
        return {
            "schema": CHECKPOINT_SCHEMA,
            "run_id": self.run_id,
            "started_at": self.started_at,
            "sampler": self.sampler.document(),
            "done": [asdict(part) for part in self.done],
            "current": self.current.document() if self.current else None,
            "shards": self.shards,
        }

    @classmethod
    def of(cls, document: dict[str, Any]) -> Run | None:
        """The run that was saved; None for one that another release saved otherwise: it begins anew."""
        if document.get("schema") != CHECKPOINT_SCHEMA:
            return None
        current = document["current"]
        return cls(
            document["run_id"],
            document["started_at"],
            Sampler.of(document["sampler"]),
            [ContainerReport(**part) for part in document["done"]],
            Progress.of(current) if current else None,
            document["shards"],
        )


@dataclass
class ShardRun:
    """What one shard's document holds: how far it is, and what came of it.

    Attributes:
        sampler: has been offered the shard's protected versions.
        strays: folders of backups that stand among the shard's, and are another's: each with its newest name.
        failures: how often it failed.
        begun: how often it was begun since it last got on.
        done: whether it is at its end, be it with an error.
    """

    progress: Progress
    sampler: Sampler
    strays: dict[str, str] = field(default_factory=dict)
    failures: int = 0
    begun: int = 0
    done: bool = False

    def document(self) -> dict[str, Any]:
        return {
            "schema": CHECKPOINT_SCHEMA,
            "progress": self.progress.document(),
            "sampler": self.sampler.document(),
            "strays": self.strays,
            "failures": self.failures,
            "begun": self.begun,
            "done": self.done,
        }

    @classmethod
    def of(cls, document: dict[str, Any] | None) -> ShardRun | None:
        """The shard's state that was saved; None where there is none, or another release saved it otherwise."""
        if not document or document.get("schema") != CHECKPOINT_SCHEMA:
            return None
        values = (document["strays"], document["failures"], document["begun"], document["done"])
        return cls(Progress.of(document["progress"]), Sampler.of(document["sampler"]), *values)

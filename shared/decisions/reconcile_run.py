"""How far a reconciliation is: carried over from one invocation to the next by a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from shared.decisions.reporting import ContainerReport
from shared.decisions.sampling import Sampler
from shared.model import Entry

CHECKPOINT_SCHEMA = 4
"""To be raised with every change of what a checkpoint holds."""


@dataclass
class Run:
    """One reconciliation of all containers.

    Attributes:
        sampler: has been offered all protected versions so far.
        done: the containers that were gone through.
        current: the one that is being gone through; what follows is of it.
        marker: where its listing goes on; None at its beginning.
        carry: the entries of the name in which the last page ended.
        listed_from: when the service began to list its backups and then its blobs; None where it did not say so.
    """

    run_id: str
    started_at: str
    sampler: Sampler
    done: list[ContainerReport] = field(default_factory=list)
    current: ContainerReport | None = None
    marker: str | None = None
    carry: list[Entry] = field(default_factory=list)
    listed_from: str | None = None

    def begin(self, container: str) -> ContainerReport:
        """The container's report, as far as it is; the position is where to go on in it."""
        if self.current is not None and self.current.container == container:
            return self.current
        report = ContainerReport(container)
        self._at_its_beginning(report)
        return report

    def end(self, report: ContainerReport) -> None:
        """The current container was gone through, be it with an error."""
        self.done.append(report)
        self._at_its_beginning(None)

    def _at_its_beginning(self, current: ContainerReport | None) -> None:
        self.current, self.marker, self.carry, self.listed_from = current, None, [], None

    @property
    def proves(self) -> bool:
        """Whether any backups are to be proven in the end."""
        return self.sampler.percent > 0 or self.sampler.drill_blobs > 0

    @property
    def parts(self) -> list[ContainerReport]:
        """The reports of all containers so far."""
        return self.done + ([self.current] if self.current else [])

    def document(self) -> dict[str, Any]:
        """As a checkpoint holds it."""
        return {
            "schema": CHECKPOINT_SCHEMA,
            "run_id": self.run_id,
            "started_at": self.started_at,
            "sampler": self.sampler.document(),
            "done": [asdict(part) for part in self.done],
            "current": asdict(self.current) if self.current else None,
            "marker": self.marker,
            "carry": [list(entry) for entry in self.carry],
            "listed_from": self.listed_from,
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
            ContainerReport(**current) if current else None,
            document["marker"],
            [Entry(*values) for values in document["carry"]],
            document["listed_from"],
        )

"""The reports of proofs: what a verification found, and how a drill went."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from shared.decisions.verification import Problem
from shared.model import second_of

MAX_LISTED = 1000
"""How many problems a report names for each container; it counts all."""


@dataclass
class ContainerProof:
    """One container's part of a verification.

    Attributes:
        versions: what was looked for: versions that the source holds, and those that backups alone hold.
        checked: backups that were found and judged by what a listing, or a HEAD, tells.
        bytes_checked: backups whose bytes were read and compared with something.
        unprotectable: versions without a backup that the coverage report gives the reason for.
        unproven: backups for whose content nothing speaks: no claim and no MD5; or, where their bytes were to be
            read, nothing to compare them with.
        archived: backups whose bytes could not be read without rehydrating them.
        mirrored: files that `sync` keeps in the same container.
        hashes_kept: backups that keep the hash of their bytes since now.
        hashes_not_kept: those that should, but could not: it is read from the source again the next time.
    """

    container: str
    versions: int = 0
    checked: int = 0
    bytes_checked: int = 0
    bytes_read: int = 0
    problems: int = 0
    problems_by_kind: dict[str, int] = field(default_factory=dict)
    listed: list[dict[str, Any]] = field(default_factory=list)
    unprotectable: int = 0
    unproven: int = 0
    archived: int = 0
    mirrored: int = 0
    hashes_kept: int = 0
    hashes_not_kept: int = 0
    note: str | None = None
    error: str | None = None

    def add(self, problem: Problem) -> None:
        """Counts a problem, and names it while there is room."""
        self.carry_over(problem._asdict() | {"kind": problem.kind.value})

    def carry_over(self, line: dict[str, Any]) -> None:
        """Counts a problem as an earlier report has it, which was not looked at again."""
        self.problems += 1
        kind = str(line["kind"])
        self.problems_by_kind[kind] = self.problems_by_kind.get(kind, 0) + 1
        if len(self.listed) < MAX_LISTED:
            self.listed.append(line)


def verify_report(
    run_id: str,
    started_at: datetime,
    now: datetime,
    containers: list[ContainerProof],
    *,
    percent: float,
    by_bytes: bool,
    since: str | None,
    complete: bool = True,
) -> dict[str, Any]:
    """The whole report of a verification. It is complete when every container was gone through to its end."""
    counts = ("versions", "checked", "bytes_checked", "bytes_read", "problems")
    return {
        "schema": 1,
        "kind": "verify",
        "run_id": run_id,
        "started_at": second_of(started_at),
        "finished_at": second_of(now),
        "complete": complete and all(part.error is None for part in containers),
        "mode": "bytes" if by_bytes else "metadata",
        "percent": percent,
        "since": since,
        "totals": {name: sum(getattr(part, name) for part in containers) for name in counts},
        "containers": [asdict(part) for part in containers],
    }


def with_partial(latest: dict[str, Any] | None, partial: dict[str, Any]) -> dict[str, Any]:
    """The latest report with what a run over some containers, or some time, found since.

    How things are is known of the whole as of the run over all; but what is bad since then is bad, and a
    container that was looked at in full is what it was found to be.
    """
    if latest is None:
        return {**partial, "complete": False, "since": None}
    found = {part["container"]: part for part in partial["containers"]}
    parts = [_with_part(part, found.pop(part["container"], None), partial["since"]) for part in latest["containers"]]
    complete = latest["complete"] and (partial["since"] is None or not found)
    parts += found.values()
    complete = complete and all(part["error"] is None for part in parts)
    totals = {name: sum(part[name] for part in parts) for name in latest["totals"]}
    return {**latest, "complete": complete, "totals": totals, "containers": parts}


def _with_part(known: dict[str, Any], found: dict[str, Any] | None, since: str | None) -> dict[str, Any]:
    if found is None:
        return known
    if since is None and found["error"] is None:
        return found
    named = {line["backup"] for line in known["listed"]}
    fresh = [line for line in found["listed"] if line["backup"] not in named]
    by_kind = dict(known["problems_by_kind"])
    for line in fresh:
        by_kind[line["kind"]] = by_kind.get(line["kind"], 0) + 1
    return {
        **known,
        "problems": known["problems"] + len(fresh),
        "problems_by_kind": by_kind,
        "listed": (known["listed"] + fresh)[:MAX_LISTED],
        "error": found["error"] or known["error"],
    }


def report_names(kind: str, run_id: str, finished_at: str) -> tuple[str, str]:
    """Under which names a report of this kind ("verify", "drill") is stored: its own, and the latest's."""
    compact = finished_at.replace("-", "").replace(":", "")
    return f"reports/{kind}-{compact}-{run_id}.json", f"reports/{kind}-latest.json"

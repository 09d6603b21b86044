"""Storage calls per million blobs, as they were counted: kept in calls.json, computed from two counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.report import plain_table

CALLS = Path(__file__).parent / "calls.json"
COLUMNS = ("list", "write", "read", "other", "delete", "queue", "activity_runs", "copies")
"""The types of calls to storage as they are billed, and what Data Factory bills."""

MILLION = 1_000_000


@dataclass(frozen=True)
class Job:
    """What one job makes of calls for a million blobs."""

    approach: str
    job: str
    per_million: Mapping[str, float]


@dataclass(frozen=True)
class Calls:
    """All jobs that were counted."""

    jobs: tuple[Job, ...]

    def to_json(self) -> str:
        return json.dumps([vars(job) for job in self.jobs], indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Calls:
        return cls(tuple(Job(**job) for job in json.loads(text)))

    @classmethod
    def kept(cls) -> Calls:
        """What the last whole run counted."""
        return cls.from_json(CALLS.read_text())

    def table(self) -> str:
        header = ["", "job", *(column.replace("_", " ") for column in COLUMNS)]
        rows = [
            [job.approach, job.job, *(f"{job.per_million.get(column, 0):,.0f}" for column in COLUMNS)]
            for job in self.jobs
        ]
        return plain_table(header, rows)


def total(*counts: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """The calls of all accounts together, by type."""
    return added(*(account for each in counts for account in each.values()))


def added(*counts: Mapping[str, float]) -> dict[str, float]:
    """Counts by name, added up."""
    return {name: sum(each.get(name, 0) for each in counts) for name in {name for each in counts for name in each}}


def slope(few: Mapping[str, float], many: Mapping[str, float], blobs: int) -> dict[str, float]:
    """What a million more blobs cost, given the counts of two runs of which one had so many more `blobs`."""
    return {
        column: max(0.0, round((many.get(column, 0) - few.get(column, 0)) / blobs * MILLION))
        for column in COLUMNS
        if column in few or column in many
    }

"""What counted calls cost in money, at prices that are a parameter: the table of docs/cost.md."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from bench.calls import Calls, Job
from bench.report import plain_table

PRICES = Path(__file__).parent / "prices.json"
PAGE = Path(__file__).parent.parent / "docs/cost.md"
_BEGIN, _END = "<!-- python -m bench cost: begin -->", "<!-- python -m bench cost: end -->"


class PricesError(Exception):
    """A file of prices is not one; the message says what is wrong with it."""


@dataclass(frozen=True)
class Prices:
    """Prices in one currency. Calls by type, per 10,000 of them; Data Factory by what it bills.

    A copy is billed by the whole minute (`factory_copy_minutes`), for as many data integration units as it takes:
    between `factory_least_units` and `factory_most_units`.
    """

    list: float
    write: float
    read: float
    other: float
    delete: float
    queue: float
    factory_1000_activity_runs: float
    factory_unit_hour: float
    factory_least_units: float
    factory_most_units: float
    factory_copy_minutes: float

    @classmethod
    def read_file(cls, path: Path) -> Prices:
        """Raises PricesError unless the file holds a number for each, and nothing else but a `note`."""
        try:
            given = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise PricesError(f"{path}: {error}") from error
        names = {field.name for field in fields(cls)}
        if not isinstance(given, dict) or set(given) - {"note"} != names:
            raise PricesError(f"{path}: expects a JSON object with just these numbers: {', '.join(sorted(names))}")
        wrong = [name for name in names if isinstance(given[name], bool) or not isinstance(given[name], int | float)]
        if wrong or any(given[name] < 0 for name in names):
            raise PricesError(f"{path}: every price must be a number, 0 or more: {', '.join(sorted(wrong or names))}")
        return cls(**{name: float(given[name]) for name in names})


@dataclass(frozen=True)
class Cost:
    """What a job costs for a million blobs. Data Factory's part lies between two bounds."""

    storage: float
    factory_least: float
    factory_most: float


def cost_of(per_million: Mapping[str, float], prices: Prices) -> Cost:
    types = ("list", "write", "read", "other", "delete", "queue")
    storage = sum(per_million.get(name, 0) / 10_000 * float(getattr(prices, name)) for name in types)
    activities = per_million.get("activity_runs", 0) / 1000 * prices.factory_1000_activity_runs
    per_unit = per_million.get("copies", 0) * prices.factory_copy_minutes / 60 * prices.factory_unit_hour
    return Cost(
        storage,
        activities + per_unit * prices.factory_least_units,
        activities + per_unit * prices.factory_most_units,
    )


def table(calls: Calls, prices: Prices) -> str:
    """What each job costs per million blobs, and which calls make it up."""
    return plain_table(
        ["", "job", "calls per million blobs", "storage calls", "Data Factory", "together"],
        [_row(job, cost_of(job.per_million, prices)) for job in calls.jobs],
    )


def _row(job: Job, cost: Cost) -> list[str]:
    made = ", ".join(f"{count:,.0f} {name.replace('_', ' ')}" for name, count in job.per_million.items() if count)
    factory = _money(cost.factory_least, cost.factory_most) if cost.factory_most else ""
    together = _money(cost.storage + cost.factory_least, cost.storage + cost.factory_most)
    return [job.approach, job.job, made, _money(cost.storage, cost.storage), factory, together]


def _money(least: float, most: float) -> str:
    shown = [_shown(value) for value in (least, most)]
    return f"${shown[0]}" if shown[0] == shown[1] else f"${shown[0]} to ${shown[1]}"


def _shown(value: float) -> str:
    """Cents, but for what is so little that nothing would be left of it, or so much that nobody asks."""
    if value < 1:
        return f"{value:.2g}"
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def with_table(page: str, calls: Calls, prices: Prices) -> str:
    """The page with its table computed anew."""
    pattern = re.compile(rf"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no place for the table: {_BEGIN} ... {_END}")
    return pattern.sub(lambda _: f"{_BEGIN}\n\n{table(calls, prices)}\n\n{_END}", page)


def write_page(calls: Calls) -> None:
    PAGE.write_text(with_table(PAGE.read_text(), calls, Prices.read_file(PRICES)))

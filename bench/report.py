"""Turns measurements into Markdown: tables of medians, spreads and ratios, goals that hold or do not, sections."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.measure import Series, Usage


@dataclass(frozen=True)
class Measure:
    """One column: what is computed of a usage, and whether more of it is better. `decimals` in the table."""

    title: str
    of: Callable[[Usage], float]
    more_is_better: bool
    decimals: int = 0

    def median(self, series: Series) -> float:
        return statistics.median(self.of(usage) for usage in series.usages)

    def spread(self, series: Series) -> str:
        """The median, and the lowest and highest."""
        values = [self.of(usage) for usage in series.usages]
        shown = [f"{value:,.{self.decimals}f}" for value in (statistics.median(values), min(values), max(values))]
        return f"{shown[0]} ({shown[1]} to {shown[2]})"

    def advantage(self, ours: Series, theirs: Series) -> float:
        """How many times better ours is, by the medians; below 1 it is worse."""
        mine, other = self.median(ours), self.median(theirs)
        return mine / other if self.more_is_better else other / mine


PER_SECOND = Measure("per second", lambda usage: usage.done / usage.wall_seconds, more_is_better=True)
PER_CPU_SECOND = Measure("per second of CPU", lambda usage: usage.done / usage.cpu_seconds, more_is_better=True)
CPU_MICROSECONDS = Measure("CPU µs each", lambda usage: usage.cpu_seconds / usage.done * 1e6, more_is_better=False)
WALL_SECONDS = Measure("wall s", lambda usage: usage.wall_seconds, more_is_better=False, decimals=2)
CPU_SECONDS = Measure("CPU s", lambda usage: usage.cpu_seconds, more_is_better=False, decimals=2)
MEGABYTES_PER_SECOND = Measure("MB/s", lambda usage: usage.done / 1e6 / usage.wall_seconds, more_is_better=True)


@dataclass(frozen=True)
class Goal:
    """What is wanted of a number, and what it was."""

    text: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def holds(self) -> bool:
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def __str__(self) -> str:
        wanted = f"at least {self.at_least:,g}" if self.at_least is not None else f"at most {self.at_most:,g}"
        verdict = "holds" if self.holds else "**does not hold**"
        return f"- {self.text}: {_significant(self.value)}, goal {wanted}: {verdict}"


def table(series: Sequence[Series], measures: Sequence[Measure], subject: str = "") -> str:
    """One row for each contestant; the first is ours, and the ratios say how many times better it is."""
    header = [subject, *(title for each in measures for title in (each.title, "ours, times as good")), "how it is run"]
    lines = [_row(header), _row(["---"] * len(header))]
    for each in series:
        cells = [each.name]
        for measure in measures:
            ratio = "" if each is series[0] else f"**{_significant(measure.advantage(series[0], each))}**"
            cells += [measure.spread(each), ratio]
        lines.append(_row([*cells, each.settings]))
    return "\n".join(lines)


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([_row(header), _row(["---"] * len(header)), *(_row(row) for row in rows)])


def goals(found: Sequence[Goal]) -> str:
    return "\n".join(str(goal) for goal in found)


def with_section(text: str, title: str, body: str, order: Sequence[str]) -> str:
    """`text` with its section `title` holding `body`; sections stand in this order, others after them."""
    head, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    bodies = {name: rest.strip() for name, _, rest in (section.partition("\n") for section in sections)}
    bodies[title] = body.strip()
    titles = [each for each in order if each in bodies] + [each for each in bodies if each not in order]
    return "\n\n".join([head.rstrip(), *(f"## {each}\n\n{bodies[each]}" for each in titles)]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _significant(value: float) -> str:
    """Three digits are more than such a measurement is worth."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

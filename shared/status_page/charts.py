"""The history as charts: SVG that pygal lays out, without its script and style: the page's own give it its colours.

A run that did not come to its end is a gap in the line: what it would have found is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pygal  # type: ignore[import-untyped]
from markupsafe import Markup
from pygal.etree import etree  # type: ignore[import-untyped]

from shared import wording
from shared.decisions.status import percent
from shared.decisions.status_documents import CoveragePoint

WIDTH, HEIGHT = 380, 170
"""Of the drawing's own units; a phone shows them at nearly their size."""

_LOWEST_PERCENTS = (99, 95, 90, 80, 50, 0)
_STEPS = (2, 4, 6, 8, 10)
_UNITS = ((2 * 86400, 86400, "d"), (2 * 3600, 3600, "h"), (0, 60, "min"))
_ROUND = {"min": (2, 10, 30, 60, 120), "h": (4, 12, 24, 48)}
"""Where the scale of minutes and hours may end; that of days has no end."""


@dataclass(frozen=True)
class Chart:
    """A drawing, and what it shows for those who don't see it."""

    title: str
    summary: str
    svg: Markup


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    unit: str

    def shown(self, value: float) -> str:
        return f"{value:g} {self.unit}"


def coverage_chart(history: Sequence[CoveragePoint]) -> Chart | None:
    """The share of the versions that are protected; None without a run that tells it."""
    values = [percent(run.protected, run.versions) if run.complete else None for run in history]
    known = [value for value in values if value is not None]
    if not known:
        return None
    low = next(lowest for lowest in _LOWEST_PERCENTS if min(known) >= lowest)
    summary = _told([wording.percent(value) for value in (min(known), max(known), known[-1])])
    return _chart("Versions protected", summary, history, values, _Axis(low, 100, "%"))


def recovery_chart(history: Sequence[CoveragePoint]) -> Chart | None:
    """The age of the oldest unprotected version at each run, 0 without one; None without a run that tells it."""
    # A version can be younger than nothing, when the app's clock is behind the service's.
    seconds = [max(run.oldest_unprotected_seconds or 0, 0) if run.complete else None for run in history]
    known = [value for value in seconds if value is not None]
    if not known:
        return None
    unit_seconds, unit = next((size, name) for least, size, name in _UNITS if max(known) >= least)
    values = [None if value is None else value / unit_seconds for value in seconds]
    summary = _told([wording.age(value) for value in (min(known), max(known), known[-1])])
    return _chart(
        "Age of the oldest unprotected version",
        summary,
        history,
        values,
        _Axis(0, _ceiling(max(known) / unit_seconds, unit), unit),
    )


def _told(values: Sequence[str]) -> str:
    """The least, the greatest and the last value in words."""
    least, greatest, last = values
    return f"{last} throughout." if least == greatest else f"From {least} to {greatest}, {last} at last."


def _ceiling(value: float, unit: str) -> float:
    """A round number, not below the value, whose half is one too."""
    for end in _ROUND.get(unit, ()):
        if value <= end:
            return end
    power = 1.0
    while value > 10 * power:
        power *= 10
    return next(step * power for step in _STEPS if value <= step * power)


def _chart(
    title: str, summary: str, history: Sequence[CoveragePoint], values: Sequence[float | None], axis: _Axis
) -> Chart:
    times = [run.finished_at.astimezone(UTC).replace(tzinfo=None) for run in history]
    drawing = pygal.DateTimeLine(
        width=WIDTH,
        height=HEIGHT,
        margin=6,
        js=[],
        no_prefix=True,
        show_legend=False,
        dots_size=1.8,
        truncate_label=-1,
        range=(axis.low, axis.high),
        y_labels=[axis.low, (axis.low + axis.high) / 2, axis.high],
        x_labels=_marks(times),
        x_value_formatter=_day,
        value_formatter=axis.shown,
    )
    drawing.add(title, list(zip(times, values, strict=True)), allow_interruptions=True)
    return Chart(title, summary, _bare(drawing.render_tree(), f"{title}: {summary}"))


def _marks(times: Sequence[datetime]) -> list[datetime]:
    """The first and the last time, and the middle between them."""
    first, last = min(times), max(times)
    return [first] if first == last else [first, first + (last - first) / 2, last]


def _day(time: datetime) -> str:
    return f"{time.day} {time:%b}"


def _bare(drawing: Any, alternative: str) -> Markup:
    """The drawing without what the page's policy refuses, or its style sheet does: scripts, styles, empty frames."""
    for parent in list(drawing.iter()):
        for child in list(parent):
            if not isinstance(child.tag, str) or child.tag in {"defs", "title"} or _is_frame(child):
                parent.remove(child)
    for group in drawing.iter("g"):
        if group.get("class") == "dots":
            _name_dot(group)
    for element in drawing.iter():
        element.attrib.pop("style", None)
    for name in ("id", "xmlns"):
        drawing.attrib.pop(name, None)
    drawing.set("role", "img")
    drawing.set("aria-label", alternative)
    # pygal was given no text but titles, dates and numbers of ours, and its tree escapes what it holds.
    return Markup(etree.tostring(drawing, encoding="unicode"))  # noqa: S704


def _is_frame(element: Any) -> bool:
    """A background, or a layer that pygal's script would fill."""
    return not {"background", "text-overlay", "tooltip-overlay"}.isdisjoint(element.get("class", "").split())


def _name_dot(group: Any) -> None:
    """A dot is told by the browser's own tooltip, in place of pygal's, which needs its script."""
    value = next(child.text for child in group if child.tag == "desc" and child.get("class") == "value")
    for child in list(group):
        if child.tag == "desc":
            group.remove(child)
    title = etree.SubElement(group.find("circle"), "title")
    title.text = value

"""The status as one HTML page that needs nothing but itself: no network, no script but its own small one.

Whatever stands in a report can stand in a blob's name, and reaches people's browsers here. Three things keep it
inert: the template escapes all values; characters that are invisible, or turn the text around them, are shown by
their numbers; and the page's own policy lets no other script or style than these two run.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from shared import wording
from shared.decisions.status import Status
from shared.status_page.charts import coverage_chart, recovery_chart

_FOLDER = Path(__file__).parent
_CODE = re.compile(r"`([^`]+)`")


def render(status: Status) -> str:
    """The page."""
    style, script = _text("page.css"), _text("page.js")
    return (
        _environment()
        .get_template("page.html")
        .render(
            status=status,
            charts=[chart for chart in (coverage_chart(status.history), recovery_chart(status.history)) if chart],
            unfinished=sum(not run.complete for run in status.history),
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(_FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": wording.visible,
        "minute": wording.minute,
        "age": wording.age,
        "count": wording.count,
        "percent": wording.percent,
        "with_code": _with_code,
    }
    return environment


def _with_code(text: str) -> Markup:
    """The text, escaped, with what stands between backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 -- escaped just here


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a Content-Security-Policy names what may stand in a page."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"

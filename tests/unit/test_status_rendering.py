"""The status page as text: it needs nothing but itself, and whatever stands in a name stays text.

What a browser makes of it is looked at in `tests/e2e/test_status_page.py`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.status import status
from shared.decisions.status_documents import CoveragePoint, Unreadable
from shared.status_page import render
from shared.status_page.charts import coverage_chart, recovery_chart
from shared.wording import age, percent, visible
from tests.status_inputs import NOW, ago, container, coverage, history, inputs, note, point

ROOT = Path(__file__).parents[2]
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "</style><style>*{display:none}</style>",
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "]]><svg onload=alert(1)>",
    "&lt;b&gt;",
    "--><!--",
    "`<b>`",
]


class Page(HTMLParser):
    """A page taken apart: its elements with attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def page(**changes: Any) -> Page:
    return Page(render(status(inputs(**changes), NOW)))


def unprotected(name: str, **changes: str) -> dict[str, str]:
    version = {"name": name, "etag": "0x1", "last_modified": ago(30), "reason": "archived", "detail": "rehydrate it"}
    return version | changes


def listing(*versions: dict[str, str]) -> dict[str, Any]:
    return coverage(container(protected=90, unprotectable=list(versions), unprotectable_by_reason={"archived": 10}))


class TestItself:
    def test_it_loads_nothing_from_anywhere(self) -> None:
        found = page(coverage=listing(unprotected("a.csv")))
        assert {name for name, _ in found.elements}.isdisjoint({"img", "iframe", "object", "embed", "form", "base"})
        addresses = [
            value for _, attributes in found.elements for key in ("src", "href", "xlink:href", "action")
            if (value := attributes.get(key)) is not None
        ]  # fmt: skip
        assert addresses == ["data:,", "#main"]
        assert "url(" not in render(status(inputs(), NOW))
        assert "@import" not in render(status(inputs(), NOW))

    def test_its_policy_lets_its_own_style_and_script_run_and_nothing_else(self) -> None:
        text = render(status(inputs(coverage=listing(unprotected(HOSTILE[0]))), NOW))
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
        directives = dict(part.strip().split(" ", 1) for part in policy.replace("&#39;", "'").split(";"))
        assert directives["default-src"] == "'none'"
        for tag, directive in (("style", "style-src"), ("script", "script-src")):
            bodies = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
            assert len(bodies) == 1
            digest = b64encode(sha256(bodies[0].encode()).digest()).decode()
            assert directives[directive] == f"'sha256-{digest}'"

    def test_no_element_carries_a_style_or_a_handler(self) -> None:
        for _, attributes in page(coverage=listing(*map(unprotected, HOSTILE))).elements:
            assert [name for name in attributes if name == "style" or name.startswith("on")] == []

    def test_it_can_be_written_in_utf_8_whatever_a_name_holds(self) -> None:
        render(status(inputs(coverage=listing(unprotected("日本語 \U0001f600 \x07"))), NOW)).encode()

    def test_it_tells_the_verdict_in_its_title(self) -> None:
        assert "<title>protected: Snapkeep status</title>" in render(status(inputs(), NOW))
        assert "<title>unknown: Snapkeep status</title>" in render(status(inputs(coverage=None), NOW))


def test_the_app_does_without_what_makes_the_page_until_it_makes_one() -> None:
    program = "import sys, function_app; print('jinja2' in sys.modules, 'pygal' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "False False\n"


class TestHostileNames:
    @pytest.mark.parametrize("name", HOSTILE)
    @pytest.mark.parametrize(
        "where",
        [
            lambda name: {"coverage": listing(unprotected(name))},
            lambda name: {"coverage": listing(unprotected("a", detail=name))},
            lambda name: {"coverage": listing(unprotected("a", reason=name))},
            lambda name: {"coverage": listing(unprotected("a", last_modified=name))},
            lambda name: {"coverage": coverage(container(name))},
            lambda name: {"coverage": coverage(container(unprotectable_by_reason={name: 1}))},
            lambda name: {"coverage": coverage(container(error=name))},
            lambda name: {"runs": {"backup": note("backup", result="failed", detail=name)}},
            lambda name: {"queue": Unreadable(name)},
            lambda name: {"history": history(point(run_id=name))},
        ],
        ids=["name", "detail", "reason", "time", "container", "count", "error", "note", "failure", "run"],
    )
    def test_a_name_adds_no_element_wherever_it_stands(self, name: str, where: Callable[[str], dict[str, Any]]) -> None:
        # A plain text of the same length and backticks, which the page makes code of, is what it is compared with.
        plain = re.sub(r"[^`]", "x", name)
        elements = page(**where(name)).elements
        assert [tag for tag, _ in elements] == [tag for tag, _ in page(**where(plain)).elements]

    @pytest.mark.parametrize("name", HOSTILE)
    def test_a_name_is_shown_as_it_is(self, name: str) -> None:
        assert name in page(coverage=listing(unprotected(name))).text

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            ("invoice\u202egpj.exe", "invoice\\u202egpj.exe"),
            ("\u2066a\u2069\u200f", "\\u2066a\\u2069\\u200f"),
            ("a\x1b[31mb\x9b", "a\\x1b[31mb\\x9b"),
            ("tab\there\r\n", "tab\\x09here\\x0d\\x0a"),
            ("soft\u00adhyphen\ufeff\u200b", "soft\\xadhyphen\\ufeff\\u200b"),
            ("line\u2028end\u2029", "line\\u2028end\\u2029"),
            ("tag\U000e0041", "tag\\U000e0041"),
            ("日本語 é \U0001f600 ", "日本語 é \U0001f600 "),
        ],
        ids=ascii,
    )
    def test_what_one_would_not_see_is_shown_by_its_number(self, name: str, shown: str) -> None:
        assert visible(name) == shown
        assert shown in page(coverage=listing(unprotected(name))).text

    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
    def test_no_name_changes_what_the_page_is_made_of(self, name: str) -> None:
        found = page(coverage=listing(unprotected(name)), history=None)
        assert (found.count("script"), found.count("style"), found.count("bdi")) == (1, 1, 2)
        assert visible(name).strip() in found.text


class TestContent:
    def test_reasons_come_with_their_verdict(self) -> None:
        text = page(coverage=coverage(container(protected=99)), drill=None).text
        assert "raw: 1 missing, of 100 versions" in text
        assert "no restore was tried yet: run snapkeep drill" in text

    def test_what_is_not_known_is_said_to_be_so(self) -> None:
        text = page(coverage=None, queue=Unreadable("no answer"), history=None).text
        assert "Nothing is known of the coverage." in text
        assert "Nothing is known of them." in text
        assert "The queue could not be read." in text
        assert "No reconciliation has come to its end yet." in text

    def test_more_unprotected_versions_than_are_listed_are_counted(self) -> None:
        assert "The first 2 of 10 versions that stay unprotected" in page(
            coverage=listing(unprotected("a"), unprotected("b"))
        ).text  # fmt: skip

    def test_every_table_has_headings_with_a_scope(self) -> None:
        found = page(coverage=listing(unprotected("a")))
        scopes = [attributes.get("scope") for name, attributes in found.elements if name == "th"]
        assert set(scopes) == {"col", "row"}
        assert found.count("table") == 5


def points(*seconds: int | None) -> list[CoveragePoint]:
    documents = [
        point(number, protected=100 - bool(age_seconds), oldest_unprotected_seconds=age_seconds)
        for number, age_seconds in enumerate(reversed(seconds))
    ]
    return [CoveragePoint.model_validate(document) for document in reversed(documents)]


class TestCharts:
    def test_they_tell_in_words_what_they_show(self) -> None:
        shares, ages = coverage_chart(points(7200, None)), recovery_chart(points(7200, None))
        assert shares is not None
        assert ages is not None
        assert shares.summary == "From 99 % to 100 %, 100 % at last."
        assert ages.summary == "From 0 s to 2 h, 0 s at last."
        assert f'aria-label="Versions protected: {shares.summary}"' in shares.svg

    def test_what_never_changed_is_told_so(self) -> None:
        shares, ages = coverage_chart(points(None, None)), recovery_chart(points(None, None))
        assert shares is not None
        assert ages is not None
        assert (shares.summary, ages.summary) == ("100 % throughout.", "0 s throughout.")

    def test_without_a_run_that_came_to_its_end_there_is_nothing_to_draw(self) -> None:
        unfinished = [CoveragePoint.model_validate(point(complete=False))]
        assert (coverage_chart([]), recovery_chart([])) == (None, None)
        assert (coverage_chart(unfinished), recovery_chart(unfinished)) == (None, None)

    def test_an_account_without_versions_has_ages_alone(self) -> None:
        empty = [CoveragePoint.model_validate(point(versions=0, protected=0))]
        assert coverage_chart(empty) is None
        assert recovery_chart(empty) is not None

    def test_a_run_that_did_not_come_to_its_end_is_a_gap(self) -> None:
        runs = [CoveragePoint.model_validate(point(number, complete=number != 2)) for number in (4, 3, 2, 1, 0)]
        chart = coverage_chart(runs)
        assert chart is not None
        assert chart.svg.count("<circle") == 4
        assert len(re.findall(r'<path [^>]*class="line reactive', chart.svg)) == 2

    def test_each_dot_tells_its_day_and_value(self) -> None:
        chart = recovery_chart(points(3 * 3600))
        assert chart is not None
        assert "<title>20 Nov: 3 h</title>" in chart.svg

    @pytest.mark.parametrize(
        ("seconds", "labels"),
        [
            (None, ["0 min", "1 min", "2 min"]),
            (300, ["0 min", "5 min", "10 min"]),
            (3 * 3600, ["0 h", "2 h", "4 h"]),
            (86400, ["0 h", "12 h", "24 h"]),
            (90 * 86400, ["0 d", "50 d", "100 d"]),
        ],
        ids=str,
    )
    def test_ages_have_the_unit_and_the_scale_that_fit(self, seconds: int | None, labels: list[str]) -> None:
        chart = recovery_chart(points(seconds))
        assert chart is not None
        assert re.findall(r">([\d.]+ (?:min|h|d))</text>", chart.svg) == labels

    @pytest.mark.parametrize(("protected", "low"), [(100, "99"), (99, "99"), (98, "95"), (60, "50"), (3, "0")])
    def test_the_scale_of_shares_begins_where_they_can_be_told_apart(self, protected: int, low: str) -> None:
        chart = coverage_chart([CoveragePoint.model_validate(point(protected=protected))])
        assert chart is not None
        assert f">{low} %</text>" in chart.svg
        assert ">100 %</text>" in chart.svg

    def test_neither_a_script_nor_a_style_of_the_library_comes_along(self) -> None:
        chart = coverage_chart(points(1, 2, None))
        assert chart is not None
        for part in ("<script", "<style", "style=", "<desc", "tooltip-overlay", "http"):
            assert part not in chart.svg


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min 59 s"),
        (7320, "2 h 2 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_ages_read_in_their_two_greatest_units(seconds: int | None, text: str) -> None:
    assert age(seconds) == text


def test_shares_keep_the_tenth_that_they_were_rounded_down_to() -> None:
    assert [percent(value) for value in (None, 0.0, 99.9, 100.0)] == ["–", "0 %", "99.9 %", "100 %"]


def test_a_version_that_is_yet_to_come_by_this_machines_clock_is_drawn_as_new() -> None:
    run = CoveragePoint.model_validate(
        {
            "run_id": "1",
            "finished_at": "2026-11-20T03:00:00Z",
            "complete": True,
            "versions": 1,
            "protected": 0,
            "unprotectable": 0,
            "missing": 1,
            "oldest_unprotected_seconds": -5,
        }
    )
    chart = recovery_chart([run])
    assert chart is not None
    assert chart.summary == "0 s throughout."

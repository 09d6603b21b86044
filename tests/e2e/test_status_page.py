"""The status page in a real browser: what people see of it, on a desk and on a phone, and what names can do to it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from shared.decisions.status import status
from shared.model import QueueOverview
from shared.status_page import render
from tests.e2e.browser import Tab, running_browser, tab_of
from tests.status_inputs import NOW, ago, container, coverage, drill, history, inputs, note, point

HOSTILE = [
    "<script>document.title = 'owned'; alert(1)</script>",
    '"><img src="https://example.com/x" onerror="alert(1)">',
    "</script><script>alert(1)</script>",
    "</style><style>* { display: none }</style>",
    "' onmouseover='alert(1)' autofocus onfocus='alert(1)",
    "<iframe src='javascript:alert(1)'></iframe>",
    "]]><svg onload=alert(1)>",
    "<base href='https://example.com/'><a href='//example.com'>x</a>",
    "--><!-- `<b>` {{ 7 * 7 }}",
    "invoice\u202egpj.exe",
    "a\x1b[31mb\x07",
    "x" * 1000,
    "no/space/" * 100,
    "  padded  ",
]
pytestmark = pytest.mark.asyncio(loop_scope="module")

DESK = {"width": 1280, "height": 900}
PHONE = {"width": 375, "height": 800}

CONTRASTS = """() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((value) => value / 255)
      .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = channels(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.closest("script, svg title")) continue;
    const style = getComputedStyle(element);
    const pair = [light(channels(element.closest("svg") ? style.fill : style.color)), light(behind(element))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) found.push(element.tagName + " " + element.textContent.trim().slice(0, 40) + ": " + ratio);
  }
  return found;
}"""

ShowPage = Callable[..., Awaitable[Tab]]


def version(name: str, **changes: str) -> dict[str, str]:
    return {
        "name": name,
        "etag": "0x1",
        "last_modified": ago(30),
        "reason": "archived",
        "detail": "in archive",
    } | changes


def troubled(*names: str) -> dict[str, Any]:
    """Everything that a page can tell of, with these names wherever a name can stand."""
    names = names or ("a.csv",)
    report = coverage(
        container(
            "raw",
            protected=60,
            unprotectable_by_reason={"archived": 30, names[0]: 5},
            unprotectable=[version(name, detail=f"{name} is in archive", reason=name[:30]) for name in names],
            failed=[{"name": name, "reason": name} for name in names],
            failed_count=len(names),
            oldest_unprotected=ago(40),
        ),
        container("gone", complete=False, error=names[0]),
        complete=False,
    )
    return {
        "coverage": report,
        "history": history(*(point(number, oldest_unprotected_seconds=number * 900) for number in range(89, -1, -1))),
        "runs": {"backup": note("backup", result="failed", detail=names[0])},
        "queue": QueueOverview(687, NOW - timedelta(hours=2), 3, NOW - timedelta(days=3)),
        "drill": drill(result="failed", failed=[{"name": names[0]}]),
        "discarded": 2,
    }


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with running_browser() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def show(browser: Browser, tmp_path: Path) -> AsyncIterator[ShowPage]:
    """Opens a page in a tab of its own, whose clock stands where the status's does unless told otherwise."""
    async with AsyncExitStack() as stack:

        async def open_page(
            changes: dict[str, Any], *, hours_later: float = 0, size: dict[str, int] = DESK, **options: Any
        ) -> Tab:
            path = tmp_path / "status.html"
            path.write_text(render(status(inputs(**changes), NOW)), encoding="utf-8")
            tab = await stack.enter_async_context(tab_of(browser, viewport=size, **options))
            await tab.page.clock.set_fixed_time(NOW + timedelta(hours=hours_later))
            await tab.open(path)
            return tab

        yield open_page


class TestPage:
    async def test_it_asks_nobody_for_anything_and_complains_of_nothing(self, show: ShowPage) -> None:
        tab = await show(troubled())
        await expect(tab.page).to_have_title("at risk: Snapkeep status")
        assert [url.partition(":")[0] for url in tab.requests] == ["file"]
        assert (tab.console, tab.errors) == ([], [])

    async def test_it_tells_the_verdict_the_reasons_and_the_numbers(self, show: ShowPage) -> None:
        page = (await show(troubled())).page
        await expect(page.get_by_role("heading", level=1)).to_have_text("! at risk")
        reasons = page.locator(".reasons li")
        await expect(reasons.first).to_contain_text("raw: 5 missing, 30 archived, 5 a.csv, 1 could not be snapshotted")
        await expect(page.get_by_text("3 given up on, the oldest 3 d ago")).to_be_visible()
        row = page.get_by_role("row", name="raw").first
        await expect(row).to_contain_text("60 %")
        for name in ("Versions protected", "Age of the oldest unprotected version"):
            await expect(page.get_by_role("img", name=re.compile(f"^{name}: "))).to_be_visible()

    async def test_it_is_green_when_all_is_well(self, show: ShowPage) -> None:
        page = (await show({})).page
        await expect(page.get_by_role("heading", level=1)).to_have_text("✓ protected")
        await expect(page.get_by_role("alert")).to_be_hidden()
        await expect(page.get_by_role("searchbox")).to_have_count(0)

    async def test_an_old_page_takes_protected_back(self, show: ShowPage) -> None:
        page = (await show({}, hours_later=27)).page
        await expect(page.get_by_role("heading", level=1)).to_have_text("? unknown")
        await expect(page.get_by_role("alert")).to_contain_text("This page is 27 hours old")
        await expect(page).to_have_title("unknown: Snapkeep status")

    async def test_an_old_page_still_tells_of_problems(self, show: ShowPage) -> None:
        page = (await show(troubled(), hours_later=27)).page
        await expect(page.get_by_role("heading", level=1)).to_have_text("! at risk")
        await expect(page.get_by_role("alert")).to_be_visible()

    async def test_it_can_be_read_without_its_script(self, show: ShowPage) -> None:
        page = (await show(troubled("a.csv", "b.csv"), java_script_enabled=False)).page
        await expect(page.locator("#unprotected tbody tr")).to_have_count(4)
        await expect(page.get_by_role("searchbox")).to_be_hidden()  # it would do nothing


class TestSearch:
    async def test_by_keyboard_alone(self, show: ShowPage) -> None:
        tab = await show(troubled("sales/a.csv", "sales/b.csv", "Other.txt"))
        page = tab.page
        search = page.get_by_role("searchbox", name="Search names and reasons")
        for _ in range(10):
            await page.keyboard.press("Tab")
            if await search.evaluate("element => element === document.activeElement"):
                break
        await expect(search).to_be_focused()
        rows = page.locator("#unprotected tbody tr:visible")
        await expect(rows).to_have_count(6)
        await page.keyboard.type("SALES/b")
        await expect(rows).to_have_count(2)
        await expect(page.get_by_role("search").get_by_role("status")).to_have_text("2 of 6 shown")
        await page.keyboard.press("Enter")  # nothing is sent anywhere
        await page.keyboard.press("Control+a")
        await page.keyboard.press("Delete")
        await expect(rows).to_have_count(6)
        assert (tab.console, tab.errors, tab.left) == ([], [], [])

    async def test_what_is_sought_is_text_and_no_pattern(self, show: ShowPage) -> None:
        page = (await show(troubled("a.csv", "[x](y)*", "<b>"))).page
        rows = page.locator("#unprotected tbody tr:visible")
        for text, count in (("[x](y)*", 2), ("<b>", 2), (".*", 0)):
            await page.get_by_role("searchbox").fill(text)
            await expect(rows).to_have_count(count)

    async def test_a_thousand_names_are_searched_at_once(self, show: ShowPage) -> None:
        lines = [version(f"sales/2026/{number:04}.csv") for number in range(1000)]
        part = container(protected=1, unprotectable=lines, unprotectable_by_reason={"archived": 1200})
        page = (await show({"coverage": coverage(part)})).page
        await expect(page.get_by_text("The first 1,000 of 1,200 versions that stay unprotected")).to_be_visible()
        await page.get_by_role("searchbox").fill("0007.csv")
        await expect(page.locator("#unprotected tbody tr:visible")).to_have_count(1)


class TestHostileNames:
    @pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
    async def test_they_are_inert_and_visible(self, show: ShowPage, size: dict[str, int]) -> None:
        plain = await show(troubled(*("x" for _ in HOSTILE)), size=size)
        count_of_elements = "document.querySelectorAll('*').length"
        expected = await plain.page.evaluate(count_of_elements)
        tab = await show(troubled(*HOSTILE), size=size)
        await tab.page.mouse.move(200, 200)
        for _ in range(12):
            await tab.page.keyboard.press("Tab")
        assert await tab.page.evaluate(count_of_elements) == expected
        assert await tab.page.title() == "at risk: Snapkeep status"
        assert await tab.page.locator("script").count() == 1
        shown = await tab.page.locator("#unprotected tbody th").all_inner_texts()
        for name in HOSTILE[:9]:
            assert name in shown
        assert "invoice\\u202egpj.exe" in shown
        assert "a\\x1b[31mb\\x07" in shown
        assert (tab.dialogs, tab.console, tab.errors, tab.left) == ([], [], [], [])

    async def test_no_name_hides_the_others(self, show: ShowPage) -> None:
        page = (await show(troubled(*HOSTILE))).page
        rows = page.locator("#unprotected tbody tr")
        assert await rows.count() == 2 * len(HOSTILE)
        for row in await rows.all():
            await expect(row).to_be_visible()


class TestAppearance:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
    @pytest.mark.parametrize("changes", [troubled(), {}, {"coverage": None}], ids=["at risk", "protected", "unknown"])
    async def test_every_text_stands_out_from_its_ground(
        self, show: ShowPage, scheme: str, size: dict[str, int], changes: dict[str, Any]
    ) -> None:
        page = (await show(changes, size=size, color_scheme=scheme)).page
        await page.locator("details").first.evaluate("element => { element.open = true }")
        assert await page.evaluate(CONTRASTS) == []

    async def test_it_is_dark_where_the_reader_wants_it_so(self, show: ShowPage) -> None:
        background = "getComputedStyle(document.body).backgroundColor"
        light = await show({}, color_scheme="light")
        assert await light.page.evaluate(background) == "rgb(255, 255, 255)"
        await light.page.emulate_media(color_scheme="dark")
        assert await light.page.evaluate(background) == "rgb(18, 23, 29)"

    @pytest.mark.parametrize("width", [320, 375, 700, 1280])
    async def test_nothing_needs_scrolling_sideways(self, show: ShowPage, width: int) -> None:
        page = (await show(troubled(*HOSTILE), size={"width": width, "height": 800})).page
        await page.locator("details").first.evaluate("element => { element.open = true }")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width

    async def test_on_a_phone_every_cell_tells_its_column(self, show: ShowPage) -> None:
        page = (await show(troubled(), size=PHONE)).page
        cell = page.get_by_role("row", name="raw").first.get_by_role("cell").nth(2)
        assert await cell.evaluate("element => getComputedStyle(element, '::before').content") == '"protected"'

    async def test_text_is_drawn_with_a_font_that_has_it(self, show: ShowPage) -> None:
        page = (await show({})).page
        widths = await page.evaluate(
            "['iiii', 'MMMM'].map((text) => { const span = document.createElement('span'); span.textContent = text;"
            " document.body.append(span); return span.getBoundingClientRect().width; })"
        )
        assert 0 < widths[0] < widths[1]  # without a font, both are as wide: empty boxes


class TestAccessibility:
    async def test_it_has_landmarks_headings_and_names(self, show: ShowPage) -> None:
        page = (await show(troubled("a.csv", "b.csv"))).page
        assert await page.locator("html").get_attribute("lang") == "en"
        for role in ("banner", "main", "contentinfo", "search"):
            await expect(page.get_by_role(role)).to_have_count(1)
        levels = [
            int(name[1]) for name in await page.locator("h1, h2, h3").evaluate_all("all => all.map(h => h.tagName)")
        ]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        for region in ("at risk", "Coverage", "The last 90 reconciliations", "Unprotected blobs", "Runs"):
            await expect(page.get_by_role("region", name=region)).to_have_count(1)

    @pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
    async def test_tables_stay_tables_also_as_cards(self, show: ShowPage, size: dict[str, int]) -> None:
        page = (await show(troubled("a.csv", "b.csv"), size=size)).page
        for name in ("Coverage", "Unprotected blobs", "Last run of each function", "Last checks"):
            table = page.get_by_role("table", name=name)
            await expect(table.get_by_role("columnheader").first).to_be_attached()
            await expect(table.get_by_role("rowheader").first).to_be_visible()
        assert await page.locator("th:not([scope])").count() == 0

    async def test_the_first_stop_of_the_keyboard_skips_to_the_status(self, show: ShowPage) -> None:
        page = (await show({})).page
        await page.keyboard.press("Tab")
        link = page.get_by_role("link", name="Skip to the status")
        await expect(link).to_be_focused()
        await expect(link).to_be_in_viewport()
        await page.keyboard.press("Enter")
        assert await page.evaluate("location.hash") == "#main"

    async def test_the_charts_can_be_had_as_a_table_by_keyboard(self, show: ShowPage) -> None:
        page = (await show(troubled())).page
        await page.locator("summary").focus()
        await page.keyboard.press("Enter")
        table = page.get_by_role("table", name="The last 90 reconciliations")
        await expect(table.get_by_role("row")).to_have_count(91)

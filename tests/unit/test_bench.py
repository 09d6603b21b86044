"""The benchmarks' own arithmetic: medians and ratios, goals, sections, calls per million, money."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.__main__ import cli
from bench.calls import Calls, Job, added, slope, total
from bench.canned_pages import PAGE_ENTRIES, page
from bench.cost import PAGE, PRICES, Prices, PricesError, cost_of, table, with_table
from bench.measure import Contestant, Series, Usage, VoidError, contest, expect
from bench.programs import expect_azcopy_copied
from bench.registry import CASES
from bench.report import CPU_SECONDS, PER_SECOND, WALL_SECONDS, Goal, with_section
from bench.report import table as comparison
from shared.adapters.listing_page import next_marker, parse


def series(name: str, *walls: float) -> Series:
    return Series(name, "as it is", tuple(Usage(wall, wall / 2, 100) for wall in walls))


OURS, THEIRS = series("ours", 2.0, 1.0, 4.0), series("theirs", 8.0, 10.0, 4.0)


def test_a_column_shows_the_median_and_the_spread() -> None:
    assert WALL_SECONDS.spread(OURS) == "2.00 (1.00 to 4.00)"
    assert PER_SECOND.spread(OURS) == "50 (25 to 100)"


def test_a_ratio_says_how_many_times_better_ours_is_whatever_better_means() -> None:
    assert WALL_SECONDS.advantage(OURS, THEIRS) == 4
    assert CPU_SECONDS.advantage(OURS, THEIRS) == 4
    assert PER_SECOND.advantage(OURS, THEIRS) == 4
    assert WALL_SECONDS.advantage(THEIRS, OURS) == 0.25


def test_a_comparison_has_a_row_for_each_and_a_ratio_for_all_but_ours() -> None:
    assert comparison([OURS, THEIRS], [WALL_SECONDS], "copies").splitlines() == [
        "| copies | wall s | ours, times as good | how it is run |",
        "| --- | --- | --- | --- |",
        "| ours | 2.00 (1.00 to 4.00) | | as it is |",
        "| theirs | 8.00 (4.00 to 10.00) | **4** | as it is |",
    ]


@pytest.mark.parametrize(
    ("goal", "holds", "text"),
    [
        (Goal("times rclone", 2.0, at_least=2), True, "- times rclone: 2, goal at least 2: holds"),
        (Goal("times rclone", 1.99, at_least=2), False, "- times rclone: 1.99, goal at least 2: **does not hold**"),
        (Goal("calls", 60, at_most=60), True, "- calls: 60, goal at most 60: holds"),
        (Goal("calls", 61, at_most=60), False, "- calls: 61, goal at most 60: **does not hold**"),
        (Goal("entries", 123456.7, at_least=1e5), True, "- entries: 123,457, goal at least 100,000: holds"),
    ],
)
def test_a_goal_holds_or_does_not(goal: Goal, holds: bool, text: str) -> None:
    assert (goal.holds, str(goal)) == (holds, text)


async def test_contestants_alternate_and_none_is_always_first() -> None:
    order: list[tuple[int, str]] = []

    def run(name: str) -> Callable[[int], Awaitable[Usage]]:
        async def work(number: int) -> Usage:
            order.append((number, name))
            return Usage(1, 1, number)

        return work

    found = await contest([Contestant(name, "", run(name)) for name in "abc"], 3, lambda _: None)
    assert "".join(name for _, name in order) == "abccbaabc"
    assert [number for number, _ in order] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [(each.name, [usage.done for usage in each.usages]) for each in found] == [
        (name, [0, 1, 2]) for name in "abc"
    ]


def test_what_was_not_done_voids_the_comparison() -> None:
    expect(3, 3, "copies")
    with pytest.raises(VoidError, match=r"copies: 2, not 3"):
        expect(2, 3, "copies")


@pytest.mark.parametrize(("completed", "failed", "skipped"), [("2", "0", "0"), ("3", "1", "0"), ("3", "0", "1")])
def test_azcopys_own_words_void_a_comparison(completed: str, failed: str, skipped: str) -> None:
    job = {"TransfersCompleted": completed, "TransfersFailed": failed, "TransfersSkipped": skipped}
    end = json.dumps({"MessageType": "EndOfJob", "MessageContent": json.dumps(job)}, separators=(",", ":"))
    with pytest.raises(VoidError):
        expect_azcopy_copied(end, 3)


def test_azcopy_that_does_not_say_how_it_ended_is_void() -> None:
    with pytest.raises(VoidError):
        expect_azcopy_copied('{"MessageType":"Progress"}', 3)


# --- sections of RESULTS.md ---

RESULTS = "# All\n\nintro\n\n## One\n\nfirst\n\n## Two\n\nsecond\n"


ORDER = ("One", "Two", "Three")


def test_a_section_takes_the_place_of_its_last_run_and_leaves_the_others() -> None:
    assert with_section(RESULTS, "One", r"new \1 text", ORDER) == RESULTS.replace("first", r"new \1 text")
    assert with_section(RESULTS, "Two", "new", ORDER) == RESULTS.replace("second", "new")


def test_a_new_section_goes_where_its_case_stands_and_an_unknown_one_to_the_end() -> None:
    assert with_section(RESULTS, "Three", "third", ORDER) == f"{RESULTS}\n## Three\n\nthird\n"
    between = with_section(RESULTS, "Three", "third", ("One", "Three", "Two"))
    assert between == RESULTS.replace("## Two", "## Three\n\nthird\n\n## Two")
    assert with_section(RESULTS, "Two", "second", ("Two",)) == "# All\n\nintro\n\n## Two\n\nsecond\n\n## One\n\nfirst\n"


# --- calls and what they cost ---


def test_calls_per_million_are_what_more_blobs_make_more() -> None:
    few, many = {"list": 7, "other": 5010, "read": 12}, {"list": 8, "other": 10010, "read": 12, "queue": 28}
    assert slope(few, many, 5000) == {"list": 200, "read": 0, "other": 1_000_000, "queue": 5600}


def test_calls_of_all_accounts_are_added_up() -> None:
    assert total({"source": {"list": 2, "read": 1}}, {"backup": {"list": 3}}) == {"list": 5, "read": 1}
    assert added({"queue": 2}, {"queue": 1, "copies": 4}) == {"queue": 3, "copies": 4}


PRICED = Prices(0.05, 0.5, 0.004, 0.004, 0.0, 0.002, 1.0, 0.25, 2, 4, 1)


def test_calls_cost_what_their_type_costs() -> None:
    cost = cost_of({"list": 600, "write": 1_000_000, "other": 20_000, "delete": 5, "queue": 10_000}, PRICED)
    assert cost.storage == pytest.approx(0.003 + 50 + 0.008 + 0.002)
    assert (cost.factory_least, cost.factory_most) == (0, 0)


def test_data_factory_bills_activities_and_a_whole_minute_of_each_copy() -> None:
    cost = cost_of({"activity_runs": 1_000_000, "copies": 1_000_000}, PRICED)
    assert cost.factory_least == pytest.approx(1000 + 1e6 / 60 * 0.25 * 2)
    assert cost.factory_most == pytest.approx(1000 + 1e6 / 60 * 0.25 * 4)


def test_the_table_names_the_calls_that_make_up_the_cost() -> None:
    calls = Calls((Job("Snapkeep", "reconcile", {"list": 600, "read": 0, "copies": 0}),))
    assert table(calls, PRICED).splitlines()[-1] == "| Snapkeep | reconcile | 600 list | $0.003 | | $0.003 |"


def test_kept_calls_are_read_as_they_were_written() -> None:
    calls = Calls((Job("Snapkeep", "reconcile", {"list": 600}),))
    assert Calls.from_json(calls.to_json()) == calls


def test_the_page_holds_what_the_script_computes() -> None:
    page_text = PAGE.read_text()
    assert with_table(page_text, Calls.kept(), Prices.read_file(PRICES)) == page_text


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        with_table("# Cost\n", Calls(()), PRICED)


@pytest.mark.parametrize(
    "change",
    [{"write": None}, {"write": "0.05"}, {"write": True}, {"write": -1}, {"writes": 1}],
    ids=str,
)
def test_prices_that_are_none_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    given = json.loads(PRICES.read_text()) | change
    file = tmp_path / "prices.json"
    file.write_text(json.dumps({name: value for name, value in given.items() if value is not None}))
    with pytest.raises(PricesError):
        Prices.read_file(file)
    answered = CliRunner().invoke(cli, ["cost", "--prices", str(file)])
    assert answered.exit_code == 2
    assert str(file) in answered.output


def test_other_prices_make_another_table(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps({**json.loads(PRICES.read_text()), "other": 1000}))
    answered = CliRunner().invoke(cli, ["cost", "--prices", str(file)])
    assert answered.exit_code == 0
    assert answered.output.strip() == table(Calls.kept(), Prices.read_file(file))
    assert answered.output.strip() not in PAGE.read_text()


# --- cases and canned pages ---


def test_a_quick_run_has_every_size_of_a_whole_one_or_a_smaller() -> None:
    for case in CASES.values():
        assert set(case.quick) <= set(case.sizes)
        assert all(case.quick[size] <= case.sizes[size] for size in case.quick)


@pytest.mark.parametrize(
    "size", ["listing", "listing.entries", "listing.entries=0", "listing.blobs=5", "other.blobs=5"]
)
def test_a_size_that_is_none_is_refused_and_named(size: str) -> None:
    answered = CliRunner().invoke(cli, ["quick", "--size", size])
    assert answered.exit_code == 2
    assert "listing.entries" in answered.output


@pytest.mark.parametrize("snapshots", [True, False])
def test_canned_pages_are_whole_chained_and_hold_each_name_once(snapshots: bool) -> None:
    bodies = [page(number, 2, snapshots=snapshots) for number in range(2)]
    entries = [parse(body, "canned") for body in bodies]
    assert [len(each) for each in entries] == [PAGE_ENTRIES, PAGE_ENTRIES]
    assert [next_marker(body, "canned") for body in bodies] == ["1", None]
    live = [entry.name for each in entries for entry in each if entry.snapshot is None]
    assert len(set(live)) == len(live) == (PAGE_ENTRIES if snapshots else 2 * PAGE_ENTRIES)
    assert live == sorted(live)

"""`python -m bench run`, `quick`, `cost`: measure, and compute what the calls cost (docs/performance.md)."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from bench.calls import Calls
from bench.case import Case
from bench.cost import PAGE, PRICES, Prices, PricesError, table, with_table
from bench.machine import description
from bench.measure import VoidError
from bench.registry import CASES
from bench.report import with_section
from local.errors import CommandFailed
from local.processes import watched

RESULTS = Path(__file__).parent / "RESULTS.md"

case_option = click.option(
    "--case", "names", multiple=True, type=click.Choice(list(CASES)), help="Only this case; may be given repeatedly."
)
size_option = click.option(
    "--size", "given", multiple=True, metavar="CASE.NAME=NUMBER", help="Another size, such as listing.entries=20000."
)


@click.group()
def cli() -> None:
    """Snapkeep beside its peers."""


@cli.command()
@case_option
@size_option
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1), help="How often each is measured.")
def run(names: Sequence[str], given: Sequence[str], rounds: int) -> None:
    """Measure at full size, and write bench/RESULTS.md; cases that are not run keep what stands there."""
    _measure_all(_chosen(names, quick=False), _sizes(given), rounds, quick=False)


@cli.command()
@case_option
@size_option
@click.option("--rounds", default=2, show_default=True, type=click.IntRange(min=1), help="How often each is measured.")
def quick(names: Sequence[str], given: Sequence[str], rounds: int) -> None:
    """Measure at small sizes, and print it; nothing is written. For every change, and no number to quote."""
    _measure_all(_chosen(names, quick=True), _sizes(given), rounds, quick=True)


@cli.command()
@click.option(
    "--prices",
    type=click.Path(dir_okay=False, path_type=Path),
    default=PRICES,
    help="A file of prices like bench/prices.json, which is the default.",
)
@click.option("--write", is_flag=True, help="Put the table into docs/cost.md instead of printing it.")
def cost(prices: Path, *, write: bool) -> None:
    """Print what the calls that the last run counted cost, at given prices."""
    try:
        at = Prices.read_file(prices)
    except PricesError as error:
        raise click.UsageError(str(error)) from error
    if write:
        PAGE.write_text(with_table(PAGE.read_text(), Calls.kept(), at))
    else:
        print(table(Calls.kept(), at))


def _chosen(names: Sequence[str], *, quick: bool) -> list[Case]:
    if names:
        return [CASES[name] for name in CASES if name in names]
    return [case for case in CASES.values() if case.in_quick or not quick]


def _sizes(given: Sequence[str]) -> dict[str, dict[str, int]]:
    sizes: dict[str, dict[str, int]] = {name: {} for name in CASES}
    for text in given:
        place, _, number = text.partition("=")
        name, _, size = place.partition(".")
        if name not in CASES or size not in CASES[name].sizes or not number.isdecimal() or int(number) < 1:
            known = ", ".join(f"{each.name}.{size}" for each in CASES.values() for size in each.sizes)
            raise click.BadParameter(f"{text!r}: expects CASE.NAME=NUMBER, of: {known}", param_hint="--size")
        sizes[name][size] = int(number)
    return sizes


def _measure_all(cases: Sequence[Case], sizes: dict[str, dict[str, int]], rounds: int, *, quick: bool) -> None:
    """Runs the cases one after another. A void one stops none of the others, but fails the whole."""
    void = []
    with watched():
        for case in cases:
            _say(case.title)
            plan = case.plan(sizes[case.name], rounds, _say, quick=quick, writes=not quick)
            try:
                about = f"{description()} Rounds: {rounds}."  # the load is that before the case
                body = f"{asyncio.run(case.measure(plan))}\n\n{about}"
            except (VoidError, CommandFailed) as error:
                void.append(case.name)
                body = f"**Void**: {error}"
            except Exception as error:  # noqa: BLE001 -- hours of other cases are not to be lost by a defect of one
                traceback.print_exc()
                void.append(case.name)
                body = f"**Void**: {type(error).__name__}: {error}"
            print(f"\n## {case.title}\n\n{body}\n", flush=True)
            if not quick:
                RESULTS.write_text(
                    with_section(RESULTS.read_text(), case.title, body, [each.title for each in CASES.values()])
                )
    if void:
        raise SystemExit(f"void: {', '.join(void)}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    cli()

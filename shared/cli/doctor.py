"""`snapkeep doctor`."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from shared.cli.running import finish, given, json_option, print_json, settings_option
from shared.decisions.findings import Finding, Level, verdict
from shared.operations.doctor import examine

_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.WRONG: "bold red"}


@click.command()
@settings_option
@json_option
def doctor(settings_file: Path | None, as_json: bool) -> None:
    """Look at everything that the functions need, and say what to do about what is wrong.

    Calls are tried on names that nothing has. Nothing is created or changed but a document of the doctor's own in
    snapkeep-state (which is made if it is missing); it removes that again. The exit code is 1 when something is
    wrong; warnings do not count.
    """

    # What a credential logs of its attempts, over many lines, is in the findings in one.
    logging.getLogger("azure").setLevel(logging.ERROR)

    async def work() -> list[Finding]:
        with Console(stderr=True).status("looking"):
            return await examine(given(settings_file))

    findings = finish(work)
    result = verdict(findings)
    if as_json:
        print_json({"schema": 1, "verdict": result, "findings": [finding.to_json() for finding in findings]})
    else:
        _print(findings)
    sys.exit(1 if result is Level.WRONG else 0)


def _print(findings: list[Finding]) -> None:
    console = Console(markup=False, emoji=False, highlight=False)
    if console.is_terminal:
        table = Table(show_header=False, box=None, pad_edge=False)
        for ratio in (None, 3, 7):
            table.add_column(ratio=ratio, overflow="fold")
        for finding in findings:
            text = f"{finding.text}\n=> {finding.remedy}" if finding.remedy else finding.text
            table.add_row(finding.level, finding.subject, text, style=_STYLES[finding.level])
        console.print(table)
    else:
        for finding in findings:
            click.echo(_line(finding))
    counts = Counter(finding.level for finding in findings)
    click.echo(", ".join(f"{counts[level]} {level}" for level in (Level.WRONG, Level.WARNING, Level.OK)))


def _line(finding: Finding) -> str:
    line = f"{finding.level:<8} {finding.subject}: {finding.text}"
    return f"{line}; to do: {finding.remedy}" if finding.remedy else line

"""What all commands share: their settings, how their work is run, and how their errors end."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from shared.errors import SnapkeepError
from shared.services import Services
from shared.settings import Settings, read_settings_file

Result = TypeVar("Result")

settings_option = click.option(
    "--settings",
    "settings_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file like local.settings.json whose Values are the settings. Default: the environment.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


def run(settings_file: Path | None, work: Callable[[Services], Awaitable[Result]], **overrides: float) -> Result:
    """Does `work` with the services that the settings name; an error that is meant for people ends the program.

    Args:
        overrides: settings of this run, by their names in `Settings`.
    """

    async def with_services() -> Result:
        settings = Settings.load(given(settings_file)).model_copy(update=overrides)
        async with Services.open(settings) as services:
            return await work(services)

    return finish(with_services)


def finish(work: Callable[[], Awaitable[Result]], stopped: str = "stopped; nothing is lost: run it again") -> Result:
    """Runs `work` to its end; an error that is meant for people, or Ctrl-C, ends the program.

    Args:
        stopped: what is said after Ctrl-C.
    """

    async def awaited() -> Result:
        return await work()

    try:
        return asyncio.run(awaited())
    except SnapkeepError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo(stopped, err=True)
        sys.exit(1)


def given(settings_file: Path | None) -> dict[str, str] | None:
    """The settings that a file holds; None for the environment's."""
    return read_settings_file(settings_file) if settings_file else None


def print_json(result: Any) -> None:
    """Prints a result as one JSON object on one line."""
    click.echo(json.dumps(result, ensure_ascii=False))

"""The command `snapkeep`: the functions' operations, and what brings data back, run by hand with the same settings.

Exit codes: 0 good; 1 something failed or is unprotected; 2 wrong usage or settings.
"""

from __future__ import annotations

import logging
import sys

import click

from shared import __version__
from shared.cli.alarms import alarms
from shared.cli.doctor import doctor
from shared.cli.drill import drill
from shared.cli.protect import protect
from shared.cli.reconcile import reconcile
from shared.cli.requests import requests
from shared.cli.restore import restore
from shared.cli.status import status
from shared.cli.sync import sync
from shared.cli.verify import verify


@click.group()
@click.version_option(__version__, prog_name="snapkeep")
@click.option("--verbose", is_flag=True, help="Log what is done to standard error.")
def main(verbose: bool) -> None:
    """Snapshots, verified backups and mirrors for Azure Blob Storage, and the way back."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("azure").setLevel(logging.WARNING)


for command in (alarms, doctor, drill, protect, reconcile, requests, restore, status, sync, verify):
    main.add_command(command)

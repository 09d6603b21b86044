"""What a run stands on: the machine, and the versions of everything that is compared."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from bench.programs import rclone
from local.programs import MODULES, azcopy, node
from shared import __version__

_PACKAGES = ("azure-storage-blob", "azure-storage-queue", "azure-core", "aiohttp")


def description() -> str:
    """One line for each: when, on what, with which versions."""
    memory = psutil.virtual_memory().total / 2**30
    load = ", ".join(f"{each:.2f}" for each in psutil.getloadavg())
    azurite = json.loads((MODULES / "azurite/package.json").read_text())["version"]
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {_processor()}, {psutil.cpu_count()} cores, "
        f"{memory:.0f} GiB, {platform.system()} {platform.release()}; load before: {load}.  \n"
        f"Snapkeep {__version__}, Python {platform.python_version()}, {packages}, Azurite {azurite} on Node "
        f"{_said(node(), '--version')}, azcopy {_said(azcopy(), '--version')}, rclone {_said(rclone(), 'version')}."
    )


def _said(program: Path, argument: str) -> str:
    """The first version number in what a program says of itself."""
    output = subprocess.run([program, argument], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+\.\d+\.\d+", output)
    return found[0] if found else output.strip()


def _processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()

"""The command `snapkeep`, as a person on a bad day runs it: a process of its own, with settings from a file."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from local.app_environment import STAND_IN_DEFAULTS, connections


class Snapkeep:
    """Runs `snapkeep` against the stack that printed this READY object."""

    def __init__(self, ready: Mapping[str, str]) -> None:
        self._values = {**STAND_IN_DEFAULTS, **connections(ready)}

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Its exit code, and what it printed. It runs in a folder of its own, where it leaves its reports."""
        with tempfile.TemporaryDirectory(prefix="snapkeep-demo-") as folder:
            settings = Path(folder) / "settings.json"
            settings.touch(mode=0o600)
            settings.write_text(json.dumps({"IsEncrypted": False, "Values": self._values}))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "shared.cli", *arguments, "--settings", str(settings)),
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            printed, _ = await process.communicate()
        return process.returncode or 0, printed.decode()


async def end_of_this_second() -> str:
    """Waits for the next second; gives the one that has just ended.

    The service's times have whole seconds: what is written from now on is later than that.
    """
    now = datetime.now(UTC)
    await asyncio.sleep((1_000_000 - now.microsecond) / 1_000_000)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")

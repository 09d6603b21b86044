"""The command `snapkeep` as end-to-end tests run it: a process of its own, with its settings in a file."""

import asyncio
import contextlib
import json
import os
import pty
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.processes import die_with
from tests.e2e.programs import ROOT

DEADLINE_SECONDS = 90.0


@dataclass(frozen=True)
class Ended:
    """How a command ended. On a terminal all that it printed is in `printed`."""

    arguments: tuple[str, ...]
    exit_code: int
    printed: str
    complained: str

    @property
    def json(self) -> Any:
        """What it printed, which must be one JSON object."""
        return json.loads(self.printed)

    def __str__(self) -> str:
        shown = f"snapkeep {' '.join(self.arguments)} ended with {self.exit_code}"
        return "\n".join(filter(None, (shown, self.printed, self.complained)))


class Running:
    """A command that has been started."""

    def __init__(self, process: asyncio.subprocess.Process, arguments: tuple[str, ...]) -> None:
        self._process = process
        self._arguments = arguments

    def kill(self) -> None:
        """End it at once, as a crash of the machine does."""
        self._send(signal.SIGKILL)

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self._send(signal.SIGINT)

    async def ended(self) -> Ended:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                printed, complained = await self._process.communicate()
        except BaseException:
            self.kill()
            await self._process.wait()
            raise
        assert self._process.returncode is not None
        return Ended(self._arguments, self._process.returncode, _text(printed), _text(complained))

    def _send(self, what: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            self._process.send_signal(what)


class Snapkeep:
    """Runs the command with these settings and no others, in a folder of its own."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._settings = folder / "settings.json"
        self._settings.touch(mode=0o600)
        self._settings.write_text(json.dumps({"IsEncrypted": False, "Values": dict(settings)}))

    async def run(self, *arguments: str, exit_code: int | None = 0) -> Ended:
        """Runs it to its end, in a pipe. Another exit code fails the test; None takes any."""
        ended = await (await self.start(*arguments)).ended()
        assert exit_code is None or ended.exit_code == exit_code, str(ended)
        return ended

    async def start(self, *arguments: str) -> Running:
        return Running(await self._spawn(arguments, asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE), arguments)

    async def run_on_terminal(self, *arguments: str, typed: str = "") -> Ended:
        """Runs it to its end on a terminal, where `typed` waits to be read from the beginning."""
        screen, terminal = pty.openpty()
        os.write(screen, typed.encode())
        try:
            process = await self._spawn(arguments, terminal, terminal)
        finally:
            os.close(terminal)
        reading = asyncio.create_task(asyncio.to_thread(_all_shown, screen))
        try:
            await Running(process, arguments).ended()
            shown = await reading
        finally:
            os.close(screen)
        return Ended(arguments, process.returncode or 0, shown, "")

    async def _spawn(self, arguments: tuple[str, ...], read: int, written: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "shared.cli", *arguments, "--settings", str(self._settings)),
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
            preexec_fn=die_with(os.getpid()),
            stdin=read,
            stdout=written,
            stderr=written,
        )


def _text(printed: bytes | None) -> str:
    return (printed or b"").decode()


def _all_shown(screen: int) -> str:
    """What a terminal shows until nobody has it open any more."""
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal is an error to whoever reads it
        while piece := os.read(screen, 65536):
            shown += piece
    return shown.decode().replace("\r\n", "\n")

"""The commands of the local stack as processes that end-to-end tests start, kill and read the logs of."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.processes import die_with
from local.stack import READY

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60
STOP_SECONDS = 40


class Program:
    """A running `python -m local ...`. It writes its log to a file, and never outlives the test run."""

    def __init__(self, *arguments: str, environment: Mapping[str, str], log: Path) -> None:
        self.log_file = log
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local", *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=die_with(os.getpid()),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def wait_until_ready(self) -> dict[str, Any]:
        """The object of its READY line."""
        assert self._process.stdout is not None
        too_late = threading.Timer(READY_SECONDS, self._process.kill)
        too_late.start()
        try:
            for line in self._process.stdout:
                if line.startswith(READY.encode()):
                    ready: dict[str, Any] = json.loads(line.removeprefix(READY.encode()))
                    return ready
        finally:
            too_late.cancel()
        raise AssertionError(f"it ended with exit code {self._process.wait()}:\n{self.log[-3000:]}")

    def wait(self) -> int:
        return self._process.wait(STOP_SECONDS)

    def terminate(self) -> None:
        """Ask it to end, as the platform does with SIGTERM."""
        self._process.terminate()

    def stop(self) -> int:
        """End it in good order; returns its exit code."""
        self.terminate()
        try:
            code = self.wait()
        finally:
            self.kill()
        return code

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

"""Ends what a killed process of the local stack leaves behind: run as a program of its own, standard
library only.

The process that it watches over holds the other end of its standard input. However that process ends, kill -9
included, the input closes; then everything that still carries the watched process's identity in its
environment is killed. That reaches descendants that nobody else knows of, such as an azcopy that the app
started.
"""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

VARIABLE = "SNAPKEEP_LOCAL_STACK"  # nested identities, separated by "/": a host within a stack carries both


def carriers(identity: str) -> list[int]:
    """The processes, other than this one, whose environment at their start carried `identity`."""
    prefix, wanted = f"{VARIABLE}=".encode(), identity.encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # ended meanwhile, or somebody else's
            continue
        values = [entry.removeprefix(prefix) for entry in variables if entry.startswith(prefix)]
        if any(wanted in value.split(b"/") for value in values):
            found.append(int(folder.name))
    return found


def kill_all(identity: str) -> None:
    """Kill until none is left: one that was just being started may show only at the next look."""
    while left := carriers(identity):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it outlives what it watches over
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    kill_all(sys.argv[1])


if __name__ == "__main__":
    main()

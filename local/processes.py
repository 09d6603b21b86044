"""Child processes that never outlive the one that started them.

Three layers, each for what the one before cannot reach: an orderly stop (SIGTERM, then SIGKILL to the child's
process group); the kernel's parent-death signal, for direct children of a process that was killed; the
sentinel (see sentinel.py), for the children's children.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from local import sentinel

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
STREAM_LIMIT = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int) -> Callable[[], None]:
    """What a child runs between fork and exec, so that the kernel kills it when `parent` ends."""

    def bind() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the line above: nobody would be told
            os._exit(1)

    return bind


class Child:
    """A running child process, in a session of its own so that Ctrl-C reaches the parent alone."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(
        cls,
        arguments: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        stdout: int | None = None,
        stderr: int | None = None,
        cwd: Path | None = None,
    ) -> "Child":
        process = await asyncio.create_subprocess_exec(
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            limit=STREAM_LIMIT,
            start_new_session=True,
            preexec_fn=die_with(os.getpid()),
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    @property
    def stdout(self) -> asyncio.StreamReader:
        """Its standard output; only for a child started with `stdout=PIPE`."""
        assert self._process.stdout is not None  # noqa: S101 -- for the type checker
        return self._process.stdout

    async def wait(self) -> int:
        return await self._process.wait()

    async def stop(self, grace_seconds: float = 10) -> int:
        """End it and its process group, after `grace_seconds` by force. Returns its exit code."""
        self.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), grace_seconds)
        return await self.kill()

    async def kill(self) -> int:
        """End it and its process group at once. Returns its exit code."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send `number` to the child alone, if it still runs."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


@contextlib.contextmanager
def watched() -> Iterator[str]:
    """Within this block, whatever this process starts is gone when it ends, even by kill -9; also when the
    block ends.

    The identity that marks the descendants, which the block receives, travels in this process's environment.
    """
    outer = os.environ.get(sentinel.VARIABLE)
    identity = uuid.uuid4().hex
    watcher = subprocess.Popen(
        [sys.executable, "-I", sentinel.__file__, identity],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.environ[sentinel.VARIABLE] = f"{outer}/{identity}" if outer else identity
    try:
        yield identity
    finally:
        if outer is None:
            del os.environ[sentinel.VARIABLE]
        else:
            os.environ[sentinel.VARIABLE] = outer
        watcher.communicate()  # closes its input and waits until it has looked round

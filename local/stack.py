"""The local stack's commands as child processes: `up`, the demo and end-to-end tests are made of them."""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from local.errors import CommandFailed
from local.processes import Child

READY = "READY "
READY_SECONDS = 90


class StackFailed(CommandFailed):
    """A command of the local stack ended before it was told to; it has said why on standard error."""

    def __init__(self, command: str, exit_code: int) -> None:
        super().__init__(f"`python -m local {command}` ended with exit code {exit_code}")
        self.exit_code = exit_code if exit_code > 0 else 1  # ended by a signal


class StackProcess:
    """One running `python -m local <command>`; `ready` is the object that it printed."""

    def __init__(self, command: str, child: Child) -> None:
        self._command = command
        self._child = child
        self.ready: dict[str, Any] = {}

    @classmethod
    async def start(cls, command: str, *arguments: str, environment: Mapping[str, str] | None = None) -> "StackProcess":
        """Start it and return when it is ready. Its log goes to our standard error.

        Raises StackFailed when it ends instead, and TimeoutError.
        """
        child = await Child.start(
            [sys.executable, "-m", "local", command, *arguments],
            environment=os.environ if environment is None else environment,
            stdout=asyncio.subprocess.PIPE,
        )
        process = cls(command, child)
        try:
            async with asyncio.timeout(READY_SECONDS):
                process.ready = await process._read_ready()
        except BaseException:
            await child.stop()
            raise
        return process

    @property
    def pid(self) -> int:
        return self._child.pid

    async def wait(self) -> int:
        """Wait until it ends; returns its exit code."""
        return await self._child.wait()

    async def ended(self) -> None:
        """Wait for it to end by itself. Raises StackFailed."""
        raise StackFailed(self._command, await self.wait())

    async def stop(self) -> int:
        """Stop it in good order; returns its exit code."""
        return await self._child.stop(grace_seconds=30)

    async def kill(self) -> int:
        """End it with SIGKILL, as a crash does; returns its exit code."""
        return await self._child.kill()

    async def _read_ready(self) -> dict[str, Any]:
        while line := (await self._child.stdout.readline()).decode():
            if line.startswith(READY):
                ready: dict[str, Any] = json.loads(line.removeprefix(READY))
                return ready
        raise StackFailed(self._command, await self.wait())


@contextlib.asynccontextmanager
async def running_stack(
    service_arguments: Sequence[str] = (), host_arguments: Sequence[str] = ()
) -> AsyncIterator[tuple[StackProcess, StackProcess]]:
    """The services and, against them, the host; both are stopped when the block ends."""
    async with contextlib.AsyncExitStack() as stack:
        services = await StackProcess.start("services", *service_arguments)
        stack.push_async_callback(services.stop)
        # The keys in it are the local accounts', which are no secret.
        with tempfile.NamedTemporaryFile("w", prefix="snapkeep-services-") as file:
            json.dump(services.ready, file)
            file.flush()
            host = await StackProcess.start("host", "--services", file.name, *host_arguments)
        stack.push_async_callback(host.stop)
        yield services, host

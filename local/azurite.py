"""Azurite, Microsoft's storage emulator: one process with the two accounts, `source` and `backup`, and a third one.

Its blob port is for the gateway (local/gateway), which mends what Azurite lacks; the app uses the gateway's.
"""

import asyncio
import base64
import contextlib
import logging
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from local.errors import CommandFailed
from local.ports import LOOPBACK, PortTaken, taken_port_in
from local.processes import Child
from local.programs import azurite, node

SOURCE, BACKUP = "source", "backup"
SPARE = "spare"
"""An empty account that the app knows nothing of: what a lost one is restored into."""

START_SECONDS = 60
# Azurite's default of 5 s drops connections that clients still hold as good; none of ours idles this long.
KEEP_ALIVE_SECONDS = 3600
_LISTENING = re.compile(r"Azurite (Blob|Queue|Table) service is successfully listening at \S+:(\d+)")

log = logging.getLogger(__name__)


def account_key(account: str) -> str:
    """The key of a local account: fixed, so that settings files stay valid, and plainly not a secret."""
    text = f"snapkeep local stack, {account} account; not a secret. "
    return base64.b64encode(text.ljust(64, ".").encode()).decode()


ACCOUNT_KEYS = {account: account_key(account) for account in (SOURCE, BACKUP, SPARE)}


def connection_string(account: str, blob_port: int, queue_port: int) -> str:
    """The connection string of a local account whose services listen on these ports."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={ACCOUNT_KEYS[account]};"
        f"BlobEndpoint=http://{LOOPBACK}:{blob_port}/{account};"
        f"QueueEndpoint=http://{LOOPBACK}:{queue_port}/{account};"
    )


class AzuriteFailed(CommandFailed):
    """Azurite did not start."""


class Azurite:
    """One Azurite process; `blob_port` and `queue_port` are what it listens on once started."""

    def __init__(self, data: Path | None = None, environment: Mapping[str, str] | None = None) -> None:
        """`data`: the folder to keep everything in; without one all is in memory, and gone in the end.

        `environment`: variables for Node besides those of this process.
        """
        self._data = data
        self._environment = dict(environment or {})
        self._child: Child | None = None
        self._output: asyncio.Task[None] | None = None
        self._work = contextlib.ExitStack()
        self.blob_port = 0
        self.queue_port = 0

    async def start(self, blob_port: int = 0, queue_port: int = 0) -> None:
        """Start it and return when it answers; port 0 is a free one.

        Raises PortTaken when somebody else listens on a port, and AzuriteFailed with Azurite's own words.
        """
        # Azurite may write into its working folder whatever its settings say.
        work = Path(self._work.enter_context(tempfile.TemporaryDirectory(prefix="snapkeep-azurite-")))
        accounts = ";".join(f"{account}:{key}" for account, key in ACCOUNT_KEYS.items())
        try:
            self._child = await Child.start(
                [node(), azurite(), *self._arguments(blob_port, queue_port)],
                environment={**os.environ, **self._environment, "AZURITE_ACCOUNTS": accounts},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=work,
            )
            await asyncio.wait_for(self._until_listening(self._child), START_SECONDS)
        except BaseException:
            await self.stop()
            raise
        self._output = asyncio.create_task(self._log_output(self._child))

    async def stop(self) -> None:
        """Stop it; data in a folder is saved first."""
        if self._child is not None:
            await self._child.stop()
        if self._output is not None:
            await self._output
        self._child = self._output = None
        self._work.close()

    async def wait(self) -> int:
        """Wait until the process ends, and return its exit code."""
        if self._child is None:
            raise AzuriteFailed("Azurite was not started")
        return await self._child.wait()

    def _arguments(self, blob_port: int, queue_port: int) -> list[str]:
        keep = ["--inMemoryPersistence"] if self._data is None else ["--location", str(self._data.absolute())]
        ports = ["--blobPort", str(blob_port), "--queuePort", str(queue_port), "--tablePort", "0"]
        alive = [f"--{name}KeepAliveTimeout={KEEP_ALIVE_SECONDS}" for name in ("blob", "queue")]
        # SDKs and azcopy ask for newer API versions than Azurite names, and work all the same.
        return [*keep, *ports, *alive, "--skipApiVersionCheck", "--disableTelemetry", "--silent"]

    async def _until_listening(self, child: Child) -> None:
        listening: dict[str, int] = {}
        said: list[str] = []
        while len(listening) < 3:
            line = (await child.stdout.readline()).decode(errors="replace").strip()
            if found := _LISTENING.search(line):
                listening[found[1]] = int(found[2])
            elif (port := taken_port_in(line)) is not None:
                raise PortTaken(port)
            elif not line and child.stdout.at_eof():
                raise AzuriteFailed(f"Azurite ended before it answered: {' '.join(said) or 'it said nothing'}")
            said.append(line)
        self.blob_port, self.queue_port = listening["Blob"], listening["Queue"]

    async def _log_output(self, child: Child) -> None:
        while line := await child.stdout.readline():
            log.info("azurite: %s", line.decode(errors="replace").rstrip())

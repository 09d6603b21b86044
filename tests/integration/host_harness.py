"""What the integration tests of the local Functions host share: hosts of tests/host_app, and what it writes down."""

import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from local.host import FunctionsHost, HostOptions
from local.host.app import MODULE_NAME
from local.processes import Child

HOST_APP = Path(__file__).parents[1] / "host_app"
DEADLINE_SECONDS = 15

Event = dict[str, Any]

# A host as a process of its own, for what only a process shows: kill -9, signals, exit codes.
RUN_HOST = """
import asyncio, json, logging, pathlib, sys
from local.host import HostOptions, run_host
logging.basicConfig(level=logging.INFO)
logging.getLogger("azure").setLevel(logging.WARNING)
options = HostOptions(pathlib.Path(sys.argv[1]), port=0, **json.loads(sys.argv[2]))
asyncio.run(run_host(options, lambda host: print(json.dumps([host.url, host.master_key]), flush=True)))
"""


@dataclass
class Events:
    """What the functions of tests/host_app wrote down."""

    file: Path

    def all(self, name: str | None = None) -> list[Event]:
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []
        events: list[Event] = [json.loads(line) for line in lines]
        return [event for event in events if name in (None, event["event"])]

    async def wait(self, name: str, count: int = 1) -> list[Event]:
        """The events of a name, as soon as there are `count` of them."""
        await until(lambda: len(self.all(name)) >= count, f"{count} x {name!r}")
        return self.all(name)


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    headers: dict[str, str]


@dataclass
class Trial:
    """One test's surroundings: settings for its hosts, its queue, and the events."""

    options: HostOptions
    events: Events
    queue: QueueClient
    poison: QueueClient
    blobs: BlobServiceClient
    release_file: Path

    @asynccontextmanager
    async def host(self, **changes: Any) -> AsyncIterator[FunctionsHost]:
        host = FunctionsHost(replace(self.options, **changes))
        await host.start()
        try:
            yield host
        finally:
            await host.stop(grace_seconds=0)

    @asynccontextmanager
    async def host_process(self, app: Path = HOST_APP, **changes: Any) -> AsyncIterator[Child]:
        child = await Child.start(
            [sys.executable, "-c", RUN_HOST, str(app), json.dumps(changes)],
            environment=os.environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            yield child
        finally:
            await child.kill()

    async def send(self, *orders: dict[str, Any]) -> None:
        for order in orders:
            await self.queue.send_message(base64.b64encode(json.dumps(order).encode()).decode())

    @property
    def hold(self) -> dict[str, Any]:
        """An order that lasts until `release`."""
        return {"do": "hold", "until": str(self.release_file)}

    def release(self) -> None:
        self.release_file.touch()

    @staticmethod
    async def until(condition: Callable[[], bool], what: str) -> None:
        await until(condition, what)

    async def poisoned(self, count: int) -> list[str]:
        """The texts in the poison queue, as soon as there are `count`."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                texts = [message.content for message in await self.poison.peek_messages(max_messages=32)]
            except ResourceNotFoundError:
                texts = []
            if len(texts) >= count:
                return texts
            assert time.monotonic() < deadline, f"the poison queue has {len(texts)} message(s), not {count}"
            await asyncio.sleep(0.02)

    async def drained(self) -> None:
        """Waits until the queue holds no message, hidden ones included."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while await self.length():
            assert time.monotonic() < deadline, "the queue was not drained"
            await asyncio.sleep(0.02)

    @staticmethod
    async def call(url: str, method: str = "GET", key: str | None = None, **request: Any) -> Answer:
        """One request, with a key in its header."""
        headers = {**request.pop("headers", {}), **({"x-functions-key": key} if key else {})}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=headers, **request) as answer,
        ):
            return Answer(answer.status, await answer.text(), dict(answer.headers))

    async def timer_status(self) -> dict[str, str] | None:
        """What the host has stored of its timer, under the platform's name for it."""
        blob = self.blobs.get_blob_client(
            "azure-webjobs-hosts", f"timers/{self.queue.queue_name}/Host.Functions.tick/status"
        )
        try:
            status: dict[str, str] = json.loads(await (await blob.download_blob()).readall())
        except ResourceNotFoundError:
            return None
        return status

    async def timer_comes_next(self, moment: datetime) -> None:
        """Waits until the stored status says so."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            status = await self.timer_status()
            if status and datetime.fromisoformat(status["Next"]) == moment:
                return
            assert time.monotonic() < deadline, f"the timer's status is {status}"
            await asyncio.sleep(0.02)

    async def length(self) -> int:
        """How many messages the queue holds, hidden ones included; exact on Azurite."""
        return (await self.queue.get_queue_properties()).approximate_message_count or 0


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.01)


@pytest.fixture
async def trial(stack: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Trial]:
    """A queue, an app identity and an events file of this test's own. The timer of the app never comes by itself."""
    name = f"q-{uuid4().hex[:12]}"
    events = Events(tmp_path / "events.jsonl")
    settings = {
        "AzureWebJobsStorage": stack["queue"],
        "BackupQueue": stack["queue"],
        "AzureFunctionsWebHost__hostid": name,
        "HOST_APP_QUEUE": name,
        "HOST_APP_SCHEDULE": "0 0 0 1 1 *",
        "HOST_APP_EVENTS": str(events.file),
    }
    for setting, value in settings.items():
        monkeypatch.setenv(setting, value)
    # A host's import of the app is not to be seen by other tests.
    monkeypatch.setattr(sys, "path", list(sys.path))
    imported = sys.modules.pop(MODULE_NAME, None)
    async with (
        QueueServiceClient.from_connection_string(stack["queue"]) as service,
        BlobServiceClient.from_connection_string(stack["queue"]) as blobs,
    ):
        queue = await service.create_queue(name)
        yield Trial(
            options=HostOptions(HOST_APP, port=0, lock_retry_seconds=0.1),
            events=events,
            queue=queue,
            poison=service.get_queue_client(f"{name}-poison"),
            blobs=blobs,
            release_file=tmp_path / "released",
        )
    sys.modules.pop(MODULE_NAME, None)
    if imported is not None:
        sys.modules[MODULE_NAME] = imported

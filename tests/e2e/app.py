"""The app as an end-to-end test has it: a Functions host in a process of its own, reached by HTTP and its queue."""

import asyncio
import copy
import json
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobClient
from azure.storage.queue.aio import QueueClient

from tests.e2e.programs import ROOT, Program

Ready = dict[str, str]

NEVER = "0 0 0 1 1 *"
"""A schedule that does not fire by itself during a test, unless that test sees the New Year in."""

DEADLINE_SECONDS = 90.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. `json` is None where the body is no JSON."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def app_folder(folder: Path, **queues: int) -> Path:
    """A copy of the app that is fast where the platform is patient: the code is the project's own, by links.

    In host.json only times and the number of messages at once differ from the project's; `queues` overrides them.
    """
    folder.mkdir()
    for name in ("function_app.py", "shared"):
        (folder / name).symlink_to(ROOT / name)
    settings = json.loads((ROOT / "host.json").read_text())
    settings["extensions"]["queues"] |= {
        "visibilityTimeout": "00:00:00",
        "maxPollingInterval": "00:00:00.200",
        "batchSize": 32,
        "newBatchThreshold": 200,
        **queues,
    }
    (folder / "host.json").write_text(json.dumps(settings))
    return folder


class App:
    """One app: its settings and queue, and the host that runs it, if one does."""

    def __init__(
        self, services: Ready, folder: Path, work: Path, *, visibility_seconds: float, settings: Mapping[str, str]
    ) -> None:
        """`services` is where the app finds them, which may be proxies; `folder` is the app's, `work` this one's."""
        self.name = f"e2e-{uuid4().hex[:10]}"
        self._services_file = work / f"{self.name}-services.json"
        self._services_file.write_text(json.dumps(services))
        self._folder = folder
        self._work = work
        self._visibility_seconds = visibility_seconds
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SNAPKEEP_")},
            "AzureFunctionsWebHost__hostid": self.name,
            "SNAPKEEP_BACKUP_QUEUE": self.name,
            "SNAPKEEP_SYNC_SCHEDULE": NEVER,
            "SNAPKEEP_RECONCILE_SCHEDULE": NEVER,
            "SNAPKEEP_RETRY_DELAY_SECONDS": "0.1",
            "SNAPKEEP_ADF_POLL_SECONDS": "1",
            **settings,
        }
        self._instance = self.name
        self._beside: list[App] = []
        self._hosts: list[Program] = []
        self._ready: Ready = {}

    # The process

    def beside(self) -> "App":
        """Another instance of this app: with the same settings and queue, and a host of its own."""
        other = copy.copy(self)
        other._hosts = []
        other._ready = {}
        other._beside = []
        other._instance = f"{self._instance}-beside"
        self._beside.append(other)
        return other

    def launch(self) -> Program:
        """Starts a host and does not wait for it."""
        host = Program(
            *("host", "--services", str(self._services_file), "--port", "0", "--app", str(self._folder)),
            *("--visibility-seconds", str(self._visibility_seconds)),
            environment=self._environment,
            log=self._work / f"{self._instance}-{len(self._hosts)}.log",
        )
        self._hosts.append(host)
        return host

    def start(self) -> None:
        self._ready = self.launch().wait_until_ready()

    async def start_beside(self) -> None:
        """Starts while the test's own event loop goes on: its proxies must answer."""
        self._ready = await asyncio.to_thread(self.launch().wait_until_ready)

    @property
    def host(self) -> Program:
        return self._hosts[-1]

    def stop(self) -> None:
        """In good order, since a lock of a killed host is in the next test's way for a minute."""
        for host in self._hosts:
            host.stop()
        for other in self._beside:
            other.stop()

    @property
    def log(self) -> str:
        """What all of its hosts have logged."""
        return "".join(host.log for host in self._hosts)

    @property
    def url(self) -> str:
        return self._ready["functions"]

    @property
    def function_key(self) -> str:
        return self._ready["function_key"]

    @property
    def master_key(self) -> str:
        return self._ready["master_key"]

    # HTTP

    async def call(self, method: str, path: str, *, key: str | None = None, **request: Any) -> Answer:
        """One request, with the function key unless another is given; "" sends none."""
        key = self.function_key if key is None else key
        headers = {**request.pop("headers", {}), **({"x-functions-key": key} if key else {})}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.url}{path}", headers=headers, **request) as answer,
        ):
            return Answer(answer.status, await answer.text())

    async def protect(self, container: str, **parameters: str) -> dict[str, Any]:
        """Protects a container to the end of this call; every answer but 200 and 202 fails the test."""
        answer = await self.call("POST", "/api/protect", json={"container": container, **parameters})
        assert answer.status in {200, 202}, answer.text
        document: dict[str, Any] = answer.json
        return document

    async def start_by_hand(self, function: str) -> None:
        answer = await self.call("POST", f"/admin/functions/{function}", key=self.master_key, json={"input": ""})
        assert answer.status == 202, answer.text


class Queue:
    """An app's queue and its poison queue, as an operator sees them."""

    def __init__(self, connection_string: str, app: App) -> None:
        self._queue = QueueClient.from_connection_string(connection_string, app.name)
        self._poison = QueueClient.from_connection_string(connection_string, f"{app.name}-poison")

    async def __aenter__(self) -> "Queue":
        await self.create()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._queue.close()
        await self._poison.close()

    async def create(self) -> None:
        """Creates the queue, so that a host need not wait for it; one that is there is fine."""
        try:
            await self._queue.create_queue()
        except ResourceExistsError:
            return

    async def put_text(self, text: str) -> None:
        await self._queue.send_message(text)

    async def put(self, document: Any) -> None:
        await self.put_text(b64encode(json.dumps(document).encode()).decode())

    async def length(self) -> int:
        """How many messages there are, hidden and delayed ones included: exact on Azurite."""
        try:
            return (await self._queue.get_queue_properties()).approximate_message_count or 0
        except ResourceNotFoundError:
            return 0

    async def drained(self) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while count := await self.length():
            assert time.monotonic() < deadline, f"the queue still holds {count} message(s)"
            await asyncio.sleep(0.05)

    async def texts(self) -> list[str]:
        """What can be seen of both queues now."""
        found = []
        for queue in (self._queue, self._poison):
            try:
                found += [message.content for message in await queue.peek_messages(max_messages=32)]
            except ResourceNotFoundError:
                continue
        return found

    async def poisoned(self, mark: str) -> str:
        """The message on the poison queue that holds `mark`, as soon as there is one: its text, base64 undone."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                messages = await self._poison.peek_messages(max_messages=32)
            except ResourceNotFoundError:
                messages = []
            for message in messages:
                text = plain(message.content)
                if mark in text:
                    return text
            assert time.monotonic() < deadline, f"no message with {mark} was poisoned"
            await asyncio.sleep(0.05)


def plain(text: str) -> str:
    """A message's text with its base64 undone, if it is base64."""
    try:
        return b64decode(text, validate=True).decode()
    except ValueError:
        return text


async def until(condition: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        await asyncio.sleep(0.02)


async def until_it_is(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """As `until`, for what must be asked of a service."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not await condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        await asyncio.sleep(0.05)


async def state_document(stack: Ready, name: str) -> Any:
    """A JSON document of the app's state; None where there is none."""
    async with BlobClient.from_connection_string(stack["queue"], "snapkeep-state", name) as blob:
        try:
            return json.loads(await (await blob.download_blob()).readall())
        except ResourceNotFoundError:
            return None

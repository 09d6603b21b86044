"""Tries calls without harm, for the doctor: what each answered, raw, and nothing that is left behind.

A call is made on a blob or queue of a random name, which does not exist, or under a condition that no ETag
meets. Nothing is created, changed or deleted in the source and backup accounts, and nothing is taken from a queue.
"""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from socket import gaierror
from typing import Any, TypeVar
from uuid import uuid4

import aiohttp
from azure.core import MatchConditions
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestTimeoutError, ServiceResponseTimeoutError
from azure.storage.blob.aio import BlobLeaseClient
from azure.storage.queue.aio import QueueClient

from shared.adapters.accounts import Account, client_options, credential_of
from shared.adapters.azcopy_folders import RunFolder
from shared.adapters.datafactory import DataFactory
from shared.adapters.signing import STORAGE_SCOPE
from shared.connections import Connection
from shared.containers import POISON_SUFFIX
from shared.decisions import access
from shared.decisions.access import Need, Trial
from shared.decisions.findings import Answer, Trouble
from shared.decisions.pipeline import PipelineParameter
from shared.errors import SnapkeepError
from shared.settings import DataFactorySettings

Value = TypeVar("Value")
Call = Callable[..., Awaitable[Value]]
Calls = Sequence[tuple[Need, Call[Any]]]

_NO_ETAG: dict[str, Any] = {"etag": '"0x0"', "match_condition": MatchConditions.IfNotModified}
_NO_MESSAGE = "00000000-0000-0000-0000-000000000000"
# A doctor's patience: one repetition, for what the network drops, and then that is the answer.
_OPTIONS: dict[str, Any] = {"retry_total": 1, "connection_timeout": 10, "read_timeout": 20}


async def ask(call: Call[Value], now: Callable[[], datetime]) -> Answer[Value]:
    """What the service answers to a call of the storage SDK."""
    dates: list[str] = []

    def note(response: Any) -> None:
        if response.http_response is not None:
            dates.append(response.http_response.headers.get("Date", ""))

    try:
        value = await call(raw_response_hook=note, **_OPTIONS)
    except AzureError as error:
        return of_error(error, dates, now())
    return Answer(200, skew=_skew(dates, now()), value=value)


def of_error(error: BaseException | None, dates: Sequence[str], at: datetime) -> Answer[Any]:
    """What a failed call says of the service."""
    if isinstance(error, HttpResponseError) and error.response is not None:
        code = getattr(error, "error_code", None) or getattr(error.error, "code", None)
        text = str(getattr(code, "value", code) or "without an error code")
        return Answer(error.status_code, text, skew=_skew(dates, at))
    return Answer(None, trouble=_trouble(error))


def _trouble(error: BaseException | None) -> Trouble:
    if isinstance(error, HttpResponseError):  # raised before anything was sent: no token, or no key to sign with
        return Trouble.CREDENTIAL
    cause = getattr(error, "inner_exception", None)
    system_error = getattr(cause, "os_error", None)
    if isinstance(cause, aiohttp.ClientSSLError | ssl.SSLError):
        return Trouble.TLS
    if isinstance(system_error, gaierror):
        return Trouble.NAME
    if isinstance(system_error, ConnectionRefusedError):
        return Trouble.REFUSED
    timeouts = (TimeoutError, aiohttp.ServerTimeoutError, ServiceRequestTimeoutError, ServiceResponseTimeoutError)
    if isinstance(cause, timeouts) or isinstance(error, timeouts):
        return Trouble.TIMEOUT
    return Trouble.UNREACHABLE


def _skew(dates: Sequence[str], at: datetime) -> Any:
    try:
        return at - parsedate_to_datetime(dates[-1])
    except (IndexError, ValueError):  # no date, or one that is none: a proxy's answer
        return None


async def token_for(credential: AsyncTokenCredential, now: Callable[[], datetime]) -> Answer[None]:
    """Whether an identity gets a token. Asked for by itself: a failure of the identity service looks like storage's."""
    try:
        await credential.get_token(STORAGE_SCOPE)
    except AzureError as error:
        return of_error(error, (), now())
    return Answer(200)


class BlobProbe:
    """Tries calls of one account's blob service."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self._account = Account(connection)
        self._now = now
        self.absent = f"snapkeep-doctor-{uuid4().hex}"
        """A name that no container and no blob has."""

    async def token(self) -> Answer[None] | None:
        """Whether the connection's identity gets a token; None where it has a key or a SAS."""
        return await token_for(self._account.credential, self._now) if self._account.credential else None

    async def containers(self) -> Answer[list[str]]:
        """The names of all containers."""

        async def every(**options: Any) -> list[str]:
            return [found.name async for found in self._account.service.list_containers(**options)]

        return await ask(every, self._now)

    async def container(self, name: str) -> Answer[tuple[bool, bool]]:
        """Whether a container has an immutability policy (of time, or of versions), and whether a legal hold."""

        async def look(**options: Any) -> tuple[bool, bool]:
            found = await self._account.service.get_container_client(name).get_container_properties(**options)
            guarded = found.has_immutability_policy or found.immutable_storage_with_versioning_enabled
            return bool(guarded), bool(found.has_legal_hold)

        return await ask(look, self._now)

    async def soft_delete_days(self) -> Answer[int]:
        """For how many days deleted blobs can be brought back; 0 for not at all."""

        async def look(**options: Any) -> int:
            found = await self._account.service.get_service_properties(**options)
            policy = found["delete_retention_policy"]
            return (policy.days or 0) if policy.enabled else 0

        return await ask(look, self._now)

    async def reading(self, container: str | None, *, lease: bool) -> list[Trial]:
        """The calls that are made on the source; without a container they are tried on one that does not exist."""
        blob = self._account.blob(container or self.absent, self.absent)
        calls: list[tuple[Need, Call[Any]]] = [
            (access.LIST_BLOBS, self._first_of(container, ["snapshots", "metadata"])),
            (access.READ_BLOBS, blob.get_blob_properties),
            (access.SNAPSHOT, lambda **options: blob.create_snapshot(**_NO_ETAG, **options)),
            (access.READ_TAGS, blob.get_blob_tags),
        ]
        if lease:
            calls.append((access.LEASE, lambda **options: BlobLeaseClient(blob).acquire(15, **_NO_ETAG, **options)))
        return await self._tried(calls, container)

    async def writing(self, container: str | None) -> list[Trial]:
        """The calls that are made on the backup account."""
        blob = self._account.blob(container or self.absent, self.absent)
        client = self._account.service.get_container_client(container or self.absent)
        calls: list[tuple[Need, Call[Any]]] = [
            (access.LOOK_AT_CONTAINERS, client.get_container_properties),
            (access.LIST_BACKUPS, self._first_of(container, [])),
            (access.READ_BACKUPS, blob.get_blob_properties),
            (access.CREATE_BLOBS, lambda **options: blob.upload_blob(b"", overwrite=True, **_NO_ETAG, **options)),
            (access.WRITE_TAGS, lambda **options: blob.set_blob_tags({"snapkeep": "doctor"}, **options)),
        ]
        return await self._tried(calls, container)

    async def writing_blocks(self) -> list[Trial]:
        """Staging a block, in no container: no condition could keep it from being stored in a real one."""
        blob = self._account.blob(self.absent, self.absent)
        return await self._tried([(access.WRITE_BLOCKS, lambda **opts: blob.stage_block("MDAw", b"0", **opts))], None)

    async def deleting(self, need: Need, container: str) -> list[Trial]:
        blob = self._account.blob(container, self.absent)
        return await self._tried([(need, lambda **options: blob.delete_blob(**_NO_ETAG, **options))], container)

    async def deleting_scratch(self) -> list[Trial]:
        """Deleting a container, tried with a name that nothing has."""
        client = self._account.service.get_container_client(self.absent)
        return await self._tried([(access.DELETE_SCRATCH, client.delete_container)], None)

    async def creating(self, existing: str) -> list[Trial]:
        """Creating a container, tried with the name of one that exists."""
        client = self._account.service.get_container_client(existing)
        return await self._tried([(access.CREATE_CONTAINERS, client.create_container)], existing)

    def _first_of(self, container: str | None, include: list[str]) -> Call[None]:
        async def first(**options: Any) -> None:
            client = self._account.service.get_container_client(container or self.absent)
            async for _ in client.list_blobs(include=include, results_per_page=1, **options):
                return

        return first

    async def _tried(self, calls: Calls, where: str | None) -> list[Trial]:
        answers = await asyncio.gather(*(ask(call, self._now) for _, call in calls))
        return [Trial(need, answer, where) for (need, _), answer in zip(calls, answers, strict=True)]

    async def close(self) -> None:
        await self._account.close()


class QueueProbe:
    """Tries calls of one account's queue service."""

    def __init__(self, connection: Connection, name: str, now: Callable[[], datetime]) -> None:
        self._now = now
        self._credential = None if connection.connection_string else credential_of(connection)
        absent = f"snapkeep-doctor-{uuid4().hex}"
        options = client_options(connection.queue_endpoint)
        self._queues = {
            queue: QueueClient.from_connection_string(connection.connection_string, queue, **options)
            if connection.connection_string
            else QueueClient(connection.queue_endpoint, queue, credential=self._credential, **options)
            for queue in (name, f"{name}{POISON_SUFFIX}", absent)
        }
        self._name, self._absent = name, self._queues[absent]

    async def token(self) -> Answer[None] | None:
        """Whether the connection's identity gets a token; None where it has a key or a SAS."""
        return await token_for(self._credential, self._now) if self._credential else None

    async def look(self) -> Answer[Any]:
        """Whether the queue is there."""
        return await ask(self._queues[self._name].get_queue_properties, self._now)

    async def tried(self) -> list[Trial]:
        """The calls that are made on the queues; those that put or take something, on one that does not exist."""
        absent = self._absent
        calls: list[tuple[Need, Call[Any], str | None]] = [
            (access.PEEK, self._queues[self._name].peek_messages, self._name),
            (access.PUT, lambda **options: absent.send_message("", **options), None),
            (access.TAKE, absent.receive_message, None),
            (access.UPDATE, lambda **options: absent.update_message(_NO_MESSAGE, "AAAA", **options), None),
        ]
        answers = await asyncio.gather(*(ask(call, self._now) for _, call, _ in calls))
        return [Trial(need, answer, where) for (need, _, where), answer in zip(calls, answers, strict=True)]

    async def close(self) -> None:
        for client in self._queues.values():
            await client.close()
        if self._credential is not None:
            await self._credential.close()


class FactoryProbe:
    """Tries calls of Data Factory's management service."""

    def __init__(self, place: DataFactorySettings, identity: Connection, now: Callable[[], datetime]) -> None:
        self._absent = f"snapkeep-doctor-{uuid4().hex}"
        self._factory = DataFactory(place, identity)
        self._other = DataFactory(replace(place, pipeline=self._absent), identity)
        self._now = now

    async def parameters(self) -> Answer[dict[str, PipelineParameter]]:
        return await settled(self._factory.parameters, self._now)

    async def tried(self) -> list[tuple[str, Answer[Any]]]:
        """The calls that are made, with a pipeline and a run that do not exist."""
        run, now = str(uuid4()), self._now
        return [
            ("start runs", await settled(lambda: self._other.start({}), now)),
            ("look at runs", await settled(lambda: self._factory.run(run), now)),
            ("query runs", await settled(lambda: self._factory.find(run, now()), now)),
            ("cancel runs", await settled(lambda: self._factory.cancel(run), now)),
        ]

    async def close(self) -> None:
        await self._factory.close()
        await self._other.close()


async def settled(call: Callable[[], Awaitable[Value]], now: Callable[[], datetime]) -> Answer[Value]:
    """What the service said behind one of the adapters' own calls."""
    try:
        return Answer(200, value=await call())
    except SnapkeepError as error:
        if not isinstance(error.__cause__, AzureError):
            raise
        return of_error(error.__cause__, (), now())


def azcopy_folder() -> tuple[Path, int]:
    """Where azcopy's runs have their folders, tried by making one, and how many bytes are free there.

    Raises:
        AzcopyUnusable: it is too full, or somebody else's.
        OSError: it cannot be written to.
    """
    folder = RunFolder()
    try:
        return folder.path.parent, shutil.disk_usage(folder.path).free
    finally:
        folder.remove()

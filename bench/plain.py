"""What a script does with the azure-storage clients: plain loops, one call after another or many at once.

These are the SDK's own best: one client per account, its connection pool reused, nothing built twice.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobProperties, BlobSasPermissions, BlobServiceClient, generate_blob_sas
from azure.storage.blob.aio import BlobServiceClient as AsyncBlobServiceClient
from azure.storage.queue import QueueClient
from azure.storage.queue.aio import QueueClient as AsyncQueueClient

from shared.model import Version
from shared.parallel import for_each

_STILL: dict[str, Any] = {"match_condition": MatchConditions.IfNotModified}


def list_entries(text: str, container: str) -> int:
    """Lists a container with snapshots and metadata; gives how many entries there are."""
    with BlobServiceClient.from_connection_string(text) as service:
        client = service.get_container_client(container)
        return sum(1 for _ in client.list_blobs(include=["snapshots", "metadata"]))


def snapshot_each(text: str, container: str, versions: Iterable[Version]) -> None:
    with BlobServiceClient.from_connection_string(text) as service:
        client = service.get_container_client(container)
        for version in versions:
            client.get_blob_client(version.name).create_snapshot(etag=f'"{version.etag}"', **_STILL)


def head_each(text: str, container: str, versions: Iterable[Version]) -> None:
    with BlobServiceClient.from_connection_string(text) as service:
        client = service.get_container_client(container)
        for version in versions:
            client.get_blob_client(version.name).get_blob_properties()


def send_each(text: str, queue: str, messages: Iterable[str]) -> None:
    with QueueClient.from_connection_string(text, queue) as client:
        for message in messages:
            client.send_message(message, time_to_live=-1)


async def snapshot_at_once(text: str, container: str, versions: Iterable[Version], at_once: int) -> None:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(AsyncBlobServiceClient.from_connection_string(text))
        client = service.get_container_client(container)

        async def one(version: Version) -> None:
            await client.get_blob_client(version.name).create_snapshot(etag=f'"{version.etag}"', **_STILL)

        await for_each(versions, one, at_once)


async def head_at_once(text: str, container: str, versions: Iterable[Version], at_once: int) -> None:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(AsyncBlobServiceClient.from_connection_string(text))
        client = service.get_container_client(container)

        async def one(version: Version) -> None:
            await client.get_blob_client(version.name).get_blob_properties()

        await for_each(versions, one, at_once)


async def send_at_once(text: str, queue: str, messages: Iterable[str], at_once: int) -> None:
    async with AsyncQueueClient.from_connection_string(text, queue) as client:

        async def one(message: str) -> None:
            await client.send_message(message, time_to_live=-1)

        await for_each(messages, one, at_once)


def protect(source: str, queue_text: str, queue: str, container: str, page_entries: int = 5000) -> int:
    """Lists, compares each blob with its newest snapshot, then a message and a snapshot for each that changed."""
    with (
        BlobServiceClient.from_connection_string(source) as service,
        QueueClient.from_connection_string(queue_text, queue) as messages,
    ):
        client = service.get_container_client(container)
        live: dict[str, BlobProperties] = {}
        newest: dict[str, BlobProperties] = {}
        for blob in client.list_blobs(include=["snapshots", "metadata"], results_per_page=page_entries):
            if not blob.snapshot:
                live[blob.name] = blob
            elif blob.name not in newest or blob.snapshot > str(newest[blob.name].snapshot):
                newest[blob.name] = blob
        changed = [blob for name, blob in live.items() if name not in newest or newest[name].etag != blob.etag]
        for blob in changed:
            request = {"container": container, "name": blob.name, "etag": blob.etag, "size": blob.size}
            messages.send_message(b64encode(json.dumps(request).encode()).decode(), time_to_live=-1)
            client.get_blob_client(blob.name).create_snapshot()
        return len(changed)


def back_up(source: str, backup: str, queue_text: str, queue: str) -> int:
    """Takes `protect`'s messages, 32 at a time, and has the service copy each blob; gives how many."""
    copied = 0
    with (
        BlobServiceClient.from_connection_string(source) as origin,
        BlobServiceClient.from_connection_string(backup) as target,
        QueueClient.from_connection_string(queue_text, queue) as messages,
    ):
        for message in messages.receive_messages(messages_per_page=32, visibility_timeout=3600):
            request = json.loads(b64decode(message.content))
            blob = origin.get_blob_client(request["container"], request["name"])
            copy = target.get_blob_client(backup_container(request["container"]), request["name"])
            copy.start_copy_from_url(f"{blob.url}?{_readable(origin, blob.container_name, blob.blob_name)}")
            if copy.get_blob_properties().size != request["size"]:
                raise RuntimeError(f"{request['name']}: the copy has another size")
            messages.delete_message(message)
            copied += 1
    return copied


def reconcile(source: str, backup: str, container: str, page_entries: int = 5000) -> int:
    """Lists the source and looks at each blob's copy; gives how many are missing."""
    missing = 0
    with (
        BlobServiceClient.from_connection_string(source) as origin,
        BlobServiceClient.from_connection_string(backup) as target,
    ):
        copies = target.get_container_client(backup_container(container))
        blobs = origin.get_container_client(container).list_blobs(include=["metadata"], results_per_page=page_entries)
        for blob in blobs:
            try:
                missing += copies.get_blob_client(blob.name).get_blob_properties().size != blob.size
            except ResourceNotFoundError:
                missing += 1
    return missing


def backup_container(container: str) -> str:
    """Where `back_up` copies to: not where Snapkeep does."""
    return f"{container}-plain"


def _readable(service: BlobServiceClient, container: str, name: str) -> str:
    return generate_blob_sas(
        str(service.account_name),
        container,
        name,
        account_key=service.credential.account_key,
        permission=BlobSasPermissions(read=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )

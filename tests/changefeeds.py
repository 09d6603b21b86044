"""A change feed as the service publishes it: Avro files of its schema, segments' manifests, and what may be read."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import fastavro
from azure.storage.blob.aio import BlobClient, ContainerClient

SCHEMA = {
    "type": "record",
    "name": "BlobChangeEvent",
    "fields": [
        {"name": "schemaVersion", "type": "int"},
        {"name": "topic", "type": "string"},
        {"name": "subject", "type": "string"},
        {"name": "eventType", "type": "string"},
        {"name": "eventTime", "type": "string"},
        {"name": "id", "type": "string"},
        {
            "name": "data",
            "type": {
                "type": "record",
                "name": "BlobChangeEventData",
                "fields": [
                    {"name": "api", "type": ["null", "string"]},
                    {"name": "etag", "type": ["null", "string"]},
                    {"name": "contentLength", "type": ["null", "long"]},
                    {"name": "blobType", "type": ["null", "string"]},
                    {"name": "url", "type": ["null", "string"]},
                    {"name": "snapshot", "type": ["null", "string"]},
                    {"name": "previousInfo", "type": ["null", {"type": "map", "values": "string"}]},
                    {"name": "storageDiagnostics", "type": {"type": "map", "values": "string"}},
                ],
            },
        },
    ],
}
FOLDERS = ("log/00", "log/01")


def event(container: str, name: str, kind: str = "BlobCreated") -> dict[str, Any]:
    return {
        "schemaVersion": 5,
        "topic": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/source",
        "subject": f"/blobServices/default/containers/{container}/blobs/{name}",
        "eventType": kind,
        "eventTime": "2026-11-20T14:05:33.4003102Z",
        "id": "322343e3-8020-0000-00fe-233467066726",
        "data": {
            "api": "PutBlob",
            "etag": "0x8DE27F0A1B2C3D4",
            "contentLength": 1,
            "blobType": "BlockBlob",
            "url": "",
            "snapshot": None,
            "previousInfo": None,
            "storageDiagnostics": {"bid": "1"},
        },
    }


def avro(events: Sequence[dict[str, Any]], sync_interval: int = 16_000, codec: str = "null") -> bytes:
    """A file, in blocks of about so many bytes."""
    file = io.BytesIO()
    fastavro.writer(file, SCHEMA, events, codec, sync_interval=sync_interval, sync_marker=b"0123456789abcdef")
    return file.getvalue()


class Feed:
    """Writes a feed into a container; each append adds whole blocks to a file of an hour."""

    def __init__(self, container: ContainerClient) -> None:
        self.container = container
        self._written: dict[str, int] = {}

    async def append(self, hour: datetime, folder: str, events: Sequence[dict[str, Any]], number: int = 0) -> str:
        """Adds events to a file of the hour, and gives its name."""
        name = f"{folder}/{hour:%Y/%m/%d/%H}00/{number:05}.avro"
        content = avro(events)
        blob: BlobClient = self.container.get_blob_client(name)
        if name in self._written:
            content = content[len(avro([])) :]  # the blocks alone
        else:
            await blob.create_append_blob()
        await blob.append_block(content)
        self._written[name] = self._written.get(name, 0) + len(content)
        return name

    async def segment(self, hour: datetime, status: str = "Publishing") -> None:
        """Says that there are files of this hour, and whether more come."""
        path = f"{hour:%Y/%m/%d/%H}00"
        document = {
            "version": 0,
            "begin": f"{hour:%Y-%m-%dT%H:%M:%S}.000Z",
            "intervalSecs": 3600,
            "status": status,
            "config": {"version": 0, "numShards": 2, "recordsFormat": "avro", "formatSchemaVersion": 5},
            "chunkFilePaths": [f"$blobchangefeed/{folder}/{path}/" for folder in FOLDERS],
        }
        await self._put(f"idx/segments/{path}/meta.json", document)

    async def consumable(self, hour: datetime) -> None:
        """Says up to which hour the feed may be read; and, as the service does, that there is one of 1601."""
        await self._put("meta/segments.json", {"version": 0, "lastConsumable": f"{hour:%Y-%m-%dT%H:%M:%S}.000Z"})
        empty = {"version": 0, "status": "Finalized", "chunkFilePaths": []}
        await self._put("idx/segments/1601/01/01/0000/meta.json", empty)

    async def _put(self, name: str, document: dict[str, Any]) -> None:
        await self.container.get_blob_client(name).upload_blob(json.dumps(document), overwrite=True)

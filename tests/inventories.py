"""Blob Inventories as the service writes them: files and manifest, made of listings' entries."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import duckdb
from azure.core.exceptions import ResourceExistsError

from shared.containers import backup_container
from shared.decisions.inventory import Side
from shared.decisions.restored import RESTORING
from shared.errors import ContainerNotFound
from shared.model import Entry
from shared.services import Services

Form = Literal["csv", "parquet", "parquet of numbers"]
"""CSV, or Parquet with timestamps that say so, or with the milliseconds alone."""

FIELDS = (
    "Name",
    "Snapshot",
    "Etag",
    "Last-Modified",
    "Content-Length",
    "Content-MD5",
    "BlobType",
    "AccessTier",
    "hdi_isfolder",
    "Metadata",
    "CustomerProvidedKeySha256",
)
RULE = "snapkeep"


def row(container: str, entry: Entry) -> dict[str, Any]:
    """A blob as an inventory has it."""
    metadata = {RESTORING: "job"} if entry.half else {}
    return {
        "Name": f"{container}/{entry.name}",
        "Snapshot": entry.snapshot,
        "Etag": entry.etag,
        "Last-Modified": entry.last_modified,
        "Content-Length": entry.size,
        "Content-MD5": entry.md5,
        "BlobType": entry.blob_type,
        "AccessTier": entry.tier,
        "hdi_isfolder": "true" if entry.directory else None,
        "Metadata": json.dumps(metadata) if metadata else None,
        "CustomerProvidedKeySha256": "hash" if entry.customer_key else None,
    }


def write_file(path: Path, rows: Iterable[dict[str, Any]], form: Form, fields: Sequence[str] = FIELDS) -> None:
    """One file of an inventory."""
    text = path if form == "csv" else path.with_suffix(".text")
    with text.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fields, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    if form == "csv":
        return
    columns = ", ".join(_typed(field, form) for field in fields)
    names = ", ".join(f"'{field}': 'VARCHAR'" for field in fields)
    with duckdb.connect() as database:
        database.execute(
            f"COPY (SELECT {columns} FROM read_csv('{text}', auto_detect = false, header = true, quote = '\"',"  # noqa: S608 -- a test's own
            f" escape = '\"', delim = ',', columns = {{{names}}})) TO '{path}' (FORMAT parquet)"
        )
    text.unlink()


def _typed(field: str, form: Form) -> str:
    if field == "Content-Length":
        return f'"{field}"::BIGINT AS "{field}"'
    if field == "hdi_isfolder":
        return f'"{field}"::BOOLEAN AS "{field}"'
    if field == "Last-Modified" and form == "parquet of numbers":
        return f'epoch_ms("{field}"::TIMESTAMP) AS "{field}"'
    if field == "Last-Modified":
        return f'"{field}"::TIMESTAMP::TIMESTAMP_MS AS "{field}"'
    return f'"{field}"'


class Publisher:
    """Writes inventories of both accounts into a container of each, as the service does once a day."""

    def __init__(self, services: Services, folder: Path) -> None:
        self._services = services
        self._folder = folder
        self.container = f"inventory-{uuid4().hex[:12]}"
        self.settings = {
            "SNAPKEEP_SOURCE_INVENTORY": f"{self.container}/{RULE}",
            "SNAPKEEP_BACKUP_INVENTORY": f"{self.container}/{RULE}",
        }

    async def publish(
        self, containers: Sequence[str], started_at: datetime, form: Form = "csv", **changes: Any
    ) -> None:
        """Inventories of what stands now in these source containers and in their backup containers."""
        for side in Side:
            names = containers if side is Side.SOURCE else [backup_container(name) for name in containers]
            rows = [row(name, entry) for name in names for entry in await self._entries(side, name)]
            await self.upload(side, rows, started_at, form, **changes)

    async def upload(
        self, side: Side, rows: Sequence[dict[str, Any]], started_at: datetime, form: Form = "csv", **changes: Any
    ) -> None:
        service = (self._services.source if side is Side.SOURCE else self._services.backup).account.service
        client = service.get_container_client(self.container)
        with contextlib.suppress(ResourceExistsError):
            await client.create_container()
        fields = [name for name in FIELDS if side is Side.SOURCE or name != "Snapshot"]
        run, files = f"{started_at:%Y/%m/%d/%H-%M-%S}/{RULE}", []
        for number in range(2):
            path = self._folder / f"{side}-{number}.{form.partition(' ')[0]}"
            write_file(path, rows[number::2], form, fields)
            name = f"{run}/{RULE}_1000000_{number}{path.suffix}"
            await client.upload_blob(name, path.read_bytes(), overwrite=True)
            files.append((name, path.stat().st_size))
        document = manifest(side, files, started_at, form, fields=fields) | {"endpoint": service.url} | changes
        await client.upload_blob(f"{run}/{RULE}-manifest.json", json.dumps(document), overwrite=True)

    async def _entries(self, side: Side, container: str) -> list[Entry]:
        pages = self._services.source.pages if side is Side.SOURCE else self._services.backup.pages
        try:
            return [entry async for page in pages(container) for entry in page.entries]
        except ContainerNotFound:
            return []


def manifest(
    side: Side,
    files: Sequence[tuple[str, int]],
    started_at: datetime,
    form: Form,
    *,
    fields: Sequence[str] = FIELDS,
    **changes: Any,
) -> dict[str, Any]:
    """A manifest, in the form that the service's documentation shows; `changes` are made at its top level."""
    return {
        "destinationContainer": "inventory",
        "endpoint": f"https://{side}.blob.core.windows.net",
        "files": [{"blob": name, "size": size} for name, size in files],
        "inventoryCompletionTime": started_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "inventoryStartTime": started_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "ruleDefinition": {
            "filters": {
                "blobTypes": ["blockBlob", "appendBlob", "pageBlob"],
                "includeSnapshots": side is Side.SOURCE,
                "prefixMatch": None,
            },
            "format": "csv" if form == "csv" else "parquet",
            "objectType": "blob",
            "schedule": "daily",
            "schemaFields": [field for field in fields if side is Side.SOURCE or field != "Snapshot"],
        },
        "ruleName": RULE,
        "status": "Succeeded",
        "version": "1.0",
    } | changes

"""The Copy activity, Binary to Binary between two blob accounts, against real storage.

It does what is documented of Data Factory: reads the live blob in ranges, writes blocks and commits them,
overwrites what is there, writes the content's MD5 to the sink, and fails when the source changed meanwhile.
Sources, under learn.microsoft.com/azure/data-factory: copy-activity-data-consistency,
copy-activity-preserve-metadata.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import BlobBlock, ContentSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from azure.storage.blob import BlobProperties
    from azure.storage.blob.aio import BlobClient, BlobServiceClient


class CopyPoint(StrEnum):
    """Where a test can stop a copy."""

    BEFORE_READING = "before_reading"
    """Before the source is looked at: what changes now is copied as if nothing had happened."""
    BEFORE_COMMIT = "before_commit"
    """All blocks are written, nothing is visible in the sink: what changes now fails the copy."""


class CopyError(Exception):
    """The copy failed, with Data Factory's error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"ErrorCode={code}, {message}")
        self.code = code


@dataclass(frozen=True)
class BlobPath:
    """A blob in the account of a linked service."""

    account: BlobServiceClient
    container: str
    name: str

    def client(self) -> BlobClient:
        # The storage SDK collapses such segments, and would read or write another blob.
        if any(segment in {".", ".."} for segment in self.name.split("/")):
            raise CopyError("UserErrorInvalidBlobName", f"{self.name!r} has a '.' or '..' segment")
        return self.account.get_blob_client(self.container, self.name)


@dataclass(frozen=True)
class CopyResult:
    """What a copy moved."""

    files: int
    size_bytes: int


async def copy_blob(
    source: BlobPath,
    sink: BlobPath,
    *,
    preserve_attributes: bool,
    skip_missing: bool,
    block_size_bytes: int,
    reached: Callable[[CopyPoint], Awaitable[None]],
) -> CopyResult:
    """Copies one blob. `reached` is awaited at each CopyPoint. Raises CopyError."""
    async with source.client() as reader, sink.client() as writer:
        await reached(CopyPoint.BEFORE_READING)
        async with _failing_as("source", source):
            try:
                properties = await reader.get_blob_properties()
            except ResourceNotFoundError as error:
                if skip_missing and _code(error) == "BlobNotFound":
                    return CopyResult(files=0, size_bytes=0)
                raise
        blocks, digest = await _transfer(source, sink, reader, writer, properties, block_size_bytes)
        await reached(CopyPoint.BEFORE_COMMIT)
        async with _failing_as("source", source):
            current = await reader.get_blob_properties()
        _require_unchanged(source, properties, current, digest)
        async with _failing_as("sink", sink):
            await writer.commit_block_list(
                blocks,
                content_settings=_content_settings(properties, digest, preserve=preserve_attributes),
                metadata=properties.metadata if preserve_attributes else None,
            )
            written = await writer.get_blob_properties()
        if written.size != properties.size:
            raise CopyError("DataConsistencyInvalidFileSize", f"{sink.name!r} has {written.size} bytes")
        return CopyResult(files=1, size_bytes=written.size)


async def _transfer(
    source: BlobPath,
    sink: BlobPath,
    reader: BlobClient,
    writer: BlobClient,
    properties: BlobProperties,
    block_size_bytes: int,
) -> tuple[list[BlobBlock], bytes]:
    """Writes the source's content as uncommitted blocks; returns them and the MD5 of the whole."""
    blocks: list[BlobBlock] = []
    md5 = hashlib.md5(usedforsecurity=False)
    for offset in range(0, properties.size, block_size_bytes):
        length = min(block_size_bytes, properties.size - offset)
        async with _failing_as("source", source):
            download = await reader.download_blob(
                offset,
                length,
                etag=properties.etag,
                match_condition=MatchConditions.IfNotModified,
                decompress=False,  # a Binary dataset is copied as it is stored
            )
            content = await download.readall()
        md5.update(content)
        block = base64.b64encode(f"{len(blocks):016}".encode()).decode()
        async with _failing_as("sink", sink):
            await writer.stage_block(block, content)
        blocks.append(BlobBlock(block))
    return blocks, md5.digest()


def _require_unchanged(source: BlobPath, before: BlobProperties, after: BlobProperties, md5: bytes) -> None:
    if after.etag != before.etag:
        raise _changed(source)
    expected = before.content_settings.content_md5
    if expected is not None and bytes(expected) != md5:
        raise CopyError("DataConsistencyMd5Mismatch", f"the content of {source.name!r} does not match its MD5")


def _changed(source: BlobPath) -> CopyError:
    return CopyError(
        "DataConsistencySourceDataChanged",
        f"Source file {source.name!r} is changed by other clients during the copy activity run.",
    )


def _content_settings(properties: BlobProperties, md5: bytes, *, preserve: bool) -> ContentSettings:
    original = properties.content_settings
    if not preserve:
        return ContentSettings(content_md5=bytearray(md5))
    return ContentSettings(
        content_type=original.content_type,
        content_encoding=original.content_encoding,
        content_language=original.content_language,
        content_disposition=original.content_disposition,
        cache_control=original.cache_control,
        content_md5=bytearray(md5),
    )


@asynccontextmanager
async def _failing_as(side: str, path: BlobPath) -> AsyncIterator[None]:
    """Turns a storage error into the activity's error."""
    try:
        yield
    except ResourceModifiedError as error:
        raise (_changed(path) if side == "source" else _refused(side, path, error)) from error
    except ResourceNotFoundError as error:
        raise CopyError(
            f"UserError{side.capitalize()}BlobNotExist",
            f"The blob is missing ({_code(error)}). Container: {path.container}, path: {path.name!r}.",
        ) from error
    except HttpResponseError as error:
        raise _refused(side, path, error) from error
    except AzureError as error:
        raise CopyError("StorageUnreachable", f"{side} {path.name!r}: {error}") from error


def _code(error: HttpResponseError) -> str | None:
    # The storage SDK sets it on azure-core's exceptions, whose types do not know it.
    return getattr(error, "error_code", None)


def _refused(side: str, path: BlobPath, error: HttpResponseError) -> CopyError:
    return CopyError(
        "AzureStorageOperationFailed",
        f"{side} {path.container}/{path.name!r}: {error.status_code} {error.reason}",
    )

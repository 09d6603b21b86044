"""Reads the change feed of an account: documents, names, and Avro files from a position on.

The azure-storage-blob-changefeed package is a preview without a release for years, has no asyncio, and passes over the
errors of the service. Avro is fastavro's.
"""

from __future__ import annotations

import contextlib
import io
import json
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import fastavro

from shared.adapters.accounts import Account
from shared.adapters.translate import azure_errors
from shared.decisions.changefeed import CONTAINER
from shared.errors import BlobGone, ContainerNotFound, StorageFailed

HEADER_BYTES = 64 * 1024
"""More than an Avro header with the feed's schema takes: it is read again for each part of a file."""

PIECE_BYTES = 8 * 1024 * 1024
"""How much of a file is read at once, if a block of it is no longer than that."""


class Piece(NamedTuple):
    """Whole blocks of a file: their events, and where the next block begins."""

    events: list[dict[str, Any]]
    end: int


class ChangeFeed:
    """The feed of one account; it stands in a container that no listing of containers shows."""

    def __init__(self, account: Account, container: str = CONTAINER) -> None:
        self._account = account
        self._container = container

    @property
    def account_name(self) -> str:
        return self._account.connection.account_name

    async def document(self, name: str) -> Any:
        """A JSON document; None where there is none, or no feed.

        Raises:
            StorageFailed: it could not be read, or is not JSON.
        """
        try:
            with azure_errors(f"read {self._container}/{name}"):
                stream = await self._account.blob(self._container, name).download_blob()
                return json.loads(await stream.readall())
        except (BlobGone, ContainerNotFound):
            return None
        except ValueError as error:
            raise StorageFailed(f"read {self._container}/{name}: it is not JSON: {error}") from error

    async def names(self, folders: Sequence[str]) -> list[str]:
        """The names of all that stands in these folders."""
        return [name for folder in folders for name, _ in await self.files(folder)]

    async def files(self, folder: str) -> list[tuple[str, int]]:
        """The files of a folder with their sizes, in order."""
        client = self._account.service.get_container_client(self._container)
        with azure_errors(f"list {self._container}/{folder}"):
            return [(one.name, one.size) async for one in client.list_blobs(name_starts_with=folder)]

    async def read(self, name: str, begin: int, end: int) -> Piece:
        """The events of a file's blocks from `begin` on: all up to `end`, or as many as fit in one piece.

        Raises:
            StorageFailed: it could not be read, or does not begin as Avro. What is no whole block is left for later.
        """
        header = await self._bytes(name, 0, min(HEADER_BYTES, end))
        header = header[: _header_bytes(header, f"{self._container}/{name}")]
        begin, size = max(begin, len(header)), PIECE_BYTES
        while True:
            upto = min(begin + size, end)
            body = await self._bytes(name, begin, upto)
            piece = _blocks(header, body, begin)
            if piece.events or upto == end:
                return piece
            size *= 2

    async def _bytes(self, name: str, begin: int, end: int) -> bytes:
        if begin >= end:
            return b""
        with azure_errors(f"read {self._container}/{name}"):
            stream = await self._account.blob(self._container, name).download_blob(begin, end - begin)
            content: bytes = await stream.readall()
            return content


def _header_bytes(content: bytes, name: str) -> int:
    file = io.BytesIO(content)
    try:
        fastavro.block_reader(file)  # reads the header, and no block before it is asked for one
    except (EOFError, ValueError, KeyError, IndexError) as error:
        raise StorageFailed(f"{name} is not an Avro file of the change feed: {error}") from error
    return file.tell()


def _blocks(header: bytes, body: bytes, begin: int) -> Piece:
    events: list[dict[str, Any]] = []
    end = begin
    # What ends a block that is cut short, by the piece or because it is being written, is any of these.
    with contextlib.suppress(EOFError, ValueError, IndexError, zlib.error):
        for block in fastavro.block_reader(io.BytesIO(header + body)):
            events += [event for event in block if isinstance(event, dict)]
            end = begin + block.offset + block.size - len(header)
    return Piece(events, end)

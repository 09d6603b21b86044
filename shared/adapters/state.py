"""Keeps what outlives an invocation in the container `snapkeep-state`: reports, checkpoints, locks, marks."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import BlobLeaseClient

from shared.adapters.accounts import Account
from shared.adapters.leases import HeldLease, held
from shared.adapters.translate import azure_errors
from shared.containers import STATE_CONTAINER
from shared.errors import (
    AlreadyRunning,
    BackupExists,
    BlobGone,
    ContainerNotFound,
    LeaseUnavailable,
    StorageFailed,
)

log = logging.getLogger(__name__)


class HeldDocument:
    """A document that one instance at a time may change."""

    def __init__(self, state: State, name: str, lease: HeldLease) -> None:
        self._state = state
        self._name = name
        self.lease = lease

    async def read(self) -> Any:
        """What it holds; None where nothing was ever written, or it is damaged."""
        return await self._state.progress(self._name)

    async def write(self, document: Any) -> None:
        """Stores it, in place of what was there.

        Raises:
            LeaseUnavailable: it is held no longer, and was left as it is: the service itself sees to that.
        """
        body = json.dumps(document, ensure_ascii=False, indent=1).encode()
        await self._state.put_leased(self._name, body, self.lease.lease_id)


class State:
    """JSON documents and texts by name, and locks."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._container = account.service.get_container_client(STATE_CONTAINER)

    async def read(self, name: str) -> Any:
        """The document of this name; None where there is none."""
        try:
            with azure_errors(f"read {STATE_CONTAINER}/{name}"):
                stream = await self._account.blob(STATE_CONTAINER, name).download_blob()
                body = await stream.readall()
                return json.loads(body) if body else None  # empty: one that is held, and was never written
        except (BlobGone, ContainerNotFound):
            return None

    async def progress(self, name: str) -> Any:
        """As `read`, of what work can begin anew without: None for what is no JSON any more, too."""
        try:
            return await self.read(name)
        except ValueError as error:
            log.warning("%s/%s is damaged, and what it tells of begins anew: %s", STATE_CONTAINER, name, error)
            return None

    async def write(self, name: str, document: Any) -> None:
        """Stores a document, in place of an older one of its name."""
        await self.write_text(name, json.dumps(document, ensure_ascii=False, indent=1), None)

    async def write_text(self, name: str, text: str, content_type: str | None) -> None:
        """Stores a text, in UTF-8, in place of an older one of its name; browsers are told its content type."""
        body = text.encode()
        try:
            await self._put(name, body, overwrite=True, content_type=content_type)
        except ContainerNotFound:
            await self._create_container()
            await self._put(name, body, overwrite=True, content_type=content_type)

    async def upload(self, name: str, path: Path) -> None:
        """Stores a file's content, in place of an older one of its name, without holding all of it in memory."""
        try:
            await self._put_file(name, path)
        except ContainerNotFound:
            await self._create_container()
            await self._put_file(name, path)

    async def download(self, name: str, path: Path) -> bool:
        """Writes what `upload` stored to a file, without holding all of it in memory; False where there is none."""
        try:
            with azure_errors(f"read {STATE_CONTAINER}/{name}"):
                stream = await self._account.blob(STATE_CONTAINER, name).download_blob()
                with path.open("wb") as file:
                    async for piece in stream.chunks():
                        file.write(piece)
        except (BlobGone, ContainerNotFound):
            return False
        return True

    async def append_lines(self, name: str, lines: Sequence[str]) -> None:
        """Adds lines to a log, at most 4 MiB of them at once; they may stand there twice, after a lost answer."""
        body = "".join(f"{line}\n" for line in lines).encode()
        blob = self._account.blob(STATE_CONTAINER, name)
        for _ in range(2):
            with contextlib.suppress(BlobGone, ContainerNotFound), azure_errors(f"write {STATE_CONTAINER}/{name}"):
                await blob.append_block(body)
                return
            await self._create_container()
            with contextlib.suppress(BackupExists), azure_errors(f"write {STATE_CONTAINER}/{name}", write_once=True):
                await blob.create_append_blob(match_condition=MatchConditions.IfMissing)
        raise StorageFailed(f"write {STATE_CONTAINER}/{name}: it was removed while it was written")

    async def lines(self, name: str) -> AsyncIterator[str]:
        """The lines of a log, without holding all of them in memory; none where there is no such log."""
        left = b""
        try:
            with azure_errors(f"read {STATE_CONTAINER}/{name}"):
                stream = await self._account.blob(STATE_CONTAINER, name).download_blob()
                async for piece in stream.chunks():
                    *whole, left = (left + piece).split(b"\n")
                    for line in whole:
                        yield line.decode()
        except (BlobGone, ContainerNotFound):
            return

    async def delete(self, name: str) -> None:
        """Removes a document; one that is gone already is fine."""
        with contextlib.suppress(BlobGone, ContainerNotFound), azure_errors(f"delete {STATE_CONTAINER}/{name}"):
            await self._account.blob(STATE_CONTAINER, name).delete_blob()

    async def names(self, prefix: str) -> list[str]:
        """The names of the documents that begin so."""
        try:
            with azure_errors(f"list {STATE_CONTAINER}/{prefix}"):
                return [name async for name in self._container.list_blob_names(name_starts_with=prefix)]
        except ContainerNotFound:
            return []

    @contextlib.asynccontextmanager
    async def lock(self, work: str) -> AsyncIterator[HeldLease]:
        """Lets one instance at a time do `work`. A crashed holder's lock is free again within a minute.

        Raises:
            AlreadyRunning: another one does it now.
        """
        async with self.held_document(f"locks/{work}", work) as document:
            yield document.lease

    @contextlib.asynccontextmanager
    async def held_document(self, name: str, work: str) -> AsyncIterator[HeldDocument]:
        """Lets one instance at a time change a document, which is made where there is none.

        Raises:
            AlreadyRunning: another one holds it now, for that `work`. A crashed one's is free again within a minute.
        """
        blob = self._account.blob(STATE_CONTAINER, name)
        async with contextlib.AsyncExitStack() as stack:
            try:
                try:
                    lease = await stack.enter_async_context(held(blob))
                except (BlobGone, ContainerNotFound):
                    await self._create_container()
                    with contextlib.suppress(BackupExists):
                        await self._put(name, b"", overwrite=False)
                    lease = await stack.enter_async_context(held(blob))
            except LeaseUnavailable:
                raise AlreadyRunning(f"another instance runs {work} now; nothing was done here") from None
            yield HeldDocument(self, name, lease)

    async def put_leased(self, name: str, body: bytes, lease_id: str) -> None:
        """Stores a document that is held. Raises LeaseUnavailable when it is not, or no longer."""
        with azure_errors(f"write {STATE_CONTAINER}/{name}"):
            blob = self._account.blob(STATE_CONTAINER, name)
            await blob.upload_blob(body, overwrite=True, lease=BlobLeaseClient(blob, lease_id))

    async def _put(self, name: str, body: bytes, *, overwrite: bool, content_type: str | None = None) -> None:
        headers = ContentSettings(content_type=content_type) if content_type else None
        with azure_errors(f"write {STATE_CONTAINER}/{name}", write_once=not overwrite):
            await self._account.blob(STATE_CONTAINER, name).upload_blob(
                body, overwrite=overwrite, content_settings=headers
            )

    async def _put_file(self, name: str, path: Path) -> None:
        with azure_errors(f"write {STATE_CONTAINER}/{name}"), path.open("rb") as file:
            await self._account.blob(STATE_CONTAINER, name).upload_blob(file, overwrite=True)

    async def _create_container(self) -> None:
        with azure_errors(f"create {STATE_CONTAINER}"):
            if not await self._container.exists():
                with contextlib.suppress(ResourceExistsError):  # another instance was quicker
                    await self._container.create_container()

    async def close(self) -> None:
        await self._account.close()

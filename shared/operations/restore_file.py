"""Brings one version back as a file in a directory of this machine."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass

from shared.adapters.directory import Directory
from shared.decisions.local_names import LocalName, Refused, local_name
from shared.decisions.restore_report import Outcome, Result
from shared.decisions.restoring import Step
from shared.errors import BlobChanged, BlobGone, FileRefused
from shared.model import moment_of
from shared.operations.restore_places import Digest, Reading, Unusable, damaged, md5_of, read_bytes


@dataclass(frozen=True)
class FileRestorer:
    """Writes versions into one directory.

    Attributes:
        overwrite: whether files that stand there are replaced.
        moved: is told of bytes as they are verified.
    """

    directory: Directory
    overwrite: bool
    moved: Callable[[int], None]

    async def bring(self, step: Step, reading: Reading) -> Outcome:
        """Writes the version's file, hashed on its way; an identical one that stands there is left.

        Raises:
            Unusable: the place does not hold the version undamaged; nothing is left of it.
        """
        name = local_name(step.name)
        if isinstance(name, Refused):
            return Outcome(step.name, Result.IMPOSSIBLE, name.reason)
        reason = f"as {name.path}" if name.mapped else ""
        size = reading.state.version.size
        already = Outcome(step.name, Result.ALREADY, reason, bytes=size)
        try:
            there = await asyncio.to_thread(self.directory.size_of, name)
            if await self._is_file_of(name, there, reading):
                return already
            if there is not None and not self.overwrite:
                return Outcome(step.name, Result.CHANGED, "another file stands there: --overwrite replaces it")
            try:
                await self._write(name, reading)
            except FileRefused:
                # Another run may have been quicker with the very same file.
                if await self._is_file_of(name, await asyncio.to_thread(self.directory.size_of, name), reading):
                    return already
                raise
        except FileRefused as error:
            return Outcome(step.name, Result.CHANGED, str(error))
        return Outcome(step.name, Result.RESTORED, reason, bytes=size)

    async def _is_file_of(self, name: LocalName, there: int | None, reading: Reading) -> bool:
        """Whether the file that stands there, of that size, is the version's."""
        if there != reading.state.version.size:
            return False
        expected = reading.md5 or await md5_of(reading.storage, reading.container, reading.state, self.moved)
        digest = await asyncio.to_thread(self.directory.digest_of, name)
        return digest is not None and b64encode(digest).decode() == expected

    async def _write(self, name: LocalName, reading: Reading) -> None:
        digest = Digest()
        file = self.directory.create()  # not in a thread: a file that it made after a cancellation would be left
        try:
            try:
                async for piece in read_bytes(reading.storage, reading.container, reading.state):
                    await digest.add(piece)
                    await asyncio.to_thread(file.write, piece)
                    self.moved(len(piece))
            except (BlobChanged, BlobGone) as error:
                raise Unusable(f"{reading.held.place}: {error}") from error
            if reading.md5 is not None and digest.value != reading.md5:
                raise damaged(reading, digest.value)
            modified_at = moment_of(reading.held.version.last_modified).timestamp()
            await asyncio.to_thread(self.directory.publish, file, name, modified_at, overwrite=self.overwrite)
        finally:
            self.directory.discard(file)  # at once, as it was made: a second cancellation must not come between

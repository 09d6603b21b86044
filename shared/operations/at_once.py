"""Copies those versions of a long request that one call each copies, and looks at them by pages before and after.

Most versions of a request still stand as they were listed and have no backup. So one page tells of hundreds of
sources, the copy is made at once, with `If-None-Match: *` to tell of a backup that is there all the same, and one page
verifies hundreds of copies. Whatever turns out otherwise is settled version by version (`shared.operations.backup`):
this changes what it costs, never what it comes to.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from shared.adapters.copying import MAX_COPY_BLOB_BYTES, copy_version
from shared.adapters.listing_state import Looked
from shared.adapters.target import Target
from shared.containers import backup_container
from shared.decisions.backups import Standing, engine, standing
from shared.decisions.names import backup_name
from shared.decisions.restored import RESTORING
from shared.errors import BackupExists, BlobChanged, BlobGone, ContainerNotFound, Unprotectable
from shared.model import ARCHIVE, BlobState, Version
from shared.operations.paging import look_by_pages
from shared.operations.writing import check, target_of, verify
from shared.services import Services
from shared.tracing import span


class Written(NamedTuple):
    """A copy that was made, in so many seconds."""

    source: BlobState
    target: Target
    seconds: float


class AtOnce:
    """The versions of one container that are copied so.

    Attributes:
        written: what was copied, by the version that was asked for.
    """

    def __init__(self, services: Services, container: str) -> None:
        self._services = services
        self._container = container
        self._looked: dict[str, Looked] = {}
        self._copies: dict[str, Looked] = {}
        self.written: dict[Version, Written] = {}

    async def look(self, versions: Sequence[Version]) -> set[Version]:
        """Looks at these versions' backups and sources, as far as pages tell of them; gives what is backed up."""
        names = {backup_name(version): version for version in versions}
        backups = await look_by_pages(self._services.backup, backup_container(self._container), list(names))
        backed_up = {
            names[name] for name, looked in backups.items() if standing(names[name], looked.state) is Standing.VERIFIED
        }
        wanted = [version.name for version in versions if version not in backed_up]
        self._looked = await look_by_pages(self._services.source, self._container, wanted)
        return backed_up

    async def copy(self, version: Version) -> bool:
        """Copies the live blob, if it still is this version and one call does it; says whether that was done."""
        try:
            source, tags = await self._source(version.name)
            if source is None or source.version.etag != version.etag or not self._in_one_call(source):
                return False
            target = await target_of(self._services.source, self._services.backup, self._container, source, tags)
            began = time.monotonic()
            with span("copy", bounded=True, container=self._container, engine="server", size=source.version.size):
                await copy_version(self._services.source, self._container, source, target)
        except (BackupExists, BlobChanged, BlobGone, ContainerNotFound, Unprotectable):
            return False
        self.written[version] = Written(source, target, time.monotonic() - began)
        return True

    async def look_at_copies(self) -> None:
        """Looks at what was copied, as far as pages tell of it."""
        names = [written.target.name for written in self.written.values()]
        self._copies = await look_by_pages(self._services.backup, backup_container(self._container), names)

    async def verify(self, version: Version) -> None:
        """Verifies what was written of this version.

        Raises:
            CopyUnverified: as with `shared.operations.writing.verify`.
        """
        source, target, _ = self.written[version]
        looked = self._copies.get(target.name)
        if looked is None:
            await verify(self._services.backup, source, target)
        else:
            check(looked.state, source, target)

    async def _source(self, name: str) -> tuple[BlobState | None, dict[str, str] | None]:
        looked = self._looked.get(name)
        return looked or (await self._services.source.state(self._container, name), None)

    def _in_one_call(self, source: BlobState) -> bool:
        """Whether nothing stands against it, and the service copies it as a whole."""
        settings = self._services.settings
        return (
            source.blob_type == "BlockBlob"
            and source.version.size <= MAX_COPY_BLOB_BYTES
            and source.tier != ARCHIVE
            and RESTORING not in {key.lower() for key in source.metadata}
            and (
                self._services.data_factory is None
                or engine(settings.engine, settings.adf_min_bytes, source) == "server"
            )
        )

"""Proves single backups: by what a listing tells of them, and by their bytes, read back and compared.

A backup's bytes are compared with the MD5 that the service has for the version or the backup. Where it has
none, with the version's own bytes in the source account; their hash is then kept as an index tag of the
backup, so that it can be proven when the source is gone. Metadata would change its ETag, and nothing of a
backup ever changes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from shared.adapters.accounts import Account
from shared.adapters.reading import Rate, Stored, md5_of, set_tags, tags_of
from shared.containers import backup_container
from shared.decisions.mirroring import kept_apart
from shared.decisions.proof_reports import ContainerProof
from shared.decisions.restored import KEPT_MD5
from shared.decisions.verification import (
    MAX_TAGS,
    Content,
    Identity,
    Kind,
    Problem,
    as_swapped,
    claims_its_version,
    contradiction,
    difference,
    foreign,
    known_content,
    misfit,
    needs_kept_hash,
    needs_source,
    still_bad,
)
from shared.errors import BlobChanged, BlobGone, ServiceUnavailable, SnapkeepError, Unprotectable
from shared.expected import Expected, ExpectedBackups, Need
from shared.model import ARCHIVE, Entry, Reason
from shared.services import Services

MAX_OUTAGES = 20
"""After so many blobs for which the service was not to be had, it is the service and not the blobs."""

PARALLEL_READS = 8
"""How many blobs are read at once: a piece of each is in memory, and few of them fill the line."""

log = logging.getLogger(__name__)


@dataclass
class Prover:
    """Proves backups of one container, and adds what it finds to `part`.

    Attributes:
        others: the versions among which to look for whose content a damaged backup has; None for none.
    """

    services: Services
    part: ContainerProof
    rate: Rate
    others: ExpectedBackups | None = None
    _outages: list[ServiceUnavailable] = field(default_factory=list)

    @property
    def parallel(self) -> int:
        return min(PARALLEL_READS, self.services.settings.concurrency)

    @property
    def _backups(self) -> Account:
        return self.services.backup.account

    def look(self, found: Entry, who: Identity | None, expected: Expected | None) -> Identity | None:
        """Judges a blob of the backup container by what is known without reading it; gives `who` if all is well.

        Args:
            who: what its name says that it is; None for a blob that is no backup.
            expected: the version of the source whose backup has this name; None where the source has none.
        """
        part = self.part
        if who is None:
            if self._is_mirrored(found.name):
                part.mirrored += 1
            else:
                part.add(foreign(found))
            return None
        part.checked += 1
        part.versions += expected is None or expected.need is Need.OPTIONAL  # all others are counted in the source
        problem = contradiction(found, who) or self._misfit(found, who, expected)
        if problem is not None:
            part.add(problem._replace(etag=found.etag))
            return None
        return who

    def leave_unread(self, found: Entry, expected: Expected | None) -> None:
        """Takes a backup for what it seems to be, unless nothing speaks for that."""
        if not claims_its_version(found) and not known_content(found, expected):
            self.part.unproven += 1

    def _is_mirrored(self, name: str) -> bool:
        target = backup_container(self.part.container)
        pairs = self.services.settings.sync_containers
        return any(pair.backup == target for pair in pairs) and kept_apart(name, target) is None

    def _misfit(self, found: Entry, who: Identity, expected: Expected | None) -> Problem | None:
        problem = misfit(found, who, expected)
        return problem and self._whose(problem, found, found.md5)

    def _whose(self, problem: Problem, found: Entry, md5: str | None) -> Problem:
        holder = self.others.with_content(found.size, md5, found.name) if self.others and md5 and found.size else None
        return as_swapped(problem, holder) if holder else problem

    async def prove(
        self, found: Entry, who: Identity, expected: Expected | None, was: dict[str, Any] | None = None
    ) -> None:
        """Reads a backup's bytes and compares them with whatever tells what they must be.

        Args:
            was: what an earlier verification called wrong with it.

        Raises:
            ServiceUnavailable: the service failed for so many backups that the rest is not tried.
        """
        try:
            await self._prove(found, who, expected, was)
        except BlobGone as error:
            self.part.add(Problem(Kind.MISSING, who.name, found.name, f"deleted since it was listed: {error}"))
        except BlobChanged as error:
            detail = f"replaced since it was listed, which nobody should be able to do: {error}"
            self.part.add(Problem(Kind.UNREADABLE, who.name, found.name, detail))
        except SnapkeepError as error:
            if isinstance(error, Unprotectable) and error.reason is Reason.ARCHIVED:
                self.part.archived += 1
                return
            self._count(error)
            self.part.add(Problem(Kind.UNREADABLE, who.name, found.name, str(error)))

    async def _prove(self, found: Entry, who: Identity, expected: Expected | None, was: dict[str, Any] | None) -> None:
        if found.tier == ARCHIVE:
            self.part.archived += 1
            return
        place = backup_container(self.part.container)
        md5 = await md5_of(self._backups, Stored(place, found.name, found.etag, found.size), self.rate)
        self.part.bytes_read += found.size
        contents = known_content(found, expected)
        problem = difference(found, who, md5, contents)
        if problem is None and needs_kept_hash(found, expected):
            contents += await self._by_kept_hash(found, expected, md5, place)
            problem = difference(found, who, md5, contents)
        elif problem is None and expected is not None and needs_source(found, expected):
            contents += await self._of_source(expected)
            problem = difference(found, who, md5, contents)
        if problem is not None:
            self.part.add(self._whose(problem, found, md5)._replace(etag=found.etag))
        elif was is not None and still_bad(was, found.etag) and not any(content.of_source for content in contents):
            self.part.carry_over(was)
        elif contents:
            self.part.bytes_checked += 1
        else:
            self.part.unproven += 1

    async def _by_kept_hash(self, found: Entry, expected: Expected | None, md5: str, place: str) -> list[Content]:
        """What an earlier proof kept; else the source's bytes, whose hash is kept if they are the backup's.

        The source decides where it can: a tag of this name may have come along with the version's own tags.
        """
        tags = await self._tags(place, found.name)
        kept = None if tags is None else tags.get(KEPT_MD5)
        if kept == md5:
            return [Content(kept, "the hash that an earlier verify kept", of_source=True)]
        of_source = await self._of_source(expected) if expected is not None and needs_source(found, expected) else []
        if not of_source:
            return [Content(kept, "the hash that an earlier verify kept")] if kept is not None else []
        if of_source[0].md5 == md5:
            await self._keep(place, found.name, tags, md5)
        return of_source

    async def _of_source(self, expected: Expected) -> list[Content]:
        """The hash of the version's bytes in the source account; nothing where it cannot be read any more."""
        stored = Stored(self.part.container, expected.name, expected.etag, expected.size, expected.snapshot)
        try:
            md5 = await md5_of(self.services.source.account, stored, self.rate)
        except SnapkeepError as error:
            log.info("%s: its backup is not compared with it", error)
            self._count(error)
            return []
        self.part.bytes_read += expected.size
        return [Content(md5, "that of the version's", of_source=True)]

    async def _tags(self, place: str, name: str) -> dict[str, str] | None:
        try:
            return await tags_of(self._backups, place, name)
        except SnapkeepError as error:
            log.info("%s: no hash is kept there", error)
            self._count(error)
            return None

    async def _keep(self, place: str, name: str, tags: dict[str, str] | None, md5: str) -> None:
        if tags is not None and (KEPT_MD5 in tags or len(tags) < MAX_TAGS):
            try:
                await set_tags(self._backups, place, name, tags | {KEPT_MD5: md5})
            except SnapkeepError as error:
                log.info("%s: no hash is kept there", error)
                self._count(error)
            else:
                self.part.hashes_kept += 1
                return
        self.part.hashes_not_kept += 1

    def _count(self, error: SnapkeepError) -> None:
        if isinstance(error, ServiceUnavailable):
            self._outages.append(error)
            if len(self._outages) >= MAX_OUTAGES:
                raise error

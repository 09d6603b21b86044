"""The operation `verify`: whether each version's backup is there and is what it must be.

Two listings tell of presence, size, MD5 and claims, without a call for any blob; the bytes are read of a share
of the backups that moves on from day to day. The source is listed first: what is backed up meanwhile is found.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import uuid4

from shared.adapters.reading import Rate
from shared.containers import backup_container
from shared.decisions.changes import Grouper
from shared.decisions.proof_reports import ContainerProof, verify_report
from shared.decisions.sampling import sampled
from shared.decisions.verification import Identity, expected_backups, identity, missing
from shared.errors import BackupContainerGone, ContainerNotFound, SnapkeepError, StorageFailed
from shared.expected import Expected, ExpectedBackups, Need
from shared.model import Entry, Version
from shared.operations.filling import check_container
from shared.operations.proof_scope import BY_THEMSELVES, Suspects, check_known, read_suspects, scope, store
from shared.operations.proving import Prover
from shared.parallel import for_each
from shared.services import Services

GONE = f"the source container is gone: {BY_THEMSELVES}"

log = logging.getLogger(__name__)


def _unnoticed(_part: ContainerProof) -> None:
    """Nobody looks on."""


@dataclass(frozen=True)
class Task:
    """What is to be verified.

    Attributes:
        containers: source containers; none for all that the settings protect. A run over some of them, or with
            `since`, adds what it found to the latest report, which else only a run over all replaces.
        percent: the share of backups whose bytes are read back; all others are judged by listings, but for those
            that the last report calls bad.
        since: only versions that were last modified at or after this time, `YYYY-MM-DDTHH:MM:SSZ`.
        max_bytes_per_second: over all that is read; None without a bound.
    """

    containers: Sequence[str] = ()
    percent: float = 1.0
    since: str | None = None
    max_bytes_per_second: float | None = None


async def verify(
    services: Services, task: Task, *, progress: Callable[[ContainerProof], None] = _unnoticed
) -> dict[str, Any]:
    """Verifies backups; gives the report that it wrote.

    Args:
        progress: is told how far a container is, again and again.

    Raises:
        BadParameter, ContainerExcluded: a container cannot be one that is protected.
        ContainerNotFound: nothing is known of a container that was named.
        StorageFailed: the report could not be written.
    """
    for container in task.containers:
        check_container(services, container)
        await check_known(services, container)
    run_id, started_at = uuid4().hex[:12], services.now()
    verifier = _Verifier(
        services,
        task,
        Rate(task.max_bytes_per_second),
        started_at.date(),
        await read_suspects(services.state),
        progress,
    )
    await verifier.all_containers()
    report = verify_report(
        run_id,
        started_at,
        services.now(),
        verifier.parts,
        percent=task.percent,
        by_bytes=task.percent > 0,
        since=task.since,
    )
    await store(services, report, partial=bool(task.containers) or task.since is not None)
    log.info("verify %s: complete: %s, %s", run_id, report["complete"], report["totals"])
    return report


@dataclass
class _Verifier:
    services: Services
    task: Task
    rate: Rate
    day: date
    suspects: Suspects
    progress: Callable[[ContainerProof], None]
    parts: list[ContainerProof] = field(default_factory=list)

    async def all_containers(self) -> None:
        containers, unlisted = list(dict.fromkeys(self.task.containers)), None
        if not containers:
            containers, unlisted = await scope(self.services)
        for container in containers:
            self.parts.append(await self._container(container, unlisted))

    async def _container(self, container: str, unlisted: str | None) -> ContainerProof:
        part = ContainerProof(container, error=unlisted)
        try:
            check_container(self.services, container)
            with ExpectedBackups() as expected:
                if unlisted is None:
                    await self._try_source(part, expected)
                await self._read_backups(part, expected)
                self._strike_balance(part, expected)
        except SnapkeepError as error:
            log.warning("verify %s: %s", container, error)
            part.error = str(error)
        except Exception as error:
            # One container never stops the others: a full disk or a defect is this one's failure, and reported.
            log.exception("verify %s failed", container)
            part.error = f"unexpected {type(error).__name__}: {error}"
        if part.error is not None:
            for line in self.suspects.get(container, {}).values():
                part.carry_over(line)
        return part

    async def _try_source(self, part: ContainerProof, expected: ExpectedBackups) -> None:
        try:
            await self._read_source(part, expected)
        except StorageFailed as error:
            log.warning("verify %s: %s", part.container, error)
            part.error = f"{error}; {BY_THEMSELVES}"

    async def _read_source(self, part: ContainerProof, expected: ExpectedBackups) -> None:
        """Lists what backups there must be. A container that is gone has none that must."""
        grouper = Grouper()
        history = self.services.settings.history
        try:
            async with aclosing(self.services.source.pages(part.container)) as pages:
                async for page in pages:
                    groups = grouper.feed(page.entries)
                    if page.next_marker is None:
                        groups += grouper.finish()
                    rows = [row for group in groups for row in expected_backups(group, history)]
                    rows = [row for row in rows if self._asked_for(row.last_modified)]
                    expected.add_many(rows)
                    part.versions += sum(row.need is not Need.OPTIONAL for row in rows)
                    self.progress(part)
        except ContainerNotFound:
            part.note = GONE

    async def _read_backups(self, part: ContainerProof, expected: ExpectedBackups) -> None:
        place = backup_container(part.container)
        prover = Prover(self.services, part, self.rate, expected)
        listing = self.services.backup.listing
        try:
            async with aclosing(listing.pages(place, include="metadata", read_metadata=True)) as pages:
                async for page in pages:
                    await self._page(prover, page.entries, expected)
        except ContainerNotFound:
            try:
                await self.services.backup.check_not_gone(place)
            except BackupContainerGone as gone:
                part.error = str(gone)

    async def _page(self, prover: Prover, entries: Sequence[Entry], expected: ExpectedBackups) -> None:
        container = prover.part.container
        suspects = self.suspects.get(container, {})
        found = [entry for entry in entries if not entry.directory]
        known = expected.strike_off([entry.name for entry in found])
        to_read = []
        for entry in found:
            version = known.get(entry.name)
            who = identity(entry, version)
            if not self._asked_for(who.last_modified if who else entry.last_modified):
                continue
            right = prover.look(entry, who, version)
            if right is None:
                suspects.pop(entry.name, None)
            elif entry.name in suspects or self._sampled(container, entry, right):
                to_read.append((entry, right, version))
            else:
                prover.leave_unread(entry, version)

        async def read(backup: tuple[Entry, Identity, Expected | None]) -> None:
            await prover.prove(*backup, suspects.get(backup[0].name))
            suspects.pop(backup[0].name, None)
            self.progress(prover.part)

        await for_each(to_read, read, prover.parallel)
        self.progress(prover.part)

    def _sampled(self, container: str, entry: Entry, who: Identity) -> bool:
        version = Version(who.name or entry.name, who.etag, who.last_modified, entry.size)
        return sampled(container, version, self.task.percent, self.day)

    def _strike_balance(self, part: ContainerProof, expected: ExpectedBackups) -> None:
        for one in expected.missing():
            if one.need is Need.REQUIRED:
                part.add(missing(one))
                self.suspects.get(part.container, {}).pop(one.backup, None)
            elif one.need is Need.UNPROTECTABLE:
                part.unprotectable += 1

    def _asked_for(self, last_modified: str) -> bool:
        return self.task.since is None or last_modified >= self.task.since

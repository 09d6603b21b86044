"""The operation `backup`: carries out one message of the queue.

Each version of a request is looked at, copied from where it still stands, and verified, on its own:
one that fails is asked for again by itself. What Data Factory is to copy goes on in
`shared.operations.runs`. Every step may be repeated: a version that is backed up costs one HEAD, or its share of a
page.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.adapters.copying import copy_version
from shared.containers import backup_container
from shared.decisions.backups import (
    CopyFrom,
    Stale,
    Standing,
    engine,
    proven,
    standing,
    where_to_copy_from,
)
from shared.decisions.changes import HALF_RESTORED
from shared.decisions.messages import BackupRequest, Message, Queued, RunFollowUp, Scan, decode
from shared.decisions.names import backup_name
from shared.decisions.prefixes import FEW
from shared.decisions.restored import RESTORING
from shared.decisions.retries import Failure, GiveUp, after_failures
from shared.errors import (
    BackupConflict,
    BackupExists,
    BlobChanged,
    BlobGone,
    ContainerNotFound,
    CopyUnverified,
    MessageError,
    SnapkeepError,
    Unprotectable,
)
from shared.model import ARCHIVE, BlobState, Reason, Version, moment_of, second_of
from shared.operations import runs
from shared.operations.at_once import AtOnce
from shared.operations.scan import scan
from shared.operations.writing import remember_unprotected, target_of, verify
from shared.parallel import for_each
from shared.services import Services
from shared.tracing import note, span

MAX_LOOKS = 3
"""How often a version that changes under a copy is looked at again before it waits for its next attempt."""

log = logging.getLogger(__name__)


@dataclass
class Copies:
    """What one engine copied; `seconds` for each version, or for each run of a pipeline."""

    count: int = 0
    size_bytes: int = 0
    seconds: list[float] = field(default_factory=list)


@dataclass
class Outcome:
    """What became of a message's versions; or (`scanned`), in words, of the shard that it asked for.

    A whole reconciliation may end with that shard: `reconciled` is its report.

    Attributes:
        given_up: of the failures, those that were not asked for again.
        copies: what was copied and verified, by engine.
    """

    container: str = ""
    requested_at: str = ""
    copied: int = 0
    already: int = 0
    unprotectable: int = 0
    lost: int = 0
    failures: list[Failure] = field(default_factory=list)
    given_up: int = 0
    copies: dict[str, Copies] = field(default_factory=dict)
    for_data_factory: list[BlobState] = field(default_factory=list)
    scanned: str = ""
    reconciled: dict[str, Any] | None = None

    def add_copies(self, engine: str, versions: Sequence[Version], seconds: float) -> None:
        """Takes versions that an engine copied together in so much time, by now verified."""
        if versions:
            self.copied += len(versions)
            copies = self.copies.setdefault(engine, Copies())
            copies.count += len(versions)
            copies.size_bytes += sum(version.size for version in versions)
            copies.seconds.append(seconds)


async def back_up(services: Services, body: bytes, message_id: str, *, redelivered: bool) -> Outcome:
    """Carries out one message. When it returns, nothing of the message is left to do or to lose.

    Args:
        body: the message, its base64 undone.
        message_id: the queue's id, the same at each delivery.
        redelivered: it was delivered before, so that some of it may have been done.

    Raises:
        MessageError: it can never be carried out; the host moves it to the poison queue.
        SnapkeepError: a follow-up message could not be sent; the host delivers it again.
    """
    message = decode(body)
    if isinstance(message, Scan):
        with span("scan", follows=message.traceparent, container=message.container, run=message.run_id):
            return await _scan(services, message)
    with span("backup", follows=message.traceparent, container=message.container, versions=len(message.blobs)):
        return await _settle(services, message, message_id, redelivered=redelivered)


async def _scan(services: Services, message: Scan) -> Outcome:
    _check_protected(services, message)
    scanned = await scan(services, message)
    note(outcome="succeeded")
    return Outcome(message.container, message.requested_at, scanned=scanned.line, reconciled=scanned.report)


def _check_protected(services: Services, message: Queued) -> None:
    if not services.settings.protects(message.container):
        raise MessageError(f"container {message.container!r} is excluded by the settings of this app")


async def _settle(services: Services, message: Message, message_id: str, *, redelivered: bool) -> Outcome:
    _check_protected(services, message)
    if isinstance(message, RunFollowUp):
        outcome = await _follow(services, message)
    else:
        outcome = await _carry_out(services, message, message_id, redelivered=redelivered)
    outcome.given_up = await _ask_again_or_give_up(services, message, outcome.failures)
    log.info(
        "backup %s: %d copied, %d were there, %d at Data Factory, %d unprotectable, %d lost, %d failed",
        message.container,
        outcome.copied,
        outcome.already,
        len(outcome.for_data_factory),
        outcome.unprotectable,
        outcome.lost,
        len(outcome.failures),
    )
    note(copied=outcome.copied, already=outcome.already, failed=len(outcome.failures), given_up=outcome.given_up)
    note(outcome="incomplete" if outcome.failures else "succeeded")
    return outcome


async def _carry_out(services: Services, message: BackupRequest, message_id: str, *, redelivered: bool) -> Outcome:
    outcome = Outcome(message.container, message.requested_at)
    await _each(services, message, message.versions, outcome)
    # Two stale requests for one blob come to the same current version, which is copied once.
    sources = list({source.version: source for source in outcome.for_data_factory}.values())
    if sources and services.data_factory is not None:
        began = second_of(services.now())
        copied = await runs.begin(
            services, services.data_factory, message, sources, message_id, redelivered=redelivered
        )
        _take(services, copied, began, outcome)
        await _each(services, message, copied.changed, outcome, may_use_data_factory=False)
    return outcome


async def _follow(services: Services, message: RunFollowUp) -> Outcome:
    outcome = Outcome(message.container, message.requested_at)
    ended = await runs.follow(services, message)
    _take(services, ended, message.started_at, outcome)
    await _each(services, message, ended.changed, outcome, may_use_data_factory=False)
    return outcome


def _take(services: Services, ended: runs.Ended, began: str, outcome: Outcome) -> None:
    outcome.failures += ended.failures
    outcome.add_copies("adf", ended.copied, (services.now() - moment_of(began)).total_seconds())


async def _each(
    services: Services,
    message: Message,
    versions: Sequence[Version],
    outcome: Outcome,
    *,
    may_use_data_factory: bool = True,
) -> None:
    copier = _Copier(services, message.container, outcome, may_use_data_factory)
    at_once = AtOnce(services, message.container)
    if len(versions) < FEW:
        await _one_by_one(services, message, versions, outcome, copier.protect)
        return
    backed_up = await at_once.look(versions)
    outcome.already += len(backed_up)

    async def copy(version: Version) -> None:
        if not await at_once.copy(version):
            await copier.protect(version)

    async def verify_copy(version: Version) -> None:
        await at_once.verify(version)
        outcome.add_copies("server", [version], at_once.written[version].seconds)

    await _one_by_one(services, message, [version for version in versions if version not in backed_up], outcome, copy)
    await at_once.look_at_copies()
    await _one_by_one(services, message, list(at_once.written), outcome, verify_copy)


async def _one_by_one(
    services: Services,
    message: Message,
    versions: Sequence[Version],
    outcome: Outcome,
    work: Callable[[Version], Awaitable[None]],
) -> None:
    """Does the work for each of them, many at once; one that fails never stops the others."""

    async def one(version: Version) -> None:
        try:
            try:
                await work(version)
            except Unprotectable as error:
                outcome.unprotectable += 1
                log.warning("%s", error)
                await remember_unprotected(services, message.container, version, error.reason, str(error))
        except SnapkeepError as error:
            log.warning("%s", error)
            outcome.failures.append(Failure(version, str(error)))
        except Exception as error:
            # One bad blob never stops the others, not even by a defect: it is retried, then reported.
            log.exception("backup %s failed", message.container)
            outcome.failures.append(Failure(version, f"unexpected {type(error).__name__}: {error}"))

    await for_each(versions, one, services.settings.concurrency)


async def _ask_again_or_give_up(services: Services, message: Message, failures: Sequence[Failure]) -> int:
    """Asks again for what failed, or gives up on it where people see it; of how many versions it did the latter."""
    given_up = 0
    for step in after_failures(message, failures, services.settings.retry_delay_seconds):
        if isinstance(step, GiveUp):
            await services.queue.give_up(step.request)
            given_up += len(step.request.blobs)
            for version in step.request.versions:
                await remember_unprotected(
                    services, message.container, version, Reason.FAILED, step.request.reason or "no reason"
                )
        else:
            await services.queue.send(step.request, step.delay_seconds)
    return given_up


@dataclass(frozen=True)
class _Copier:
    """Protects single versions of one container's blobs."""

    services: Services
    container: str
    outcome: Outcome
    may_use_data_factory: bool

    async def protect(self, version: Version) -> None:
        """Backs up this version, or, where it is gone, the one that is there now."""
        wanted, why = version, "it keeps changing"
        for _ in range(MAX_LOOKS):
            try:
                instead = await self._look_and_copy(wanted)
            except (BlobChanged, BlobGone) as error:
                log.info("%s; looking again", error)
                why = str(error)
                continue
            if instead is None:
                return
            wanted = instead
        raise CopyUnverified(f"{version.name} could not be copied in {MAX_LOOKS} attempts: {why}")

    async def _look_and_copy(self, version: Version) -> Version | None:
        """Settles this version; or gives the one to look at instead."""
        name = backup_name(version)
        found = await self.services.backup.state(backup_container(self.container), name)
        verdict = standing(version, found) if found else None
        if verdict is Standing.VERIFIED:
            self.outcome.already += 1
            return None
        if verdict is Standing.CONFLICT:
            raise self._conflict(name)
        where = await self._find(version)
        if isinstance(where, Stale):
            return await self._stale(version, where.current)
        if verdict is Standing.UNPROVEN and found is not None:
            if not proven(found, where.source):
                raise self._conflict(name)
            self.outcome.already += 1
            return None
        await self._copy(where.source, name)
        return None

    async def _find(self, version: Version) -> CopyFrom | Stale:
        live = await self.services.source.state(self.container, version.name)
        snapshot = None
        if live is None or live.version.etag != version.etag or live.tier == ARCHIVE:
            snapshot = await self.services.source.snapshot_of(self.container, version)
        return where_to_copy_from(version, live, snapshot)

    async def _stale(self, version: Version, current: BlobState | None) -> Version | None:
        """Records that this version is gone; what there is now, if anything, is backed up in its place."""
        fate = "deleted" if current is None else "overwritten"
        lost = Unprotectable(
            Reason.LOST, f"{self.container}/{version.name}: {fate}, without a snapshot of it, before it was copied"
        )
        log.warning("%s", lost)
        await remember_unprotected(self.services, self.container, version, lost.reason, str(lost))
        self.outcome.lost += 1
        return None if current is None else current.version

    async def _copy(self, source: BlobState, name: str) -> None:
        if source.tier == ARCHIVE:
            raise Unprotectable(
                Reason.ARCHIVED,
                f"{self.container}/{source.version.name}: in the archive tier; rehydrate it to have it backed up",
            )
        if RESTORING in {key.lower() for key in source.metadata}:
            raise Unprotectable(Reason.HALF_RESTORED, f"{self.container}/{source.version.name}: {HALF_RESTORED}")
        settings = self.services.settings
        may_use_data_factory = self.may_use_data_factory and self.services.data_factory is not None
        if may_use_data_factory and engine(settings.engine, settings.adf_min_bytes, source) == "adf":
            self.outcome.for_data_factory.append(source)
            return
        began = time.monotonic()
        target = await target_of(self.services.source, self.services.backup, self.container, source)
        try:
            with span("copy", bounded=True, container=self.container, engine="server", size=source.version.size):
                await copy_version(self.services.source, self.container, source, target)
        except BackupExists as error:
            # A 412 can be meant for either side: with no backup there, it is the source that has changed.
            if await self.services.backup.state(target.container, name) is None:
                raise BlobChanged(str(error)) from error
            log.info("%s/%s is there already: comparing", target.container, name)
        except ContainerNotFound:
            # Either end may be missing: `ensure_container` tells of the backup's, the next attempt of the source's.
            self.services.backup.forget(target.container)
            await self.services.backup.ensure_container(target.container)
            raise
        await verify(self.services.backup, source, target)
        self.outcome.add_copies("server", [source.version], time.monotonic() - began)

    def _conflict(self, name: str) -> BackupConflict:
        return BackupConflict(
            f"{backup_container(self.container)}/{name} is not the backup of that version; it is left untouched: "
            "find out who wrote it, move it away, and request the version again"
        )

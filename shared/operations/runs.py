"""Copies through Data Factory: starts one pipeline run for a request, follows it, and verifies what it copied.

A pipeline can only copy what a blob holds at the time it gets there. So it writes to a staging
container, and a staged blob becomes a backup, by a copy within the backup account, only once it is
proven to be the requested version: the run succeeded, and the source still has the ETag that it had
before the run began, so it had it all the time between. Nothing unproven ever stands under a
version's name.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256

from shared.adapters.copying import copy_staged
from shared.adapters.datafactory import DataFactory, Run
from shared.adapters.leases import HeldLease
from shared.containers import STAGING_CONTAINER, backup_container
from shared.decisions.backups import Standing, same_bytes, standing
from shared.decisions.messages import BackupRequest, RunFollowUp, follow_up, request
from shared.decisions.names import backup_name
from shared.decisions.retries import Failure
from shared.errors import (
    BackupExists,
    BlobChanged,
    BlobGone,
    CopyUnverified,
    DataFactoryFailed,
    SnapkeepError,
    Throttled,
)
from shared.model import BlobState, Version, moment_of, second_of
from shared.operations.writing import target_of, verify
from shared.parallel import for_each
from shared.services import Services
from shared.tracing import span

LEASED_RUN_MINUTES = 45
"""How long an invocation stays with a run whose sources it holds leases on: less than `functionTimeout`."""

HISTORY_LOOKS = 4
"""For how many looks at a run that the factory does not know it may only not be known yet."""

log = logging.getLogger(__name__)


@dataclass
class Ended:
    """What came of a run: versions that it copied, that failed, and whose source changed under the copy."""

    copied: list[Version] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    changed: list[Version] = field(default_factory=list)


async def begin(
    services: Services,
    factory: DataFactory,
    message: BackupRequest,
    sources: Sequence[BlobState],
    message_id: str,
    *,
    redelivered: bool,
) -> Ended:
    """Has Data Factory copy these sources, in one run.

    Without leases this returns once the run is started and a follow-up message is on the queue.
    With leases it stays until the run has ended: a lease lasts a minute, and no message is sure to
    be delivered within one.
    """
    request_id = sha256(message_id.encode()).hexdigest()[:32]
    try:
        await services.backup.ensure_staging()
        if services.settings.use_lease:
            return await _leased(services, factory, message, sources, request_id, redelivered=redelivered)
        run = await _find_or_start(services, factory, message.container, sources, request_id, redelivered=redelivered)
    except Throttled as wait:
        if _in_time(services, message.requested_at):
            log.info("%s: asking again in %.0f s", wait, wait.retry_after_seconds)
            versions = [source.version for source in sources]
            again = request(message.container, versions, message.requested_at, message.attempt)
            await services.queue.send(again, wait.retry_after_seconds)
            return Ended()
        return _failed(sources, wait)
    except SnapkeepError as error:
        log.warning("%s", error)
        return _failed(sources, error)
    versions = [source.version for source in sources]
    started_at = second_of(services.now())
    await services.queue.send(
        follow_up(message, versions, run.run_id, request_id, started_at), services.settings.adf_poll_seconds
    )
    return Ended()


async def follow(services: Services, message: RunFollowUp) -> Ended:
    """Looks at a run: sends the next follow-up while it goes on, settles its versions when it has ended."""
    factory = services.data_factory
    if factory is None:
        log.info("run %s is not waited for: the engine is server by now", message.run_id)
        return Ended(changed=message.versions)
    in_time = _in_time(services, message.started_at)
    try:
        run = await factory.run(message.run_id)
        if run is not None and not run.ended and not in_time:
            await factory.cancel(message.run_id)
            minutes = services.settings.adf_deadline_minutes
            run = Run(run.run_id, "Cancelled", f"not ended after {minutes:g} minutes")
    except (DataFactoryFailed, Throttled) as error:
        log.warning("%s", error)
        run = Run(message.run_id, "Unknown", str(error)) if in_time else None
    young = services.now() - moment_of(message.started_at) < HISTORY_LOOKS * timedelta(
        seconds=services.settings.adf_poll_seconds
    )
    if (run is None and young) or (run is not None and not run.ended):
        # A run that was just started may not be in the factory's history yet.
        await services.queue.send(message, services.settings.adf_poll_seconds)
        return Ended()
    return await _settle(services, message.container, message.versions, message.request_id, run)


def _in_time(services: Services, since: str) -> bool:
    age = services.now() - moment_of(since)
    return age < timedelta(minutes=services.settings.adf_deadline_minutes)


def _failed(sources: Sequence[BlobState], error: SnapkeepError) -> Ended:
    return Ended(failures=[Failure(source.version, str(error)) for source in sources])


async def _find_or_start(
    services: Services,
    factory: DataFactory,
    container: str,
    sources: Sequence[BlobState],
    request_id: str,
    *,
    redelivered: bool,
) -> Run:
    """The one run of this message: whether an earlier delivery started it is looked up, not assumed."""
    if redelivered:
        found = await factory.find(request_id, services.now())
        if found is not None:
            log.info("run %s of this request was started before", found.run_id)
            return found
    parameters = {
        "container": container,
        "staging_container": STAGING_CONTAINER,
        "request_id": request_id,
        "blobs": [
            {"source": source.version.name, "staged": staged_name(request_id, source.version)} for source in sources
        ],
    }
    try:
        return Run(await factory.start(parameters), "Queued", "")
    except DataFactoryFailed as error:
        found = await factory.find(request_id, services.now()) if error.run_may_exist else None
        if found is None:
            raise
        log.info("%s, but run %s was started", error, found.run_id)
        return found


async def _leased(
    services: Services,
    factory: DataFactory,
    message: BackupRequest,
    sources: Sequence[BlobState],
    request_id: str,
    *,
    redelivered: bool,
) -> Ended:
    ended = Ended()
    if redelivered:
        # An earlier delivery's leases are over, so what its run copied is not trusted.
        earlier = await factory.find(request_id, services.now())
        if earlier is not None:
            await factory.cancel(earlier.run_id)
            ended.failures += [
                Failure(source.version, "the app stopped while it held the lease: copied again") for source in sources
            ]
            return ended
    async with contextlib.AsyncExitStack() as stack:
        leases: list[tuple[BlobState, HeldLease]] = []
        for source in sources:
            try:
                lease = await stack.enter_async_context(services.source.leased(message.container, source.version))
                leases.append((source, lease))
            except (BlobChanged, BlobGone):
                ended.changed.append(source.version)
            except SnapkeepError as error:
                log.warning("%s", error)
                ended.failures.append(Failure(source.version, str(error)))
        if not leases:
            return ended
        held = [source for source, _ in leases]
        started = await _find_or_start(services, factory, message.container, held, request_id, redelivered=False)
        run = await _wait(services, factory, started)
        trusted = [source.version for source, lease in leases if not lease.lost.is_set()]
        settled = await _settle(services, message.container, trusted, request_id, run)
        ended.copied += settled.copied
        ended.failures += settled.failures
        ended.changed += settled.changed
        for source in held:
            if source.version not in trusted:
                await _discard(services, source.version, request_id)
                reason = "its lease was lost while it was copied: the copy is not trusted"
                ended.failures.append(Failure(source.version, reason))
    return ended


async def _wait(services: Services, factory: DataFactory, started: Run) -> Run | None:
    minutes = min(services.settings.adf_deadline_minutes, LEASED_RUN_MINUTES)
    deadline = services.now() + timedelta(minutes=minutes)
    run: Run | None = started
    try:
        while run is not None and not run.ended:
            if services.now() >= deadline:
                await factory.cancel(run.run_id)
                return Run(run.run_id, "Cancelled", f"not ended after {minutes:g} minutes")
            await asyncio.sleep(services.settings.adf_poll_seconds)
            try:
                run = await factory.run(run.run_id)
            except (DataFactoryFailed, Throttled) as error:
                log.warning("%s; looking again later", error)
    except asyncio.CancelledError:
        await factory.cancel(started.run_id)
        raise
    return run


async def _settle(
    services: Services, container: str, versions: Sequence[Version], request_id: str, run: Run | None
) -> Ended:
    """Turns what an ended run staged into backups, one version at a time."""
    ended = Ended()

    async def one(version: Version) -> None:
        try:
            if await _settle_one(services, container, version, request_id, run):
                ended.copied.append(version)
        except (BlobChanged, BlobGone) as changed:
            log.info("%s: not what was requested; what was staged is discarded", changed)
            ended.changed.append(version)
        except SnapkeepError as error:
            log.warning("%s", error)
            ended.failures.append(Failure(version, str(error)))
        except Exception as error:
            # One bad blob never stops the others, not even by a defect: it is retried, then reported.
            log.exception("settling a run of %s failed", container)
            ended.failures.append(Failure(version, f"unexpected {type(error).__name__}: {error}"))

    with span("settle run", engine="adf", container=container, adf_run=run.run_id if run else None):
        await for_each(versions, one, services.settings.concurrency)
    return ended


async def _settle_one(services: Services, container: str, version: Version, request_id: str, run: Run | None) -> bool:
    """Whether what the run copied is the backup now; otherwise one was there already."""
    storage = services.backup
    staged = await storage.state(STAGING_CONTAINER, staged_name(request_id, version))
    try:
        backed_up = await storage.state(backup_container(container), backup_name(version))
        if backed_up is not None and standing(version, backed_up) is Standing.VERIFIED:
            return False
        if run is None:
            raise CopyUnverified(f"{version.name}: its pipeline run is no longer known")
        if run.status != "Succeeded":
            raise CopyUnverified(f"{version.name}: run {run.run_id} {run.status}: {run.message}")
        live = await services.source.state(container, version.name)
        if live is None or live.version.etag != version.etag:
            raise BlobChanged(f"{container}/{version.name} changed while it was copied")
        if staged is None or not same_bytes(staged, live):
            raise CopyUnverified(f"{version.name}: run {run.run_id} left no whole copy of it")
        target = await target_of(services.source, services.backup, container, live)
        try:
            await copy_staged(storage.account, staged, live, target)
        except BackupExists:
            log.info("%s/%s is there already: comparing", target.container, target.name)
        await verify(services.backup, live, target)
        return True
    finally:
        if staged is not None and (run is None or run.ended):
            await storage.discard_staged(staged.version)


async def _discard(services: Services, version: Version, request_id: str) -> None:
    staged = await services.backup.state(STAGING_CONTAINER, staged_name(request_id, version))
    if staged is not None:
        await services.backup.discard_staged(staged.version)


def staged_name(request_id: str, version: Version) -> str:
    """Where a run puts its copy of a version: apart for each request, plain whatever the blob's name is."""
    return f"{request_id}/{sha256(f'{version.name}/{version.etag}'.encode()).hexdigest()[:40]}"

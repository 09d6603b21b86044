"""Fills in what versions lack: requests their backups and takes their snapshots, for `protect` and `reconcile`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.containers import MAX_CONTAINER_CHARACTERS, backup_container, is_container_name
from shared.decisions.messages import BackupRequest, requests
from shared.decisions.reporting import ContainerReport
from shared.errors import BadParameter, BlobChanged, BlobGone, ContainerExcluded, ServiceUnavailable, SnapkeepError
from shared.model import Version, second_of
from shared.parallel import for_each
from shared.services import Services

MAX_LOOKS = 3
"""How often a blob that changes faster than it is snapshotted is looked at again in one run."""

MAX_OUTAGES = 20
"""After so many blobs for which the service was not to be had, it is the service and not the blobs."""

PARALLEL_MESSAGES = 4

log = logging.getLogger(__name__)


@dataclass
class Filled:
    """What was done for versions that lacked a snapshot or a backup."""

    snapshots_created: int = 0
    requested: int = 0
    vanished: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    outages: list[ServiceUnavailable] = field(default_factory=list)

    def count_in(self, report: ContainerReport) -> None:
        """Adds it to what a reconciliation has done for the container."""
        report.backups_requested += self.requested
        report.snapshots_created += self.snapshots_created
        report.vanished += self.vanished
        report.add_failed(self.failed)


def check_container(services: Services, container: str) -> None:
    """Whether the name is one, may be protected, and leaves room for its backup container's name."""
    if container.startswith("$"):
        raise ContainerExcluded(f"container: {container!r} is a system container, which is never protected")
    if not is_container_name(container):
        raise BadParameter(f"container: expects 3 to 63 of a-z, 0-9 and single hyphens; got {container[:80]!r}")
    if not services.settings.protects(container):
        raise ContainerExcluded(f"container: {container!r} is excluded by the settings of this app")
    if len(backup_container(container)) > MAX_CONTAINER_CHARACTERS:
        raise BadParameter(
            f"container: {container!r} is too long: its backup container {backup_container(container)!r} "
            f"would pass {MAX_CONTAINER_CHARACTERS} characters"
        )


async def fill_in(
    services: Services, container: str, to_request: Sequence[Version], to_snapshot: Sequence[Version]
) -> Filled:
    """Requests backups, and then takes snapshots; of a blob that has changed meanwhile, both of what it is now.

    Raises:
        StorageFailed: a request could not be put on the queue, or the service was not to be had.
    """
    filled = Filled()
    await request_backups(services, container, to_request, filled)
    changed = await take_snapshots(services, container, to_snapshot, filled)
    await fill(services, container, changed, filled)
    return filled


async def fill(services: Services, container: str, versions: Sequence[Version], done: Filled) -> None:
    """Requests these versions' backups and then snapshots them, many at once.

    Raises:
        StorageFailed: a request could not be put on the queue. What it asked for has no snapshot
            then, so that the next scan finds it again.
    """
    wanted = list(versions)
    for _ in range(MAX_LOOKS):
        await request_backups(services, container, wanted, done)
        wanted = await take_snapshots(services, container, wanted, done)
        if not wanted:
            return
    done.failed += [
        {"name": version.name, "reason": "changes faster than it can be snapshotted; the next run tries again"}
        for version in wanted
    ]


async def request_backups(services: Services, container: str, versions: Sequence[Version], done: Filled) -> None:
    """Puts requests for these versions on the queue, as few messages as hold them."""

    async def send(message: BackupRequest) -> None:
        await services.queue.send(message)
        done.requested += len(message.blobs)

    messages = requests(container, versions, second_of(services.now()))
    await for_each(messages, send, PARALLEL_MESSAGES)


async def take_snapshots(
    services: Services, container: str, versions: Sequence[Version], done: Filled
) -> list[Version]:
    """Snapshots these versions, and gives those that changed meanwhile, as they are now.

    Raises:
        ServiceUnavailable: the service failed for so many of them that the rest was not tried.
    """
    again: list[Version] = []

    async def snapshot(version: Version) -> None:
        try:
            await services.source.take_snapshot(container, version)
            done.snapshots_created += 1
        except (BlobChanged, BlobGone):
            state = await services.source.state(container, version.name)
            if state is None:
                done.vanished += 1
            else:
                again.append(state.version)

    async def attempt(version: Version) -> None:
        try:
            await snapshot(version)
        except SnapkeepError as error:
            log.warning("%s", error)
            done.failed.append({"name": version.name, "reason": str(error)})
            if isinstance(error, ServiceUnavailable):
                done.outages.append(error)
                if len(done.outages) >= MAX_OUTAGES:
                    raise

    await for_each(versions, attempt, services.settings.concurrency)
    return again

"""What proofs have in common: the containers whose backups there are to prove, and the reports of earlier proofs.

What a report calls bad is looked at again by every proof after it, until it is right or gone: a sample of the next
day, which looks at others, must not make anybody believe that all is well.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any, NamedTuple

from shared.adapters.restoring import container_exists
from shared.adapters.state import State
from shared.containers import backup_container
from shared.decisions.proof_reports import report_names, with_partial
from shared.errors import BackupContainerGone, ContainerNotFound, StorageFailed, Unprotectable
from shared.model import BlobState, Version
from shared.services import Services

BY_THEMSELVES = "its backups were proven as far as they can be by themselves"

log = logging.getLogger(__name__)


class Scope(NamedTuple):
    """Source containers that have backups, or should; `unlisted` says why the source account could not be asked."""

    containers: list[str]
    unlisted: str | None


async def scope(services: Services) -> Scope:
    """All containers that are protected; those too whose source is gone, and whose backups stay."""
    existing: set[str] = set()
    unlisted: str | None = None
    try:
        existing = set(await services.source.containers())
    except StorageFailed as error:
        unlisted = f"{error}; {BY_THEMSELVES}"
        log.warning("%s", unlisted)
    wanted = existing | await services.backup.marked_sources(existing)
    return Scope(sorted(name for name in wanted if services.settings.protects(name)), unlisted)


async def check_known(services: Services, container: str) -> None:
    """Tells a container that is empty, or whose source is gone, from one that nobody ever heard of.

    Raises:
        ContainerNotFound: neither account has it, nor had it: a slip of the keyboard must not count as verified.
    """
    place = backup_container(container)
    with suppress(StorageFailed, BackupContainerGone):  # what cannot be asked, or is gone, is told of where it is read
        if await container_exists(services.source.account, container):
            return
        if await container_exists(services.backup.account, place):
            return
        await services.backup.check_not_gone(place)
        raise ContainerNotFound(
            f"nothing is known of the container {container}: neither it nor its backup container {place} exists"
        )


async def store(services: Services, report: dict[str, Any], *, partial: bool = False) -> None:
    """Writes a report of a proof; of one that looked at a part alone, the latest holds what it found."""
    own, latest = report_names(report["kind"], report["run_id"], report["finished_at"])
    await services.state.write(own, report)
    whole = with_partial(await services.state.read(latest), report) if partial else report
    await services.state.write(latest, whole)


async def version_in_source(services: Services, container: str, version: Version) -> BlobState | None:
    """The live blob or the snapshot that is this very version; None where the source has lost it, or hides it.

    Raises:
        StorageFailed: it could not be asked.
    """
    try:
        live = await services.source.state(container, version.name)
        if live is not None and live.version.etag == version.etag:
            return live
        return await services.source.snapshot_of(container, version)
    except Unprotectable:  # encrypted with a key that only its writer has
        return None


Suspects = dict[str, dict[str, dict[str, Any]]]
"""Lines of an earlier report, by container and backup. Whoever has looked at one again takes it out."""


async def read_suspects(state: State) -> Suspects:
    """What the last verification called bad, as far as its report names it."""
    report = await state.read(report_names("verify", "", "")[1])
    parts = report["containers"] if report else []
    return {part["container"]: {str(line["backup"]): line for line in part["listed"]} for part in parts}


async def failed_restores(services: Services) -> list[dict[str, Any]]:
    """What the last drill could not restore."""
    report = await services.state.read(report_names("drill", "", "")[1])
    return list(report["failed"]) if report else []

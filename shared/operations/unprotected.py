"""What `backup` recorded of versions that it lost or gave up on: it stands in the report until they are backed up."""

from __future__ import annotations

from datetime import timedelta

from shared.containers import backup_container
from shared.decisions.coverage import Unprotected
from shared.decisions.names import backup_name
from shared.decisions.reporting import ContainerReport
from shared.model import Reason, Version, second_of
from shared.parallel import for_each
from shared.services import Services

FOUND_BY_LISTING = frozenset({Reason.ARCHIVED, Reason.CUSTOMER_KEY, Reason.REFUSED_NAME, Reason.HALF_RESTORED})
"""Reasons that a listing shows for as long as they hold, whatever was recorded before."""

RECORD_DAYS = 30


async def recall_unprotected(services: Services, report: ContainerReport) -> None:
    """Adds what is recorded of the report's container, and forgets what is backed up by now, or told long enough.

    Raises:
        SnapkeepError: a record could not be read, or not be compared with the backups.
    """
    forget_before = second_of(services.now() - timedelta(days=RECORD_DAYS))

    async def recall(name: str) -> None:
        record = await services.state.read(name)
        if record is None:
            return
        version = Version(record["name"], record["etag"], record["last_modified"], record["size"])
        reason = Reason(record["reason"])
        known = reason in FOUND_BY_LISTING or record["seen_at"] < forget_before
        if known or await _is_backed_up(services, report.container, version):
            await services.state.delete(name)
        elif not report.lists(version):
            report.add_unprotectable(Unprotected(version, reason, record["detail"]))

    names = await services.state.names(f"unprotected/{report.container}/")
    await for_each(names, recall, services.settings.concurrency)


async def _is_backed_up(services: Services, container: str, version: Version) -> bool:
    found = await services.backup.state(backup_container(container), backup_name(version))
    return found is not None and found.version.size == version.size

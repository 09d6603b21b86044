"""What `backup` recorded of versions that it lost or gave up on, for a report that was not made from listings."""

from __future__ import annotations

from datetime import timedelta

from shared.containers import backup_container
from shared.decisions.coverage import Unprotected
from shared.decisions.names import backup_name
from shared.decisions.reporting import ContainerReport
from shared.model import Reason, Version, second_of
from shared.operations.container_pass import FOUND_BY_LISTING, RECORD_DAYS
from shared.parallel import for_each
from shared.services import Services


async def recall(services: Services, report: ContainerReport) -> None:
    """Adds the records to the report, and forgets what is backed up by now: a HEAD tells.

    Raises:
        StorageFailed: a record, or a backup, could not be read.
    """
    forget_before = second_of(services.now() - timedelta(days=RECORD_DAYS))

    async def one(name: str) -> None:
        record = await services.state.read(name)
        if record is None:
            return
        version = Version(record["name"], record["etag"], record["last_modified"], record["size"])
        reason = Reason(record["reason"])
        backup = await services.backup.state(backup_container(report.container), backup_name(version))
        backed_up = backup is not None and backup.version.size == version.size
        if backed_up or reason in FOUND_BY_LISTING or record["seen_at"] < forget_before:
            await services.state.delete(name)
        elif not report.lists(version):
            report.add_unprotectable(Unprotected(version, reason, record["detail"]))

    names = await services.state.names(f"unprotected/{report.container}/")
    await for_each(names, one, services.settings.concurrency)

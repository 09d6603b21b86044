"""Deletes, in place, what was created after the moment: only what can be brought back.

The service cannot delete a blob and keep its snapshots, so that a snapshot alone protects nothing from that.
So each version of the blob, live or snapshot, must have a backup whose every byte is right before any is deleted.
Source: the service's reference, "Delete Blob", x-ms-delete-snapshots: include or only.
"""

from __future__ import annotations

from contextlib import aclosing, suppress

from shared.adapters.copying import copy_version
from shared.adapters.restoring import delete_blob
from shared.adapters.source import SourceStorage
from shared.containers import backup_container
from shared.decisions.backups import Standing, proven, standing
from shared.decisions.names import backup_name
from shared.decisions.restore_report import Outcome, Result
from shared.decisions.restoring import Step
from shared.errors import BackupExists, BlobChanged, BlobGone, CopyUnverified, StorageFailed
from shared.model import BlobState, Version, md5_that_counts
from shared.operations.restore_blob import Changed
from shared.operations.restore_places import md5_of
from shared.operations.writing import target_of, verify
from shared.recovery import Recovery


async def delete_blob_and_snapshots(recovery: Recovery, source: SourceStorage, container: str, step: Step) -> Outcome:
    """Deletes the blob that the plan found, after all of its versions are proven to be backed up.

    Raises:
        Changed: it is another one by now; nothing was deleted.
        SnapkeepError: a version could not be backed up; nothing was deleted.
    """
    live = await source.state(container, step.name)
    if live is None:
        return Outcome(step.name, Result.ALREADY, "is gone already")
    if live.version.etag != step.replaces:
        raise Changed(
            f"somebody changed it since the plan was made, at {live.version.last_modified}; it is left as it is"
        )
    try:
        if await source.snapshot_of(container, live.version) is None:
            await source.take_snapshot(container, live.version)
        for snapshot, version in (await _versions(source, container, live.version)).values():
            await _prove_backup(recovery, source, container, version, snapshot)
        # While its ETag is that one, no version has joined those that were looked at.
        await delete_blob(source.account, container, step.name, live.version.etag, snapshots="include")
    except BlobChanged as error:
        raise Changed(f"somebody changed it meanwhile: {error}") from error
    except BlobGone:
        if await source.state(container, step.name) is not None:
            raise
    return Outcome(step.name, Result.DELETED, step.reason)


async def _versions(source: SourceStorage, container: str, live: Version) -> dict[str, tuple[str | None, Version]]:
    """Each version of the blob, by its ETag: the snapshot that holds it, None for the live blob alone."""
    found: dict[str, tuple[str | None, Version]] = {live.etag: (None, live)}
    async with aclosing(source.pages(container, live.name)) as pages:
        async for page in pages:
            for entry in page.entries:
                if entry.name == live.name and not entry.directory:
                    found[entry.etag] = (entry.snapshot or found.get(entry.etag, (None, None))[0], entry.version)
            if any(entry.name != live.name for entry in page.entries):
                break
    return found


async def _prove_backup(
    recovery: Recovery, source: SourceStorage, container: str, version: Version, snapshot: str | None
) -> None:
    """Makes sure that this version has a backup that holds its every byte.

    Raises:
        CopyUnverified: there is a backup, and it is not right.
        SnapkeepError: none could be made.
    """
    state = await source.state(container, version.name, snapshot)
    if state is None or state.version.etag != version.etag:
        raise BlobChanged(f"{container}/{version.name}: the version of {version.last_modified} is gone meanwhile")
    bak = backup_container(container)
    name = backup_name(version)
    found = await recovery.backup.state(bak, name)
    if found is None or standing(version, found) is Standing.UNFINISHED:
        await _back_up(recovery, source, container, state)
        found = await recovery.backup.state(bak, name)
    if found is None or not (standing(version, found) is Standing.VERIFIED or proven(found, state)):
        raise CopyUnverified(f"not deleted: {bak}/{name} is not provably the backup of its version")
    expected = md5_that_counts(state.md5, state.blob_type) or await md5_of(source, container, state, _untold)
    if await md5_of(recovery.backups, bak, found, _untold) != expected:
        raise CopyUnverified(f"not deleted: the backup {bak}/{name} is damaged")


async def _back_up(recovery: Recovery, source: SourceStorage, container: str, state: BlobState) -> None:
    if not recovery.state_is_the_apps:
        raise StorageFailed(
            f"not deleted: {container}/{state.version.name} has no backup of the version of "
            f"{state.version.last_modified}, and without AzureWebJobsStorage none is made"
        )
    target = await target_of(source, recovery.backup, container, state)
    with suppress(BackupExists):  # somebody was quicker, or an answer was lost: it is compared like any other
        await copy_version(source, container, state, target)
    await verify(recovery.backup, state, target)


async def delete_directory(source: SourceStorage, container: str, step: Step) -> Outcome:
    """Deletes a directory of a hierarchical namespace, if nothing is in it.

    The service refuses others; a marker that stands for a directory in a flat account it would not.
    """
    live = await source.state(container, step.name)
    if live is None:
        return Outcome(step.name, Result.ALREADY, "is gone already")
    if live.version.etag != step.replaces:
        raise Changed("somebody changed the directory since the plan was made; it is left as it is")
    async with aclosing(source.pages(container, step.name.rstrip("/") + "/")) as pages:
        async for page in pages:
            if any(entry.name.rstrip("/") != step.name.rstrip("/") for entry in page.entries):
                return Outcome(step.name, Result.LEFT, "a directory that was created after the moment is not empty")
    try:
        with suppress(BlobGone):  # deleted by the call whose answer was lost, or by somebody else
            await delete_blob(source.account, container, step.name, live.version.etag)
    except BlobChanged as error:
        raise Changed(f"somebody changed the directory meanwhile: {error}") from error
    return Outcome(step.name, Result.DELETED, step.reason)


def _untold(_size: int) -> None:
    """Proving is no progress."""

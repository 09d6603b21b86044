"""Prepares, verifies and accounts for single backups; what all engines have in common."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from shared.adapters.backup import BackupStorage
from shared.adapters.source import SourceStorage
from shared.adapters.target import Target
from shared.containers import backup_container
from shared.decisions.backups import Standing, backup_metadata, proven, same_bytes, standing
from shared.decisions.names import backup_name
from shared.decisions.restored import KEPT_MD5
from shared.errors import CopyUnverified
from shared.model import BlobState, Version, second_of
from shared.services import Services


async def target_of(
    origin: SourceStorage,
    backup: BackupStorage,
    container: str,
    source: BlobState,
    tags: Mapping[str, str] | None = None,
) -> Target:
    """Where this version's backup goes, and what goes with it; its container is there afterwards.

    Args:
        tags: the source's index tags, where they are known already.
    """
    target = backup_container(container)
    await backup.ensure_container(target, versions_of=container)
    tags = await origin.tags(container, source) if tags is None else tags
    # A hash that somebody else keeps under that name would be taken for one that `verify` has kept.
    tags = {key: value for key, value in tags.items() if key != KEPT_MD5}
    return Target(backup.account, target, backup_name(source.version), backup_metadata(source), tags)


async def verify(backup: BackupStorage, source: BlobState, target: Target) -> None:
    """Looks at a backup that was just written, or was there already.

    Raises:
        CopyUnverified: it is not there, not whole, or not provably this version.
    """
    check(await backup.state(target.container, target.name), source, target)


def check(copy: BlobState | None, source: BlobState, target: Target) -> None:
    """Whether what stands where a backup was written is it.

    Raises:
        CopyUnverified: as with `verify`.
    """
    if copy is None or not same_bytes(copy, source):
        raise CopyUnverified(f"{target.container}/{target.name}: the copy is missing or differs from its source")
    verdict = standing(source.version, copy)
    if verdict is not Standing.VERIFIED and not proven(copy, source):
        raise CopyUnverified(f"{target.container}/{target.name}: found {verdict.value}")


async def remember_unprotected(services: Services, container: str, version: Version, reason: str, detail: str) -> None:
    """Keeps why a version is not backed up, for the next coverage report."""
    key = sha256(f"{version.name}\n{version.etag}".encode()).hexdigest()[:40]
    await services.state.write(
        f"unprotected/{container}/{key}.json",
        {
            "name": version.name,
            "etag": version.etag,
            "last_modified": version.last_modified,
            "size": version.size,
            "reason": reason,
            "detail": detail,
            "seen_at": second_of(services.now()),
        },
    )

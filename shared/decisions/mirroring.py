"""Decides about mirrors: what azcopy must leave alone, whether a run ended well, and what may be deleted.

azcopy's own word is not enough. It exits with 0 when it skipped files, takes a mirrored file that is
newer than its source for right, and deletes other files than it says (see `deletion_refusal`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

from shared.connections import Connection
from shared.containers import BACKUP_SUFFIX, is_system_container
from shared.decisions.names import refusal
from shared.model import Entry, IndexedBlob
from shared.settings import Settings, SyncPair

SAS_WARNING = timedelta(days=7)

# The same expressions for azcopy, whose Go takes `$` for the very end of the text, and for Python.
_DOT_SEGMENTS = r"(^|/)\.\.?(/|$)"
_VERSIONS = (r"(^|/)[0-9]{8}T[0-9]{6}Z-[^/]*$", r"^\.snapkeep(/|$)")
_VERSION_BACKUP = re.compile("|".join(_VERSIONS).replace("$", r"\Z"))


@dataclass(frozen=True)
class AzcopyOutcome:
    """What one run of azcopy said of itself.

    Attributes:
        exit_code: the process's; negative when a signal ended it.
        status: the job's final one, such as `CompletedWithSkipped`; None without a summary.
        errors: what it gave as reasons for giving up.
        malformed: the beginning of the first line of its output that is not what it should be.
    """

    exit_code: int
    status: str | None = None
    ordered: bool = True
    total: int = 0
    copied: int = 0
    failed: int = 0
    skipped: int = 0
    bytes_copied: int = 0
    scanned: int = 0
    errors: tuple[str, ...] = ()
    malformed: str | None = None
    notes: tuple[str, ...] = ()


def failure_of(outcome: AzcopyOutcome) -> str | None:
    """Why azcopy's run is a failure; None when all of its own account says that it is none."""
    if outcome.errors:
        return f"azcopy gave up: {outcome.errors[0]}"
    if outcome.malformed is not None:
        return f"azcopy's output is not understood, so nothing it says counts: {outcome.malformed!r}"
    if outcome.exit_code < 0:
        return f"azcopy was ended by signal {-outcome.exit_code}"
    because = f": {outcome.notes[0]}" if outcome.notes else ""
    if outcome.status is None:
        return f"azcopy ended without a summary, exit code {outcome.exit_code}{because}"
    if outcome.status != "Completed" or outcome.failed or outcome.skipped:
        return (
            f"azcopy reports {outcome.status}: of {outcome.total} files to copy, {outcome.failed} failed and "
            f"{outcome.skipped} were skipped{because}"
        )
    if outcome.copied != outcome.total or not outcome.ordered:
        return f"azcopy reports Completed, but of {outcome.total} files to copy it accounts for {outcome.copied}"
    if outcome.exit_code != 0:
        return f"azcopy reports Completed, but its exit code is {outcome.exit_code}{because}"
    return None


def holds_versions(container: str) -> bool:
    """Whether version backups may stand in this container of the backup account: they stand in `...bak` alone."""
    return container.endswith(BACKUP_SUFFIX)


def excluded_from(container: str) -> str:
    """The regular expressions, as azcopy takes them, of the names that it must not touch on either side."""
    return ";".join([_DOT_SEGMENTS, *(_VERSIONS if holds_versions(container) else ())])


def kept_apart(name: str, container: str) -> str | None:
    """Why a blob of this name is neither mirrored to nor deleted from this container; None when it may be.

    A mirror and the version backups of the same source share a container by default. Whoever can
    write to the source could otherwise have a version backup overwritten by giving a blob its name.
    """
    if holds_versions(container) and _VERSION_BACKUP.search(name):
        return f"its name is that of a version backup, and {container} may hold those: mirror to another container"
    return refusal(name)


def difference(source: Entry, mirrored: IndexedBlob | None, since: str) -> str | None:
    """How a mirrored file differs from its source, after azcopy called the mirror complete; None when it doesn't.

    Args:
        since: when the run began, by the source service's clock. What changed since then is no
            difference yet: the next run copies it.
    """
    if source.last_modified >= since:
        return None
    if mirrored is None:
        return "missing in the mirror: look for it in the next run, and at what deletes it there"
    remedy = "delete it in the mirror, and the next run copies it again"
    if source.blob_type != mirrored.blob_type:
        return f"a {mirrored.blob_type} in the mirror, a {source.blob_type} in the source: {remedy}"
    if source.size != mirrored.size:
        return f"{mirrored.size} bytes in the mirror, {source.size} in the source: {remedy}"
    if source.md5 and mirrored.md5 and source.md5 != mirrored.md5:
        return f"another content (MD5) in the mirror than in the source: {remedy}"
    return None


def deletion_refusal(adopted_by: str | None, source: str, extraneous: int) -> str | None:
    """Why no deletion is mirrored now; None when it may be.

    Files are deleted only in a container that was seen, after an earlier run, to hold this source's
    files and nothing else (`adopted_by`). A container that was named by mistake, or that was another
    source's mirror, keeps what it has.

    azcopy itself is never told to delete: it cleans a name's path first, so that for a file `a//b`
    which is gone at the source it deletes `a/b`, which is not; and it counts failed deletions as done.
    """
    if extraneous == 0 or adopted_by == source:
        return None
    was = "was another source's mirror" if adopted_by else "was never seen as a mirror of it"
    return (
        f"{extraneous} files in the mirror are not in the source, and none was deleted: the container {was}, so "
        "they may be somebody's only copy. Move or delete them, or mirror to a container of its own"
    )


def pair_refusal(pair: SyncPair, settings: Settings) -> str | None:
    """Why this pair is never mirrored, whatever stands in the containers; None when it may be."""
    for name in (pair.source, pair.backup):
        if is_system_container(name):
            return f"{name} belongs to the platform or to Snapkeep: take it out of SNAPKEEP_SYNC_CONTAINERS"
    if settings.backup.dfs_uri and holds_versions(pair.backup):
        origin = pair.backup.removesuffix(BACKUP_SUFFIX)
        if settings.protects(origin):
            return (
                f"with a hierarchical namespace a mirrored file and the folder of its version backups cannot have "
                f"one path, and {pair.backup} holds the version backups of {origin}: name another container in "
                f"SNAPKEEP_SYNC_CONTAINERS, such as {pair.source}:{pair.source}-mirror"
            )
    return None


def identity_refusal(source: Connection, backup: Connection) -> str | None:
    """Why azcopy cannot reach both accounts as they are configured; None when it can."""
    if source.connection_string or backup.connection_string:
        return None
    remedy = (
        f"give {source.name} or {backup.name} a connection string with a SharedAccessSignature, which needs no identity"
    )
    if source.tenant_id and backup.tenant_id and source.tenant_id.lower() != backup.tenant_id.lower():
        return f"the two accounts are in different tenants, and azcopy logs in to one: {remedy}"
    if _identity(source) != _identity(backup):
        return f"{source.name} and {backup.name} name different identities, and azcopy takes one: {remedy}"
    return None


def _identity(connection: Connection) -> tuple[str | None, str | None]:
    return connection.client_id, connection.client_secret


def sas_failure(connection: Connection, now: datetime) -> str | None:
    """That the connection's shared access signature has expired; None when it has not."""
    expiry = sas_expiry(connection.sas) if connection.sas else None
    if expiry is None or expiry > now:
        return None
    return f"the SharedAccessSignature in {connection.name} expired at {expiry.isoformat()}: put a new one there"


def sas_warning(connection: Connection, now: datetime) -> str | None:
    """That the connection's shared access signature will expire within a week; None when it will not."""
    expiry = sas_expiry(connection.sas) if connection.sas else None
    if expiry is None or expiry - now > SAS_WARNING:
        return None
    return f"the SharedAccessSignature in {connection.name} expires at {expiry.isoformat()}: renew it before that"


def sas_expiry(sas: str) -> datetime | None:
    """When a signature ends; None when that is not in it (a stored access policy says it then)."""
    texts = parse_qs(sas.lstrip("?")).get("se")
    if not texts:
        return None
    try:
        expiry = datetime.fromisoformat(texts[0])
    except ValueError:
        return None
    return expiry if expiry.tzinfo else expiry.replace(tzinfo=UTC)

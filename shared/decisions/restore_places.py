"""What one line of a listing is for a restore: a place that holds a version, or something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.decisions.backups import SOURCE_ETAG, SOURCE_LAST_MODIFIED, SOURCE_SIZE
from shared.decisions.names import LONG_NAMES, as_metadata, source_name_in, version_of_backup
from shared.decisions.restored import RESTORING
from shared.decisions.restoring import Held, Place
from shared.decisions.verification import still_bad
from shared.model import Entry, Version

CUSTOMER_KEY = "encrypted with a customer-provided key, which its writer alone has"
WRONG_CLAIMS = "its backup's metadata tells of another version than its name: it is damaged, or somebody else's"
MENDED = "if that was mended since, `snapkeep verify` on its container tells"
HALF_RESTORED = "the half of a restore that was interrupted, and no version"


def source_flaw(entry: Entry) -> str:
    """Why nothing can be taken from a live blob or snapshot; empty where it can."""
    if RESTORING in _lowered(entry):
        return HALF_RESTORED
    return CUSTOMER_KEY if entry.customer_key else ""


def held_backup(entry: Entry, name: str | None = None) -> Held | None:
    """The version that a blob of a backup container holds; None for a blob that is no version's backup.

    Args:
        name: whose backups these are, where that is known: for a hashed one whose metadata does not tell.
    """
    if entry.directory:
        return None
    claims = _lowered(entry)
    if RESTORING in claims:
        return None
    size = _size(claims, entry.size)
    version = version_of_backup(entry.name, size, claims)
    if version is None and name is not None:
        version = version_of_backup(entry.name, size, dict([as_metadata(name)]))
    if version is None:
        return None
    flaw = CUSTOMER_KEY if entry.customer_key else "" if _agree(claims, version) else WRONG_CLAIMS
    return Held(Place.BACKUP, version, entry.name, entry.etag, entry.size, entry.md5, entry.blob_type, entry.tier, flaw)


def as_verified(held: Held, suspects: Mapping[str, Mapping[str, Any]]) -> Held:
    """The same, unusable where the last verification found that its bytes are not the version's.

    It had the source's word for that, which may be gone by now: an MD5 that came with the bytes agrees with them.

    Args:
        suspects: lines of that verification's report, by backup.
    """
    line = suspects.get(held.key)
    if held.unusable or line is None or not still_bad(line, held.etag):
        return held
    return held._replace(unusable=f"the last verify found its backup {line['kind']}: {MENDED}")


def is_hashed(backup: str) -> bool:
    """Whether a blob stands where backups of long names do."""
    return backup.startswith(f"{LONG_NAMES}/")


def _agree(claims: dict[str, str], version: Version) -> bool:
    """Whether what the metadata says is what the name says; where it says nothing, there was no room for it."""
    return (
        claims.get(SOURCE_ETAG, version.etag) == version.etag
        and claims.get(SOURCE_LAST_MODIFIED, version.last_modified) == version.last_modified
        and source_name_in(claims) in {None, version.name}
    )


def _size(claims: dict[str, str], found: int) -> int:
    claimed = claims.get(SOURCE_SIZE, "")
    return int(claimed) if claimed.isascii() and claimed.isdigit() else found


def _lowered(entry: Entry) -> dict[str, str]:
    return {key.lower(): value for key, value in (entry.metadata or {}).items()}

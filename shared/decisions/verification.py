"""What a backup must be, what is wrong with one that was found, and what its bytes prove.

By listings alone a backup is judged by its name, its size, the MD5 that the service has for it, and by what its
metadata claims. Its bytes, read back and hashed, are judged by whatever there is to compare them with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from shared.decisions.backups import MAX_METADATA_BYTES, SOURCE_ETAG, SOURCE_LAST_MODIFIED, SOURCE_SIZE, unfinished
from shared.decisions.changes import Group
from shared.decisions.coverage import coverage
from shared.decisions.names import backup_name, source_name_in, stamp_of_hashed, version_of_backup
from shared.expected import Expected, Need
from shared.model import ARCHIVE, Entry, Version, md5_that_counts

MAX_TAGS = 10
"""As many index tags as the service lets a blob have."""

ROOM_BYTES = 128
"""More than the metadata that tells a backup's ETag takes."""

MD5_OF_NOTHING = "1B2M2Y8AsgTpgAmY7PhCfg=="

REMEDY_MISSING = "a request for it may be waiting; `snapkeep reconcile` asks again"


class Kind(StrEnum):
    """What can be wrong with a backup; these words stand in reports."""

    MISSING = "missing"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    SWAPPED = "swapped"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"


PROVEN_BAD = frozenset({Kind.CORRUPT.value, Kind.SWAPPED.value})
"""What stays so whatever else happens, as long as the same blob stands there."""


class Problem(NamedTuple):
    """One backup that is not what it must be.

    Attributes:
        name: the source blob's name; None where nobody can tell.
        backup: the name in the backup container.
        etag: of the blob that stands there; None where none does.
    """

    kind: Kind
    name: str | None
    backup: str
    detail: str
    etag: str | None = None


class Identity(NamedTuple):
    """Which version a blob in a backup container is the backup of, by its name.

    `name` is None for a hashed name whose metadata had no room for the source's.
    """

    name: str | None
    etag: str
    last_modified: str


class Content(NamedTuple):
    """What is known of a version's content from elsewhere than its bytes; None for what is not.

    Attributes:
        of_source: it is the source's word, and not that of whoever wrote the backup.
    """

    md5: str | None
    whence: str
    of_source: bool = False


def expected_backups(group: Group, history: Literal["all", "current"]) -> list[Expected]:
    """What backups there must be of one blob, as far as the source's listing tells."""
    found = coverage(group, {}, "all")
    return [
        *(_expected(version, group, _need(version, group, history)) for version in found.missing_backups),
        *(_expected(one.version, group, Need.UNPROTECTABLE) for one in found.unprotectable),
    ]


def _need(version: Version, group: Group, history: Literal["all", "current"]) -> Need:
    current = group.blob is not None and group.blob.etag == version.etag
    return Need.REQUIRED if current or history == "all" else Need.OPTIONAL


def _expected(version: Version, group: Group, need: Need) -> Expected:
    holders = [one for one in (*group.snapshots, group.live) if one is not None and one.etag == version.etag]
    # A snapshot stays as it is while it is read; what is archived cannot be read at all.
    entry = min(holders, key=lambda one: (one.tier == ARCHIVE, one.snapshot is None))
    return expected_of(entry, need)


def expected_of(entry: Entry, need: Need = Need.REQUIRED) -> Expected:
    """What the backup of this version must be, which can be read where the entry stands."""
    name = backup_name(entry.version)
    md5 = md5_that_counts(entry.md5, entry.blob_type)
    return Expected(name, *entry.version, md5, entry.blob_type, entry.snapshot, entry.tier, need)


def identity(found: Entry, expected: Expected | None) -> Identity | None:
    """Which version's backup this blob is, by its name; None for a blob that is no version's."""
    if expected is not None:
        return Identity(expected.name, expected.etag, expected.last_modified)
    if not claims_its_version(found) and _has_room_for_claims(found):
        return None  # the name of a backup is quickly made up; Snapkeep's own also say what they are
    version = version_of_backup(found.name, found.size, found.metadata)
    if version is not None:
        return Identity(version.name, version.etag, version.last_modified)
    hashed = stamp_of_hashed(found.name)
    return None if hashed is None else Identity(None, *hashed)


def whole_version(found: Entry) -> Version | None:
    """The version that this blob is the backup of, by its name; None for another, and for a half-written one."""
    if found.directory or _claimed_size(found) not in {None, found.size}:
        return None
    return version_of_backup(found.name, found.size, found.metadata)


def missing(expected: Expected, detail: str = "it has no backup") -> Problem:
    """That a version's backup is not there."""
    return Problem(Kind.MISSING, expected.name, expected.backup, f"{detail}; {REMEDY_MISSING}")


def foreign(found: Entry) -> Problem:
    """That a blob which is no backup stands among the backups."""
    detail = "neither its name nor its metadata is that of a version's backup: find out who wrote it"
    return Problem(Kind.FOREIGN, None, found.name, detail)


def contradiction(found: Entry, who: Identity) -> Problem | None:
    """That the blob's metadata claims to be another version than its name does."""
    claims = _claims(found)
    for what, key, told in (("ETag", SOURCE_ETAG, who.etag), ("the time", SOURCE_LAST_MODIFIED, who.last_modified)):
        if claims.get(key, told) != told:
            detail = f"its metadata claims {what} {claims[key]}, its name {told}"
            return Problem(Kind.SWAPPED, who.name, found.name, detail)
    name = source_name_in(claims)
    if name is not None and name != who.name:
        what = "another blob" if who.name is None else repr(who.name)
        return Problem(Kind.SWAPPED, who.name, found.name, f"its metadata claims to be of {name!r}, its name of {what}")
    return None


def claims_its_version(found: Entry) -> bool:
    """Whether the metadata says which version it is; it lacks that only where the source's own left no room."""
    return SOURCE_ETAG in _claims(found)


def _has_room_for_claims(found: Entry) -> bool:
    used = sum(len(key) + len(value) for key, value in (found.metadata or {}).items())
    return used + ROOM_BYTES <= MAX_METADATA_BYTES


def misfit(found: Entry, who: Identity, expected: Expected | None) -> Problem | None:
    """That the blob's size, type or MD5 cannot be the version's. Whose content it is instead is asked elsewhere."""
    wanted = expected.size if expected is not None else _claimed_size(found)
    if wanted is not None and found.size != wanted:
        detail = f"{found.size} bytes, and the version has {wanted}"
        if claims_its_version(found) and unfinished(found.blob_type, found.size, wanted):
            detail = f"{detail}: still being written, or given up half way; the next attempt to back it up goes on"
        return Problem(Kind.TRUNCATED, who.name, found.name, detail)
    if expected is None:
        return None
    if found.blob_type != expected.blob_type:
        detail = f"a {found.blob_type}, and the version is a {expected.blob_type}"
        return Problem(Kind.CORRUPT, who.name, found.name, detail)
    if found.md5 and expected.md5 and found.md5 != expected.md5:
        return Problem(
            Kind.CORRUPT, who.name, found.name, f"its Content-MD5 is {found.md5}, the version's {expected.md5}"
        )
    return None


def _claimed_size(found: Entry) -> int | None:
    text = _claims(found).get(SOURCE_SIZE, "")
    return int(text) if text.isascii() and text.isdigit() else None


def _claims(found: Entry) -> dict[str, str]:
    return {key.lower(): value for key, value in (found.metadata or {}).items()}


def as_swapped(problem: Problem, holder: Expected) -> Problem:
    """The same, once it is known that the blob holds another version's content."""
    detail = f"it holds the content of {holder.name!r}, version {holder.last_modified}-{holder.etag}; {problem.detail}"
    return problem._replace(kind=Kind.SWAPPED, detail=detail)


def known_content(found: Entry, expected: Expected | None) -> list[Content]:
    """What the bytes are compared with that costs no call: the service's own hashes, and that of no bytes at all."""
    contents = [
        Content(expected.md5 if expected is not None else None, "the version's Content-MD5", of_source=True),
        Content(md5_that_counts(found.md5, found.blob_type), "its own Content-MD5"),
        Content(MD5_OF_NOTHING if found.size == 0 else None, "the hash of nothing"),
    ]
    return [content for content in contents if content.md5 is not None]


def still_bad(line: Mapping[str, Any], etag: str) -> bool:
    """Whether an earlier report's line holds of the blob with this ETag, as long as the source does not say otherwise.

    The source may have lost the version since; then all that is left agrees with whoever wrote the bad blob.
    """
    return line["kind"] in PROVEN_BAD and line.get("etag") in {None, etag}


def needs_kept_hash(found: Entry, expected: Expected | None) -> bool:
    """Whether the hash of its bytes is worth keeping: the service has none for it, nor for the version."""
    of_backup = md5_that_counts(found.md5, found.blob_type)
    return found.size > 0 and of_backup is None and (expected is None or expected.md5 is None)


def needs_source(found: Entry, expected: Expected | None) -> bool:
    """Whether only the version's own bytes can prove that the backup is that version's."""
    return found.size > 0 and expected is not None and expected.md5 is None and expected.tier != ARCHIVE


def difference(found: Entry, who: Identity, md5: str, contents: Iterable[Content]) -> Problem | None:
    """That the bytes, hashed, are not what something else says they are."""
    for content in contents:
        if content.md5 != md5:
            detail = f"the MD5 of its bytes is {md5}, {content.whence} {content.md5}"
            return Problem(Kind.CORRUPT, who.name, found.name, detail)
    return None

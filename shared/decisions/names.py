"""Which blob names are refused, and the name of each version's backup."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import quote, unquote

from shared.model import Version

MAX_NAME_CHARACTERS = 1024
MAX_PATH_SEGMENTS = 254
LONG_NAMES = ".snapkeep/long"

SOURCE_NAME = "snapkeep_source_name"
SOURCE_NAME_BASE64 = "snapkeep_source_name_base64"
MAX_READABLE_CHARACTERS = 4096

_HASHED = re.compile(re.escape(LONG_NAMES) + r"/[0-9a-f]{64}")
_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-([0-9A-Za-z]{1,64})(?=\.|\Z)")


def refusal(name: str) -> str | None:
    """Why no call may be made for a blob of this name; None for a name that is fine.

    HTTP clients resolve `.` and `..` segments before they send a request, so a call for `a/../b`
    would reach the blob `b`, and one for `../x` another container.
    """
    if "/." not in name and not name.startswith("."):  # nearly all of millions
        return None
    if any(segment in {".", ".."} for segment in name.split("/")):
        return "a path segment of the name is '.' or '..', which HTTP would resolve to another blob"
    return None


def backup_name(version: Version) -> str:
    """The name of this version's backup: derived from the version alone, so that two can never share one.

    It is the source name as a folder of versions. A name that the service would refuse as too long
    (it counts UTF-16 units, as .NET does) or too deep is replaced by its hash.
    """
    return name_of_backup(version.name, version.etag, version.last_modified)


def name_of_backup(source: str, etag: str, last_modified: str) -> str:
    """As `backup_name`, without a version to be made first: for listings of millions."""
    when = last_modified  # the same without dashes and colons
    stamp = f"{when[:4]}{when[5:7]}{when[8:13]}{when[14:16]}{when[17:]}-{etag}"
    extension = _extension(source)
    name = f"{source}/{stamp}{extension}"
    if _utf16_units(name) <= MAX_NAME_CHARACTERS and name.count("/") < MAX_PATH_SEGMENTS:
        return name
    folder = long_name_folder(source)
    name = f"{folder}/{stamp}{extension}"
    return name if _utf16_units(name) <= MAX_NAME_CHARACTERS else f"{folder}/{stamp}"


def version_of_backup(name: str, size: int, metadata: Mapping[str, str] | None = None) -> Version | None:
    """The version whose backup has this name; None for a blob that is no version's backup.

    The name tells, but for a hashed one, whose source name stands in the metadata alone.
    Whatever is read out of a name is right only if that version's backup has this very name.
    """
    folder, _, last = name.rpartition("/")
    stamp = _STAMP.match(last)
    if stamp is None:
        return None
    year, month, day, hour, minute, second, etag = stamp.groups()
    last_modified = f"{year}-{month}-{day}T{hour}:{minute}:{second}Z"
    source_names = [source_name_in(metadata or {})]
    if not _HASHED.fullmatch(folder):
        source_names.append(folder)
    for source_name in source_names:
        version = Version(source_name or "", etag, last_modified, size)
        if source_name and backup_name(version) == name:
            return version
    return None


def folder_of_backup(name: str) -> tuple[str, str] | None:
    """The folder that holds all versions of one blob, and what tells this one there; None for no version's name.

    As `version_of_backup`, in a fraction of its time and without metadata: for listings of millions. The second
    part begins with the version's time, so that of one folder's the greatest is the newest.
    """
    folder, _, last = name.rpartition("/")
    stamp = _STAMP.match(last)
    if stamp is None or not folder:
        return None
    extension = last[stamp.end() :]
    if extension == _extension(folder) or _HASHED.fullmatch(folder):
        return folder, last
    return None


def stamp_of_hashed(name: str) -> tuple[str, str] | None:
    """The ETag and Last-Modified in the hashed name of a backup; None for another name.

    It is all that such a name tells by itself, should its metadata have had no room for the source's.
    """
    folder, _, last = name.rpartition("/")
    stamp = _STAMP.match(last)
    if stamp is None or not _HASHED.fullmatch(folder):
        return None
    year, month, day, hour, minute, second, etag = stamp.groups()
    return etag, f"{year}-{month}-{day}T{hour}:{minute}:{second}Z"


def long_name_folder(name: str) -> str:
    """The folder of a name's backups where they are hashed: with a prefix of it, all of them are found."""
    return f"{LONG_NAMES}/{sha256(name.encode()).hexdigest()}"


def source_name_in(metadata: Mapping[str, str]) -> str | None:
    """The source name that a backup's metadata tells (`as_metadata`); None where there is none that makes sense."""
    values = {key.lower(): value for key, value in metadata.items()}
    try:
        if SOURCE_NAME in values:
            return unquote(values[SOURCE_NAME], errors="strict")
        if SOURCE_NAME_BASE64 in values:
            return b64decode(values[SOURCE_NAME_BASE64], validate=True).decode()
    except ValueError:  # it is not what Snapkeep writes: somebody else's
        return None
    return None


def as_metadata(name: str) -> tuple[str, str]:
    """The metadata that tells a backup's source name: key and value, in ASCII, as metadata travels in headers.

    Percent-encoded it is what people can read; a long name outside ASCII grows ninefold by that,
    past what the service stores and clients accept, and stands there in base64 instead.
    """
    readable = quote(name, safe="/")
    if len(readable) <= MAX_READABLE_CHARACTERS:
        return SOURCE_NAME, readable
    return SOURCE_NAME_BASE64, b64encode(name.encode()).decode()


def _extension(name: str) -> str:
    """As `posixpath.splitext`, in a fraction of its time; but a final dot alone is none."""
    dot = name.rfind(".")
    if dot < 0 or dot == len(name) - 1:
        return ""
    stem = name[name.rfind("/") + 1 : dot]  # empty where the last dot is in a folder's name
    return name[dot:] if stem.strip(".") else ""


def _utf16_units(text: str) -> int:
    if text.isascii():  # for listings of millions
        return len(text)
    return len(text) + sum(character > "\uffff" for character in text)

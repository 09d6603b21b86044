"""Which blob names are refused, and the name of each version's backup."""

from __future__ import annotations

import posixpath
from base64 import b64encode
from hashlib import sha256
from urllib.parse import quote

from shared.model import Version

MAX_NAME_CHARACTERS = 1024
MAX_PATH_SEGMENTS = 254
LONG_NAMES = ".snapkeep/long"

SOURCE_NAME = "snapkeep_source_name"
SOURCE_NAME_BASE64 = "snapkeep_source_name_base64"
MAX_READABLE_CHARACTERS = 4096


def refusal(name: str) -> str | None:
    """Why no call may be made for a blob of this name; None for a name that is fine.

    HTTP clients resolve `.` and `..` segments before they send a request, so a call for `a/../b`
    would reach the blob `b`, and one for `../x` another container.
    """
    if any(segment in {".", ".."} for segment in name.split("/")):
        return "a path segment of the name is '.' or '..', which HTTP would resolve to another blob"
    return None


def _stamp(version: Version) -> str:
    """`<Last-Modified>-<ETag>`, the part of a backup's name that tells versions apart."""
    compact = version.last_modified.replace("-", "").replace(":", "")
    return f"{compact}-{version.etag}"


def backup_name(version: Version) -> str:
    """The name of this version's backup: derived from the version alone, so that two can never share one.

    It is the source name as a folder of versions. A name that the service would refuse as too long
    (it counts UTF-16 units, as .NET does) or too deep is replaced by its hash.
    """
    stamp = _stamp(version)
    extension = _extension(version.name)
    name = f"{version.name}/{stamp}{extension}"
    if _utf16_units(name) <= MAX_NAME_CHARACTERS and name.count("/") < MAX_PATH_SEGMENTS:
        return name
    digest = sha256(version.name.encode()).hexdigest()
    name = f"{LONG_NAMES}/{digest}/{stamp}{extension}"
    return name if _utf16_units(name) <= MAX_NAME_CHARACTERS else f"{LONG_NAMES}/{digest}/{stamp}"


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
    extension = posixpath.splitext(name)[1]
    return "" if extension == "." else extension


def _utf16_units(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)

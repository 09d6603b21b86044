"""Where in a directory a blob's file goes: always below it, and never where another blob's goes.

What a file system cannot hold, or programs read as something else, is percent-encoded, and so is a percent sign
that would otherwise look like such a code: undoing the percent-encoding gives the blob's name, for every blob.
The same names come out on every system, since directories travel.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from shared.decisions.names import refusal

MAX_SEGMENT_BYTES = 255
"""What the common file systems hold of one name, in UTF-8."""

UNFINISHED_PREFIX = ".snapkeep-restoring-"
"""How the names of files begin that are still being written: no blob's file gets one."""

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff\\]")
_LOOKS_ENCODED = re.compile(r"%(?=[0-9A-Fa-f]{2})")
_DRIVE = re.compile(r"([A-Za-z]):")
_RESERVED = re.compile(
    r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|CLOCK\$|(?:COM|LPT)[0-9\u00b9\u00b2\u00b3])(?=\Z|[.: ])", re.I
)
"""What Windows takes for devices, with any extension. Source: Microsoft, "Naming Files, Paths, and Namespaces"."""


class LocalName(NamedTuple):
    """Where a file goes, folder by folder. `mapped` where that is not the blob's name as it is."""

    segments: tuple[str, ...]
    mapped: bool

    @property
    def path(self) -> str:
        return "/".join(self.segments)


class Refused(NamedTuple):
    """Why no file can stand for the blob."""

    reason: str


def local_name(name: str) -> LocalName | Refused:
    """Where the file of the blob `name` goes."""
    refused = refusal(name)
    if refused:
        return Refused(refused)
    segments = tuple(_encoded(segment, first=not number) for number, segment in enumerate(_segments(name)))
    long = next((one for one in segments if len(one.encode()) > MAX_SEGMENT_BYTES), None)
    if long is not None:
        return Refused(f"a part of its name takes {len(long.encode())} bytes, and files hold {MAX_SEGMENT_BYTES}")
    return LocalName(segments, "/".join(segments) != name)


def clash(segment: str, present: Iterable[str]) -> str | None:
    """The name that a file system which does not tell case or accents' forms apart would take `segment` for."""
    folded = _folded(segment)
    same = [other for other in present if _folded(other) == folded]
    return None if segment in same or not same else same[0]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _segments(name: str) -> list[str]:
    """The name's parts; a slash that stands at its beginning, its end or behind another belongs to a part."""
    parts: list[str] = []
    extra = ""
    for number, part in enumerate(name.split("/")):
        slash = "/" if number else ""
        if not part:
            extra += slash
        elif not parts:
            parts.append(f"{extra}{slash}{part}")
            extra = ""
        else:
            parts.append(extra + part)
            extra = ""
    if not parts:
        return [name]
    parts[-1] += extra
    return parts


def _encoded(segment: str, *, first: bool) -> str:
    text = _LOOKS_ENCODED.sub("%25", segment)
    text = _UNSAFE.sub(lambda found: _percent(found.group()), text.replace("/", "%2F"))
    if text[-1] in ". ":
        text = text[:-1] + _percent(text[-1])
    if text.startswith(UNFINISHED_PREFIX):
        text = _percent(".") + text[1:]
    reserved = _RESERVED.match(text)
    if reserved:
        text = _percent(text[0]) + text[1:]
    if first:
        text = _DRIVE.sub(rf"\1{_percent(':')}", text, count=1) if _DRIVE.match(text) else text
    return text


def _percent(character: str) -> str:
    """Each byte of the character in UTF-8, encoded: also of those that `quote` leaves as they are."""
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))

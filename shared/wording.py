"""How values read on the page and in the terminal: numbers, ages, times, and names that may hold anything."""

from __future__ import annotations

import unicodedata

_HIDDEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
"""Unicode's controls, formats (which turn the direction of text, or join it), unassigned ones and line ends."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
UNKNOWN = "not known"


def visible(text: str) -> str:
    r"""The text with each character that one would not see, or that changes how others look, as `\u202e`."""
    return "".join(
        _escaped(character) if unicodedata.category(character) in _HIDDEN else character for character in text
    )


def _escaped(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def count(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number:,}"


def percent(value: float | None) -> str:
    """A share in percent, already rounded down; a dash of nothing."""
    return "–" if value is None else f"{value:g} %"


def age(seconds: float | None) -> str:
    """An age with its two greatest units, such as `3 d 4 h`; a dash where there is none."""
    if seconds is None:
        return "–"
    for unit, name, smaller, smaller_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if seconds >= unit:
            rest = int(seconds % unit // smaller)
            return f"{int(seconds // unit)} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return f"{int(seconds)} s"


def minute(second: str | None) -> str:
    """`2026-11-20T14:05:33Z` as `2026-11-20 14:05 UTC`; a dash for none."""
    return f"{second[:10]} {second[11:16]} UTC" if second else "–"

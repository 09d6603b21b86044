"""How a container that is too large for one pass is cut into shards: each name is in exactly one of them.

Names are told apart folder by folder: a shard holds those of one folder whose next segment lies between two
bounds. Bounds part all strings that there are, and not those that were found, so that no name falls between two
shards or into both, whenever it is written. A version's backup stands in a folder named after its blob, and has
the same segments: it is listed within the same bounds, in the other account.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

MARKS_PER_SHARD = 32
"""How many names a pass notes down, evenly spread, for every shard's worth of blobs: what the next run cuts by."""

_SURE = re.compile("[0-\ud7ff]*")
"""Characters by which every listing sorts alike: after the slash, and below where UTF-16 parts from code points."""


class Shard(NamedTuple):
    """The names in a folder whose next segment is at least `start` and below `end`; and the folder's own name.

    Attributes:
        prefix: the folder, with its last slash; empty for the whole container.
        start, end: bounds of the segment, compared by code points; None for no upper one.
    """

    prefix: str = ""
    start: str = ""
    end: str | None = None

    def holds(self, name: str) -> bool:
        """Whether this blob is the shard's. The folder's own name has an empty segment in it."""
        return f"{name}/".startswith(self.prefix) and self.takes(name[len(self.prefix) :].partition("/")[0])

    def takes(self, segment: str) -> bool:
        return self.start <= segment and (self.end is None or segment < self.end)

    @property
    def own_name(self) -> str:
        """The name of the folder itself, which a blob may have; empty where that is another shard's."""
        return self.prefix[:-1] if self.start == "" else ""

    @property
    def whole(self) -> bool:
        """Whether it is all of the folder."""
        return self.start == "" and self.end is None

    @property
    def sure(self) -> bool:
        """Whether every listing, however it sorts, holds the shard's names side by side, from `start` on.

        Flat accounts sort by UTF-16 units, hierarchical ones take the slash for the least of all characters.
        """
        return all(_SURE.fullmatch(bound) for bound in (self.start, self.end or ""))

    @property
    def least(self) -> str:
        """A bound that is sure, from which on every listing holds all of the shard's names."""
        return _sure_run(self.start)

    @property
    def beyond(self) -> str | None:
        """A bound that is sure, from which on no listing holds any of the shard's names; None where none is known."""
        run = _sure_run(self.end or "")
        if self.end is None or run == self.end:
            return self.end
        return f"{run}0" if self.end[len(run)] < "0" else None

    def __str__(self) -> str:
        if self.whole:
            return f"all of {self.prefix!r}" if self.prefix else "all"
        return f"{self.prefix!r}, from {self.start!r} to {self.end!r}"


def plan(marks: Iterable[str], *, ranges: bool, size: int = MARKS_PER_SHARD) -> list[Shard]:
    """Shards of about as many blobs each, which together hold every name.

    Args:
        marks: names, evenly spread over the container's blobs as they are listed (`MARKS_PER_SHARD`).
        ranges: whether the service begins a listing where it is told to. A shard costs no more than its own pages
            then; else the folder that it is in is listed first, which is not done where very many blobs are
            directly in it.
        size: how many marks make a shard.
    """
    return list(_split("", list(marks), size, ranges))


class _Part(NamedTuple):
    """Some marks whose segments begin at `start`; `folder` when they are one folder's and worth shards of its own."""

    start: str
    marks: Sequence[str]
    folder: bool = False


def _split(prefix: str, marks: Sequence[str], size: int, ranges: bool) -> Iterator[Shard]:
    start, held = "", 0
    for part in _parts(prefix, marks, size, ranges):
        if part.start > start and (part.folder or held + len(part.marks) > size):
            yield Shard(prefix, start, part.start)
            start, held = part.start, 0
        if part.folder and start == part.start:
            yield from _split(f"{prefix}{part.start}/", part.marks, size, ranges)
            start = f"{part.start}\0"  # the very next segment
        else:
            held += len(part.marks)
    yield Shard(prefix, start)


def _parts(prefix: str, marks: Sequence[str], size: int, ranges: bool) -> Iterator[_Part]:
    """The marks of a folder by their segments, in order; with `ranges`, as far as possible by sure bounds."""
    if len(marks) < 2 * size:
        return
    of_segment: dict[str, list[str]] = {}
    for mark in marks:
        of_segment.setdefault(mark[len(prefix) :].partition("/")[0], []).append(mark)
    for run, segments in groupby(sorted(of_segment), key=_sure_run if ranges else lambda _: ""):
        parts = [_segment_part(prefix, segment, of_segment[segment], size) for segment in segments]
        blobs = sum(mark == f"{prefix}{part.start}" for part in parts for mark in part.marks)
        together = _Part(run, [mark for part in parts for mark in part.marks])
        if blobs <= size and not (ranges and len(together.marks) < 2 * size):
            yield from parts
        else:
            yield together


def _segment_part(prefix: str, segment: str, marks: Sequence[str], size: int) -> _Part:
    inner = sum(mark.startswith(f"{prefix}{segment}/") for mark in marks)
    # The folder of an empty segment is none that holds this folder's own name.
    return _Part(segment, marks, folder=inner >= 2 * size and segment != "")


def _sure_run(segment: str) -> str:
    found = _SURE.match(segment)
    return found[0] if found else ""


class Piece(NamedTuple):
    """A part of a listing: the names with this prefix.

    Attributes:
        exact: this very name alone.
        ranged: of those with the prefix the shard's alone; else they all are the shard's.
    """

    prefix: str
    exact: bool = False
    ranged: bool = False


def piece_of(shard: Shard, segment: str, *, folder: bool) -> Piece:
    """The piece, as wide as the shard's bounds allow, that brings this blob or folder and what is written beside it.

    Args:
        segment: one that the shard takes.
        folder: whether it is a folder's; else a blob's in the shard's own folder.
    """
    text = f"{segment}/" if folder else segment
    length = min(_common(text, shard.start) + 1, len(shard.start))
    if shard.end is not None:
        length = max(length, _common(text, shard.end) + 1)
    return Piece(shard.prefix + text[:length], exact=length > len(text))


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))

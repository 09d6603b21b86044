"""Which pages of a listing hold many of some names, so that one call tells of all of them instead of one call each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from posixpath import commonprefix
from typing import NamedTuple

FEW = 32
"""For fewer blobs than this no page is read: it costs about as much as 12 calls for single blobs, and takes as long."""

MOST_LISTED = 5000


class Stretch(NamedTuple):
    """Names that are likely to stand close together in a listing, under a prefix of their own."""

    prefix: str
    names: Sequence[str]

    @property
    def page_size(self) -> int:
        """So many entries that the names are among them, if not more than as many others stand before them."""
        return min(2 * len(self.names) + 10, MOST_LISTED)


def stretches(names: Sequence[str]) -> list[Stretch]:
    """The stretches of a listing that hold most of these names, the largest first; none where they are scattered.

    A request's names come from a listing, one after the other, with whatever else the container holds before and
    behind them. A listing begins at a prefix. So each stretch is all names with one more character than they have
    in common; but the first of them, which others may precede, is cut in the same way again.
    """
    found: list[Stretch] = []
    rest = sorted(set(names))
    while len(rest) >= FEW:
        prefix = commonprefix([rest[0], rest[-1]])
        first, *others = (list(group) for _, group in groupby(rest, key=lambda name: name[: len(prefix) + 1]))
        large = [Stretch(commonprefix([group[0], group[-1]]), group) for group in others if len(group) >= FEW]
        if not large and len(first) < len(rest) - FEW // 2:
            found.append(Stretch(prefix, rest))
            break
        found += large
        rest = first
    return sorted(found, key=lambda stretch: len(stretch.names), reverse=True)

"""The listings of a container, or of one shard of it, in pieces that follow one another."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple

from shared.adapters.accounts import Account
from shared.adapters.folders import level
from shared.adapters.listing import Page
from shared.containers import backup_container
from shared.decisions.reconcile_run import BEGINNING, Position
from shared.decisions.shards import Piece, Shard, piece_of
from shared.errors import ContainerNotFound
from shared.model import Entry
from shared.services import Services

OpenPages = Callable[..., AsyncGenerator[Page]]
"""Opens the pages of one container: with a prefix and a marker, and `start_from`."""


class Listed(NamedTuple):
    """A page of it; `at` is where it stands, `following` where the next one does, None on the last."""

    entries: list[Entry]
    at: Position
    following: Position | None
    served_at: str | None


NOTHING = Listed([], BEGINNING, None, None)
"""The one page of a listing without pieces, for which the service was not asked."""


def source_pages(services: Services, container: str) -> OpenPages:
    return lambda prefix, marker, **options: services.source.pages(container, prefix, marker, **options)


def backup_pages(services: Services, container: str) -> OpenPages:
    target = backup_container(container)
    return lambda prefix, marker, **options: services.backup.pages(target, prefix, marker, **options)


async def pages(
    open_pages: OpenPages, pieces: Sequence[Piece], shard: Shard, start: Position = BEGINNING
) -> AsyncGenerator[Listed]:
    """The pages of all pieces, from `start` on, the last of which has no following one.

    Raises:
        ContainerNotFound, StorageFailed: as the listing does.
    """
    if not pieces:
        yield NOTHING
    for number in range(start.piece, len(pieces)):
        piece = pieces[number]
        marker = start.marker if number == start.piece else None
        start_from = piece.prefix + shard.start if piece.ranged and shard.start else ""
        async with aclosing(open_pages(piece.prefix, marker, start_from=start_from)) as opened:
            async for page in opened:
                entries, over = _of_piece(page.entries, piece, shard)
                at = Position(number, marker)
                marker = None if over else page.next_marker
                following = Position(number, marker) if marker else None
                if following is None and number + 1 < len(pieces):
                    following = Position(number + 1)
                yield Listed(entries, at, following, page.served_at)
                if over:
                    break


def _of_piece(entries: list[Entry], piece: Piece, shard: Shard) -> tuple[list[Entry], bool]:
    """The entries that are the piece's, and whether no more can come."""
    if piece.exact:
        kept = [entry for entry in entries if entry.name == piece.prefix]
        return kept, len(kept) < len(entries)
    if not piece.ranged:
        return entries, False
    segments = [entry.name[len(piece.prefix) :].partition("/")[0] for entry in entries]
    kept = [entry for entry, segment in zip(entries, segments, strict=True) if shard.takes(segment)]
    return kept, shard.end is not None and any(segment >= shard.end for segment in segments)


async def pieces(services: Services, container: str, shard: Shard, *, ranges: bool) -> tuple[list[Piece], list[Piece]]:
    """What is to be listed of the source and of the backups, so that nothing of the shard is missing.

    Args:
        ranges: the service begins a listing where it is told to.

    Raises:
        StorageFailed: the folders could not be listed.
    """
    own = [Piece(shard.own_name, exact=True)] if shard.own_name else []
    if shard.whole:
        return [*own, Piece(shard.prefix)], [Piece(shard.prefix)]
    if shard.sure and ranges:
        return [*own, Piece(shard.prefix, ranged=True)], [Piece(shard.prefix, ranged=True)]
    start_from = shard.prefix + shard.least if ranges and shard.least else ""
    source = await _discovered(services.source.account, container, shard, start_from)
    return [*own, *source], await _discovered(services.backup.account, backup_container(container), shard, start_from)


async def _discovered(account: Account, container: str, shard: Shard, start_from: str) -> list[Piece]:
    """Pieces that hold whatever there is now of the shard, and of what is written beside it later all that is the
    shard's."""
    found: set[Piece] = set()
    try:
        async with aclosing(level(account, container, shard.prefix, start_from)) as listed:
            async for page in listed:
                found |= {piece_of(shard, segment, folder=folder) for segment, folder in page if shard.takes(segment)}
                if shard.beyond is not None and any(segment >= shard.beyond for segment, _ in page):
                    break
    except ContainerNotFound:
        return [Piece(shard.prefix, ranged=True)]  # which says so, or is empty
    return sorted(found)

"""Where a scan that ran out of time goes on: an opaque text that a caller hands back.

It holds the service's marker of the next page, and what the pages so far told of the name that the
last of them ended in, so that nothing is looked at twice and nothing is left out.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import BadParameter
from shared.model import Entry


class Position(BaseModel):
    """A place in a listing: the next page's marker (None: the first), and the entries carried into it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    v: Literal[1] = 1
    container: str
    prefix: str = ""
    marker: str | None = None
    carry: Annotated[list[Entry], Field(max_length=2)] = []


def to_text(position: Position) -> str:
    return urlsafe_b64encode(position.model_dump_json().encode()).decode().rstrip("=")


def from_text(text: str, container: str, prefix: str) -> Position:
    """The position that `to_text` wrote for this very scan.

    Raises:
        BadParameter: the text is not a continuation, or belongs to another container or prefix.
    """
    try:
        position = Position.model_validate_json(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, ValidationError):
        raise BadParameter("continuation: not one that an earlier answer brought; leave it out to start anew") from None
    if (position.container, position.prefix) != (container, prefix):
        raise BadParameter("continuation: belongs to another container or prefix; pass the ones it was answered for")
    return position

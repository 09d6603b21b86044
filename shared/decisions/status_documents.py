"""The documents in the state that a status is made from, as this release writes them; anything else is refused.

A reader that guesses at what it does not know could call something protected that is not. Keys that are not
named here are passed over: a later release may add some.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from shared.errors import printable
from shared.model import moment_of


@dataclass(frozen=True)
class Unreadable:
    """Something that could not be read, and why; nothing may be concluded from it."""

    reason: str


Found = Any | None | Unreadable
"""What reading a document brought: its content, None where there is none, or the failure to read it."""


def _moment(value: object) -> datetime:
    return moment_of(value if isinstance(value, str) else repr(value))


Moment = Annotated[datetime, BeforeValidator(_moment)]
Count = Annotated[int, Field(ge=0, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Line = Annotated[str, AfterValidator(printable)]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True)

    release: Literal[1] = Field(1, alias="schema")
    """Absent from the report of `sync`, which is older than the key."""


Document = TypeVar("Document", bound=_Document)


class NamedVersion(BaseModel):
    """A version, or (without `detail`) a blob that could not be snapshotted, as a report names it."""

    model_config = ConfigDict(frozen=True)

    name: str
    reason: str
    etag: str | None = None
    last_modified: str | None = None
    detail: str = ""


class ContainerCoverage(BaseModel):
    """One container's part of a coverage report."""

    model_config = ConfigDict(frozen=True)

    container: Line
    blobs: Count
    versions: Count
    protected: Count
    backups_requested: Count
    unprotectable_by_reason: Mapping[Line, Count]
    unprotectable: tuple[NamedVersion, ...]
    failed_count: Count
    failed: tuple[NamedVersion, ...]
    oldest_unprotected: Moment | None
    complete: Flag
    error: Line | None
    deleted: Count | None = None
    """None in a report of before deletions were recorded."""

    @model_validator(mode="after")
    def _adds_up(self) -> ContainerCoverage:
        if self.protected > self.versions:
            raise ValueError("more versions are protected than there are")
        return self


class Listing(BaseModel):
    """What a report rests on that was made from inventories; a part of it."""

    model_config = ConfigDict(frozen=True)

    as_of: Moment


class Coverage(_Document):
    """`reports/latest.json`"""

    kind: Literal["reconcile"]
    run_id: str
    started_at: Moment
    finished_at: Moment
    complete: Flag
    containers: tuple[ContainerCoverage, ...]
    errors: tuple[Line, ...] = ()
    """What else the run was to find out, and could not."""
    listing: Listing | None = None

    @property
    def as_of(self) -> datetime:
        """What changed since then, the report need not know of."""
        return self.listing.as_of if self.listing else self.finished_at


class CoveragePoint(BaseModel):
    """One run in the history."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    finished_at: Moment
    complete: Flag
    versions: Count
    protected: Count
    unprotectable: Count
    missing: Count
    oldest_unprotected_seconds: Annotated[int, Field(strict=True)] | None


class History(_Document):
    """`history/coverage.json`"""

    runs: tuple[CoveragePoint, ...]


class MirroredPair(BaseModel):
    model_config = ConfigDict(frozen=True)

    source: Line
    backup: Line
    outcome: Line
    reason: Line | None


class Mirrors(_Document):
    """`reports/sync-latest.json`"""

    kind: Literal["sync"]
    started_at: Moment
    finished_at: Moment
    complete: Flag
    pairs: tuple[MirroredPair, ...]


class VerifiedTotals(BaseModel):
    model_config = ConfigDict(frozen=True)

    versions: Count
    checked: Count
    bytes_checked: Count
    problems: Count


class VerifiedContainer(BaseModel):
    model_config = ConfigDict(frozen=True)

    container: Line
    problems: Count
    error: Line | None


class Verification(_Document):
    """`reports/verify-latest.json`"""

    kind: Literal["verify"]
    started_at: Moment
    finished_at: Moment
    complete: Flag
    mode: Line
    percent: float
    totals: VerifiedTotals
    containers: tuple[VerifiedContainer, ...]


class Drill(_Document):
    """`reports/drill-latest.json`"""

    kind: Literal["drill"]
    started_at: Moment
    finished_at: Moment
    result: Literal["succeeded", "failed", "nothing to restore"]
    picked: Count
    restored: Count
    failed: tuple[Mapping[str, Any], ...]


class RunNote(_Document):
    """`runs/<function>.json`"""

    function: str
    started_at: Moment
    finished_at: Moment
    result: Literal["succeeded", "incomplete", "failed"]
    detail: Line


def parsed(kind: type[Document], name: str, found: Found) -> Document | Unreadable | None:
    """The document of this name; one that is not as this release writes it is as good as unreadable."""
    if found is None or isinstance(found, Unreadable):
        return found
    try:
        return kind.model_validate(found)
    except ValidationError as invalid:
        first = invalid.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return Unreadable(printable(f"{name} is not as this release writes it: {place}: {first['msg']}"))

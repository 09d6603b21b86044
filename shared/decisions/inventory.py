"""What a Blob Inventory is worth: what its manifest says, which run to take, and what it can and cannot tell.

The layout is the service's: https://learn.microsoft.com/azure/storage/blobs/blob-inventory, "Inventory output".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from shared.errors import InventoryUnusable
from shared.model import second_of

MAX_AGE = timedelta(hours=50)
"""A daily run that began before the last one, and took as long as a day: anything older misses a run."""

MAX_RUNS = 20
"""How many runs are looked at, the latest first, until one is found that can be used."""

_RUN = re.compile(r"(\d{4}/\d\d/\d\d/\d\d-\d\d-\d\d)/([^/]+)/([^/]+)-manifest\.json")
_FLAT_TYPES = frozenset({"blockblob", "appendblob", "pageblob"})
_HIERARCHICAL_TYPES = frozenset({"blockblob", "appendblob"})


class Side(StrEnum):
    """Whose inventory it is."""

    SOURCE = "source"
    BACKUP = "backup"


REQUIRED = {
    Side.SOURCE: ("Name", "Snapshot", "Last-Modified", "Content-Length"),
    Side.BACKUP: ("Name", "Content-Length"),
}
"""The fields without which nothing can be said of a version."""

WITHOUT = {
    "Etag": "versions are told apart by Last-Modified and size: two of one second and size are taken for one",
    "Content-MD5": "backups are compared by size alone",
    "AccessTier": "blobs in the archive tier that have no backup are looked at one by one",
}
"""What is done without an optional field of the source's."""


def _words(value: Any) -> Any:
    return () if value is None else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_words)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Part(_Model):
    """One file of an inventory."""

    blob: str
    size: Annotated[int, Field(ge=0)]


class Filters(_Model):
    """Which blobs a rule leaves out."""

    blob_types: Texts = Field((), alias="blobTypes")
    prefixes: Texts = Field((), alias="prefixMatch")
    excluded: Texts = Field((), alias="excludePrefix")
    created_within_days: int | None = Field(None, alias="creationTime")
    snapshots: bool = Field(False, alias="includeSnapshots")
    versions: bool = Field(False, alias="includeBlobVersions")
    deleted: bool = Field(False, alias="includeDeleted")


class Definition(_Model):
    """A rule."""

    filters: Filters = Filters.model_validate({})
    format: Literal["csv", "parquet"]
    object_type: str = Field("blob", alias="objectType")
    fields: tuple[str, ...] = Field(alias="schemaFields")


class Summary(_Model):
    objects: int | None = Field(None, alias="objectCount")


class Manifest(_Model):
    """`<rule>-manifest.json`: what one run of a rule wrote. `completed_at` is None while it is under way."""

    rule: str = Field(alias="ruleName")
    status: str
    started_at: AwareDatetime = Field(alias="inventoryStartTime")
    completed_at: AwareDatetime | None = Field(None, alias="inventoryCompletionTime")
    endpoint: str = ""
    files: tuple[Part, ...] = ()
    definition: Definition = Field(alias="ruleDefinition")
    summary: Summary = Summary.model_validate({})

    @property
    def format(self) -> Literal["csv", "parquet"]:
        return self.definition.format

    def field(self, name: str) -> str | None:
        """The field as the rule spells it: the service's pages write both ETag and Etag."""
        return field_in(self.definition.fields, name)


def field_in(fields: Iterable[str], name: str) -> str | None:
    """The field of this name, in whatever case."""
    return next((field for field in fields if field.lower() == name.lower()), None)


def parse_manifest(document: Any, name: str) -> Manifest:
    """A manifest.

    Args:
        name: of its blob, for the message.

    Raises:
        InventoryUnusable: it has another form.
    """
    try:
        return Manifest.model_validate(document)
    except ValidationError as invalid:
        error = invalid.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in error["loc"]) or "document"
        raise InventoryUnusable(f"{name}: {place}: {error['msg']}; expected an inventory's manifest") from None


def manifests_of(names: Iterable[str], rule: str) -> list[str]:
    """The names of a rule's manifests, the latest run's first, out of all names of a container."""
    runs = [(found[1], name) for name in names if (found := _RUN.fullmatch(name)) and found[2] == found[3] == rule]
    return [name for _, name in sorted(runs, reverse=True)[:MAX_RUNS]]


def passed_over(manifest: Manifest) -> str | None:
    """Why a run is not used, so that an earlier one is looked at; None for one that ended well."""
    if manifest.status == "Succeeded":
        return None
    return f"the run of {second_of(manifest.started_at)} is {manifest.status}"


def refusal(manifest: Manifest, side: Side, account: str, now: datetime) -> str | None:
    """Why an inventory cannot be used, and what to do; None for one that can."""
    rule, filters = f"rule {manifest.rule} of the {side} account's inventory", manifest.definition.filters
    missing = [field for field in REQUIRED[side] if manifest.field(field) is None and field != "Snapshot"]
    if manifest.definition.object_type.lower() != "blob":
        return f"{rule} is of containers: name one whose objectType is blob"
    if side is Side.SOURCE and not (filters.snapshots and manifest.field("Snapshot")):
        return f"{rule} leaves out snapshots: set includeSnapshots, and add the field Snapshot"
    if missing:
        return f"{rule} lacks the field {', '.join(missing)}: add it to schemaFields"
    if filters.deleted and manifest.field("Deleted") is None:
        return f"{rule} includes deleted blobs and does not tell which: add the field Deleted, or leave them out"
    if filters.versions and manifest.field("VersionId") is None:
        return f"{rule} includes blob versions and does not tell which: add VersionId and IsCurrentVersion"
    if not manifest.files:
        return f"{rule}: the run of {second_of(manifest.started_at)} names no files"
    other = _account_in(manifest.endpoint)
    if other and account and other != account:
        return f"{rule} is of the account {other}, and not of {account}"
    if now - manifest.started_at > MAX_AGE:
        hours = MAX_AGE.total_seconds() / 3600
        return (
            f"{rule}: its last good run began {second_of(manifest.started_at)}, more than {hours:.0f} h ago: "
            "see why it does not run, or reconcile by listing"
        )
    return None


def _account_in(endpoint: str) -> str:
    """The account that an endpoint of the service names; empty for one of another form, as with an own domain."""
    label, _, domain = (urlsplit(endpoint).hostname or "").partition(".")
    return label.removesuffix("-secondary") if ".blob." in f".{domain}" else ""


def gap(manifest: Manifest, container: str) -> str | None:
    """Why the inventory need not hold all of a container; None where it does."""
    filters = manifest.definition.filters
    types = {kind.lower() for kind in filters.blob_types}
    hierarchical = any(manifest.field(field) for field in ("hdi_isfolder", "Owner", "Acl"))
    if types and not types >= (_HIERARCHICAL_TYPES if hierarchical else _FLAT_TYPES):
        return f"its rule leaves out blob types (it has {', '.join(filters.blob_types)})"
    if filters.created_within_days is not None:
        return f"its rule leaves out what was created more than {filters.created_within_days} days ago"
    whole = f"{container}/"
    prefixes = [prefix for prefix in filters.prefixes if prefix]
    if prefixes and not any(whole.startswith(prefix) for prefix in prefixes):
        return "its rule's prefixMatch does not hold the whole container"
    if any(prefix.startswith(whole) or whole.startswith(prefix) for prefix in filters.excluded if prefix):
        return "its rule's excludePrefix leaves out a part of the container"
    return None


@dataclass(frozen=True)
class Listed:
    """The inventories that a reconciliation rests on, as its report tells."""

    source: Manifest
    backup: Manifest
    notes: tuple[str, ...] = ()

    @property
    def as_of(self) -> datetime:
        """What changed since then need not be known of."""
        return min(self.source.started_at, self.backup.started_at)

    def to_json(self) -> dict[str, Any]:
        return {
            "from": "inventory",
            "as_of": second_of(self.as_of),
            "source": _shown(self.source),
            "backup": _shown(self.backup),
            "fallbacks": fallbacks(self.source, self.backup),
            "notes": list(self.notes),
        }


def _shown(manifest: Manifest) -> dict[str, Any]:
    return {
        "rule": manifest.rule,
        "format": manifest.format,
        "started_at": second_of(manifest.started_at),
        "completed_at": second_of(manifest.completed_at) if manifest.completed_at else None,
        "files": len(manifest.files),
    }


def fallbacks(source: Manifest, backup: Manifest) -> list[str]:
    """What is done otherwise because a field is not in an inventory."""
    found = [f"no {field}: {consequence}" for field, consequence in WITHOUT.items() if source.field(field) is None]
    if source.field("Content-MD5") is not None and backup.field("Content-MD5") is None:
        found.append(f"no Content-MD5 in the backup account's: {WITHOUT['Content-MD5']}")
    return found


def rows_missing(manifest: Manifest, rows: int) -> str | None:
    """Why the files cannot be the whole inventory: they hold fewer rows than the service counted.

    More of them are fine: in rare cases the service lists one twice.
    """
    objects = manifest.summary.objects
    if objects is None or rows >= objects:
        return None
    return f"rule {manifest.rule}: its files hold {rows:,} rows, and its manifest says {objects:,}"


def total_bytes(manifests: Sequence[Manifest]) -> int:
    return sum(part.size for manifest in manifests for part in manifest.files)

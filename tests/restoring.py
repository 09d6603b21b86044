"""What the tests of restores share: steps by hand, without a plan, and comparisons of restored blobs with what was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from azure.storage.blob import BlobProperties, BlobType
from azure.storage.blob.aio import BlobClient, ContainerClient

from shared.containers import backup_container
from shared.decisions.names import backup_name
from shared.decisions.restoring import Action, Held, Job, Mode, Place, Step
from shared.model import BlobState, Version
from shared.operations.restore import Outcome
from shared.recovery import Recovery

AT = "2026-11-20T12:00:00Z"
OFFERED = ("2026-11-19T00:00:00Z",)
HEADERS = ("content_type", "content_encoding", "content_language", "content_disposition", "cache_control")


def job(container: ContainerClient, mode: Mode, target: str, **options: Any) -> Job:
    return Job(container.container_name, AT, mode, target, **options)


@dataclass
class Told:
    """A `Progress` that remembers."""

    bytes: int = 0
    outcomes: list[Outcome] = field(default_factory=list)

    def moved(self, size: int) -> None:
        self.bytes += size

    def finished(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


async def version_of(container: ContainerClient, name: str) -> Version:
    """The version that is live now."""
    found = await container.get_blob_client(name).get_blob_properties()
    return Version(name, found.etag.strip('"'), f"{found.last_modified:%Y-%m-%dT%H:%M:%SZ}", found.size)


async def held(recovery: Recovery, container: ContainerClient, version: Version, place: Place) -> Held:
    """This version as that place holds it now."""
    assert recovery.source is not None
    state: BlobState | None
    if place is Place.BACKUP:
        key = backup_name(version)
        state = await recovery.backups.state(backup_container(container.container_name), key)
    elif place is Place.SNAPSHOT:
        state = await recovery.source.snapshot_of(container.container_name, version)
        key = str(state.snapshot) if state else ""
    else:
        key, state = "", await recovery.source.state(container.container_name, version.name)
    assert state is not None, f"{place} does not hold {version}"
    return Held(place, version, key, state.version.etag, state.version.size, state.md5, state.blob_type, state.tier)


async def restore_step(
    recovery: Recovery,
    container: ContainerClient,
    version: Version,
    places: Iterable[Place],
    replaces: str | None = None,
) -> Step:
    """A step that brings this version back from these places."""
    found = [await held(recovery, container, version, place) for place in places]
    return Step(
        Action.RESTORE, version.name, "wanted", version, tuple(found), replaces, offered=("2026-11-19T00:00:00Z",)
    )


def delete_step(version: Version, *, directory: bool = False) -> Step:
    return Step(Action.DELETE, version.name, "newer", version, replaces=version.etag, directory=directory)


@dataclass(frozen=True)
class Kept:
    """All that a restored blob must have of a version."""

    properties: BlobProperties
    content: bytes
    tags: dict[str, str]
    ranges: list[tuple[int, int]]


async def keep(blob: BlobClient) -> Kept:
    """A blob or snapshot, as it is now."""
    stream = await blob.download_blob(decompress=False)
    properties = stream.properties
    ranges: list[tuple[int, int]] = []
    if properties.blob_type == BlobType.PAGEBLOB and properties.size:
        async for span in blob.list_page_ranges():
            assert span.start is not None
            assert span.end is not None
            start = ranges.pop()[0] if ranges and ranges[-1][1] + 1 == span.start else span.start
            ranges.append((start, span.end))
    return Kept(properties, await stream.readall(), await blob.get_blob_tags(), ranges)


def assert_same(found: Kept, wanted: Kept) -> None:
    """Byte for byte and property for property."""
    assert found.content == wanted.content
    assert found.tags == wanted.tags
    assert found.ranges == wanted.ranges
    has, wants = found.properties, wanted.properties
    assert has.blob_type == wants.blob_type
    assert has.metadata == wants.metadata
    assert has.content_settings.content_md5 == wants.content_settings.content_md5
    for header in HEADERS:
        assert getattr(has.content_settings, header) == getattr(wants.content_settings, header), header
    if not wants.blob_tier_inferred:
        assert has.blob_tier == wants.blob_tier


def without(step: Step, place: Place) -> Step:
    return replace(step, places=tuple(one for one in step.places if one.place is not place))

"""Checks what stands in the two accounts against the record of what was written, byte by byte."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobClient, BlobServiceClient, ContainerClient
from azure.storage.queue.aio import QueueClient

from local.demo.contract import STAGING, STATE, says_its_version
from local.demo.progress import messages_in, names_in
from local.demo.record import PARALLEL, RecordedContainer, Version
from shared.parallel import for_each

SYSTEM_CONTAINERS = {STAGING, STATE, "azure-webjobs-hosts"}
_HEADERS = ("content_type", "content_encoding", "content_language", "content_disposition", "cache_control")


@dataclass
class Findings:
    """How many blobs are right, how many bytes were compared, and what is wrong with the others."""

    right: int = 0
    size_bytes: int = 0
    differences: list[str] = field(default_factory=list)

    def add(self, where: str, wrong: list[str], size_bytes: int = 0) -> None:
        """Counts one blob."""
        self.right += not wrong
        self.size_bytes += size_bytes
        self.differences += [f"{where}: {what}" for what in wrong]


async def check_versions(backups: ContainerClient, versions: Iterable[Version]) -> Findings:
    """Each version has its backup, with the same bytes, headers, metadata and index tags."""
    findings = Findings()

    async def one(version: Version) -> None:
        where = f"{backups.container_name}/{version.backup_name}"
        found = await _read(backups.get_blob_client(version.backup_name))
        if found is None:
            findings.add(where, ["missing"])
            return
        content, properties, tags = found
        findings.add(where, backup_differences(version, content, properties, tags), len(content))

    await for_each(versions, one, PARALLEL)
    return findings


async def check_restored(record: RecordedContainer) -> Findings:
    """The container holds the live blobs of its record, each as it was written, and nothing else."""
    findings = Findings()
    for name in sorted(await names_in(record.client) - record.live.keys()):
        findings.add(f"{record.name}/{name}", ["was not there at that moment"])

    async def one(version: Version) -> None:
        where = f"{record.name}/{version.name}"
        found = await _read(record.client.get_blob_client(version.name))
        if found is None:
            findings.add(where, ["missing"])
            return
        content, properties, tags = found
        wrong = _differences(version, content, properties, tags, dict(properties.metadata or {}))
        findings.add(where, wrong, len(content))

    await for_each(record.current, one, PARALLEL)
    return findings


async def check_strangers(backups: ContainerClient, record: RecordedContainer) -> list[str]:
    """What stands among the backups and is not the backup of any version that was written."""
    strangers = await names_in(backups) - {version.backup_name for version in record.versions}
    return [f"{backups.container_name}/{name}: no version was written that has this backup" for name in strangers]


def backup_differences(
    version: Version, content: bytes, properties: BlobProperties, tags: Mapping[str, str]
) -> list[str]:
    """What of a backup is not as the version was written."""
    metadata = dict(properties.metadata or {})
    kept = {key: value for key, value in metadata.items() if not key.startswith("snapkeep_source_")}
    wrong = _differences(version, content, properties, tags, kept)
    if not says_its_version(metadata, version.name, version.etag, version.last_modified):
        wrong.append("its metadata does not say which version it is")
    return wrong


def _differences(
    version: Version,
    content: bytes,
    properties: BlobProperties,
    tags: Mapping[str, str],
    metadata: Mapping[str, str],
) -> list[str]:
    wrong = _byte_differences(version.content, content)
    for header in _HEADERS:
        written, found = version.headers.get(header), properties.content_settings[header] or None
        if found != written:
            wrong.append(f"{header} is {found!r}; written was {written!r}")
    if metadata != version.metadata:
        wrong.append(f"metadata is {dict(metadata)}; written was {dict(version.metadata)}")
    if tags != version.tags:
        wrong.append(f"index tags are {dict(tags)}; written were {dict(version.tags)}")
    return wrong


async def check_source(record: RecordedContainer) -> Findings:
    """Every live blob is the one that was written, and has one snapshot with its ETag."""
    findings = Findings()
    live: dict[str, str] = {}
    snapshots: dict[tuple[str, str], int] = {}
    async for blob in record.client.list_blobs(include=["snapshots"]):
        if blob.snapshot:
            snapshots[blob.name, blob.etag] = snapshots.get((blob.name, blob.etag), 0) + 1
        else:
            live[blob.name] = blob.etag
    for name in sorted(live.keys() | record.live.keys()):
        version = record.live.get(name)
        if version is None:
            wrong = ["was not written by the demo, or was deleted"]
        elif live.get(name) != version.etag:
            wrong = [f"its ETag is {live.get(name)}; written was {version.etag}"]
        elif (count := snapshots.get((name, version.etag), 0)) != 1:
            wrong = [f"{count} snapshots have its ETag; it should be one"]
        else:
            wrong = []
        findings.add(f"{record.name}/{name}", wrong)
    return findings


async def check_mirror(mirror: ContainerClient, record: RecordedContainer) -> Findings:
    """The mirror holds the live blobs of its source, byte for byte, and nothing else."""
    findings = Findings()
    where = str(mirror.container_name)
    for name in sorted(await names_in(mirror) - record.live.keys()):
        findings.add(f"{where}/{name}", ["its source has no such blob"])

    async def one(name: str) -> None:
        found = await _read(mirror.get_blob_client(name))
        if found is None:
            findings.add(f"{where}/{name}", ["missing"])
            return
        content = found[0]
        findings.add(f"{where}/{name}", _byte_differences(record.live[name].content, content), len(content))

    await for_each(sorted(record.live), one, PARALLEL)
    return findings


async def check_leftovers(account: BlobServiceClient, poison: QueueClient, expected: set[str]) -> list[str]:
    """What stands in the backup account besides the expected containers and the app's own, and in the poison
    queue.
    """
    containers = {container.name async for container in account.list_containers()}
    wrong = [f"container {name} is in the backup account" for name in containers - expected - SYSTEM_CONTAINERS]
    wrong += [f"{STAGING}/{name} was left" for name in await names_in(account.get_container_client(STAGING))]
    if given_up := await messages_in(poison):
        wrong.append(f"{given_up} messages are in the queue {poison.queue_name}")
    return sorted(wrong)


def check_engines(copied: Iterable[str], records: Iterable[RecordedContainer], min_bytes: int) -> list[str]:
    """Whether Data Factory copied every version from `min_bytes` up, and no other."""
    large = [v.name for record in records for v in record.versions if len(v.content) >= min_bytes]
    copied = list(copied)
    if Counter(copied) == Counter(large):
        return []
    return [f"Data Factory copied {copied}; from {min_bytes} bytes up there are {large}"]


async def _read(blob: BlobClient) -> tuple[bytes, BlobProperties, dict[str, str]] | None:
    """Content, properties and index tags; None when there is no such blob."""
    try:
        stream = await blob.download_blob()
        content: bytes = await stream.readall()
    except ResourceNotFoundError:
        return None
    properties: Any = stream.properties
    return content, properties, await blob.get_blob_tags() if properties.tag_count else {}


def _byte_differences(written: bytes, found: bytes) -> list[str]:
    if found == written:
        return []
    pairs = enumerate(zip(written, found, strict=False))
    first = next((at for at, (one, other) in pairs if one != other), min(len(written), len(found)))
    return [f"{len(found)} bytes, written were {len(written)}; the first difference is at byte {first}"]

"""Writes blobs, and keeps every version of them as it was written: what the backups are checked against."""

import mimetypes
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import ContainerClient

from local.demo.contract import backup_name
from shared.parallel import for_each

PARALLEL = 16


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What is to be written: a blob's content and all that goes with it. `headers` are named as the SDK names them."""

    name: str
    content: bytes = field(repr=False)
    headers: Mapping[str, str]
    metadata: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Version(Draft):
    """What was written, with the ETag and the time that the service answered."""

    etag: str
    last_modified: datetime

    @property
    def backup_name(self) -> str:
        return backup_name(self.name, self.etag, self.last_modified)

    @classmethod
    def of(cls, draft: Draft, answer: Mapping[str, Any]) -> "Version":
        """The draft, as the service's answer to writing it names it."""
        return cls(
            name=draft.name,
            content=draft.content,
            headers=draft.headers,
            metadata=draft.metadata,
            tags=draft.tags,
            etag=str(answer["etag"]).strip('"'),
            last_modified=answer["last_modified"],
        )


def draft(name: str, content: bytes, metadata: Mapping[str, str], **tags: str) -> Draft:
    """A draft with headers that fit its name."""
    content_type, encoding = mimetypes.guess_type(name)
    headers = {"content_type": content_type or "application/octet-stream", "cache_control": "max-age=3600"}
    if encoding:
        headers["content_encoding"] = encoding
    return Draft(name=name, content=content, headers=headers, metadata=metadata, tags=tags)


class RecordedContainer:
    """A container of the source account, and the record of all that was ever written to it."""

    def __init__(self, client: ContainerClient) -> None:
        self.client = client
        self.name = str(client.container_name)
        self.versions: list[Version] = []
        self.live: dict[str, Version] = {}

    async def write(self, drafts: Iterable[Draft]) -> None:
        """Writes each as a blob, over what has its name."""

        async def one(draft: Draft) -> None:
            answer = await self.client.get_blob_client(draft.name).upload_blob(
                draft.content,
                overwrite=True,
                content_settings=_settings(draft.headers),
                metadata=dict(draft.metadata),
                tags=dict(draft.tags) or None,
            )
            self._keep(Version.of(draft, answer))

        await for_each(drafts, one, PARALLEL)

    async def rewrite(self, names: Iterable[str], change: Callable[[bytes], bytes]) -> None:
        """Gives the blobs other content; the rest of them stays."""
        await self.write([replace(self.live[name], content=change(self.live[name].content)) for name in names])

    async def set_metadata(self, name: str, metadata: Mapping[str, str]) -> None:
        """Changes a blob's metadata alone."""
        answer = await self.client.get_blob_client(name).set_blob_metadata(dict(metadata))
        self._keep(Version.of(replace(self.live[name], metadata=metadata), answer))

    async def set_headers(self, name: str, headers: Mapping[str, str]) -> None:
        """Changes a blob's content headers alone."""
        answer = await self.client.get_blob_client(name).set_http_headers(_settings(headers))
        self._keep(Version.of(replace(self.live[name], headers=headers), answer))

    async def ruin(self, deleted: Iterable[str]) -> None:
        """Deletes these blobs with their snapshots, and overwrites all others with zeros.

        The record does not learn of it: it keeps what is to come back.
        """
        gone = set(deleted)

        async def one(version: Version) -> None:
            blob = self.client.get_blob_client(version.name)
            if version.name in gone:
                await blob.delete_blob(delete_snapshots="include")
            else:
                await blob.upload_blob(bytes(len(version.content)), overwrite=True)

        await for_each(self.current, one, PARALLEL)

    async def delete(self, name: str) -> None:
        """Deletes a blob and its snapshots, as whoever wants it gone would."""
        await self.client.get_blob_client(name).delete_blob(delete_snapshots="include")
        del self.live[name]

    @property
    def current(self) -> list[Version]:
        """The versions that still stand in the container."""
        return list(self.live.values())

    @property
    def past(self) -> list[Version]:
        """The versions that were overwritten or deleted."""
        return [version for version in self.versions if self.live.get(version.name) is not version]

    @property
    def size_bytes(self) -> int:
        """What stands in the container, all together."""
        return sum(len(version.content) for version in self.live.values())

    def _keep(self, version: Version) -> None:
        self.versions.append(version)
        self.live[version.name] = version


def _settings(headers: Mapping[str, str]) -> ContentSettings:
    settings = ContentSettings()
    for name, value in headers.items():
        settings[name] = value
    return settings

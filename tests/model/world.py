"""One container in the hands of people and of Snapkeep, and what truly happened in it.

After everything that Snapkeep does, all there is is looked at and compared with the history: what was taken away,
what was added, and whether it is what it says it is.
"""

from __future__ import annotations

import asyncio
import dataclasses
from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import md5

from local.demo import contract
from shared.services import Services
from tests.model.bench import Bench
from tests.model.model import Content, History, Version
from tests.model.stack import SECOND
from tests.model.wire import Account, Refused, Seen, Written

Key = tuple[str, str]
"""A version: name and ETag."""


@dataclass
class Held:
    """Where versions stand: what a restore may be made of.

    Attributes:
        created: since when each live blob is there, as the service says: Azurite means the last whole write of it.
        snapshots: each snapshot, with the version that it is of.
        backups: each whole backup, with the ETag that the backup itself has.
        unfinished: versions whose backups a crash left half written.
    """

    live: set[Key] = field(default_factory=set)
    created: dict[str, str] = field(default_factory=dict)
    snapshots: dict[tuple[str, str], Key] = field(default_factory=dict)
    backups: dict[Key, str] = field(default_factory=dict)
    unfinished: set[Key] = field(default_factory=set)

    @property
    def in_source(self) -> set[Key]:
        return self.live | set(self.snapshots.values())

    @property
    def anywhere(self) -> set[Key]:
        return self.in_source | set(self.backups)


@dataclass
class World:
    """One container, from its creation on, and what truly happened in it.

    Attributes:
        held: where versions stand, as of the last look.
        requested: versions of which a backup was asked for before they were snapshotted.
        pending: whether the queue may hold something.
        meddled_with: blobs that people wrote or deleted while Snapkeep was at work, since the last look.
    """

    bench: Bench
    container: str
    history: History = field(default_factory=History)
    held: Held = field(default_factory=Held)
    requested: set[Key] = field(default_factory=set)
    pending: bool = False
    meddled_with: set[str] = field(default_factory=set)

    @classmethod
    async def create(cls, bench: Bench, container: str) -> World:
        await bench.source.create_container(container)
        return cls(bench, container)

    async def remove(self) -> None:
        """Leaves nothing that the next run could see."""
        await self.bench.source.delete_container(self.container)
        await self.bench.backup.delete_container(self.backups)
        await self.bench.state.delete_container(contract.STATE)
        await self.bench.reader.clear()

    @property
    def backups(self) -> str:
        return contract.backup_container(self.container)

    @property
    def services(self) -> Services:
        """The app's services, with settings that see this run's container alone."""
        settings = self.bench.services.settings.model_copy(update={"include_containers": (self.container,)})
        return dataclasses.replace(self.bench.services, settings=settings)

    # What people do

    async def write(self, name: str, content: Content, *, md5: bool = True) -> str:
        """Writes over whatever stands there.

        Only whole: Azurite refuses single blocks, by which one does without MD5, where a snapshot is of another type.
        """
        md5 = md5 or any(version.content.kind != "BlockBlob" for version in self.history.versions(name))
        return await self._wrote(name, content, await self.bench.source.write(self.container, name, content, md5=md5))

    async def append(self, name: str, body: bytes) -> str:
        before = self.history.live()[name].content
        written = await self.bench.source.append(self.container, name, body)
        return await self._wrote(name, before._replace(body=before.body + body), [written])

    async def set_metadata(self, name: str, metadata: Mapping[str, str]) -> str:
        before = self.history.live()[name].content
        written = await self.bench.source.set_metadata(self.container, name, metadata)
        return await self._wrote(name, before._replace(metadata=tuple(sorted(metadata.items()))), [written])

    async def set_headers(self, name: str, headers: Mapping[str, str]) -> str:
        before = self.history.live()[name].content
        # Said of a blob that can be appended to, it would stay there when it is not true any more.
        checksum = b64encode(_md5(before.body)).decode() if before.kind == "BlockBlob" else None
        written = await self.bench.source.set_headers(self.container, name, headers, checksum)
        return await self._wrote(name, before._replace(headers=tuple(sorted(headers.items()))), [written])

    async def delete(self, name: str) -> str:
        at = await self.bench.source.delete(self.container, name)
        self.history.deleted(name, at)
        await self.next_second()
        await self._look_after_people()
        return f"at {at}"

    async def drop_snapshots(self, name: str) -> None:
        await self.bench.source.delete(self.container, name, "only")
        await self._look_after_people()

    async def snapshot(self, name: str) -> None:
        """Somebody takes a snapshot that Snapkeep knows nothing of."""
        await self.bench.source.snapshot(self.container, name)
        await self._look_after_people()

    async def meddle(self, name: str, content: Content | None) -> None:
        """Writes or (without content) deletes a blob while Snapkeep is at work, which is looked at afterwards."""
        try:
            if content is None:
                at = await self.bench.source.delete(self.container, name)
                if name in self.history.live():
                    self.history.deleted(name, at)
            else:
                self._note(name, content, await self.bench.source.write(self.container, name, content))
        except Refused as refused:
            if refused.status != 404:
                raise
            return
        self.meddled_with.add(name)
        await self.next_second()

    async def _wrote(self, name: str, content: Content, states: list[Written]) -> str:
        self._note(name, content, states)
        await self.next_second()
        await self._look_after_people()
        return f"at {states[-1].last_modified}: version {states[-1].etag}"

    def _note(self, name: str, content: Content, states: list[Written]) -> None:
        for state in states[:-1]:  # a new append blob is empty at first, and a new page blob all zeros
            body = bytes(len(content.body)) if content.kind == "PageBlob" else b""
            self.history.written(Version(name, state.etag, state.last_modified, content._replace(body=body)))
        self.history.written(Version(name, states[-1].etag, states[-1].last_modified, content))

    async def _look_after_people(self) -> None:
        """What they took away is gone for good; what they added is known."""
        entries = await self.bench.source.list(self.container)
        self._check_live([entry for entry in entries if entry.snapshot is None], self.held)
        self.held.snapshots = {
            (entry.name, entry.snapshot): (entry.name, entry.etag) for entry in entries if entry.snapshot is not None
        }

    # What there is

    async def look(self, *, requests: bool = False, snapshots_may_go_of: Collection[str] = ()) -> None:
        """Compares all there is with the history, and remembers where versions stand.

        Args:
            requests: whether what was just done asks for the backup of what it snapshots.
            snapshots_may_go_of: blobs that a restore deleted.
        """
        meddled_with, self.meddled_with = self.meddled_with, set()
        source, backups = await asyncio.gather(
            self.bench.source.list(self.container), self.bench.backup.list(self.backups)
        )
        found = Held()
        self._check_live([seen for seen in source if seen.snapshot is None], found)
        for seen in source:
            if seen.snapshot is not None:
                assert self.history.version(seen.name, seen.etag), f"a snapshot of no version: {seen}"
                found.snapshots[seen.name, seen.snapshot] = (seen.name, seen.etag)
        may_go = meddled_with.union(snapshots_may_go_of)
        gone = {key for key in self.held.snapshots.keys() - found.snapshots.keys() if key[0] not in may_go}
        assert not gone, f"these snapshots vanished: {sorted(gone)}"
        await self._check_backups(backups, found)
        lost = self._not_to_be_lost(meddled_with) - found.anywhere
        assert not lost, f"these versions were there, and stand nowhere any more: {sorted(lost)}"
        if requests:
            self.requested |= set(found.snapshots.values()) - set(self.held.snapshots.values())
        self.held = found

    def _not_to_be_lost(self, meddled_with: set[str]) -> set[Key]:
        """What people overwrite or delete while Snapkeep is at work they take away, but for its backups."""
        return {key for key in self.held.anywhere if key[0] not in meddled_with} | set(self.held.backups)

    def _check_live(self, blobs: list[Seen], found: Held) -> None:
        """The source is changed by snapshots and leases alone."""
        live = {blob.name: (blob.etag, blob.last_modified) for blob in blobs}
        true = {name: (version.etag, version.last_modified) for name, version in self.history.live().items()}
        assert live == true, f"the source was changed: it has {live}, people left {true}"
        found.live = {(name, etag) for name, (etag, _) in live.items()}
        found.created = {blob.name: blob.created for blob in blobs}

    async def _check_backups(self, blobs: list[Seen], found: Held) -> None:
        """Every backup is that of one version, to the byte, and stays as it is."""
        expected = {
            contract.backup_name(version.name, version.etag, _moment(version.last_modified)): version
            for name in self.history.events
            for version in self.history.versions(name)
        }
        for blob in blobs:
            version = expected.get(blob.name)
            assert version is not None, f"no version's backup is called so: {blob.name!r}"
            key = (version.name, version.etag)
            if key in self.held.backups:
                assert self.held.backups[key] == blob.etag, f"a backup was changed: {blob.name!r}"
            elif _unfinished(blob, version):
                found.unfinished.add(key)
                continue
            else:
                await self._check_backup(blob, version)
            found.backups[key] = blob.etag
        gone = set(self.held.backups) - set(found.backups)
        assert not gone, f"these versions' backups vanished: {sorted(gone)}"

    async def _check_backup(self, blob: Seen, version: Version) -> None:
        own = {key: value for key, value in blob.content.metadata if key.startswith("snapkeep_source_")}
        assert own.get(contract.ETAG) == version.etag, f"{blob.name!r} claims to be another version: {own}"
        assert own.get(contract.LAST_MODIFIED) == version.last_modified, f"{blob.name!r} claims another time: {own}"
        kept = tuple(pair for pair in blob.content.metadata if pair[0] not in own)
        await self.check_content(self.bench.backup, self.backups, blob, version.content, kept)

    async def check_content(
        self, account: Account, container: str, blob: Seen, true: Content, metadata: tuple[tuple[str, str], ...]
    ) -> None:
        """The blob is what the content says, byte for byte and property for property."""
        have = blob.content._replace(body=await account.read(container, blob.name), metadata=metadata)
        for part, is_, should in zip(Content._fields, have, true, strict=True):
            assert is_ == should, f"{container}/{blob.name!r}: its {part} is {is_!r}, and should be {should!r}"
        self.check_md5(container, blob, true.body)

    @staticmethod
    def check_md5(container: str, blob: Seen, body: bytes) -> None:
        checksum = b64encode(_md5(body)).decode()
        assert blob.md5 in (None, checksum), f"{container}/{blob.name!r}: its Content-MD5 is not that of its bytes"

    async def check_nothing_is_lost(self) -> None:
        """In the middle of something: every version that stood somewhere still does."""
        source, backups = await asyncio.gather(
            self.bench.source.list(self.container), self.bench.backup.list(self.backups)
        )
        names = {blob.name for blob in backups}
        there = {(seen.name, seen.etag) for seen in source}
        there |= {
            (version.name, version.etag)
            for name in self.history.events
            for version in self.history.versions(name)
            if contract.backup_name(version.name, version.etag, _moment(version.last_modified)) in names
        }
        lost = self._not_to_be_lost(self.meddled_with) - there
        assert not lost, f"after an interrupted attempt these versions stand nowhere any more: {sorted(lost)}"

    async def next_second(self) -> None:
        await asyncio.sleep(SECOND)


def _unfinished(blob: Seen, version: Version) -> bool:
    """Whether a crash left this backup half written, as the contract tells it from a whole one: by its size."""
    kind, size = version.content.kind, len(version.content.body)
    return (kind == "AppendBlob" and blob.size < size) or (kind == "PageBlob" and blob.size > size)


def _md5(body: bytes) -> bytes:
    return md5(body, usedforsecurity=False).digest()


def _moment(second: str) -> datetime:
    return datetime.strptime(second, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)

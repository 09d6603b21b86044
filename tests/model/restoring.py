"""Has Snapkeep restore a moment, and compares what comes of it with the history: every blob, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import Any, Literal, NamedTuple

from shared.decisions.restoring import Job, Mode
from shared.errors import ContainerNotFound
from shared.services import Services
from tests.model.disturbance import Disturbance, Meddling, disturbed
from tests.model.model import Content, Version, short
from tests.model.wire import Account, Seen
from tests.model.world import World

Origin = Literal["auto", "snapshots", "backups"]

_numbers = count()


class Wish(NamedTuple):
    """What somebody asks for. `name` is one blob alone, `prefix` all that begin so; without either it is all."""

    at: str
    origin: Origin = "auto"
    include_deleted: bool = False
    delete_newer: bool = False
    name: str | None = None
    prefix: str = ""

    def covers(self, name: str) -> bool:
        return name == self.name if self.name is not None else name.startswith(self.prefix)


class Right(Enum):
    """What is right for a name, where it is not a certain content."""

    ABSENT = "no blob"
    SAME = "the blob that stood there before, untouched"


@dataclass
class Restoring:
    """One restore of one world's container; what disturbs it befalls the first of two attempts."""

    world: World
    wish: Wish
    disturbance: Disturbance | None = None
    told: str = ""
    went_wrong: set[str] = field(default_factory=set)

    async def to_container(self, account: Literal["source", "backup"]) -> str:
        """Restores to a new container, compares every blob there, and removes it again."""
        world = self.world
        target = f"{world.container}-r{next(_numbers)}"
        answers = {name: self._answers(name) for name in world.history.events}
        meddled_with = await self._carry_out(self._job(Mode.CONTAINER, target, account))
        await world.look()
        storage = world.bench.source if account == "source" else world.bench.backup
        found = {blob.name: blob for blob in await storage.list(target)}
        for name in sorted(found.keys() | world.history.events.keys()):
            right = {Right.ABSENT if one is None else one.content for one in answers.get(name, {None})}
            if name in meddled_with and not all(one and self._holds(one) for one in answers.get(name, {None})):
                right.add(Right.ABSENT)  # it was taken away before it could be copied
                if self._is_marked_as_half(found.get(name)):
                    assert name in self.went_wrong, f"half of {short(name)} came back, and the report does not say so"
                    continue
            await self._match(storage, target, name, found.get(name), None, right)
        await storage.delete_container(target)
        world.bench.tally.update({"restores": 1, "blobs restored": len(found)})
        return f"{len(found)} blobs came back{self.told}"

    async def in_place(self) -> str:
        """Restores over what stands there, compares, and takes down what the container's history is now."""
        world, history = self.world, self.world.history
        before = history.live()
        right = {name: self._right_in_place(name, before.get(name)) for name in history.events}
        for name in await self._carry_out(self._job(Mode.IN_PLACE, world.container, "source")):
            # What people did after the plan was made is not overwritten; but where nothing stood, and nothing stands
            # any more, the second attempt does as the plan says.
            untouched = name in before or name in history.live()
            right[name] = {Right.SAME} if untouched else right[name] | {Right.SAME}
            before.pop(name, None)
            before |= {name: version for name, version in history.live().items() if name in world.meddled_with}
        now = await world.bench.source.time()
        blobs = await world.bench.source.list(world.container)
        found = {blob.name: blob for blob in blobs if blob.snapshot is None}
        written = 0
        for name in sorted(found.keys() | history.events.keys()):
            blob, old = found.get(name), before.get(name)
            content = await self._match(
                world.bench.source, world.container, name, blob, old, right.get(name, {Right.ABSENT})
            )
            if blob is not None and content is not None:
                history.written(Version(name, blob.etag, blob.last_modified, content))
                written += 1
        deleted = before.keys() - found.keys()
        for name in deleted:
            history.deleted(name, now)
        await world.next_second()
        await world.look(snapshots_may_go_of=deleted)
        world.bench.tally.update({"restores in place": 1, "blobs restored": written, "blobs deleted": len(deleted)})
        return f"at {now}: {written} blobs came back, {len(deleted)} were deleted{self.told}"

    async def _carry_out(self, job: Job) -> set[str]:
        """Plans and restores, a second time where the first was disturbed; gives which blobs people meddled with."""
        world, product = self.world, self.world.bench.product
        job_id = f"{job.at.replace('-', '').replace(':', '').lower()}-{next(_numbers):010x}"
        await world.next_second()
        try:
            made = await product.plan(world.services, job)
        except ContainerNotFound:
            if self.wish.origin != "backups" or world.held.backups:
                raise
            self.told = ", since there are no backups"
            return set()
        with made as plan:
            if self.disturbance is not None:

                async def attempt(services: Services) -> None:
                    report = await product.restore(services, job, plan, job_id)
                    if isinstance(self.disturbance, Meddling):
                        self._check_report(report)

                if not await disturbed(world, self.disturbance, attempt):
                    self.told = "; it came to no such call"
                await world.check_nothing_is_lost()
            self._check_report(await product.restore(world.services, job, plan, job_id))
        return set(world.meddled_with)

    @staticmethod
    def _is_marked_as_half(blob: Seen | None) -> bool:
        return blob is not None and "snapkeep_restoring" in dict(blob.content.metadata)

    def _check_report(self, report: dict[str, Any]) -> None:
        """Nothing went wrong, and nothing was impossible but what truly is."""
        assert report["complete"], f"the restore did not finish: {report}"
        self.went_wrong = {one["name"] for one in report["listed"]}
        for one in report["listed"]:
            if one["name"] not in self.world.meddled_with:
                told = f"{one['result']}: {one['reason']}"
                assert one["result"] == "impossible", f"the restore did not go well: {told}"
                assert self._is_short_of(one["name"]), f"the restore says of what is possible that it is not: {told}"

    def _job(self, mode: Mode, target: str, account: Literal["source", "backup"]) -> Job:
        wish = self.wish
        return Job(
            container=self.world.container,
            at=wish.at,
            mode=mode,
            target=target,
            target_account=account,
            prefix=wish.prefix,
            names=() if wish.name is None else (wish.name,),
            origin=wish.origin,
            include_deleted=wish.include_deleted,
            delete_newer=wish.delete_newer,
        )

    def _holds(self, version: Version) -> bool:
        """Whether the version stands where it may be taken from."""
        held, key = self.world.held, (version.name, version.etag)
        in_source = self.wish.origin != "backups" and key in held.in_source
        return in_source or (self.wish.origin != "snapshots" and key in held.backups)

    def _answers(self, name: str) -> set[Version | None]:
        if not self.wish.covers(name):
            return {None}
        answers = self.world.history.restored(
            name, self.wish.at, self._holds, include_deleted=self.wish.include_deleted
        )
        # Of a version whose backup alone is left, and half written, the report says that it is impossible.
        newest = self._newest(name, lambda version: self._holds(version) or self._is_unfinished(version))
        return answers | {None} if newest is not None and not self._holds(newest) else answers

    def _right_in_place(self, name: str, live: Version | None) -> set[Content | Right]:
        if not self.wish.covers(name):
            return {Right.SAME}
        right: set[Content | Right] = set()
        for answer in self._answers(name):
            if answer is not None and live is not None and live.etag == answer.etag:
                right.add(Right.SAME)
            elif answer is not None:
                right.add(answer.content)
                if live is not None and live.content.tier:
                    # An overwritten blob hands its tier on, so that the account's own must be asked for by name.
                    right.add(answer.content._replace(tier=answer.content.tier or "Hot"))
            elif live is not None and self.wish.delete_newer and self.world.held.created[name] > self.wish.at:
                right.add(Right.ABSENT)
            else:
                right.add(Right.SAME)
        newest = self._newest(name, lambda version: self._holds(version) or self._is_in_source(version))
        if self.wish.origin == "backups" and newest is not None and not self._holds(newest):
            right.add(Right.SAME)
        return right

    def _newest(self, name: str, is_known: Callable[[Version], bool]) -> Version | None:
        """The newest known version that is not after the moment."""
        versions = self.world.history.versions(name)
        return next((one for one in reversed(versions) if one.last_modified <= self.wish.at and is_known(one)), None)

    def _is_in_source(self, version: Version) -> bool:
        return (version.name, version.etag) in self.world.held.in_source

    def _is_unfinished(self, version: Version) -> bool:
        """Whether all that is left of the version is a backup that was half written when Snapkeep crashed."""
        return (version.name, version.etag) in self.world.held.unfinished and self.wish.origin != "snapshots"

    def _is_short_of(self, name: str) -> bool:
        """Whether the version that there was at the moment cannot come back."""
        newest = self._newest(name, lambda _: True)
        return newest is None or not self._holds(newest)

    async def _match(
        self,
        account: Account,
        container: str,
        name: str,
        blob: Seen | None,
        before: Version | None,
        right: set[Content | Right],
    ) -> Content | None:
        """That what stands under the name is one of what is right; the content, if it was written by the restore."""
        untouched = (None if blob is None else blob.etag) == (None if before is None else before.etag)
        if (Right.SAME in right and untouched) or (Right.ABSENT in right and blob is None):
            return None
        wanted = " or ".join(sorted(_told(one) for one in right))
        assert blob is not None, f"{container}/{short(name)}: there is no blob; right is {wanted}"
        have = blob.content._replace(body=await account.read(container, name))
        assert have in right, f"{container}/{short(name)}: there is {_told(have)}; right is {wanted}"
        self.world.check_md5(container, blob, have.body)
        return None if untouched else have


def _told(right: Content | Right) -> str:
    if isinstance(right, Right):
        return right.value
    properties = right._replace(body=right.body[:20])
    return f"{len(right.body)} bytes, {properties}"

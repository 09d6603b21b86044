"""The plan of a restore, against real storage: what is found where, at what cost, and what is said of the rest."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Literal

import pytest
from azure.storage.blob import BlobBlock, ContentSettings, StandardBlobTier
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from shared.containers import backup_container
from shared.decisions.names import long_name_folder
from shared.decisions.restore_places import WRONG_CLAIMS
from shared.decisions.restore_steps import ALREADY_THERE, IS_THAT_VERSION, OTHER_STANDS, WRONG_MD5, WRONG_SIZE
from shared.decisions.restored import RESTORING
from shared.decisions.restoring import Action, Job, Mode, Place, Step
from shared.errors import BadParameter, ContainerNotFound, StorageFailed
from shared.operations.protect import protect
from shared.operations.restore_gathering import SOURCE_LEFT_OUT
from shared.operations.restore_plan import make_plan, service_time
from shared.operations.verify import Task, verify
from shared.recovery import Recovery
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import FaultProxy, Rule, answer
from tests.moments import moment_between
from tests.names import HARD_NAMES
from tests.protection import backup_names
from tests.queue_reader import QueueReader
from tests.tampering import backup_of, protected, write

FAR = "2099-01-01T00:00:00Z"


@pytest.fixture
def recovery(services: Services) -> Recovery:
    return Recovery.of(services)


@pytest.fixture
def job(container: ContainerClient) -> Job:
    name = container.container_name
    return Job(name, FAR, Mode.CONTAINER, f"{name}-r")


class Planned:
    """A plan, read whole."""

    def __init__(self, steps: list[Step], warnings: tuple[str, ...], lists: int) -> None:
        self.steps = steps
        self.warnings = warnings
        self.lists = lists

    def actions(self) -> dict[str, Action]:
        assert len({step.name for step in self.steps}) == len(self.steps), "a name has two steps"
        return {step.name: step.action for step in self.steps}

    def step(self, name: str) -> Step:
        [found] = [step for step in self.steps if step.name == name]
        return found

    def warns(self, text: str) -> bool:
        return any(text in warning for warning in self.warnings)


async def planned(recovery: Recovery, job: Job) -> Planned:
    with await make_plan(recovery, job) as plan:
        return Planned(list(plan.steps()), plan.summary.warnings, plan.summary.requests["list"])


async def back_up(services: Services, container: ContainerClient, reader: QueueReader) -> None:
    await protect(services, container.container_name, elapsed=lambda: 0.0)
    await reader.drain(services)


async def test_every_hard_name_is_found_in_every_place(
    services: Services, recovery: Recovery, job: Job, container: ContainerClient, reader: QueueReader
) -> None:
    for name in HARD_NAMES.values():
        await container.upload_blob(name, name.encode())
    await back_up(services, container, reader)
    stored = {name async for name in container.list_blob_names()}
    refused = {name for name in stored if ".." in name.split("/")}
    plan = await planned(recovery, job)
    assert plan.actions() == {name: Action.IMPOSSIBLE if name in refused else Action.RESTORE for name in stored}
    for name in stored - refused:
        assert [held.place for held in plan.step(name).places] == [Place.LIVE, Place.SNAPSHOT, Place.BACKUP]
    from_backups = await planned(recovery, replace(job, origin="backups", target_account="backup"))
    assert from_backups.actions() == dict.fromkeys(stored - refused, Action.RESTORE)
    assert {held.place for step in from_backups.steps for held in step.places} == {Place.BACKUP}


@pytest.mark.parametrize("origin", ["auto", "snapshots", "backups"])
async def test_each_moment_has_its_own_version(
    origin: Literal["auto", "snapshots", "backups"],
    services: Services,
    recovery: Recovery,
    job: Job,
    container: ContainerClient,
    reader: QueueReader,
) -> None:
    moments = []
    for content in (b"1", b"22", b"333"):
        await container.upload_blob("a.csv", content, overwrite=True)
        await back_up(services, container, reader)
        moments.append(await moment_between())
    for size, at in enumerate(moments, start=1):
        plan = await planned(recovery, replace(job, at=at, origin=origin))
        version = plan.step("a.csv").version
        assert version is not None
        assert version.size == size
        assert plan.warns("versions newer than") == (size < 3)
    assert (await planned(recovery, replace(job, at="2026-01-01T00:00:00Z"))).steps == []


async def test_a_prefix_finds_long_names_too_and_nothing_else(
    services: Services, recovery: Recovery, job: Job, container: ContainerClient, reader: QueueReader
) -> None:
    long = "sales/" + "x" * 1010
    names = {"sales/a.csv", "sales", "sal", long, "other/b.csv", "other/" + "y" * 1010}
    for name in names:
        await container.upload_blob(name, b"x")
    await back_up(services, container, reader)
    for origin in ("auto", "backups"):
        plan = await planned(recovery, replace(job, prefix="sales", origin=origin))
        assert set(plan.actions()) == {"sales/a.csv", "sales", long}


async def test_a_few_names_never_cost_the_listing_of_the_container(
    services: Services, recovery: Recovery, job: Job, container: ContainerClient, reader: QueueReader
) -> None:
    long = "z" * 1020
    for name in ("a", "a.csv", "b/c", long, *(f"a-{number}" for number in range(30))):
        await container.upload_blob(name, b"x")
    await back_up(services, container, reader)
    plan = await planned(recovery, replace(job, names=("a", "b/c", "gone", long)))
    assert plan.actions() == {
        "a": Action.RESTORE,
        "b/c": Action.RESTORE,
        "gone": Action.IMPOSSIBLE,
        long: Action.RESTORE,
    }
    assert all(len(step.places) == 3 for step in plan.steps if step.action is Action.RESTORE)
    assert not plan.warns("no versions' backups")


async def test_names_are_asked_for_by_prefix_alone(
    open_behind_proxies: OpenServices,
    blob_proxy: FaultProxy,
    services: Services,
    job: Job,
    container: ContainerClient,
    reader: QueueReader,
) -> None:
    for name in ("a.csv", "b.csv"):
        await container.upload_blob(name, b"x")
    await back_up(services, container, reader)
    plan = await planned(Recovery.of(open_behind_proxies()), replace(job, names=("a.csv",)))
    assert set(plan.actions()) == {"a.csv"}
    targets = [call.target for call in blob_proxy.calls if "/snapkeep-state" not in call.target]
    assert len(targets) == 3, "of the source, the backups and the target"
    assert all("comp=list" in target and "prefix=a.csv" in target for target in targets)


async def test_blobs_that_are_no_backups_are_left_out_with_a_word(
    services: Services,
    recovery: Recovery,
    job: Job,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
) -> None:
    await container.upload_blob("a.csv", b"x")
    await back_up(services, container, reader)
    await backups.upload_blob("a.csv", b"a mirrored file")
    await backups.upload_blob("a.csv/readme", b"somebody's")
    await backups.upload_blob(f"{long_name_folder('?')}/20261120T140533Z-0x1", b"whose?")
    plan = await planned(recovery, replace(job, origin="backups"))
    assert set(plan.actions()) == {"a.csv"}
    assert plan.warns("2 blobs of the backup container are no versions' backups")
    assert plan.warns("1 backups of long names do not tell whose they are")


class TestDamage:
    """A damaged backup is no place; that its version existed counts all the same."""

    @pytest.fixture(autouse=True)
    async def protected(self, services: Services, container: ContainerClient, reader: QueueReader) -> None:
        await container.upload_blob("a.csv", b"1")
        await back_up(services, container, reader)
        await moment_between()
        await container.upload_blob("a.csv", b"right", overwrite=True)
        await back_up(services, container, reader)

    async def newest(self, backups: ContainerClient) -> tuple[str, dict[str, str]]:
        name = max(await backup_names(backups))
        properties = await backups.get_blob_client(name).get_blob_properties()
        return name, dict(properties.metadata)

    @pytest.mark.parametrize(
        ("content", "claims", "reason"),
        [
            (b"right", {"snapkeep_source_etag": "0x0"}, WRONG_CLAIMS),
            (b"right", {"snapkeep_source_size": "9"}, WRONG_SIZE),
        ],
    )
    async def test_from_backups_alone_it_is_impossible_and_the_older_version_is_offered(
        self,
        content: bytes,
        claims: dict[str, str],
        reason: str,
        recovery: Recovery,
        job: Job,
        backups: ContainerClient,
    ) -> None:
        name, metadata = await self.newest(backups)
        await backups.upload_blob(name, content, metadata=metadata | claims, overwrite=True)
        step = (await planned(recovery, replace(job, origin="backups"))).step("a.csv")
        assert (step.action, step.reason, len(step.offered)) == (Action.IMPOSSIBLE, reason, 1)

    @pytest.mark.parametrize("content", [b"wrong", b"right and more"], ids=["MD5", "size"])
    async def test_the_source_tells_what_it_must_be(
        self, content: bytes, recovery: Recovery, job: Job, container: ContainerClient, backups: ContainerClient
    ) -> None:
        name, metadata = await self.newest(backups)
        await backups.upload_blob(name, content, metadata=metadata, overwrite=True)
        step = (await planned(recovery, job)).step("a.csv")
        assert [held.place for held in step.places] == [Place.LIVE, Place.SNAPSHOT]
        in_place = replace(job, mode=Mode.IN_PLACE, target=job.container, origin="backups")
        at = await moment_between()
        await container.upload_blob("a.csv", b"garbage", overwrite=True)
        step = (await planned(recovery, replace(in_place, at=at))).step("a.csv")
        assert step.action is Action.IMPOSSIBLE
        assert step.reason == f"{WRONG_MD5 if content == b'wrong' else WRONG_SIZE}; {SOURCE_LEFT_OUT}"


async def test_append_blobs_that_grew_are_told_apart_from_half_backups(
    services: Services, recovery: Recovery, job: Job, container: ContainerClient, reader: QueueReader
) -> None:
    blob = container.get_blob_client("log")
    await blob.create_append_blob()
    await blob.append_block(b"one")
    await back_up(services, container, reader)
    step = (await planned(recovery, replace(job, origin="backups"))).step("log")
    assert step.action is Action.RESTORE
    assert [(held.size, held.blob_type) for held in step.places] == [(3, "AppendBlob")]


class TestDeletions:
    async def test_a_recorded_deletion_counts_by_then(
        self, services: Services, recovery: Recovery, job: Job, container: ContainerClient, reader: QueueReader
    ) -> None:
        await container.upload_blob("a.csv", b"x")
        await back_up(services, container, reader)
        there = await moment_between()
        await container.delete_blob("a.csv", delete_snapshots="include")
        await moment_between()
        gone = {"name": "a.csv", "last_seen": there, "first_missed": await moment_between()}
        document = {"schema": 1, "container": job.container, "gone": [gone], "back": []}
        await services.state.write(f"deletions/{job.container}/20261120T140533Z-run-0.json", document)
        assert (await planned(recovery, job)).step("a.csv").action is Action.LEAVE
        assert (await planned(recovery, replace(job, include_deleted=True))).step("a.csv").action is Action.RESTORE
        before = await planned(recovery, replace(job, at=there))
        assert before.step("a.csv").action is Action.RESTORE
        assert not before.warns("may have been deleted")

    async def test_records_that_cannot_be_read_are_no_absence_of_deletions(
        self, services: Services, recovery: Recovery, job: Job, container: ContainerClient, reader: QueueReader
    ) -> None:
        await container.upload_blob("a.csv", b"x")
        await back_up(services, container, reader)
        await services.state.write(f"deletions/{job.container}/20261120T140533Z-run-0.json", {"schema": 99})
        with pytest.raises(StorageFailed):
            await planned(recovery, job)

    async def test_without_the_apps_state_it_is_said_that_none_are_known(
        self, services: Services, recovery: Recovery, job: Job, container: ContainerClient, reader: QueueReader
    ) -> None:
        await container.upload_blob("a.csv", b"x")
        await back_up(services, container, reader)
        alone = replace(recovery, settings=recovery.settings.model_copy(update={"state": None}))
        assert (await planned(alone, job)).warns("deletions are not known")
        assert not (await planned(recovery, job)).warns("deletions are not known")


class TestTargets:
    @pytest.fixture(autouse=True)
    async def protected(self, services: Services, container: ContainerClient, reader: QueueReader) -> None:
        for name in ("same", "other", "missing"):
            await container.upload_blob(name, b"x")
        await back_up(services, container, reader)

    @pytest.mark.parametrize("names", [(), ("missing", "other", "same")])
    @pytest.mark.parametrize("account", ["source", "backup"])
    async def test_what_stands_in_it_already_is_left_or_in_the_way(
        self,
        account: Literal["source", "backup"],
        names: tuple[str, ...],
        recovery: Recovery,
        job: Job,
        source_account: BlobServiceClient,
        backup_account: BlobServiceClient,
    ) -> None:
        client = source_account if account == "source" else backup_account
        target = await client.create_container(f"{job.target}{account[0]}{len(names)}")
        await target.upload_blob("same", b"x")
        await target.upload_blob("other", b"y")
        await target.upload_blob("unknown", b"z")
        wish = replace(job, target=target.container_name, target_account=account, names=names)
        plan = await planned(recovery, wish)
        assert {step.name: (step.action, step.reason) for step in plan.steps if step.name != "missing"} == {
            "same": (Action.LEAVE, ALREADY_THERE),
            "other": (Action.IMPOSSIBLE, OTHER_STANDS),
        }
        assert plan.step("missing").action is Action.RESTORE

    async def test_the_container_itself_is_refused(self, recovery: Recovery, job: Job) -> None:
        with pytest.raises(BadParameter, match="is the container itself"):
            await planned(recovery, replace(job, target=job.container))

    async def test_its_own_name_is_fine_once_it_is_gone(
        self, recovery: Recovery, job: Job, container: ContainerClient
    ) -> None:
        await container.delete_container()
        plan = await planned(recovery, replace(job, target=job.container))
        assert set(plan.actions().values()) == {Action.RESTORE}
        assert plan.warns("is gone: backups alone are looked at")
        with pytest.raises(BadParameter, match="to have it made anew"):
            await planned(recovery, replace(job, mode=Mode.IN_PLACE, target=job.container))

    async def test_a_mirror_is_refused(self, services: Services, recovery: Recovery, job: Job) -> None:
        mirror = f"{job.container}-m"
        await services.backup.ensure_container(mirror)
        with pytest.raises(BadParameter, match="holds backups or a mirror"):
            await planned(recovery, replace(job, target=mirror, target_account="backup"))


class TestInPlace:
    async def test_only_what_differs_is_restored(
        self, services: Services, recovery: Recovery, job: Job, container: ContainerClient, reader: QueueReader
    ) -> None:
        for name in ("kept", "changed", "deleted"):
            await container.upload_blob(name, b"right")
        await back_up(services, container, reader)
        at = await moment_between()
        await container.upload_blob("changed", b"wrong", overwrite=True)
        await container.upload_blob("newer", b"newer")
        await container.delete_blob("deleted", delete_snapshots="include")
        wish = replace(job, at=at, mode=Mode.IN_PLACE, target=job.container)
        plan = await planned(recovery, wish)
        assert plan.actions() == {
            "kept": Action.LEAVE,
            "changed": Action.RESTORE,
            "deleted": Action.RESTORE,
            "newer": Action.LEAVE,
        }
        assert plan.step("kept").reason == IS_THAT_VERSION
        live = await container.get_blob_client("changed").get_blob_properties()
        assert plan.step("changed").replaces == live.etag.strip('"')
        assert plan.step("deleted").replaces is None
        assert (await planned(recovery, replace(wish, delete_newer=True))).step("newer").action is Action.DELETE

    async def test_with_backups_alone_a_newer_version_is_never_replaced_by_an_older_one(
        self, services: Services, recovery: Recovery, job: Job, container: ContainerClient, reader: QueueReader
    ) -> None:
        await container.upload_blob("a", b"old")
        await back_up(services, container, reader)
        await moment_between()
        await container.upload_blob("a", b"never backed up", overwrite=True)
        wish = replace(job, mode=Mode.IN_PLACE, target=job.container, origin="backups")
        assert (await planned(recovery, wish)).step("a").reason == IS_THAT_VERSION
        await container.get_blob_client("a").create_snapshot()
        at = await moment_between()
        await container.upload_blob("a", b"garbage", overwrite=True)
        step = (await planned(recovery, replace(wish, at=at))).step("a")
        assert (step.action, step.reason) == (Action.IMPOSSIBLE, SOURCE_LEFT_OUT)

    async def test_half_a_blob_of_an_interrupted_restore_is_replaced_and_never_taken(
        self, services: Services, recovery: Recovery, job: Job, container: ContainerClient, reader: QueueReader
    ) -> None:
        await container.upload_blob("log", b"right")
        await back_up(services, container, reader)
        await moment_between()
        await container.upload_blob("log", b"ri", metadata={RESTORING: "x"}, overwrite=True)
        step = (await planned(recovery, replace(job, mode=Mode.IN_PLACE, target=job.container))).step("log")
        assert step.action is Action.RESTORE
        assert step.version is not None
        assert step.version.size == 5
        live = await container.get_blob_client("log").get_blob_properties()
        assert step.replaces == live.etag.strip('"')


async def test_an_archived_blob_is_taken_from_where_it_can_be_read(
    services: Services, recovery: Recovery, job: Job, container: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a", b"x")
    await back_up(services, container, reader)
    await container.get_blob_client("a").set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    step = (await planned(recovery, job)).step("a")
    assert [held.tier == "Archive" for held in step.places] == [False, False, True]
    assert step.places[0].place is Place.SNAPSHOT


class TestAccountsThatAreNotThere:
    @pytest.fixture
    async def protected(self, services: Services, container: ContainerClient, reader: QueueReader) -> None:
        await container.upload_blob("a", b"x")
        await back_up(services, container, reader)

    @pytest.mark.parametrize(
        ("origin", "pattern", "hint"),
        [
            ("auto", r"/source/", "--from backups does without"),
            ("auto", r"/backup/.*bak", "--from snapshots does without"),
        ],
    )
    async def test_one_that_cannot_be_read_is_never_passed_over_in_silence(
        self,
        origin: Any,
        pattern: str,
        hint: str,
        protected: None,
        open_behind_proxies: OpenServices,
        blob_proxy: FaultProxy,
        job: Job,
    ) -> None:
        del protected
        blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), target=re.compile(pattern)))
        wish = replace(job, origin=origin, target_account="backup" if "source" in pattern else "source")
        with pytest.raises(StorageFailed, match=hint):
            await planned(Recovery.of(open_behind_proxies()), wish)

    @pytest.mark.parametrize(("origin", "forbidden"), [("backups", r"/source/"), ("snapshots", r"/backup/.*bak")])
    async def test_one_that_is_left_out_is_not_even_asked(
        self,
        origin: Any,
        forbidden: str,
        protected: None,
        open_behind_proxies: OpenServices,
        blob_proxy: FaultProxy,
        job: Job,
    ) -> None:
        del protected
        blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), target=re.compile(forbidden)))
        wish = replace(job, origin=origin, target_account="backup" if origin == "backups" else "source")
        plan = await planned(Recovery.of(open_behind_proxies()), wish)
        assert plan.actions() == {"a": Action.RESTORE}

    async def test_with_neither_container_there_is_nothing_to_restore_from(
        self, recovery: Recovery, job: Job, container: ContainerClient
    ) -> None:
        await container.delete_container()
        for origin in ("auto", "snapshots", "backups"):
            with pytest.raises(ContainerNotFound, match=f"neither it nor its backup container {job.container}bak"):
                await planned(recovery, replace(job, origin=origin))


async def test_what_the_last_verify_found_bad_is_not_taken_where_nothing_else_tells_that_it_is(
    services: Services,
    recovery: Recovery,
    job: Job,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
) -> None:
    for name in ("bad.csv", "good.csv", "here.csv"):
        await write(container, name, name.encode() * 10)
    await protected(services, container, reader)
    for name in ("bad.csv", "here.csv"):
        await write(
            backups, await backup_of(backups, name), b"?" * len(name) * 10, metadata=await metadata_of(backups, name)
        )
    await verify(services, Task([container.container_name], percent=100.0))
    for name in ("bad.csv", "good.csv"):
        await container.delete_blob(name, delete_snapshots="include")
    plan = await planned(recovery, job)
    assert plan.actions() == {
        "bad.csv": Action.IMPOSSIBLE,
        "good.csv": Action.RESTORE,
        "here.csv": Action.RESTORE,
    }
    assert "the last verify found its backup corrupt" in plan.step("bad.csv").reason
    assert Place.BACKUP not in {held.place for held in plan.step("here.csv").places}
    await services.state.write("reports/verify-latest.json", {"schema": 2})
    assert (await planned(recovery, job)).warns("the last verify's report is not as this release writes it")
    await services.state.delete("reports/verify-latest.json")


async def metadata_of(backups: ContainerClient, name: str) -> dict[str, str]:
    found = await backups.get_blob_client(await backup_of(backups, name)).get_blob_properties()
    return dict(found.metadata)


async def test_the_time_is_the_services(recovery: Recovery, container: ContainerClient) -> None:
    before = await moment_between()
    told = await service_time(recovery, container.container_name, from_source=True)
    assert before < told <= await moment_between()
    assert await service_time(recovery, "no-such-container", from_source=False) > before


async def test_making_a_plan_writes_nothing(
    open_behind_proxies: OpenServices,
    blob_proxy: FaultProxy,
    services: Services,
    job: Job,
    container: ContainerClient,
    reader: QueueReader,
) -> None:
    await container.upload_blob("a", b"x", content_settings=ContentSettings(content_type="text/csv"))
    blob = container.get_blob_client("big")
    await blob.stage_block("1", b"x" * 10)
    await blob.commit_block_list([BlobBlock("1")])
    await back_up(services, container, reader)
    await planned(Recovery.of(open_behind_proxies()), job)
    assert {call.method for call in blob_proxy.calls} <= {"GET", "HEAD"}
    assert any(f"/{backup_container(job.container)}?" in call.target for call in blob_proxy.calls)

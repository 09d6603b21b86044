"""`drill` against real storage: what is restored comes back as it was, what does not is told, and nothing is left."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob import ContentSettings, StandardBlobTier
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from local.gateway.messages import Request
from shared.containers import DRILL_PREFIX
from shared.decisions.sampling import Sampler
from shared.operations.drill import drill, drill_at_random
from shared.operations.proof import prove
from shared.operations.verify import Task, verify
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import FaultProxy, Rule, answer, call_hook, hold
from tests.names import HARD_NAMES
from tests.protection import entries
from tests.queue_reader import QueueReader
from tests.tampering import backup_of, protected, tamper, write
from tests.waiting import until


async def run(services: Services, blobs: int = 100, **options: Any) -> dict[str, Any]:
    return await drill_at_random(services, blobs, uuid4().hex[:12], **options)


async def scratch_containers(account: BlobServiceClient) -> list[str]:
    return [one.name async for one in account.list_containers(name_starts_with=DRILL_PREFIX)]


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def counted(report: dict[str, Any]) -> tuple[str, int, int, int, int]:
    counts = (len(report["failed"]), len(report["skipped"]))
    return report["result"], report["picked"], report["restored"], *counts


@pytest.fixture(autouse=True)
async def nothing_is_left_of_it(services: Services, backup_account: BlobServiceClient) -> Any:
    """Each drill of these tests cleans up after itself, and none tries again what another test's drill could not."""
    await services.state.delete("reports/drill-latest.json")
    yield
    assert await scratch_containers(backup_account) == []


async def test_versions_of_every_kind_come_back_in_every_byte_and_property(
    services: Services, container: ContainerClient, reader: QueueReader, backups: ContainerClient
) -> None:
    settings = ContentSettings(content_type="text/csv", content_encoding="gzip", cache_control="no-store")
    await container.upload_blob(
        "rich.csv",
        b"1,2,3",
        content_settings=settings,
        metadata={"Owner": "finance"},
        tags={"a": "b"},
        standard_blob_tier=StandardBlobTier.COOL,
    )
    await container.upload_blob("empty", b"")
    await container.upload_blob("a.log", b"line\n", blob_type="AppendBlob", metadata={"k": "v"})
    await container.upload_blob("disk.vhd", b"p" * 1024, blob_type="PageBlob")
    await write(container, "no-md5.bin", b"x" * 100)
    await protected(services, container, reader)
    await container.upload_blob("rich.csv", b"newer", overwrite=True)
    await protected(services, container, reader)
    before = [(one.name, one.etag) for one in await entries(backups)]
    report = await run(services)
    assert counted(report) == ("succeeded", 6, 6, 0, 0), report
    assert report["bytes"] == 5 + 0 + 5 + 1024 + 100 + 5
    assert report["notes"] == []
    assert [(one.name, one.etag) for one in await entries(backups)] == before
    assert await services.state.read("reports/drill-latest.json") == report
    compact = report["finished_at"].replace("-", "").replace(":", "")
    assert await services.state.read(f"reports/drill-{compact}-{report['run_id']}.json") == report


async def test_hard_names_come_back(services: Services, container: ContainerClient, reader: QueueReader) -> None:
    for number, name in enumerate(HARD_NAMES.values()):
        await container.upload_blob(name, f"{number}".encode(), overwrite=True)
    await protected(services, container, reader)
    report = await run(services)
    assert (report["result"], report["failed"]) == ("succeeded", [])
    assert report["restored"] == report["picked"] > 20


async def test_only_as_many_as_asked_for_are_restored(
    services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    for number in range(9):
        await container.upload_blob(f"{number}", b"x")
    await protected(services, container, reader)
    assert counted(await run(services, 4)) == ("succeeded", 4, 4, 0, 0)


async def test_what_the_source_has_lost_is_compared_with_its_backup(
    services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a.csv", b"x", metadata={"k": "v"})
    await write(container, "b.bin", b"y" * 20)
    await protected(services, container, reader)
    await container.delete_container()
    assert counted(await run(services)) == ("succeeded", 2, 2, 0, 0)


async def test_what_nobody_could_compare_with_the_source_is_no_success(
    services: Services,
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    reader: QueueReader,
    blob_proxy: FaultProxy,
) -> None:
    await container.upload_blob("a.csv", b"x")
    await protected(services, container, reader)
    blob_proxy.add(Rule(answer(403, "AccountIsDisabled"), target="/source/"))
    report = await run(open_behind_proxies())
    assert counted(report) == ("failed", 1, 0, 1, 0)
    assert "not compared with the source" in report["failed"][0]["reason"]


class TestDamage:
    @pytest.fixture(autouse=True)
    async def two(self, services: Services, container: ContainerClient, reader: QueueReader) -> None:
        await container.upload_blob("a.csv", b"a.csv" * 10)
        await write(container, "b.bin", b"b.bin" * 10, tags={"a": "b"})
        await protected(services, container, reader)

    @pytest.mark.parametrize("name", ["a.csv", "b.bin"])
    async def test_a_flipped_bit_fails_the_drill(self, name: str, services: Services, backups: ContainerClient) -> None:
        backup = backups.get_blob_client(await backup_of(backups, name))
        tags = await backup.get_blob_tags()
        await tamper(backups, await backup_of(backups, name), b"B.bin" * 10)
        if tags:
            await backup.set_blob_tags(tags)
        report = await run(services)
        assert counted(report) == ("failed", 2, 1, 1, 0)
        assert report["failed"][0]["name"] == name
        assert "MD5" in report["failed"][0]["reason"]

    async def test_a_lost_property_fails_the_drill(self, services: Services, backups: ContainerClient) -> None:
        blob = backups.get_blob_client(await backup_of(backups, "a.csv"))
        await blob.set_http_headers(ContentSettings(content_type="text/plain"))
        report = await run(services)
        assert counted(report) == ("failed", 2, 1, 1, 0)
        assert report["failed"][0]["reason"] == "what came back has another content headers"

    async def test_a_lost_tag_fails_the_drill(
        self, open_behind_proxies: OpenServices, backup_account: BlobServiceClient, blob_proxy: FaultProxy
    ) -> None:
        async def lose_tags(_request: Request) -> None:
            [scratch] = await scratch_containers(backup_account)
            await backup_account.get_blob_client(scratch, "b.bin").set_blob_tags({})

        written = re.compile(rf"{DRILL_PREFIX}\w+/b\.bin.*comp=blocklist")
        blob_proxy.add(Rule(call_hook(after=lose_tags), method="PUT", target=written, times=1))
        report = await run(open_behind_proxies())
        assert counted(report) == ("failed", 2, 1, 1, 0)
        assert report["failed"][0]["reason"] == "what came back has another set of index tags"

    async def test_what_failed_is_tried_again_by_the_next_drill_until_it_comes_back(
        self, services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
    ) -> None:
        name = await backup_of(backups, "a.csv")
        await tamper(backups, name, b"B.csv" * 10)
        assert (await run(services))["result"] == "failed"
        for number in range(30):
            await container.upload_blob(f"{number}", b"x")
        await protected(services, container, reader)
        for _ in range(3):
            report = await run(services, 1)
            assert [failed["name"] for failed in report["failed"]] == ["a.csv"]
        await tamper(backups, name, b"a.csv" * 10)
        assert (await run(services, 1))["result"] == "succeeded"
        assert (await run(services, 1))["picked"] == 1

    async def test_what_failed_and_is_gone_for_good_is_not_tried_for_ever(
        self, services: Services, container: ContainerClient, backups: ContainerClient
    ) -> None:
        await tamper(backups, await backup_of(backups, "a.csv"), b"B.csv" * 10)
        assert (await run(services))["result"] == "failed"
        await backups.delete_blob(await backup_of(backups, "a.csv"))
        report = await run(services)
        assert [failed["reason"] for failed in report["failed"]] == ["it has no backup"]
        await container.delete_blob("a.csv", delete_snapshots="include")
        report = await run(services)
        assert counted(report) == ("succeeded", 2, 1, 0, 1)
        assert "neither the version nor a backup" in report["skipped"][0]["reason"]
        assert (await run(services))["skipped"] == []

    async def test_what_failed_stays_in_the_reports_of_drills_that_do_not_get_to_it(
        self, services: Services, backups: ContainerClient
    ) -> None:
        await tamper(backups, await backup_of(backups, "a.csv"), b"B.csv" * 10)
        first = await run(services)
        for _ in range(2):
            report = await run(services, max_bytes=1)
            assert (report["failed"], report["result"]) == (first["failed"], "failed")
            assert {line["name"] for line in report["skipped"]} >= {"a.csv"}

    async def test_changed_tags_of_the_source_are_noted_and_no_failure(
        self, services: Services, container: ContainerClient
    ) -> None:
        await container.get_blob_client("b.bin").set_blob_tags({"a": "c"})
        report = await run(services)
        assert counted(report) == ("succeeded", 2, 2, 0, 0)
        assert [note["name"] for note in report["notes"]] == ["b.bin"]

    async def test_a_kept_hash_is_not_restored_and_no_difference(self, services: Services) -> None:
        assert (await verify(services, Task(percent=100)))["totals"]["problems"] == 0
        assert counted(await run(services)) == ("succeeded", 2, 2, 0, 0)


class TestLimits:
    @pytest.fixture(autouse=True)
    async def three(self, services: Services, container: ContainerClient, reader: QueueReader) -> None:
        for name, size in (("big", 5000), ("small", 10), ("tiny", 5)):
            await container.upload_blob(name, b"x" * size)
        await protected(services, container, reader)

    async def test_what_exceeds_the_bytes_is_skipped_by_name(self, services: Services) -> None:
        report = await run(services, max_bytes=100)
        assert counted(report) == ("succeeded", 3, 2, 0, 1)
        assert report["skipped"][0]["name"] == "big"

    async def test_archived_backups_are_skipped(self, services: Services, backups: ContainerClient) -> None:
        blob = backups.get_blob_client(await backup_of(backups, "big"))
        await blob.set_standard_blob_tier(StandardBlobTier.ARCHIVE)
        report = await run(services)
        assert counted(report) == ("succeeded", 3, 2, 0, 1)
        assert "archive tier" in report["skipped"][0]["reason"]

    async def test_what_there_is_no_time_for_is_skipped_and_the_scratch_is_removed(
        self, open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
    ) -> None:
        services = open_behind_proxies()
        blob_proxy.add(Rule(hold(asyncio.Event()), method="GET", target="/big"))
        sampler = Sampler(0, datetime.now(UTC).date(), 10, "run")
        for entry in (await services.source.pages(container.container_name).__anext__()).entries:
            if entry.snapshot:
                sampler.offer(container.container_name, entry)
        report = await drill(services, sampler.to_restore, uuid4().hex[:12], max_bytes=10**9, seconds=1.0)
        assert counted(report) == ("succeeded", 3, 2, 0, 1)
        assert report["skipped"][0]["reason"] == "there was no time left for it"

    async def test_files_are_compared_in_a_directory_which_is_empty_afterwards(
        self, services: Services, tmp_path: Path
    ) -> None:
        report = await run(services, directory=tmp_path)
        assert counted(report) == ("succeeded", 3, 3, 0, 0)
        assert files_in(tmp_path) == []


class TestScratch:
    async def test_with_nothing_to_restore_nothing_is_made(
        self, open_behind_proxies: OpenServices, blob_proxy: FaultProxy
    ) -> None:
        assert counted(await run(open_behind_proxies())) == ("nothing to restore", 0, 0, 0, 0)
        assert blob_proxy.count(method="PUT", target=DRILL_PREFIX) == 0

    async def test_what_a_crashed_drill_left_is_removed_by_one_of_the_next_day(
        self,
        open_services: OpenServices,
        container: ContainerClient,
        backup_account: BlobServiceClient,
        reader: QueueReader,
    ) -> None:
        crashed, somebodys = f"{DRILL_PREFIX}{uuid4().hex[:12]}", f"{DRILL_PREFIX}{uuid4().hex[:12]}"
        client = await backup_account.create_container(
            crashed, metadata={"snapkeep_drill": crashed.removeprefix(DRILL_PREFIX)}
        )
        await client.upload_blob("half", b"restored")
        await backup_account.create_container(somebodys)
        await container.upload_blob("a", b"x")
        await protected(open_services(), container, reader)
        await run(open_services())
        assert crashed in await scratch_containers(backup_account)  # it may be at work still
        await run(open_services(now=lambda: datetime.now(UTC) + timedelta(days=1, minutes=1)))
        assert await scratch_containers(backup_account) == [somebodys]
        await backup_account.delete_container(somebodys)

    async def test_a_scratch_that_cannot_be_removed_is_told(
        self,
        services: Services,
        open_behind_proxies: OpenServices,
        container: ContainerClient,
        backup_account: BlobServiceClient,
        blob_proxy: FaultProxy,
        reader: QueueReader,
    ) -> None:
        await container.upload_blob("a", b"x")
        await protected(services, container, reader)
        blob_proxy.add(
            Rule(answer(403, "AuthorizationPermissionMismatch"), method="DELETE", target="restype=container")
        )
        report = await run(open_behind_proxies())
        [left] = await scratch_containers(backup_account)
        assert (report["result"], report["restored"]) == ("failed", 1)
        assert (report["failed"][0]["container"], report["failed"][0]["name"]) == (left, None)
        assert "AuthorizationPermissionMismatch" in report["failed"][0]["reason"]
        await backup_account.delete_container(left)

    async def test_a_scratch_that_cannot_be_made_is_a_failed_drill(
        self,
        services: Services,
        open_behind_proxies: OpenServices,
        container: ContainerClient,
        blob_proxy: FaultProxy,
        reader: QueueReader,
    ) -> None:
        await container.upload_blob("a", b"x")
        await protected(services, container, reader)
        blob_proxy.add(Rule(answer(403, "AuthorizationPermissionMismatch"), method="PUT", target=DRILL_PREFIX))
        report = await run(open_behind_proxies())
        assert counted(report) == ("failed", 1, 0, 1, 0)
        assert "does not allow this; see README, permissions" in report["failed"][0]["reason"]

    async def test_a_drill_that_is_stopped_removes_its_scratch(
        self,
        services: Services,
        open_behind_proxies: OpenServices,
        container: ContainerClient,
        backup_account: BlobServiceClient,
        blob_proxy: FaultProxy,
        reader: QueueReader,
    ) -> None:
        await container.upload_blob("a", b"x")
        await protected(services, container, reader)
        held = blob_proxy.add(Rule(hold(asyncio.Event()), method="PUT", target=re.compile(rf"{DRILL_PREFIX}\w+/a")))
        task = asyncio.create_task(run(open_behind_proxies()))
        await until(lambda: held.hits > 0)
        assert len(await scratch_containers(backup_account)) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_it_is_never_taken_for_a_container_to_protect(self, services: Services) -> None:
        assert not services.settings.model_copy(update={"include_containers": ("*",)}).protects(f"{DRILL_PREFIX}abc")


class TestProofsOfAReconciliation:
    @pytest.fixture
    async def sampler(self, services: Services, container: ContainerClient, reader: QueueReader) -> Sampler:
        for name in ("a.csv", "b.csv", "c.csv"):
            await container.upload_blob(name, name.encode() * 10)
        await protected(services, container, reader)
        sampler = Sampler(100, datetime.now(UTC).date(), 2, uuid4().hex[:12])
        async for page in services.source.pages(container.container_name):
            for entry in page.entries:
                if entry.snapshot:
                    sampler.offer(container.container_name, entry)
        return sampler

    async def test_the_sampled_versions_are_verified_and_some_restored(
        self, services: Services, sampler: Sampler
    ) -> None:
        proof = await prove(services, sampler, seconds=60, by_bytes=False)
        assert proof.verify is not None
        assert proof.drill is not None
        assert (proof.verify["mode"], proof.verify["complete"], proof.verify["left_out"]) == ("metadata", True, 0)
        assert proof.verify["totals"] == {
            "versions": 3,
            "checked": 3,
            "bytes_checked": 0,
            "bytes_read": 0,
            "problems": 0,
        }
        assert counted(proof.drill) == ("succeeded", 2, 2, 0, 0)
        assert await services.state.read("reports/verify-latest.json") == proof.verify
        assert await services.state.read("reports/drill-latest.json") == proof.drill
        assert proof.verify["run_id"] == proof.drill["run_id"] == sampler.seed

    async def test_damage_is_found_and_stays_in_the_reports_until_it_is_mended(
        self, services: Services, sampler: Sampler, backups: ContainerClient, container: ContainerClient
    ) -> None:
        name = await backup_of(backups, "b.csv")
        lost = await backup_of(backups, "c.csv")
        content = await (await backups.download_blob(lost)).readall()
        metadata = (await backups.get_blob_client(lost).get_blob_properties()).metadata
        await tamper(backups, name, b"B.csv" * 10)
        await backups.delete_blob(lost)

        async def found(sampler: Sampler, *, by_bytes: bool) -> dict[str, int]:
            proof = await prove(services, sampler, seconds=60, by_bytes=by_bytes)
            assert proof.verify is not None
            [part] = [one for one in proof.verify["containers"] if one["container"] == container.container_name]
            by_kind: dict[str, int] = part["problems_by_kind"]
            return by_kind

        assert await found(sampler, by_bytes=False) == {"missing": 1}
        assert await found(sampler, by_bytes=True) == {"missing": 1, "corrupt": 1}
        others = Sampler(1, sampler.day, 0, uuid4().hex[:12])
        assert await found(others, by_bytes=False) == {"missing": 1, "corrupt": 1}
        hurried = await prove(services, others, seconds=0, by_bytes=True)
        assert hurried.verify is not None
        assert (hurried.verify["complete"], hurried.verify["totals"]["problems"]) == (False, 2)
        assert await found(others, by_bytes=False) == {"missing": 1, "corrupt": 1}
        await tamper(backups, name, b"b.csv" * 10)
        assert await found(others, by_bytes=False) == {"missing": 1}
        await write(backups, lost, content, metadata=metadata)
        assert await found(others, by_bytes=False) == {}

    async def test_without_time_it_ends_cleanly_and_says_so(
        self, open_behind_proxies: OpenServices, sampler: Sampler, blob_proxy: FaultProxy
    ) -> None:
        blob_proxy.add(Rule(hold(asyncio.Event()), method="HEAD", target="b.csv/"))
        proof = await prove(open_behind_proxies(), sampler, seconds=1.0, by_bytes=False)
        assert proof.verify is not None
        assert (proof.verify["complete"], proof.verify["totals"]["problems"]) == (False, 0)
        assert proof.drill is not None
        assert proof.drill["failed"] == []

    async def test_what_is_switched_off_is_not_done(self, services: Services, sampler: Sampler) -> None:
        nothing = Sampler(0, sampler.day, 0, "run")
        proof = await prove(services, nothing, seconds=60, by_bytes=True)
        assert (proof.verify, proof.drill) == (None, None)

    async def test_a_refused_call_is_an_incomplete_verification_and_a_failed_drill(
        self, open_behind_proxies: OpenServices, sampler: Sampler, blob_proxy: FaultProxy
    ) -> None:
        blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), method="HEAD", target="Z-0x"))
        proof = await prove(open_behind_proxies(), sampler, seconds=60, by_bytes=False)
        assert proof.verify is not None
        assert proof.drill is not None
        assert not proof.verify["complete"]
        assert counted(proof.drill) == ("failed", 2, 0, 2, 0)


async def test_the_command_tells_what_failed_and_exits_with_1(
    services: Services,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"IsEncrypted": False, "Values": environment}))

    def snapkeep(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from shared.cli import main; main()", "drill", *arguments]
        command += ["--settings", str(path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    for name in ("a.csv", "b.csv"):
        await container.upload_blob(name, name.encode() * 10)
    await protected(services, container, reader)
    sound = snapkeep()
    assert (sound.returncode, sound.stderr) == (0, "")
    assert sound.stdout.startswith("succeeded: 2 versions picked, 2 restored and like their source, 100 bytes")
    await tamper(backups, await backup_of(backups, "b.csv"), b"B.csv" * 10)
    run = snapkeep()
    assert run.returncode == 1
    assert run.stdout.startswith(f"failed: {container.container_name}: 'b.csv': ")
    as_json = snapkeep("--json", "--blobs", "1")
    assert json.loads(as_json.stdout) == await services.state.read("reports/drill-latest.json")

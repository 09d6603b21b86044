"""`sync` with the real azcopy, between the two accounts of the local stack."""

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import psutil
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from azure.storage.blob.aio import BlobLeaseClient, BlobServiceClient, ContainerClient

from local.azurite import ACCOUNT_KEYS
from local.programs import azcopy
from shared.containers import STATE_CONTAINER
from shared.decisions.names import backup_name, refusal
from shared.errors import AlreadyRunning, SyncFailed
from shared.model import Version
from shared.operations.sync import sync
from tests.conftest import OpenServices, Ready
from tests.names import HARD_NAMES

AZCOPY = azcopy()
DEADLINE_SECONDS = 30


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of this test's own, which the runs must leave empty but for what they keep."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"snapkeep-{os.getuid()}"


@pytest.fixture
def mirror(backup_account: BlobServiceClient, container: ContainerClient) -> ContainerClient:
    """A mirror of its own for `container`; it does not exist yet."""
    return backup_account.get_container_client(f"{container.container_name}-m")


Mirror = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def run(open_services: OpenServices, container: ContainerClient) -> Mirror:
    """Runs `sync` for `container` and returns the pair's report; `pairs` and settings may be given."""

    async def run_sync(pairs: str | None = None, **settings: object) -> dict[str, Any]:
        name = container.container_name
        services = open_services(
            **{"AZCOPY_PATH": AZCOPY, "SNAPKEEP_SYNC_CONTAINERS": pairs or f"{name}:{name}-m", **settings}
        )
        try:
            report = (await sync(services)).to_json()
        except SyncFailed as failed:
            report = failed.report
        first: dict[str, Any] = report["pairs"][0]
        return first | {"run": report}

    return run_sync


async def contents(container: ContainerClient) -> dict[str, bytes]:
    found = {}
    async for name in container.list_blob_names():
        stream = await container.download_blob(name)
        found[name] = await stream.readall()
    return found


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def texts_under(folder: Path) -> list[str]:
    return [file.read_text() for file in folder.rglob("*") if file.is_file()]


async def put(container: ContainerClient, **files: bytes) -> None:
    for name, content in files.items():
        await container.upload_blob(name, content, overwrite=True)


def counters(report: dict[str, Any]) -> tuple[str, int, int, int]:
    return report["outcome"], report["scanned"], report["copied"], report["deleted"]


# Copies


async def test_a_first_run_copies_all_and_a_second_what_changed(
    run: Mirror, container: ContainerClient, mirror: ContainerClient, scratch: Path
) -> None:
    await put(container, a=b"one", b=b"two")
    first = await run()
    again = await run()
    await put(container, b=b"TWO", c=b"three")
    third = await run()

    assert counters(first) == ("succeeded", 2, 2, 0)
    assert first["bytes"] == 6
    assert counters(again) == ("succeeded", 2, 0, 0)
    assert counters(third) == ("succeeded", 3, 2, 0)
    assert await contents(mirror) == {"a": b"one", "b": b"TWO", "c": b"three"}
    assert names_in(scratch) == []


async def test_hard_names_are_mirrored_byte_for_byte(
    run: Mirror, container: ContainerClient, mirror: ContainerClient
) -> None:
    # Azurite stores a backslash as a slash, which makes one of them a name that is refused.
    names = [name for name in HARD_NAMES.values() if refusal(name.replace("\\", "/")) is None]
    for name in names:
        await container.upload_blob(name, name.encode(), overwrite=True)

    report = await run()

    assert report["outcome"] == "succeeded", report["reason"]
    assert await contents(mirror) == await contents(container)
    assert set(await contents(mirror)) == {name.replace("\\", "/") for name in names}


async def test_a_name_that_http_would_resolve_is_reported_and_the_others_are_mirrored(
    run: Mirror, container: ContainerClient, mirror: ContainerClient
) -> None:
    await put(container, **{"a\\..\\b": b"stored by Azurite as a/../b", "c": b"1"})

    report = await run()

    assert [file["name"] for file in report["failed_files"]["listed"]] == ["a/../b"]
    assert await contents(mirror) == {"c": b"1"}


async def test_headers_and_metadata_come_along(
    run: Mirror, container: ContainerClient, mirror: ContainerClient
) -> None:
    await container.upload_blob("a", b"1", metadata={"owner": "me"})

    await run()

    properties = await mirror.get_blob_client("a").get_blob_properties()
    assert properties.metadata == {"owner": "me"}


async def test_directory_stubs_come_along_and_are_no_files(
    run: Mirror, container: ContainerClient, mirror: ContainerClient
) -> None:
    await container.upload_blob("d", b"", metadata={"hdi_isfolder": "true"})
    await put(container, **{"d/f": b"1"})

    report = await run()

    assert counters(report)[:2] == ("succeeded", 1)
    assert await contents(mirror) == {"d": b"", "d/f": b"1"}


async def test_nothing_configured_does_nothing_and_says_so(
    open_services: OpenServices, caplog: pytest.LogCaptureFixture
) -> None:
    services = open_services(SNAPKEEP_SYNC_CONTAINERS="", AZCOPY_PATH="/nowhere/azcopy")

    with caplog.at_level(logging.INFO):
        report = await sync(services)

    assert report.complete
    assert "SNAPKEEP_SYNC_CONTAINERS is empty" in str(report.reason)
    assert "SNAPKEEP_SYNC_CONTAINERS is empty" in caplog.text
    assert (await services.state.read("reports/sync-latest.json"))["reason"] == report.reason


# Failures


async def test_a_failing_container_does_not_stop_the_next_and_fails_the_run(
    open_services: OpenServices, container: ContainerClient, mirror: ContainerClient
) -> None:
    await put(container, a=b"1")
    name = container.container_name
    services = open_services(AZCOPY_PATH=AZCOPY, SNAPKEEP_SYNC_CONTAINERS=f"missing-{name},{name}:{name}-m")

    with pytest.raises(SyncFailed, match=f"missing-{name} does not exist"):
        await sync(services)

    report = await services.state.read("reports/sync-latest.json")
    assert [pair["outcome"] for pair in report["pairs"]] == ["failed", "succeeded"]
    assert report["complete"] is False
    assert await contents(mirror) == {"a": b"1"}
    started = report["started_at"].replace("-", "").replace(":", "")
    assert await services.state.read(f"reports/sync-{started}.json") == report


async def test_a_file_that_cannot_be_written_is_listed_with_its_reason_and_the_logs_are_kept(
    run: Mirror, container: ContainerClient, mirror: ContainerClient, scratch: Path
) -> None:
    await put(container, a=b"1", b=b"2")
    await run()
    lease = await mirror.get_blob_client("b").acquire_lease()
    await put(container, a=b"3", b=b"4")

    report = await run()
    await lease.release()

    assert report["outcome"] == "failed"
    assert (report["copied"], report["failed"]) == (1, 1)
    assert report["failed_files"]["listed"][0]["name"] == "b"
    assert "lease" in report["failed_files"]["listed"][0]["reason"]
    assert "CompletedWithErrors" in report["reason"]
    assert "stdout.jsonl" in names_in(scratch / report["kept_logs"])
    assert names_in(scratch) == ["kept"]


async def test_a_tampered_mirror_is_reported_though_azcopy_takes_it_for_newer(
    run: Mirror, container: ContainerClient, mirror: ContainerClient
) -> None:
    await put(container, a=b"right", b=b"fine")
    await run()
    await until_the_next_second()
    await put(mirror, a=b"wrong")

    report = await run()

    assert report["outcome"] == "failed"
    assert report["copied"] == 0
    assert [file["name"] for file in report["differing_files"]["listed"]] == ["a"]
    assert "delete it in the mirror" in report["reason"]


async def test_a_source_name_that_is_a_version_backups_is_reported_and_never_overwrites_it(
    run: Mirror, container: ContainerClient, backups: ContainerClient
) -> None:
    version = backup_name(Version("a.csv", "0x8DE27F0A1B2C3D4", "2026-11-20T14:05:33Z", 1))
    await backups.create_container()
    await put(backups, **{version: b"the backup"})
    await until_the_next_second()
    await put(container, **{"a.csv": b"live", version: b"forged"})

    report = await run(pairs=container.container_name)

    assert report["outcome"] == "failed"
    assert [file["name"] for file in report["failed_files"]["listed"]] == [version]
    assert await contents(backups) == {"a.csv": b"live", version: b"the backup"}


# Deletions


async def test_deletions_are_not_mirrored_by_default(
    run: Mirror, container: ContainerClient, mirror: ContainerClient
) -> None:
    await put(container, a=b"1", b=b"2")
    await run()
    await container.delete_blob("b")

    report = await run()

    assert counters(report) == ("succeeded", 1, 0, 0)
    assert report["extraneous"] == 1
    assert set(await contents(mirror)) == {"a", "b"}


async def test_deletions_are_mirrored_when_set_each_exactly(
    run: Mirror, container: ContainerClient, mirror: ContainerClient
) -> None:
    hard = {"a//b": b"1", "a/b": b"2", "x": b"3", "x/": b"4", "%41": b"5", "A": b"6"}
    await put(container, **hard)
    await run(SNAPKEEP_SYNC_DELETE="true")
    for name in ("a//b", "x/", "%41"):
        await container.delete_blob(name)

    report = await run(SNAPKEEP_SYNC_DELETE="true")

    assert counters(report) == ("succeeded", 3, 0, 3)
    assert await contents(mirror) == {"a/b": b"2", "x": b"3", "A": b"6"}


async def test_version_backups_survive_mirrored_deletions_in_the_container_that_they_share(
    run: Mirror, container: ContainerClient, backups: ContainerClient
) -> None:
    await put(container, **dict.fromkeys(("keep.csv", "gone.csv", "dir//gone", "no extension"), b"1"))
    pair = container.container_name
    await run(pairs=pair, SNAPKEEP_SYNC_DELETE="true")
    versions = {
        backup_name(Version(name, "0x8DE27F0A1B2C3D4", "2026-11-20T14:05:33Z", 1))
        for name in ("keep.csv", "gone.csv", "dir//gone", "no extension", "never there/", "x" * 1024, "deep/" * 250)
    }
    await put(backups, **dict.fromkeys(versions, b"version"))
    for name in ("gone.csv", "dir//gone"):
        await container.delete_blob(name)

    report = await run(pairs=pair, SNAPKEEP_SYNC_DELETE="true")

    assert counters(report) == ("succeeded", 2, 0, 2)
    assert set(await contents(backups)) == versions | {"keep.csv", "no extension"}


async def test_an_empty_source_stops_the_pair_before_azcopy_when_deletions_are_mirrored(
    run: Mirror, container: ContainerClient, mirror: ContainerClient
) -> None:
    await put(container, a=b"1")
    await run(SNAPKEEP_SYNC_DELETE="true")
    await container.delete_blob("a")
    await container.upload_blob("d", b"", metadata={"hdi_isfolder": "true"})

    report = await run(SNAPKEEP_SYNC_DELETE="true")

    assert report["outcome"] == "failed"
    assert "holds no file" in report["reason"]
    assert await contents(mirror) == {"a": b"1"}


async def test_a_container_with_files_of_somebody_elses_keeps_them_until_they_are_gone(
    run: Mirror, container: ContainerClient, mirror: ContainerClient
) -> None:
    await put(container, a=b"1")
    await mirror.create_container()
    await put(mirror, precious=b"only copy")

    refused = await run(SNAPKEEP_SYNC_DELETE="true")
    await mirror.delete_blob("precious")
    adopted = await run(SNAPKEEP_SYNC_DELETE="true")
    await put(mirror, later=b"surplus")
    mirrored = await run(SNAPKEEP_SYNC_DELETE="true")

    assert refused["outcome"] == "failed"
    assert "none was deleted" in refused["reason"]
    assert adopted["outcome"] == "succeeded"
    assert counters(mirrored) == ("succeeded", 1, 0, 1)


async def test_a_failed_deletion_fails_the_run_with_its_reason(
    run: Mirror, container: ContainerClient, mirror: ContainerClient
) -> None:
    await put(container, a=b"1", b=b"2")
    await run(SNAPKEEP_SYNC_DELETE="true")
    await mirror.get_blob_client("b").create_snapshot()
    await container.delete_blob("b")

    report = await run(SNAPKEEP_SYNC_DELETE="true")

    assert report["outcome"] == "failed"
    assert report["deleted"] == 0
    assert "not deleted" in report["failed_files"]["listed"][0]["reason"]
    assert set(await contents(mirror)) == {"a", "b"}


# One run at a time, and its end


async def test_a_second_run_at_the_same_time_does_nothing_and_says_so(
    open_services: OpenServices, container: ContainerClient, mirror: ContainerClient
) -> None:
    await put(container, a=b"1")
    name = container.container_name
    services = open_services(AZCOPY_PATH=AZCOPY, SNAPKEEP_SYNC_CONTAINERS=f"{name}:{name}-m")

    async with services.state.lock("sync"):
        with pytest.raises(AlreadyRunning):
            await sync(services)

    assert not await mirror.exists()


HANGING_AZCOPY = """#!{python}
import subprocess, sys, time
from pathlib import Path
if sys.argv[1:] == ["--version"]:
    print("azcopy version 0.0.0")
    raise SystemExit
if {deaf}:
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"])
Path("{pids}.new").write_text(f"{{child.pid}}")
Path("{pids}.new").rename("{pids}")
time.sleep(600)
"""


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Callable[..., tuple[Path, Path]]]:
    """Makes an azcopy that starts a child and hangs, and the file that the child's id will be in."""
    pids = tmp_path / "pids"

    def make(*, deaf: bool = False) -> tuple[Path, Path]:
        stub = tmp_path / "azcopy"
        stub.write_text(HANGING_AZCOPY.format(python=sys.executable, pids=pids, deaf=deaf))
        stub.chmod(0o755)
        return stub, pids

    yield make
    if pids.exists() and psutil.pid_exists(int(pids.read_text())):
        os.kill(int(pids.read_text()), signal.SIGKILL)


async def appears(path: Path) -> None:
    await becomes_true(path.exists)


async def is_gone(process: int) -> None:
    await becomes_true(lambda: not runs(process))


def runs(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def becomes_true(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 -- another process does it: nothing here could set an event
            await asyncio.sleep(0.02)


async def until_the_next_second() -> None:
    """Last-Modified has whole seconds: what is written after this is newer than what was written before."""
    await asyncio.sleep(1.001 - datetime.now(UTC).microsecond / 1e6)


async def test_a_run_past_its_time_ends_azcopy_and_its_children_and_the_next_run_goes_on(
    run: Mirror, container: ContainerClient, mirror: ContainerClient, hanging: Callable[..., tuple[Path, Path]]
) -> None:
    await put(container, a=b"1")
    stub, pids = hanging()
    name = container.container_name

    report = await run(
        pairs=f"{name}:{name}-m,other-{name}", AZCOPY_PATH=stub, SNAPKEEP_SYNC_TIMEOUT_MINUTES=str(5 / 60)
    )
    after = await run()

    assert [pair["outcome"] for pair in report["run"]["pairs"]] == ["timed out", "not started"]
    assert "SNAPKEEP_SYNC_TIMEOUT_MINUTES" in report["reason"]
    await is_gone(int(pids.read_text()))
    assert counters(after) == ("succeeded", 1, 1, 0)


async def test_a_stopping_host_ends_azcopy_even_one_that_ignores_it_and_leaves_a_report(
    open_services: OpenServices,
    container: ContainerClient,
    hanging: Callable[..., tuple[Path, Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.adapters.azcopy.END_SECONDS", 0.2)
    await put(container, a=b"1")
    stub, pids = hanging(deaf=True)
    name = container.container_name
    services = open_services(AZCOPY_PATH=stub, SNAPKEEP_SYNC_CONTAINERS=f"{name}:{name}-m,other-{name}")

    running = asyncio.create_task(sync(services))
    await appears(pids)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    await is_gone(int(pids.read_text()))
    report = await services.state.read("reports/sync-latest.json")
    assert [pair["outcome"] for pair in report["pairs"]] == ["stopped", "not started"]
    async with services.state.lock("sync"):
        pass  # it is free again


async def test_a_run_that_loses_its_lock_ends_azcopy_since_another_may_begin(
    open_services: OpenServices,
    backup_account: BlobServiceClient,
    container: ContainerClient,
    hanging: Callable[..., tuple[Path, Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.adapters.leases.RENEW_SECONDS", 0.05)
    await put(container, a=b"1")
    stub, pids = hanging()
    name = container.container_name
    services = open_services(AZCOPY_PATH=stub, SNAPKEEP_SYNC_CONTAINERS=f"{name}:{name}-m,other-{name}")

    running = asyncio.create_task(sync(services))
    await appears(pids)
    await BlobLeaseClient(backup_account.get_blob_client(STATE_CONTAINER, "locks/sync")).break_lease(0)
    with pytest.raises(SyncFailed, match="lost its lock") as failed:
        await running

    await is_gone(int(pids.read_text()))
    assert [pair["outcome"] for pair in failed.value.report["pairs"]] == ["failed", "not started"]


KILLED_HOST = """
import asyncio, sys
from pathlib import Path
from shared.adapters.azcopy import Azcopy
from shared.adapters.azcopy_folders import RunFolder
async def main():
    azcopy = await Azcopy.find(sys.argv[1])
    await azcopy.sync(RunFolder(), "http://a/b", "http://c/d", [], {})
asyncio.run(main())
"""


async def test_azcopy_does_not_outlive_a_host_that_is_killed(hanging: Callable[..., tuple[Path, Path]]) -> None:
    stub, pids = hanging()
    host = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED_HOST, str(stub))
    await appears(pids)
    azcopy = psutil.Process(int(pids.read_text())).ppid()

    host.kill()
    await host.wait()

    await is_gone(azcopy)


# Access


async def test_with_a_signature_in_the_connection_that_one_is_used_and_its_end_is_warned_of(
    run: Mirror, container: ContainerClient, mirror: ContainerClient, stack: Ready
) -> None:
    await put(container, a=b"1")
    signature = generate_container_sas(
        "source",
        container.container_name,
        account_key=ACCOUNT_KEYS["source"],
        permission=ContainerSasPermissions(read=True, list=True),
        expiry=datetime.now(UTC).replace(microsecond=0).replace(year=datetime.now(UTC).year + 1),
    )
    endpoint = next(part for part in stack["source"].split(";") if part.startswith("BlobEndpoint="))

    report = await run(SourceStorage=f"{endpoint};SharedAccessSignature={signature}")

    assert report["outcome"] == "succeeded", report["reason"]
    assert report["warnings"] == []


async def test_an_expired_signature_fails_every_pair_with_the_settings_name(run: Mirror, stack: Ready) -> None:
    endpoint = next(part for part in stack["source"].split(";") if part.startswith("BlobEndpoint="))

    report = await run(SourceStorage=f"{endpoint};SharedAccessSignature=sv=1&se=2020-01-01T00:00:00Z&sig=abc")

    assert report["outcome"] == "failed"
    assert "SourceStorage expired" in report["reason"]


async def test_a_missing_azcopy_is_a_failure_that_names_the_setting(
    run: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    assert "AZCOPY_PATH names /nowhere/azcopy" in (await run(AZCOPY_PATH="/nowhere/azcopy"))["reason"]
    assert "set AZCOPY_PATH" in (await run(AZCOPY_PATH=""))["reason"]


async def test_an_azcopy_that_lost_its_permission_to_run_runs_all_the_same(
    run: Mirror, container: ContainerClient, mirror: ContainerClient, tmp_path: Path
) -> None:
    deployed = tmp_path / "azcopy"
    shutil.copyfile(AZCOPY, deployed)
    deployed.chmod(0o444)
    await put(container, a=b"1")

    report = await run(AZCOPY_PATH=deployed)

    assert report["outcome"] == "succeeded", report["reason"]
    assert await contents(mirror) == {"a": b"1"}


async def test_a_full_disk_is_noticed_before_azcopy_starts(
    run: Mirror, container: ContainerClient, mirror: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.adapters.azcopy_folders.FREE_BYTES_NEEDED", 1 << 60)
    await put(container, a=b"1")

    report = await run()

    assert "MiB are free" in report["reason"]
    assert report["copied"] == 0


TALKATIVE_AZCOPY = """#!{python}
import json, os, sys
from pathlib import Path
if sys.argv[1:] == ["--version"]:
    print("azcopy version 0.0.0")
    raise SystemExit
told = " ".join(sys.argv)
print(json.dumps({{"MessageType": "Error", "MessageContent": "cannot " + told}}))
print(told, file=sys.stderr)
(Path(os.environ["AZCOPY_LOG_LOCATION"]) / "job.log").write_text(told)
raise SystemExit(1)
"""


@pytest.fixture(params=["the real one", "one that tells all it knows"])
def any_azcopy(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The real azcopy takes signatures out of most that it writes by itself; nothing may hang on that."""
    if request.param == "the real one":
        return AZCOPY
    stub = tmp_path / "azcopy"
    stub.write_text(TALKATIVE_AZCOPY.format(python=sys.executable))
    stub.chmod(0o755)
    return stub


async def test_no_secret_is_in_a_log_a_report_or_what_is_kept(
    any_azcopy: Path,
    open_services: OpenServices,
    container: ContainerClient,
    mirror: ContainerClient,
    scratch: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[str] = []

    def remember(*arguments: Any, **options: Any) -> str:
        used.append(generate_container_sas(*arguments, **options))
        return used[-1]

    monkeypatch.setattr("shared.adapters.azcopy_access.generate_container_sas", remember)
    await put(container, a=b"1")
    await mirror.create_container()
    await put(mirror, a=b"leased")
    lease = await mirror.get_blob_client("a").acquire_lease()
    await until_the_next_second()
    await put(container, a=b"2")
    name = container.container_name
    services = open_services(AZCOPY_PATH=any_azcopy, SNAPKEEP_SYNC_CONTAINERS=f"{name}:{name}-m")

    with caplog.at_level(logging.DEBUG, "shared"), pytest.raises(SyncFailed) as failed:
        await sync(services)
    await lease.release()

    kept = texts_under(scratch)
    assert len(used) == 2
    assert len(kept) >= 3
    signatures = [parse_qs(sas)["sig"][0] for sas in used]
    secrets = [*used, *signatures, *(sas.rpartition("sig=")[2] for sas in used), *ACCOUNT_KEYS.values()]
    told = [record.getMessage() for record in caplog.records if record.name.startswith("shared")]
    for text in (*kept, *told, str(failed.value), json.dumps(failed.value.report)):
        assert [secret for secret in secrets if secret in text] == []


async def test_azcopy_is_told_nothing_of_the_apps_settings(
    run: Mirror, container: ContainerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SourceStorage", "AccountKey=c2VjcmV0")
    monkeypatch.setenv("SNAPKEEP_ENGINE", "server")
    dump = tmp_path / "environment"
    stub = tmp_path / "azcopy"
    stub.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo azcopy version 0.0.0 && exit\n'
        f'env > "{dump}"\nprintf "%s\\n" "$@" >> "{dump}"\nexit 3\n'
    )
    stub.chmod(0o755)
    await put(container, a=b"1")

    report = await run(AZCOPY_PATH=stub)

    told = dump.read_text()
    assert "exit code 3" in report["reason"]
    assert "SourceStorage" not in told
    assert "SNAPKEEP_" not in told
    assert "AZCOPY_USER_AGENT_PREFIX=snapkeep/" in told
    assert "--delete-destination=false" in told
    permissions = [parse_qs(line.partition("?")[2])["sp"][0] for line in told.splitlines() if "sig=" in line]
    assert permissions == ["rl", "racwl"]


async def test_a_container_that_is_gone_during_the_run_costs_its_mirror_nothing(
    open_services: OpenServices, container: ContainerClient, mirror: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.adapters.mirror import MirrorContainers

    await put(container, a=b"1", b=b"2")
    name = container.container_name
    services = open_services(
        AZCOPY_PATH=AZCOPY, SNAPKEEP_SYNC_CONTAINERS=f"{name}:{name}-m", SNAPKEEP_SYNC_DELETE="true"
    )
    await sync(services)
    await container.delete_blob("b")
    delete_mirrored = MirrorContainers.delete_mirrored

    async def after_the_container_is_gone(containers: MirrorContainers, blob: Any) -> bool:
        await container.delete_container()
        return await delete_mirrored(containers, blob)

    monkeypatch.setattr(MirrorContainers, "delete_mirrored", after_the_container_is_gone)
    with pytest.raises(SyncFailed, match="ContainerNotFound"):
        await sync(services)

    assert set(await contents(mirror)) == {"a", "b"}
    with pytest.raises(ResourceNotFoundError):
        await container.get_container_properties()

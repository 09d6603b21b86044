"""`snapkeep restore`, run as a process of its own on the session's local stack: from the question to the report."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from shared.operations.protect import protect
from shared.recovery import Recovery
from shared.services import Services
from tests.moments import moment_between
from tests.names import HARD_NAMES
from tests.protection import content
from tests.queue_reader import QueueReader

NAMES = [name for name in HARD_NAMES.values() if "\\" not in name]
"""The service turns backslashes into slashes."""

Run = subprocess.CompletedProcess[str]
Snapkeep = Callable[..., Run]


@pytest.fixture
def settings_file(tmp_path: Path, environment: dict[str, str]) -> Path:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"IsEncrypted": False, "Values": environment}))
    return path


@pytest.fixture
def restore(tmp_path: Path, container: ContainerClient, settings_file: Path) -> Snapkeep:
    """Runs `snapkeep restore` for this test's container, in a directory of the test's own."""

    def run(*arguments: str | Path, settings: Path = settings_file, program: str = "main()") -> Run:
        command = [sys.executable, "-c", f"from shared.cli import main; {program}", "restore", container.container_name]
        return subprocess.run(
            [*command, "--settings", settings, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
        )

    return run


async def back_up(services: Services, container: ContainerClient, reader: QueueReader) -> None:
    await protect(services, container.container_name, elapsed=lambda: 0.0)
    await reader.drain(services)


def alone(path: Path, environment: dict[str, str]) -> Path:
    """Settings in which the backup account is all that is left."""
    path.write_text(json.dumps({"Values": {"BackupStorage": environment["BackupStorage"]}}))
    return path


async def contents(container: ContainerClient) -> dict[str, bytes]:
    return {name: await content(container, name) async for name in container.list_blob_names()}


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def the_report(folder: Path) -> dict[str, Any]:
    [report] = folder.glob("snapkeep-restore-*.json")
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def report_of(run: Run) -> dict[str, Any]:
    assert run.stderr == "" or "Traceback" not in run.stderr, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


async def test_a_container_comes_back_as_it_was_before_it_was_overwritten(
    services: Services,
    container: ContainerClient,
    source_account: BlobServiceClient,
    reader: QueueReader,
    restore: Snapkeep,
    tmp_path: Path,
) -> None:
    wanted = {name: f"right {number}".encode() for number, name in enumerate(NAMES)}
    for name, data in wanted.items():
        await container.upload_blob(name, data, metadata={"k": "v"})
    await back_up(services, container, reader)
    at = await moment_between()
    for name in wanted:
        await container.upload_blob(name, b"garbage", overwrite=True)
    target = f"{container.container_name}-then"
    run = restore("--at", at, "--to", target, "--yes")
    assert run.returncode == 0, run.stdout + run.stderr
    assert await contents(source_account.get_container_client(target)) == wanted
    assert f"plan\trestore\t{len(wanted)}\t" in run.stdout
    assert f"restored\t{len(wanted)}" in run.stdout
    assert "everything that was planned has happened" in run.stdout
    assert run.stderr == ""
    document = the_report(tmp_path)
    assert (document["totals"]["restored"], document["complete"], document["job"]["at"]) == (len(wanted), True, at)
    assert await services.state.read(f"restores/{document['id']}/report.json") == document


async def test_in_place_everything_is_put_right_again_and_what_stood_there_is_in_snapshots(
    services: Services, container: ContainerClient, reader: QueueReader, restore: Snapkeep
) -> None:
    wanted = {name: f"right {number}".encode() for number, name in enumerate(NAMES)}
    for name, data in wanted.items():
        await container.upload_blob(name, data)
    await back_up(services, container, reader)
    at = await moment_between()
    for name in wanted:
        await container.upload_blob(name, b"garbage", overwrite=True)
    await container.upload_blob("newer", b"newer")
    first = next(iter(wanted))
    await container.delete_blob(first, delete_snapshots="include")
    run = restore("--at", at, "--in-place", "--yes", "--json")
    assert run.returncode == 0, run.stdout + run.stderr
    assert await contents(container) == wanted | {"newer": b"newer"}
    report = report_of(run)
    assert report["totals"]["restored"] == len(wanted)
    assert report["totals"]["left"] == 1
    garbage = {
        blob.name
        async for blob in container.list_blobs(include=["snapshots"])
        if blob.snapshot and await content(container, blob.name, blob.snapshot) == b"garbage"
    }
    assert garbage == set(wanted) - {first}


async def test_newer_blobs_are_deleted_only_when_that_is_asked_for(
    services: Services, container: ContainerClient, reader: QueueReader, restore: Snapkeep
) -> None:
    await container.upload_blob("old", b"old")
    await back_up(services, container, reader)
    at = await moment_between()
    await container.upload_blob("newer", b"newer")
    plan = json.loads(restore("--at", at, "--in-place", "--delete-newer", "--plan", "--json").stdout)["plan"]
    assert plan["actions"]["delete"] == {"blobs": 1, "bytes": 5}
    run = restore("--at", at, "--in-place", "--delete-newer", "--yes")
    assert run.returncode == 0, run.stdout + run.stderr
    assert await contents(container) == {"old": b"old"}


async def test_with_the_source_account_lost_the_backup_account_alone_brings_everything_back(
    services: Services,
    container: ContainerClient,
    backup_account: BlobServiceClient,
    reader: QueueReader,
    restore: Snapkeep,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    wanted = {name: name.encode() for name in NAMES}
    for name, data in wanted.items():
        await container.upload_blob(name, data)
    await back_up(services, container, reader)
    await container.delete_container()
    run = restore("--yes", "--json", settings=alone(tmp_path / "alone.json", environment))
    assert run.returncode == 0, run.stdout + run.stderr
    report = report_of(run)
    assert report["target"].startswith(f"{container.container_name}-restored-")
    assert await contents(backup_account.get_container_client(report["target"])) == wanted
    assert "deletions are not known" in run.stderr


async def test_from_backups_does_without_a_source_account_that_does_not_answer(
    services: Services,
    container: ContainerClient,
    backup_account: BlobServiceClient,
    reader: QueueReader,
    restore: Snapkeep,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    await container.upload_blob("a", b"1")
    await back_up(services, container, reader)
    lost = dict(environment, SourceStorage=environment["SourceStorage"].replace("127.0.0.1", "gone.invalid"))
    (tmp_path / "lost.json").write_text(json.dumps({"Values": lost}))
    target = f"{container.container_name}-new"
    run = restore("--from", "backups", "--yes", "--to", target, settings=tmp_path / "lost.json")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "the source account does not answer: what is restored goes to the backup account" in run.stderr
    assert await contents(backup_account.get_container_client(target)) == {"a": b"1"}


async def test_from_backups_to_an_empty_source_account(
    services: Services,
    container: ContainerClient,
    source_account: BlobServiceClient,
    reader: QueueReader,
    restore: Snapkeep,
) -> None:
    await container.upload_blob("a", b"1")
    await back_up(services, container, reader)
    await container.delete_container()
    target = f"{container.container_name}-new"
    run = restore("--from", "backups", "--yes", "--to", target)
    assert run.returncode == 0, run.stdout + run.stderr
    assert await contents(source_account.get_container_client(target)) == {"a": b"1"}


async def test_from_snapshots_does_without_the_backup_account(
    services: Services,
    container: ContainerClient,
    reader: QueueReader,
    restore: Snapkeep,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    await container.upload_blob("a", b"1")
    await back_up(services, container, reader)
    lost = dict(environment, BackupStorage=environment["BackupStorage"].replace("127.0.0.1", "gone.invalid"))
    (tmp_path / "lost.json").write_text(json.dumps({"Values": lost}))
    run = restore("--from", "snapshots", "--yes", settings=tmp_path / "lost.json")
    assert run.returncode == 0, run.stdout + run.stderr


async def test_files_come_to_a_directory(
    services: Services, container: ContainerClient, reader: QueueReader, restore: Snapkeep, tmp_path: Path
) -> None:
    await container.upload_blob("sales/2026/a.csv", b"1,2\n")
    await back_up(services, container, reader)
    run = restore("--to-directory", "files", "--yes")
    assert run.returncode == 0, run.stdout + run.stderr
    assert (tmp_path / "files/sales/2026/a.csv").read_bytes() == b"1,2\n"


async def test_the_plan_is_shown_and_nothing_is_written(
    services: Services, container: ContainerClient, reader: QueueReader, restore: Snapkeep, tmp_path: Path
) -> None:
    await container.upload_blob("a.csv", b"123")
    await back_up(services, container, reader)
    before = await services.state.names("restores/")
    run = restore("--plan")
    assert run.returncode == 0, run.stderr
    assert "plan\trestore\t1\t3 bytes" in run.stdout
    assert "taken from\tlive blob\t1\t3 bytes" in run.stdout
    assert "the largest\ta.csv\t3 bytes\t" in run.stdout
    assert "an estimate at sample prices" in run.stdout
    assert await services.state.names("restores/") == before
    assert files(tmp_path) == ["settings.json"]
    document = json.loads(restore("--plan", "--json").stdout)["plan"]
    assert document["actions"]["restore"] == {"blobs": 1, "bytes": 3}
    assert document["job"]["container"] == container.container_name


async def test_without_a_terminal_nothing_happens_unless_yes_is_given(
    services: Services,
    container: ContainerClient,
    source_account: BlobServiceClient,
    reader: QueueReader,
    restore: Snapkeep,
) -> None:
    await container.upload_blob("a.csv", b"123")
    await back_up(services, container, reader)
    target = f"{container.container_name}-x"
    run = restore("--to", target)
    assert run.returncode == 2
    assert "give --yes" in run.stderr
    assert "plan\trestore\t1\t" in run.stdout
    assert not await source_account.get_container_client(target).exists()


async def test_where_nothing_is_to_be_done_nothing_is_asked(
    services: Services, container: ContainerClient, reader: QueueReader, restore: Snapkeep
) -> None:
    await container.upload_blob("a.csv", b"123")
    await back_up(services, container, reader)
    run = restore("--in-place")
    assert run.returncode == 0, run.stderr
    assert "why\tleave\tis that version\t1\t3 bytes" in run.stdout
    assert "nothing is to be done" in run.stdout


async def test_a_name_of_which_nothing_is_known_is_impossible_and_said_so(
    services: Services, container: ContainerClient, reader: QueueReader, restore: Snapkeep
) -> None:
    await container.upload_blob("a.csv", b"123")
    await container.upload_blob("a.csv.old", b"1")
    await back_up(services, container, reader)
    run = restore("--name", "a.csv", "--name", "\u202egnp.csv", "--yes")
    assert run.returncode == 1
    assert "impossible\t\\u202egnp.csv\tno version of it is known that is not after" in run.stdout
    assert "restored\t1" in run.stdout
    assert "NOT everything that was planned has happened" in run.stdout


async def test_a_restore_that_was_killed_goes_on_with_its_own_plan(
    services: Services,
    container: ContainerClient,
    source_account: BlobServiceClient,
    reader: QueueReader,
    restore: Snapkeep,
) -> None:
    for number in range(20):
        await container.upload_blob(f"{number}.csv", b"right")
    await back_up(services, container, reader)
    dies = (
        "import os; from shared.operations import restore as r; carry_out = r.Restorer.carry_out\n"
        "async def once(self, step):\n"
        "    if step.name == '5.csv': os._exit(9)\n"
        "    return await carry_out(self, step)\n"
        "r.Restorer.carry_out = once; main()"
    )
    assert restore("--yes", program=dies).returncode == 9
    await container.upload_blob("new.csv", b"new")
    await container.upload_blob("7.csv", b"garbage", overwrite=True)
    run = restore("--yes", "--json")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "going on with the restore begun at" in run.stderr
    assert "--restart begins anew" in run.stderr
    report = report_of(run)
    assert await contents(source_account.get_container_client(report["target"])) == {
        f"{number}.csv": b"right" for number in range(20)
    }
    finished = restore("--plan")
    assert "going on" not in finished.stderr


class Terminal:
    """The command at a terminal: what it shows, and what somebody types."""

    def __init__(self, command: Sequence[str | Path], folder: Path) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=folder, close_fds=True)
        os.close(slave)
        self.shown = ""

    def read_until(self, text: str) -> None:
        while text not in self.shown:
            self.shown += os.read(self._master, 65536).decode(errors="replace")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def ends_with(self) -> int:
        """Its exit code; all that it showed is in `shown` then."""
        with contextlib.suppress(OSError):  # so Linux says that nobody holds the other end any more
            while piece := os.read(self._master, 65536):
                self.shown += piece.decode(errors="replace")
        os.close(self._master)
        return self._process.wait(timeout=60)


@pytest.mark.parametrize("answer", ["y", "n"])
async def test_on_a_terminal_it_asks(
    answer: str,
    services: Services,
    container: ContainerClient,
    source_account: BlobServiceClient,
    reader: QueueReader,
    settings_file: Path,
    tmp_path: Path,
) -> None:
    await container.upload_blob("a.csv", b"123")
    await back_up(services, container, reader)
    target = f"{container.container_name}-x"
    command = [sys.executable, "-m", "shared.cli", "restore", container.container_name, "--to", target]
    terminal = Terminal([*command, "--settings", settings_file], tmp_path)
    terminal.read_until("[y/N]")
    assert f"Restore 1 blob (3 bytes) into the container {target} of the source account?" in terminal.shown
    terminal.type(f"{answer}\n")
    code = terminal.ends_with()
    there = await source_account.get_container_client(target).exists()
    if answer == "y":
        assert (code, there) == (0, True), terminal.shown
        assert "1/1 blobs" in terminal.shown
    else:
        assert (code, there) == (1, False), terminal.shown
        assert "nothing was done" in terminal.shown


async def test_ctrl_c_ends_it_with_one_line_that_says_how_to_go_on(
    services: Services, container: ContainerClient, reader: QueueReader, settings_file: Path, tmp_path: Path
) -> None:
    for name in "ab":
        await container.upload_blob(name, b"1")
    await back_up(services, container, reader)
    waits = (
        "import asyncio; from shared.cli import main; from shared.operations import restore as r\n"
        "carry_out = r.Restorer.carry_out\n"
        "async def slow(self, step):\n"
        "    if step.name == 'a': return await carry_out(self, step)\n"
        "    print('now', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "r.Restorer.carry_out = slow; main()"
    )
    command = [sys.executable, "-c", waits, "restore", container.container_name, "--yes"]
    terminal = Terminal([*command, "--settings", settings_file], tmp_path)
    terminal.read_until("now")
    terminal.interrupt()
    assert terminal.ends_with() == 1
    assert "stopped; nothing is lost: the same command goes on where it was" in terminal.shown
    assert "Traceback" not in terminal.shown, terminal.shown


async def test_restart_begins_anew(
    services: Services, container: ContainerClient, reader: QueueReader, restore: Snapkeep
) -> None:
    await container.upload_blob("a.csv", b"1")
    await back_up(services, container, reader)
    target = f"{container.container_name}-x"
    assert restore("--to", target, "--yes", program="import os; from shared.operations import restore as r; "
                   "r.Restorer.carry_out = lambda *_: os._exit(9); main()").returncode == 9  # fmt: skip
    await container.upload_blob("b.csv", b"2")
    run = restore("--to", target, "--yes", "--json", "--restart")
    assert run.returncode == 0, run.stdout + run.stderr
    assert report_of(run)["totals"]["restored"] == 2
    assert "going on" not in run.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--at", "yesterday"], "no time that is understood"),
        (["--to", "x", "--in-place"], "--to and --in-place exclude each other"),
    ],
)
def test_what_does_not_go_together_exits_with_2_and_one_line(
    arguments: list[str], message: str, restore: Snapkeep
) -> None:
    run = restore(*arguments)
    assert run.returncode == 2
    assert run.stderr.startswith("error: ")
    assert message in run.stderr
    assert run.stderr.count("\n") == 1


async def test_the_container_itself_is_no_target_but_in_place(container: ContainerClient, restore: Snapkeep) -> None:
    run = restore("--to", container.container_name)
    assert run.returncode == 2
    assert "is the container itself; --in-place restores over what stands there" in run.stderr


async def test_a_container_of_which_nothing_is_known_exits_with_1(
    container: ContainerClient, restore: Snapkeep
) -> None:
    await container.delete_container()
    run = restore("--plan")
    assert run.returncode == 1
    assert "nothing is known of the container" in run.stderr
    in_place = restore("--plan", "--in-place")
    assert in_place.returncode == 2
    assert f"give --to {container.container_name} to have it made anew" in in_place.stderr


def test_nothing_but_the_backup_account_must_be_configured(
    restore: Snapkeep, tmp_path: Path, environment: dict[str, str]
) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    run = restore(settings=empty)
    assert run.returncode == 2
    assert "BackupStorage" in run.stderr
    run = restore("--in-place", settings=alone(tmp_path / "alone.json", environment))
    assert run.returncode == 2
    assert "need the source account: set SourceStorage" in run.stderr


async def test_a_report_that_cannot_be_written_is_said_and_stands_in_the_state(
    services: Services, container: ContainerClient, reader: QueueReader, restore: Snapkeep, tmp_path: Path
) -> None:
    await container.upload_blob("a.csv", b"1")
    await back_up(services, container, reader)
    run = restore("--yes", "--report", tmp_path / "missing" / "report.json")
    assert run.returncode == 1
    assert "the report could not be written to" in run.stderr
    assert Recovery.of(services).state_is_the_apps

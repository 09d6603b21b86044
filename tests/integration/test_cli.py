"""The command `snapkeep`, run as a process of its own on the session's local stack."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from azure.storage.blob.aio import ContainerClient

from shared import __version__
from shared.services import Services
from tests.queue_reader import QueueReader


@pytest.fixture
def settings_file(tmp_path: Path, environment: dict[str, str]) -> Path:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"IsEncrypted": False, "Values": environment}))
    return path


def snapkeep(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from shared.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


async def test_protect_snapshots_and_requests_and_says_so(container: ContainerClient, settings_file: Path) -> None:
    for name in ("a.csv", "b.csv"):
        await container.upload_blob(name, b"x")
    first = snapkeep("protect", container.container_name, "--settings", settings_file)
    assert first.returncode == 0, first.stderr
    assert "2 scanned, 2 changed, 2 snapshots created, 2 backups requested" in first.stdout
    second = snapkeep("protect", container.container_name, "--settings", settings_file, "--json")
    answer = json.loads(second.stdout)
    assert (answer["scanned"], answer["changed"], answer["complete"]) == (2, 0, True)
    assert second.stderr == ""


async def test_protect_names_what_failed_and_exits_with_1(container: ContainerClient, settings_file: Path) -> None:
    await container.upload_blob("a\\..\\b", b"x")  # the service turns backslashes into slashes
    run = snapkeep("protect", container.container_name, "--settings", settings_file)
    assert run.returncode == 1
    assert "failed: 'a/../b': a path segment" in run.stdout


async def test_reconcile_exits_with_1_until_everything_is_protected(
    services: Services, container: ContainerClient, settings_file: Path, reader: QueueReader
) -> None:
    await container.upload_blob("a.csv", b"x")
    first = snapkeep("reconcile", "--settings", settings_file, "--json")
    assert first.returncode == 1, first.stderr
    assert json.loads(first.stdout)["totals"]["backups_requested"] == 1
    await reader.drain(services)
    second = snapkeep("reconcile", "--settings", settings_file)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "complete" in second.stdout


def test_sync_without_containers_says_so(settings_file: Path) -> None:
    run = snapkeep("sync", "--settings", settings_file)
    assert run.returncode == 0, run.stderr
    assert "SNAPKEEP_SYNC_CONTAINERS is empty" in run.stdout


def test_wrong_settings_exit_with_2_and_one_message(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"Values": {"SNAPKEEP_ENGINE": "warp"}}')
    run = snapkeep("reconcile", "--settings", path)
    assert run.returncode == 2
    assert all(name in run.stderr for name in ("SourceStorage", "BackupStorage", "BackupQueue", "SNAPKEEP_ENGINE"))
    assert "Traceback" not in run.stderr


def test_a_settings_file_that_cannot_be_used_exits_with_2_and_one_line(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"Values": {"SNAPKEEP_CONCURRENCY": 8}}')
    run = snapkeep("reconcile", "--settings", path)
    assert run.returncode == 2
    assert run.stderr == f"error: {path}: Values must be strings; not so: SNAPKEEP_CONCURRENCY\n"


@pytest.mark.parametrize("refused", ["$logs", "snapkeep-state", "UPPER"])
def test_a_container_that_may_not_be_protected_exits_with_2(refused: str, settings_file: Path) -> None:
    run = snapkeep("protect", refused, "--settings", settings_file)
    assert run.returncode == 2
    assert run.stderr.startswith("error: container:")


def test_it_says_its_version() -> None:
    assert snapkeep("--version").stdout == f"snapkeep, version {__version__}\n"

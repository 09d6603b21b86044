"""The temporary folders of azcopy's runs."""

import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.adapters import azcopy_folders
from shared.adapters.azcopy_folders import KEPT_BYTES_PER_FILE, KEPT_RUNS, RunFolder, work_folder
from shared.errors import AzcopyUnusable

NOW = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def same(text: str) -> str:
    return text


def test_a_runs_folder_is_its_own_and_gone_when_removed() -> None:
    one, other = RunFolder(), RunFolder()
    (one.logs / "job.log").write_text("x")

    assert one.path != other.path
    assert one.path.stat().st_mode & 0o077 == 0

    one.remove()
    other.remove()

    assert list(work_folder().iterdir()) == []


def test_the_job_log_is_told_from_the_scans() -> None:
    folder = RunFolder()
    assert folder.job_log() is None
    (folder.logs / "1-scanning.log").write_text("scan")
    (folder.logs / "1.log").write_text("job")

    job_log = folder.job_log()

    assert job_log is not None
    assert job_log.read_text() == "job"


def test_what_is_kept_is_redacted_and_only_the_end_of_it() -> None:
    folder = RunFolder()
    (folder.logs / "job.log").write_text("first secret\n" + "x" * KEPT_BYTES_PER_FILE + "\nlast secret\n")
    folder.stdout.write_text("secret output")
    (folder.plans / "plan.steV").write_text("secret plan")

    kept = work_folder() / folder.keep("lake", NOW, lambda text: text.replace("secret", "-"))
    folder.remove()

    assert sorted(file.name for file in kept.iterdir()) == ["job.log", "stdout.jsonl"]
    assert (kept / "job.log").read_text() == "last -\n"
    assert (kept / "stdout.jsonl").read_text() == "- output"


def test_the_oldest_of_what_is_kept_makes_room() -> None:
    for number in range(KEPT_RUNS + 3):
        folder = RunFolder()
        folder.stdout.write_text(f"run {number}")
        folder.keep("lake", NOW + timedelta(hours=number), same)
        folder.remove()

    kept = sorted((work_folder() / "kept").iterdir())

    assert [(folder / "stdout.jsonl").read_text() for folder in kept] == [
        f"run {number}" for number in range(3, KEPT_RUNS + 3)
    ]


def test_what_a_killed_run_left_is_removed_by_the_next_and_a_living_ones_is_not() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    base = work_folder()
    dead, living, earlier = (
        base / name for name in (f"run-{ended.pid}-a-x", f"run-{os.getppid()}-b-x", f"run-{os.getpid()}-c-x")
    )
    for folder in (dead, living, earlier):
        folder.mkdir()

    RunFolder().remove()

    assert [dead.exists(), living.exists(), earlier.exists()] == [False, True, False]


def test_a_disk_that_is_too_full_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azcopy_folders, "FREE_BYTES_NEEDED", 1 << 60)

    with pytest.raises(AzcopyUnusable, match="set TMPDIR"):
        RunFolder()


def test_a_folder_that_somebody_else_has_put_there_is_not_used(temporary: Path) -> None:
    (temporary / "elsewhere").mkdir()
    (temporary / f"snapkeep-{os.getuid()}").symlink_to(temporary / "elsewhere")

    with pytest.raises(AzcopyUnusable, match="somebody else"):
        work_folder()

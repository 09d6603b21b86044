"""How azcopy is found, and what is said when it is none that runs."""

import tempfile
from pathlib import Path

import pytest

from shared.adapters.azcopy import Azcopy
from shared.errors import AzcopyUnusable


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def program(path: Path, script: str, mode: int = 0o755) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(mode)
    return path


async def test_the_configured_one_is_taken_before_the_one_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "azcopy", "echo azcopy version 1.0.0")
    configured = program(tmp_path / "mine", "echo azcopy version 2.0.0")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")

    assert (await Azcopy.find(str(configured))).version == "2.0.0"
    assert (await Azcopy.find(None)).version == "1.0.0"


async def test_one_without_permission_to_run_is_copied_once_and_the_original_stays(tmp_path: Path) -> None:
    deployed = program(tmp_path / "azcopy", "echo azcopy version 1.0.0", 0o444)

    first = await Azcopy.find(str(deployed))
    copied_at = first.path.stat().st_mtime_ns
    second = await Azcopy.find(str(deployed))

    assert first.path == second.path != deployed
    assert second.path.stat().st_mtime_ns == copied_at
    assert deployed.stat().st_mode & 0o777 == 0o444


async def test_a_new_deployment_is_copied_anew(tmp_path: Path) -> None:
    deployed = program(tmp_path / "azcopy", "echo azcopy version 1.0.0", 0o644)
    await Azcopy.find(str(deployed))
    program(deployed, "echo azcopy version 1.0.1 ", 0o644)

    assert (await Azcopy.find(str(deployed))).version == "1.0.1"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo libsecret-1.so.0: cannot open shared object file >&2; exit 127", "exit code 127: libsecret-1.so.0"),
        ("echo hello", "exit code 0: hello"),
        ("kill -9 $$", "exit code -9"),
    ],
)
async def test_a_program_that_is_no_azcopy_is_refused_with_its_words(tmp_path: Path, script: str, said: str) -> None:
    with pytest.raises(AzcopyUnusable, match=said):
        await Azcopy.find(str(program(tmp_path / "azcopy", script)))


async def test_a_file_that_cannot_be_executed_at_all_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "azcopy"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)

    with pytest.raises(AzcopyUnusable, match="set AZCOPY_PATH"):
        await Azcopy.find(str(broken))


async def test_none_at_all_is_refused_by_the_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(AzcopyUnusable, match="set AZCOPY_PATH"):
        await Azcopy.find(None)
    with pytest.raises(AzcopyUnusable, match="AZCOPY_PATH names"):
        await Azcopy.find(str(tmp_path / "nothing"))

"""Restores to a directory: files whole or not at all, below that directory whatever is planted there."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob.aio import ContainerClient

from shared.adapters.directory import Directory
from shared.decisions.local_names import LocalName, Refused, local_name
from shared.decisions.names import backup_name, refusal
from shared.decisions.restoring import Mode, Place, Step
from shared.errors import BadParameter, FileRefused
from shared.model import moment_of
from shared.operations import restore_places
from shared.operations.restore import Outcome, Restorer, Result, restore
from shared.recovery import Recovery
from shared.services import Services
from tests.integration.test_restore import back_up_all, spoil
from tests.names import HARD_NAMES
from tests.queue_reader import QueueReader
from tests.restoring import Told, job, restore_step, version_of


@pytest.fixture
def recovery(services: Services) -> Recovery:
    return Recovery.of(services)


async def step_for(
    recovery: Recovery, services: Services, container: ContainerClient, reader: QueueReader, name: str, content: bytes
) -> Step:
    await container.upload_blob(name, content, overwrite=True)
    await back_up_all(services, container, reader)
    return await restore_step(recovery, container, await version_of(container, name), [Place.BACKUP])


async def bring(recovery: Recovery, container: ContainerClient, into: Path, step: Step, **options: Any) -> Outcome:
    with Restorer(recovery, job(container, Mode.DIRECTORY, str(into), **options), "job") as restorer:
        return await restorer.carry_out(step)


def files_in(path: Path) -> set[str]:
    return {found.relative_to(path).as_posix() for found in path.rglob("*") if not found.is_dir()}


@pytest.mark.parametrize("kind", ["BlockBlob", "AppendBlob", "PageBlob"])
async def test_a_file_has_the_bytes_and_the_time_of_its_version(
    kind: str,
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    reader: QueueReader,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(restore_places, "PIECE_BYTES", 1000)
    whole = bytes(range(256)) * 10
    await container.upload_blob("a/b/c.bin", whole, blob_type=kind)
    await back_up_all(services, container, reader)
    version = await version_of(container, "a/b/c.bin")
    step = await restore_step(recovery, container, version, [Place.BACKUP])
    told = Told()
    what = job(container, Mode.DIRECTORY, str(tmp_path / "new" / "dir"))
    report = await restore(recovery, what, [step], job_id=f"job-{uuid4().hex[:12]}", progress=told)
    assert report.well
    file = tmp_path / "new" / "dir" / "a" / "b" / "c.bin"
    assert file.read_bytes() == whole
    assert file.stat().st_mtime == moment_of(version.last_modified).timestamp()
    assert files_in(tmp_path) == {"new/dir/a/b/c.bin"}
    assert told.bytes == len(whole)


async def test_hard_names_stay_below_the_directory(
    recovery: Recovery, services: Services, container: ContainerClient, reader: QueueReader, tmp_path: Path
) -> None:
    for name in HARD_NAMES.values():
        await container.upload_blob(name, name.encode(), overwrite=True)
    await back_up_all(services, container, reader)
    # The service keeps a backslash as a slash, which makes names that are refused out of some.
    stored = [name for name in {blob.name async for blob in container.list_blobs()} if refusal(name) is None]
    expected = set()
    for name in stored:
        step = await restore_step(recovery, container, await version_of(container, name), [Place.LIVE])
        outcome = await bring(recovery, container, tmp_path / "in", step)
        where = local_name(name)
        if isinstance(where, Refused):
            assert (outcome.result, outcome.reason) == (Result.IMPOSSIBLE, where.reason)
            continue
        assert outcome.result is Result.RESTORED, (name, outcome.reason)
        assert outcome.reason == (f"as {where.path}" if where.mapped else "")
        expected.add(where.path)
    assert files_in(tmp_path / "in") == expected
    assert all(path.startswith("in/") for path in files_in(tmp_path))


async def test_a_file_that_stands_there_is_replaced_only_when_asked_for(
    recovery: Recovery, services: Services, container: ContainerClient, reader: QueueReader, tmp_path: Path
) -> None:
    step = await step_for(recovery, services, container, reader, "a", b"wanted")
    (tmp_path / "a").write_bytes(b"THEIRS")
    outcome = await bring(recovery, container, tmp_path, step)
    assert (outcome.result, outcome.reason) == (Result.CHANGED, "another file stands there: --overwrite replaces it")
    assert (tmp_path / "a").read_bytes() == b"THEIRS"
    outcome = await bring(recovery, container, tmp_path, step, overwrite=True)
    assert outcome.result is Result.RESTORED
    assert (tmp_path / "a").read_bytes() == b"wanted"
    assert (await bring(recovery, container, tmp_path, step)).result is Result.ALREADY
    assert files_in(tmp_path) == {"a"}


@pytest.mark.parametrize(("theirs", "result"), [(b"wanted", Result.ALREADY), (b"THEIRS", Result.CHANGED)])
async def test_of_two_restores_at_once_the_slower_one_finds_the_file_or_leaves_anothers(
    theirs: bytes,
    result: Result,
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    reader: QueueReader,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = await step_for(recovery, services, container, reader, "a", b"wanted")
    publish = Directory.publish

    def slower(self: Directory, *arguments: Any, **more: Any) -> None:
        (tmp_path / "a").write_bytes(theirs)
        publish(self, *arguments, **more)

    monkeypatch.setattr(Directory, "publish", slower)
    assert (await bring(recovery, container, tmp_path, step)).result is result
    assert (tmp_path / "a").read_bytes() == theirs
    assert files_in(tmp_path) == {"a"}


async def test_a_damaged_backup_leaves_no_file(
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    tmp_path: Path,
) -> None:
    step = await step_for(recovery, services, container, reader, "a", b"wanted")
    await spoil(backups, backup_name(await version_of(container, "a")), b"WANTED")
    step = await restore_step(recovery, container, await version_of(container, "a"), [Place.BACKUP])
    assert (await bring(recovery, container, tmp_path, step)).result is Result.DAMAGED
    assert files_in(tmp_path) == set()


@pytest.mark.parametrize("overwrite", [False, True])
async def test_planted_links_are_neither_followed_nor_replaced(
    overwrite: bool,
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    reader: QueueReader,
    tmp_path: Path,
) -> None:
    outside, into = tmp_path / "outside", tmp_path / "in"
    outside.mkdir()
    into.mkdir()
    (outside / "file").write_bytes(b"safe")
    (into / "folder").symlink_to(outside)
    (into / "link").symlink_to(outside / "file")
    (into / "dangling").symlink_to(outside / "new")
    for name in ("folder/file", "folder/x", "link", "dangling"):
        step = await step_for(recovery, services, container, reader, name, b"blob")
        outcome = await bring(recovery, container, into, step, overwrite=overwrite)
        assert outcome.result is Result.CHANGED, name
        assert "link" in outcome.reason
    assert files_in(outside) == {"file"}
    assert (outside / "file").read_bytes() == b"safe"
    assert (into / "link").is_symlink()


async def test_a_file_and_a_folder_of_one_name_are_told_apart_by_a_report(
    recovery: Recovery, services: Services, container: ContainerClient, reader: QueueReader, tmp_path: Path
) -> None:
    file = await step_for(recovery, services, container, reader, "a", b"file")
    below = await step_for(recovery, services, container, reader, "a/b", b"below")
    assert (await bring(recovery, container, tmp_path / "1", file)).result is Result.RESTORED
    outcome = await bring(recovery, container, tmp_path / "1", below)
    assert outcome.result is Result.CHANGED
    assert "its folder a cannot be made" in outcome.reason
    assert (await bring(recovery, container, tmp_path / "2", below)).result is Result.RESTORED
    outcome = await bring(recovery, container, tmp_path / "2", file)
    assert (outcome.result, outcome.reason) == (Result.CHANGED, "a folder stands there; it is left as it is")


async def test_an_interrupted_download_leaves_nothing_under_the_name_and_its_rest_is_cleared_away(
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    reader: QueueReader,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = await step_for(recovery, services, container, reader, "a", b"wanted")
    with monkeypatch.context() as killed:
        killed.setattr(Directory, "publish", _killed)
        killed.setattr(Directory, "discard", lambda _self, file: os.close(file.descriptor))
        with pytest.raises(asyncio.CancelledError):
            await bring(recovery, container, tmp_path, step)
    [rest] = files_in(tmp_path)
    assert rest.startswith(".snapkeep-restoring-")
    assert (await bring(recovery, container, tmp_path, step)).result is Result.RESTORED
    assert files_in(tmp_path) == {"a"}


def _killed(*_arguments: object, **_more: object) -> None:
    raise asyncio.CancelledError


async def test_a_full_disk_ends_the_run_and_the_next_one_goes_on(
    recovery: Recovery,
    services: Services,
    container: ContainerClient,
    reader: QueueReader,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = [await step_for(recovery, services, container, reader, name, name.encode()) for name in "abc"]
    job_id = f"job-{uuid4().hex[:12]}"
    what = job(container, Mode.DIRECTORY, str(tmp_path))
    with monkeypatch.context() as full:

        def no_space(_descriptor: int, _piece: memoryview) -> int:
            raise OSError(28, "No space left on device")

        full.setattr(os, "write", no_space)
        report = await restore(recovery, what, steps, job_id=job_id, progress=Told())
    assert not report.complete
    assert "No space left on device" in report.warnings[0]
    assert files_in(tmp_path) == set()
    report = await restore(recovery, what, steps, job_id=job_id, progress=Told())
    assert report.well
    assert files_in(tmp_path) == {"a", "b", "c"}


def put(into: Directory, name: str, content: bytes, *, overwrite: bool = False) -> None:
    where = local_name(name)
    assert isinstance(where, LocalName)
    file = into.create()
    try:
        file.write(content)
        into.publish(file, where, 0, overwrite=overwrite)
    finally:
        into.discard(file)


def test_a_run_of_the_same_restore_at_the_same_time_keeps_its_unfinished_files(tmp_path: Path) -> None:
    first = Directory(tmp_path, "job")
    file = first.create()
    Directory(tmp_path, "job").close()
    where = local_name("a")
    assert isinstance(where, LocalName)
    first.publish(file, where, 0, overwrite=False)
    first.discard(file)
    assert files_in(tmp_path) == {"a"}
    first.close()


@pytest.mark.parametrize("overwrite", [False, True])
def test_names_that_the_file_system_confuses_do_not_become_one_file(overwrite: bool, tmp_path: Path) -> None:
    into = Directory(tmp_path, "job", tells_apart=False)
    put(into, "Folder/caf\u00e9.csv", b"1")
    for name in ("Folder/CAF\u00c9.csv", "Folder/cafe\u0301.csv", "FOLDER/other"):
        with pytest.raises(FileRefused, match="does not tell"):
            put(into, name, b"2", overwrite=overwrite)
    put(into, "Folder/other", b"3")
    assert files_in(tmp_path) == {"Folder/caf\u00e9.csv", "Folder/other"}
    into.close()


def test_two_threads_do_not_make_one_folder_of_names_that_the_file_system_confuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = Directory(tmp_path, "job", tells_apart=False)
    make, quicker = os.mkdir, Event()

    def slow(name: str, *, dir_fd: int) -> None:
        if name == "Dir":
            other.start()
            quicker.wait(0.5)  # as long as the other thread is kept out, nothing tells that it wants in
        make(name, dir_fd=dir_fd)

    def second() -> None:
        with suppress(FileRefused):
            put(into, "dir/b", b"2")
        quicker.set()

    monkeypatch.setattr(os, "mkdir", slow)
    other = Thread(target=second)
    put(into, "Dir/a", b"1")
    other.join()
    assert files_in(tmp_path) == {"Dir/a"}
    into.close()


def test_it_is_tried_out_whether_the_file_system_tells_names_apart(tmp_path: Path) -> None:
    into = Directory(tmp_path, "job")
    (tmp_path / "probe").write_bytes(b"")
    assert into.tells_apart == (not (tmp_path / "PROBE").exists())
    assert files_in(tmp_path) == {"probe"}
    into.close()


def test_a_file_system_without_hard_links_gets_its_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_more: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    into = Directory(tmp_path, "job")
    put(into, "a", b"1")
    with pytest.raises(FileRefused):
        put(into, "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"1"
    assert files_in(tmp_path) == {"a"}
    into.close()


def test_a_path_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadParameter, match="is not a directory"):
            Directory(path, "job")

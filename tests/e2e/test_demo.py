"""`make demo`, run as its users run it; and its checks, which must see whatever is wrong with a backup."""

import asyncio
import os
import re
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import BlobServiceClient, ContainerClient
from azure.storage.queue.aio import QueueClient

from local.demo.checks import (
    Findings,
    check_engines,
    check_leftovers,
    check_mirror,
    check_source,
    check_strangers,
    check_versions,
)
from local.demo.contract import backup_name
from local.demo.material import large_file
from local.demo.page import Page
from local.demo.record import RecordedContainer, Version, draft
from local.demo.stage import open_stage
from local.demo.story import compare_everything
from shared.decisions import names
from shared.model import Version as ProductVersion
from shared.model import moment_of, second_of
from tests.names import HARD_NAMES

ROOT = Path(__file__).parents[2]
MARK = "SNAPKEEP_TEST_RUN"


def marked(mark: str) -> list[psutil.Process]:
    """What runs of a command that was started with `mark` in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:  # ended while it was looked at
            continue
    return found


class RunningDemo:
    """`python -m local.demo` as a process, with a temporary folder of its own."""

    def __init__(self, process: asyncio.subprocess.Process, mark: str, folder: Path) -> None:
        self._process = process
        self._mark = mark
        self.folder = folder
        self.shown = ""

    async def reach(self, text: str) -> None:
        """Wait until it has shown the text."""
        assert self._process.stdout is not None
        while text not in self.shown:
            line = await self._process.stdout.readline()
            assert line, f"the demo ended without {text!r}: {self.shown}"
            self.shown += line.decode()

    async def end(self) -> int:
        """Wait for its end; returns the exit code. Nothing that it started runs any more then."""
        assert self._process.stdout is not None
        self.shown += (await self._process.stdout.read()).decode()
        exit_code = await self._process.wait()
        assert marked(self._mark) == []
        return exit_code

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def kill(self, program: str) -> None:
        """Kill the process whose arguments contain `program`."""
        (victim,) = [each for each in marked(self._mark) if any(program in part for part in each.cmdline())]
        victim.kill()


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[RunningDemo]:
    mark = uuid.uuid4().hex
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "local.demo"),
        cwd=ROOT,
        env={**os.environ, MARK: mark, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    yield RunningDemo(process, mark, tmp_path)
    for left in marked(mark):
        left.kill()
    await process.wait()


async def test_the_demo_finds_everything_as_it_was_written_and_leaves_nothing_behind(demo: RunningDemo) -> None:
    assert await demo.end() == 0, demo.shown
    assert re.search(r"protect: (\d{3}) blobs scanned, \1 changed: \1 snapshots, \1 backups requested", demo.shown)
    assert len(re.findall(r"backup: the queue is empty, (\d+) of \1 versions are backed up", demo.shown)) == 3
    assert demo.shown.count("of these, Data Factory copied measurements/2026.bin") == 2
    assert re.search(r"protect: \d{3} blobs scanned, 0 changed: 0 snapshots, 0 backups requested", demo.shown)
    assert re.search(r"reconcile: (\d+) of \1 versions were protected: 0 snapshots, 0 backups req", demo.shown)
    assert re.search(r"sync: azcopy \S+ copied (\d+) files, .* to lakebak", demo.shown)
    rows = re.findall(r"^ +(?:raw|ledger|lake)(?:bak)?: .*?(\d+) +(\d+) +(\d+)", demo.shown, re.MULTILINE)
    assert len(rows) == 7
    assert re.search(r"a job overwrote \d+ blobs with zeros, deleted \d+", demo.shown)
    assert "everything that was planned has happened" in demo.shown
    assert all(written == right and wrong == "0" for written, right, wrong in rows)
    assert "Everything matched. Nothing is left running." in demo.shown
    assert files_in(demo.folder) == []


async def test_ctrl_c_ends_the_demo_and_all_that_it_started(demo: RunningDemo) -> None:
    await demo.reach("protect: ")
    demo.interrupt()
    assert await demo.end() == 130
    assert "Interrupted. Nothing is left running." in demo.shown
    assert "Traceback" not in demo.shown
    assert files_in(demo.folder) == []


async def test_the_demo_fails_when_a_service_dies_and_says_where_the_log_is(demo: RunningDemo) -> None:
    await demo.reach("protect: ")
    demo.kill("azurite")
    assert await demo.end() == 1
    assert "The demo failed: `python -m local services` ended" in demo.shown
    (log,) = demo.folder.glob("snapkeep-demo-*.log")
    assert str(log) in demo.shown
    assert "Azurite ended" in log.read_text()


@pytest.fixture
async def record(container: ContainerClient) -> RecordedContainer:
    """A container with a few blobs, one of which was overwritten, and a snapshot of each live one."""
    record = RecordedContainer(container)
    await record.write(
        [draft(name, name.encode() * 99, {"origin": "test"}, year="2026") for name in ("a.py", "b/c.bin")]
    )
    await record.rewrite(["a.py"], lambda content: content + b"!")
    for name in record.live:
        await container.get_blob_client(name).create_snapshot()
    return record


@pytest.fixture
async def backed_up(record: RecordedContainer, backups: ContainerClient) -> RecordedContainer:
    """The same, with right backups of all its versions."""
    await backups.create_container()
    for version in record.versions:
        await store_backup(backups, version)
    return record


async def store_backup(backups: ContainerClient, version: Version, **changes: dict[str, str]) -> None:
    metadata = {
        **version.metadata,
        "snapkeep_source_etag": version.etag,
        "snapkeep_source_last_modified": second_of(version.last_modified),
        "snapkeep_source_name": quote(version.name),
    }
    await backups.upload_blob(
        version.backup_name,
        version.content,
        overwrite=True,
        metadata=changes.get("metadata", metadata),
        content_settings=ContentSettings(**{**version.headers, **changes.get("headers", {})}),  # type: ignore[arg-type]
        tags=changes.get("tags", dict(version.tags)),
    )


async def test_right_backups_are_found_right(backed_up: RecordedContainer, backups: ContainerClient) -> None:
    findings = await check_versions(backups, backed_up.versions)
    assert findings == Findings(right=3, size_bytes=sum(len(version.content) for version in backed_up.versions))
    assert await check_strangers(backups, backed_up) == []
    assert await check_source(backed_up) == Findings(right=2)


def flipped(content: bytes) -> bytes:
    return content[:7] + bytes([content[7] ^ 1]) + content[8:]


Tampering = Callable[[ContainerClient, Version], Awaitable[object]]
TAMPERINGS: dict[str, tuple[Tampering, str]] = {
    "one bit flipped": (
        lambda backups, version: store_backup(backups, replace(version, content=flipped(version.content))),
        "the first difference is at byte 7",
    ),
    "cut short": (
        lambda backups, version: store_backup(backups, replace(version, content=version.content[:-1])),
        "the first difference is at byte",
    ),
    "deleted": (lambda backups, version: backups.delete_blob(version.backup_name), "missing"),
    "without the metadata of its version": (
        lambda backups, version: store_backup(backups, version, metadata=dict(version.metadata)),
        "does not say which version it is",
    ),
    "with the source's metadata changed": (
        lambda backups, version: store_backup(backups, replace(version, metadata={"origin": "elsewhere"})),
        "metadata is {'origin': 'elsewhere'}",
    ),
    "with another content type": (
        lambda backups, version: store_backup(backups, version, headers={"content_type": "text/html"}),
        "content_type is 'text/html'",
    ),
    "with a header that the source lacks": (
        lambda backups, version: store_backup(backups, version, headers={"content_language": "en"}),
        "content_language is 'en'",
    ),
    "with other index tags": (
        lambda backups, version: store_backup(backups, version, tags={"year": "2025"}),
        "index tags are {'year': '2025'}",
    ),
}


@pytest.mark.parametrize("what", TAMPERINGS)
async def test_a_tampered_backup_is_reported(backed_up: RecordedContainer, backups: ContainerClient, what: str) -> None:
    tamper, told = TAMPERINGS[what]
    victim = backed_up.past[0]
    await tamper(backups, victim)
    findings = await check_versions(backups, backed_up.versions)
    assert findings.right == 2
    (difference,) = findings.differences
    assert difference.startswith(f"{backups.container_name}/{victim.backup_name}: ")
    assert told in difference


async def test_a_blob_that_is_no_backup_is_reported(backed_up: RecordedContainer, backups: ContainerClient) -> None:
    await backups.upload_blob("a.py/20260101T000000Z-0x1.py", b"?")
    (difference,) = await check_strangers(backups, backed_up)
    assert "a.py/20260101T000000Z-0x1.py" in difference


async def test_a_source_that_lacks_a_snapshot_or_was_changed_is_reported(record: RecordedContainer) -> None:
    await record.rewrite(["a.py"], bytes.upper)
    await record.client.upload_blob("b/c.bin", b"changed behind the demo's back", overwrite=True)
    await record.client.upload_blob("new", b"")
    findings = await check_source(record)
    assert findings.right == 0
    without, changed, new = findings.differences
    assert without.endswith("/a.py: 0 snapshots have its ETag; it should be one")
    assert re.search(r"/b/c.bin: its ETag is \S+; written was ", changed)
    assert new.endswith("/new: was not written by the demo, or was deleted")


async def test_a_mirror_that_differs_is_reported(record: RecordedContainer, backups: ContainerClient) -> None:
    await backups.create_container()
    for name, version in record.live.items():
        await backups.upload_blob(name, version.content)
    assert (await check_mirror(backups, record)).differences == []
    await backups.upload_blob("a.py", flipped(record.live["a.py"].content), overwrite=True)
    await backups.delete_blob("b/c.bin")
    await backups.upload_blob("surplus", b"")
    findings = await check_mirror(backups, record)
    assert findings.right == 0
    assert sorted(told.partition("/")[2].partition(": ")[0] for told in findings.differences) == [
        "a.py",
        "b/c.bin",
        "surplus",
    ]


async def test_leftovers_in_the_backup_account_are_reported(
    backup_account: BlobServiceClient, stack: dict[str, str]
) -> None:
    stray, queue = f"stray-{uuid.uuid4().hex[:8]}", f"poison-{uuid.uuid4().hex[:8]}"
    async with QueueClient.from_connection_string(stack["queue"], queue) as poison:
        before = await check_leftovers(backup_account, poison, set())
        await backup_account.create_container(stray)
        await poison.create_queue()
        await poison.send_message("a message that nobody could carry out")
        after = await check_leftovers(backup_account, poison, set())
    assert set(after) - set(before) == {
        f"container {stray} is in the backup account",
        f"1 messages are in the queue {queue}",
    }
    await backup_account.delete_container(stray)


async def test_a_large_file_that_data_factory_did_not_copy_is_reported(record: RecordedContainer) -> None:
    large = large_file()
    await record.write([large])
    assert check_engines([large.name], [record], len(large.content)) == []
    assert check_engines([], [record], len(large.content)) != []
    assert check_engines([large.name, "a.py"], [record], len(large.content)) != []


async def test_what_does_not_match_is_shown_and_counted(
    backed_up: RecordedContainer,
    record: RecordedContainer,
    backups: ContainerClient,
    stack: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    await backups.delete_blob(backed_up.past[0].backup_name)
    ready = {**stack, "functions": "http://127.0.0.1:1", "function_key": "", "master_key": ""}
    async with open_stage(Page(), ready) as stage:
        await compare_everything(stage, [backed_up], record)
    missing = f"{backups.container_name}/{backed_up.past[0].backup_name}: missing"
    assert missing in stage.differences
    assert missing in capsys.readouterr().out


@pytest.mark.parametrize("what", HARD_NAMES)
def test_the_demos_own_formula_gives_the_products_backup_names(what: str) -> None:
    name = HARD_NAMES[what]
    product = ProductVersion(name, "0x8DE27F0A1B2C3D4", "2026-11-20T14:05:33Z", 1)
    assert backup_name(name, product.etag, moment_of(product.last_modified)) == names.backup_name(product)

"""`snapkeep status` and what it is made from, on real reports; and each thing that cannot be read, one at a time."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from shared.containers import STATE_CONTAINER
from shared.decisions.status import FUNCTIONS, Status
from shared.decisions.status_findings import Verdict
from shared.model import second_of
from shared.operations.reconcile import reconcile
from shared.operations.status import DOCUMENTS, PAGE, status, write_page
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import FaultProxy, Rule, answer
from tests.queue_reader import QueueReader
from tests.status_inputs import drill, history, note, point, verify

COMMAND = (sys.executable, "-m", "shared.cli", "status")
ACCOUNT_KEY = "AccountKey="


@pytest.fixture(autouse=True)
async def nothing_told_before(services: Services) -> None:
    """Other tests leave reports in the one state container that there is."""
    names = [*DOCUMENTS.values(), *(f"runs/{function}.json" for function in FUNCTIONS), PAGE]
    await asyncio.gather(*(services.state.delete(name) for name in names))
    for name in await services.state.names("discarded/"):
        await services.state.delete(name)


@pytest.fixture
def settings_file(tmp_path: Path, environment: dict[str, str]) -> Path:
    return written(tmp_path / "settings.json", environment)


def written(path: Path, environment: dict[str, str]) -> Path:
    path.write_text(json.dumps({"IsEncrypted": False, "Values": environment}))
    return path


async def reconciled(services: Services) -> None:
    """Reconciles for real; what else the night's run would prove is written as of now."""
    await reconcile(services, elapsed=lambda: 0.0)
    now = second_of(datetime.now(UTC))
    await services.state.write(DOCUMENTS["verify"], verify(started_at=now, finished_at=now))
    await services.state.write(DOCUMENTS["drill"], drill(started_at=now, finished_at=now))


@pytest.fixture
async def protected(services: Services, container: ContainerClient, reader: QueueReader) -> Services:
    """Two blobs, all of whose versions are backed up, and known to be."""
    for name in ("a.csv", "b.csv"):
        await container.upload_blob(name, b"x")
    await reconcile(services, elapsed=lambda: 0.0)
    await reader.drain(services)
    await reconciled(services)
    return services


def snapkeep_status(settings_file: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "--settings", str(settings_file), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def texts(found: Status, verdict: Verdict) -> list[str]:
    return [reason.text for reason in found.reasons if reason.verdict is verdict]


class TestGathering:
    async def test_what_a_real_reconciliation_found_protected_is_called_so(
        self, protected: Services, container: ContainerClient
    ) -> None:
        found = await status(protected)
        assert (found.verdict, found.reasons) == (Verdict.PROTECTED, ())
        (part,) = found.containers
        assert (part.container, part.versions, part.protected_percent) == (container.container_name, 2, 100.0)
        assert found.queue is not None
        assert (found.queue.waiting, found.queue.poison) == (0, 0)

    async def test_what_it_found_missing_puts_all_at_risk(
        self, services: Services, container: ContainerClient, reader: QueueReader
    ) -> None:
        await container.upload_blob("a.csv", b"x")
        await reconciled(services)
        found = await status(services)
        name = container.container_name
        assert found.verdict is Verdict.AT_RISK
        assert texts(found, Verdict.AT_RISK) == [f"{name}: 1 missing, of 1 versions; 1 were requested since"]
        assert found.queue is not None
        assert found.queue.waiting == 1

    async def test_before_anything_ran_nothing_is_known(self, services: Services) -> None:
        found = await status(services)
        assert found.verdict is Verdict.UNKNOWN
        assert "there is no coverage report yet: run `snapkeep reconcile`" in texts(found, Verdict.UNKNOWN)
        assert {run.result for run in found.functions} == {"never ran"}

    @pytest.mark.parametrize("name", [*DOCUMENTS.values(), *(f"runs/{function}.json" for function in FUNCTIONS)])
    async def test_a_document_that_cannot_be_read_is_unknown_and_keeps_nothing_else_from_being_told(
        self, protected: Services, open_behind_proxies: OpenServices, blob_proxy: FaultProxy, name: str
    ) -> None:
        services = open_behind_proxies(SNAPKEEP_SYNC_CONTAINERS="lake")
        now = second_of(datetime.now(UTC))
        pair = {"source": "lake", "backup": "lakebak", "outcome": "succeeded", "reason": None}
        mirrored = {"kind": "sync", "started_at": now, "finished_at": now, "complete": True, "pairs": [pair]}
        await services.state.write(DOCUMENTS["sync"], mirrored)
        assert (await status(services)).verdict is Verdict.PROTECTED
        blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), target=name))
        found = await status(services)
        assert found.verdict is Verdict.UNKNOWN
        (text,) = texts(found, Verdict.UNKNOWN)
        assert f"read {STATE_CONTAINER}/{name}" in text

    async def test_a_document_that_is_no_json_is_unknown(
        self, protected: Services, backup_account: BlobServiceClient
    ) -> None:
        blob = backup_account.get_blob_client(STATE_CONTAINER, DOCUMENTS["coverage"])
        await blob.upload_blob(b"{\xff", overwrite=True)
        found = await status(protected)
        assert texts(found, Verdict.UNKNOWN) == ["the coverage report could not be read: it is not JSON"]
        assert found.verdict is Verdict.UNKNOWN

    async def test_a_queue_that_cannot_be_read_is_unknown(
        self, protected: Services, open_behind_proxies: OpenServices, queue_proxy: FaultProxy
    ) -> None:
        queue_proxy.add(Rule(answer(403, "AuthorizationFailure")))
        found = await status(open_behind_proxies())
        assert (found.verdict, found.queue) == (Verdict.UNKNOWN, None)
        assert found.containers[0].protected_percent == 100.0

    async def test_discarded_requests_that_cannot_be_listed_are_unknown(
        self, protected: Services, open_behind_proxies: OpenServices, blob_proxy: FaultProxy
    ) -> None:
        blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), target="discarded"))
        found = await status(open_behind_proxies())
        assert (found.verdict, found.discarded) == (Verdict.UNKNOWN, None)

    async def test_poison_messages_put_all_at_risk_and_discarded_ones_are_counted(
        self, protected: Services, reader: QueueReader
    ) -> None:
        await reader.put(b"not a message")
        await reader.drain(protected)
        await protected.state.write("discarded/1.json", {})
        found = await status(protected)
        assert texts(found, Verdict.AT_RISK) == ["1 request was given up on: see `snapkeep requests list`"]
        assert found.discarded == 1

    async def test_a_function_that_failed_last_puts_all_at_risk(self, protected: Services) -> None:
        now = second_of(datetime.now(UTC))
        failed = note("backup", result="failed", detail="it broke", started_at=now, finished_at=now)
        await protected.state.write("runs/backup.json", failed)
        assert texts(await status(protected), Verdict.AT_RISK) == [
            f"the last run of `backup` failed at {now}: it broke"
        ]


class TestPageInTheState:
    async def test_it_is_stored_as_html(self, protected: Services, backup_account: BlobServiceClient) -> None:
        await protected.state.write(DOCUMENTS["history"], history(point(1), point(0)))
        await write_page(protected)
        stored = await backup_account.get_blob_client(STATE_CONTAINER, PAGE).download_blob()
        text = (await stored.readall()).decode()
        assert stored.properties.content_settings.content_type == "text/html; charset=utf-8"
        assert "<title>protected: Snapkeep status</title>" in text
        assert text.count("<svg") == 2

    async def test_it_is_replaced_by_the_next(self, protected: Services, backup_account: BlobServiceClient) -> None:
        await write_page(protected)
        await protected.state.delete(DOCUMENTS["coverage"])
        await write_page(protected)
        stored = await backup_account.get_blob_client(STATE_CONTAINER, PAGE).download_blob()
        assert b"<title>unknown: Snapkeep status</title>" in await stored.readall()

    async def test_one_that_cannot_be_written_is_a_warning_and_no_failure(
        self,
        open_behind_proxies: OpenServices,
        blob_proxy: FaultProxy,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        rule = blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), method="PUT", target=PAGE))
        await write_page(open_behind_proxies())
        assert rule.hits == 1
        assert "the status page could not be written" in caplog.text


class TestCommand:
    async def test_all_protected_exits_with_0_and_says_so_line_by_line(
        self, protected: Services, settings_file: Path, container: ContainerClient
    ) -> None:
        run = snapkeep_status(settings_file)
        assert (run.returncode, run.stderr) == (0, "")
        lines = run.stdout.splitlines()
        assert lines[0].startswith("status: protected, as of ")
        assert (
            f"coverage: {container.container_name}: 2 blobs, 2 versions, 100 % protected, 0 missing, 0 unprotectable, "
            "oldest unprotected –, "
        ) in run.stdout
        assert "last protect: never ran" in lines
        assert "queue: 0 waiting; 0 given up on; 0 discarded" in lines

    @pytest.mark.parametrize(("fail_on", "code"), [("at-risk", 1), ("unknown", 1), ("never", 0)])
    async def test_the_unknown_exits_with_1_unless_told_otherwise(
        self, settings_file: Path, fail_on: str, code: int
    ) -> None:
        run = snapkeep_status(settings_file, "--fail-on", fail_on)
        assert (run.returncode, run.stdout.startswith("status: unknown")) == (code, True)

    @pytest.mark.parametrize(("fail_on", "code"), [(None, 1), ("at-risk", 1), ("unknown", 0), ("never", 0)])
    async def test_at_risk_exits_with_1_unless_only_the_unknown_is_asked_for(
        self, protected: Services, reader: QueueReader, settings_file: Path, fail_on: str | None, code: int
    ) -> None:
        await reader.put(b"not a message")
        await reader.drain(protected)
        run = snapkeep_status(settings_file, *(["--fail-on", fail_on] if fail_on else []))
        assert (run.returncode, run.stdout.startswith("status: at risk")) == (code, True)

    async def test_json_is_one_object(self, protected: Services, settings_file: Path) -> None:
        run = snapkeep_status(settings_file, "--json")
        document = json.loads(run.stdout)
        assert (run.returncode, document["verdict"], document["reasons"]) == (0, "protected", [])
        assert {"containers", "functions", "checks", "queue", "discarded", "total"} <= document.keys()

    async def test_html_is_written_to_the_file(self, protected: Services, settings_file: Path, tmp_path: Path) -> None:
        page = tmp_path / "status.html"
        assert snapkeep_status(settings_file, "--html", page).returncode == 0
        assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")

    async def test_a_file_that_cannot_be_written_is_one_line_and_1(self, settings_file: Path, tmp_path: Path) -> None:
        page = tmp_path / "none" / "status.html"
        run = snapkeep_status(settings_file, "--html", page, "--fail-on", "never")
        assert run.returncode == 1
        assert run.stderr == f"error: {page} could not be written: No such file or directory\n"

    def test_no_secret_is_in_what_it_says(self, environment: dict[str, str], tmp_path: Path) -> None:
        key = environment["BackupQueue"].split(ACCOUNT_KEY)[1].split(";")[0]
        wrong = f"{key[1:-2]}A=="
        broken = {name: value.replace(key, wrong) for name, value in environment.items()}
        settings_file = written(tmp_path / "broken.json", broken)
        page = tmp_path / "status.html"
        for arguments in ((), ("--json",), ("--html", page)):
            run = snapkeep_status(settings_file, *arguments)
            assert run.returncode == 1
            assert wrong not in run.stdout + run.stderr
            assert "unknown" in run.stdout
        assert wrong not in page.read_text(encoding="utf-8")

    @pytest.mark.parametrize("arguments", [("--watch", "0"), ("--watch", "soon"), ("--fail-on", "always")])
    def test_wrong_usage_exits_with_2(self, settings_file: Path, arguments: tuple[str, ...]) -> None:
        assert snapkeep_status(settings_file, *arguments).returncode == 2


@pytest.fixture
def watch(settings_file: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts to watch; what it started ends with the test, whatever became of it."""
    programs: list[subprocess.Popen[bytes]] = []

    def start(**streams: Any) -> subprocess.Popen[bytes]:
        command = [*COMMAND, "--settings", str(settings_file), "--watch", "0.1"]
        wide = os.environ | {"COLUMNS": "160", "LINES": "50", "TERM": "xterm-256color"}
        programs.append(subprocess.Popen(command, env=wide, **streams))
        return programs[-1]

    yield start
    for program in programs:
        program.kill()
        program.wait()


class TestWatch:
    async def test_in_a_pipe_it_prints_again_and_again_until_ctrl_c_which_is_good(
        self, protected: Services, watch: Callable[..., subprocess.Popen[bytes]]
    ) -> None:
        program = watch(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert program.stdout is not None
        looks = 0
        while looks < 3:
            line = await asyncio.to_thread(program.stdout.readline)
            assert line, "it ended by itself"
            looks += line.startswith(b"status: protected")
        program.send_signal(signal.SIGINT)
        _, errors = await asyncio.to_thread(program.communicate, timeout=90)
        assert (program.returncode, errors) == (0, b"")

    async def test_on_a_terminal_it_draws_the_tables_anew_until_ctrl_c(
        self, protected: Services, watch: Callable[..., subprocess.Popen[bytes]]
    ) -> None:
        master, slave = pty.openpty()
        program = watch(stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        drawn = await asyncio.to_thread(read_until, master, b"what it did", 3)
        program.send_signal(signal.SIGINT)
        await asyncio.to_thread(read_until, master, None, 0)
        assert await asyncio.to_thread(program.wait, 20) == 0
        os.close(master)
        assert b"protected" in drawn
        assert b"\x1b[" in drawn


def read_until(terminal: int, text: bytes | None, times: int) -> bytes:
    """What a terminal shows until it has shown a text so often; without a text, to its end."""
    shown = b""
    deadline = time.monotonic() + 120
    while text is None or shown.count(text) < times:
        assert time.monotonic() < deadline, shown
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux tells so that the other side is closed
            break
        if not part:
            break
        shown += part
    return shown

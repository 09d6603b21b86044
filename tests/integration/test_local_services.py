"""The local stack's commands: they answer, they stand beside each other, and they leave nothing behind."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import psutil
import pytest
import pytest_asyncio
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from local.stack import StackFailed, StackProcess

MARK = "SNAPKEEP_TEST_RUN"
APP = '''
import os, subprocess
import azure.functions as func

app = func.FunctionApp()

@app.route("setting/{name}", methods=["GET"])
def setting(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(os.environ.get(req.route_params["name"], "(unset)"))

@app.route("child", methods=["POST"])
def child(req: func.HttpRequest) -> func.HttpResponse:
    """Starts what would outlive us: in a session of its own, as azcopy runs."""
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    return func.HttpResponse(str(process.pid))
'''
Start = Callable[..., Awaitable[StackProcess]]


def descendants(mark: str) -> list[str]:
    """What still runs of a command that was started with `mark` in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:  # ended while it was looked at
            continue
    return found


async def until_nothing_is_left(mark: str) -> None:
    deadline = time.monotonic() + 10
    while left := descendants(mark):
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.05)


@pytest_asyncio.fixture
async def mark() -> AsyncIterator[str]:
    """Marks the processes of one test; whatever the test did, none of them is left."""
    mark = uuid.uuid4().hex
    yield mark
    await until_nothing_is_left(mark)


@pytest_asyncio.fixture
async def start(mark: str) -> AsyncIterator[Start]:
    """Starts a command, which is stopped when the test ends."""
    started = []

    async def start_one(command: str, *arguments: str, **settings: str) -> StackProcess:
        environment = {**os.environ, MARK: mark, **settings}
        process = await StackProcess.start(command, *arguments, environment=environment)
        started.append(process)
        return process

    yield start_one
    for process in reversed(started):
        await process.stop()


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "function_app.py").write_text(APP)
    (folder / "host.json").write_text(json.dumps({"version": "2.0"}))
    return folder


async def containers(connection_string: str) -> list[str]:
    async with BlobServiceClient.from_connection_string(connection_string, retry_total=0) as service:
        return [container.name async for container in service.list_containers()]


async def create_container(connection_string: str, name: str) -> None:
    async with BlobServiceClient.from_connection_string(connection_string, retry_total=0) as service:
        await service.create_container(name)


async def call(ready: dict[str, str], method: str, route: str) -> str:
    headers = {"x-functions-key": ready["function_key"]}
    url = f"{ready['functions']}/api/{route}"
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.text()


async def test_the_services_answer_with_two_accounts_queues_and_a_factory(start: Start) -> None:
    services = await start("services")
    assert set(services.ready) == {"source", "backup", "queue", "adf"}
    await create_container(services.ready["source"], "raw")
    assert await containers(services.ready["source"]) == ["raw"]
    assert await containers(services.ready["backup"]) == []
    async with QueueServiceClient.from_connection_string(services.ready["queue"], retry_total=0) as queues:
        await queues.create_queue("requests")
        assert [queue.name async for queue in queues.list_queues()] == ["requests"]
    async with aiohttp.ClientSession() as session, session.get(f"{services.ready['adf']}/standin/runs") as response:
        assert response.status == 200


async def test_a_second_stack_stands_beside_the_first(start: Start) -> None:
    first, second = await asyncio.gather(start("services"), start("services"))
    await create_container(first.ready["source"], "only-in-the-first")
    assert await containers(first.ready["source"]) == ["only-in-the-first"]
    assert await containers(second.ready["source"]) == []


@pytest.mark.parametrize(("command", "number"), [("up", signal.SIGINT), ("services", signal.SIGTERM)])
async def test_a_signal_stops_everything_with_exit_code_0(
    start: Start, mark: str, app: Path, command: str, number: signal.Signals
) -> None:
    stack = await start(command, *(["--app", str(app)] if command == "up" else []))
    if command == "up":
        await call(stack.ready, "POST", "child")
    os.kill(stack.pid, number)
    assert await stack.wait() == 0
    assert descendants(mark) == []


@pytest.mark.parametrize("command", ["services", "up"])
async def test_nothing_survives_the_kill_of_the_parent(start: Start, mark: str, app: Path, command: str) -> None:
    stack = await start(command, *(["--app", str(app)] if command == "up" else []))
    if command == "up":
        await call(stack.ready, "POST", "child")
    assert any("azurite" in running for running in descendants(mark))
    os.kill(stack.pid, signal.SIGKILL)
    await until_nothing_is_left(mark)


async def test_the_app_is_killed_and_restarted_while_storage_lives_on(
    start: Start, mark: str, app: Path, tmp_path: Path
) -> None:
    services = await start("services")
    await create_container(services.ready["source"], "raw")
    file = tmp_path / "services.json"
    file.write_text(json.dumps(services.ready))
    arguments = ["--services", str(file), "--port", "0", "--app", str(app)]
    host = await start("host", *arguments)
    child = int(await call(host.ready, "POST", "child"))
    await host.kill()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child):
        assert time.monotonic() < deadline, "what the app had started outlived it"
        await asyncio.sleep(0.02)
    again = await start("host", *arguments)
    assert await call(again.ready, "GET", "setting/SourceStorage") == services.ready["source"]
    assert await containers(services.ready["source"]) == ["raw"]


async def test_up_says_what_a_caller_needs_and_gives_the_app_its_settings(start: Start, app: Path) -> None:
    values = {"FROM_FILE": "file", "IN_BOTH": "file", "SourceStorage": "not this one"}
    settings = {"IsEncrypted": False, "Values": values}
    (app / "local.settings.json").write_text(json.dumps(settings))
    base = free_block()
    stack = await start("up", "--app", str(app), "--port-base", str(base), IN_BOTH="environment")
    keys = {"functions", "function_key", "master_key", "source", "backup", "queue", "adf"}
    assert set(stack.ready) == keys
    assert f"BlobEndpoint=http://127.0.0.1:{base}/source;" in stack.ready["source"]
    assert f"QueueEndpoint=http://127.0.0.1:{base + 1}/backup;" in stack.ready["queue"]
    assert stack.ready["adf"] == f"http://127.0.0.1:{base + 2}"
    assert stack.ready["functions"] == f"http://127.0.0.1:{base + 4}"
    assert await call(stack.ready, "GET", "setting/FROM_FILE") == "file"
    assert await call(stack.ready, "GET", "setting/IN_BOTH") == "environment"
    assert await call(stack.ready, "GET", "setting/SourceStorage") == stack.ready["source"]
    assert await call(stack.ready, "GET", "setting/BackupQueue") == stack.ready["queue"]
    assert await call(stack.ready, "GET", "setting/SNAPKEEP_ADF_ENDPOINT") == stack.ready["adf"]
    assert os.access(await call(stack.ready, "GET", "setting/AZCOPY_PATH"), os.X_OK)


async def test_data_in_a_folder_is_there_after_a_restart(start: Start, tmp_path: Path) -> None:
    first = await start("services", "--data", str(tmp_path / "data"))
    await create_container(first.ready["source"], "kept")
    assert await first.stop() == 0
    second = await start("services", "--data", str(tmp_path / "data"))
    assert await containers(second.ready["source"]) == ["kept"]


@pytest.mark.parametrize(("command", "offset"), [("services", 1), ("up", 4)])
async def test_a_taken_port_is_one_clear_error(mark: str, app: Path, command: str, offset: int) -> None:
    base = free_block()
    with socket.create_server(("127.0.0.1", base + offset)):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "local", command, "--port-base", str(base)),
            *(["--app", str(app)] if command == "up" else []),
            env={**os.environ, MARK: mark},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
    said = [line for line in errors.decode().splitlines() if line.startswith("error: ")]
    assert process.returncode == 2
    assert output == b""
    assert said[0].startswith(f"error: port {base + offset} is taken")
    assert b"Traceback" not in errors


async def test_an_app_that_cannot_start_ends_the_stack(start: Start, app: Path) -> None:
    (app / "function_app.py").write_text("raise RuntimeError('no such luck')")
    with pytest.raises(StackFailed) as failed:
        await start("up", "--app", str(app))
    assert failed.value.exit_code == 1


def free_block() -> int:
    """The first of five ports in a row that are free now, below those that the system gives out."""
    for base in range(20000 + os.getpid() % 1000 * 5, 32000, 5):
        try:
            for port in range(base, base + 5):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return base
    raise AssertionError("no five free ports in a row")

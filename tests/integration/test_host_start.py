"""The local Functions host's start: one clear message and exit code 1 for what is wrong, and nothing started."""

from __future__ import annotations

import json
import socket
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.host import HostOptions, HostStartError

if TYPE_CHECKING:
    from tests.integration.host_harness import Trial

pytest_plugins = ["tests.integration.host_harness"]

ONE_FUNCTION = """
    import azure.functions as func
    app = func.FunctionApp()
    @app.route(route="x")
    async def answer(req: func.HttpRequest) -> str:
        return "x"
"""


@pytest.fixture
def app_folder(tmp_path: Path) -> Path:
    """An app of one HTTP function, for tests to spoil."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "host.json").write_text('{"version": "2.0"}')
    write_app(folder, ONE_FUNCTION)
    return folder


def write_app(folder: Path, source: str) -> None:
    (folder / "function_app.py").write_text(textwrap.dedent(source))


async def message_of_failed_start(trial: Trial, app: Path) -> str:
    with pytest.raises(HostStartError) as caught:
        async with trial.host(app_path=app):
            pass
    return str(caught.value)


async def test_a_failed_start_is_one_message_and_exit_code_1(trial: Trial, app_folder: Path) -> None:
    write_app(app_folder, "class BadSettingsError(Exception): ...\nraise BadSettingsError('A is missing')")
    async with trial.host_process(app_folder) as process:
        assert (await process.stdout.read()).decode() == "A is missing\n"
        assert await process.wait() == 1


async def test_a_host_process_serves_once_it_says_so(trial: Trial, app_folder: Path) -> None:
    async with trial.host_process(app_folder) as process:
        for _ in range(10):
            line = await process.stdout.readline()
            if line.startswith(b"["):
                break
        url, master_key = json.loads(line)
        assert (await trial.call(url + "/api/x", key=master_key)).text == "x"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "class BadSettingsError(Exception): ...\nraise BadSettingsError('A is missing\\nB is not a number')",
            "A is missing\nB is not a number",
        ),
        (
            "x = 1\nimport nothing_like_this\n",
            "function_app.py cannot be loaded: ModuleNotFoundError: No module named 'nothing_like_this'"
            " (function_app.py, line 2)",
        ),
        ("x = 1\n", "function_app.py must define one FunctionApp at its top level, not 0"),
        (
            "import azure.functions as func\napp = func.FunctionApp()\n",
            "function_app.py defines no functions",
        ),
    ],
)
async def test_an_app_that_cannot_be_loaded_says_why(trial: Trial, app_folder: Path, source: str, message: str) -> None:
    write_app(app_folder, source)
    assert await message_of_failed_start(trial, app_folder) == message


async def test_a_binding_that_the_host_does_not_serve_is_named(trial: Trial, app_folder: Path) -> None:
    write_app(
        app_folder,
        """
        import azure.functions as func
        app = func.FunctionApp()
        @app.blob_trigger(arg_name="blob", path="a/b", connection="X")
        async def new_blob(blob: func.InputStream) -> None: ...
        """,
    )
    said = await message_of_failed_start(trial, app_folder)
    assert "function new_blob: this host does not know bindings of type blobTrigger" in said


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("HOST_APP_QUEUE", "", "function work: its queueTrigger names the setting HOST_APP_QUEUE, which is not set"),
        ("HOST_APP_QUEUE", "A_b", "function work: its queueTrigger names the queue 'A_b'"),
        ("BackupQueue", "", "connection BackupQueue is not set: put a connection string in BackupQueue, or a URL"),
        ("BackupQueue", "AccountKey=topsecret", "connection BackupQueue is not a storage connection string"),
        ("AzureWebJobsStorage", "", "connection AzureWebJobsStorage is not set"),
        ("HOST_APP_SCHEDULE", "*/5 * * * *", "function tick: '*/5 * * * *' is not a schedule: it has 5 field(s)"),
    ],
)
async def test_a_wrong_setting_is_named_with_what_to_do(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, message: str
) -> None:
    monkeypatch.setenv(setting, value)
    said = await message_of_failed_start(trial, trial.options.app_path)
    assert message in said
    assert "topsecret" not in said


async def test_a_port_that_is_taken_is_named(trial: Trial) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HostStartError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with trial.host(port=port):
                pass


async def test_no_key_shows_in_the_options(trial: Trial) -> None:
    assert trial.options.function_key not in repr(trial.options)
    assert trial.options.master_key not in repr(trial.options)


async def test_every_host_has_keys_of_its_own() -> None:
    assert HostOptions(Path()).master_key != HostOptions(Path()).master_key

"""The app as the Functions platform loads it: quickly, without a connection, and with exactly its four functions."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest
from azure.functions.decorators.function_app import Function
from hypothesis import example, given
from hypothesis import strategies as st

from function_app import app
from local.host.hostjson import read_host_json
from shared.errors import SettingsError
from shared.operations.runs import LEASED_RUN_MINUTES
from shared.runtime import SnapkeepApp
from shared.settings import Settings

ROOT = Path(__file__).parents[2]
SOURCE = "DefaultEndpointsProtocol=https;AccountName=source;AccountKey=a2V5"
BACKUP = SOURCE.replace("=source", "=backup")
ENVIRONMENT = {
    "SourceStorage": SOURCE,
    "BackupStorage": BACKUP,
    "BackupQueue": BACKUP,
    "AzureWebJobsStorage": BACKUP,
    "SNAPKEEP_ENGINE": "server",
    "SNAPKEEP_EXCLUDE_CONTAINERS": "*",
}
IMPORT_SECONDS = 2.0


def run(program: str) -> str:
    """What a fresh interpreter without any setting prints."""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={}, capture_output=True, text=True, check=True
    )
    return ended.stdout


@pytest.fixture(scope="module")
def functions() -> Iterator[dict[str, Function]]:
    """What the platform indexes, of an app of this module's own: it may be asked for once."""
    spec = importlib.util.spec_from_file_location("indexed_function_app", ROOT / "function_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        spec.loader.exec_module(module)
        yield {function.get_function_name(): function for function in module.app.get_functions()}


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {field.alias for field in Settings.model_fields.values() if field.alias}
    for name in names | ENVIRONMENT.keys():
        monkeypatch.delenv(name, raising=False)


class TestImport:
    def test_it_takes_less_than_two_seconds(self) -> None:
        # Of the processor's time: what else the machine does meanwhile is not the app's.
        program = "import time; import function_app; print(time.process_time())"
        times = []
        for _ in range(3):
            times.append(float(run(program)))
            if times[-1] < IMPORT_SECONDS:
                return
        pytest.fail(f"importing function_app took {times} seconds")

    def test_it_opens_no_connection_and_starts_nothing(self) -> None:
        program = """
import sys, threading
seen = []
watched = {"socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.posix_spawn", "os.fork"}
sys.addaudithook(lambda event, args: seen.append(event) if event in watched else None)
import function_app
print(seen, threading.active_count())
"""
        assert run(program).strip() == "[] 1"

    def test_it_leaves_out_what_is_slow_to_import_and_seldom_needed(self) -> None:
        program = (
            "import sys, function_app; print('azure.identity' in sys.modules, 'azure.mgmt.datafactory' in sys.modules)"
        )
        assert run(program).strip() == "False False"

    def test_it_writes_nothing(self) -> None:
        assert run("import function_app") == ""


class TestStart:
    @pytest.mark.usefixtures("no_settings")
    def test_without_settings_it_stops_with_one_message_that_names_them(self) -> None:
        with pytest.raises(SettingsError) as refused:
            app.get_functions()
        for name in ("SourceStorage", "BackupStorage", "BackupQueue", "AzureWebJobsStorage", "SNAPKEEP_ADF_FACTORY"):
            assert f"  {name}: missing" in str(refused.value)

    def test_it_holds_the_four_functions_of_the_contract(self, functions: dict[str, Function]) -> None:
        assert functions.keys() == {"protect", "backup", "sync", "reconcile"}
        trigger, answer = bindings(functions["protect"])
        assert (trigger["type"], trigger["route"], trigger["authLevel"]) == ("httpTrigger", "protect", "FUNCTION")
        assert trigger["methods"] == ["GET", "POST"]
        assert (answer["type"], answer["direction"]) == ("http", "OUT")
        (trigger,) = bindings(functions["backup"])
        assert (trigger["type"], trigger["queueName"]) == ("queueTrigger", "%SNAPKEEP_BACKUP_QUEUE%")
        assert trigger["connection"] == "BackupQueue"
        for name, setting in (("sync", "SNAPKEEP_SYNC_SCHEDULE"), ("reconcile", "SNAPKEEP_RECONCILE_SCHEDULE")):
            (trigger,) = bindings(functions[name])
            assert (trigger["type"], trigger["schedule"]) == ("timerTrigger", f"%{setting}%")
            assert not trigger.get("runOnStartup")
            assert trigger.get("useMonitor") is not False

    def test_nothing_is_opened_before_it_is_needed(self) -> None:
        assert SnapkeepApp()._opened is None


def bindings(function: Function) -> list[dict[str, Any]]:
    return [json.loads(binding) for binding in function.get_raw_bindings()]


class TestProtectEntryPoint:
    """Every call that is answered before the storage account is asked: settings keep all containers out here."""

    async def answer(
        self, functions: dict[str, Function], body: bytes, query: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        call = func.HttpRequest("POST", "https://app/api/protect", params=query, body=body)
        response = await functions["protect"].get_user_function()(call)
        assert response.mimetype == "application/json"
        document = json.loads(response.get_body())
        assert type(document) is dict
        return response.status_code, document

    @pytest.mark.parametrize(
        ("query", "status", "code"),
        [
            ({}, 400, "BadParameter"),
            ({"container": "Raw"}, 400, "BadParameter"),
            ({"container": "raw/../other"}, 400, "BadParameter"),
            ({"container": "https://other.blob.core.windows.net/raw"}, 400, "BadParameter"),
            ({"container": "x" * 100_000}, 400, "BadParameter"),
            ({"container": "raw", "account": "other"}, 400, "BadParameter"),
            ({"container": "raw"}, 403, "ContainerExcluded"),
            ({"container": "$logs"}, 403, "ContainerExcluded"),
            ({"container": "snapkeep-state"}, 403, "ContainerExcluded"),
            ({"container": "raw", "continuation": "x"}, 403, "ContainerExcluded"),
        ],
        ids=lambda value: str(value)[:60],
    )
    async def test_a_call_that_is_not_carried_out_says_why(
        self, functions: dict[str, Function], query: dict[str, str], status: int, code: str
    ) -> None:
        found, document = await self.answer(functions, b"", query)
        assert (found, document["error"]["code"]) == (status, code)
        assert len(document["error"]["message"]) < 300

    @given(
        st.binary(max_size=60)
        | st.dictionaries(st.sampled_from(["container", "prefix", "continuation", "x"]), st.text(st.characters())).map(
            lambda document: json.dumps(document).encode()
        ),
        st.dictionaries(st.sampled_from(["container", "prefix", "continuation", "code"]), st.text(max_size=9)),
    )
    @example(b'{"container": "\\ud800"}', {})
    async def test_whatever_is_sent_the_answer_is_a_json_object_and_4xx(
        self, functions: dict[str, Function], body: bytes, query: dict[str, str]
    ) -> None:
        status, document = await self.answer(functions, body, query)
        assert 400 <= status < 500
        assert document["error"].keys() == {"code", "message"}


class TestHostJson:
    HOST = read_host_json(ROOT / "host.json")
    DOCUMENT = json.loads((ROOT / "host.json").read_text())

    def test_a_message_that_fails_five_times_is_poisoned(self) -> None:
        assert self.HOST.queues.max_dequeue_count == 5

    def test_messages_are_base64_as_the_product_writes_them(self) -> None:
        assert self.HOST.queues.base64
        assert self.DOCUMENT["extensions"]["queues"]["messageEncoding"] == "base64"

    def test_the_route_is_the_one_of_the_contract(self) -> None:
        assert self.HOST.route_prefix == "api"

    def test_the_extension_bundle_is_4(self) -> None:
        bundle = self.DOCUMENT["extensionBundle"]
        assert bundle == {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"}

    def test_every_function_ends_by_itself_before_the_platform_ends_it(self) -> None:
        settings = Settings.load(ENVIRONMENT)
        timeout = self.HOST.function_timeout_seconds
        assert timeout is not None
        assert settings.sync_timeout_minutes * 60 < timeout
        assert settings.reconcile_budget_seconds < timeout
        assert timeout > LEASED_RUN_MINUTES * 60
        assert settings.protect_budget_seconds < 230

    def test_a_crashed_or_failed_message_comes_back_soon_and_instances_take_few_at_once(self) -> None:
        queues = self.HOST.queues
        assert 0 < queues.retry_delay_seconds <= 60
        assert queues.max_polling_seconds <= 60
        # Each message is many blobs, which are copied in parallel already.
        assert queues.batch_size + queues.new_batch_threshold <= 16
        assert queues.new_batch_threshold < queues.batch_size

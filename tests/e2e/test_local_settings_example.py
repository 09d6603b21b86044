"""`local.settings.json.example`, as it stands, fits the local stack on its default ports."""

import asyncio
import json
import os
import re
from pathlib import Path

import aiohttp

from local.app_environment import SETTINGS_FILE
from local.azurite import BACKUP, SOURCE, connection_string
from local.ports import DEFAULT_PORTS, LOOPBACK
from shared.settings import Settings
from tests.e2e.app import Ready, until_it_is
from tests.e2e.conftest import NewPair
from tests.e2e.programs import ROOT, Program

EXAMPLE = ROOT / f"{SETTINGS_FILE}.example"


def values() -> dict[str, str]:
    found: dict[str, str] = json.loads(EXAMPLE.read_text())["Values"]
    return found


def test_the_example_names_the_stack_on_its_default_ports() -> None:
    source, backup = (
        connection_string(account, DEFAULT_PORTS.blob, DEFAULT_PORTS.queue) for account in (SOURCE, BACKUP)
    )
    example = values()
    assert example["SourceStorage"] == source
    assert example["BackupStorage"] == example["BackupQueue"] == example["AzureWebJobsStorage"] == backup
    assert example["SNAPKEEP_ADF_ENDPOINT"] == f"http://{LOOPBACK}:{DEFAULT_PORTS.adf}"
    assert example["FUNCTIONS_WORKER_RUNTIME"] == "python"
    Settings.load(example)


async def test_an_app_with_the_example_as_its_settings_protects_a_blob(
    stack: Ready, folder: Path, new_pair: NewPair, tmp_path: Path
) -> None:
    app = tmp_path / "app"
    app.mkdir()
    for name in ("function_app.py", "shared", "host.json"):
        (app / name).symlink_to(folder / name)
    (app / SETTINGS_FILE).write_text(fitted(EXAMPLE.read_text(), stack))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SNAPKEEP_")}
    host = Program(*("host", "--app", str(app), "--port", "0"), environment=environment, log=tmp_path / "host.log")
    try:
        ready = await asyncio.to_thread(host.wait_until_ready)
        pair = await new_pair({"a.csv": b"one", "b.csv": b"two"})
        async with (
            aiohttp.ClientSession(headers={"x-functions-key": ready["function_key"]}) as session,
            session.post(f"{ready['functions']}/api/protect", json={"container": pair.name}) as answer,
        ):
            assert answer.status == 200, await answer.text()

        async def protected() -> bool:
            return await pair.problems() == []

        await until_it_is(protected, "the backups")
    finally:
        host.stop()


def fitted(settings: str, stack: Ready) -> str:
    """The settings for the session's stack, which has the default ports unless somebody else has taken them."""
    endpoint = r"{}Endpoint=http://127\.0\.0\.1:(\d+)/"
    for default, place, pattern in (
        (DEFAULT_PORTS.blob, stack["source"], endpoint.format("Blob")),
        (DEFAULT_PORTS.queue, stack["source"], endpoint.format("Queue")),
        (DEFAULT_PORTS.adf, stack["adf"], r":(\d+)$"),
    ):
        found = re.search(pattern, place)
        assert found is not None
        settings = re.sub(rf":{default}\b", f":{found[1]}", settings)
    return settings

"""No account key, SAS or function key is in anything that a run leaves behind or sends: logs, messages, state, reports,
telemetry.
"""

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from azure.storage.blob.aio import BlobServiceClient

from tests.e2e.app import Queue, Ready, plain, state_document, until
from tests.e2e.conftest import Control, NewApp, NewPair
from tests.ingestion import QUIET, Ingestion, ingestion

GZIP_MAGIC = b"\x1f\x8b"
SIGNATURE = re.compile(r"\bsig=(?!REDACTED)", re.IGNORECASE)


@pytest.fixture
async def telemetry() -> AsyncIterator[Ingestion]:
    async with ingestion() as taken:
        yield taken


def secrets_of(stack: Ready) -> set[str]:
    return {key for text in stack.values() for key in re.findall(r"AccountKey=([^;]+)", text)}


def leaks(artefacts: dict[str, str], secrets: set[str]) -> list[str]:
    return [
        f"{name}: {found}"
        for name, text in artefacts.items()
        for found in [*(secret for secret in secrets if secret in text), *SIGNATURE.findall(text)]
    ]


async def test_no_secret_is_in_any_artefact_of_a_run(
    stack: Ready,
    new_app: NewApp,
    new_pair: NewPair,
    backup_account: BlobServiceClient,
    control: Control,
    telemetry: Ingestion,
) -> None:
    mark = f"sec-{uuid4().hex[:8]}"
    # By both engines, with a failure of each kind that ends in a report or in the poison queue, and by azcopy.
    pair = await new_pair({"small.csv": b"one", "large.bin": b"2" * 2000, "foreign.csv": b"three"}, f"{mark}-raw")
    lake = await new_pair({"a.csv": b"lake"}, f"{mark}-lake")
    properties = await pair.source.get_blob_client("foreign.csv").get_blob_properties()
    await pair.backups.create_container()
    stamp = f"{properties.last_modified:%Y%m%dT%H%M%SZ}-{properties.etag.strip(chr(34))}"
    await pair.backups.upload_blob(f"foreign.csv/{stamp}.csv", b"not a backup at all")
    await control("fail-runs", count=1)
    app = new_app(
        APPLICATIONINSIGHTS_CONNECTION_STRING=telemetry.connection_string,
        **QUIET,
        SNAPKEEP_ENGINE="auto",
        SNAPKEEP_ADF_MIN_BYTES="1000",
        SNAPKEEP_INCLUDE_CONTAINERS=f"{mark}-*",
        # The second pair's source does not exist: a run of azcopy's that fails.
        SNAPKEEP_SYNC_CONTAINERS=f"{lake.name}:{mark}-mirror,{mark}-missing",
    )
    async with Queue(stack["queue"], app) as queue:
        await app.start_beside()
        await app.protect(pair.name)
        await app.call("POST", "/api/protect", key="", json={"container": pair.name})
        await app.call("POST", f"/api/protect?code={app.function_key}&container=nobody-made-this", key="")
        messages = [plain(text) for text in await queue.texts()]
        await queue.poisoned(pair.name)
        for function, report in (("reconcile", "reports/latest.json"), ("sync", "reports/sync-latest.json")):
            await app.start_by_hand(function)
            await until(lambda: f"Executed {function}" in app.log, f"the end of {function}")  # noqa: B023 -- called here
            assert mark in json.dumps(await state_document(stack, report))
        await queue.drained()
        messages += [plain(text) for text in await queue.texts()]
    await asyncio.to_thread(app.host.stop)

    artefacts = {"log": app.log, "messages": "\n".join(messages), "telemetry": json.dumps(telemetry.items)}
    state = backup_account.get_container_client("snapkeep-state")
    async for blob in state.list_blobs():
        content = await (await state.download_blob(blob.name)).readall()
        artefacts[blob.name] = (gzip.decompress(content) if content.startswith(GZIP_MAGIC) else content).decode()
    assert "is not the backup of that version" in artefacts["messages"]
    assert any(name.startswith("reports/reconcile-") for name in artefacts)
    assert "Executed sync (failed" in app.log
    assert {attributes["function"] for name, _, attributes in telemetry.metrics() if name == "snapkeep.runs"} == {
        *("protect", "backup", "reconcile", "sync")
    }
    spans = {span["data"]["baseData"]["name"] for span in telemetry.spans()}
    assert spans >= {"protect", "backup", "copy", "settle run", "reconcile", "reconcile container", "sync", "azcopy"}
    line = re.search(rf"protect {pair.name}: 3 scanned.*", app.log)
    assert line is not None
    assert re.search(rf"\[function=protect invocation=\S+ container={pair.name}\]", line[0])
    assert re.search(rf"sync {lake.name} to .*\[function=sync invocation=\S+ container={lake.name}\]", app.log)
    assert re.search(r"reconcile (\w+): complete: .*\[function=reconcile invocation=\S+ run=\1\]", app.log)
    secrets = secrets_of(stack) | {app.function_key, app.master_key}
    assert len(secrets) == 4
    assert leaks(artefacts, secrets) == []
    # The search itself finds what it is there for.
    key = next(iter(secrets))
    planted = {"log": f"x {key} y", "report": "https://a/b?sv=1&sig=abc"}
    assert leaks(planted, secrets) == [f"log: {key}", "report: sig="]

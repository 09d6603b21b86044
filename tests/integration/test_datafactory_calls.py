"""The example pipeline that ingests and then has Snapkeep protect, against an app that answers as a test likes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from azure.storage.blob.aio import BlobServiceClient

from local.datafactory import DataFactoryStandIn

DEFINITIONS = Path(__file__).parents[2] / "infra" / "datafactory"
FACTORY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.DataFactory/factories/f"
API_VERSION = "api-version=2018-06-01"
SECONDS_TO_WAIT = 20

Ready = dict[str, str]
Answers = list[tuple[int, Any]]
Run = dict[str, Any]
Ingest = Callable[..., Awaitable[Run]]


class StubApp:
    """Answers each call with the next of `answers`, and keeps what it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: Answers = []
        self.bodies: list[Any] = []
        self.keys: list[str | None] = []
        application = web.Application()
        application.router.add_post("/api/protect", self._protect)
        self.server = TestServer(application)

    async def _protect(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        self.keys.append(request.headers.get("x-functions-key"))
        status, document = self.answers[min(len(self.bodies), len(self.answers)) - 1]
        return web.json_response(document, status=status)


def answer(**changes: Any) -> dict[str, Any]:
    return {"failed": [], "complete": True, "continuation": None} | changes


@pytest.fixture
async def app() -> AsyncIterator[StubApp]:
    stub = StubApp()
    await stub.server.start_server()
    stub.url = str(stub.server.make_url(""))
    yield stub
    await stub.server.close()


@pytest.fixture
async def ingest(stack: Ready, source_account: BlobServiceClient, app: StubApp) -> AsyncIterator[Ingest]:
    """Runs the pipeline for one blob to its end, and gives the run."""
    stand_in = DataFactoryStandIn(
        DEFINITIONS,
        {"SourceStorage": stack["source"], "BackupStorage": stack["backup"]},
        retry_interval_scale=0.0001,
    )
    await stand_in.start()
    landing = await source_account.create_container(f"landing-{uuid4().hex[:8]}")
    raw = await source_account.create_container(f"raw-{uuid4().hex[:8]}")
    await landing.upload_blob("day.csv", b"ingested")

    async def run(prefix: str = "", blob: str = "day.csv", *, found: bool = True) -> Run:
        if found:
            stand_in.find_function_app("SnapkeepApp", app.url, "the key")
        parameters = {
            "landing_container": landing.container_name,
            "container": raw.container_name,
            "blob": blob,
            "prefix": prefix,
        }
        api = f"{stand_in.url}{FACTORY}"
        async with aiohttp.ClientSession() as session, asyncio.timeout(SECONDS_TO_WAIT):
            start = f"{api}/pipelines/ingest_and_protect/createRun?{API_VERSION}"
            async with session.post(start, json=parameters) as created:
                run_id = (await created.json())["runId"]
            ended: Run = {"status": "Queued"}
            while ended["status"] in {"Queued", "InProgress"}:
                async with session.get(f"{api}/pipelineruns/{run_id}?{API_VERSION}") as shown:
                    ended = await shown.json()
        content = b""
        if await raw.get_blob_client(blob).exists():
            content = await (await raw.download_blob(blob)).readall()
        return ended | {"content": content, "container": raw.container_name}

    try:
        yield run
    finally:
        await stand_in.stop()


async def test_it_ingests_and_calls_protect_until_the_answer_is_complete(ingest: Ingest, app: StubApp) -> None:
    app.answers = [
        (202, answer(complete=False, continuation="one")),
        (202, answer(complete=False, continuation="two")),
        (200, answer()),
    ]
    run = await ingest(prefix='a "b"\\c/')
    assert (run["status"], run["message"], run["content"]) == ("Succeeded", "", b"ingested")
    sent = {"container": run["container"], "prefix": 'a "b"\\c/'}
    assert app.bodies == [sent | {"continuation": each} for each in ("", "one", "two")]
    assert set(app.keys) == {"the key"}


async def test_it_fails_with_the_names_of_blobs_that_could_not_be_protected(ingest: Ingest, app: StubApp) -> None:
    failed = [{"name": 'a "b".csv', "reason": "it is archived"}]
    app.answers = [(202, answer(complete=False, continuation="one", failed=failed)), (200, answer())]
    run = await ingest()
    assert run["status"] == "Failed"
    assert f"Snapkeep could not protect all of {run['container']}" in run["message"]
    assert "it is archived" in run["message"]
    assert len(app.bodies) == 2, "one bad blob must not keep the rest of the container from being protected"


async def test_it_fails_with_what_the_app_said_when_a_call_is_refused(ingest: Ingest, app: StubApp) -> None:
    app.answers = [(403, {"error": {"code": "excluded", "message": "the settings exclude it"}})]
    run = await ingest()
    assert run["status"] == "Failed"
    assert "the settings exclude it" in run["message"]
    assert len(app.bodies) == 3, "the activity's policy tries twice more, and then the loop ends"


async def test_a_call_that_works_at_the_second_attempt_is_good_enough(ingest: Ingest, app: StubApp) -> None:
    app.answers = [(502, {"error": {"code": "storage_failed", "message": "busy"}}), (200, answer())]
    assert (await ingest())["status"] == "Succeeded"


@pytest.mark.parametrize("document", [[], "text", None])
async def test_it_fails_when_the_answer_is_no_object(ingest: Ingest, app: StubApp, document: Any) -> None:
    app.answers = [(200, document)]
    run = await ingest()
    assert run["status"] == "Failed"
    assert "not a valid JObject" in run["message"]


async def test_it_protects_nothing_when_there_was_nothing_to_ingest(ingest: Ingest, app: StubApp) -> None:
    run = await ingest(blob="missing.csv")
    assert run["status"] == "Failed"
    assert "Operation on target Ingest failed" in run["message"]
    assert app.bodies == []


async def test_it_fails_when_the_app_cannot_be_reached(ingest: Ingest, app: StubApp) -> None:
    run = await ingest(found=False)
    assert run["status"] == "Failed"
    assert "SnapkeepApp" in run["message"]
    await app.server.close()
    run = await ingest()
    assert run["status"] == "Failed"
    assert json.dumps("the key") not in run["message"]

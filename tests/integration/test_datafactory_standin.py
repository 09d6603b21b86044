"""The Data Factory stand-in, driven by the real management client, runs the shipped pipeline on Azurite."""

import asyncio
import hashlib
import json
import shutil
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio
from azure.core.credentials import AccessToken
from azure.core.exceptions import (
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.datafactory.aio import DataFactoryManagementClient
from azure.mgmt.datafactory.models import PipelineRun, RunFilterParameters, RunQueryFilter
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from local.azurite import BACKUP, SOURCE, Azurite, connection_string
from local.datafactory import DataFactoryStandIn

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEFINITIONS = Path(__file__).parents[2] / "infra" / "datafactory"
FACTORY = ("any-group", "any-factory")
SECONDS_TO_WAIT = 20

HARD_NAMES = [
    "plain.csv",
    "a/b/c.csv",
    "/leading",
    "//doubled//slashes",
    "trailing/",
    " spaces at both ends ",
    "trailing dot.",
    "...",
    "a/.../b",
    'double"quote',
    "single'quote",
    "back\\slash",
    "per%cent",
    "%41",
    "hash#mark",
    "question?mark",
    "plus+and&equals=",
    "semi;colon,comma",
    "[brackets]{braces}",
    "*star*",
    "<less>",
    "emoji \U0001f600",
    "combining e\u0301 and \u00e9",
    "right-to-left \u05d0\u05d1",
    "@item().source",
    "@{pipeline().RunId}",
    "@@escaped",
    "@concat('a', 'b')",
    "'); drop",
    "x" * 1024,
]


class NoCredential:
    """The stand-in asks for no token; asking for one is an error."""

    async def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        raise AssertionError("a token was asked for")

    async def close(self) -> None:
        """Nothing to close."""

    async def __aenter__(self) -> "NoCredential":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connections() -> AsyncIterator[dict[str, str]]:
    azurite = Azurite()
    await azurite.start()
    try:
        yield {
            "SourceStorage": connection_string(SOURCE, azurite.blob_port, azurite.queue_port),
            "BackupStorage": connection_string(BACKUP, azurite.blob_port, azurite.queue_port),
        }
    finally:
        await azurite.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def stand_in(connections: dict[str, str]) -> AsyncIterator[DataFactoryStandIn]:
    stand_in = DataFactoryStandIn(DEFINITIONS, connections, retry_interval_scale=0.001, page_size=2)
    await stand_in.start()
    try:
        yield stand_in
    finally:
        await stand_in.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def factory(stand_in: DataFactoryStandIn) -> AsyncIterator[DataFactoryManagementClient]:
    async with DataFactoryManagementClient(
        NoCredential(),
        str(uuid4()),
        base_url=stand_in.url,
        authentication_policy=SansIOHTTPPolicy(),
        retry_total=0,
    ) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def source(connections: dict[str, str]) -> AsyncIterator[ContainerClient]:
    async with BlobServiceClient.from_connection_string(connections["SourceStorage"]) as account:
        yield await account.create_container(f"raw-{uuid4()}")


@pytest_asyncio.fixture(loop_scope="module")
async def staging(connections: dict[str, str]) -> AsyncIterator[ContainerClient]:
    async with BlobServiceClient.from_connection_string(connections["BackupStorage"]) as account:
        yield await account.create_container(f"staging-{uuid4()}")


def parameters(
    source: ContainerClient, staging: ContainerClient, names: list[str], request_id: str = "r1"
) -> dict[str, Any]:
    return {
        "container": source.container_name,
        "staging_container": staging.container_name,
        "request_id": request_id,
        "blobs": [{"source": name, "staged": f"{index:04}"} for index, name in enumerate(names)],
    }


async def start(factory: DataFactoryManagementClient, given: dict[str, Any]) -> str:
    return (await factory.pipelines.create_run(*FACTORY, "backup_blobs", given)).run_id


async def until(factory: DataFactoryManagementClient, run_id: str, *states: str) -> PipelineRun:
    deadline = time.monotonic() + SECONDS_TO_WAIT
    while (run := await factory.pipeline_runs.get(*FACTORY, run_id)).status not in states:
        assert time.monotonic() < deadline, f"still {run.status}: {run.message}"
        await asyncio.sleep(0.02)
    return run


async def ended(factory: DataFactoryManagementClient, run_id: str) -> PipelineRun:
    return await until(factory, run_id, "Succeeded", "Failed", "Cancelled")


def last_hour(*filters: RunQueryFilter, token: str | None = None) -> RunFilterParameters:
    now = datetime.now(UTC)
    return RunFilterParameters(
        last_updated_after=now - timedelta(hours=1),
        last_updated_before=now + timedelta(minutes=1),
        filters=list(filters),
        continuation_token=token,
    )


async def content(container: ContainerClient, name: str) -> bytes:
    return await (await container.download_blob(name)).readall()


async def names_in(container: ContainerClient) -> list[str]:
    return [name async for name in container.list_blob_names()]


async def test_blobs_with_hard_names_are_copied_byte_exactly(
    factory: DataFactoryManagementClient, source: ContainerClient, staging: ContainerClient
) -> None:
    for name in HARD_NAMES:
        await source.upload_blob(name, f"content of {name}".encode())
    given = parameters(source, staging, HARD_NAMES)
    for blob in given["blobs"]:
        blob["staged"] = blob["source"]

    run = await ended(factory, await start(factory, given))

    assert run.status == "Succeeded"
    # The service turns backslashes into slashes: so says Azurite's blobStorageContext.middleware of Azure.
    assert sorted(await names_in(staging)) == sorted(name.replace("\\", "/") for name in HARD_NAMES)
    for name in HARD_NAMES:
        assert await content(staging, name) == f"content of {name}".encode()


async def test_a_copy_keeps_headers_and_metadata_and_writes_the_md5(
    factory: DataFactoryManagementClient, source: ContainerClient, staging: ContainerClient
) -> None:
    headers = ContentSettings(
        content_type="text/csv",
        content_encoding="identity",
        content_language="de",
        content_disposition="inline",
        cache_control="no-store",
    )
    await source.upload_blob("a", b"data", content_settings=headers, metadata={"owner": "anna"})

    await ended(factory, await start(factory, parameters(source, staging, ["a"])))

    copied = await staging.get_blob_client("0000").get_blob_properties()
    settings = copied.content_settings
    assert copied.metadata == {"owner": "anna"}
    assert bytes(settings.content_md5 or b"") == hashlib.md5(b"data", usedforsecurity=False).digest()
    assert (settings.content_type, settings.content_encoding, settings.content_language) == (
        "text/csv",
        "identity",
        "de",
    )
    assert (settings.content_disposition, settings.cache_control) == ("inline", "no-store")


async def test_a_blob_of_several_blocks_and_an_empty_one_arrive_whole(
    factory: DataFactoryManagementClient, source: ContainerClient, staging: ContainerClient
) -> None:
    large = bytes(range(256)) * 4096 * 9 + b"end"
    await source.upload_blob("large", large)
    await source.upload_blob("empty", b"")

    run = await ended(factory, await start(factory, parameters(source, staging, ["large", "empty"])))

    assert run.status == "Succeeded"
    assert await content(staging, "0000") == large
    assert await content(staging, "0001") == b""


async def test_a_blob_that_fails_is_tried_twice_and_does_not_stop_the_others(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    await source.upload_blob("good", b"1")
    await source.upload_blob("other", b"2")

    run_id = await start(factory, parameters(source, staging, ["good", "missing", "other"]))
    run = await ended(factory, run_id)

    assert run.status == "Succeeded"
    assert await names_in(staging) == ["0000", "0002"]
    assert stand_in.runs[0].variables == {"failed": ["missing"]}
    failures = RunQueryFilter(operand="Status", operator="Equals", values_property=["Failed"])
    found = (await factory.activity_runs.query_by_pipeline_run(*FACTORY, run_id, last_hour(failures))).value
    assert [each.activity_name for each in found] == ["Copy blob", "Copy blob"]
    error: dict[str, str] = found[0].error or {}
    assert error["errorCode"] == "2200"
    assert "UserErrorSourceBlobNotExist" in error["message"]


@pytest.mark.parametrize("name", [".", "..", "a/../b", "../other/secret", "a/."])
async def test_a_name_with_dot_segments_fails_and_touches_no_other_blob(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
    name: str,
) -> None:
    await source.upload_blob("b", b"not this one")

    await ended(factory, await start(factory, parameters(source, staging, [name])))

    assert stand_in.runs[0].variables == {"failed": [name]}
    assert await names_in(staging) == []


async def test_a_copy_into_a_container_that_is_gone_fails(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    await source.upload_blob("a", b"1")
    await staging.delete_container()

    await ended(factory, await start(factory, parameters(source, staging, ["a"])))

    assert stand_in.runs[0].variables == {"failed": ["a"]}


async def test_a_copy_overwrites_what_is_there(
    factory: DataFactoryManagementClient, source: ContainerClient, staging: ContainerClient
) -> None:
    await source.upload_blob("a", b"new")
    await staging.upload_blob("0000", b"old and longer", metadata={"old": "yes"})

    await ended(factory, await start(factory, parameters(source, staging, ["a"])))

    assert await content(staging, "0000") == b"new"
    assert (await staging.get_blob_client("0000").get_blob_properties()).metadata == {}


async def test_a_source_that_changes_under_the_copy_fails_that_attempt_and_the_next_copies_the_new_content(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    await source.upload_blob("a", b"before")
    stand_in.controls.hold_copies("before_commit", "a")
    run_id = await start(factory, parameters(source, staging, ["a"]))
    await stand_in.controls.wait_for_held_copies()
    await source.upload_blob("a", b"after!", overwrite=True)
    stand_in.controls.release_copies()

    await ended(factory, run_id)

    _, first, second = stand_in.runs[0].activities
    assert (first.status, second.status) == ("Failed", "Succeeded")
    assert "DataConsistencySourceDataChanged" in first.error["message"]
    assert await content(staging, "0000") == b"after!"


async def test_a_source_that_is_deleted_under_the_copy_leaves_nothing_in_the_staging_container(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    await source.upload_blob("a", b"before")
    stand_in.controls.hold_copies("before_commit", "a")
    run_id = await start(factory, parameters(source, staging, ["a"]))
    await stand_in.controls.wait_for_held_copies()
    await source.delete_blob("a")
    stand_in.controls.release_copies()

    await ended(factory, run_id)

    assert stand_in.runs[0].variables == {"failed": ["a"]}
    assert await names_in(staging) == []


async def test_a_source_that_changed_before_the_copy_is_copied_as_it_is_then(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    await source.upload_blob("a", b"version 1")
    stand_in.controls.hold_copies("before_reading")
    run_id = await start(factory, parameters(source, staging, ["a"]))
    await stand_in.controls.wait_for_held_copies()
    await source.upload_blob("a", b"version 2", overwrite=True)
    stand_in.controls.release_copies()

    assert (await ended(factory, run_id)).status == "Succeeded"
    assert await content(staging, "0000") == b"version 2"


async def test_twenty_blobs_are_copied_at_a_time(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    names = [f"{index:02}" for index in range(25)]
    for name in names:
        await source.upload_blob(name, b"x")
    stand_in.controls.hold_copies("before_reading")
    run_id = await start(factory, parameters(source, staging, names))

    assert len(await stand_in.controls.wait_for_held_copies(20)) == 20
    stand_in.controls.release_copies()

    await ended(factory, run_id)
    assert len(await names_in(staging)) == 25


async def test_a_run_that_is_cancelled_leaves_nothing_half_written(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    await source.upload_blob("a", b"1")
    stand_in.controls.hold_copies("before_commit")
    run_id = await start(factory, parameters(source, staging, ["a"]))
    await stand_in.controls.wait_for_held_copies()

    await factory.pipeline_runs.cancel(*FACTORY, run_id)
    run = await until(factory, run_id, "Cancelled")

    assert run.run_end is not None
    assert await names_in(staging) == []
    assert {each.status for each in stand_in.runs[0].activities} == {"Cancelled"}
    with pytest.raises(HttpResponseError) as refused:
        await factory.pipeline_runs.cancel(*FACTORY, run_id)
    assert refused.value.status_code == 400


async def test_held_runs_stay_queued_and_can_be_cancelled_or_released(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    stand_in.controls.hold_runs()
    given = parameters(source, staging, [])
    cancelled, released = await start(factory, given), await start(factory, given)
    assert (await factory.pipeline_runs.get(*FACTORY, released)).status == "Queued"

    await factory.pipeline_runs.cancel(*FACTORY, cancelled)
    await until(factory, cancelled, "Cancelled")
    stand_in.controls.release_runs()

    assert (await ended(factory, released)).status == "Succeeded"


async def test_runs_past_the_limit_wait_in_the_queue(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    await source.upload_blob("a", b"1")
    stand_in.controls.limit_concurrent_runs(1)
    stand_in.controls.hold_copies("before_reading")
    first = await start(factory, parameters(source, staging, ["a"]))
    await stand_in.controls.wait_for_held_copies()
    second = await start(factory, parameters(source, staging, ["a"]))
    assert (await factory.pipeline_runs.get(*FACTORY, second)).status == "Queued"

    stand_in.controls.release_copies()

    assert (await ended(factory, first)).status == "Succeeded"
    assert (await ended(factory, second)).status == "Succeeded"


async def test_a_throttled_create_run_starts_nothing(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    stand_in.controls.throttle_create_run(1, retry_after_seconds=7)
    answers: list[Any] = []
    with pytest.raises(HttpResponseError) as throttled:
        await factory.pipelines.create_run(
            *FACTORY, "backup_blobs", parameters(source, staging, []), raw_response_hook=answers.append
        )
    assert throttled.value.status_code == 429
    assert answers[0].http_response.headers["Retry-After"] == "7"
    assert stand_in.runs == []

    await start(factory, parameters(source, staging, []))
    assert len(stand_in.runs) == 1


async def test_a_run_whose_answer_was_lost_is_found_by_its_parameters(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    await start(factory, parameters(source, staging, [], request_id="another"))
    stand_in.controls.lose_create_run_answers(1)
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        await start(factory, parameters(source, staging, [], request_id="lost one"))

    runs = (await factory.pipeline_runs.query_by_factory(*FACTORY, last_hour())).value
    mine = [run for run in runs if (run.parameters or {})["request_id"] == "lost one"]
    assert len(mine) == 1
    assert json.loads((mine[0].parameters or {})["blobs"]) == []
    assert (await ended(factory, str(mine[0].run_id))).status == "Succeeded"


async def test_a_create_run_answered_with_an_error_can_have_started_a_run(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    stand_in.controls.lose_create_run_answers(1, status=503)
    with pytest.raises(HttpResponseError) as lost:
        await start(factory, parameters(source, staging, []))
    assert lost.value.status_code == 503
    assert len(stand_in.runs) == 1


async def test_a_query_lags_behind_when_told_to(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    stand_in.controls.lag_queries(3600)
    run_id = await start(factory, parameters(source, staging, []))
    assert (await factory.pipeline_runs.query_by_factory(*FACTORY, last_hour())).value == []
    stand_in.controls.lag_queries(0)
    found = (await factory.pipeline_runs.query_by_factory(*FACTORY, last_hour())).value
    assert [run.run_id for run in found] == [run_id]


async def test_queries_filter_and_page(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    stand_in.controls.fail_runs(2, "broken on purpose")
    ids = [await start(factory, parameters(source, staging, [])) for _ in range(5)]
    states = [(await ended(factory, run_id)).status for run_id in ids]
    assert states == ["Failed", "Failed", "Succeeded", "Succeeded", "Succeeded"]

    pages = []
    token: str | None = None
    while True:
        answer = await factory.pipeline_runs.query_by_factory(*FACTORY, last_hour(token=token))
        pages.append([run.run_id for run in answer.value])
        token = answer.continuation_token
        if not token:
            break
    assert pages == [ids[0:2], ids[2:4], ids[4:5]]

    failed = RunQueryFilter(operand="Status", operator="In", values_property=["Failed", "Cancelled"])
    found = (await factory.pipeline_runs.query_by_factory(*FACTORY, last_hour(failed))).value
    assert [(run.run_id, run.message) for run in found] == [(each, "broken on purpose") for each in ids[:2]]
    other = RunQueryFilter(operand="PipelineName", operator="NotEquals", values_property=["backup_blobs"])
    assert (await factory.pipeline_runs.query_by_factory(*FACTORY, last_hour(other))).value == []
    past = RunFilterParameters(
        last_updated_after=datetime(2020, 1, 1, tzinfo=UTC),
        last_updated_before=datetime(2020, 1, 2, tzinfo=UTC),
    )
    assert (await factory.pipeline_runs.query_by_factory(*FACTORY, past)).value == []


async def test_a_query_by_what_the_stand_in_does_not_know_is_refused(
    factory: DataFactoryManagementClient,
) -> None:
    unknown = RunQueryFilter(operand="LatestOnly", operator="Equals", values_property=["true"])
    with pytest.raises(HttpResponseError, match="operand must be"):
        await factory.pipeline_runs.query_by_factory(*FACTORY, last_hour(unknown))


async def test_a_forgotten_run_is_gone(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    run_id = await start(factory, parameters(source, staging, []))
    await ended(factory, run_id)

    stand_in.controls.forget_run(run_id)

    with pytest.raises(ResourceNotFoundError):
        await factory.pipeline_runs.get(*FACTORY, run_id)
    assert (await factory.pipeline_runs.query_by_factory(*FACTORY, last_hour())).value == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "has no parameter colour"),
        ({"container": None}, "container of pipeline backup_blobs must be of type String"),
        ({"blobs": "not an array"}, "blobs of pipeline backup_blobs must be of type Array"),
    ],
)
async def test_parameters_that_do_not_fit_are_refused(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
    change: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(HttpResponseError, match=message) as refused:
        await start(factory, parameters(source, staging, []) | change)
    assert refused.value.status_code == 400
    with pytest.raises(HttpResponseError, match="needs a value for blobs, container"):
        await start(factory, {"staging_container": "x", "request_id": "y"})
    assert stand_in.runs == []


async def test_an_item_without_a_name_fails_alone_and_says_what_is_missing(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    await source.upload_blob("a", b"1")
    given = parameters(source, staging, ["a"])
    given["blobs"].append({"source": "a"})

    await ended(factory, await start(factory, given))

    assert stand_in.runs[0].variables == {"failed": ["a"]}
    assert await names_in(staging) == ["0000"]
    errors = [str(each.error["message"]) for each in stand_in.runs[0].activities if each.error]
    assert "property 'staged' doesn't exist, available properties are ['source']" in errors[0]


async def test_rerunning_an_earlier_run_is_refused(
    factory: DataFactoryManagementClient, source: ContainerClient, staging: ContainerClient
) -> None:
    with pytest.raises(HttpResponseError, match="referencePipelineRunId"):
        await factory.pipelines.create_run(
            *FACTORY, "backup_blobs", parameters(source, staging, []), reference_pipeline_run_id="x"
        )
    with pytest.raises(ResourceNotFoundError, match="no pipeline other"):
        await factory.pipelines.create_run(*FACTORY, "other", {})


async def test_the_pipeline_can_be_read_back(factory: DataFactoryManagementClient) -> None:
    pipeline = await factory.pipelines.get(*FACTORY, "backup_blobs")
    assert pipeline is not None
    assert set(pipeline.properties.parameters or {}) == {
        "container",
        "staging_container",
        "request_id",
        "blobs",
    }
    assert [each.name async for each in factory.pipelines.list_by_factory(*FACTORY)] == [
        "backup_blobs",
        "ingest_and_protect",
    ]


async def test_controls_are_reachable_from_another_process(
    stand_in: DataFactoryStandIn,
    factory: DataFactoryManagementClient,
    source: ContainerClient,
    staging: ContainerClient,
) -> None:
    await source.upload_blob("a", b"1")
    async with aiohttp.ClientSession(stand_in.url) as session:

        async def control(name: str, **arguments: Any) -> SimpleNamespace:
            async with session.post(f"/standin/{name}", json=arguments) as answer:
                return SimpleNamespace(status=answer.status, body=await answer.json())

        assert (await control("hold-copies", point="before_reading", source="a")).status == 200
        run_id = await start(factory, parameters(source, staging, ["a"]))
        await stand_in.controls.wait_for_held_copies()
        async with session.get("/standin/state") as answer:
            held = (await answer.json())["held_copies"]
        assert held == [{"run_id": run_id, "source": "a", "point": "before_reading"}]
        assert (await control("reset")).body["holds"] == []
        await ended(factory, run_id)

        async with session.get("/standin/runs") as answer:
            (shown,) = (await answer.json())["runs"]
        assert shown["parameters"]["blobs"] == [{"source": "a", "staged": "0000"}]
        assert [each["name"] for each in shown["activities"]] == ["For each blob", "Copy blob"]
        assert shown["factory_id"].endswith(
            "/resourceGroups/any-group/providers/Microsoft.DataFactory/factories/any-factory"
        )

        assert (await control("explode")).status == 404
        for arguments in ({}, {"count": "two"}, {"count": True}, {"count": 1, "colour": "red"}):
            assert (await control("throttle-create-run", **arguments)).status == 400, arguments
        assert (await control("hold-copies", point="sometime")).status == 400


async def test_an_endpoint_that_the_stand_in_does_not_have_says_so(stand_in: DataFactoryStandIn) -> None:
    async with aiohttp.ClientSession(stand_in.url) as session:
        async with session.get("/subscriptions/1/providers/Other?api-version=2018-06-01") as answer:
            assert answer.status == 404
            assert "the stand-in does not know it" in (await answer.json())["error"]["message"]
        async with session.get("/subscriptions/1/providers/Other?api-version=2030-01-01") as answer:
            assert answer.status == 400


@pytest_asyncio.fixture(loop_scope="module")
async def changed_pipeline(connections: dict[str, str], tmp_path: Path) -> AsyncIterator[DataFactoryManagementClient]:
    """The shipped pipeline, but sequential, without its catch, skipping missing blobs, with one more step."""
    folder = Path(shutil.copytree(DEFINITIONS, tmp_path / "definitions"))
    path = folder / "pipeline" / "backup_blobs.json"
    pipeline = json.loads(path.read_text(encoding="utf-8"))
    (loop,) = pipeline["properties"]["activities"]
    (copy, _) = loop["typeProperties"]["activities"]
    copy["typeProperties"] |= {"skipErrorFile": {"fileMissing": True}, "preserve": []}
    loop["typeProperties"] |= {"isSequential": True, "activities": [copy]}
    pipeline["properties"]["variables"] = {"done": {"type": "String"}}
    pipeline["properties"]["activities"].append(
        {
            "name": "Done",
            "type": "SetVariable",
            "dependsOn": [{"activity": "For each blob", "dependencyConditions": ["Succeeded"]}],
            "typeProperties": {"variableName": "done", "value": "@{pipeline().parameters.request_id}!"},
        }
    )
    path.write_text(json.dumps(pipeline), encoding="utf-8")
    stand_in = DataFactoryStandIn(folder, connections, retry_interval_scale=0.001)
    await stand_in.start()
    async with DataFactoryManagementClient(
        NoCredential(), str(uuid4()), base_url=stand_in.url, authentication_policy=SansIOHTTPPolicy()
    ) as client:
        yield client
    await stand_in.stop()


async def test_a_pipeline_without_a_catch_fails_with_the_inner_error(
    changed_pipeline: DataFactoryManagementClient, source: ContainerClient, staging: ContainerClient
) -> None:
    await source.upload_blob("a", b"1", metadata={"owner": "anna"})

    run = await ended(changed_pipeline, await start(changed_pipeline, parameters(source, staging, ["a", ".."])))

    assert run.status == "Failed"
    assert str(run.message).startswith(
        "Operation on target For each blob failed: Activity failed because an inner activity failed; "
        "Inner activity name: Copy blob, Error: ErrorCode=UserErrorInvalidBlobName"
    )
    assert (await staging.get_blob_client("0000").get_blob_properties()).metadata == {}


async def test_a_missing_blob_is_skipped_when_the_pipeline_says_so(
    changed_pipeline: DataFactoryManagementClient, source: ContainerClient, staging: ContainerClient
) -> None:
    run_id = await start(changed_pipeline, parameters(source, staging, ["missing"]))

    assert (await ended(changed_pipeline, run_id)).status == "Succeeded"
    activities = (await changed_pipeline.activity_runs.query_by_pipeline_run(*FACTORY, run_id, last_hour())).value
    assert [each.activity_name for each in activities] == ["For each blob", "Copy blob", "Done"]
    assert activities[1].output is not None
    assert activities[1].output["filesSkipped"] == 1
    assert await names_in(staging) == []


async def test_stopping_ends_what_runs(
    connections: dict[str, str], source: ContainerClient, staging: ContainerClient
) -> None:
    stand_in = DataFactoryStandIn(DEFINITIONS, connections)
    await stand_in.start()
    stand_in.controls.hold_copies("before_reading")
    await source.upload_blob("a", b"1")
    async with DataFactoryManagementClient(
        NoCredential(), str(uuid4()), base_url=stand_in.url, authentication_policy=SansIOHTTPPolicy()
    ) as client:
        await start(client, parameters(source, staging, ["a"]))
    await stand_in.controls.wait_for_held_copies()

    await stand_in.stop()

    assert [run.status for run in stand_in.runs] == ["Cancelled"]
    assert await names_in(staging) == []

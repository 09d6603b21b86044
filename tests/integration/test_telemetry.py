"""One trace from `protect` through the message to the copy; and what the real exporter sends of it, and of metrics."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import azure.functions as func
import pytest
from azure.storage.blob.aio import ContainerClient
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanContext, get_current_span

from shared import tracing
from shared.adapters import monitoring
from shared.decisions.sync_report import SyncReport
from shared.operations.protect import Protected, protect
from shared.runtime import NO_CONTEXT, SnapkeepApp
from shared.services import Services
from shared.telemetry import Telemetry
from shared.tracing import within
from tests.conftest import OpenServices, Ready
from tests.ingestion import KEY, QUIET, ingestion
from tests.protection import backup_name
from tests.queue_reader import QueueReader

INVOKED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
"""As the Functions host gives it: not sampled, as far as it knows by then."""

SECRET_NAME = "q3 layoffs.xlsx"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(sampler=ALWAYS_ON)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)


async def protected(services: Services, container: ContainerClient) -> Protected:
    with within(INVOKED):
        return await protect(services, container.container_name, elapsed=lambda: 0.0)


async def test_a_trace_goes_from_protect_through_the_message_to_the_copy(
    spans: InMemorySpanExporter, services: Services, container: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob(SECRET_NAME, b"x")
    await container.upload_blob("b.csv", b"xy")

    await protected(services, container)
    (request,) = await reader.requests()
    await reader.drain(services)

    found: dict[str, list[ReadableSpan]] = {}
    for span in spans.get_finished_spans():
        found.setdefault(span.name, []).append(span)
    # Nothing else: the storage clients could trace their calls, whose addresses hold names and signatures.
    assert {name: len(each) for name, each in found.items()} == {"protect": 1, "backup": 1, "copy": 2}
    (scan,), (message,), copies = found["protect"], found["backup"], found["copy"]
    assert {span.context.trace_id for span in (scan, message, *copies)} == {int(INVOKED[3:35], 16)}
    assert (request["schema"], request["traceparent"][36:52]) == (2, f"{scan.context.span_id:016x}")
    assert [message.parent and message.parent.span_id, *(copy.parent and copy.parent.span_id for copy in copies)] == [
        scan.context.span_id,
        message.context.span_id,
        message.context.span_id,
    ]
    assert message.attributes == {
        "snapkeep.container": container.container_name,
        "snapkeep.versions": 2,
        "snapkeep.copied": 2,
        "snapkeep.already": 0,
        "snapkeep.failed": 0,
        "snapkeep.given_up": 0,
        "snapkeep.outcome": "succeeded",
    }
    assert {(copy.attributes or {})["snapkeep.engine"] for copy in copies} == {"server"}
    assert not any(SECRET_NAME in span.to_json() or "layoffs" in span.to_json() for span in spans.get_finished_spans())


async def test_what_fails_is_asked_for_again_in_the_same_trace_and_with_spans_off_in_none(
    spans: InMemorySpanExporter,
    services: Services,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
) -> None:
    await container.upload_blob("a", b"x")
    await backups.create_container()
    await backups.upload_blob(backup_name(await container.get_blob_client("a").get_blob_properties()), b"foreign")
    await protected(services, container)

    await reader.deliver_one(services)
    (again,) = await reader.requests()
    tracing.use(None)
    await reader.deliver_one(services)
    (untraced,) = await reader.requests()

    scan, failed = spans.get_finished_spans()
    assert failed.context.trace_id == scan.context.trace_id
    assert (failed.attributes or {})["snapkeep.outcome"] == "incomplete"
    assert (again["attempt"], again["schema"], again["traceparent"][36:52]) == (2, 2, f"{failed.context.span_id:016x}")
    assert (untraced["attempt"], untraced["schema"], "traceparent" in untraced) == (3, 1, False)


@pytest.mark.parametrize("given", [INVOKED, None])
async def test_a_function_works_within_the_platforms_trace_and_its_lines_tell_the_invocation(
    environment: dict[str, str], given: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    seen: list[SpanContext] = []

    async def work(_services: Services) -> Protected:
        seen.append(get_current_span().get_span_context())
        logging.getLogger("shared.operations.protect").warning("done")
        return Protected(container="raw", complete=True)

    trace = SimpleNamespace(trace_parent=given) if given else None
    context = cast("func.Context", SimpleNamespace(invocation_id="6f1c", trace_context=trace))
    await SnapkeepApp().run("protect", work, context)
    await SnapkeepApp().run("protect", work, NO_CONTEXT)

    assert [found.trace_id for found in seen] == [int(INVOKED[3:35], 16) if given else 0, 0]
    assert caplog.messages == ["done [function=protect invocation=6f1c]", "done [function=protect]"]


async def test_the_exporter_sends_metrics_and_spans_and_no_secret(
    open_services: OpenServices,
    container: ContainerClient,
    stack: Ready,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # it keeps there what it could not send
    await container.upload_blob(SECRET_NAME, b"x")
    async with ingestion() as taken:
        services = open_services(APPLICATIONINSIGHTS_CONNECTION_STRING=taken.connection_string)
        telemetry = Telemetry.of(services.settings)
        try:
            await telemetry.observed(services, "protect", protected(services, container))
        finally:
            await asyncio.to_thread(telemetry.close)

    # It logs each failure of its own, with a trace, each time that it sends.
    assert [record.getMessage() for record in caplog.records if record.name.startswith("azure.monitor")] == []
    found = {name: (value, attributes) for name, value, attributes in taken.metrics()}
    assert found["snapkeep.runs"] == (1, {"function": "protect", "outcome": "complete"})
    assert found["snapkeep.requests"] == (1, {"function": "protect", "container": container.container_name})
    assert found["snapkeep.queue.age"][1]["queue"] in {"requests", "poison"}
    (span,) = taken.spans()
    assert span["data"]["baseData"]["name"] == "protect"
    assert span["tags"]["ai.operation.id"] == INVOKED[3:35]
    assert {item["tags"]["ai.cloud.role"] for item in taken.items} == {"snapkeep"}
    sent = json.dumps(taken.items)
    secrets = [part.partition("=")[2] for part in stack["source"].split(";") if part.startswith("AccountKey=")]
    assert [secret for secret in [*secrets, "sig=", SECRET_NAME, "layoffs"] if secret in sent] == []


def kept(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.rglob("*.blob*"))


async def test_an_endpoint_that_never_answers_keeps_nobody_waiting(
    open_services: OpenServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(monitoring, "SEND_SECONDS", 0.2)
    silent = asyncio.Event()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        where = f"InstrumentationKey={KEY};IngestionEndpoint=http://127.0.0.1:{port}"
        services = open_services(APPLICATIONINSIGHTS_CONNECTION_STRING=where)
        telemetry = Telemetry.of(services.settings)

        async def work() -> SyncReport:
            with tracing.span("sync"):
                return SyncReport(services.now(), services.now(), False, 50)

        try:
            async with asyncio.timeout(5):
                assert (await telemetry.observed(services, "sync", work())).complete
                await asyncio.to_thread(telemetry.close)
        finally:
            silent.set()
    # What could not be sent is kept on disk, and sent when the endpoint answers again.
    assert "snapkeep.runs" in kept(tmp_path)

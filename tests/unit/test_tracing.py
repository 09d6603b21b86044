"""Spans: what belongs to which trace, what they tell, and that nothing is recorded unless it is asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import StatusCode

from shared import tracing
from shared.decisions.messages import decode, encode, request, traced
from shared.errors import StorageFailed
from shared.model import Version
from shared.tracing import MAX_CHILDREN, note, span, traceparent, within

HOST = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
SENDER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(sampler=ALWAYS_ON)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)


def test_without_a_provider_nothing_is_recorded_and_no_message_carries_a_trace() -> None:
    with within(HOST), span("protect", container="raw"):
        note(outcome="succeeded")
        assert traceparent() is None


@pytest.mark.usefixtures("spans")
def test_outside_of_any_span_no_message_carries_a_trace() -> None:
    assert traceparent() is None


@pytest.mark.usefixtures("spans")
def test_what_a_message_carries_is_a_trace_of_its_schema() -> None:
    with span("protect"):
        message = traced(
            request("raw", [Version("a", "E1", "2026-11-20T14:05:33Z", 1)], "2026-11-20T14:05:33Z"), traceparent()
        )
    assert decode(encode(message)).traceparent is not None


def test_spans_are_part_of_the_trace_in_which_the_platform_invoked_the_function(spans: InMemorySpanExporter) -> None:
    with within(HOST), span("protect"), span("inner"):
        pass
    inner, outer = spans.get_finished_spans()
    assert f"{outer.context.trace_id:032x}" == f"{inner.context.trace_id:032x}" == HOST[3:35]
    assert outer.parent is not None
    assert f"{outer.parent.span_id:016x}" == HOST[36:52]
    assert inner.parent == outer.context


def test_what_a_message_causes_is_part_of_its_senders_trace_and_linked_to_the_invocation(
    spans: InMemorySpanExporter,
) -> None:
    with within(HOST), span("backup", follows=SENDER):
        carried = traceparent()
    (found,) = spans.get_finished_spans()
    assert found.parent is not None
    assert (f"{found.context.trace_id:032x}", f"{found.parent.span_id:016x}") == (SENDER[3:35], SENDER[36:52])
    assert [f"{link.context.trace_id:032x}" for link in found.links] == [HOST[3:35]]
    assert carried == f"00-{found.context.trace_id:032x}-{found.context.span_id:016x}-01"


def test_a_span_tells_what_is_noted_of_it(spans: InMemorySpanExporter) -> None:
    with span("backup", container="raw", versions=3, adf_run=None):
        note(copied=2, outcome="incomplete")
    (found,) = spans.get_finished_spans()
    assert found.attributes == {
        "snapkeep.container": "raw",
        "snapkeep.versions": 3,
        "snapkeep.copied": 2,
        "snapkeep.outcome": "incomplete",
    }


def test_a_failure_is_told_by_its_kind_and_not_by_its_text(spans: InMemorySpanExporter) -> None:
    with pytest.raises(StorageFailed), span("copy"):
        raise StorageFailed("copy raw/secret plans.csv: 503")
    (found,) = spans.get_finished_spans()
    assert found.status.status_code is StatusCode.ERROR
    assert found.attributes == {"snapkeep.outcome": "failed", "snapkeep.error": "StorageFailed"}
    assert found.events == ()
    assert "secret" not in found.to_json()


def test_of_hundreds_of_copies_the_first_have_a_span_in_each_message(spans: InMemorySpanExporter) -> None:
    for _ in range(2):
        with span("backup"):
            for _ in range(300):
                with span("copy", bounded=True):
                    pass
    names = [found.name for found in spans.get_finished_spans()]
    assert names == [*["copy"] * MAX_CHILDREN, "backup"] * 2

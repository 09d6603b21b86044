"""Spans: from the invocation of a function through the message that it sends to the copy that comes of it.

Nothing is recorded until `use` names a provider. What a span tells is bounded and safe: counts, a container, a run,
an engine, an outcome, the type of an error; never the name of a blob, and never the text of an error, which holds some.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from opentelemetry import context as ambient
from opentelemetry import trace
from opentelemetry.trace import Link, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.logged import about

Attribute = str | int | float | bool

NAME = "snapkeep"
MAX_CHILDREN = 20
"""Of spans that may be hundreds, as one for each copy of a message, so many are recorded."""

_PROPAGATOR = TraceContextTextMapPropagator()
_OFF = trace.NoOpTracerProvider().get_tracer(NAME)
_tracer = _OFF
_bounded_children: ContextVar[list[int]] = ContextVar("bounded_children", default=[0])  # noqa: B039 -- see `span`


def use(provider: TracerProvider | None) -> None:
    """Records spans with this provider from now on; none without one."""
    global _tracer  # one process has one place for its spans, as for its log
    _tracer = provider.get_tracer(NAME) if provider else _OFF


@contextlib.contextmanager
def within(traceparent: str | None) -> Iterator[None]:
    """Within the block, spans are of this trace: the one in which the platform invoked a function."""
    token = ambient.attach(_context_of(traceparent) if traceparent else ambient.get_current())
    try:
        yield
    finally:
        ambient.detach(token)


@contextlib.contextmanager
def span(
    name: str, *, follows: str | None = None, bounded: bool = False, **attributes: Attribute | None
) -> Iterator[None]:
    """Records the block as a span, a failure with it; log lines within are about the same.

    Args:
        follows: the trace context of what caused it, such as the sender of a message; what it would have been a
            part of without that is linked.
        bounded: one of perhaps very many: recorded for the first `MAX_CHILDREN` of its parent alone.
    """
    known = {key: value for key, value in attributes.items() if value is not None}
    siblings = _bounded_children.get()
    siblings[0] += bounded
    if _tracer is _OFF or (bounded and siblings[0] > MAX_CHILDREN):
        with about(**known):
            yield
        return
    token = _bounded_children.set([0])
    try:
        with (
            about(**known),
            _tracer.start_as_current_span(
                name,
                context=_context_of(follows) if follows else None,
                links=_links() if follows else (),
                attributes=_named(known),
                record_exception=False,
                set_status_on_exception=False,
            ),
        ):
            try:
                yield
            except BaseException as error:
                note(outcome="failed", error=type(error).__name__)
                trace.get_current_span().set_status(StatusCode.ERROR, type(error).__name__)
                raise
    finally:
        _bounded_children.reset(token)


def note(**attributes: Attribute | None) -> None:
    """Adds to what the current span tells."""
    known = {key: value for key, value in attributes.items() if value is not None}
    trace.get_current_span().set_attributes(_named(known))


def traceparent() -> str | None:
    """The current span, as a message carries it; None where no spans are recorded."""
    if _tracer is _OFF:
        return None
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def _context_of(traceparent: str) -> ambient.Context:
    return _PROPAGATOR.extract({"traceparent": traceparent}, ambient.get_current())


def _links() -> list[Link]:
    current = trace.get_current_span().get_span_context()
    return [Link(current)] if current.is_valid else []


def _named(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    return {f"{NAME}.{key}": value for key, value in attributes.items()}

"""Where metrics and spans go on the platform: Application Insights. Imported only where that is configured."""

from __future__ import annotations

from typing import Any

from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter, AzureMonitorTraceExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from shared import __version__

EXPORT_SECONDS = 60.0
SEND_SECONDS = 10.0
"""For connecting, and for the answer, which is waited for five minutes otherwise. What is not sent is kept on disk."""


def metrics_to(connection_string: str) -> MeterProvider:
    """Sends metrics each minute. With an identity where `APPLICATIONINSIGHTS_AUTHENTICATION_STRING` names one."""
    exporter = AzureMonitorMetricExporter(**_sending(connection_string))
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=EXPORT_SECONDS * 1000)
    return MeterProvider([reader], resource=_resource())


def spans_to(connection_string: str) -> TracerProvider:
    """Sends spans in batches: all of them, since the platform calls its own unsampled that it samples later."""
    provider = TracerProvider(sampler=ALWAYS_ON, resource=_resource())
    exporter = AzureMonitorTraceExporter(tracer_provider=provider, **_sending(connection_string))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _sending(connection_string: str) -> dict[str, Any]:
    return {"connection_string": connection_string, "timeout": SEND_SECONDS, "read_timeout": SEND_SECONDS}


def _resource() -> Resource:
    return Resource.create({"service.name": "snapkeep", "service.version": __version__})

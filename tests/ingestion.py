"""An endpoint that takes telemetry as Application Insights does, for the real exporter to send to."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

KEY = "0a1b2c3d-0000-4000-8000-00000000000a"

QUIET = {
    f"APPLICATIONINSIGHTS_{what}": "true"
    for what in ("STATSBEAT_DISABLED_ALL", "CONTROLPLANE_DISABLED", "SDKSTATS_DISABLED")
}
"""Keeps the exporter from telling its makers of itself."""


class Ingestion:
    """What was sent, in the order in which it came."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.connection_string = ""

    async def track(self, request: web.Request) -> web.Response:
        body = await request.read()
        items = json.loads(gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body)
        self.items.extend(items)
        return web.json_response({"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []})

    def metrics(self) -> Iterator[tuple[str, float, dict[str, str]]]:
        """Each value, with the metric's name and the attributes."""
        for item in self.items:
            data = item["data"]["baseData"]
            if item["data"]["baseType"] == "MetricData":
                yield from ((point["name"], point["value"], data["properties"]) for point in data["metrics"])

    def spans(self) -> list[dict[str, Any]]:
        return [item for item in self.items if item["data"]["baseType"] == "RemoteDependencyData"]


@asynccontextmanager
async def ingestion() -> AsyncIterator[Ingestion]:
    taken = Ingestion()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v2.1/track", taken.track)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        taken.connection_string = f"InstrumentationKey={KEY};IngestionEndpoint=http://{host}:{port}"
        yield taken
    finally:
        await runner.cleanup()

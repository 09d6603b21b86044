"""How calls to Azure are repeated: soon at first, ever later, at random, and never sooner than the service asks."""

from __future__ import annotations

import random
from typing import Any

from azure.core.pipeline.policies import AsyncRetryPolicy
from azure.storage.blob.aio import ExponentialRetry

RETRIES = 5
MAX_BACKOFF_SECONDS = 8.0
MAX_RETRY_AFTER_SECONDS = 60.0


class StorageRetry(ExponentialRetry):
    """The storage SDK's retry policy with what that one lacks: Retry-After, 429, full jitter, and an end in sight.

    Left alone it disregards Retry-After and waits up to 57 s in all. The blob and queue packages
    share this code, but the queue's async package does not export it. It repeats a POST as well,
    which Put Message is: a message sent twice is harmless, one never sent is not.
    """

    def __init__(self) -> None:
        super().__init__(retry_total=RETRIES)

    def get_backoff_time(self, settings: dict[str, Any]) -> float:
        history = settings["history"]
        response = history[-1].http_response if history else None
        return wait_seconds(settings["count"], response)

    async def send(self, request: Any) -> Any:  # type: ignore[override]  # as the SDK's own async policies do
        for attempt in range(1, RETRIES + 1):
            response = await super().send(request)  # type: ignore[no-untyped-call]
            if response.http_response.status_code != 429:
                break
            await request.context.transport.sleep(wait_seconds(attempt, response.http_response))
        return response


def listing_retry() -> AsyncRetryPolicy[Any, Any]:
    """For listings, which run on azure-core's own pipeline; its policy honours Retry-After and 429 by itself."""
    return AsyncRetryPolicy(
        retry_total=RETRIES, retry_backoff_factor=0.5, retry_backoff_max=MAX_BACKOFF_SECONDS, timeout=120
    )


def retry_after_seconds(response: Any, default: float) -> float:
    """How long the service asks to wait; `default` where it does not say, or did not answer."""
    text = str(response.headers.get("Retry-After", "")) if response is not None else ""
    return float(text) if text.isdigit() else default


def passes(status: int) -> bool:
    """Whether an answer of this status is worth asking again: as the storage SDK has it, and 429."""
    return status in {408, 429} or (status >= 500 and status not in {501, 505})


def asked_seconds(response: Any) -> float:
    """How long the service asks to be left alone, as far as that is heeded; 0 where it does not ask."""
    return min(retry_after_seconds(response, default=0.0), MAX_RETRY_AFTER_SECONDS)


def wait_seconds(attempt: int, response: Any) -> float:
    """How long to wait after the `attempt`th of these answers; `response` is None where there was none."""
    return max(_jitter(attempt), asked_seconds(response))


def _jitter(attempt: int) -> float:
    return random.uniform(0, min(MAX_BACKOFF_SECONDS, 0.5 * 2.0**attempt))  # noqa: S311  # spreads load, no secret

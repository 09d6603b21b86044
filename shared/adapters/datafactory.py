"""Starts, finds, follows and cancels runs of the copy pipeline in Azure Data Factory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline.policies import SansIOHTTPPolicy

from shared.adapters.accounts import credential_of
from shared.adapters.retrying import retry_after_seconds
from shared.adapters.signing import USER_AGENT
from shared.connections import Connection
from shared.decisions.pipeline import PipelineParameter
from shared.errors import DataFactoryFailed, Throttled
from shared.settings import DataFactorySettings

if TYPE_CHECKING:
    from azure.mgmt.datafactory.aio import DataFactoryManagementClient

ENDED = frozenset({"Succeeded", "Failed", "Cancelled"})
_DEFAULT_RETRY_AFTER_SECONDS = 30.0


@dataclass(frozen=True)
class Run:
    """A pipeline run as the factory tells of it."""

    run_id: str
    status: str
    message: str

    @property
    def ended(self) -> bool:
        return self.status in ENDED


class _NoCredential:
    """Stands where the client insists on a credential that an endpoint on this machine does not ask for."""

    async def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        raise DataFactoryFailed("an endpoint without TLS must never be sent a token")

    async def close(self) -> None:
        """There is nothing to close."""

    async def __aenter__(self) -> _NoCredential:
        return self

    async def __aexit__(self, *_error: object) -> None:
        return None


class DataFactory:
    """The pipeline of one factory."""

    def __init__(self, settings: DataFactorySettings, identity: Connection) -> None:
        self._settings = settings
        self._identity = identity
        self._client: DataFactoryManagementClient | None = None
        self._credential: Any = None

    async def start(self, parameters: Mapping[str, Any]) -> str:
        """Starts a run and gives its id.

        createRun has no idempotency key, so it is never repeated here: after any failure but
        `Throttled` a run may exist, and `find` tells.

        Raises:
            Throttled: the factory takes no more runs now; none was started.
            DataFactoryFailed: refused, or no answer.
        """
        place = self._settings
        with _errors(f"start {place.pipeline}"):
            created = await (await self._opened()).pipelines.create_run(
                place.resource_group, place.factory, place.pipeline, parameters=dict(parameters), retry_total=0
            )
            return str(created.run_id)

    async def find(self, request_id: str, now: datetime) -> Run | None:
        """The newest run of the last two days that was started with this `request_id`; None without one."""
        client = await self._opened()
        from azure.mgmt.datafactory.models import RunFilterParameters, RunQueryFilter

        place = self._settings
        window = RunFilterParameters(
            last_updated_after=now - timedelta(days=2),
            last_updated_before=now + timedelta(hours=1),  # clocks differ
            filters=[RunQueryFilter(operand="PipelineName", operator="Equals", values_property=[place.pipeline])],
        )
        found: Run | None = None
        started_at: datetime | None = None
        with _errors(f"find the run of request {request_id}"):
            while True:
                answer = await client.pipeline_runs.query_by_factory(place.resource_group, place.factory, window)
                for run in answer.value:
                    if (run.parameters or {}).get("request_id") != request_id:
                        continue
                    if started_at is None or (run.run_start and run.run_start > started_at):
                        found, started_at = _run(run), run.run_start
                if not answer.continuation_token:
                    return found
                window.continuation_token = answer.continuation_token

    async def run(self, run_id: str) -> Run | None:
        """The run; None when the factory does not know it (any more)."""
        place = self._settings
        with _errors(f"look at run {run_id}"):
            try:
                found = await (await self._opened()).pipeline_runs.get(place.resource_group, place.factory, run_id)
            except HttpResponseError as error:
                if error.status_code == 404:
                    return None
                raise
            return _run(found)

    async def cancel(self, run_id: str) -> None:
        """Asks the factory to end a run; one that has ended, or is unknown, is fine."""
        place = self._settings
        with _errors(f"cancel run {run_id}"):
            try:
                await (await self._opened()).pipeline_runs.cancel(place.resource_group, place.factory, run_id)
            except HttpResponseError as error:
                if error.status_code not in {400, 404, 409}:
                    raise

    async def parameters(self) -> dict[str, PipelineParameter]:
        """The pipeline's parameters by name.

        Raises:
            DataFactoryFailed: there is no such pipeline, refused, or no answer.
        """
        place = self._settings
        with _errors(f"look at pipeline {place.pipeline}"):
            pipelines = (await self._opened()).pipelines
            found = await pipelines.get(place.resource_group, place.factory, place.pipeline, retry_total=1)
            return {
                name: PipelineParameter(
                    str(getattr(parameter.type, "value", parameter.type)), required=parameter.default_value is None
                )
                for name, parameter in ((found.parameters if found else None) or {}).items()
            }

    async def _opened(self) -> DataFactoryManagementClient:
        # Its models take over a second to import, which most invocations never need; in a thread, so that
        # the loop goes on renewing leases and messages meanwhile.
        datafactory = await asyncio.to_thread(import_module, "azure.mgmt.datafactory.aio")
        if self._client is None:
            options: dict[str, Any] = {}
            if self._settings.endpoint.startswith("http://"):
                self._credential = _NoCredential()
                options["authentication_policy"] = SansIOHTTPPolicy()
            else:
                self._credential = credential_of(self._identity)
                options["credential_scopes"] = [f"{self._settings.endpoint}/.default"]
            self._client = datafactory.DataFactoryManagementClient(
                self._credential,
                self._settings.subscription_id,
                base_url=self._settings.endpoint,
                user_agent=USER_AGENT,
                **options,
            )
        return self._client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            await self._credential.close()


def _run(found: Any) -> Run:
    return Run(str(found.run_id), str(found.status), str(found.message or ""))


@contextlib.contextmanager
def _errors(doing: str) -> Iterator[None]:
    try:
        yield
    except HttpResponseError as error:
        if error.status_code == 429:
            wait = retry_after_seconds(error.response, default=_DEFAULT_RETRY_AFTER_SECONDS)
            raise Throttled(f"{doing}: 429, too many requests", wait) from error
        code = getattr(error.error, "code", None) or "no error code"
        unclear = (error.status_code or 500) >= 500
        raise DataFactoryFailed(f"{doing}: {error.status_code} {code}", run_may_exist=unclear) from error
    except AzureError as error:
        text = f"{doing}: no answer from Data Factory ({type(error).__name__})"
        raise DataFactoryFailed(text, run_may_exist=True) from error

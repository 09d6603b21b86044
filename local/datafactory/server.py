"""The stand-in's HTTP side: Azure Resource Manager's Data Factory endpoints, and the tests' controls.

Every subscription, resource group and factory name is accepted (there is one factory), and so is any bearer
token or none: the stand-in listens on loopback alone.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from aiohttp import web
from azure.storage.blob.aio import BlobServiceClient

from local.datafactory import arm
from local.datafactory.calling import FunctionApp
from local.datafactory.controls import CONTROLS, Controls
from local.datafactory.definitions import load
from local.datafactory.execution import PipelineExecutor
from local.datafactory.fields import DefinitionError
from local.datafactory.model import Pipeline
from local.datafactory.runs import NotCancellableError, Run, Runs
from local.ports import LOOPBACK

_FACTORY = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.DataFactory/factories/{factory}"
_API_VERSION = "2018-06-01"
_MAX_BODY_BYTES = 4 * 1024 * 1024  # what Azure Resource Manager takes
_UNSUPPORTED_RUN_OPTIONS = ("referencePipelineRunId", "isRecovery", "startActivityName", "startFromFailure")


class ArmError(Exception):
    """An answer in the form of Azure Resource Manager's errors."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


class DataFactoryStandIn:
    """A Data Factory on this machine that executes the definitions of a folder against real storage.

    `connections` gives each linked service its storage connection string. `controls` is what tests pull.
    Data Factory waits at least 30 s between attempts: `retry_interval_scale` shortens that.
    Raises DefinitionError for definitions that it does not fully understand.
    """

    def __init__(
        self,
        definitions: Path,
        connections: Mapping[str, str],
        *,
        retry_interval_scale: float = 0.01,
        page_size: int = 100,
    ) -> None:
        self._factory = load(definitions)
        if set(connections) != self._factory.storage_accounts:
            expected = ", ".join(sorted(self._factory.storage_accounts))
            raise DefinitionError(f"connections must hold one connection string for each of: {expected}")
        self._connections = connections
        self._retry_interval_scale = retry_interval_scale
        self._page_size = page_size
        self._accounts: dict[str, BlobServiceClient] = {}
        self._runner: web.AppRunner | None = None
        self.controls = Controls()

    @property
    def url(self) -> str:
        """Where it listens, such as `http://127.0.0.1:10002`."""
        if self._runner is None:
            raise RuntimeError("the stand-in is not started")
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    @property
    def runs(self) -> list[Run]:
        """All runs in the order of their start."""
        return self._runs.all()

    async def start(self, port: int = 0) -> None:
        """Listens on loopback; port 0 takes a free one. Raises OSError when the port is taken."""
        self._accounts = {
            name: BlobServiceClient.from_connection_string(text, retry_total=2, initial_backoff=1, increment_base=2)
            for name, text in self._connections.items()
        }
        self._executor = PipelineExecutor(
            self._factory, self._accounts, self.controls, retry_interval_scale=self._retry_interval_scale
        )
        self._runs = Runs(self._executor, self.controls)
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, LOOPBACK, port).start()
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Cancels what runs and closes the port. Does nothing when it is not started."""
        if self._runner is None:
            return
        await self._runs.stop()
        await self._runner.cleanup()
        self._runner = None
        for account in self._accounts.values():
            await account.close()

    def _application(self) -> web.Application:
        application = web.Application(
            client_max_size=_MAX_BODY_BYTES, middlewares=[_answer_errors, _require_api_version]
        )
        routes: dict[tuple[str, str], Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
            ("GET", f"{_FACTORY}/pipelines"): self._list_pipelines,
            ("GET", f"{_FACTORY}/pipelines/{{pipeline}}"): self._get_pipeline,
            ("POST", f"{_FACTORY}/pipelines/{{pipeline}}/createRun"): self._create_run,
            ("POST", f"{_FACTORY}/queryPipelineRuns"): self._query_runs,
            ("GET", f"{_FACTORY}/pipelineruns/{{run}}"): self._get_run,
            ("POST", f"{_FACTORY}/pipelineruns/{{run}}/cancel"): self._cancel_run,
            ("POST", f"{_FACTORY}/pipelineruns/{{run}}/queryActivityruns"): self._query_activities,
            ("GET", "/standin/runs"): self._show_runs,
            ("GET", "/standin/state"): self._show_state,
            ("PUT", "/standin/function-apps/{name}"): self._put_function_app,
            ("POST", "/standin/{control}"): self._control,
        }
        for (method, path), handler in routes.items():
            application.router.add_route(method, path, handler)
        return application

    async def _list_pipelines(self, request: web.Request) -> web.Response:
        factory_id = _factory_id(request)
        return web.json_response(
            {"value": [arm.pipeline_json(factory_id, each) for each in self._factory.pipelines.values()]}
        )

    async def _get_pipeline(self, request: web.Request) -> web.Response:
        return web.json_response(arm.pipeline_json(_factory_id(request), self._pipeline(request)))

    async def _create_run(self, request: web.Request) -> web.Response:
        if used := [option for option in _UNSUPPORTED_RUN_OPTIONS if option in request.query]:
            raise ArmError(400, "StandInUnsupported", f"the stand-in does not know {', '.join(used)}")
        retry_after_seconds = self.controls.take_throttle()
        if retry_after_seconds is not None:
            headers = {"Retry-After": str(retry_after_seconds)}
            raise ArmError(429, "TooManyRequests", "The factory receives too many requests.", headers)
        pipeline = self._pipeline(request)
        parameters = await _json_body(request)
        if not isinstance(parameters, dict):
            raise ArmError(400, "BadRequest", "the body must be an object of parameters")
        run = self._runs.start(_factory_id(request), pipeline, parameters)
        if self.controls.take_lost_answer():
            _lose_answer(request, self.controls.lost_answer_status)
        return web.json_response({"runId": run.id})

    async def _query_runs(self, request: web.Request) -> web.Response:
        query = arm.read_run_query(await _json_body(request))
        return web.json_response(query.page(self._runs.listed(), self._page_size))

    async def _get_run(self, request: web.Request) -> web.Response:
        return web.json_response(arm.run_json(self._run(request)))

    async def _cancel_run(self, request: web.Request) -> web.Response:
        run = self._run(request)
        try:
            self._runs.cancel(run)
        except NotCancellableError as error:
            # What the service answers is not documented; a refusal is what a caller must be ready for.
            raise ArmError(400, "BadRequest", str(error)) from error
        return web.Response()

    async def _query_activities(self, request: web.Request) -> web.Response:
        run = self._run(request)
        query = arm.read_activity_query(await _json_body(request))
        wanted = [arm.activity_json(run, each) for each in run.activities if query.wants_activity(each)]
        return web.json_response({"value": wanted})

    async def _show_runs(self, _request: web.Request) -> web.Response:
        return web.json_response({"runs": [_shown(run) for run in self._runs.all()]})

    async def _show_state(self, _request: web.Request) -> web.Response:
        return web.json_response(self.controls.state())

    async def _put_function_app(self, request: web.Request) -> web.Response:
        """Where the Functions app of a linked service is: it starts after the stand-in, which it needs itself."""
        given = await _json_body(request)
        if not isinstance(given, dict) or set(given) != {"url", "key"}:
            raise ArmError(400, "BadRequest", 'the body must be {"url": ..., "key": ...}')
        self.find_function_app(request.match_info["name"], str(given["url"]), str(given["key"]))
        return web.Response(status=204)

    def find_function_app(self, linked_service: str, url: str, key: str) -> None:
        """Tells where the Functions app of a linked service is, and its key."""
        self._executor.function_apps[linked_service] = FunctionApp(url.rstrip("/"), key)

    async def _control(self, request: web.Request) -> web.Response:
        name = request.match_info["control"].replace("-", "_")
        if name not in CONTROLS:
            known = ", ".join(sorted(each.replace("_", "-") for each in CONTROLS))
            raise ArmError(404, "NotFound", f"there is no control {name}; there are {known}")
        control = getattr(self.controls, name)
        given = await _json_body(request)
        _check_arguments(control, given)
        control(**given)
        return web.json_response(self.controls.state())

    def _pipeline(self, request: web.Request) -> Pipeline:
        name = request.match_info["pipeline"]
        if name not in self._factory.pipelines:
            raise ArmError(404, "EntityNotFound", f"there is no pipeline {name}")
        return self._factory.pipelines[name]

    def _run(self, request: web.Request) -> Run:
        run_id = request.match_info["run"]
        run = self._runs.get(run_id)
        if run is None:
            raise ArmError(404, "EntityNotFound", f"there is no pipeline run {run_id}")
        return run


@web.middleware
async def _answer_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answers errors in ARM's form, and names what is not there."""
    try:
        return await handler(request)
    except ArmError as error:
        answer = arm.error_json(error.code, str(error))
        return web.json_response(answer, status=error.status, headers=error.headers)
    except ValueError as error:
        return web.json_response(arm.error_json("BadRequest", str(error)), status=400)
    except web.HTTPException as error:
        message = f"{request.method} {request.path}: {error.reason}; the stand-in does not know it"
        return web.json_response(arm.error_json("StandInUnsupported", message), status=error.status)


@web.middleware
async def _require_api_version(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if request.path.startswith("/subscriptions/") and request.query.get("api-version") != _API_VERSION:
        raise ArmError(400, "InvalidApiVersionParameter", f"api-version must be {_API_VERSION}")
    return await handler(request)


async def _json_body(request: web.Request) -> Any:
    """The body; an empty one is an empty object. Raises ValueError when it is not JSON."""
    text = await request.text()
    return json.loads(text) if text.strip() else {}


def _check_arguments(control: Callable[..., None], given: Any) -> None:
    if not isinstance(given, dict):
        raise ArmError(400, "BadRequest", "the body must be an object of arguments")
    try:
        inspect.signature(control).bind(**given)
    except TypeError as error:
        raise ArmError(400, "BadRequest", str(error)) from error
    hints = get_type_hints(control)
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, hints[name]):
            raise ArmError(400, "BadRequest", f"{name} must be of type {hints[name]}")


def _lose_answer(request: web.Request, status: int | None) -> None:
    if status is not None:
        raise ArmError(status, "ServerError", "The answer was lost on the way.")
    if request.transport is not None:
        request.transport.abort()


def _factory_id(request: web.Request) -> str:
    return _FACTORY.format(**{k: request.match_info[k] for k in ("subscription", "group", "factory")})


def _shown(run: Run) -> dict[str, Any]:
    """A run as tests want to see it: parameters as values, every attempt of every activity."""
    return {
        "run_id": run.id,
        "factory_id": run.factory_id,
        "pipeline": run.pipeline.name,
        "status": run.status,
        "message": run.message,
        "parameters": run.parameters,
        "variables": run.variables,
        "activities": [
            {
                "name": each.name,
                "type": each.type,
                "attempt": each.attempt,
                "status": each.status,
                "input": each.input,
                "output": each.output,
                "error": each.error,
            }
            for each in run.activities
        ],
    }

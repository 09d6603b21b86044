"""Loads a function app: imports function_app.py and reads its functions through the azure-functions library.

The same steps as azure-functions-python-worker, loader.py and functions.py. Triggers by HTTP, queue and timer
are known, and the HTTP answer; anything else is refused, never left out in silence.
"""

import importlib
import inspect
import json
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import azure.functions as func

from local.host.errors import HostStartError
from local.host.keys import Access
from local.host.logtext import one_line

MODULE_NAME = "function_app"


@dataclass(frozen=True)
class HttpTrigger:
    """No methods means all of them, as on the platform."""

    parameter: str
    route: str
    methods: frozenset[str]
    access: Access


@dataclass(frozen=True)
class QueueTrigger:
    parameter: str
    queue_name: str
    connection: str


@dataclass(frozen=True)
class TimerTrigger:
    parameter: str
    schedule: str
    run_on_startup: bool
    use_monitor: bool


Trigger = HttpTrigger | QueueTrigger | TimerTrigger


@dataclass(frozen=True)
class LoadedFunction:
    name: str
    directory: Path
    code: Callable[..., Any]
    is_async: bool
    wants_context: bool
    trigger: Trigger

    @property
    def returns_answer(self) -> bool:
        return isinstance(self.trigger, HttpTrigger)


def load_app(app_path: Path, environment: Mapping[str, str]) -> list[LoadedFunction]:
    """The functions of the app in a folder, with `%SETTING%` resolved. Raises HostStartError."""
    try:
        module = _import_fresh(app_path)
        functions = _find_app(module).get_functions()
    except HostStartError:
        raise
    except Exception as error:
        # An app that finds its settings wrong says all there is to say; of any other error the place is
        # needed too. Told by its name: this process must not import `shared`, of which an app elsewhere may
        # have its own.
        if type(error).__name__.endswith("SettingsError"):
            raise HostStartError(str(error)) from error
        raise HostStartError(f"{MODULE_NAME}.py cannot be loaded: {_described(error, app_path)}") from error
    if not functions:
        raise HostStartError(f"{MODULE_NAME}.py defines no functions")
    return [_read_function(function, app_path, environment) for function in functions]


def resolve_settings(text: str, environment: Mapping[str, str], what: str) -> str:
    """Replaces each `%NAME%` with the setting of that name. Raises HostStartError when it is not set."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if not environment.get(name):
            raise HostStartError(f"{what} names the setting {name}, which is not set")
        return environment[name]

    return re.sub(r"%([^%\s]+)%", value, text)


def _import_fresh(app_path: Path) -> ModuleType:
    """Imports the app's module anew: an app object can be indexed once only, and a process may run several
    hosts.
    """
    folder = str(app_path.resolve())
    if not (app_path / f"{MODULE_NAME}.py").is_file():
        raise HostStartError(f"there is no {MODULE_NAME}.py in the app's folder: give the folder of a function app")
    sys.modules.pop(MODULE_NAME, None)
    sys.path[:] = [folder, *(entry for entry in sys.path if entry != folder)]
    importlib.invalidate_caches()
    return importlib.import_module(MODULE_NAME)


def _find_app(module: ModuleType) -> func.FunctionRegister:
    apps = [value for value in vars(module).values() if isinstance(value, func.FunctionRegister)]
    if len(apps) != 1:
        raise HostStartError(f"{MODULE_NAME}.py must define one FunctionApp at its top level, not {len(apps)}")
    return apps[0]


def _read_function(function: Any, app_path: Path, environment: Mapping[str, str]) -> LoadedFunction:
    name = str(function.get_function_name())
    code = function.get_user_function()
    trigger: Trigger | None = None
    for binding in map(json.loads, function.get_raw_bindings()):
        kind = binding["type"]
        if kind == "http" and binding["name"] == "$return":
            continue
        reader = _TRIGGERS.get(kind)
        if reader is None:
            raise HostStartError(f"function {name}: this host does not know bindings of type {kind}")
        trigger = reader(binding, environment, f"function {name}: its {kind}")
    if trigger is None:
        raise HostStartError(f"function {name} has no trigger")
    parameters = set(inspect.signature(code).parameters)
    if unbound := parameters - {trigger.parameter, "context"}:
        raise HostStartError(f"function {name}: parameters without a binding: {', '.join(sorted(unbound))}")
    if trigger.parameter not in parameters:
        raise HostStartError(f"function {name}: its trigger names the parameter {trigger.parameter}, which it lacks")
    return LoadedFunction(
        name=name,
        directory=app_path.resolve(),
        code=code,
        is_async=inspect.iscoroutinefunction(code),
        wants_context="context" in parameters and trigger.parameter != "context",
        trigger=trigger,
    )


def _read_http(binding: Mapping[str, Any], environment: Mapping[str, str], what: str) -> HttpTrigger:
    level = str(binding.get("authLevel") or "function").upper()
    if level not in Access.__members__:
        raise HostStartError(f"{what} has the auth level {level.lower()}, which this host does not know")
    return HttpTrigger(
        parameter=binding["name"],
        route=resolve_settings(binding["route"], environment, what),
        methods=frozenset(str(method).upper() for method in binding.get("methods") or ()),
        access=Access[level],
    )


def _read_queue(binding: Mapping[str, Any], environment: Mapping[str, str], what: str) -> QueueTrigger:
    queue_name = resolve_settings(binding["queueName"], environment, what)
    if not re.fullmatch(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*", queue_name):
        raise HostStartError(
            f"{what} names the queue {queue_name!r}: write 3 to 63 lower-case letters, digits and dashes"
        )
    return QueueTrigger(binding["name"], queue_name, binding.get("connection") or "AzureWebJobsStorage")


def _read_timer(binding: Mapping[str, Any], environment: Mapping[str, str], what: str) -> TimerTrigger:
    return TimerTrigger(
        parameter=binding["name"],
        schedule=resolve_settings(binding["schedule"], environment, what),
        run_on_startup=bool(binding.get("runOnStartup")),
        use_monitor=binding.get("useMonitor") is not False,
    )


_TRIGGERS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, str], str], Trigger]] = {
    "httpTrigger": _read_http,
    "queueTrigger": _read_queue,
    "timerTrigger": _read_timer,
}


def _described(error: Exception, app_path: Path) -> str:
    """The error in one line, with the last place inside the app's folder."""
    folder = app_path.resolve()
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(folder)]
    where = f" ({Path(frames[-1].filename).relative_to(folder)}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {one_line(error)}{where}"

"""`python -m local up | services | host`: the local stack's commands (README, On this machine).

Each prints one line, `READY {json}`, to standard output when everything answers; the log goes to standard
error. Ctrl-C or SIGTERM ends it with exit code 0; 1: something failed; 2: wrong usage, or a port is taken.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from local.errors import CommandFailed
from local.ports import (
    DEFAULT_FUNCTIONS_PORT,
    DEFAULT_PORTS,
    FUNCTIONS_OFFSET,
    PortTaken,
    block_of_ports,
    is_free,
)
from local.processes import watched
from local.stack import READY, running_stack

# What only `services` or only `host` needs is imported there: it takes as long as all the rest of a start.

PLATFORM_VISIBILITY_SECONDS = 600

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep what is stored in this folder. Without it, storage lives in memory.",
)
port_base_option = click.option(
    "--port-base",
    type=click.IntRange(1024, 65535 - FUNCTIONS_OFFSET),
    help="Listen on the ports from here on: blob, queue, data factory, Azurite's blob, functions."
    " Without it: the well-known ports, or free ones when any of those is taken.",
)
app_option = click.option(
    "--app",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="The folder of function_app.py, host.json and local.settings.json. Default: the current one.",
)
visibility_option = click.option(
    "--visibility-seconds",
    type=click.FloatRange(min=1),
    default=PLATFORM_VISIBILITY_SECONDS,
    show_default=True,
    help="How long the queue hides a message that is being worked on. The platform's value is fixed.",
)


@click.group()
def cli() -> None:
    """What Snapkeep needs, and Snapkeep itself, on this machine and on loopback only."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Their INFO lines hold the URL of every request, azure's its headers too.
    for chatty in ("azure", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


@cli.command()
@data_option
@port_base_option
@app_option
@visibility_option
def up(data: Path | None, port_base: int | None, app: Path, visibility_seconds: float) -> None:
    """Run the services and the app."""
    service_arguments = []
    host_arguments = ["--app", str(app), "--visibility-seconds", str(visibility_seconds)]
    if data is not None:
        service_arguments += ["--data", str(data)]
    if port_base is not None:
        service_arguments += ["--port-base", str(port_base)]
        host_arguments += ["--port", str(port_base + FUNCTIONS_OFFSET)]

    async def run() -> None:
        async with running_stack(service_arguments, host_arguments) as (services, host):
            print_ready(host.ready)
            await asyncio.gather(services.ended(), host.ended())

    run_until_stopped(run())


@cli.command()
@data_option
@port_base_option
def services(data: Path | None, port_base: int | None) -> None:
    """Run everything but the app."""
    from local.services import running_services

    async def run() -> None:
        ports = None if port_base is None else block_of_ports(port_base)
        async with running_services(data, ports) as running:
            print_ready(running.ready)
            await running.ended()

    run_until_stopped(run())


@cli.command()
@click.option(
    "--services",
    "services_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file with the READY object of `python -m local services`. Without it, the settings say it all.",
)
@click.option("--port", type=click.IntRange(0, 65535), help="0: a free one. Default: 7071, or a free one.")
@app_option
@visibility_option
def host(services_file: Path | None, port: int | None, app: Path, visibility_seconds: float) -> None:
    """Run the app alone."""
    from local.app_environment import app_environment, read_local_settings, read_services, services_of
    from local.host import FunctionsHost, HostOptions, run_host
    from local.programs import azcopy

    with one_line_errors(), watched():
        services = None if services_file is None else read_services(services_file)
        # The app reads its settings from this process's environment, as on the platform.
        os.environ.update(app_environment(os.environ, read_local_settings(app), azcopy(), services))
        options = HostOptions(app_path=app, port=functions_port(port, services), visibility_seconds=visibility_seconds)

        def on_ready(running: FunctionsHost) -> None:
            keys = {"function_key": running.function_key, "master_key": running.master_key}
            print_ready({"functions": running.url, **keys, **services_of(os.environ)})

        asyncio.run(run_host(options, on_ready))


def print_ready(ready: Mapping[str, Any]) -> None:
    print(f"{READY}{json.dumps(ready)}", flush=True)


def functions_port(wanted: int | None, services: Mapping[str, str] | None) -> int:
    """The port for the app. Raises PortTaken when a certain one is wanted and taken.

    The well-known port goes with the services' well-known ports: of two stacks that start at the same
    moment one has those, so both cannot want this one.
    """
    if wanted is not None:
        if wanted and not is_free(wanted):
            raise PortTaken(wanted)
        return wanted
    first_stack = services is None or f":{DEFAULT_PORTS.blob}/" in services["source"]
    return DEFAULT_FUNCTIONS_PORT if first_stack and is_free(DEFAULT_FUNCTIONS_PORT) else 0


def run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it is done or a SIGINT or SIGTERM cancels it; nothing that it started is left."""

    async def run() -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- for the type checker
        loop = asyncio.get_running_loop()

        def stop() -> None:
            for number in (signal.SIGINT, signal.SIGTERM):  # impatience must not cut the cleaning up short
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        with contextlib.suppress(asyncio.CancelledError):
            await work

    with one_line_errors(), watched():
        asyncio.run(run())


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """What a user can mend ends the command with its message alone."""
    try:
        yield
    except CommandFailed as error:
        print(f"error: {error}", file=sys.stderr)
        raise click.exceptions.Exit(error.exit_code) from None


if __name__ == "__main__":
    cli(prog_name="python -m local")

"""The Functions app: four functions, each of which parses its trigger, calls one operation, and answers."""

import logging
import time

import azure.functions as func

from shared import web
from shared.errors import AlreadyRunning, SnapkeepError
from shared.operations.backup import back_up
from shared.operations.protect import protect as protect_container
from shared.operations.sync import sync as sync_all
from shared.operations.timed import reconcile_on_timer
from shared.runtime import NO_CONTEXT, SnapkeepApp

app = SnapkeepApp()
log = logging.getLogger("snapkeep")


@app.function_name("protect")
@app.route(route="protect", methods=["GET", "POST"])
async def protect(req: func.HttpRequest, context: func.Context = NO_CONTEXT) -> func.HttpResponse:
    """Snapshots what changed in one container, and has it backed up."""
    began = time.monotonic()
    try:
        call = web.protect_call(req)
        protected = await app.run(
            "protect",
            lambda services: protect_container(services, *call, elapsed=lambda: time.monotonic() - began),
            context,
        )
    except SnapkeepError as error:
        return web.error_answer(error)
    except Exception:  # Data Factory takes JSON objects alone, also of a defect
        log.exception("protect failed unexpectedly")
        return web.error_answer(SnapkeepError("unexpected error; the app's log has its trace"))
    return web.answer(protected)


@app.function_name("backup")
@app.queue_trigger(arg_name="msg", queue_name="%SNAPKEEP_BACKUP_QUEUE%", connection="BackupQueue")
async def backup(msg: func.QueueMessage, context: func.Context = NO_CONTEXT) -> None:
    """Carries out one request for backups."""
    redelivered = (msg.dequeue_count or 1) > 1
    await app.run(
        "backup",
        lambda services: back_up(services, msg.get_body(), msg.id or "", redelivered=redelivered),
        context,
    )


@app.function_name("sync")
@app.timer_trigger(arg_name="timer", schedule="%SNAPKEEP_SYNC_SCHEDULE%")
async def sync(timer: func.TimerRequest, context: func.Context = NO_CONTEXT) -> None:
    """Mirrors the configured containers with azcopy."""
    try:
        await app.run("sync", sync_all, context)
    except AlreadyRunning as other:
        log.info("%s", other)


@app.function_name("reconcile")
@app.timer_trigger(arg_name="timer", schedule="%SNAPKEEP_RECONCILE_SCHEDULE%")
async def reconcile(timer: func.TimerRequest, context: func.Context = NO_CONTEXT) -> None:
    """Fills in missing snapshots and backups in all containers."""
    began = time.monotonic()
    try:
        await app.run(
            "reconcile",
            lambda services: reconcile_on_timer(services, elapsed=lambda: time.monotonic() - began),
            context,
        )
    except AlreadyRunning as other:
        log.info("%s", other)

"""A function app for the tests of the local Functions host: it does as it is told, and writes down what it saw.

Settings: HOST_APP_EVENTS names the file that takes one JSON object a line; HOST_APP_QUEUE and HOST_APP_SCHEDULE are
resolved by the triggers. An order is a JSON object such as {"do": "fail"}.
"""

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import Any

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


class OrderedToFail(Exception):
    """What a function raises when it was told to fail."""


def record(event: str, **details: Any) -> None:
    line = json.dumps({"event": event, "process": os.getpid(), **details})
    with Path(os.environ["HOST_APP_EVENTS"]).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


async def obey(order: dict[str, Any]) -> None:
    match order.get("do"):
        case "fail":
            raise OrderedToFail(order.get("saying", "as told"))
        case "sleep":
            await asyncio.sleep(order["seconds"])
        case "hold":
            # Until the test creates the file.
            while not Path(order["until"]).exists():  # noqa: ASYNC110, ASYNC240 -- the test may be another process
                await asyncio.sleep(0.01)


@app.route(route="echo/{name?}", methods=["GET", "POST"])
async def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Answers with what it was given."""
    await obey(json.loads(req.params.get("order", "{}")))
    seen = {
        "method": req.method,
        "url": req.url,
        "params": dict(req.params),
        "route": dict(req.route_params),
        "header": req.headers.get("x-test"),
        "body": req.get_body().decode(),
        "function": context.function_name,
    }
    record("echo", **seen)
    return func.HttpResponse(
        json.dumps(seen), status_code=201, mimetype="application/json", headers={"x-answer": "yes"}
    )


@app.route(route="open", auth_level=func.AuthLevel.ANONYMOUS)
def open_to_all(req: func.HttpRequest) -> str:
    """Not a coroutine: it runs in a thread."""
    return "the main thread" if threading.current_thread() is threading.main_thread() else "another thread"


@app.route(route="secret", auth_level=func.AuthLevel.ADMIN)
async def secret(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("for administrators")


@app.queue_trigger(arg_name="msg", queue_name="%HOST_APP_QUEUE%", connection="BackupQueue")
async def work(msg: func.QueueMessage) -> None:
    """Does as the message says."""
    body = msg.get_body().decode()
    order = json.loads(body)
    record("work started", order=order, id=msg.id, delivery=msg.dequeue_count)
    try:
        await obey(order)
    except asyncio.CancelledError:
        record("work cancelled", order=order)
        raise
    record("work done", order=order)


@app.timer_trigger(arg_name="timer", schedule="%HOST_APP_SCHEDULE%", run_on_startup=False)
async def tick(timer: func.TimerRequest) -> None:
    """Takes as long as HOST_APP_TICK_SECONDS says."""
    status = timer.schedule_status  # type: ignore[attr-defined]  # the library's abstract class lacks it
    record("tick started", past_due=timer.past_due, status=status)
    await asyncio.sleep(float(os.environ.get("HOST_APP_TICK_SECONDS", "0")))
    record("tick done")

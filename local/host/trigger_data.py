"""What a trigger hands to a function: the same data and metadata that the platform's host sends to its
worker.

From azure-functions-host (GrpcMessageConversionExtensions, Utility.ApplyBindingData) and the queue
extension's QueueTriggerBinding; the azure-functions library turns them into HttpRequest, QueueMessage and
TimerRequest.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from azure.functions.meta import Datum
from azure.storage.queue import QueueMessage

from local.host.schedule import ScheduleStatus


@dataclass(frozen=True)
class TriggerData:
    datum: Datum
    metadata: Mapping[str, Datum] = field(default_factory=dict)


def http_data(
    method: str,
    url: str,
    headers: Iterable[tuple[str, str]],
    query: Iterable[tuple[str, str]],
    route_parameters: Mapping[str, str],
    body: bytes,
) -> TriggerData:
    """Values of one name are joined by commas; query parameters without a value are left out, as the platform
    does.
    """
    value = {
        "method": _string(method),
        "url": _string(url),
        "headers": _joined((name.lower(), text) for name, text in headers),
        "query": _joined((name, text) for name, text in query if text),
        "params": {name: _string(text) for name, text in route_parameters.items()},
        "body": Datum(body, "bytes"),
    }
    return TriggerData(Datum(value, "http"))


def queue_data(body: str, message: QueueMessage) -> TriggerData:
    metadata = {
        "QueueTrigger": _string(body),
        "Id": _string(message.id),
        "DequeueCount": Datum(json.dumps(message.dequeue_count), "json"),
        "PopReceipt": _string(message.pop_receipt or ""),
        "InsertionTime": _time(message.inserted_on),
        "ExpirationTime": _time(message.expires_on),
        "NextVisibleTime": _time(message.next_visible_on),
    }
    return TriggerData(Datum(body, "string"), overwritten_by_body(metadata, body))


def manual_queue_data(body: str) -> TriggerData:
    """Of a message that never was in a queue: started by an administrator."""
    metadata = {"QueueTrigger": _string(body), "Id": _string(""), "DequeueCount": Datum("0", "json")}
    return TriggerData(Datum(body, "string"), overwritten_by_body(metadata, body))


def timer_data(status: ScheduleStatus | None, *, past_due: bool) -> TriggerData:
    value = {
        "Schedule": {"AdjustForDST": True},
        "ScheduleStatus": status.to_document() if status else None,
        "IsPastDue": past_due,
    }
    return TriggerData(Datum(json.dumps(value), "json"))


def overwritten_by_body(metadata: Mapping[str, Datum], body: str) -> dict[str, Datum]:
    """Metadata as the platform has it after ApplyBindingData.

    The top-level properties of a JSON object, arrays and nulls aside, replace metadata of the same name in
    whatever case (python-worker#1373): a body with an `id` gives the message that id.
    """
    changed = dict(metadata)
    if not (body.strip().startswith("{") and body.strip().endswith("}")):
        return changed
    try:
        properties = json.loads(body)
    except ValueError:
        return changed
    names = {name.lower(): name for name in metadata}
    for name, value in properties.items():
        if name.lower() in names and value is not None and not isinstance(value, list):
            changed[names[name.lower()]] = (
                Datum(json.dumps(value), "json") if isinstance(value, dict) else _string(str(value))
            )
    return changed


def _string(text: str) -> Datum:
    return Datum(text, "string")


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, Datum]:
    values: dict[str, list[str]] = {}
    for name, text in pairs:
        values.setdefault(name, []).append(text)
    return {name: _string(",".join(texts)) for name, texts in values.items()}


def _time(moment: datetime | None) -> Datum:
    return Datum(json.dumps(moment.isoformat() if moment else None), "json")

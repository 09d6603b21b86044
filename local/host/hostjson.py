"""host.json: the settings of the host that the app's authors choose, with the platform's defaults."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from local.host.errors import HostStartError

# Queue service: at most 32 messages in one request.
_MAX_BATCH = 32
# azure-webjobs-sdk, QueuePollingIntervals.Minimum.
MIN_POLLING_SECONDS = 0.1


@dataclass(frozen=True)
class QueueSettings:
    """`extensions.queues`. `retry_delay_seconds` is its `visibilityTimeout`, which is for failed messages
    only.
    """

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    retry_delay_seconds: float = 0
    max_polling_seconds: float = 60
    base64: bool = True


@dataclass(frozen=True)
class HostSettings:
    """What this host uses of host.json. A `function_timeout_seconds` of None means no limit."""

    route_prefix: str = "api"
    # Outside of the Consumption plan (ScriptJobHostOptionsSetup.DefaultFunctionTimeout).
    function_timeout_seconds: float | None = 1800
    queues: QueueSettings = field(default_factory=QueueSettings)


def read_host_json(path: Path) -> HostSettings:
    """Raises HostStartError that names the wrong entry."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise HostStartError(f"{path.name} is missing from the app's folder: create it") from None
    except ValueError as error:
        raise HostStartError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("version") != "2.0":
        raise HostStartError(f'{path.name} must be a JSON object with "version": "2.0"')
    extensions = _section(document, "extensions", "")
    return HostSettings(
        route_prefix=_text(_section(extensions, "http", "extensions."), "routePrefix", "api").strip("/"),
        function_timeout_seconds=_function_timeout(document.get("functionTimeout")),
        queues=_queues(_section(extensions, "queues", "extensions.")),
    )


def parse_time_span(text: object, name: str) -> float:
    """Seconds of a .NET TimeSpan, `[d.]hh:mm:ss[.fff]`.

    Stricter than .NET, which reads a bare number, and the first part of "24:00:00", as days: people who write
    those mean milliseconds and hours (azure-webjobs-sdk#2967).
    """
    pattern = r"(?:([0-9]+)\.)?([0-9]{2}):([0-9]{2}):([0-9]{2}(?:\.[0-9]{1,7})?)"
    match = re.fullmatch(pattern, text) if isinstance(text, str) else None
    if match is None:
        raise HostStartError(
            f"host.json: {name} must be written hh:mm:ss, not {text!r} (the platform reads a bare number as days)"
        )
    days, hours, minutes, seconds = match.groups()
    if int(hours) > 23 or int(minutes) > 59 or float(seconds) >= 60:
        raise HostStartError(f"host.json: {name} is out of range: {text!r} (write a day as 1.00:00:00)")
    return timedelta(
        days=int(days or 0), hours=int(hours), minutes=int(minutes), seconds=float(seconds)
    ).total_seconds()


def _queues(section: Mapping[str, Any]) -> QueueSettings:
    where = "extensions.queues."
    batch_size = _number(section, "batchSize", 16, 1, _MAX_BATCH)
    encoding = _text(section, "messageEncoding", "base64").lower()
    if encoding not in {"base64", "none"}:
        raise HostStartError(f'host.json: {where}messageEncoding must be "base64" or "none", not {encoding!r}')
    polling = parse_time_span(section.get("maxPollingInterval", "00:01:00"), where + "maxPollingInterval")
    if polling < MIN_POLLING_SECONDS:
        raise HostStartError(f"host.json: {where}maxPollingInterval must be at least 00:00:00.100")
    return QueueSettings(
        batch_size=batch_size,
        # The platform's default is half a batch for each processor; this host counts as one.
        new_batch_threshold=_number(section, "newBatchThreshold", batch_size // 2, 0, None),
        max_dequeue_count=_number(section, "maxDequeueCount", 5, 1, None),
        retry_delay_seconds=parse_time_span(section.get("visibilityTimeout", "00:00:00"), where + "visibilityTimeout"),
        max_polling_seconds=polling,
        base64=encoding == "base64",
    )


def _function_timeout(value: object) -> float | None:
    if value is None:
        return HostSettings.function_timeout_seconds
    if value in {"-1", -1}:
        return None
    seconds = parse_time_span(value, "functionTimeout")
    if seconds < 1:
        raise HostStartError("host.json: functionTimeout must be at least 00:00:01, or -1 for no limit")
    return seconds


def _section(parent: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    section = parent.get(name, {})
    if not isinstance(section, dict):
        raise HostStartError(f"host.json: {where}{name} must be an object")
    return section


def _text(section: Mapping[str, Any], name: str, default: str) -> str:
    value = section.get(name, default)
    if not isinstance(value, str):
        raise HostStartError(f"host.json: {name} must be a string, not {value!r}")
    return value


def _number(section: Mapping[str, Any], name: str, default: int, lowest: int, highest: int | None) -> int:
    value = section.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < lowest or (highest and value > highest):
        bounds = f"from {lowest} to {highest}" if highest else f"from {lowest} up"
        raise HostStartError(f"host.json: extensions.queues.{name} must be a whole number {bounds}, not {value!r}")
    return value

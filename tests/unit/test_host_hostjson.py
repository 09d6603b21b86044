"""The local host reads host.json as the platform does, and refuses what the platform would misread."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.host import HostStartError
from local.host.hostjson import HostSettings, QueueSettings, parse_time_span, read_host_json


def read(folder: Path, document: object) -> HostSettings:
    path = folder / "host.json"
    path.write_text(json.dumps(document))
    return read_host_json(path)


def test_without_entries_the_defaults_of_the_platform_hold(tmp_path: Path) -> None:
    settings = read(tmp_path, {"version": "2.0", "logging": {"anything": 1}})
    assert (settings.route_prefix, settings.function_timeout_seconds) == ("api", 1800)
    assert settings.queues == QueueSettings(
        batch_size=16,
        new_batch_threshold=8,
        max_dequeue_count=5,
        retry_delay_seconds=0,
        max_polling_seconds=60,
        base64=True,
    )


def test_every_entry_is_read(tmp_path: Path) -> None:
    queues = {
        "batchSize": 4,
        "newBatchThreshold": 1,
        "maxDequeueCount": 3,
        "visibilityTimeout": "00:01:30",
        "maxPollingInterval": "00:00:02.500",
        "messageEncoding": "none",
    }
    settings = read(
        tmp_path,
        {
            "version": "2.0",
            "functionTimeout": "1.00:00:01",
            "extensions": {"http": {"routePrefix": ""}, "queues": queues},
        },
    )
    assert (settings.route_prefix, settings.function_timeout_seconds) == ("", 86401)
    assert settings.queues == QueueSettings(4, 1, 3, 90, 2.5, False)


def test_half_a_batch_is_the_default_threshold(tmp_path: Path) -> None:
    settings = read(tmp_path, {"version": "2.0", "extensions": {"queues": {"batchSize": 5}}})
    assert settings.queues.new_batch_threshold == 2


def test_a_function_timeout_of_minus_one_is_no_limit(tmp_path: Path) -> None:
    assert read(tmp_path, {"version": "2.0", "functionTimeout": "-1"}).function_timeout_seconds is None


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], '"version": "2.0"'),
        ({}, '"version": "2.0"'),
        ({"version": "2.0", "functionTimeout": "00:00:00"}, "functionTimeout must be at least"),
        ({"version": "2.0", "functionTimeout": 30}, "functionTimeout must be written hh:mm:ss, not 30"),
        ({"version": "2.0", "extensions": []}, "extensions must be an object"),
        ({"version": "2.0", "extensions": {"http": {"routePrefix": 1}}}, "routePrefix must be a string"),
    ],
)
def test_a_wrong_document_is_named(tmp_path: Path, document: object, message: str) -> None:
    with pytest.raises(HostStartError) as caught:
        read(tmp_path, document)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("batchSize", 0),
        ("batchSize", 33),
        ("batchSize", "4"),
        ("batchSize", True),
        ("newBatchThreshold", -1),
        ("maxDequeueCount", 0),
        ("messageEncoding", "utf8"),
        ("visibilityTimeout", 30),
        ("maxPollingInterval", "00:00:00.050"),
        # The platform reads both as days (azure-webjobs-sdk#2967).
        ("maxPollingInterval", 2000),
        ("maxPollingInterval", "24:00:00"),
    ],
)
def test_a_wrong_queue_entry_is_named(tmp_path: Path, entry: str, value: Any) -> None:
    with pytest.raises(HostStartError, match=entry):
        read(tmp_path, {"version": "2.0", "extensions": {"queues": {entry: value}}})


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    with pytest.raises(HostStartError, match=r"host\.json is missing"):
        read_host_json(path)
    path.write_text("{,}")
    with pytest.raises(HostStartError, match=r"host\.json is not JSON"):
        read_host_json(path)


@pytest.mark.parametrize("text", ["", "10", "1:00:00", "00:60:00", "00:00:60", "-00:00:01", "00:00:01\n", "٠٠:٠٠:٠١"])
def test_what_is_not_a_time_span_is_refused(text: str) -> None:
    with pytest.raises(HostStartError):
        parse_time_span(text, "it")

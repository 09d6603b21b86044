"""What people see of a message for a shard, and what replaying it asks for."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime

from shared.decisions.messages import encode, scan
from shared.decisions.poison import inspect, replay_refusal, replayed
from shared.model import QueuedMessage

NOW = "2026-11-20T14:05:33Z"


def test_a_message_for_a_shard_is_shown_and_asked_for_anew() -> None:
    message = scan("raw", "0123456789ab", 3, NOW, attempt=4, reason="died")
    text = b64encode(encode(message)).decode()
    inspected = inspect(QueuedMessage("q-poison", "id", text, datetime(2026, 11, 20, tzinfo=UTC), None, "r", None))
    row = inspected.row()
    assert {key: row[key] for key in ("kind", "container", "blobs", "names", "attempt", "reason", "malformed")} == {
        "kind": "scan",
        "container": "raw",
        "blobs": 0,
        "names": [],
        "attempt": 4,
        "reason": "died",
        "malformed": None,
    }
    assert replay_refusal(inspected, protected=True) is None
    assert replayed(message) == scan("raw", "0123456789ab", 3, NOW)

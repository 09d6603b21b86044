"""What can never be carried out ends in the poison queue, with its reason, and holds nothing else up."""

import json
from base64 import b64encode
from uuid import uuid4

import pytest

from tests.e2e.app import App, Queue, until
from tests.e2e.conftest import NewPair

BLOB = {"name": "a.csv", "etag": "0x8DE27F0A1B2C3D4", "last_modified": "2026-11-20T14:05:33Z", "size": 812}
REQUEST = {"schema": 1, "kind": "backup", "attempt": 1, "requested_at": "2026-11-20T14:05:33Z", "blobs": [BLOB]}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"container": "MARK", ', "Invalid JSON"),
        (json.dumps(REQUEST | {"container": "MARK", "schema": 2}), "schema"),
        (json.dumps(REQUEST | {"container": "MARK", "kind": "erase"}), "kind"),
        (json.dumps(REQUEST | {"container": "MARK", "target": "elsewhere"}), "target"),
        (json.dumps(REQUEST | {"container": "MARK", "blobs": [BLOB | {"name": "a/../b"}]}), "blobs"),
        (json.dumps(REQUEST | {"container": "secret-MARK"}), "excluded by the settings"),
        (json.dumps(REQUEST | {"container": "snapkeep-state", "reason": "MARK"}), "excluded by the settings"),
    ],
    ids=["malformed", "schema", "kind", "extra key", "refused name", "excluded container", "own container"],
)
async def test_a_message_that_can_never_be_carried_out_is_poisoned_after_five_attempts(
    app: App, queue: Queue, body: str, reason: str
) -> None:
    mark = f"e2e-{uuid4().hex[:10]}"
    body = body.replace("MARK", mark)
    await queue.drained()  # of what other tests may have left
    logged = len(app.log)
    await queue.put_text(b64encode(body.encode()).decode())
    assert await queue.poisoned(mark) == body
    await queue.drained()
    log = app.log[logged:]
    assert log.count("Executing backup") == 5
    failures = [line for line in log.splitlines() if "Executed backup (failed" in line]
    assert len(failures) == 5
    assert all("MessageError" in line and reason in line for line in failures), failures


async def test_text_that_is_not_base64_is_poisoned_at_once(app: App, queue: Queue) -> None:
    mark = f"not base64: {uuid4().hex}"
    await queue.drained()  # of what other tests may have left
    logged = len(app.log)
    await queue.put_text(mark)
    assert await queue.poisoned(mark) == mark
    await queue.drained()
    assert "Executing backup" not in app.log[logged:]


async def test_a_blob_that_keeps_failing_is_poisoned_with_its_reason_and_the_others_are_done_once(
    app: App, queue: Queue, new_pair: NewPair
) -> None:
    pair = await new_pair({"a.csv": b"one", "b.csv": b"two", "foreign.csv": b"three"})
    foreign = pair.source.get_blob_client("foreign.csv")
    properties = await foreign.get_blob_properties()
    etag = properties.etag.strip('"')
    name = f"foreign.csv/{properties.last_modified:%Y%m%dT%H%M%SZ}-{etag}.csv"
    # Somebody else's blob stands where its backup belongs.
    await pair.backups.create_container()
    planted = await pair.backups.upload_blob(name, b"not a backup", metadata={"snapkeep_source_etag": "0x1"})
    logged = len(app.log)

    await app.protect(pair.name)
    poisoned = json.loads(await queue.poisoned(pair.name))
    await queue.drained()

    assert [blob["name"] for blob in poisoned["blobs"]] == ["foreign.csv"]
    assert (poisoned["schema"], poisoned["kind"], poisoned["attempt"]) == (1, "backup", 5)
    assert "is not the backup of that version" in poisoned["reason"]
    assert "left untouched" in poisoned["reason"]
    await until(lambda: app.log[logged:].count(f"backup {pair.name}:") == 5, "five attempts in the log")
    attempts = [line for line in app.log[logged:].splitlines() if f"backup {pair.name}:" in line]
    assert ["2 copied" in line for line in attempts] == [True, False, False, False, False]
    left = await planted.download_blob()
    assert await left.readall() == b"not a backup"
    # With the foreign blob out of the way, an operator puts the poisoned message back: all is well.
    await planted.delete_blob()
    await queue.put(poisoned | {"attempt": 1})
    await queue.drained()
    assert await pair.problems() == []

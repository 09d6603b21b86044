"""`protect` over HTTP, as the README promises it (Calling `protect`): parameters, answers, statuses, keys."""

from uuid import uuid4

import pytest

from shared.decisions.continuation import Position, to_text
from tests.e2e.app import App, Queue
from tests.e2e.conftest import NewPair

KEYS = [
    *("container", "prefix", "scanned", "changed", "snapshots_created", "requested", "vanished", "failed"),
    *("complete", "continuation", "elapsed_seconds"),
]
THREE = {"a.csv": b"a", "b/b.csv": b"bb", "b/c.csv": b""}


async def test_get_with_a_query_protects_what_is_new(app: App, queue: Queue, new_pair: NewPair) -> None:
    pair = await new_pair(THREE)
    answer = await app.call("GET", f"/api/protect?container={pair.name}")
    assert answer.status == 200
    assert list(answer.json) == KEYS
    assert 0 < answer.json["elapsed_seconds"] < 60
    counts = {"scanned": 3, "changed": 3, "snapshots_created": 3, "requested": 3, "vanished": 0, "failed": []}
    expected = {"container": pair.name, "prefix": "", **counts, "complete": True, "continuation": None}
    assert {key: answer.json[key] for key in expected} == expected
    await queue.drained()
    assert await pair.problems() == []


async def test_post_with_a_json_body_and_a_prefix_protects_that_part(app: App, queue: Queue, new_pair: NewPair) -> None:
    pair = await new_pair({"b/b.csv": b"bb", "b/c.csv": b""})
    await pair.source.upload_blob("a.csv", b"not asked for")
    answer = await app.call("POST", "/api/protect", json={"container": pair.name, "prefix": "b/"})
    assert answer.status == 200
    assert (answer.json["prefix"], answer.json["scanned"], answer.json["requested"]) == ("b/", 2, 2)
    await queue.drained()
    assert await pair.problems() == []


async def test_a_second_call_with_nothing_changed_does_nothing(app: App, queue: Queue, new_pair: NewPair) -> None:
    pair = await new_pair(THREE)
    await app.protect(pair.name)
    await queue.drained()
    again = await app.protect(pair.name)
    assert (again["scanned"], again["changed"], again["snapshots_created"], again["requested"]) == (3, 0, 0, 0)
    assert await pair.problems() == []


async def test_each_version_of_a_changed_blob_gets_a_backup_of_its_own(
    app: App, queue: Queue, new_pair: NewPair
) -> None:
    pair = await new_pair({"a.csv": b"first", "b.csv": b"stays"})
    await app.protect(pair.name)
    await pair.write({"a.csv": b"second"})
    assert (await app.protect(pair.name))["changed"] == 1
    await queue.drained()
    assert len(pair.versions) == 3
    assert await pair.problems() == []


async def test_a_key_in_the_query_is_no_parameter_of_ours(app: App, new_pair: NewPair) -> None:
    pair = await new_pair()
    query = f"code={app.function_key}&clientId=default&container={pair.name}"
    answer = await app.call("GET", f"/api/protect?{query}", key="")
    assert (answer.status, answer.json["scanned"]) == (200, 0)


@pytest.mark.parametrize("key", ["", "wrong"])
async def test_without_the_key_nothing_is_done(app: App, new_pair: NewPair, key: str) -> None:
    pair = await new_pair(THREE)
    answer = await app.call("POST", "/api/protect", key=key, json={"container": pair.name})
    assert answer.status == 401
    assert isinstance(answer.json, dict)
    assert not [blob async for blob in pair.source.list_blobs(include=["snapshots"]) if blob.snapshot]


@pytest.mark.parametrize(
    ("query", "body", "status", "code", "said"),
    [
        ("", "", 400, "BadParameter", "container"),
        ("?container=", "", 400, "BadParameter", "container"),
        ("?container=raw&account=other", "", 400, "BadParameter", "account"),
        ("?container=raw&container=other", "", 400, "BadParameter", "container"),
        ("?container=Raw", "", 400, "BadParameter", "Raw"),
        ("?container=a--b", "", 400, "BadParameter", "a--b"),
        ("?container=ab", "", 400, "BadParameter", "ab"),
        (f"?container={'a' * 61}", "", 400, "BadParameter", "too long"),
        ("?container=https://other.blob.core.windows.net/raw", "", 400, "BadParameter", "other.blob"),
        ("?container=raw&continuation=bm90IG9uZQ", "", 400, "BadParameter", "continuation"),
        (f"?container=raw&prefix={'p' * 1025}", "", 400, "BadParameter", "prefix"),
        ("", "not JSON", 400, "BadParameter", "body"),
        ("", "[]", 400, "BadParameter", "body"),
        ("", '{"container": 1}', 400, "BadParameter", "container"),
        ("", '{"container": "raw", "url": "x"}', 400, "BadParameter", "url"),
        ("?container=one", '{"container": "two"}', 400, "BadParameter", "container"),
        ("?container=secret-stuff", "", 403, "ContainerExcluded", "secret-stuff"),
        ("?container=$logs", "", 403, "ContainerExcluded", "$logs"),
        ("?container=snapkeep-state", "", 403, "ContainerExcluded", "snapkeep-state"),
        ("?container=azure-webjobs-hosts", "", 403, "ContainerExcluded", "azure-webjobs-hosts"),
        ("?container=nobody-made-this", "", 404, "ContainerNotFound", "nobody-made-this"),
    ],
)
async def test_a_call_that_cannot_be_carried_out_is_told_why(
    app: App, query: str, body: str, status: int, code: str, said: str
) -> None:
    answer = await app.call("POST", f"/api/protect{query}", data=body)
    assert answer.status == status, answer.text
    assert list(answer.json) == ["error"]
    assert answer.json["error"]["code"] == code
    assert said in answer.json["error"]["message"]


async def test_a_continuation_of_another_container_is_refused(app: App) -> None:
    theirs = to_text(Position(container="another", marker="x"))
    answer = await app.call("POST", "/api/protect", json={"container": "raw", "continuation": theirs})
    assert (answer.status, answer.json["error"]["code"]) == (400, "BadParameter")
    assert "another container" in answer.json["error"]["message"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_another_method_is_refused_with_a_json_object(app: App, method: str) -> None:
    answer = await app.call(method, f"/api/protect?container=raw-{uuid4().hex[:8]}")
    assert 400 <= answer.status < 500
    assert isinstance(answer.json, dict)

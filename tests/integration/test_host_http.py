"""The local Functions host over HTTP: routes, keys, what reaches a function and what it answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.host_harness import Trial

pytest_plugins = ["tests.integration.host_harness"]


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/api/echo", None, 401),
        ("/api/echo", "wrong", 401),
        ("/api/echo", "function", 201),
        ("/api/echo", "master", 201),
        ("/api/open", None, 200),
        ("/api/open", "wrong", 200),
        ("/api/secret", None, 401),
        ("/api/secret", "function", 401),
        ("/api/secret", "master", 200),
        ("/api/nothing", "master", 404),
        ("/echo", "master", 404),
    ],
)
async def test_a_route_opens_to_the_keys_of_its_level(trial: Trial, path: str, key: str | None, status: int) -> None:
    async with trial.host() as host:
        keys = {"function": host.function_key, "master": host.master_key, "wrong": "wrong", None: None}
        assert (await trial.call(host.url + path, key=keys[key])).status == status


async def test_a_key_may_stand_in_the_query_but_the_header_comes_first(trial: Trial) -> None:
    async with trial.host() as host:
        url = f"{host.url}/api/echo?code={host.function_key}"
        assert (await trial.call(url)).status == 201
        assert (await trial.call(url, key="wrong")).status == 401


async def test_a_refused_request_does_not_run_the_function(trial: Trial) -> None:
    async with trial.host() as host:
        await trial.call(host.url + "/api/echo")
        await trial.call(host.url + "/api/echo", "DELETE", key=host.function_key)
    assert trial.events.all("echo") == []


async def test_a_method_that_the_route_does_not_take_is_not_found_and_says_why(trial: Trial) -> None:
    async with trial.host() as host:
        answer = await trial.call(host.url + "/api/echo", "DELETE", key=host.function_key)
    assert (answer.status, json.loads(answer.text)) == (
        404,
        {"error": {"code": "NotFound", "message": "no function takes DELETE on this route"}},
    )


async def test_a_function_gets_the_request_and_its_answer_is_returned(trial: Trial) -> None:
    async with trial.host() as host:
        answer = await trial.call(
            host.url + "/api/ECHO/b%C3%A9a?a=1&a=2&empty=&c=x%26y",
            "POST",
            key=host.function_key,
            headers={"X-Test": "yes"},
            data="body é".encode(),
        )
    assert (answer.status, answer.headers["x-answer"]) == (201, "yes")
    assert answer.headers["Content-Type"] == "application/json"
    seen = json.loads(answer.text)
    assert (seen["method"], seen["route"], seen["header"]) == ("POST", {"name": "béa"}, "yes")
    assert (seen["body"], seen["function"]) == ("body é", "echo")
    # Values of one name joined, those without a value left out: as the platform does.
    assert seen["params"] == {"a": "1,2", "c": "x&y"}


async def test_a_function_that_is_no_coroutine_runs_in_a_thread(trial: Trial) -> None:
    async with trial.host() as host:
        assert (await trial.call(host.url + "/api/open")).text == "another thread"


async def test_an_exception_in_a_function_is_a_500_that_tells_nothing(
    trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    order = json.dumps({"do": "fail", "saying": "one\r\ntwo \x1b[31mred"})
    async with trial.host() as host:
        answer = await trial.call(host.url + "/api/echo", key=host.function_key, params={"order": order})
        assert (answer.status, answer.text) == (500, "")
        assert host.function_key not in caplog.text
    [line] = [record.getMessage() for record in caplog.records if "OrderedToFail" in record.getMessage()]
    assert r"one\r\ntwo \x1b[31mred" in line
    assert line.isprintable()


async def test_an_answer_that_takes_too_long_is_a_504_and_the_function_goes_on(trial: Trial) -> None:
    async with trial.host(http_answer_seconds=0.1) as host:
        answer = await trial.call(
            host.url + "/api/echo", key=host.function_key, params={"order": json.dumps(trial.hold)}
        )
        assert answer.status == 504
        assert trial.events.all("echo") == []
        trial.release()
        await trial.events.wait("echo")


async def test_an_invocation_past_the_function_timeout_fails(trial: Trial) -> None:
    async with trial.host() as host:
        answer = await trial.call(
            host.url + "/api/echo", key=host.function_key, params={"order": json.dumps(trial.hold)}
        )
    assert answer.status == 500


async def test_a_body_over_the_limit_is_refused(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.host.http.MAX_BODY_BYTES", 1000)
    async with trial.host() as host:
        assert (await trial.call(host.url + "/api/echo", "POST", key=host.function_key, data=b"x" * 1000)).status == 201
        assert (await trial.call(host.url + "/api/echo", "POST", key=host.function_key, data=b"x" * 1001)).status == 413


async def test_the_ping_needs_no_key_and_the_status_the_master_key(trial: Trial) -> None:
    async with trial.host() as host:
        assert (await trial.call(host.url + "/admin/host/ping")).status == 200
        assert (await trial.call(host.url + "/admin/host/status")).status == 401
        answer = await trial.call(host.url + "/admin/host/status", key=host.master_key)
    assert json.loads(answer.text) == {"state": "Running"}


@pytest.mark.parametrize(
    ("key", "name", "body", "status"),
    [
        (None, "tick", {"input": ""}, 401),
        ("function", "tick", {"input": ""}, 403),
        ("master", "nothing", {"input": ""}, 404),
        ("master", "tick", [], 400),
        ("master", "tick", {"input": 1}, 400),
        ("master", "tick", {}, 202),
    ],
)
async def test_starting_a_function_by_hand_takes_the_master_key_and_an_object(
    trial: Trial, key: str | None, name: str, body: object, status: int
) -> None:
    async with trial.host() as host:
        keys = {"function": host.function_key, "master": host.master_key, None: None}
        answer = await trial.call(f"{host.url}/admin/functions/{name}", "POST", key=keys[key], json=body)
        assert answer.status == status
        if status == 202:
            await trial.events.wait("tick done")
    assert len(trial.events.all("tick done")) == (1 if status == 202 else 0)


async def test_functions_of_every_trigger_can_be_started_by_hand(trial: Trial) -> None:
    async with trial.host() as host:
        for name, given in (("TICK", ""), ("work", '{"n": 1}'), ("echo", "hello")):
            answer = await trial.call(
                f"{host.url}/admin/functions/{name}", "POST", key=host.master_key, json={"input": given}
            )
            assert answer.status == 202
        [tick] = await trial.events.wait("tick started")
        [work] = await trial.events.wait("work done")
        [echo] = await trial.events.wait("echo")
    assert tick["past_due"] is False
    assert work["order"] == {"n": 1}
    assert (echo["method"], echo["body"]) == ("POST", "hello")

"""The local Functions host's queue trigger, with the platform's semantics, against Azurite."""

from __future__ import annotations

import asyncio
import base64
import logging
import signal
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import ResourceNotFoundError

from tests.fault_proxy import FaultProxy, Rule, answer, call_hook

if TYPE_CHECKING:
    from local.gateway.messages import Request
    from tests.integration.host_harness import Trial

pytest_plugins = ["tests.integration.host_harness"]


def queue_url(stack: dict[str, str]) -> str:
    return stack["queue"].partition("QueueEndpoint=")[2].partition(";")[0]


async def test_a_message_whose_function_succeeds_is_deleted(trial: Trial) -> None:
    await trial.send({"n": 1})
    async with trial.host():
        [done] = await trial.events.wait("work started")
        await trial.drained()
    assert (done["order"], done["delivery"]) == ({"n": 1}, 1)


async def test_a_message_that_fails_five_times_is_poisoned_as_it_was(
    trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    await trial.send({"do": "fail", "text": "é"})
    [sent] = await trial.queue.peek_messages()
    async with trial.host():
        assert await trial.poisoned(1) == [sent.content]
        await trial.drained()
    assert [event["delivery"] for event in trial.events.all("work started")] == [1, 2, 3, 4, 5]
    # At its fifth failure, not when it is taken for a sixth time.
    assert "failed 5 times" in caplog.text


async def test_base64_with_line_breaks_is_taken(trial: Trial) -> None:
    await trial.queue.send_message("eyJu\r\nIjogMX0=\n")
    async with trial.host():
        [started] = await trial.events.wait("work started")
    assert started["order"] == {"n": 1}


@pytest.mark.parametrize("text", ['{"plain": "text"}', "te,xt!", "é"])
async def test_text_that_is_not_base64_is_poisoned_at_once(trial: Trial, text: str) -> None:
    await trial.queue.send_message(text)
    async with trial.host():
        assert await trial.poisoned(1) == [text]
        await trial.drained()
    assert trial.events.all() == []


async def test_a_message_that_was_taken_too_often_is_poisoned_unseen(trial: Trial) -> None:
    await trial.send({"n": 1})
    for _ in range(5):
        message = await trial.queue.receive_message(visibility_timeout=60)
        assert message is not None
        await trial.queue.update_message(message.id, message.pop_receipt, visibility_timeout=0)
    async with trial.host():
        await trial.poisoned(1)
    assert trial.events.all() == []


async def test_a_failing_message_of_a_poison_queue_is_not_poisoned_again(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    await trial.poison.create_queue()
    monkeypatch.setenv("HOST_APP_QUEUE", trial.poison.queue_name)
    await trial.poison.send_message(base64.b64encode(b'{"do": "fail"}').decode())
    async with trial.host():
        await trial.events.wait("work started")
    properties = await trial.poison.get_queue_properties()
    assert properties.approximate_message_count == 1
    assert await trial.poison.peek_messages() == []


async def test_a_message_that_runs_longer_than_its_visibility_is_delivered_once(trial: Trial) -> None:
    await trial.send({"do": "sleep", "seconds": 1.4})
    # Two hosts: the second would take the message as soon as it shows.
    async with trial.host(visibility_seconds=1), trial.host(visibility_seconds=1):
        await trial.events.wait("work done")
        await trial.drained()
    assert len(trial.events.all("work started")) == 1


async def test_a_message_past_the_function_timeout_is_cancelled_and_fails(trial: Trial) -> None:
    await trial.send(trial.hold)
    async with trial.host():
        await trial.events.wait("work cancelled")
        trial.release()
        await trial.events.wait("work done")
        await trial.drained()
    assert [event["delivery"] for event in trial.events.all("work started")] == [1, 2]


async def test_a_message_that_the_host_was_killed_with_comes_back_after_its_visibility(trial: Trial) -> None:
    await trial.send({"do": "sleep", "seconds": 1})
    async with trial.host_process(visibility_seconds=2) as killed:
        [first] = await trial.events.wait("work started")
        await killed.kill()
    async with trial.host(visibility_seconds=2):
        _, second = await trial.events.wait("work started", 2)
        await trial.events.wait("work done")
        await trial.drained()
    assert (first["delivery"], second["delivery"]) == (1, 2)
    assert first["id"] == second["id"]
    assert first["process"] != second["process"]


async def test_no_more_messages_run_at_once_than_a_batch_and_the_threshold(trial: Trial) -> None:
    # host.json: batches of 2, and the next one while at most 1 runs.
    await trial.send(*[trial.hold] * 6)
    async with trial.host():
        await trial.events.wait("work started", 2)
        # With two running, none but those is taken: the other four are still to be seen.
        assert len(await trial.queue.peek_messages(max_messages=32)) == 4
        trial.release()
        await trial.events.wait("work done", 6)
        await trial.drained()
    running = highest = 0
    for event in trial.events.all():
        running += {"work started": 1, "work done": -1}[event["event"]]
        highest = max(highest, running)
    assert highest <= 3


async def test_a_queue_that_does_not_exist_yet_is_waited_for_and_never_created(
    trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await trial.queue.delete_queue()
    async with trial.host():
        await trial.until(lambda: "it does not exist yet" in caplog.text, "the host to miss the queue")
        with pytest.raises(ResourceNotFoundError):
            await trial.queue.get_queue_properties()
        await trial.queue.create_queue()
        await trial.send({"n": 1})
        await trial.events.wait("work done")


async def test_a_queue_that_is_deleted_and_made_again_is_found_again(
    trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with trial.host():
        await trial.send({"n": 1})
        await trial.events.wait("work done")
        await trial.queue.delete_queue()
        await trial.until(lambda: "it does not exist yet" in caplog.text, "the host to miss the queue")
        await trial.queue.create_queue()
        await trial.send({"n": 2})
        await trial.events.wait("work done", 2)


async def test_a_body_with_an_id_of_its_own_overwrites_the_metadata_as_on_the_platform(trial: Trial) -> None:
    await trial.send({"id": "mine", "DEQUEUECOUNT": 7})
    async with trial.host():
        [event] = await trial.events.wait("work started")
    assert (event["id"], event["delivery"]) == ("mine", 7)


async def test_a_stopping_host_waits_for_the_function_and_settles_its_message(trial: Trial) -> None:
    await trial.send(trial.hold, {"n": 2}, {"n": 3})
    async with trial.host() as host:
        await trial.events.wait("work started", 1)
        stopping = asyncio.create_task(host.stop(grace_seconds=10))
        await asyncio.sleep(0)
        trial.release()
        await stopping
        assert any("until" in event["order"] for event in trial.events.all("work done"))
        started, done = (len(trial.events.all(name)) for name in ("work started", "work done"))
    assert started == done
    assert await trial.length() == 3 - done


async def test_a_function_that_outlasts_the_grace_is_cancelled_and_its_message_stays(trial: Trial) -> None:
    await trial.send(trial.hold)
    async with trial.host() as host:
        await trial.events.wait("work started")
        await host.stop(grace_seconds=0)
        assert len(trial.events.all("work cancelled")) == 1
    # Neither deleted nor released: hidden until its visibility ends, as after a crash.
    assert await trial.length() == 1
    assert await trial.queue.peek_messages() == []


async def test_messages_that_arrive_while_the_host_stops_are_given_back(
    trial: Trial, stack: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, stopping = asyncio.Event(), asyncio.Event()

    async def answer_late(_request: Request) -> None:
        taken.set()
        await stopping.wait()

    await trial.send({"n": 1})
    async with FaultProxy(queue_url(stack)) as proxy:
        monkeypatch.setenv("BackupQueue", proxy.in_place_of(stack["queue"], "Queue"))
        proxy.add(Rule(call_hook(after=answer_late), method="GET", target="numofmessages", times=1))
        async with trial.host() as host:
            await taken.wait()
            stop = asyncio.create_task(host.stop())
            await asyncio.sleep(0)
            stopping.set()
            await stop
    assert len(await trial.queue.peek_messages()) == 1
    assert trial.events.all() == []


async def test_a_renewal_under_way_is_awaited_before_the_message_is_deleted(
    trial: Trial, stack: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    renewing, finished = asyncio.Event(), asyncio.Event()

    async def answer_late(_request: Request) -> None:
        renewing.set()
        await finished.wait()

    await trial.send(trial.hold)
    async with FaultProxy(queue_url(stack)) as proxy:
        monkeypatch.setenv("BackupQueue", proxy.in_place_of(stack["queue"], "Queue"))
        proxy.add(Rule(call_hook(after=answer_late), method="PUT", target="visibilitytimeout", times=1))
        async with trial.host(visibility_seconds=3):
            await renewing.wait()
            trial.release()
            await trial.events.wait("work done")
            await asyncio.sleep(0.1)
            assert proxy.count(method="DELETE") == 0, "deleted with a receipt that the renewal has replaced"
            finished.set()
            await trial.drained()


async def test_a_renewal_that_the_service_refuses_for_a_moment_is_tried_again(
    trial: Trial, stack: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.host.connections.RETRIES", {"retry_total": 0})
    await trial.send({"do": "sleep", "seconds": 1.4})
    async with FaultProxy(queue_url(stack)) as proxy:
        monkeypatch.setenv("BackupQueue", proxy.in_place_of(stack["queue"], "Queue"))
        refused = proxy.add(Rule(answer(503, "ServerBusy"), method="PUT", target="visibilitytimeout", times=1))
        async with trial.host(visibility_seconds=1):
            await trial.events.wait("work done")
            await trial.drained()
    assert refused.hits == 1
    assert len(trial.events.all("work started")) == 1


async def test_a_terminated_process_finishes_its_work_and_exits_with_0(trial: Trial) -> None:
    await trial.send({"do": "sleep", "seconds": 0.3})
    async with trial.host_process() as process:
        await trial.events.wait("work started")
        process.signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert len(trial.events.all("work done")) == 1
    assert await trial.length() == 0

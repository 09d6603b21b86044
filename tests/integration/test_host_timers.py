"""The local Functions host's timers: one run at a time, on one instance, with missed runs made up for once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.host_harness import Trial

pytest_plugins = ["tests.integration.host_harness"]

# The app's timer, unless a test says otherwise, comes at new year.
NEW_YEAR = datetime(2030, 1, 1, tzinfo=UTC)


def clock_at(moment: datetime) -> Callable[[], datetime]:
    """A clock that shows `moment` now and goes on from there."""
    offset = moment - datetime.now(UTC)
    return lambda: datetime.now(UTC) + offset


async def test_a_timer_fires_when_it_is_due(trial: Trial) -> None:
    async with trial.host(clock=clock_at(NEW_YEAR - timedelta(seconds=0.3))):
        [tick] = await trial.events.wait("tick started")
        await trial.events.wait("tick done")
    assert tick["past_due"] is False
    assert tick["status"]["Next"] == NEW_YEAR.isoformat()


async def test_missed_runs_are_made_up_for_once_and_are_past_due(trial: Trial) -> None:
    async with trial.host(clock=clock_at(NEW_YEAR - timedelta(days=1))):
        await trial.timer_comes_next(NEW_YEAR)
    # Three new years have gone by.
    async with trial.host(clock=clock_at(datetime(2032, 5, 1, tzinfo=UTC))):
        await trial.timer_comes_next(datetime(2033, 1, 1, tzinfo=UTC))
    # The next host finds nothing missed, and fires on time.
    async with trial.host(clock=clock_at(datetime(2033, 1, 1, tzinfo=UTC) - timedelta(seconds=0.3))):
        await trial.timer_comes_next(datetime(2034, 1, 1, tzinfo=UTC))
    assert [tick["past_due"] for tick in trial.events.all("tick started")] == [True, False]


async def test_a_run_that_was_cut_off_by_stopping_is_past_due_for_the_next_host(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST_APP_TICK_SECONDS", "60")
    async with trial.host(clock=clock_at(NEW_YEAR - timedelta(seconds=0.3))):
        await trial.events.wait("tick started")
    monkeypatch.setenv("HOST_APP_TICK_SECONDS", "0")
    async with trial.host(clock=clock_at(NEW_YEAR + timedelta(minutes=5))):
        await trial.events.wait("tick done")
    assert [tick["past_due"] for tick in trial.events.all("tick started")] == [False, True]


async def test_a_changed_schedule_makes_nothing_past_due(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    async with trial.host(clock=clock_at(NEW_YEAR - timedelta(days=1))):
        await trial.timer_comes_next(NEW_YEAR)
    monkeypatch.setenv("HOST_APP_SCHEDULE", "0 0 0 1 7 *")
    async with trial.host(clock=clock_at(datetime(2030, 8, 1, tzinfo=UTC))):
        await trial.timer_comes_next(datetime(2031, 7, 1, tzinfo=UTC))
    assert trial.events.all("tick started") == []


async def test_a_run_that_outlasts_its_interval_is_never_overlapped(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST_APP_SCHEDULE", "* * * * * *")
    monkeypatch.setenv("HOST_APP_TICK_SECONDS", "1.2")
    async with trial.host():
        await trial.events.wait("tick done", 2)
    names = [event["event"] for event in trial.events.all()]
    assert names[:4] == ["tick started", "tick done"] * 2


async def test_a_timer_below_a_minute_has_no_memory(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST_APP_SCHEDULE", "* * * * * *")
    async with trial.host():
        [tick, *_] = await trial.events.wait("tick started")
    assert tick["status"] == {}
    assert await trial.timer_status() is None


async def test_of_two_hosts_one_fires_the_timer_and_the_other_takes_over(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST_APP_SCHEDULE", "* * * * * *")
    async with trial.host_process(lock_retry_seconds=0.1) as second:
        await trial.events.wait("tick started")
        async with trial.host() as first:
            # Both run through two seconds, and each of these fires once.
            ticks = await trial.events.wait("tick started", 3)
            assert {tick["process"] for tick in ticks} == {second.pid}
            assert (await trial.call(first.url + "/admin/host/ping")).status == 200
            second.signal(signal.SIGTERM)
            assert await second.wait() == 0
            fired = len(trial.events.all("tick started"))
            ticks = await trial.events.wait("tick started", fired + 1)
            assert ticks[-1]["process"] == os.getpid()


async def test_a_timer_waits_for_storage_that_does_not_answer(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setattr("local.host.connections.RETRIES", {"retry_total": 0})
    away = f"http://127.0.0.1:{unused_tcp_port}/source"
    monkeypatch.setenv(
        "AzureWebJobsStorage", f"AccountName=source;AccountKey=c291cmNl;BlobEndpoint={away};QueueEndpoint={away}"
    )
    async with trial.host() as host:
        answer = await trial.call(f"{host.url}/admin/functions/tick", "POST", key=host.master_key, json={"input": ""})
        assert answer.status == 202
        await trial.events.wait("tick done")

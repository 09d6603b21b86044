"""The notes of how each function's last run ended: after every kind of ending, seldom, and never in the way."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.decisions.status_documents import RunNote
from shared.decisions.sync_report import PairOutcome, PairReport, SyncReport
from shared.errors import (
    AlreadyRunning,
    BadParameter,
    ContainerExcluded,
    ContainerNotFound,
    MessageError,
    StorageFailed,
    SyncFailed,
)
from shared.operations.backup import Outcome
from shared.operations.protect import Protected
from shared.operations.run_notes import MAX_DETAIL, REPEATED_SECONDS, RunNotes
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import FaultProxy, Rule, answer

STARTED = datetime(2026, 11, 20, 14, 5, 33, tzinfo=UTC)
FUNCTIONS = ("protect", "backup", "sync", "reconcile")


class Clock:
    """Monotonic seconds that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notes(clock: Clock) -> RunNotes:
    return RunNotes(clock)


@pytest.fixture(autouse=True)
async def nothing_noted_before(services: Services) -> AsyncIterator[None]:
    for function in FUNCTIONS:
        await services.state.delete(f"runs/{function}.json")
    yield
    for function in FUNCTIONS:
        await services.state.delete(f"runs/{function}.json")


async def gives(result: Any) -> Any:
    return result


async def raises(error: BaseException) -> Any:
    raise error


async def noted(services: Services, function: str) -> dict[str, Any] | None:
    document: dict[str, Any] | None = await services.state.read(f"runs/{function}.json")
    if document is not None:
        RunNote.model_validate(document)  # as `snapkeep status` reads it
    return document


def pairs(outcome: PairOutcome, reason: str | None = None) -> SyncReport:
    return SyncReport(STARTED, STARTED, False, 50, (PairReport("lake", "lakebak", outcome, reason),))


def coverage(*, complete: bool) -> dict[str, Any]:
    return {"complete": complete, "totals": {"protected": 7, "versions": 9}}


PROTECTED: dict[str, Any] = {"container": "raw", "scanned": 1200, "changed": 3}
ENDINGS = [
    ("protect", Protected(**PROTECTED, complete=True), "succeeded", "raw: 1,200 blobs scanned, 3 changed"),
    (
        "protect",
        Protected(**PROTECTED, continuation="x"),
        "incomplete",
        "raw: 1,200 blobs scanned, 3 changed; to be continued",
    ),
    (
        "protect",
        Protected(**PROTECTED, complete=True, failed=[{"name": "a", "reason": "b"}]),
        "incomplete",
        "raw: 1,200 blobs scanned, 3 changed, 1 could not be snapshotted",
    ),
    ("protect", Protected(**PROTECTED, error=StorageFailed("list raw: 503")), "failed", "raw: list raw: 503"),
    ("backup", Outcome(copied=2, already=1), "succeeded", "2 versions copied, 1 were there"),
    ("sync", pairs(PairOutcome.SUCCEEDED), "succeeded", "pairs of containers mirrored: 1"),
    ("reconcile", coverage(complete=True), "succeeded", "7 of 9 versions protected"),
    ("reconcile", coverage(complete=False), "incomplete", "7 of 9 versions protected; not all looked at"),
]


@pytest.mark.parametrize(("function", "result", "ending", "detail"), ENDINGS, ids=lambda value: str(value)[:30])
async def test_what_a_run_gave_is_handed_on_and_noted(
    open_services: OpenServices, notes: RunNotes, function: str, result: Any, ending: str, detail: str
) -> None:
    services = open_services(now=lambda: STARTED)
    assert await notes.noted(services, function, gives(result)) is result
    assert await noted(services, function) == {
        "schema": 1,
        "function": function,
        "started_at": "2026-11-20T14:05:33Z",
        "finished_at": "2026-11-20T14:05:33Z",
        "result": ending,
        "detail": detail,
    }


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (MessageError("it is not JSON"), "it is not JSON"),
        (SyncFailed("sync failed: lake to lakebak timed out", {}), "sync failed: lake to lakebak timed out"),
        (KeyError("AccountKey=c2VjcmV0"), "unexpected KeyError; see the app's log"),
        (StorageFailed("x" * 9999), "x" * MAX_DETAIL),
    ],
    ids=["ours", "sync", "a defect", "long"],
)
async def test_what_a_run_raised_is_raised_on_and_noted_without_secrets(
    services: Services, notes: RunNotes, error: Exception, detail: str
) -> None:
    with pytest.raises(type(error)):
        await notes.noted(services, "backup", raises(error))
    note = await noted(services, "backup")
    assert note is not None
    assert (note["result"], note["detail"]) == ("failed", detail)


@pytest.mark.parametrize(
    "error",
    [AlreadyRunning("x"), BadParameter("x"), ContainerExcluded("x"), ContainerNotFound("x")],
    ids=lambda error: type(error).__name__,
)
async def test_a_call_that_was_not_to_be_carried_out_is_no_run(
    services: Services, notes: RunNotes, error: Exception
) -> None:
    with pytest.raises(type(error)):
        await notes.noted(services, "protect", raises(error))
    assert await noted(services, "protect") is None


async def test_the_same_ending_is_noted_once_a_minute(
    open_behind_proxies: OpenServices, blob_proxy: FaultProxy, notes: RunNotes, clock: Clock
) -> None:
    services = open_behind_proxies()
    for _ in range(50):
        await notes.noted(services, "backup", gives(Outcome(copied=1)))
        clock.seconds += REPEATED_SECONDS / 100
    assert blob_proxy.count(method="PUT", target="runs/backup.json") == 1
    clock.seconds += REPEATED_SECONDS / 2
    await notes.noted(services, "backup", gives(Outcome(copied=1)))
    assert blob_proxy.count(method="PUT", target="runs/backup.json") == 2


async def test_another_ending_is_noted_at_once(services: Services, notes: RunNotes) -> None:
    for work, result in ((gives(Outcome()), "succeeded"), (raises(MessageError("x")), "failed")):
        await ended(notes, services, work)
        note = await noted(services, "backup")
        assert note is not None
        assert note["result"] == result


async def test_functions_are_noted_apart(services: Services, notes: RunNotes) -> None:
    await notes.noted(services, "backup", gives(Outcome()))
    await notes.noted(services, "protect", gives(Protected(complete=True)))
    assert await noted(services, "backup")
    assert await noted(services, "protect")


@pytest.mark.parametrize("work", [lambda: gives(Outcome(copied=4)), lambda: raises(MessageError("no JSON"))])
async def test_a_note_that_cannot_be_written_is_a_warning_and_changes_nothing(
    open_behind_proxies: OpenServices,
    blob_proxy: FaultProxy,
    notes: RunNotes,
    caplog: pytest.LogCaptureFixture,
    work: Any,
) -> None:
    services = open_behind_proxies()
    rule = blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), target="runs/backup.json"))
    with caplog.at_level(logging.WARNING):
        await ended(notes, services, work())
    assert rule.hits == 1
    assert "the run of backup could not be noted" in caplog.text


async def ended(notes: RunNotes, services: Services, work: Awaitable[Any]) -> None:
    """Runs to its end, which may be the error that the message was poison for."""
    with suppress(MessageError):
        await notes.noted(services, "backup", work)

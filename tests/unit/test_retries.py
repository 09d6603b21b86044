"""What becomes of versions that could not be backed up this time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.messages import Message, decode, encode, follow_up, request
from shared.decisions.retries import MAX_ATTEMPTS, Failure, GiveUp, Resend, after_failures
from shared.model import Version

NOW = "2026-11-20T14:05:33Z"


def version(name: str) -> Version:
    return Version(name, "0x8DE27F0A1B2C3D4", NOW, 812)


def message(*names: str, attempt: int = 1) -> Message:
    return request("raw", [version(name) for name in names], NOW, attempt)


def failure(name: str, reason: str = "503 ServerBusy") -> Failure:
    return Failure(version(name), reason)


def names(step: Resend | GiveUp) -> list[str]:
    return [one.name for one in step.request.versions]


def test_without_failures_there_is_nothing_to_do() -> None:
    assert after_failures(message("a", "b"), [], 15) == []


def test_a_version_that_fails_is_asked_for_again_alone_and_later() -> None:
    (again,) = after_failures(message("a", "b", "c"), [failure("b")], 15)
    assert again == Resend(request("raw", [version("b")], NOW, 2, "503 ServerBusy"), 15)


def test_several_that_fail_among_others_are_each_asked_for_alone_with_their_own_reason() -> None:
    steps = after_failures(message("a", "b", "c"), [failure("a", "one"), failure("c", "two")], 15)
    assert [(names(step), step.request.reason) for step in steps] == [(["a"], "one"), (["c"], "two")]


def test_when_all_fail_they_stay_together() -> None:
    (again,) = after_failures(message("a", "b"), [failure("a"), failure("b")], 15)
    assert isinstance(again, Resend)
    assert names(again) == ["a", "b"]
    assert again.request.attempt == 2


def test_the_delay_doubles_with_each_attempt_and_the_fifth_failure_is_the_last() -> None:
    asked: Message = message("a")
    delays = []
    for _ in range(MAX_ATTEMPTS - 1):
        (step,) = after_failures(asked, [failure("a")], 15)
        assert isinstance(step, Resend)
        delays.append(step.delay_seconds)
        asked = step.request
    assert delays == [15, 30, 60, 120]
    assert asked.attempt == MAX_ATTEMPTS == 5
    assert after_failures(asked, [failure("a", "403")], 15) == [GiveUp(request("raw", [version("a")], NOW, 5, "403"))]


def test_a_version_given_up_on_is_not_asked_for_again_whatever_attempt_the_message_claims() -> None:
    for attempt in (5, 6, 100):
        steps = after_failures(message("a", attempt=attempt), [failure("a")], 15)
        assert [type(step) for step in steps] == [GiveUp]


def test_versions_given_up_on_stand_there_each_with_its_own_reason() -> None:
    failures = [failure("a", "403"), failure("b", "409"), failure("c", "403")]
    steps = after_failures(message("a", "b", "c", attempt=5), failures, 15)
    assert [(type(step), names(step), step.request.reason) for step in steps] == [
        (GiveUp, ["a", "c"], "403"),
        (GiveUp, ["b"], "409"),
    ]


def test_a_run_that_failed_is_followed_by_a_request_and_not_by_the_same_run() -> None:
    asked = request("raw", [version("a"), version("b")], NOW, 2)
    followed = follow_up(asked, asked.versions, "r-1", "0" * 32, NOW)
    (again,) = after_failures(followed, [failure("a", "run r-1 Failed")], 15)
    assert again == Resend(request("raw", [version("a")], NOW, 3, "run r-1 Failed"), 30)


@given(st.integers(1, 40), st.integers(1, 8), st.floats(0.001, 3600), st.data())
def test_every_failed_version_is_in_exactly_one_step_that_a_queue_takes(
    count: int, attempt: int, delay: float, data: st.DataObject
) -> None:
    every = [f"{number:03}" for number in range(count)]
    failed = sorted(data.draw(st.sets(st.sampled_from(every))))
    failures = [failure(name, data.draw(st.text(st.characters(exclude_categories=["Cs"])))) for name in failed]
    steps = after_failures(message(*every, attempt=attempt), failures, delay)
    assert sorted(name for step in steps for name in names(step)) == failed
    for step in steps:
        assert isinstance(step, GiveUp) == (attempt >= 5)
        assert decode(encode(step.request)).requested_at == NOW
        if isinstance(step, Resend):
            assert step.delay_seconds == delay * 2 ** (attempt - 1)
            assert step.request.attempt == attempt + 1

"""What lines of the log say that they are about."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from shared.logged import about, mark_records

log = logging.getLogger("shared.operations.backup")


@pytest.fixture(autouse=True)
def marking() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    mark_records()
    mark_records()
    yield
    logging.setLogRecordFactory(before)


def test_a_line_ends_with_what_it_is_about(caplog: pytest.LogCaptureFixture) -> None:
    with about(function="backup", invocation="6f1c"), about(container="raw", engine="server"):
        log.warning("%d copied", 3)
        log.warning("100 % copied")
    log.warning("done")
    assert caplog.messages == [
        "3 copied [function=backup invocation=6f1c container=raw]",
        "100 % copied [function=backup invocation=6f1c container=raw]",
        "done",
    ]
    assert vars(caplog.records[0])["container"] == "raw"


def test_a_value_from_outside_stays_one_value_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with about(function="protect", container='a" run=x %s\n'):
        log.warning("%s", "read")
    assert caplog.messages == [r'read [function=protect container="a\" run=x %s\n"]']


def test_lines_of_others_and_lines_outside_of_a_function_stay_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    with about(function="backup", container="raw"):
        logging.getLogger("azure.storage").warning("retrying")
        logging.getLogger("sharedother").warning("else")
    with about(container="raw"):
        log.warning("by hand")
    assert caplog.messages == ["retrying", "else", "by hand"]


async def test_tasks_that_are_started_within_are_about_the_same_and_apart_from_each_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def one(container: str) -> None:
        with about(container=container):
            await asyncio.sleep(0)
            log.warning("done")

    with about(function="reconcile", run="r1"):
        await asyncio.gather(one("raw"), one("lake"))
    assert sorted(caplog.messages) == [
        "done [function=reconcile run=r1 container=lake]",
        "done [function=reconcile run=r1 container=raw]",
    ]

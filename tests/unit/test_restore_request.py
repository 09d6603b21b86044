"""What somebody asked to have restored, and the job that it means."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.containers import MAX_CONTAINER_CHARACTERS, is_container_name
from shared.decisions.restore_request import Arguments, begun_at, default_target, job_id
from shared.decisions.restoring import Job, Mode
from shared.errors import BadParameter, ContainerExcluded

NOW = datetime(2026, 11, 20, 14, 5, 33, tzinfo=UTC)
SERVICE_NOW = "2026-11-20T14:05:40Z"
ACCOUNTS = ["https://source.invalid", "https://backup.invalid"]


def job(*, has_source: bool = True, **given_arguments: Any) -> Job:
    return Arguments("raw", **given_arguments).job(NOW, SERVICE_NOW, has_source=has_source)


def test_by_default_it_is_the_state_of_now_by_the_services_clock_in_a_new_container() -> None:
    made = job()
    assert (made.at, made.mode, made.origin) == (SERVICE_NOW, Mode.CONTAINER, "auto")
    assert (made.target, made.target_account) == ("raw-restored-20261120t140540z", "source")
    assert job(at="now").at == SERVICE_NOW


def test_a_versions_own_time_is_never_the_future_when_this_machines_clock_is_behind() -> None:
    assert job(at="2026-11-20T14:05:39Z").at == "2026-11-20T14:05:39Z"


@pytest.mark.parametrize(
    ("service_now", "expected"),
    [("2026-11-20T14:15:40Z", "2026-11-20T14:05:40Z"), ("2026-11-20T13:15:40Z", "2026-11-20T13:05:40Z")],
)
def test_ago_is_counted_by_the_clock_that_stamps_the_versions(service_now: str, expected: str) -> None:
    assert Arguments("raw", at="10 minutes ago").job(NOW, service_now, has_source=True).at == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "source"),
        ({"origin": "backups"}, "source"),
        ({"origin": "backups", "to_account": "source"}, "source"),
        ({"to_account": "backup"}, "backup"),
        ({"in_place": True, "origin": "backups"}, "source"),
        ({"has_source": False}, "backup"),
        ({"has_source": False, "directory": "/files"}, "backup"),
    ],
)
def test_the_target_account_is_one_that_is_there(options: dict[str, Any], expected: str) -> None:
    assert job(**options).target_account == expected


def test_without_a_source_account_backups_are_all_that_is_looked_at() -> None:
    assert job(has_source=False).origin == "backups"


def test_in_place_and_a_directory_are_their_own_targets() -> None:
    assert (job(in_place=True).mode, job(in_place=True).target) == (Mode.IN_PLACE, "raw")
    assert (job(directory="/files").mode, job(directory="/files").target) == (Mode.DIRECTORY, "/files")


def test_names_are_taken_once_each() -> None:
    assert job(names=("b", "a", "b")).names == ("a", "b")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefix": "a", "names": ("b",)}, "--prefix and --name exclude each other"),
        ({"names": ("",)}, "--name: expects a blob's name"),
        ({"names": ("\udcff",)}, "expect text in UTF-8"),
        ({"to": "x", "in_place": True}, "--to and --in-place exclude each other"),
        ({"in_place": True, "directory": "/x"}, "--in-place and --to-directory exclude each other"),
        ({"delete_newer": True}, "--delete-newer is for --in-place alone"),
        ({"overwrite": True}, "--overwrite is for --to-directory alone"),
        ({"to_account": "backup", "in_place": True}, "--to-account says where a container is made"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        Arguments("raw", **options).check(has_source=True)


@pytest.mark.parametrize("options", [{"in_place": True}, {"origin": "snapshots"}, {"to_account": "source"}])
def test_what_needs_the_source_account_is_refused_without_it(options: dict[str, Any]) -> None:
    arguments = Arguments("raw", **options)
    arguments.check(has_source=True)
    with pytest.raises(BadParameter, match="set SourceStorage"):
        arguments.check(has_source=False)


@pytest.mark.parametrize("container", ["$logs", "snapkeep-state", "azure-webjobs-hosts", "snapkeep-drill-1"])
def test_a_system_container_was_never_protected(container: str) -> None:
    with pytest.raises(ContainerExcluded):
        Arguments(container).check(has_source=True)


@pytest.mark.parametrize("container", ["UPPER", "a", "a--b", "x" * 61, "../etc"])
def test_what_is_no_containers_name_is_refused(container: str) -> None:
    with pytest.raises(BadParameter):
        Arguments(container).check(has_source=True)


@pytest.mark.parametrize("target", ["UPPER", "../x", "snapkeep-state", "$web"])
def test_a_target_that_can_be_none_is_refused(target: str) -> None:
    with pytest.raises(BadParameter, match="--to: "):
        job(to=target)


def test_a_target_that_is_named_as_backup_containers_are_is_refused_in_their_account_alone() -> None:
    assert job(to="rawbak").target == "rawbak"
    with pytest.raises(BadParameter, match="as the backup containers of that account do"):
        job(to="rawbak", to_account="backup")


@given(st.from_regex(r"[a-z0-9]([a-z0-9]|-(?=[a-z0-9])){2,62}", fullmatch=True).filter(is_container_name))
def test_the_default_target_is_always_a_legal_name(container: str) -> None:
    target = default_target(container, SERVICE_NOW)
    assert is_container_name(target)
    assert len(target) <= MAX_CONTAINER_CHARACTERS
    assert target.endswith("-restored-20261120t140540z")


def test_the_same_arguments_are_known_again() -> None:
    arguments = Arguments("raw", names=("a", "b"), at="2 hours ago")
    digest = arguments.digest(ACCOUNTS)
    assert replace(arguments, names=("b", "a", "a")).digest(ACCOUNTS) == digest
    assert replace(arguments, rehydrate="high").digest(ACCOUNTS) == digest


DIFFERENT: dict[str, Any] = {
    "container": "other",
    "prefix": "p",
    "names": ("n",),
    "at": "1 hour ago",
    "to": "x",
    "to_account": "backup",
    "in_place": True,
    "directory": "/d",
    "overwrite": True,
    "origin": "backups",
    "include_deleted": True,
    "delete_newer": True,
}


def test_whatever_else_differs_is_another_restore() -> None:
    assert set(DIFFERENT) == {one.name for one in fields(Arguments)} - {"rehydrate"}
    base = Arguments("raw")
    digests = {replace(base, **{name: value}).digest(ACCOUNTS) for name, value in DIFFERENT.items()}
    digests |= {base.digest(ACCOUNTS), base.digest(ACCOUNTS[:1])}
    assert len(digests) == len(DIFFERENT) + 2


def test_a_restores_name_tells_when_it_began() -> None:
    identity = job_id(SERVICE_NOW, "0123456789")
    assert identity == "20261120t140540z-0123456789"
    assert begun_at(identity) == SERVICE_NOW
    assert begun_at("notes") is None

"""What the local host decides without a service: keys, routes, backoff, metadata, log lines."""

import json
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from azure.functions.meta import Datum
from hypothesis import given
from hypothesis import strategies as st

from local.host import HostStartError
from local.host.backoff import PollingBackoff
from local.host.keys import Access, Keys
from local.host.logtext import describe_error, one_line
from local.host.queues import poison_queue_name
from local.host.routes import compile_route
from local.host.trigger_data import overwritten_by_body

KEYS = Keys(function_key="fun", master_key="mas")


@pytest.mark.parametrize(
    ("headers", "query", "access"),
    [
        ({}, {}, Access.ANONYMOUS),
        ({"x-functions-key": "fun"}, {}, Access.FUNCTION),
        ({}, {"code": "mas"}, Access.ADMIN),
        ({"x-functions-key": "mas"}, {"code": "wrong"}, Access.ADMIN),
        ({"x-functions-key": "wrong"}, {"code": "mas"}, Access.ANONYMOUS),
        ({"x-functions-key": ""}, {}, Access.ANONYMOUS),
        ({"x-functions-key": "clé \ud800"}, {}, Access.ANONYMOUS),
    ],
)
def test_a_key_opens_its_level(headers: dict[str, str], query: dict[str, str], access: Access) -> None:
    assert KEYS.access_of(headers, query) is access


def test_keys_are_not_shown() -> None:
    assert "fun" not in f"{KEYS!r}{KEYS}"


@pytest.mark.parametrize(
    ("template", "path", "parameters"),
    [
        ("protect", "/api/protect", {}),
        ("protect", "/API/Protect/", {}),
        ("protect", "/api/protect/more", None),
        ("protect", "/protect", None),
        ("a.b", "/api/axb", None),
        ("blobs/{name}", "/api/blobs/x y", {"name": "x y"}),
        ("blobs/{name}", "/api/blobs", None),
        ("blobs/{name?}", "/api/blobs", {"name": None}),
        ("blobs/{*rest}", "/api/blobs/a/b", {"rest": "a/b"}),
        ("blobs/{*rest}", "/api/blobs", {"rest": None}),
    ],
)
def test_a_route_matches_its_paths(template: str, path: str, parameters: dict[str, Any] | None) -> None:
    match = compile_route("api", template).fullmatch(path)
    assert (match.groupdict() if match else None) == parameters


def test_a_route_that_the_host_does_not_know_is_refused() -> None:
    with pytest.raises(HostStartError, match=r"\{id:int\}"):
        compile_route("api", "blobs/{id:int}")


@given(st.floats(0.1, 120), st.integers())
def test_the_polling_interval_grows_to_its_limit_and_starts_again_after_a_message(limit: float, seed: int) -> None:
    backoff = PollingBackoff(limit, Random(seed))  # noqa: S311 -- not a secret
    waits = [backoff.next_seconds(found_messages=False) for _ in range(15)]
    assert waits[-1] == limit
    assert all(earlier <= later * 1.5 for earlier, later in pairwise(waits))
    assert backoff.next_seconds(found_messages=True) == 0.1
    assert backoff.next_seconds(found_messages=False) <= min(limit, 0.22)


@pytest.mark.parametrize(
    ("queue", "poison"),
    [
        ("backup-requests", "backup-requests-poison"),
        ("a-poison", None),
        ("q" * 56, "q" * 56 + "-poison"),
        ("q" * 57, None),
    ],
)
def test_a_queue_has_a_poison_queue_if_its_name_can(queue: str, poison: str | None) -> None:
    assert poison_queue_name(queue) == poison


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ({"id": "mine"}, "mine"),
        ({"ID": 7}, "7"),
        ({"id": {"a": 1}}, {"a": 1}),
        ({"id": ["no"]}, "theirs"),
        ({"id": None}, "theirs"),
        ({"blobs": [{"id": "deeper"}]}, "theirs"),
        ([{"id": "list"}], "theirs"),
    ],
)
def test_properties_of_the_body_replace_metadata_of_their_name(body: object, value: object) -> None:
    metadata = overwritten_by_body({"Id": Datum("theirs", "string")}, json.dumps(body))
    assert metadata["Id"].python_value == value
    assert set(metadata) == {"Id"}


@given(st.text())
def test_any_body_leaves_metadata_that_it_does_not_name(body: str) -> None:
    metadata = {"PopReceipt": Datum("receipt", "string")}
    assert overwritten_by_body(metadata, body) == metadata


@given(st.text())
def test_a_logged_value_is_one_printable_line(text: str) -> None:
    assert one_line(text).isprintable()
    assert len(one_line(text)) <= 503


def test_an_error_is_described_in_one_line_with_its_place() -> None:
    try:
        int("x\ny")
    except ValueError as error:
        line = describe_error(error)
    assert line.isprintable()
    assert line.startswith("ValueError: ")
    assert "in test_an_error_is_described" in line

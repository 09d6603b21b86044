"""The HTTP face of `protect`: what it takes, and that every answer is a JSON object with the right status."""

from __future__ import annotations

import json
from typing import Any

import azure.functions as func
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared import web
from shared.errors import (
    BadParameter,
    ContainerExcluded,
    ContainerNotFound,
    SettingsError,
    SnapkeepError,
    StorageFailed,
)
from shared.operations.protect import Protected
from shared.web import MAX_BODY_BYTES, ProtectCall, protect_call


def request(body: bytes | object = b"", **query: str) -> func.HttpRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return func.HttpRequest("POST", "https://app/api/protect", params=query, body=raw)


def answered(response: func.HttpResponse) -> tuple[int, dict[str, Any]]:
    """Status and JSON object of an answer, which it must be."""
    assert response.mimetype == "application/json"
    assert response.charset == "utf-8"
    document = json.loads(response.get_body().decode("utf-8"))
    assert type(document) is dict
    return response.status_code, document


class TestParameters:
    @pytest.mark.parametrize(
        "given_parameters",
        [
            {"container": "raw"},
            {"container": "raw", "prefix": "sales/"},
            {"container": "raw", "continuation": "abc"},
            {"container": "raw", "prefix": " é%2F&+", "continuation": "abc"},
        ],
        ids=str,
    )
    def test_query_and_body_say_the_same(self, given_parameters: dict[str, str]) -> None:
        expected = ProtectCall("raw", given_parameters.get("prefix", ""), given_parameters.get("continuation"))
        assert protect_call(request(**given_parameters)) == expected
        assert protect_call(request(given_parameters)) == expected
        assert protect_call(request(given_parameters, **given_parameters)) == expected

    @given(st.sets(st.sampled_from(["container", "prefix", "continuation"])))
    def test_parameters_may_come_from_both(self, in_query: set[str]) -> None:
        every = {"container": "raw", "prefix": "p", "continuation": "c"}
        query = {name: value for name, value in every.items() if name in in_query}
        body = {name: value for name, value in every.items() if name not in in_query}
        assert protect_call(request(body, **query)) == ProtectCall("raw", "p", "c")

    @pytest.mark.parametrize("name", ["container", "prefix", "continuation"])
    def test_query_and_body_must_not_contradict_each_other(self, name: str) -> None:
        with pytest.raises(BadParameter, match=f"{name}: the query and the body say different things"):
            protect_call(request({"container": "raw", name: "one"}, **{"container": "raw", name: "other"}))

    @pytest.mark.parametrize("body", [b"", b"  \n", b"{}", b'{"prefix": null}'])
    def test_without_a_container_there_is_nothing_to_protect(self, body: bytes) -> None:
        for query in ({}, {"container": ""}, {"prefix": "p"}):
            with pytest.raises(BadParameter, match="container: missing"):
                protect_call(request(body, **query))

    def test_null_is_a_parameter_that_is_not_given(self) -> None:
        body = {"container": "raw", "prefix": None, "continuation": None}
        assert protect_call(request(body)) == ProtectCall("raw", "", None)
        assert protect_call(request(body, prefix="p")) == ProtectCall("raw", "p", None)

    def test_an_empty_continuation_begins_anew(self) -> None:
        assert protect_call(request(container="raw", continuation="")) == ProtectCall("raw", "", None)

    @pytest.mark.parametrize("name", ["container", "prefix", "continuation"])
    @pytest.mark.parametrize("value", [1, 1.5, True, ["raw"], {"a": 1}], ids=repr)
    def test_a_parameter_is_a_text(self, name: str, value: object) -> None:
        with pytest.raises(BadParameter, match=f"{name}: expects a text"):
            protect_call(request({"container": "raw"} | {name: value}))

    @pytest.mark.parametrize("name", ["account", "Container", "containers", "id", "", "sig" * 100, "\ud800"], ids=ascii)
    def test_an_unknown_parameter_is_named_and_refused(self, name: str) -> None:
        with pytest.raises(
            BadParameter, match="unknown parameter; there are container, prefix, continuation"
        ) as refused:
            protect_call(request({"container": "raw", name: "x"}))
        assert len(str(refused.value)) < 200

    def test_the_platforms_own_parameters_are_no_concern(self) -> None:
        assert protect_call(request(container="raw", code="key", clientId="x")) == ProtectCall("raw", "", None)

    def test_a_key_in_the_body_is_refused_and_not_shown(self) -> None:
        with pytest.raises(BadParameter) as refused:
            protect_call(request({"container": "raw", "code": "s3cr3t"}))
        assert "s3cr3t" not in str(refused.value)

    def test_a_prefix_is_no_longer_than_a_name(self) -> None:
        assert protect_call(request({"container": "raw", "prefix": "😀" * 1024})).prefix == "😀" * 1024
        for prefix in ("x" * 1025, "\ud800"):
            with pytest.raises(BadParameter, match=r"prefix: expects at most 1,024 characters of text"):
                protect_call(request({"container": "raw", "prefix": prefix}))

    @pytest.mark.parametrize(
        "body",
        [
            b"raw",
            b"[]",
            b'["raw"]',
            b"null",
            b"1",
            b'"raw"',
            b"\xff",
            b'{"container": "raw"',
            b'{"container": "\xff"}',
            b"[" * 60_000,
            b'{"a":' * 10_000,
            b"9" * 60_000,
            b"container=raw",
        ],
        ids=lambda body: repr(body[:20]),
    )
    def test_a_body_is_a_json_object(self, body: bytes) -> None:
        with pytest.raises(BadParameter, match="body: expects a JSON object"):
            protect_call(request(body, container="raw"))

    def test_a_huge_body_is_not_even_read(self) -> None:
        with pytest.raises(BadParameter, match=f"at most {MAX_BODY_BYTES} bytes"):
            protect_call(request(b" " * (MAX_BODY_BYTES + 1)))
        assert protect_call(request(b'{"container": "raw"}'.ljust(MAX_BODY_BYTES))).container == "raw"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["container", "prefix", "continuation"]) | st.text(max_size=3), inner)
    ),
    max_leaves=8,
)


def outcome(call: func.HttpRequest) -> ProtectCall | func.HttpResponse:
    try:
        return protect_call(call)
    except SnapkeepError as error:
        return web.error_answer(error)


class TestAnything:
    @given(JSON, st.dictionaries(st.sampled_from(["container", "prefix", "continuation", "x"]), st.text(max_size=5)))
    def test_any_json_is_a_call_or_a_400_with_a_reason(self, body: object, query: dict[str, str]) -> None:
        self.check(request(body, **query))

    @given(st.binary(max_size=100), st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=2))
    @example(b"\xef\xbb\xbf{}", {"container": "raw"})
    @example('{"container": "raw"}'.encode("utf-16"), {})
    def test_any_bytes_are_a_call_or_a_400_with_a_reason(self, body: bytes, query: dict[str, str]) -> None:
        self.check(request(body, **query))

    def check(self, call: func.HttpRequest) -> None:
        result = outcome(call)
        if isinstance(result, ProtectCall):
            assert all(isinstance(value, str) for value in result[:2])
            assert result.continuation is None or result.continuation
            return
        status, document = answered(result)
        assert status == 400
        assert document["error"].keys() == {"code", "message"}
        assert document["error"]["code"] == "BadParameter"
        assert document["error"]["message"]


class TestAnswers:
    def test_a_complete_scan_is_200_in_the_words_of_the_contract(self) -> None:
        failed = [{"name": 'é "a".csv', "reason": "no"}]
        done = Protected(3, 3, 1, failed, [], "raw", "p", 1200, 3, True, None, 1.9)
        status, document = answered(web.answer(done))
        assert status == 200
        expected = {
            "container": "raw",
            "prefix": "p",
            "scanned": 1200,
            "changed": 3,
            "snapshots_created": 3,
            "requested": 3,
            "vanished": 1,
            "failed": failed,
            "complete": True,
            "continuation": None,
            "elapsed_seconds": 1.9,
        }
        assert document == expected
        assert list(document) == list(expected)

    def test_a_scan_to_be_continued_is_202(self) -> None:
        status, document = answered(web.answer(Protected(container="raw", continuation="abc")))
        assert (status, document["complete"], document["continuation"]) == (202, False, "abc")

    def test_a_scan_that_the_service_ended_is_502_with_what_was_done_so_far(self) -> None:
        ended = Protected(container="raw", scanned=5, continuation="abc", error=StorageFailed("list raw: 503"))
        status, document = answered(web.answer(ended))
        assert (status, document["scanned"], document["complete"], document["continuation"]) == (502, 5, False, "abc")
        assert document["error"] == {"code": "StorageFailed", "message": "list raw: 503"}

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (BadParameter("x"), 400),
            (ContainerExcluded("x"), 403),
            (ContainerNotFound("x"), 404),
            (StorageFailed("x"), 502),
            (SettingsError("x"), 500),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_a_refusal_has_the_status_of_its_error(self, error: SnapkeepError, status: int) -> None:
        assert answered(web.error_answer(error)) == (status, {"error": {"code": error.code, "message": "x"}})

"""The queue's messages: what released ones look like, how strictly they are read, and how requests are split."""

from __future__ import annotations

import inspect
import json
import re
from base64 import b64encode
from bisect import bisect_left
from pathlib import Path
from typing import Any

import azure.functions.queue
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.decisions.messages import (
    MAX_COPIED_BYTES,
    MAX_MESSAGE_BYTES,
    BackupRequest,
    Queued,
    RunFollowUp,
    Scan,
    decode,
    encode,
    follow_up,
    request,
    requests,
    scan,
    traced,
)
from shared.decisions.names import refusal
from shared.errors import MessageError
from shared.model import Version
from tests.names import HARD_NAMES, REFUSED_NAMES

GOLDEN = Path(__file__).parent / "resources" / "messages"
QUEUE_MESSAGE_BYTES = 64 * 1024
NOW = "2026-11-20T14:05:33Z"
RUN_ID = "f" * 64
REQUEST_ID = "0" * 32
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

BLOB: dict[str, Any] = {"name": "a.csv", "etag": "0x8DE27F0A1B2C3D4", "last_modified": NOW, "size": 812}
BACKUP: dict[str, Any] = {
    "schema": 1,
    "kind": "backup",
    "container": "raw",
    "attempt": 1,
    "requested_at": NOW,
    "blobs": [BLOB],
}
SCAN: dict[str, Any] = {
    "schema": 1,
    "kind": "scan",
    "container": "raw",
    "attempt": 1,
    "requested_at": NOW,
    "run_id": "0123456789ab",
    "shard": 3,
}
RUN: dict[str, Any] = BACKUP | {"kind": "run", "run_id": "r-1", "request_id": REQUEST_ID, "started_at": NOW}


def body(document: object) -> bytes:
    return json.dumps(document).encode()


def without(document: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != key}


def with_blob(**changes: object) -> dict[str, Any]:
    return BACKUP | {"blobs": [BLOB | changes]}


def cases(**wrong: list[object]) -> list[tuple[str, object]]:
    return [(key, value) for key, values in wrong.items() for value in values]


def version(name: str = "a.csv", size: int = 812, etag: str = "0x8DE27F0A1B2C3D4") -> Version:
    return Version(name, etag, NOW, size)


class TestReleasedSchemas:
    @pytest.mark.parametrize(
        ("file", "kind"),
        [
            ("backup.schema1.json", BackupRequest),
            ("run.schema1.json", RunFollowUp),
            ("scan.schema1.json", Scan),
            ("backup.schema2.json", BackupRequest),
            ("run.schema2.json", RunFollowUp),
            ("scan.schema2.json", Scan),
        ],
    )
    def test_a_released_message_is_read_and_written_byte_for_byte(self, file: str, kind: type[Queued]) -> None:
        golden = (GOLDEN / file).read_bytes()
        message = decode(golden)
        assert type(message) is kind
        assert encode(message) == golden

    @pytest.mark.parametrize("kind", ["backup", "run", "scan"])
    def test_schema_2_is_schema_1_and_its_trace(self, kind: str) -> None:
        first, second = (decode((GOLDEN / f"{kind}.schema{number}.json").read_bytes()) for number in (1, 2))
        assert second.traceparent == TRACEPARENT
        assert traced(first, TRACEPARENT) == second
        assert traced(second, None) == first

    def test_the_golden_request_says_what_it_says(self) -> None:
        message = decode((GOLDEN / "backup.schema1.json").read_bytes())
        assert isinstance(message, BackupRequest)
        assert (message.container, message.attempt, message.requested_at) == ("raw", 2, NOW)
        assert message.reason == "copy raw/sales/2026/orders.csv: 503 ServerBusy"
        assert message.versions == [
            Version("sales/2026/orders.csv", "0x8DE27F0A1B2C3D4", NOW, 812),
            Version(' say "hi" \\ 100%/été 😀.csv', "0x8DE27F0A1B2C3D5", "1999-12-31T23:59:59Z", 5497558138880),
            Version("empty", "1", "2024-02-29T00:00:00Z", 0),
        ]

    def test_the_example_in_the_design_is_a_request(self) -> None:
        text = r"""{"schema": 1, "kind": "backup", "container": "raw", "attempt": 1,
 "requested_at": "2026-11-20T14:05:33Z",
 "blobs": [{"name": "a \"b\".csv", "etag": "0x8DE27F0A1B2C3D4",
            "last_modified": "2026-11-20T14:05:33Z", "size": 812}]}"""
        assert decode(text.encode()) == request("raw", [version('a "b".csv')], NOW)

    def test_no_top_level_key_is_one_that_the_worker_takes_for_metadata(self) -> None:
        # The worker merges a JSON body's own keys into the trigger's metadata (python-worker#1373).
        source = inspect.getsource(azure.functions.queue)
        taken = {name.lower() for name in re.findall(r"trigger_metadata,\s*'(\w+)'", source)}
        assert {"id", "dequeuecount", "insertiontime", "expirationtime", "nextvisibletime", "popreceipt"} <= taken
        taken |= {"queuetrigger", "timenextvisible", "sys"}
        for file in GOLDEN.iterdir():
            assert not {key.lower().replace("_", "") for key in json.loads(file.read_bytes())} & taken


class TestReading:
    @pytest.mark.parametrize("document", [BACKUP, BACKUP | {"reason": "503"}, RUN])
    def test_the_messages_that_the_deviations_start_from_are_good(self, document: dict[str, Any]) -> None:
        message = decode(body(document))
        assert not isinstance(message, Scan)
        assert message.versions == [version()]

    @pytest.mark.parametrize("document", [BACKUP, RUN, SCAN], ids=["backup", "run", "scan"])
    def test_a_trace_belongs_to_schema_2_and_schema_2_has_one(self, document: dict[str, Any]) -> None:
        traced_document = document | {"schema": 2, "traceparent": TRACEPARENT}
        assert decode(body(traced_document)) == traced(decode(body(document)), TRACEPARENT)
        for wrong in (document | {"schema": 2}, document | {"traceparent": TRACEPARENT}):
            with pytest.raises(MessageError, match="schema 2 has a traceparent, and schema 1 has none"):
                decode(body(wrong))

    @pytest.mark.parametrize(
        "value",
        [
            "",
            TRACEPARENT.upper(),
            TRACEPARENT + "\n",
            TRACEPARENT + "-00",
            TRACEPARENT.replace("00-4b", "01-4b"),
            "00-" + "0" * 32 + TRACEPARENT[35:],
            TRACEPARENT[:36] + "0" * 16 + "-01",
            1,
            [TRACEPARENT],
        ],
        ids=repr,
    )
    def test_a_trace_that_is_none_is_refused(self, value: object) -> None:
        with pytest.raises(MessageError, match=r"backup\.traceparent"):
            decode(body(BACKUP | {"schema": 2, "traceparent": value}))

    def test_the_golden_scan_says_what_it_says(self) -> None:
        assert decode((GOLDEN / "scan.schema1.json").read_bytes()) == scan("raw", "0123456789ab", 41, NOW, 2)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            *(("run_id", value) for value in ("", "0123456789AB", "../x", "0123456789abc", 1, None)),
            *(("shard", value) for value in (-1, "1", 1.5, True, None)),
            ("container", "../x"),
            ("attempt", 0),
            ("requested_at", "now"),
            ("reason", 1),
            ("blobs", [BLOB]),
        ],
        ids=repr,
    )
    def test_a_wrong_value_of_a_scan_is_refused_and_its_place_named(self, key: str, value: object) -> None:
        with pytest.raises(MessageError, match=key):
            decode(body(SCAN | {key: value}))

    @pytest.mark.parametrize("document", [BACKUP, RUN, SCAN], ids=["backup", "run", "scan"])
    def test_a_message_that_lacks_any_one_key_is_refused(self, document: dict[str, Any]) -> None:
        for key in document:
            with pytest.raises(MessageError, match=key):
                decode(body(without(document, key)))

    @pytest.mark.parametrize("key", BLOB)
    def test_a_blob_that_lacks_any_one_key_is_refused(self, key: str) -> None:
        with pytest.raises(MessageError, match=rf"blobs\.0\.{key}"):
            decode(body(BACKUP | {"blobs": [without(BLOB, key)]}))

    @pytest.mark.parametrize("value", [0, 2, -1, "1", 1.5, True, None, [], {}, 10**30], ids=repr)
    def test_an_unknown_schema_is_refused(self, value: object) -> None:
        with pytest.raises(MessageError, match="schema"):
            decode(body(BACKUP | {"schema": value}))

    def test_a_schema_that_is_no_integer_is_refused(self) -> None:
        with pytest.raises(MessageError, match="schema"):
            decode(body(BACKUP).replace(b'"schema": 1', b'"schema": 1.0'))

    @pytest.mark.parametrize("value", ["Scan", "Backup", "", 1, None, ["backup"]], ids=repr)
    def test_an_unknown_kind_is_refused(self, value: object) -> None:
        with pytest.raises(MessageError, match="kind"):
            decode(body(BACKUP | {"kind": value}))

    @pytest.mark.parametrize(
        ("key", "value"),
        cases(
            container=["", "ab", "a" * 64, "Raw", "a--b", "-ab", "ab-", "$logs", "a/b", "raw\n", 7, None],
            attempt=[0, -1, 101, "1", 1.5, True, None],
            requested_at=[
                "",
                "2026-11-20",
                "2026-11-20T14:05:33",
                "2026-11-20T14:05:33+00:00",
                "2026-11-20 14:05:33Z",
                "2026-11-20T14:05:33.5Z",
                "2026-11-20T14:05:33Z\n",
                "2026-13-20T14:05:33Z",
                "2026-02-29T14:05:33Z",
                "2026-11-20T14:05:60Z",
                "٢٠٢٦-11-20T14:05:33Z",
                1795183533,
                None,
            ],
            blobs=[[], {}, "a.csv", None, ["a.csv"], [None], [[]], [BLOB, {}]],
            reason=[1, ["x"], {}],
        ),
        ids=repr,
    )
    def test_a_wrong_value_is_refused_and_its_place_named(self, key: str, value: object) -> None:
        with pytest.raises(MessageError, match=f"not a request of schema 1: backup.{key}"):
            decode(body(BACKUP | {key: value}))

    @pytest.mark.parametrize(
        ("key", "value"),
        cases(
            name=["", "x" * 1025, 1, None, ["a"], *REFUSED_NAMES],
            etag=["", '"0x8"', "0x8 ", "0x8/..", "x" * 65, 'W/"0x8"', "é", 8, None],
            last_modified=["", "Fri, 20 Nov 2026 14:05:33 GMT", "2026-11-31T00:00:00Z", 0, None],
            size=[-1, "812", 1.0, True, None],
        ),
        ids=repr,
    )
    def test_a_wrong_value_of_a_blob_is_refused_and_its_place_named(self, key: str, value: object) -> None:
        with pytest.raises(MessageError, match=rf"blobs\.0(\.{key}|: )"):
            decode(body(with_blob(**{key: value})))

    @pytest.mark.parametrize(
        ("key", "value"),
        cases(
            run_id=["", "a/b", "a b", "x" * 65, "r-1\n", "é", 1, None],
            request_id=["", "0" * 31, "0" * 33, "G" * 32, "A" * 32, REQUEST_ID + "\n", None],
            started_at=["", "yesterday", 1, None],
        ),
        ids=repr,
    )
    def test_a_wrong_value_of_a_follow_up_is_refused_and_its_place_named(self, key: str, value: object) -> None:
        with pytest.raises(MessageError, match=f"run.{key}"):
            decode(body(RUN | {key: value}))

    @pytest.mark.parametrize(
        ("document", "place"),
        [
            (BACKUP | {"priority": 1}, "backup.priority"),
            (BACKUP | {"run_id": "r-1"}, "backup.run_id"),
            (BACKUP | {"schema_": 1}, "backup.schema_"),
            (RUN | {"reason": "x"}, "run.reason"),
            (with_blob(url="https://account.blob.core.windows.net/raw/a.csv?sig=x"), "backup.blobs.0.url"),
        ],
    )
    def test_a_key_that_the_schema_does_not_know_is_refused(self, document: dict[str, Any], place: str) -> None:
        with pytest.raises(MessageError, match=place):
            decode(body(document))

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b" ",
            b"backup",
            b"null",
            b"1",
            b"[]",
            b'"text"',
            b"{}",
            b"\xff\xfe",
            body(BACKUP)[:-1],
            body(BACKUP) + b"}",
            body(BACKUP).decode().encode("utf-16"),
            b"\xef\xbb\xbf" + body(BACKUP),
            body(BACKUP).replace(b"a.csv", b"\xff.csv"),
            body(BACKUP).replace(b"a.csv", b"\xed\xa0\x80"),
            body(BACKUP).replace(b"a.csv", rb"a\ud800"),
            body(BACKUP).replace(b"a.csv", rb"\udfffb"),
            body(BACKUP).replace(b"812", b"NaN"),
            b"[" * 60_000,
            b'{"schema":' * 6_000,
            b"9" * 60_000,
        ],
        ids=lambda raw: repr(raw[:24]),
    )
    def test_what_is_no_json_object_in_utf8_is_refused(self, raw: bytes) -> None:
        with pytest.raises(MessageError, match="not a request of schema 1"):
            decode(raw)

    @given(st.binary(max_size=200))
    def test_no_body_raises_anything_else(self, raw: bytes) -> None:
        with pytest.raises(MessageError):
            decode(raw)

    @given(st.integers(0, len(body(RUN)) - 1))
    def test_a_message_that_is_cut_short_is_refused(self, length: int) -> None:
        with pytest.raises(MessageError):
            decode(body(RUN)[:length])

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*RUN, *BLOB]), inner),
            max_leaves=20,
        ),
        st.sampled_from(sorted(RUN)),
    )
    def test_any_json_in_any_place_is_read_or_refused(self, value: object, key: str) -> None:
        try:
            message = decode(body(RUN | {key: value}))
        except MessageError:
            return
        assert decode(encode(message)) == message

    def test_a_refusal_is_one_line_and_shows_no_more_of_the_message_than_it_must(self) -> None:
        with pytest.raises(MessageError) as refused:
            decode(body(BACKUP | {"sig": "s3cr3t" * 1000}))
        assert "s3cr3t" not in str(refused.value)
        assert "\n" not in str(refused.value)


NAMES = (
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
    | st.text('😀\x01"\\é', min_size=1000, max_size=1024)
    | st.sampled_from(sorted(HARD_NAMES.values()))
).filter(lambda name: refusal(name) is None)
VERSIONS = st.lists(
    st.builds(
        version,
        name=NAMES,
        size=st.integers(0, 2**20) | st.integers(0, MAX_COPIED_BYTES * 2),
        etag=st.text("0123456789ABCDEFx", min_size=1, max_size=64),
    ),
    max_size=60,
)


class TestWriting:
    @given(st.sampled_from(["raw", "x" * 63]), VERSIONS, st.integers(1, 100))
    def test_what_is_written_is_what_is_read(self, container: str, versions: list[Version], attempt: int) -> None:
        for message in requests(container, versions, NOW, attempt):
            assert decode(encode(message)) == message

    @pytest.mark.parametrize("name", HARD_NAMES.values(), ids=HARD_NAMES)
    def test_every_hard_name_travels_byte_for_byte(self, name: str) -> None:
        asked = request("raw", [version(name)], NOW)
        assert decode(encode(asked)) == asked

    def test_a_request_that_no_queue_takes_is_refused(self) -> None:
        with pytest.raises(MessageError, match="49152"):
            encode(request("raw", [version("x" * 1024)] * 50, NOW))

    def test_a_reason_is_cut_to_what_a_reader_can_bear(self) -> None:
        message = request("raw", [version()], NOW, 2, "because " * 1000)
        assert message.reason == ("because " * 1000)[:300]
        assert request("raw", [version()], NOW, 2, "").reason is None


def assert_fits(message: Queued) -> None:
    written = encode(message)
    assert len(written) <= MAX_MESSAGE_BYTES
    assert len(b64encode(written)) <= QUEUE_MESSAGE_BYTES


class TestSplitting:
    @settings(max_examples=60)
    @given(st.sampled_from(["raw", "x" * 63]), VERSIONS)
    @example("x" * 63, [version("😀" * 1024, etag="x" * 64)] * 100)
    @example("x" * 63, [version("\x01" * 1024, etag="x" * 64)] * 100)
    @example("raw", [version("a" * length) for length in range(1, 1025)])
    def test_all_versions_come_out_in_order_and_in_messages_that_fit(
        self, container: str, versions: list[Version]
    ) -> None:
        messages = list(requests(container, versions, NOW, 100))
        assert [asked for message in messages for asked in message.versions] == versions
        for message in messages:
            asked = message.versions
            assert_fits(message)
            # The same versions are sent again with a reason, which JSON may escape, or as a follow-up of their run.
            assert_fits(traced(request(container, asked, NOW, 100, "\x01" * 5000), TRACEPARENT))
            assert_fits(traced(request(container, asked, NOW, 100, "😀" * 5000), TRACEPARENT))
            assert_fits(traced(follow_up(message, asked, RUN_ID, REQUEST_ID, NOW), TRACEPARENT))
            assert len(asked) == 1 or sum(one.size for one in asked) <= MAX_COPIED_BYTES

    def test_a_message_that_is_full_to_the_last_byte_has_room_for_all_that_is_added_later(self) -> None:
        def first(length: int) -> list[Version]:
            versions = [version("a" * length), *[version("a" * 700)] * 100]
            return next(requests("x" * 63, versions, NOW, 100)).versions

        fewest = len(first(1024))
        full = bisect_left(range(1, 1025), True, key=lambda length: len(first(length)) == fewest)
        assert len(first(full)) == fewest + 1
        assert len(first(full + 1)) == fewest
        assert_fits(traced(request("x" * 63, first(full), NOW, 100, "\x01" * 5000), TRACEPARENT))

    def test_there_are_no_more_messages_than_the_limits_ask_for(self) -> None:
        assert len(list(requests("raw", [version(f"sales/2026/{n:04}.csv") for n in range(400)], NOW))) == 1
        each = MAX_COPIED_BYTES // 4
        assert [len(message.blobs) for message in requests("raw", [version(size=each)] * 9, NOW)] == [4, 4, 1]

    def test_a_blob_over_the_limit_of_bytes_travels_alone(self) -> None:
        sizes = [1, MAX_COPIED_BYTES + 1, 1, 1]
        messages = requests("raw", [version(size=size) for size in sizes], NOW)
        assert [[blob.size for blob in message.blobs] for message in messages] == [[1], [MAX_COPIED_BYTES + 1], [1, 1]]

    def test_nothing_to_ask_for_makes_no_message(self) -> None:
        assert list(requests("raw", [], NOW)) == []

    def test_versions_are_taken_as_messages_are_asked_for(self) -> None:
        endless = (version(f"{'x' * 1000}{n}") for n in iter(int, 1))
        first = next(requests("raw", endless, NOW))
        assert len(first.blobs) > 30

    def test_a_follow_up_keeps_the_request_it_came_from(self) -> None:
        asked = request("raw", [version("a"), version("b")], NOW, 3, "503")
        followed = follow_up(asked, [version("b")], "r-1", REQUEST_ID, "2026-11-20T15:00:00Z")
        assert (followed.container, followed.attempt, followed.requested_at) == ("raw", 3, NOW)
        assert followed.versions == [version("b")]
        assert (followed.run_id, followed.request_id, followed.started_at) == (
            "r-1",
            REQUEST_ID,
            "2026-11-20T15:00:00Z",
        )

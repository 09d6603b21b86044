"""What the change feed tells: where to read on, and which blobs its events hint at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.adapters.changefeed import _blocks, _header_bytes
from shared.decisions.changefeed import (
    MAX_CATCH_UP,
    Cursor,
    Hint,
    Segment,
    hints,
    last_consumable,
    segment_of,
    start,
    to_read,
    years_from,
)
from shared.operations.timed import last_time
from tests.changefeeds import avro, event

NOW = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)


def path(hour: str) -> str:
    return f"idx/segments/{hour}/meta.json"


class TestHints:
    @pytest.mark.parametrize("kind", ["BlobCreated", "BlobPropertiesUpdated", "BlobTierChanged", "SomethingNew"])
    def test_what_may_be_a_new_version_is_looked_at(self, kind: str) -> None:
        assert hints([event("raw", "a/b.csv", kind)]) == [Hint("raw", "a/b.csv")]

    @pytest.mark.parametrize("kind", ["BlobDeleted", "BlobSnapshotCreated", "BlobAsyncOperationInitiated", "Control"])
    def test_what_makes_no_version_is_passed_over(self, kind: str) -> None:
        assert hints([event("raw", "a", kind)]) == []

    def test_the_last_event_of_a_blob_tells_whether_it_was_snapshotted(self) -> None:
        kinds = ["BlobCreated", "BlobSnapshotCreated"]
        assert hints(event("raw", "a", kind) for kind in kinds) == [Hint("raw", "a", snapshotted=True)]
        assert hints(event("raw", "a", kind) for kind in [*kinds, "BlobCreated"]) == [Hint("raw", "a")]
        assert hints(event("raw", "a", kind) for kind in [*kinds, "BlobDeleted"]) == []

    def test_a_name_that_may_be_encoded_is_looked_at_both_ways(self) -> None:
        assert hints([event("raw", "50%25/é b\n.csv")]) == [
            Hint("raw", "50%25/é b\n.csv"),
            Hint("raw", "50%/é b\n.csv"),
        ]
        assert hints([event("raw", "50%.csv")]) == [Hint("raw", "50%.csv")]

    def test_a_system_record_without_a_blob_is_passed_over_and_anything_else_is_an_error(self) -> None:
        control: dict[str, Any] = {"eventType": "Control", "subject": ""}
        container = {"eventType": "ContainerCreated", "subject": "/blobServices/default/containers/raw"}
        assert hints([control, container]) == []
        with pytest.raises(ValueError, match="BlobCreated is of no blob"):
            hints([control | {"eventType": "BlobCreated"}])


class TestWhereToRead:
    def test_segments_are_read_from_the_cursor_on_up_to_what_may_be_read(self) -> None:
        hours = ["1601/01/01/0000", "2026/11/20/1100", "2026/11/20/1300", "2026/11/20/1200", "2026/11/20/1410"]
        last = datetime(2026, 11, 20, 13, 0, tzinfo=UTC)
        assert to_read(map(path, hours), path("2026/11/20/1200"), last) == [
            path("2026/11/20/1200"),
            path("2026/11/20/1300"),
        ]

    def test_years_are_listed_from_the_cursors_on(self) -> None:
        assert years_from(path("2024/12/31/2300"), NOW) == [f"idx/segments/{year}/" for year in (2024, 2025, 2026)]

    def test_a_feed_that_is_new_is_read_from_before_the_last_complete_reconciliation(self) -> None:
        assert start(NOW - timedelta(hours=2), NOW) == path("2026/11/20/1000")
        longest = start(None, NOW)
        assert start(NOW - 2 * MAX_CATCH_UP, NOW) == longest == path("2026/11/13/1200")

    def test_the_feed_goes_on_with_the_first_segment_that_is_not_finalized(self) -> None:
        first, second, third = (
            Segment(path(hour), (f"log/00/{hour}/",), finalized)
            for hour, finalized in (("1", True), ("2", False), ("3", True))
        )
        cursor = Cursor("source", path("1"), {"log/00/1/0": 5, "log/00/2/0": 6, "log/00/3/0": 7})
        cursor.move_on([first, second, third])
        assert cursor == Cursor("source", path("2"), {"log/00/2/0": 6, "log/00/3/0": 7})
        cursor.move_on([second])
        assert cursor == Cursor("source", path("2"), {"log/00/2/0": 6})

    def test_the_last_segment_is_kept_though_it_is_finalized(self) -> None:
        cursor = Cursor("source", path("1"), {"log/00/1/0": 5})
        cursor.move_on([Segment(path("1"), ("log/00/1/",), True)])
        assert cursor == Cursor("source", path("1"), {"log/00/1/0": 5})

    def test_a_cursor_is_what_was_saved_and_that_of_another_release_or_account_is_none(self) -> None:
        cursor = Cursor("source", path("1"), {"log/00/1/0": 5})
        assert Cursor.of(cursor.document(), "source") == cursor
        assert Cursor.of(cursor.document() | {"schema": 2}, "source") is None
        assert Cursor.of(cursor.document(), "another") is None
        assert Cursor.of(None, "source") is None


class TestDocuments:
    def test_a_segment_names_its_folders_without_the_container(self) -> None:
        manifest = {"status": "Finalized", "chunkFilePaths": ["$blobchangefeed/log/00/2026/11/20/1400/"]}
        assert segment_of("m", manifest) == Segment("m", ("log/00/2026/11/20/1400/",), True)

    @pytest.mark.parametrize(
        "document", [None, [], {}, {"lastConsumable": "soon"}, {"lastConsumable": "2026-11-20T14:00:00"}]
    )
    def test_a_document_of_another_form_is_an_error(self, document: Any) -> None:
        with pytest.raises(ValueError, match="validation error"):
            last_consumable(document)
        with pytest.raises(ValueError, match="validation error"):
            segment_of("m", document)


class TestAvro:
    EVENTS = tuple(event("raw", f"{number}.csv") for number in range(300))
    CONTENT = avro(EVENTS, sync_interval=4000)

    def test_whichever_byte_a_file_is_cut_at_what_is_whole_is_read_and_the_rest_later(self) -> None:
        size = _header_bytes(self.CONTENT, "f")
        header, body = self.CONTENT[:size], self.CONTENT[size:]
        for cut in range(0, len(body), 97):
            first = _blocks(header, body[:cut], size)
            assert first.end <= size + cut
            rest = _blocks(header, body[first.end - size :], first.end)
            assert [*first.events, *rest.events] == list(self.EVENTS)
            assert rest.end == len(self.CONTENT)

    def test_a_block_that_cannot_be_unpacked_ends_what_can_be_read(self) -> None:
        content = bytearray(avro(self.EVENTS, sync_interval=4000, codec="deflate"))
        size = _header_bytes(bytes(content), "f")
        content[-314] = 0xFF  # in the last block
        found = _blocks(bytes(content[:size]), bytes(content[size:]), size)
        assert 0 < len(found.events) < len(self.EVENTS)
        assert found.end < len(content)


@pytest.mark.parametrize(("now", "expected"), [("02:29", "2026-11-19T02:30"), ("02:30", "2026-11-20T02:30")])
def test_the_time_of_day_was_today_or_yesterday(now: str, expected: str) -> None:
    found = last_time("02:30", datetime.fromisoformat(f"2026-11-20T{now}:00+00:00"))
    assert found == datetime.fromisoformat(f"{expected}:00+00:00")

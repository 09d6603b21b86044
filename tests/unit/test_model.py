"""Times as the service writes them, as names are made of them, and as moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model import Entry, Version, moment_of, second_of, second_of_http_date

MOMENTS = st.datetimes(datetime(1601, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=0)
)


class TestHttpDates:
    @given(MOMENTS)
    def test_a_date_of_the_service_is_the_second_that_it_names(self, moment: datetime) -> None:
        text = format_datetime(moment, usegmt=True)
        assert moment_of(second_of_http_date(text)) == moment == parsedate_to_datetime(text)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "2026-11-20T14:05:33Z",
            "Fri, 20 Nov 2026 14:05:33",
            "Fri, 20 Nov 2026 14:05:33 CET",
            "Fri, 20 Nov 2026 14:05:33 +0000",
            "Fri, 20 nov 2026 14:05:33 GMT",
            "Fri, 20 Abc 2026 14:05:33 GMT",
            "Fri, 2 Nov 2026 14:05:33 GMT",
            "Friday, 20-Nov-26 14:05:33 GMT",
            "Fri, xx Nov 2026 14:05:33 GMT",
            "Fri, 20 Nov 2026 14.05.33 GMT",
            "Fri, 20 Nov 2026 14:05:33 GMT ",
        ],
    )
    def test_another_form_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="not an HTTP date"):
            second_of_http_date(text)

    @given(st.text(max_size=35))
    def test_no_text_raises_anything_but_a_value_error(self, text: str) -> None:
        with pytest.raises(ValueError, match="not an HTTP date"):
            second_of_http_date(text)


class TestSeconds:
    @given(MOMENTS)
    def test_a_second_is_its_moment(self, moment: datetime) -> None:
        assert moment_of(second_of(moment)) == moment

    @given(st.lists(MOMENTS, max_size=5))
    def test_seconds_sort_as_time_does(self, moments: list[datetime]) -> None:
        assert sorted(map(second_of, moments)) == [second_of(moment) for moment in sorted(moments)]

    def test_a_moment_elsewhere_is_written_in_utc(self) -> None:
        elsewhere = datetime(2026, 11, 20, 16, 5, 33, 999_999, tzinfo=timezone(timedelta(hours=2)))
        assert second_of(elsewhere) == "2026-11-20T14:05:33Z"

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "2026-11-20",
            "2026-11-20T14:05:33",
            "2026-11-20T14:05:33+00:00",
            "2026-11-20T14:05:33.0Z",
            "2026-11-20T14:05:33Z ",
            "2026-02-30T14:05:33Z",
            "2026-11-20T25:05:33Z",
            "٢٠٢٦-11-20T14:05:33Z",
        ],
    )
    def test_another_form_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            moment_of(text)


def test_an_entrys_version_is_what_it_is_and_not_where_it_stands() -> None:
    live = Entry("a", None, "E1", "2026-11-20T14:05:33Z", 7, "md5", "PageBlob", "Hot", customer_key=True)
    assert live.version == live._replace(snapshot="s").version == Version("a", "E1", "2026-11-20T14:05:33Z", 7)

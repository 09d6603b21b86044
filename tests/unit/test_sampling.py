"""Which versions are proven on a day, and which are restored as a drill: all come round, and none is favoured."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions import sampling
from shared.decisions.sampling import Chosen, Sampler, days_of_a_round, sampled
from shared.model import Entry, Version

TODAY = date(2026, 11, 20)


def entry(number: int, **changes: Any) -> Entry:
    made = Entry(
        f"sales/{number}.csv", None, f"0x{number}", "2026-11-20T14:05:33Z", 100 + number, "1B2M2Y8AsgTpgAmY7PhCfg=="
    )
    return made._replace(**changes)


def version(number: int) -> Version:
    return entry(number).version


def offered(count: int, percent: float = 0, drill_blobs: int = 0, seed: str = "run", day: date = TODAY) -> Sampler:
    sampler = Sampler(percent, day, drill_blobs, seed)
    for number in range(count):
        sampler.offer("raw", entry(number))
    return sampler


class TestTheSampleOfADay:
    @given(
        st.floats(0.05, 100),
        st.dates(),
        st.text(st.characters(exclude_categories=[])),
        st.text("0123456789ABCDEFx", min_size=1),
    )
    def test_each_version_comes_round_exactly_once_in_a_round(
        self, percent: float, first: date, name: str, etag: str
    ) -> None:
        days = days_of_a_round(percent)
        one = Version(name, etag, "2026-11-20T14:05:33Z", 0)
        ordinals = [(first.toordinal() + number - 1) % date.max.toordinal() + 1 for number in range(days)]
        if sorted(ordinals) != ordinals:
            ordinals = list(range(1, days + 1))  # past the last date that there is
        found = [sampled("raw", one, percent, date.fromordinal(ordinal)) for ordinal in ordinals]
        assert sum(found) == 1

    @pytest.mark.parametrize("percent", [0.1, 0.3, 0.7, 1, 3, 7, 30, 33.3, 50, 51, 99.9, 100])
    def test_all_versions_come_round_whatever_the_percentage(self, percent: float) -> None:
        days = [TODAY + timedelta(days=number) for number in range(days_of_a_round(percent))]
        for number in range(50):
            assert sum(sampled("raw", version(number), percent, day) for day in days) == 1

    def test_a_day_looks_at_its_share(self) -> None:
        looked_at = sum(sampled("raw", version(number), 10, TODAY) for number in range(10_000))
        assert 850 < looked_at < 1150

    def test_the_same_day_gives_the_same_versions(self) -> None:
        first, second = (
            {number for number in range(1000) if sampled("raw", version(number), 5, TODAY)} for _ in range(2)
        )
        assert first == second != set()

    def test_a_blob_of_the_same_name_elsewhere_or_changed_has_a_turn_of_its_own(self) -> None:
        turns = Counter(
            next(day for day in range(100) if sampled(container, one, 1, TODAY + timedelta(days=day)))
            for container in ("raw", "lake", "ledger")
            for one in (version(1), version(1)._replace(etag="0xA"), version(1)._replace(etag="0xB"))
        )
        assert len(turns) > 5

    def test_no_percentage_looks_at_nothing_and_all_of_it_at_everything(self) -> None:
        assert not any(sampled("raw", version(number), 0, TODAY) for number in range(100))
        assert all(sampled("raw", version(number), 100, TODAY) for number in range(100))


class TestASampler:
    def test_it_keeps_the_versions_of_the_day(self) -> None:
        kept = offered(1000, percent=5).to_prove
        assert {chosen.entry.etag for chosen in kept} == {
            f"0x{number}" for number in range(1000) if sampled("raw", version(number), 5, TODAY)
        }
        assert all(chosen.container == "raw" for chosen in kept)

    def test_it_says_how_many_it_had_no_room_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sampling, "MAX_SAMPLED", 30)
        sampler = offered(1000, percent=10)
        due = sum(sampled("raw", version(number), 10, TODAY) for number in range(1000))
        assert len(sampler.to_prove) == 30
        assert sampler.left_out == due - 30

    def test_what_it_has_no_room_for_is_not_what_comes_last(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sampling, "MAX_SAMPLED", 100)
        kept = [int(chosen.entry.etag[2:]) for chosen in offered(1000, percent=100).to_prove]
        assert 30 < sum(number >= 500 for number in kept) < 70

    def test_a_drill_is_of_as_many_as_were_asked_for(self) -> None:
        assert len(offered(1000, drill_blobs=20).to_restore) == 20
        assert len(offered(7, drill_blobs=20).to_restore) == 7
        assert offered(1000, drill_blobs=0).to_restore == []

    def test_a_drill_favours_no_version(self) -> None:
        picks = Counter(
            chosen.entry.etag
            for run in range(500)
            for chosen in offered(50, drill_blobs=5, seed=f"run {run}").to_restore
        )
        assert len(picks) == 50
        assert 20 < min(picks.values()) <= max(picks.values()) < 90  # each 50 on average

    def test_another_seed_is_another_drill_and_the_same_seed_the_same(self) -> None:
        one, same, other = (offered(1000, drill_blobs=20, seed=seed).to_restore for seed in ("a", "a", "b"))
        assert one == same != other

    @given(st.permutations(range(40)), st.integers(0, 10))
    def test_the_order_in_which_versions_are_offered_does_not_matter(self, order: list[int], blobs: int) -> None:
        sampler = Sampler(25, TODAY, blobs, "run")
        for number in order:
            sampler.offer("raw", entry(number))
        plain = offered(40, percent=25, drill_blobs=blobs)
        assert (sampler.to_prove, sampler.to_restore) == (plain.to_prove, plain.to_restore)

    def test_a_version_that_is_offered_twice_is_held_once(self) -> None:
        sampler = Sampler(100, TODAY, 5, "run")
        for _ in range(2):
            sampler.offer("raw", entry(1))
            sampler.offer("raw", entry(1, snapshot="2026-11-20T14:06:00.0000000Z"))
        assert len(sampler.to_prove) == len(sampler.to_restore) == 1
        assert sampler.left_out == 0

    @given(st.lists(st.tuples(st.sampled_from(["raw", "lake"]), st.integers(0, 30)), unique=True), st.integers(0, 60))
    def test_it_goes_on_from_a_checkpoint_as_if_there_had_been_none(
        self, offers: list[tuple[str, int]], stop: int
    ) -> None:
        straight, halves = (Sampler(40, TODAY, 3, "run") for _ in range(2))
        for number, (container, one) in enumerate(offers):
            if number == stop:
                halves = Sampler.of(json.loads(json.dumps(halves.document())))
            straight.offer(container, entry(one))
            halves.offer(container, entry(one))
        assert (halves.to_prove, halves.to_restore) == (straight.to_prove, straight.to_restore)
        assert halves.left_out == straight.left_out

    def test_it_holds_no_metadata(self) -> None:
        sampler = Sampler(100, TODAY, 1, "run")
        sampler.offer("raw", entry(1, metadata={"secret": "x" * 8000}))
        assert sampler.to_restore == [Chosen("raw", entry(1))]
        assert "secret" not in json.dumps(sampler.document())


def test_samplers_of_parts_choose_together_what_one_chooses_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MAX_SAMPLED", 30)
    whole = offered(300, percent=50, drill_blobs=7)
    merged, other = (Sampler(50, TODAY, 7, "run") for _ in range(2))
    for number in range(300):
        (merged, other)[number % 3 == 0].offer("raw", entry(number))
    merged.merge(Sampler.of(json.loads(json.dumps(other.document()))))
    assert {chosen.entry.name for chosen in merged.to_prove} == {chosen.entry.name for chosen in whole.to_prove}
    assert {chosen.entry.name for chosen in merged.to_restore} == {chosen.entry.name for chosen in whole.to_restore}
    assert merged.left_out == whole.left_out > 0

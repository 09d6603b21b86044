"""Which pages of a listing are read for many names, so that they bring them and little else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.prefixes import FEW, MOST_LISTED, Stretch, stretches


def parts(numbers: range) -> list[str]:
    return [f"day=27/part-{number:07d}.parquet" for number in numbers]


def listed(container: list[str], stretch: Stretch) -> list[str]:
    """What the page that is read for a stretch brings."""
    return [name for name in sorted(container) if name.startswith(stretch.prefix)][: stretch.page_size]


def test_names_that_follow_each_other_are_cut_where_their_prefixes_end() -> None:
    found = {stretch.prefix: len(stretch.names) for stretch in stretches(parts(range(250, 500)))}
    assert found == {"day=27/part-00002": 50, "day=27/part-00003": 100, "day=27/part-00004": 100}


def test_a_few_names_are_no_stretch() -> None:
    assert stretches([]) == []
    assert stretches(parts(range(FEW - 1))) == []
    assert len(stretches(parts(range(FEW)))) == 1


def test_the_longest_comes_first() -> None:
    lengths = [len(stretch.names) for stretch in stretches(parts(range(1250, 1600)))]
    assert lengths == sorted(lengths, reverse=True)


def test_pages_bring_nearly_all_of_a_slice_of_a_listing_for_few_calls_and_little_else() -> None:
    container = parts(range(6_000))
    for start in range(0, 6_000, 300):
        wanted = set(container[start : start + 300])
        pages = [listed(container, stretch) for stretch in stretches(sorted(wanted))]
        found = wanted & {name for page in pages for name in page}
        assert len(found) >= 0.8 * len(wanted)
        assert len(pages) <= 5
        assert sum(map(len, pages)) <= 3 * len(wanted)


def test_folders_with_few_files_each_are_taken_together() -> None:
    names = [f"day={number // 10:02d}/part-{number % 10}" for number in range(250)]
    found = stretches(names)
    assert sum(len(stretch.names) for stretch in found) == 250
    assert len(found) == 3


@given(st.lists(st.text("ab/é😀", max_size=8), max_size=300))
def test_each_name_is_in_one_stretch_at_most_and_begins_with_its_prefix(names: list[str]) -> None:
    found = stretches(names)
    listed_names = [name for stretch in found for name in stretch.names]
    assert len(listed_names) == len(set(listed_names))
    assert set(listed_names) <= set(names)
    for stretch in found:
        assert all(name.startswith(stretch.prefix) for name in stretch.names)
        assert len(stretch.names) >= FEW
        assert len(stretch.names) < stretch.page_size <= MOST_LISTED

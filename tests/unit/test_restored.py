"""What a restored blob must be like, and whether the one that stands there is it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.backups import backup_metadata, source_metadata
from shared.decisions.restored import RESTORING, difference, expected_md5, is_jobs_half, mark, tier_must_be_said
from shared.decisions.restoring import Action, Held, Job, Mode, Place, Step
from shared.model import BlobState, ContentHeaders, Version

VERSION = Version("a.csv", "0x1", "2026-11-20T14:05:33Z", 3)
STATE = BlobState(VERSION, "md5==", "BlockBlob", "Hot", True, ContentHeaders("text/csv"), {"k": "v"}, 0)
BACKUP = Held(Place.BACKUP, VERSION, "a.csv/20261120T140533Z-0x1.csv", "0x9", 3, None, "BlockBlob", "Hot")
LIVE = BACKUP._replace(place=Place.LIVE, key="", etag="0x1")
KEYS = st.text("abcXYZ_09", min_size=1, max_size=12).filter(lambda key: not key.lower().startswith("snapkeep_source_"))


def step(*places: Held) -> Step:
    return Step(Action.RESTORE, "a.csv", "wanted", VERSION, places)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"blob_type": "PageBlob"}, "type"),
        ({"version": VERSION._replace(size=4)}, "size"),
        ({"metadata": {}}, "metadata"),
        ({"headers": ContentHeaders("text/plain")}, "content headers"),
        ({"md5": "other"}, "MD5"),
        ({"copying": "pending"}, "the service's copy of it is pending"),
    ],
)
def test_a_blob_that_differs_in_anything_is_not_the_wanted_one(change: dict[str, object], what: str) -> None:
    assert difference(replace(STATE, **change), STATE) == what  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"version": VERSION._replace(etag="0x2", last_modified="2026-11-21T00:00:00Z")},
        {"metadata": {"K": "v"}},
        {"md5": None},
        {"tier": "Cool"},
    ],
)
def test_what_a_copy_cannot_have_or_need_not_does_not_count(change: dict[str, object]) -> None:
    assert difference(replace(STATE, **change), STATE) is None  # type: ignore[arg-type]


def test_the_source_is_believed_before_its_backups_and_the_kept_hash_last() -> None:
    tags = {"snapkeep_md5": "kept"}
    backup, live = BACKUP._replace(md5="copied"), LIVE._replace(md5="own")
    assert expected_md5(step(backup, live), "BlockBlob", tags) == "own"
    assert expected_md5(step(backup), "BlockBlob", tags) == "copied"
    assert expected_md5(step(BACKUP), "BlockBlob", tags) == "kept"
    assert expected_md5(step(BACKUP), "BlockBlob", {}) is None


@pytest.mark.parametrize("blob_type", ["AppendBlob", "PageBlob"])
def test_the_md5_of_what_is_written_in_pieces_is_believed_of_verify_alone(blob_type: str) -> None:
    live = LIVE._replace(md5="of bytes long gone")
    assert expected_md5(step(live), blob_type, {}) is None
    assert expected_md5(step(live), blob_type, {"snapkeep_md5": "kept"}) == "kept"


def test_the_pieces_of_each_job_version_and_place_are_told_apart() -> None:
    other = BACKUP._replace(version=VERSION._replace(etag="0x2"))
    marks = {mark("j1", BACKUP), mark("j2", BACKUP), mark("j1", LIVE), mark("j1", other)}
    assert len(marks) == 4
    assert all(text.isascii() for text in marks)
    half = replace(STATE, metadata={RESTORING: mark("j1", BACKUP)})
    assert is_jobs_half("j1", half)
    assert not is_jobs_half("j", half)
    assert not is_jobs_half("j1", STATE)


def test_a_tier_is_said_where_the_overwritten_blob_would_hand_on_its_own() -> None:
    in_place = Job("raw", VERSION.last_modified, Mode.IN_PLACE, "raw")
    cool = replace(STATE, tier="Cool", tier_inferred=False)
    assert tier_must_be_said(in_place, cool, STATE)
    assert not tier_must_be_said(in_place, STATE, cool)
    assert not tier_must_be_said(in_place, None, STATE)
    assert not tier_must_be_said(replace(in_place, mode=Mode.CONTAINER), cool, STATE)


@given(st.dictionaries(KEYS, st.text("abc %", max_size=20), max_size=5), st.sampled_from(["BlockBlob", "PageBlob"]))
def test_a_versions_own_metadata_comes_out_of_its_backups(metadata: dict[str, str], blob_type: str) -> None:
    state = replace(STATE, metadata=metadata, blob_type=blob_type)
    assert source_metadata(backup_metadata(state)) == metadata


@pytest.mark.parametrize(("blob_type", "told"), [("BlockBlob", None), ("AppendBlob", "3"), ("PageBlob", "3")])
def test_backups_that_are_written_in_pieces_tell_the_sources_size(blob_type: str, told: str | None) -> None:
    assert backup_metadata(replace(STATE, blob_type=blob_type)).get("snapkeep_source_size") == told

"""What a restore does for one blob, and how its plan is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.deletions import Deletion
from shared.decisions.names import LONG_NAMES, as_metadata, backup_name
from shared.decisions.restore_places import CUSTOMER_KEY, HALF_RESTORED, WRONG_CLAIMS, held_backup, source_flaw
from shared.decisions.restore_steps import (
    ALREADY_THERE,
    ARCHIVED,
    ARCHIVED_SNAPSHOT,
    DIRECTORY_STANDS,
    IS_THAT_VERSION,
    MOVED_HERE,
    OTHER_STANDS,
    WRONG_MD5,
    WRONG_SIZE,
    step,
)
from shared.decisions.restored import RESTORING
from shared.decisions.restoring import Action, Held, Job, Mode, Place, Step, of_line, to_line
from shared.model import Entry, Version
from tests.names import HARD_NAMES, REFUSED_NAMES

NAME = "a.csv"
AT = "2026-11-20T12:00:00Z"
BEFORE, LONG_BEFORE, AFTER = "2026-11-20T11:00:00Z", "2026-11-19T11:00:00Z", "2026-11-20T13:00:00Z"
WAS_DELETED = f"was deleted before {AT}; --include-deleted brings it back"
NOON_SNAPSHOT = "2026-11-20T11:00:00.1000000Z"


def job(mode: Mode = Mode.CONTAINER, **options: Any) -> Job:
    return Job("raw", AT, mode, "raw" if mode is Mode.IN_PLACE else "raw-restored", **options)


def version(last_modified: str = BEFORE, etag: str = "0x1", name: str = NAME, size: int = 3) -> Version:
    return Version(name, etag, last_modified, size)


def held(
    place: Place, of: Version, *, key: str = "", md5: str | None = "bWQ1", tier: str = "Hot", **other: Any
) -> Held:
    if place is Place.BACKUP:
        key = key or backup_name(of)
    elif place is Place.SNAPSHOT:
        key = key or f"{of.last_modified[:-1]}.5000000Z"
    etag = "0xBACKUP" if place is Place.BACKUP else of.etag
    return Held(place, of, key, etag, other.pop("size", of.size), md5, "BlockBlob", tier, other.pop("unusable", ""))


def everywhere(of: Version) -> list[Held]:
    return [held(place, of) for place in (Place.BACKUP, Place.SNAPSHOT, Place.LIVE)]


def entry(of: Version, **other: Any) -> Entry:
    return Entry(of.name, None, of.etag, of.last_modified, of.size, "bWQ1", **other)


def archived(one: Held) -> Held:
    return one._replace(tier="Archive")


def restored(made: Step | None) -> Version | None:
    assert made is not None
    assert made.action is Action.RESTORE, made.reason
    return made.version


def left(made: Step | None) -> str:
    assert made is not None
    assert made.action is Action.LEAVE, made
    return made.reason


def impossible(made: Step | None) -> str:
    assert made is not None
    assert made.action is Action.IMPOSSIBLE, made
    return made.reason


def test_the_newest_version_that_is_not_after_the_moment_is_taken() -> None:
    versions = [version(LONG_BEFORE, "0x1"), version(BEFORE, "0x2"), version(AFTER, "0x3")]
    made = step(job(), NAME, None, [held(Place.BACKUP, one) for one in versions], ())
    assert restored(made) == versions[1]
    assert made is not None
    assert made.offered == (LONG_BEFORE,)


@pytest.mark.parametrize("now", ["", AFTER])
def test_over_a_blob_that_was_renamed_here_a_newer_version_comes_with_a_caution(now: str) -> None:
    staged, old = version(LONG_BEFORE, "0xSTAGED"), version(BEFORE, "0xOLD")
    places = [held(Place.LIVE, staged), held(Place.BACKUP, old)]
    made = step(job(Mode.IN_PLACE), NAME, entry(staged), places, (), now=now)
    assert restored(made) == old
    assert made is not None
    assert made.caution == MOVED_HERE


def test_of_now_is_what_lives_even_where_a_rename_kept_its_older_time() -> None:
    staged, old = version(LONG_BEFORE, "0xSTAGED"), version(BEFORE, "0xOLD")
    places = [held(Place.LIVE, staged), held(Place.BACKUP, old)]
    assert left(step(job(Mode.IN_PLACE), NAME, entry(staged), places, (), now=AT)) == IS_THAT_VERSION
    made = step(job(), NAME, entry(staged), places, (), now=AT)
    assert restored(made) == staged
    assert made is not None
    assert made.caution == ""


def test_a_version_of_that_very_second_is_taken() -> None:
    made = step(
        job(), NAME, None, [held(Place.BACKUP, version(BEFORE, "0x1")), held(Place.BACKUP, version(AT, "0x2"))], ()
    )
    assert restored(made) == version(AT, "0x2")


def test_a_blob_that_was_created_later_is_none_of_a_new_containers_business() -> None:
    assert step(job(), NAME, entry(version(AFTER)), everywhere(version(AFTER)), ()) is None


class TestSeveralVersionsOfOneSecond:
    """Last-Modified has whole seconds."""

    def test_the_live_blob_is_the_newest(self) -> None:
        made = step(
            job(), NAME, None, [held(Place.LIVE, version(etag="0x1")), held(Place.SNAPSHOT, version(etag="0x2"))], ()
        )
        assert restored(made) == version(etag="0x1")
        assert made is not None
        assert made.caution == ""

    def test_snapshots_tell_by_when_they_were_taken(self) -> None:
        early = held(Place.SNAPSHOT, version(etag="0x2"), key=NOON_SNAPSHOT)
        late = held(Place.SNAPSHOT, version(etag="0x1"), key="2026-11-20T11:00:00.2000000Z")
        made = step(job(), NAME, None, [late, early], ())
        assert restored(made) == version(etag="0x1")
        assert made is not None
        assert made.caution == ""

    def test_where_backups_alone_hold_them_it_is_said_that_the_order_is_not_known(self) -> None:
        made = step(job(), NAME, None, [held(Place.BACKUP, version(etag=etag)) for etag in ("0x2", "0x1")], ())
        assert restored(made) == version(etag="0x2")
        assert made is not None
        assert made.caution == "another version of that second may be the newer one"

    @given(st.permutations(everywhere(version(etag="0x1")) + everywhere(version(etag="0x2"))[:2]))
    def test_the_order_of_the_listings_changes_nothing(self, places: list[Held]) -> None:
        assert restored(step(job(), NAME, None, places, ())) == version(etag="0x1")


class TestDeletions:
    """A blob that was gone at the moment stays away; in doubt it comes back."""

    DELETED = Deletion(NAME, LONG_BEFORE, "2026-11-20T11:30:00Z")

    def test_a_blob_that_was_deleted_by_then_is_not_brought_back(self) -> None:
        made = step(job(), NAME, None, [held(Place.BACKUP, version())], [self.DELETED])
        assert left(made) == WAS_DELETED

    def test_unless_it_is_asked_for(self) -> None:
        made = step(job(include_deleted=True), NAME, None, [held(Place.BACKUP, version())], [self.DELETED])
        assert restored(made) == version()

    def test_a_blob_that_was_deleted_after_the_moment_is_brought_back(self) -> None:
        deletion = Deletion(NAME, "2026-11-20T12:30:00Z", AFTER)
        made = step(job(), NAME, None, [held(Place.BACKUP, version())], [deletion])
        assert restored(made) == version()
        assert made is not None
        assert made.caution == ""

    def test_a_blob_that_may_have_been_deleted_by_then_is_brought_back_with_a_word(self) -> None:
        deletion = Deletion(NAME, BEFORE, AFTER)
        made = step(job(), NAME, None, [held(Place.BACKUP, version())], [deletion])
        assert restored(made) == version()
        assert made is not None
        assert made.caution == f"it may have been deleted by {AT}"
        assert made.caution in made.reason

    def test_one_that_was_created_again_by_then_is_brought_back_as_that(self) -> None:
        again = version("2026-11-20T11:40:00Z", "0x2")
        places = [held(Place.BACKUP, version()), held(Place.BACKUP, again)]
        assert restored(step(job(), NAME, None, places, [self.DELETED._replace(back_by=AT)])) == again

    def test_one_that_was_created_again_later_was_not_there_then(self) -> None:
        live = version(AFTER, "0x2")
        places = [held(Place.BACKUP, version()), *everywhere(live)]
        deletions = [self.DELETED._replace(back_by=AFTER)]
        assert left(step(job(), NAME, entry(live), places, deletions)) == WAS_DELETED
        in_place = step(job(Mode.IN_PLACE), NAME, entry(live), places, deletions)
        assert left(in_place) == f"was deleted before {AT}, and created again after it"
        deleted = step(job(Mode.IN_PLACE, delete_newer=True), NAME, entry(live), places, deletions)
        assert deleted is not None
        assert (deleted.action, deleted.replaces) == (Action.DELETE, "0x2")

    def test_a_version_that_lives_is_back_since_nobody_knows_when(self) -> None:
        made = step(job(), NAME, entry(version()), everywhere(version()), [self.DELETED])
        assert restored(made) == version()
        assert made is not None
        assert made.caution == f"it may have been deleted by {AT}"


class TestInPlace:
    JOB = job(Mode.IN_PLACE)

    def test_a_blob_that_was_corrupted_since_is_overwritten_on_the_condition_of_its_etag(self) -> None:
        live = version(AFTER, "0x2")
        made = step(self.JOB, NAME, entry(live), [held(Place.SNAPSHOT, version()), held(Place.LIVE, live)], ())
        assert restored(made) == version()
        assert made is not None
        assert made.replaces == "0x2"
        assert AFTER in made.reason

    def test_a_blob_that_is_that_version_is_left(self) -> None:
        assert left(step(self.JOB, NAME, entry(version()), everywhere(version()), ())) == IS_THAT_VERSION

    def test_a_blob_that_is_gone_is_written_where_nothing_stands(self) -> None:
        made = step(self.JOB, NAME, None, [held(Place.BACKUP, version())], ())
        assert restored(made) == version()
        assert made is not None
        assert made.replaces is None

    def test_a_blob_that_was_created_later_is_left_alone(self) -> None:
        live = version(AFTER)
        assert left(step(self.JOB, NAME, entry(live), everywhere(live), ())) == f"created after {AT}"

    def test_or_deleted_on_the_condition_of_its_etag_if_that_is_asked_for(self) -> None:
        live = version(AFTER, "0x2")
        made = step(replace(self.JOB, delete_newer=True), NAME, entry(live), everywhere(live), ())
        assert made is not None
        assert (made.action, made.replaces, made.version) == (Action.DELETE, "0x2", live)

    def test_a_blob_that_existed_by_then_is_never_deleted_and_its_state_is_not_to_be_had(self) -> None:
        live = version(AFTER, "0x2")
        made = step(replace(self.JOB, delete_newer=True), NAME, entry(live, created=BEFORE), everywhere(live), ())
        assert impossible(made) == f"it existed, but no version of it is known that is not after {AT}"

    def test_what_is_not_newer_is_never_deleted_though_no_version_is_known(self) -> None:
        made = step(replace(self.JOB, delete_newer=True), NAME, entry(version(BEFORE)), (), ())
        assert HALF_RESTORED in impossible(made)

    def test_a_directory_that_took_a_blobs_name_stands_in_its_way(self) -> None:
        live = entry(version(AFTER, "0x2", size=0), directory=True)
        made = step(replace(self.JOB, delete_newer=True), NAME, live, [held(Place.BACKUP, version())], ())
        assert impossible(made) == DIRECTORY_STANDS
        assert restored(step(job(), NAME, live, [held(Place.BACKUP, version())], ())) == version()


class TestDirectories:
    """Of a hierarchical namespace."""

    LIVE = entry(Version("dir", "0x9", AFTER, 0), directory=True)
    JOB = job(Mode.IN_PLACE, delete_newer=True)

    def test_one_that_was_created_later_is_deleted_with_the_newer_blobs(self) -> None:
        made = step(self.JOB, "dir", self.LIVE, (), ())
        assert made is not None
        assert (made.action, made.directory, made.replaces) == (Action.DELETE, True, "0x9")

    @pytest.mark.parametrize(
        "other",
        [
            (job(Mode.IN_PLACE), LIVE),
            (job(), LIVE),
            (JOB, LIVE._replace(last_modified=BEFORE)),
            (JOB, LIVE._replace(created=BEFORE)),
        ],
        ids=["not asked for", "another container", "older", "changed since, but older"],
    )
    def test_any_other_is_left_alone(self, other: tuple[Job, Entry]) -> None:
        assert step(other[0], "dir", other[1], (), ()) is None


class TestPlaces:
    """The cheapest place that holds the version undamaged."""

    def test_what_stands_in_the_target_account_comes_first(self) -> None:
        made = step(job(), NAME, None, everywhere(version()), ())
        assert made is not None
        assert [one.place for one in made.places] == [Place.LIVE, Place.SNAPSHOT, Place.BACKUP]
        made = step(job(target_account="backup"), NAME, None, everywhere(version()), ())
        assert made is not None
        assert [one.place for one in made.places] == [Place.BACKUP, Place.LIVE, Place.SNAPSHOT]

    def test_what_can_be_read_comes_before_what_is_archived(self) -> None:
        places = [held(Place.LIVE, version(), tier="Archive"), held(Place.BACKUP, version())]
        made = step(job(), NAME, None, places, ())
        assert made is not None
        assert [one.tier for one in made.places] == ["Hot", "Archive"]

    def test_what_is_archived_everywhere_is_impossible_unless_it_may_be_rehydrated(self) -> None:
        places = [held(place, version(), tier="Archive") for place in (Place.LIVE, Place.BACKUP)]
        assert impossible(step(job(), NAME, None, places, ())) == ARCHIVED
        made = step(job(rehydrate="high"), NAME, None, places, ())
        assert restored(made) == version()
        assert made is not None
        assert "rehydrated first" in made.reason

    def test_what_must_be_rehydrated_is_a_backup_before_it_is_the_live_blob(self) -> None:
        places = [archived(one) for one in everywhere(version())]
        made = step(job(rehydrate="standard"), NAME, None, places, ())
        assert made is not None
        assert [one.place for one in made.places] == [Place.BACKUP, Place.LIVE]

    def test_an_archived_snapshot_is_none_that_could_be_rehydrated(self) -> None:
        places = [held(Place.SNAPSHOT, version(), tier="Archive")]
        assert impossible(step(job(rehydrate="high"), NAME, None, places, ())) == ARCHIVED_SNAPSHOT

    def test_a_backup_of_another_size_is_no_place(self) -> None:
        damaged = held(Place.BACKUP, version(), size=2)
        made = step(job(), NAME, None, [damaged, held(Place.SNAPSHOT, version())], ())
        assert made is not None
        assert [one.place for one in made.places] == [Place.SNAPSHOT]

    def test_a_backup_of_another_md5_is_no_place(self) -> None:
        damaged = held(Place.BACKUP, version(), md5="b3RoZXI=")
        made = step(job(target_account="backup"), NAME, None, [damaged, held(Place.SNAPSHOT, version())], ())
        assert made is not None
        assert [one.place for one in made.places] == [Place.SNAPSHOT]

    def test_the_source_knows_how_large_the_version_was(self) -> None:
        unfinished = held(Place.BACKUP, version(size=1), size=1)
        made = step(job(), NAME, None, [unfinished, held(Place.SNAPSHOT, version(size=3))], ())
        assert restored(made) == version(size=3)
        assert made is not None
        assert [one.place for one in made.places] == [Place.SNAPSHOT]

    @pytest.mark.parametrize(
        ("damaged", "reason"),
        [
            (held(Place.BACKUP, version(), size=2), WRONG_SIZE),
            (held(Place.LIVE, version(), unusable=CUSTOMER_KEY), CUSTOMER_KEY),
            (held(Place.BACKUP, version(), unusable=WRONG_CLAIMS), WRONG_CLAIMS),
        ],
    )
    def test_an_older_version_is_offered_and_never_taken_instead(self, damaged: Held, reason: str) -> None:
        made = step(job(), NAME, None, [damaged, held(Place.BACKUP, version(LONG_BEFORE, "0x0"))], ())
        assert impossible(made) == reason
        assert made is not None
        assert made.offered == (LONG_BEFORE,)

    def test_all_flaws_are_named(self) -> None:
        places = [held(Place.LIVE, version(), unusable=CUSTOMER_KEY), held(Place.BACKUP, version(), md5="b3RoZXI=")]
        assert impossible(step(job(), NAME, None, places, ())) == f"{CUSTOMER_KEY}; {WRONG_MD5}"


class TestATargetThatExists:
    """Nothing in it is overwritten."""

    def test_what_is_there_already_is_left(self) -> None:
        made = step(job(), NAME, None, everywhere(version()), (), entry(version(AFTER, "0x5")))
        assert left(made) == ALREADY_THERE

    @pytest.mark.parametrize(
        "standing",
        [
            entry(version(AFTER, "0x5", size=4)),
            entry(version(AFTER, "0x5"))._replace(md5="b3RoZXI="),
            entry(version(AFTER, "0x5"), directory=True),
        ],
        ids=["size", "MD5", "directory"],
    )
    def test_what_is_not_the_same_is_in_the_way(self, standing: Entry) -> None:
        assert impossible(step(job(), NAME, None, everywhere(version()), (), standing)) == OTHER_STANDS

    def test_what_holds_no_md5_is_compared_when_the_plan_is_carried_out(self) -> None:
        standing = entry(version(AFTER, "0x5"))._replace(md5=None)
        made = step(job(), NAME, None, everywhere(version()), (), standing)
        assert made is not None
        assert (made.action, made.replaces) == (Action.RESTORE, None)
        assert "if it is not what stands there already" in made.reason


class TestNames:
    @pytest.mark.parametrize("name", REFUSED_NAMES)
    def test_a_name_that_http_would_resolve_is_impossible_and_never_written(self, name: str) -> None:
        of = version(name=name)
        assert "segment" in impossible(step(job(), name, None, [held(Place.BACKUP, of)], ()))
        newer = entry(version(AFTER, name=name))
        assert "segment" in impossible(step(job(Mode.IN_PLACE, delete_newer=True), name, newer, (), ()))

    def test_a_blob_that_was_asked_for_by_name_is_never_passed_over(self) -> None:
        asked = job(names=(NAME,))
        expected = f"no version of it is known that is not after {AT}"
        assert impossible(step(asked, NAME, None, (), ())) == expected
        assert impossible(step(asked, NAME, entry(version(AFTER)), everywhere(version(AFTER)), ())) == expected
        assert impossible(step(job(Mode.IN_PLACE, names=(NAME,)), NAME, entry(version(AFTER)), (), ())) == expected


class TestBackupsInAListing:
    """What a blob of a backup container is."""

    def backup(self, of: Version, metadata: dict[str, str] | None = None, size: int | None = None) -> Entry:
        claims = {"snapkeep_source_etag": of.etag, "snapkeep_source_last_modified": of.last_modified}
        claims.update([as_metadata(of.name)])
        return Entry(
            backup_name(of), None, "0xB", AFTER, of.size if size is None else size, "bWQ1",
            metadata=claims if metadata is None else metadata,
        )  # fmt: skip

    @pytest.mark.parametrize("name", HARD_NAMES.values(), ids=HARD_NAMES)
    def test_its_name_tells_the_version(self, name: str) -> None:
        found = held_backup(self.backup(version(name=name)))
        assert found is not None
        assert (found.version, found.etag, found.unusable) == (version(name=name), "0xB", "")

    def test_the_size_of_the_version_stands_in_its_metadata_where_it_is_written_in_pieces(self) -> None:
        found = held_backup(self.backup(version(size=9), {"snapkeep_source_size": "9"}, size=2))
        assert found is not None
        assert (found.version.size, found.size) == (9, 2)

    @pytest.mark.parametrize(
        "claim",
        [
            {"snapkeep_source_etag": "0x9"},
            {"Snapkeep_Source_Last_Modified": AFTER},
            {"snapkeep_source_name": "b.csv"},
        ],
    )
    def test_one_that_claims_to_be_another_is_known_but_not_used(self, claim: dict[str, str]) -> None:
        found = held_backup(self.backup(version(), claim))
        assert found is not None
        assert (found.version, found.unusable) == (version(), WRONG_CLAIMS)

    def test_one_that_claims_nothing_is_believed_by_its_name(self) -> None:
        found = held_backup(self.backup(version(), {}))
        assert found is not None
        assert found.unusable == ""

    @pytest.mark.parametrize(
        "name", ["orders.csv", "a.csv/readme", "a.csv/20261120T110000Z-0x1.txt", f"{LONG_NAMES}/x"]
    )
    def test_any_other_blob_is_none(self, name: str) -> None:
        assert held_backup(Entry(name, None, "0xB", AFTER, 3, metadata={})) is None

    def test_a_hashed_one_without_a_name_is_known_again_by_whoever_knows_the_name(self) -> None:
        of = version(name="x" * 1024)
        assert held_backup(self.backup(of, {})) is None
        found = held_backup(self.backup(of, {}), of.name)
        assert found is not None
        assert found.version == of
        assert held_backup(self.backup(of, {}), "y" * 1024) is None


def test_the_half_of_an_interrupted_restore_is_no_version() -> None:
    assert source_flaw(entry(version(), metadata={RESTORING: "20261120t140533z-0123456789-0x1"})) == HALF_RESTORED
    assert source_flaw(entry(version(), customer_key=True)) == CUSTOMER_KEY
    assert source_flaw(entry(version(), metadata={"owner": "me"})) == ""


GOLDEN = (
    '{"action":"restore","name":"a \\"b\\".csv","reason":"the version of 2026-11-20T11:00:00Z",'
    '"version":{"name":"a \\"b\\".csv","etag":"0x1","last_modified":"2026-11-20T11:00:00Z","size":3},'
    '"places":[{"place":"snapshot","key":"2026-11-20T11:00:00.5000000Z","etag":"0x1","size":3,"md5":"bWQ1",'
    '"blob_type":"BlockBlob","tier":"Hot"}],"replaces":"0x2","offered":["2026-11-19T11:00:00Z"]}'
)


def test_a_plans_line_stays_as_released_plans_have_it() -> None:
    of = version(name='a "b".csv')
    made = Step(
        Action.RESTORE, of.name, f"the version of {BEFORE}", of, (held(Place.SNAPSHOT, of),), "0x2",
        offered=(LONG_BEFORE,),
    )  # fmt: skip
    assert to_line(made) == GOLDEN
    assert of_line(GOLDEN) == made


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VERSIONS = st.builds(Version, TEXTS, TEXTS, st.just(BEFORE), st.integers(0, 2**50))
HELD = st.builds(
    Held, st.sampled_from(Place), VERSIONS, TEXTS, TEXTS, st.integers(0, 2**50), st.none() | TEXTS,
    st.just("BlockBlob"), st.just("Hot"), TEXTS,
)  # fmt: skip
STEPS = st.builds(
    Step, st.sampled_from(Action), TEXTS, TEXTS, VERSIONS, st.lists(HELD).map(tuple), st.none() | TEXTS.filter(bool),
    st.booleans(), st.lists(TEXTS).map(tuple), TEXTS,
)  # fmt: skip


@given(STEPS)
def test_a_line_holds_all_of_a_step_on_one_line(made: Step) -> None:
    line = to_line(made)
    assert of_line(line) == made
    assert "\n" not in line
    assert "\r" not in line


@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.booleans()), max_size=6),
    st.sampled_from(["auto", "backups"]),
    st.sampled_from(list(Mode)),
)
def test_no_step_ever_takes_a_version_from_after_the_moment(
    made: list[tuple[int, bool, bool]], origin: Any, mode: Mode
) -> None:
    """Whatever stands wherever: the version is the newest of those not after it, or none is taken."""
    places = []
    for number, (hour, in_backup, whole) in enumerate(made):
        of = version(f"2026-11-20T{9 + hour:02d}:00:00Z", f"0x{number}")
        place = Place.BACKUP if in_backup else Place.SNAPSHOT
        places.append(held(place, of, size=3 if whole else 2))
    found = step(job(mode, origin=origin), NAME, None, places, ())
    known = [one.version.last_modified for one in places if one.version.last_modified <= AT]
    if not known:
        assert found is None
        return
    assert found is not None
    assert found.version is not None
    assert found.version.last_modified == max(known)
    assert (found.action is Action.RESTORE) == any(
        one.version.etag == found.version.etag and one.size == 3 for one in places
    )


def test_an_append_blob_beside_is_compared_even_if_the_stale_md5_of_both_is_the_same() -> None:
    live = Entry(NAME, None, "0x1", BEFORE, 3, "1B2M2Y8AsgTpgAmY7PhCfg==", "AppendBlob")
    held = Held(Place.LIVE, live.version, "", live.etag, 3, live.md5, "AppendBlob", "")
    found = step(job(), NAME, live, [held], (), live._replace(etag="0x2"))
    assert found is not None
    assert found.action is Action.RESTORE

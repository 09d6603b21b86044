"""What a backup must be, what is wrong with one that was found, and what its bytes prove."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.backups import SOURCE_ETAG, SOURCE_LAST_MODIFIED, SOURCE_SIZE, UNFINISHED_PAGE_BYTES
from shared.decisions.changes import Group
from shared.decisions.names import SOURCE_NAME, backup_name
from shared.decisions.verification import (
    MD5_OF_NOTHING,
    Content,
    Identity,
    Kind,
    as_swapped,
    contradiction,
    difference,
    expected_backups,
    expected_of,
    identity,
    known_content,
    misfit,
    missing,
    needs_kept_hash,
    needs_source,
    whole_version,
)
from shared.expected import Expected, Need
from shared.model import Entry, Version

MD5, OTHER_MD5 = "CY9rzUYh03PK3k6DJie09g==", "1B2M2Y8AsgTpgAmY7PhCfh=="


def entry(number: int = 1, snapshot: str | None = None, **changes: Any) -> Entry:
    made = Entry("sales/a.csv", snapshot, f"0x{number}", f"2026-11-20T14:05:{number:02}Z", 100, MD5)
    return made._replace(**changes)


def backup(of: Entry, **changes: Any) -> Entry:
    claims = {SOURCE_ETAG: of.etag, SOURCE_LAST_MODIFIED: of.last_modified, SOURCE_NAME: of.name}
    made = Entry(backup_name(of.version), None, "0xB", "2026-11-20T15:00:00Z", of.size, of.md5, of.blob_type)
    return made._replace(metadata=claims)._replace(**changes)


def who(of: Entry) -> Identity:
    return Identity(of.name, of.etag, of.last_modified)


def claiming(of: Entry, **claims: str) -> Entry:
    found = backup(of)
    return found._replace(metadata=(found.metadata or {}) | claims)


class TestWhatThereMustBe:
    def needs(self, *entries: Entry, history: Literal["all", "current"] = "all") -> dict[str, Need]:
        live = next((one for one in entries if one.snapshot is None), None)
        snapshots = tuple(one for one in entries if one.snapshot is not None)
        group = Group(entries[0].name, live, snapshots)
        return {one.etag: one.need for one in expected_backups(group, history)}

    def test_each_version_has_one(self) -> None:
        needs = self.needs(entry(3), entry(3, "s3"), entry(2, "s2"), entry(1, "s1"))
        assert needs == dict.fromkeys(("0x1", "0x2", "0x3"), Need.REQUIRED)

    def test_older_versions_need_none_where_the_current_ones_alone_are_asked_for(self) -> None:
        needs = self.needs(entry(2), entry(2, "s2"), entry(1, "s1"), history="current")
        assert needs == {"0x2": Need.REQUIRED, "0x1": Need.OPTIONAL}

    def test_an_archived_version_cannot_have_one_and_its_readable_siblings_can(self) -> None:
        assert self.needs(entry(2, tier="Archive"), entry(1, "s1")) == {
            "0x2": Need.UNPROTECTABLE,
            "0x1": Need.REQUIRED,
        }

    @pytest.mark.parametrize("changes", [{"name": "a/../b"}, {"customer_key": True}])
    def test_a_blob_that_nobody_can_read_cannot_have_one(self, changes: dict[str, Any]) -> None:
        assert self.needs(entry(1, **changes)) == {"0x1": Need.UNPROTECTABLE}

    def test_a_directory_has_none(self) -> None:
        assert self.needs(entry(1, directory=True)) == {}

    def test_a_version_is_read_where_it_can_be_and_stays_as_it_is(self) -> None:
        def place(*entries: Entry) -> tuple[str | None, str]:
            live = next((one for one in entries if one.snapshot is None), None)
            group = Group("sales/a.csv", live, tuple(one for one in entries if one.snapshot))
            [only] = expected_backups(group, "all")
            return only.snapshot, only.tier

        assert place(entry(1)) == (None, "")
        assert place(entry(1), entry(1, "s1")) == ("s1", "")
        assert place(entry(1, tier="Archive"), entry(1, "s1", tier="Cool")) == ("s1", "Cool")
        assert place(entry(1, tier="Hot"), entry(1, "s1", tier="Archive")) == (None, "Hot")


class TestByListings:
    def judged(self, found: Entry, expected: Entry | None) -> Kind | None:
        wanted = expected_of(expected) if expected is not None else None
        told = identity(found, wanted)
        assert told is not None
        problem = contradiction(found, told) or misfit(found, told, wanted)
        return problem.kind if problem else None

    def test_a_sound_backup_is_one_with_and_without_its_source(self) -> None:
        assert self.judged(backup(entry()), entry()) is None
        assert self.judged(backup(entry()), None) is None

    @pytest.mark.parametrize("known", [True, False])
    @pytest.mark.parametrize(
        "claims",
        [{SOURCE_ETAG: "0xA"}, {SOURCE_NAME: "other.csv"}, {SOURCE_LAST_MODIFIED: "2026-11-20T14:05:59Z"}],
    )
    def test_one_that_claims_to_be_another_version_is_swapped(self, claims: dict[str, str], known: bool) -> None:
        assert self.judged(claiming(entry(), **claims), entry() if known else None) is Kind.SWAPPED

    def test_claims_are_read_in_any_case_as_the_service_compares_them(self) -> None:
        found = backup(entry(), metadata={"Snapkeep_Source_ETag": "0xA"})
        assert self.judged(found, entry()) is Kind.SWAPPED

    def test_one_without_room_for_claims_contradicts_nothing(self) -> None:
        assert self.judged(backup(entry(), metadata={"much": "x"}), entry()) is None

    @pytest.mark.parametrize(
        ("changes", "kind"),
        [
            ({"size": 99}, Kind.TRUNCATED),
            ({"size": 101}, Kind.TRUNCATED),
            ({"md5": OTHER_MD5}, Kind.CORRUPT),
            ({"blob_type": "AppendBlob"}, Kind.CORRUPT),
            ({"md5": None}, None),
        ],
    )
    def test_its_size_type_and_md5_are_the_versions(self, changes: dict[str, Any], kind: Kind | None) -> None:
        assert self.judged(backup(entry())._replace(**changes), entry()) is kind

    def test_the_size_that_it_claims_counts_without_its_source(self) -> None:
        half = claiming(entry(blob_type="AppendBlob"), **{SOURCE_SIZE: "100"})._replace(size=60)
        assert self.judged(half, None) is Kind.TRUNCATED
        assert self.judged(half._replace(size=100), None) is None

    @pytest.mark.parametrize(("blob_type", "size"), [("AppendBlob", 60), ("PageBlob", 100 + UNFINISHED_PAGE_BYTES)])
    def test_one_that_is_still_being_written_is_said_to_be(self, blob_type: str, size: int) -> None:
        of = entry(blob_type=blob_type)
        problem = misfit(backup(of, size=size), who(of), expected_of(of))
        assert problem is not None
        assert (problem.kind, "still being written" in problem.detail) == (Kind.TRUNCATED, True)

    def test_another_versions_content_is_said_to_be_that(self) -> None:
        problem = misfit(backup(entry(), md5=OTHER_MD5), who(entry()), expected_of(entry()))
        assert problem is not None
        swapped = as_swapped(problem, expected_of(entry(2, name="b.csv", md5=OTHER_MD5)))
        assert (swapped.kind, swapped.name, swapped.backup) == (Kind.SWAPPED, "sales/a.csv", problem.backup)
        assert "'b.csv'" in swapped.detail

    def test_a_pending_request_is_said_to_be_possible(self) -> None:
        problem = missing(expected_of(entry()))
        assert (problem.kind, problem.name) == (Kind.MISSING, "sales/a.csv")
        assert "a request for it may be waiting" in problem.detail


class TestWhatANameSays:
    def test_any_versions_backup_is_that_versions(self) -> None:
        assert identity(backup(entry()), None) == who(entry())

    @given(st.text(min_size=1, max_size=40))
    def test_a_name_of_another_form_is_nobodys(self, name: str) -> None:
        assert identity(Entry(name, None, "0xB", "2026-11-20T15:00:00Z", 1, metadata={}), None) is None

    def test_an_extension_that_its_source_does_not_have_is_foreign(self) -> None:
        name = backup_name(entry().version) + ".txt"
        assert identity(backup(entry(), name=name, metadata={}), None) is None

    def test_a_hashed_name_tells_its_source_by_its_metadata_or_by_the_source_itself(self) -> None:
        long = entry(name="d/" * 600)
        found = backup(long)
        assert found.name.startswith(".snapkeep/long/")
        assert identity(found, None) == who(long)
        assert identity(found._replace(metadata={}), expected_of(long)) == who(long)
        full = found._replace(metadata={"of the source": "x" * 8150})  # which leaves no room for what Snapkeep adds
        assert identity(full, None) == Identity(None, long.etag, long.last_modified)

    def test_a_name_that_somebody_made_up_is_foreign(self) -> None:
        one = entry()
        found = backup(one)
        assert identity(found, None) == who(one)
        assert identity(found._replace(metadata={}), None) is None
        assert identity(found._replace(metadata={}), expected_of(one)) == who(one)

    def test_a_hashed_name_whose_metadata_tells_another_source_is_swapped(self) -> None:
        long = entry(name="d/" * 600)
        found = claiming(long, **{SOURCE_NAME: "e/" * 600})
        told = identity(found, None)
        assert told == Identity(None, long.etag, long.last_modified)
        problem = contradiction(found, told)
        assert problem is not None
        assert problem.kind is Kind.SWAPPED

    def test_a_drill_takes_whole_backups_alone(self) -> None:
        of = entry(blob_type="AppendBlob")
        whole = claiming(of, **{SOURCE_SIZE: "100"})
        assert whole_version(whole) == of.version
        assert whole_version(whole._replace(size=60)) is None
        assert whole_version(whole._replace(directory=True)) is None
        assert whole_version(entry()) is None


class TestByBytes:
    def contents(self, found: Entry, expected: Entry | None) -> list[str | None]:
        return [one.md5 for one in known_content(found, expected_of(expected) if expected else None)]

    def test_the_versions_md5_and_the_backups_own_both_must_hold(self) -> None:
        assert self.contents(backup(entry(), md5=OTHER_MD5), entry()) == [MD5, OTHER_MD5]
        assert self.contents(backup(entry()), None) == [MD5]
        assert self.contents(backup(entry(), md5=None), entry(md5=None)) == []

    def test_no_bytes_need_no_witness(self) -> None:
        empty = entry(size=0, md5=None)
        assert self.contents(backup(empty), None) == [MD5_OF_NOTHING]
        assert not needs_kept_hash(backup(empty), expected_of(empty))
        assert not needs_source(backup(empty), expected_of(empty))

    @pytest.mark.parametrize(
        ("own", "versions", "keeps", "asks"),
        [(None, None, True, True), (MD5, None, False, True), (None, MD5, False, False), (MD5, MD5, False, False)],
    )
    def test_a_hash_is_kept_and_the_source_asked_where_the_service_has_none(
        self, own: str | None, versions: str | None, keeps: bool, asks: bool
    ) -> None:
        of = entry(md5=versions)
        found = backup(of, md5=own)
        assert needs_kept_hash(found, expected_of(of)) is keeps
        assert needs_source(found, expected_of(of)) is asks

    def test_what_is_archived_in_the_source_is_not_asked_for(self) -> None:
        of = entry(md5=None, tier="Archive")
        assert not needs_source(backup(of), expected_of(of))
        assert not needs_source(backup(of), None)

    def test_one_witness_that_differs_is_enough(self) -> None:
        contents = [Content(MD5, "one"), Content(OTHER_MD5, "the other")]
        assert difference(backup(entry()), who(entry()), MD5, contents[:1]) is None
        problem = difference(backup(entry()), who(entry()), MD5, contents)
        assert problem is not None
        assert problem.kind is Kind.CORRUPT
        assert "the other" in problem.detail


def test_an_expected_backup_tells_its_version() -> None:
    expected: Expected = expected_of(entry())
    assert expected.version == Version("sales/a.csv", "0x1", "2026-11-20T14:05:01Z", 100)
    assert expected.backup == backup_name(expected.version)

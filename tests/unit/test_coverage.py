"""What one blob lacks: its snapshot, backups of its versions, or somebody's help."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.backups import UNFINISHED_PAGE_BYTES
from shared.decisions.changes import Group
from shared.decisions.coverage import Coverage, coverage
from shared.decisions.names import backup_name
from shared.model import Entry, IndexedBlob, Reason, Version
from tests.names import REFUSED_NAMES

MD5, OTHER_MD5 = "1B2M2Y8AsgTpgAmY7PhCfg==", "CY9rzUYh03PK3k6DJie09g=="
Backups = dict[str, IndexedBlob]


def entry(number: int = 1, snapshot: str | None = None, **changes: Any) -> Entry:
    made = Entry("sales/a.csv", snapshot, f"0x{number}", f"2026-11-20T14:05:{number:02}Z", 100 + number, MD5)
    return made._replace(**changes)


def group(live: Entry | None, *snapshots: Entry) -> Group:
    name = live.name if live else snapshots[0].name
    return Group(name, live, snapshots)


def backed_up(*entries: Entry) -> Backups:
    made = Backups()
    for one in entries:
        made |= fact(one)
    return made


def covered(of: Group, backups: Backups, history: Literal["all", "current"] = "all") -> Coverage:
    return coverage(of, backups, history)


def fact(of: Entry, **changes: Any) -> Backups:
    name = backup_name(of.version)
    return {name: IndexedBlob(name, of.size, of.md5, of.blob_type, "2026-11-20T15:00:00Z")._replace(**changes)}


LIVE = entry(3)
ITS_SNAPSHOT = entry(3, "s3")
OLDER = entry(2, "s2")
OLDEST = entry(1, "s1")


class TestOneVersion:
    def test_a_version_with_snapshot_and_backup_is_protected(self) -> None:
        assert covered(group(LIVE, ITS_SNAPSHOT), backed_up(LIVE)) == Coverage(versions=1, protected=(LIVE,))

    def test_a_new_blob_lacks_both(self) -> None:
        assert covered(group(LIVE), {}) == Coverage(
            1, (), LIVE.version, (LIVE.version,), oldest_unprotected=LIVE.last_modified
        )

    def test_a_blob_with_a_backup_alone_lacks_its_snapshot_and_is_not_protected(self) -> None:
        assert covered(group(LIVE), backed_up(LIVE)) == Coverage(
            1, (), LIVE.version, oldest_unprotected=LIVE.last_modified
        )

    def test_a_blob_with_a_snapshot_alone_lacks_its_backup(self) -> None:
        assert covered(group(LIVE, ITS_SNAPSHOT), {}) == Coverage(
            1, (), None, (LIVE.version,), oldest_unprotected=LIVE.last_modified
        )

    @pytest.mark.parametrize(("live_md5", "backup_md5"), [(None, MD5), (MD5, None), (None, None)])
    def test_an_md5_that_one_side_lacks_contradicts_nothing(self, live_md5: str | None, backup_md5: str | None) -> None:
        live, snapshot = LIVE._replace(md5=live_md5), ITS_SNAPSHOT._replace(md5=live_md5)
        assert covered(group(live, snapshot), fact(live, md5=backup_md5)).protected == (live,)

    @pytest.mark.parametrize(
        "wrong", [{"size": 0}, {"size": LIVE.size + 1}, {"size": LIVE.size - 1}, {"md5": OTHER_MD5}]
    )
    def test_a_backup_that_differs_is_reported_and_neither_counted_nor_requested(
        self, wrong: dict[str, object]
    ) -> None:
        found = covered(group(LIVE, ITS_SNAPSHOT), fact(LIVE, **wrong))
        assert (found.protected, found.missing_backups) == ((), ())
        (conflict,) = found.unprotectable
        assert (conflict.version, conflict.reason) == (LIVE.version, Reason.CONFLICT)
        assert str(LIVE.size) in conflict.detail
        assert found.oldest_unprotected == LIVE.last_modified

    def test_a_page_blob_whose_pages_are_still_coming_in_is_requested_again(self) -> None:
        live, snapshot = LIVE._replace(blob_type="PageBlob", size=1024), ITS_SNAPSHOT._replace(size=1024)
        unfinished = fact(live, size=1024 + UNFINISHED_PAGE_BYTES)
        assert covered(group(live, snapshot), unfinished).missing_backups == (live.version,)
        assert covered(group(live, snapshot), fact(live)).protected == (live,)
        assert covered(group(live, snapshot), fact(live, size=512)).unprotectable[0].reason is Reason.CONFLICT

    def test_an_append_blob_whose_blocks_are_still_coming_in_is_requested_again(self) -> None:
        live, snapshot = LIVE._replace(blob_type="AppendBlob"), ITS_SNAPSHOT._replace(blob_type="AppendBlob")
        assert covered(group(live, snapshot), fact(live, size=0, md5=None)).missing_backups == (live.version,)
        assert covered(group(live, snapshot), fact(live)).protected == (live,)
        longer = fact(live, size=live.size + 1)
        assert covered(group(live, snapshot), longer).unprotectable[0].reason is Reason.CONFLICT

    def test_an_archived_version_without_a_backup_is_snapshotted_and_reported(self) -> None:
        live = LIVE._replace(tier="Archive")
        found = covered(group(live), {})
        assert (found.missing_snapshot, found.missing_backups) == (live.version, ())
        assert [(one.version, one.reason) for one in found.unprotectable] == [(live.version, Reason.ARCHIVED)]

    @pytest.mark.parametrize("history", ["all", "current"])
    def test_an_archived_blob_whose_snapshot_can_still_be_read_is_requested(
        self, history: Literal["all", "current"]
    ) -> None:
        live, snapshot = LIVE._replace(tier="Archive"), ITS_SNAPSHOT._replace(tier="Hot")
        found = covered(group(live, snapshot), {}, history)
        assert (found.missing_backups, found.unprotectable) == ((live.version,), ())

    def test_an_archived_version_with_a_backup_is_protected(self) -> None:
        live, snapshot = LIVE._replace(tier="Archive"), ITS_SNAPSHOT._replace(tier="Archive")
        assert covered(group(live, snapshot), backed_up(live)) == Coverage(1, (snapshot,))

    def test_a_directory_is_no_version(self) -> None:
        assert covered(group(LIVE._replace(directory=True)), {}) == Coverage()

    @pytest.mark.parametrize("name", REFUSED_NAMES)
    def test_a_refused_name_is_reported_and_nothing_is_asked_for_it(self, name: str) -> None:
        found = covered(group(LIVE._replace(name=name)), {})
        assert (found.versions, found.missing_snapshot, found.missing_backups) == (1, None, ())
        assert [one.reason for one in found.unprotectable] == [Reason.REFUSED_NAME]
        assert found.oldest_unprotected == LIVE.last_modified

    def test_a_customer_key_is_reported_and_nothing_is_asked_for_it(self) -> None:
        found = covered(group(LIVE._replace(customer_key=True)), {})
        assert (found.missing_snapshot, found.missing_backups) == (None, ())
        assert [one.reason for one in found.unprotectable] == [Reason.CUSTOMER_KEY]


class TestHistory:
    def test_every_snapshotted_version_counts(self) -> None:
        found = covered(group(LIVE, OLDEST, OLDER, ITS_SNAPSHOT), backed_up(OLDER))
        assert (found.versions, found.protected) == (3, (OLDER,))
        assert set(found.missing_backups) == {OLDEST.version, LIVE.version}
        assert found.missing_snapshot is None
        assert found.oldest_unprotected == OLDEST.last_modified

    def test_with_history_current_the_live_blob_alone_counts(self) -> None:
        found = covered(group(LIVE, OLDEST, OLDER, ITS_SNAPSHOT), {}, "current")
        assert (found.versions, found.missing_backups) == (1, (LIVE.version,))
        assert covered(group(None, OLDEST, OLDER), {}, "current") == Coverage()

    def test_versions_of_a_deleted_blob_are_still_asked_for(self) -> None:
        found = covered(group(None, OLDEST, OLDER), backed_up(OLDEST))
        assert (found.versions, found.protected, found.missing_backups) == (2, (OLDEST,), (OLDER.version,))
        assert found.missing_snapshot is None

    def test_two_snapshots_of_one_version_are_one_version(self) -> None:
        found = covered(group(LIVE, entry(3, "s3"), entry(3, "s4")), {})
        assert (found.versions, found.missing_backups) == (1, (LIVE.version,))

    def test_a_changed_blob_lacks_its_snapshot_and_keeps_its_history(self) -> None:
        found = covered(group(LIVE, OLDEST, OLDER), backed_up(OLDEST, OLDER))
        assert found == Coverage(
            3, (OLDEST, OLDER), LIVE.version, (LIVE.version,), oldest_unprotected=LIVE.last_modified
        )


@st.composite
def situations(draw: st.DrawFn) -> tuple[Group, Backups, dict[str, str]]:
    """A blob with a history, backups of any condition, and what condition each version's backup is in."""
    kind = draw(st.sampled_from(["BlockBlob", "PageBlob", "AppendBlob"]))
    numbers = sorted(draw(st.sets(st.integers(1, 9), min_size=1, max_size=5)))
    versions = [
        entry(
            number,
            blob_type=kind,
            md5=draw(st.sampled_from([None, MD5])),
            tier=draw(st.sampled_from(["", "Hot", "Archive"])),
        )
        for number in numbers
    ]
    live = versions[-1] if draw(st.booleans()) else None
    snapshotted = [one for one in versions if one is not live or draw(st.booleans())]
    backups: Backups = {}
    condition: dict[str, str] = {}
    for one in versions:
        state = draw(st.sampled_from(["absent", "good", "wrong size", "wrong MD5", "unfinished"]))
        if state == "good":
            backups |= fact(one, md5=draw(st.sampled_from([one.md5, None])))
        elif state == "wrong size":
            backups |= fact(one, size=one.size + 1)
        elif state == "wrong MD5":
            state = "good" if one.md5 is None else state
            backups |= fact(one, md5=OTHER_MD5)
        elif state == "unfinished":
            state = "wrong size" if kind == "BlockBlob" else state
            backups |= fact(one, size=one.size + 512 if kind == "PageBlob" else one.size - 1)
        condition[one.etag] = state
    snapshots = [one._replace(snapshot=f"s{one.etag}") for one in draw(st.permutations(snapshotted))]
    return Group("sales/a.csv", live, tuple(snapshots)), backups, condition


class TestAnySituation:
    @given(situations(), st.sampled_from(["all", "current"]))
    def test_every_version_is_protected_asked_for_or_reported(
        self, situation: tuple[Group, Backups, dict[str, str]], history: Literal["all", "current"]
    ) -> None:
        of, backups, condition = situation
        if of.live is None and not of.snapshots:
            return
        versions = {one.etag: one for one in of.snapshots} if history == "all" else {}
        if of.live is not None:
            versions[of.live.etag] = of.live
        snapshotted = {one.etag for one in of.snapshots}
        protected, missing, reported = set(), set(), {}
        for etag, one in versions.items():
            if condition[etag] in {"absent", "unfinished"}:
                if one.tier == "Archive":
                    reported[etag] = Reason.ARCHIVED
                else:
                    missing.add(one.version)
            elif condition[etag] != "good":
                reported[etag] = Reason.CONFLICT
            elif etag in snapshotted:
                protected.add(etag)
        unprotected = [one.last_modified for etag, one in versions.items() if etag not in protected]

        found = covered(of, backups, history)

        assert found.versions == len(versions)
        assert len(found.protected) == len(protected)
        assert {one.etag for one in found.protected} == protected
        assert len(found.missing_backups) == len(missing)
        assert set(found.missing_backups) == missing
        assert {one.version.etag: one.reason for one in found.unprotectable} == reported
        assert found.oldest_unprotected == min(unprotected, default=None)
        lacks_snapshot = of.live is not None and of.live.etag not in snapshotted
        assert found.missing_snapshot == (of.live.version if of.live and lacks_snapshot else None)

    @given(situations())
    def test_once_all_is_done_that_it_asks_for_it_asks_for_nothing(
        self, situation: tuple[Group, Backups, dict[str, str]]
    ) -> None:
        of, backups, _ = situation
        if of.live is None and not of.snapshots:
            return
        first = covered(of, backups)
        wanted: dict[Version, Entry] = {one.version: one for one in (*of.snapshots, *([of.live] if of.live else []))}
        snapshots = of.snapshots
        if first.missing_snapshot is not None and of.live is not None:
            snapshots = (*snapshots, of.live._replace(snapshot="s9999"))
        done = backups | backed_up(*(wanted[version] for version in first.missing_backups))
        second = covered(Group(of.name, of.live, snapshots), done)
        assert (second.missing_snapshot, second.missing_backups) == (None, ())
        assert len(second.protected) + len(second.unprotectable) == second.versions


def test_the_half_of_a_restore_is_named_and_the_versions_before_it_are_judged_as_ever() -> None:
    before = entry(1, "2026-11-20T14:05:02.0000000Z")
    found = covered(group(entry(3, half=True), before), {})
    assert [one.reason for one in found.unprotectable] == [Reason.HALF_RESTORED]
    assert found.missing_snapshot is None
    assert found.missing_backups == (before.version,)

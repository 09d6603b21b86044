"""The status: each reason for each verdict; above all, that nothing is called protected that is not known to be."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.status import FUNCTIONS, MAX_LISTED, MAX_RUNS, percent, status
from shared.decisions.status_documents import Unreadable
from shared.decisions.status_findings import NAMED_AT_MOST, Verdict
from shared.model import QueueOverview
from tests.status_inputs import NOW, ago, container, coverage, drill, history, inputs, note, point, sync, verify

NO_ANSWER = Unreadable("the service did not answer")
DOCUMENTS = ("coverage", "history", "sync", "verify", "drill")


def verdict(**changes: Any) -> Verdict:
    return status(inputs(**changes), NOW).verdict


def reasons(**changes: Any) -> list[tuple[str, str]]:
    return [(str(reason.verdict), reason.text) for reason in status(inputs(**changes), NOW).reasons]


def the_reason(**changes: Any) -> tuple[str, str]:
    found = reasons(**changes)
    assert len(found) == 1, found
    return found[0]


class TestProtected:
    def test_when_everything_is_known_recent_and_good(self) -> None:
        assert (verdict(), reasons()) == (Verdict.PROTECTED, [])

    def test_without_mirrors_a_report_of_sync_is_not_asked_for(self) -> None:
        assert verdict(mirrors=(), sync=None) is Verdict.PROTECTED
        assert verdict(mirrors=(), sync=NO_ANSWER) is Verdict.PROTECTED

    def test_what_the_settings_do_not_ask_for_need_not_have_run(self) -> None:
        assert verdict(verifies=False, verify=None, drills=False, drill=None) is Verdict.PROTECTED
        old = {"finished_at": ago(1000)}
        assert verdict(verifies=False, verify=verify(**old), drills=False, drill=drill(**old)) is Verdict.PROTECTED

    def test_a_function_that_never_ran_tells_nothing(self) -> None:
        assert verdict(runs={}) is Verdict.PROTECTED

    def test_a_run_that_goes_on_is_no_reason(self) -> None:
        runs = {function: note(function, result="incomplete") for function in FUNCTIONS}
        assert verdict(runs=runs) is Verdict.PROTECTED

    def test_a_history_that_begins_later_is_no_reason(self) -> None:
        assert verdict(history=None) is Verdict.PROTECTED

    def test_what_waits_for_less_than_an_hour_is_no_reason(self) -> None:
        queue = QueueOverview(7, NOW - timedelta(minutes=59), 0, None)
        assert verdict(queue=queue) is Verdict.PROTECTED

    def test_discarded_requests_are_counted_and_no_reason(self) -> None:
        found = status(inputs(discarded=4), NOW)
        assert (found.verdict, found.discarded) == (Verdict.PROTECTED, 4)

    def test_an_empty_container_has_nothing_to_protect(self) -> None:
        found = status(inputs(coverage=coverage(container(blobs=0, versions=0, protected=0))), NOW)
        assert (found.verdict, found.containers[0].protected_percent) == (Verdict.PROTECTED, None)

    def test_keys_of_a_later_release_are_passed_over(self) -> None:
        assert verdict(coverage=coverage(container(more=1), more=2)) is Verdict.PROTECTED

    def test_a_drill_without_anything_to_restore_is_no_reason(self) -> None:
        assert verdict(drill=drill(result="nothing to restore", picked=0, restored=0)) is Verdict.PROTECTED


class TestUnknown:
    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_a_document_that_cannot_be_read(self, name: str) -> None:
        word, text = the_reason(**{name: NO_ANSWER})
        assert word == "unknown"
        assert text.endswith("could not be read: the service did not answer")

    @pytest.mark.parametrize("name", ["queue", "discarded"])
    def test_a_queue_that_cannot_be_read(self, name: str) -> None:
        assert the_reason(**{name: NO_ANSWER})[0] == "unknown"

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_a_note_of_a_run_that_cannot_be_read(self, function: str) -> None:
        word, text = the_reason(runs={function: NO_ANSWER})
        assert (word, function in text) == ("unknown", True)

    @pytest.mark.parametrize(
        ("name", "advice"),
        [
            ("coverage", "`snapkeep reconcile`"),
            ("sync", "`snapkeep sync`"),
            ("verify", "`snapkeep verify`"),
            ("drill", "`snapkeep drill`"),
        ],
    )
    def test_a_report_that_is_not_there_yet(self, name: str, advice: str) -> None:
        word, text = the_reason(**{name: None})
        assert (word, advice in text) == ("unknown", True)

    @pytest.mark.parametrize(("hours", "word"), [(75, "protected"), (77, "unknown")])
    def test_a_run_that_was_gone_on_with_for_days_tells_of_what_was_there_when_it_began(
        self, hours: int, word: str
    ) -> None:
        found = status(inputs(coverage=coverage(started_at=ago(hours))), NOW)
        assert str(found.verdict) == word
        assert all("rests on listings from" in reason.text for reason in found.reasons)

    @pytest.mark.parametrize(
        ("name", "made"), [("coverage", coverage), ("sync", sync), ("verify", verify), ("drill", drill)]
    )
    def test_a_report_of_more_than_26_hours_ago(self, name: str, made: Any) -> None:
        assert verdict(**{name: made(finished_at=ago(26))}) is Verdict.PROTECTED
        word, text = the_reason(**{name: made(finished_at=ago(26.1))})
        assert (word, "more than 26 h ago" in text) == ("unknown", True)

    @pytest.mark.parametrize(
        ("name", "made"), [("coverage", coverage), ("sync", sync), ("verify", verify), ("drill", drill)]
    )
    def test_a_report_that_is_yet_to_come(self, name: str, made: Any) -> None:
        assert verdict(**{name: made(finished_at=ago(-1 / 60))}) is Verdict.PROTECTED
        word, text = the_reason(**{name: made(finished_at=ago(-1))})
        assert (word, "set this machine's clock" in text) == ("unknown", True)

    def test_a_drill_that_got_to_none_of_what_it_picked(self) -> None:
        nothing = drill(result="nothing to restore", picked=20, restored=0)
        word, text = the_reason(drill=nothing)
        assert (word, "none of the 20 versions" in text) == ("unknown", True)
        assert verdict(drill=nothing, drills=False) is Verdict.PROTECTED

    def test_a_reconciliation_that_did_not_come_to_its_end(self) -> None:
        word, text = the_reason(coverage=coverage(complete=False))
        assert (word, "did not come to its end" in text) == ("unknown", True)

    def test_a_container_that_was_not_looked_at_to_its_end(self) -> None:
        part = container("lost", complete=False, error="listing failed: 503")
        report = coverage(container(), part, complete=False)
        assert the_reason(coverage=report) == ("unknown", "lost: listing failed: 503")

    def test_an_unfinished_container_counts_whatever_the_report_says_of_itself(self) -> None:
        assert verdict(coverage=coverage(container(complete=False))) is Verdict.UNKNOWN
        assert verdict(coverage=coverage(container(error="x"))) is Verdict.UNKNOWN

    def test_what_else_the_reconciliation_could_not_find_out(self) -> None:
        word, text = the_reason(coverage=coverage(errors=["drill: no room"]))
        assert (word, text.endswith(": drill: no room")) == ("unknown", True)

    def test_no_container_at_all(self) -> None:
        word, text = the_reason(coverage=coverage() | {"containers": []})
        assert (word, "SNAPKEEP_INCLUDE_CONTAINERS" in text) == ("unknown", True)

    def test_a_pair_that_the_last_sync_did_not_know(self) -> None:
        word, text = the_reason(mirrors=(("lake", "lakebak"), ("new", "newbak")))
        assert (word, "new and its mirror newbak" in text) == ("unknown", True)

    def test_a_verify_that_was_not_complete(self) -> None:
        assert the_reason(verify=verify(complete=False))[0] == "unknown"
        failed = [{"container": "raw", "problems": 0, "error": "listing failed"}]
        word, text = the_reason(verify=verify(complete=False, containers=failed))
        assert (word, "raw: listing failed" in text) == ("unknown", True)

    @pytest.mark.parametrize(
        "change",
        [
            {"schema": 2},
            {"kind": "sync"},
            {"finished_at": "yesterday"},
            {"finished_at": None},
            {"finished_at": "2026-13-45T00:00:00Z"},
            {"complete": "true"},
            {"complete": None},
            {"containers": None},
            {"containers": [container(versions=-1)]},
            {"containers": [container(versions="100")]},
            {"containers": [container(protected=101)]},
            {"containers": [container(oldest_unprotected="2026")]},
        ],
        ids=str,
    )
    def test_a_report_that_is_not_as_this_release_writes_it(self, change: dict[str, Any]) -> None:
        word, text = the_reason(coverage=coverage() | change)
        assert word == "unknown"
        assert "reports/latest.json is not as this release writes it" in text

    @pytest.mark.parametrize("name", DOCUMENTS)
    @pytest.mark.parametrize("content", [[], "text", 3, {}, {"schema": 1}, True], ids=repr)
    def test_a_document_of_another_kind(self, name: str, content: Any) -> None:
        assert verdict(**{name: content}) is Verdict.UNKNOWN

    @pytest.mark.parametrize("key", sorted(set(container()) - {"deleted"}))
    def test_a_report_in_which_something_is_missing(self, key: str) -> None:
        part = container()
        del part[key]
        assert verdict(coverage=coverage(part)) is Verdict.UNKNOWN

    def test_deletions_are_not_known_in_a_report_of_before_they_were_recorded(self) -> None:
        part = container()
        del part["deleted"]
        found = status(inputs(coverage=coverage(part, container("b"))), NOW)
        assert (found.verdict, found.containers[0].deleted) == (Verdict.PROTECTED, None)
        assert found.total is not None
        assert found.total.deleted is None


class TestAtRisk:
    def test_versions_that_are_missing(self) -> None:
        part = container(protected=97, backups_requested=3, oldest_unprotected=ago(7))
        text = "raw: 3 missing, of 100 versions; 3 were requested since"
        assert the_reason(coverage=coverage(part)) == ("at risk", text)

    def test_a_single_missing_version_among_very_many(self) -> None:
        part = container(versions=10**9, protected=10**9 - 1)
        found = status(inputs(coverage=coverage(part)), NOW)
        assert (found.verdict, found.containers[0].protected_percent) == (Verdict.AT_RISK, 99.9)

    def test_versions_that_cannot_be_protected(self) -> None:
        part = container(protected=95, unprotectable_by_reason={"archived": 4, "failed": 1})
        assert the_reason(coverage=coverage(part)) == ("at risk", "raw: 4 archived, 1 failed, of 100 versions")

    def test_lost_versions_which_are_not_among_those_that_there_are(self) -> None:
        part = container(protected=98, unprotectable_by_reason={"gone before it was copied": 2})
        word, text = the_reason(coverage=coverage(part))
        assert (word, text) == ("at risk", "raw: 2 missing, 2 gone before it was copied, of 100 versions")
        all_there = container(unprotectable_by_reason={"gone before it was copied": 2})
        assert verdict(coverage=coverage(all_there)) is Verdict.AT_RISK

    def test_blobs_that_could_not_be_snapshotted(self) -> None:
        part = container(protected=99, failed_count=1, failed=[{"name": "a", "reason": "leased"}])
        assert "1 could not be snapshotted" in the_reason(coverage=coverage(part))[1]

    def test_what_is_protected_less_than_all_whatever_explains_it(self) -> None:
        part = container(protected=99, unprotectable_by_reason={"archived": 0, "failed": 1})
        assert verdict(coverage=coverage(part)) is Verdict.AT_RISK

    def test_poison_messages(self) -> None:
        one = the_reason(queue=QueueOverview(0, None, 1, None))
        assert one == ("at risk", "1 request was given up on: see `snapkeep requests list`")

    def test_a_request_that_waits_for_more_than_an_hour(self) -> None:
        queue = QueueOverview(7, NOW - timedelta(minutes=61), 0, None)
        word, text = the_reason(queue=queue)
        assert (word, "2026-11-20T18:59:00Z" in text) == ("at risk", True)

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_a_function_whose_last_run_failed(self, function: str) -> None:
        runs = {function: note(function, result="failed", detail="the disk is full")}
        word, text = the_reason(runs=runs)
        assert word == "at risk"
        assert text == f"the last run of `{function}` failed at {ago(0.1)}: the disk is full"

    def test_a_failed_run_after_which_one_by_hand_left_its_report_is_no_reason(self) -> None:
        failed = {name: note(name, result="failed", started_at=ago(6), finished_at=ago(5.1)) for name in FUNCTIONS}
        later = {"reconcile": failed["reconcile"], "sync": failed["sync"]}
        assert verdict(runs=later) is Verdict.PROTECTED
        assert verdict(runs={"protect": failed["protect"]}) is Verdict.AT_RISK

    def test_a_failed_sync_is_told_once_by_its_report(self) -> None:
        pair = {"source": "lake", "backup": "lakebak", "outcome": "timed out", "reason": "after 50 minutes"}
        runs = {"sync": note("sync", result="failed", started_at=ago(0.6), finished_at=ago(0.4))}
        found = the_reason(sync=sync(complete=False, pairs=[pair]), runs=runs)
        assert found == ("at risk", "the last sync of lake to lakebak timed out: after 50 minutes")

    def test_a_sync_that_says_it_is_not_complete(self) -> None:
        assert the_reason(sync=sync(complete=False)) == ("at risk", "the last sync was not complete")

    def test_bad_backups_however_long_ago_they_were_found(self) -> None:
        totals = {"versions": 9, "checked": 9, "bytes_checked": 9, "bytes_read": 1, "problems": 2}
        bad = verify(totals=totals, containers=[{"container": "raw", "problems": 2, "error": None}])
        assert the_reason(verify=bad) == ("at risk", "the last verify found 2 bad backups in raw")
        assert verdict(verifies=False, verify=bad | {"finished_at": ago(900)}) is Verdict.AT_RISK

    def test_a_drill_that_failed(self) -> None:
        lost = [{"container": "raw", "name": "a", "etag": "E", "reason": "bytes differ"}]
        word, text = the_reason(drill=drill(result="failed", restored=19, failed=lost))
        assert (word, text) == ("at risk", "the last drill failed: 1 of 20 versions did not come back")

    def test_a_known_problem_outweighs_what_is_not_there_yet_and_both_are_told_problems_first(self) -> None:
        changes: dict[str, Any] = {"verify": None, "queue": QueueOverview(0, None, 2, None)}
        assert verdict(**changes) is Verdict.AT_RISK
        assert [word for word, _ in reasons(**changes)] == ["at risk", "unknown"]

    def test_what_could_not_be_read_makes_it_unknown_whatever_else_is_known(self) -> None:
        changes: dict[str, Any] = {"coverage": NO_ANSWER, "queue": QueueOverview(0, None, 2, None)}
        assert verdict(**changes) is Verdict.UNKNOWN
        assert [word for word, _ in reasons(**changes)] == ["at risk", "unknown"]

    def test_many_containers_are_told_in_few_lines(self) -> None:
        parts = [container(f"c{number:03}", protected=1) for number in range(NAMED_AT_MOST + 5)]
        found = reasons(coverage=coverage(*parts))
        assert len(found) == NAMED_AT_MOST + 1
        assert found[-1] == ("at risk", "5 more containers have unprotected versions")


class TestWhatItTells:
    def test_ages_are_as_of_now_not_as_of_the_report(self) -> None:
        report = coverage(container(protected=99, oldest_unprotected=ago(7)), container("b", oldest_unprotected=ago(9)))
        found = status(inputs(coverage=report), NOW)
        assert [part.recovery_point_seconds for part in found.containers] == [7 * 3600, 9 * 3600]
        assert found.total is not None
        assert found.total.recovery_point_seconds == 9 * 3600

    def test_containers_add_up(self) -> None:
        parts = [
            container("a", protected=90, unprotectable_by_reason={"archived": 1, "failed": 2}),
            container("b", unprotectable_by_reason={"archived": 4}, error="gone", complete=False),
        ]
        total = status(inputs(coverage=coverage(*parts)), NOW).total
        assert total is not None
        assert (total.blobs, total.versions, total.protected, total.protected_percent) == (160, 200, 190, 95.0)
        assert (total.missing, total.unprotectable, total.deleted) == (7, {"archived": 5, "failed": 2}, 6)
        assert total.error == "1 not looked at to the end"

    def test_what_is_not_known_is_none_and_not_zero(self) -> None:
        found = status(inputs(coverage=None, queue=NO_ANSWER, discarded=NO_ANSWER), NOW)
        assert (found.total, found.queue, found.discarded, found.reported_at) == (None, None, None, None)

    def test_runs_and_checks_say_what_is_known_of_them(self) -> None:
        runs = {"backup": note("backup", result="failed"), "sync": NO_ANSWER, "reconcile": note("reconcile")}
        found = status(inputs(runs=runs, mirrors=(), drill=None), NOW)
        assert [(run.what, run.result) for run in found.functions] == [
            ("protect", "never ran"),
            ("backup", "failed"),
            ("sync", "unknown"),
            ("reconcile", "succeeded"),
        ]
        assert [(check.what, check.result) for check in found.checks] == [
            ("verify", "succeeded"),
            ("drill", "never ran"),
        ]

    def test_a_sample_without_a_version_is_not_called_a_success(self) -> None:
        totals = {"versions": 0, "checked": 0, "bytes_checked": 0, "bytes_read": 0, "problems": 0}
        found = status(inputs(verify=verify(totals=totals)), NOW)
        assert (found.verdict, found.checks[0].result) == (Verdict.PROTECTED, "nothing to verify")

    def test_a_run_by_hand_which_leaves_a_report_alone_is_the_last_one(self) -> None:
        runs = {name: note(name, result="failed", started_at=ago(9), finished_at=ago(8)) for name in FUNCTIONS}
        found = status(inputs(runs=runs), NOW)
        assert [(run.result, run.detail) for run in found.functions[2:]] == [
            ("succeeded", "1 of 1 pairs are mirrors"),
            ("succeeded", "100 of 100 versions protected"),
        ]
        assert [run.result for run in status(inputs(runs={}), NOW).functions] == [
            *("never ran", "never ran"),
            *("succeeded", "succeeded"),
        ]

    def test_it_names_the_first_thousand_unprotected_versions_and_counts_all(self) -> None:
        line = {"name": "a", "etag": "E", "last_modified": ago(1), "reason": "archived", "detail": "d"}
        parts = [
            container(name, unprotectable=[line] * 600, unprotectable_by_reason={"archived": 700}) for name in "ab"
        ]
        parts.append(container("c", failed=[{"name": "b", "reason": "leased"}], failed_count=1))
        found = status(inputs(coverage=coverage(*parts)), NOW)
        assert (len(found.unprotected), found.unprotected_count) == (MAX_LISTED, 1401)
        assert [found.unprotected[number].container for number in (0, 600)] == ["a", "b"]

    def test_it_holds_the_last_runs_of_the_history(self) -> None:
        found = status(inputs(history=history(*(point(number) for number in reversed(range(MAX_RUNS + 9))))), NOW)
        assert len(found.history) == MAX_RUNS
        assert found.history[-1].run_id == "r0"

    def test_it_can_be_json(self) -> None:
        found = status(inputs(coverage=coverage(container(protected=9)), queue=QueueOverview(1, NOW, 1, NOW)), NOW)
        document = json.loads(json.dumps(found.to_json()))
        assert (document["schema"], document["verdict"]) == (1, "at risk")
        assert document["reasons"][0] == {
            "verdict": "at risk",
            "text": "raw: 91 missing, of 100 versions",
            "unreadable": False,
        }
        assert document["queue"] == {
            "waiting": 1,
            "oldest_waiting_seconds": 0,
            "poison": 1,
            "oldest_poison_seconds": 0,
        }
        assert document["containers"][0]["missing"] == 91

    def test_reasons_stay_on_one_line_whatever_is_in_them(self) -> None:
        runs = {"backup": note("backup", result="failed", detail="a\n\x1b[31mb")}
        assert "\\x0a\\x1b[31mb" in the_reason(runs=runs)[1]


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_only_the_whole_is_100_percent(part: int, more: int) -> None:
    share = percent(part, part + more)
    assert share is None if part + more == 0 else (share == 100) == (more == 0)


EVIL: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=3) | st.just(NO_ANSWER),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["schema", "runs", "kind"]), inner),
    max_leaves=4,
)


@given(st.sampled_from([*DOCUMENTS, "queue"]), st.data())
def test_nothing_unreadable_is_ever_called_protected(name: str, data: st.DataObject) -> None:
    found = NO_ANSWER if name == "queue" else data.draw(EVIL.filter(lambda value: value is not None))
    assert verdict(**{name: found}) is not Verdict.PROTECTED


@given(st.data())
def test_a_damaged_report_is_never_called_protected_for_more_than_it_says(data: st.DataObject) -> None:
    """Each key of a container's part in turn is taken away, or has something else for a value."""
    part = container(protected=99)
    key = data.draw(st.sampled_from(sorted(part)))
    changed = part | {key: data.draw(st.none() | st.booleans() | st.integers(-5, 100) | st.text(max_size=5))}
    report = coverage(changed)
    full = key == "protected" and changed[key] == 100 and changed[key] is not True
    same = key == "versions" and changed[key] == 99
    if not (full or same):
        assert verdict(coverage=report) is not Verdict.PROTECTED

"""The coverage report: its counts, what it names, and when it may say that it is complete."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.coverage import Coverage, Unprotected
from shared.decisions.reporting import MAX_LISTED, ContainerReport, Findings, coverage_report
from shared.model import Entry, Reason, Version

NOW = datetime(2026, 11, 20, 15, 0, 0, tzinfo=UTC)
EARLIER, EARLIEST = "2026-11-20T14:00:00Z", "2026-11-19T15:00:00Z"


def version(name: str = "a.csv", etag: str = "E1") -> Version:
    return Version(name, etag, EARLIER, 812)


def entry(etag: str = "E1") -> Entry:
    return Entry("a.csv", None, etag, EARLIER, 812)


def archived(name: str) -> Unprotected:
    return Unprotected(version(name), Reason.ARCHIVED, "in the archive tier")


class TestAContainerInShards:
    def test_what_its_shards_counted_adds_up(self) -> None:
        one, other = ContainerReport("raw", complete=True), ContainerReport("raw", complete=True)
        one.add(Coverage(versions=3, protected=(entry(), entry("E2")), oldest_unprotected=EARLIER))
        one.add_protected(4)
        one.add_unprotectable(archived("a"))
        one.add_failed([{"name": "b", "reason": "x"}])
        other.add(Coverage(versions=2, protected=(entry(),), oldest_unprotected=EARLIEST))
        other.add_unprotectable(archived("c"))
        other.deleted, other.deleted_in_run, other.duration_seconds, other.vanished = 5, 2, 1.5, 1
        whole = ContainerReport.merged("raw", [one, other, ContainerReport("raw", complete=True)])
        assert (whole.blobs, whole.versions, whole.protected, whole.vanished) == (4, 9, 7, 1)
        assert (whole.deleted, whole.deleted_in_run, whole.duration_seconds) == (5, 2, 1.5)
        assert (whole.unprotectable_by_reason, len(whole.unprotectable)) == ({"archived": 2}, 2)
        assert (whole.failed_count, whole.failed) == (1, [{"name": "b", "reason": "x"}])
        assert (whole.oldest_unprotected, whole.complete, whole.error) == (EARLIEST, True, None)

    def test_it_is_complete_when_all_of_them_are_and_each_error_stands_once(self) -> None:
        parts = [ContainerReport("raw", error=error) for error in ("gone", None, "gone", "403")]
        parts[1].complete = True
        whole = ContainerReport.merged("raw", parts)
        assert (whole.complete, whole.error) == (False, "gone; 403")
        parts = [ContainerReport("raw", error=str(number)) for number in range(12)]
        assert ContainerReport.merged("raw", parts).error == "0; 1; 2; 3; 4; 5; 6; 7; 8; 9; and 2 more of the kind"

    def test_it_names_no_more_than_one_report_does(self) -> None:
        part = ContainerReport("raw")
        for number in range(MAX_LISTED):
            part.add_unprotectable(archived(str(number)))
        whole = ContainerReport.merged("raw", [part, part])
        assert (whole.unprotectable_by_reason, len(whole.unprotectable)) == ({"archived": 2 * MAX_LISTED}, MAX_LISTED)


class TestOneContainer:
    def test_blobs_add_up(self) -> None:
        report = ContainerReport("raw")
        report.add(Coverage(versions=3, protected=(entry(), entry("E2")), oldest_unprotected=EARLIER))
        report.add(Coverage(versions=1, protected=(entry(),)))
        report.add(Coverage(versions=1, unprotectable=(archived("a"),), oldest_unprotected=EARLIEST))
        assert (report.versions, report.protected) == (5, 3)
        assert report.unprotectable_by_reason == {"archived": 1}
        assert report.unprotectable == [
            {"name": "a", "etag": "E1", "last_modified": EARLIER, "reason": "archived", "detail": "in the archive tier"}
        ]
        assert report.to_json(NOW)["oldest_unprotected_seconds"] == 24 * 3600

    def test_without_anything_unprotected_there_is_no_age(self) -> None:
        report = ContainerReport("raw")
        report.add(Coverage(versions=1, protected=(entry(),)))
        assert report.to_json(NOW)["oldest_unprotected_seconds"] is None

    def test_it_names_no_more_than_a_reader_can_bear_and_counts_all(self) -> None:
        report = ContainerReport("raw")
        for number in range(MAX_LISTED + 5):
            report.add_unprotectable(archived(str(number)))
        report.add_unprotectable(Unprotected(version("x"), Reason.LOST, "gone"))
        assert len(report.unprotectable) == MAX_LISTED
        assert report.unprotectable_by_reason == {"archived": MAX_LISTED + 5, "gone before it was copied": 1}

    def test_it_knows_which_versions_it_names(self) -> None:
        report = ContainerReport("raw")
        report.add_unprotectable(archived("a"))
        assert report.lists(version("a"))
        assert not report.lists(version("a", "E2"))
        assert not report.lists(version("b"))

    def test_a_checkpoint_can_hold_it(self) -> None:
        report = ContainerReport("raw", blobs=2)
        report.add(Coverage(versions=1, unprotectable=(archived("é😀\n"),), oldest_unprotected=EARLIER))
        values = json.loads(json.dumps(report.to_json(NOW)))
        values.pop("oldest_unprotected_seconds")
        assert ContainerReport(**values) == report

    @given(st.lists(st.sampled_from([EARLIER, EARLIEST, "2026-11-20T14:59:59Z", None])))
    def test_the_oldest_is_the_oldest_in_whatever_order_blobs_come(self, times: list[str | None]) -> None:
        report = ContainerReport("raw")
        for time in times:
            report.add(Coverage(versions=1, oldest_unprotected=time))
        assert report.oldest_unprotected == min((time for time in times if time), default=None)


class TestWholeReport:
    def report(self, *parts: ContainerReport, complete: bool = True) -> dict[str, object]:
        return coverage_report("r1", EARLIER, NOW, list(parts), Findings(), complete=complete)

    def test_it_says_all_that_the_contract_asks_for(self) -> None:
        one = ContainerReport("one", 2, 3, 1, 1, 2, duration_seconds=1.5, complete=True)
        one.add_unprotectable(archived("a"))
        other = ContainerReport("other", 1, 1, 1, complete=True)
        report = self.report(one, other)
        assert {key: value for key, value in report.items() if key != "containers"} == {
            "schema": 1,
            "kind": "reconcile",
            "run_id": "r1",
            "started_at": EARLIER,
            "finished_at": "2026-11-20T15:00:00Z",
            "complete": True,
            "errors": [],
            "listing": None,
            "verify": None,
            "drill": None,
            "discarded": None,
            "totals": {
                "blobs": 3,
                "versions": 4,
                "protected": 2,
                "snapshots_created": 1,
                "backups_requested": 2,
                "unprotectable": 1,
            },
        }
        assert report["containers"] == [one.to_json(NOW), other.to_json(NOW)]
        assert set(one.to_json(NOW)) >= {
            "container",
            "blobs",
            "versions",
            "protected",
            "snapshots_created",
            "backups_requested",
            "unprotectable",
            "oldest_unprotected_seconds",
            "duration_seconds",
            "complete",
            "error",
        }

    @pytest.mark.parametrize(
        ("run", "containers", "expected"),
        [
            (True, [True, True], True),
            (True, [True, False], False),
            (False, [True, True], False),
            (True, [], True),
        ],
    )
    def test_it_is_complete_only_when_every_container_was_gone_through(
        self, run: bool, containers: list[bool], expected: bool
    ) -> None:
        parts = [ContainerReport(str(number), complete=done) for number, done in enumerate(containers)]
        assert self.report(*parts, complete=run)["complete"] is expected

    def test_it_says_what_came_of_the_proofs_and_what_could_not_be_looked_at(self) -> None:
        findings = Findings(verify={"kind": "verify"}, drill={"kind": "drill"}, errors=("discarded requests: 403",))
        report = coverage_report("r1", EARLIER, NOW, [], findings, complete=True)
        assert (report["verify"], report["drill"]) == ({"kind": "verify"}, {"kind": "drill"})
        assert (report["errors"], report["discarded"]) == (["discarded requests: 403"], None)

    def test_it_counts_all_discarded_requests_and_names_the_first(self) -> None:
        records = [{"message_id": str(number)} for number in range(MAX_LISTED + 5)]
        report = coverage_report("r1", EARLIER, NOW, [], Findings(discarded=records), complete=True)
        assert report["discarded"] == {"count": MAX_LISTED + 5, "listed": records[:MAX_LISTED]}

    def test_it_is_json(self) -> None:
        part = ContainerReport("raw", error="list raw: 403")
        part.add_unprotectable(archived('é "quoted" \n'))
        assert json.loads(json.dumps(self.report(part)))["containers"][0]["unprotectable"][0]["name"] == 'é "quoted" \n'

"""What a Blob Inventory is worth: which run is taken, what is refused, and what it cannot tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.decisions.inventory import (
    Listed,
    Manifest,
    Side,
    gap,
    manifests_of,
    parse_manifest,
    passed_over,
    refusal,
    rows_missing,
)
from shared.errors import InventoryUnusable
from tests.inventories import FIELDS, manifest

STARTED = datetime(2026, 11, 20, 0, 10, tzinfo=UTC)
NOW = STARTED + timedelta(hours=6)


def made(side: Side = Side.SOURCE, *, filters: dict[str, Any] | None = None, **changes: Any) -> Manifest:
    fields = changes.pop("fields", FIELDS)
    document = manifest(side, [("a.parquet", 5)], STARTED, "parquet", fields=fields)
    document["ruleDefinition"]["filters"] |= filters or {}
    return parse_manifest(document | changes, "m")


def test_the_documented_form_is_understood() -> None:
    found = made(summary={"objectCount": 7, "totalObjectSize": 9})
    assert (found.rule, found.status, found.format, found.files[0].size) == ("snapkeep", "Succeeded", "parquet", 5)
    assert (found.started_at, found.summary.objects, found.field("ETag")) == (STARTED, 7, "Etag")


@pytest.mark.parametrize("document", [None, [], {}, {"ruleName": "a"}])
def test_another_form_is_an_error_that_names_the_blob_and_the_place(document: Any) -> None:
    with pytest.raises(InventoryUnusable, match=r"place/m\.json: .*expected an inventory's manifest"):
        parse_manifest(document, "place/m.json")


def test_the_latest_run_of_the_rule_comes_first() -> None:
    names = [
        "2026/11/19/00-10-00/snapkeep/snapkeep-manifest.json",
        "2026/11/20/00-10-00/snapkeep/snapkeep-manifest.json",
        "2026/11/20/00-10-00/snapkeep/snapkeep_1000000_0.parquet",
        "2026/11/20/00-10-00/other/other-manifest.json",
        "2026/11/20/00-10-00/snapkeep/snapkeep-manifest.checksum",
    ]
    assert manifests_of(names, "snapkeep") == [names[1], names[0]]


@pytest.mark.parametrize("status", ["Pending", "Failed", "PartiallySucceeded"])
def test_only_a_run_that_succeeded_is_taken(status: str) -> None:
    assert passed_over(made(status=status)) == f"the run of 2026-11-20T00:10:00Z is {status}"
    assert passed_over(made()) is None


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (made(filters={"includeSnapshots": False}), "leaves out snapshots"),
        (made(fields=[name for name in FIELDS if name != "Snapshot"]), "leaves out snapshots"),
        (made(fields=["Name", "Snapshot"]), "lacks the field Last-Modified, Content-Length"),
        (made(filters={"includeDeleted": True}), "add the field Deleted"),
        (made(filters={"includeBlobVersions": True}), "add VersionId"),
        (made(files=[]), "names no files"),
        (made(endpoint="https://other.blob.core.windows.net/"), "is of the account other, and not of source"),
    ],
)
def test_an_inventory_that_cannot_tell_is_refused(found: Manifest, message: str) -> None:
    refused = refusal(found, Side.SOURCE, "source", NOW)
    assert refused is not None
    assert message in refused


def test_an_inventory_is_refused_when_it_is_too_old() -> None:
    assert refusal(made(), Side.SOURCE, "source", NOW) is None
    assert "more than 50 h ago" in (refusal(made(), Side.SOURCE, "source", STARTED + timedelta(hours=51)) or "")


def test_an_inventory_of_backups_needs_no_snapshots_and_no_times() -> None:
    assert refusal(made(Side.BACKUP, fields=["Name", "Content-Length"]), Side.BACKUP, "backup", NOW) is None


@pytest.mark.parametrize(
    ("filters", "whole"),
    [
        ({}, True),
        ({"prefixMatch": ["ra", "other"]}, True),
        ({"prefixMatch": ["raw/sales"]}, False),
        ({"prefixMatch": ["other"]}, False),
        ({"prefixMatch": [""]}, True),
        ({"excludePrefix": ["raw/tmp"]}, False),
        ({"excludePrefix": ["ra"]}, False),
        ({"excludePrefix": ["rawer"]}, True),
        ({"creationTime": 3}, False),
        ({"blobTypes": ["blockBlob"]}, False),
    ],
)
def test_a_container_is_held_whole_or_listed(filters: dict[str, Any], whole: bool) -> None:
    assert (gap(made(filters=filters), "raw") is None) is whole


def test_fewer_rows_than_the_service_counted_are_missing_and_more_are_not() -> None:
    found = made(summary={"objectCount": 7})
    assert rows_missing(found, 6) == "rule snapkeep: its files hold 6 rows, and its manifest says 7"
    assert rows_missing(found, 7) is rows_missing(found, 8) is rows_missing(made(), 0) is None


def test_the_report_says_what_it_rests_on_and_what_was_done_otherwise() -> None:
    earlier = made(Side.BACKUP, inventoryStartTime="2026-11-19T00:10:00Z")
    listed = Listed(made(fields=["Name", "Snapshot", "Last-Modified", "Content-Length"]), earlier, ("a note",))
    found = listed.to_json()
    assert (found["as_of"], found["source"]["started_at"]) == ("2026-11-19T00:10:00Z", "2026-11-20T00:10:00Z")
    assert [text.partition(":")[0] for text in found["fallbacks"]] == ["no Etag", "no Content-MD5", "no AccessTier"]
    assert found["notes"] == ["a note"]

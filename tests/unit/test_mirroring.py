"""Decisions about mirrors."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.connections import Connection
from shared.decisions.mirroring import (
    AzcopyOutcome,
    deletion_refusal,
    difference,
    excluded_from,
    failure_of,
    identity_refusal,
    kept_apart,
    pair_refusal,
    sas_expiry,
    sas_failure,
    sas_warning,
)
from shared.decisions.names import backup_name
from shared.model import Entry, IndexedBlob, Version
from shared.settings import Settings, SyncPair
from tests.names import HARD_NAMES, REFUSED_NAMES

NOW = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
BEGAN = "2026-11-20T14:00:00Z"
BEFORE, AFTER = "2026-11-20T13:59:59Z", "2026-11-20T14:00:01Z"
SOURCE = Connection("SourceStorage", connection_string="AccountName=source;AccountKey=a2V5;BlobEndpoint=https://s.x")
BACKUP = Connection("BackupStorage", connection_string="AccountName=backup;AccountKey=a2V5;BlobEndpoint=https://b.x")

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)
etags = st.from_regex(r"0x8D[0-9A-F]{5,15}", fullmatch=True)


def settings(pairs: str = "lake", source: Connection = SOURCE, backup: Connection = BACKUP, **more: object) -> Settings:
    values = {"source": source, "backup": backup, "queue": BACKUP, "state": BACKUP, "SNAPKEEP_SYNC_CONTAINERS": pairs}
    return Settings.model_validate(values | more)


def entry(size: int = 3, md5: str | None = "bWQ1", last_modified: str = BEFORE, blob_type: str = "BlockBlob") -> Entry:
    return Entry("a.csv", None, "0x1", last_modified, size, md5, blob_type)


def mirrored(size: int = 3, md5: str | None = "bWQ1", blob_type: str = "BlockBlob") -> IndexedBlob:
    return IndexedBlob("a.csv", size, md5, blob_type, AFTER)


# Names that azcopy must not touch


@given(names, etags)
def test_every_version_backup_is_kept_apart_in_a_container_that_may_hold_them(name: str, etag: str) -> None:
    backup = backup_name(Version(name, etag, "2026-11-20T14:05:33Z", 1))

    assert kept_apart(backup, "lakebak") is not None
    assert any(re.search(expression, backup) for expression in excluded_from("lakebak").split(";"))


@given(names)
def test_azcopy_is_told_to_leave_alone_exactly_the_names_that_the_comparison_leaves_alone(name: str) -> None:
    for container in ("lakebak", "lake-mirror"):
        # Go's `$` is the end of the text, Python's also stands before a last newline.
        expressions = excluded_from(container).replace("$", r"\Z").split(";")

        excluded = any(re.search(expression, name) for expression in expressions)

        assert excluded == (kept_apart(name, container) is not None)


@pytest.mark.parametrize("name", HARD_NAMES.values(), ids=list(HARD_NAMES))
def test_hard_names_are_mirrored(name: str) -> None:
    assert kept_apart(name, "lake-mirror") is None


@pytest.mark.parametrize("name", REFUSED_NAMES)
def test_names_that_http_would_resolve_are_kept_apart_everywhere(name: str) -> None:
    assert kept_apart(name, "lake-mirror") is not None
    assert any(re.search(expression, name) for expression in excluded_from("lake-mirror").split(";"))


def test_names_like_version_backups_are_mirrored_to_a_container_that_holds_none() -> None:
    assert kept_apart("a.csv/20261120T140533Z-0x8DE27F0A1B2C3D4.csv", "lake-mirror") is None


# What azcopy says of itself


def test_a_run_that_accounts_for_every_file_is_a_success() -> None:
    assert failure_of(AzcopyOutcome(0, "Completed", total=3, copied=3)) is None


@pytest.mark.parametrize(
    "outcome",
    [
        AzcopyOutcome(0),
        AzcopyOutcome(1, "Completed", total=3, copied=3),
        AzcopyOutcome(-9, "Completed", total=3, copied=3),
        AzcopyOutcome(0, "Completed", total=3, copied=2),
        AzcopyOutcome(0, "Completed", ordered=False, total=3, copied=3),
        AzcopyOutcome(0, "Completed", total=3, copied=2, skipped=1),
        AzcopyOutcome(0, "Completed", total=3, copied=2, failed=1),
        AzcopyOutcome(0, "CompletedWithSkipped", total=3, copied=2, skipped=1),
        AzcopyOutcome(0, "CompletedWithErrors", total=3, copied=2, failed=1),
        AzcopyOutcome(0, "CompletedWithErrorsAndSkipped", total=3, copied=1, failed=1, skipped=1),
        AzcopyOutcome(0, "CompletedWithSkipped", total=3, copied=3),
        AzcopyOutcome(0, "Cancelled", total=3, copied=3),
        AzcopyOutcome(0, "InProgress", total=3, copied=3),
        AzcopyOutcome(0, "Completed", total=3, copied=3, errors=("cannot",)),
        AzcopyOutcome(0, "Completed", total=3, copied=3, malformed="panic"),
    ],
)
def test_anything_else_is_a_failure_whatever_the_exit_code(outcome: AzcopyOutcome) -> None:
    assert failure_of(outcome)


# Comparison


def test_a_mirror_of_the_same_size_and_md5_does_not_differ() -> None:
    assert difference(entry(), mirrored(), BEGAN) is None


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "missing"),
        (mirrored(size=4), "4 bytes"),
        (mirrored(md5="b3RoZXI="), "MD5"),
        (mirrored(blob_type="PageBlob"), "PageBlob"),
    ],
)
def test_a_mirror_that_is_missing_or_another_content_differs(found: IndexedBlob | None, reason: str) -> None:
    assert reason in str(difference(entry(), found, BEGAN))


@pytest.mark.parametrize("last_modified", [BEGAN, AFTER])
def test_a_source_that_changed_since_the_run_began_is_no_difference_yet(last_modified: str) -> None:
    assert difference(entry(last_modified=last_modified), None, BEGAN) is None


@pytest.mark.parametrize(("ours", "theirs"), [(None, "bWQ1"), ("bWQ1", None), (None, None)])
def test_without_an_md5_on_both_sides_the_size_decides(ours: str | None, theirs: str | None) -> None:
    assert difference(entry(md5=ours), mirrored(md5=theirs), BEGAN) is None


# Deletions


def test_deletions_are_mirrored_where_an_earlier_run_saw_nothing_but_this_source() -> None:
    assert deletion_refusal("https://s/lake", "https://s/lake", 5) is None


def test_with_nothing_to_delete_there_is_nothing_to_refuse() -> None:
    assert deletion_refusal(None, "https://s/lake", 0) is None
    assert deletion_refusal("https://s/raw", "https://s/lake", 0) is None


@pytest.mark.parametrize("adopted_by", [None, "https://s/raw"])
def test_a_container_that_was_never_seen_as_this_mirror_keeps_what_it_has(adopted_by: str | None) -> None:
    assert "5 files" in str(deletion_refusal(adopted_by, "https://s/lake", 5))


# Pairs, identities and signatures


@pytest.mark.parametrize("pair", ["snapkeep-state:mirror", "lake:snapkeep-state", "lake:azure-webjobs-hosts"])
def test_containers_of_the_platform_are_never_mirrored(pair: str) -> None:
    given_settings = settings(pair)

    assert "belongs to the platform" in str(pair_refusal(given_settings.sync_containers[0], given_settings))


def test_a_hierarchical_mirror_is_refused_where_version_backups_of_a_protected_container_go() -> None:
    hierarchical = Connection("BackupStorage", connection_string=BACKUP.connection_string, dfs_uri="https://b.dfs.x")

    default = settings("lake", backup=hierarchical)
    unprotected = settings("lake", backup=hierarchical, SNAPKEEP_EXCLUDE_CONTAINERS="lake")
    apart = settings("lake:lake-mirror", backup=hierarchical)

    assert "lake:lake-mirror" in str(pair_refusal(SyncPair("lake", "lakebak"), default))
    assert pair_refusal(SyncPair("lake", "lakebak"), unprotected) is None
    assert pair_refusal(SyncPair("lake", "lake-mirror"), apart) is None


def identity(name: str, tenant: str | None = None, client: str | None = None, secret: str | None = None) -> Connection:
    return Connection(name, blob_uri="https://a.x", tenant_id=tenant, client_id=client, client_secret=secret)


def test_two_tenants_are_refused_with_the_way_out() -> None:
    refused = identity_refusal(identity("SourceStorage", "t1", "c", "s"), identity("BackupStorage", "t2", "c", "s"))

    assert "different tenants" in str(refused)
    assert "SharedAccessSignature" in str(refused)


def test_two_identities_are_refused() -> None:
    assert "different identities" in str(
        identity_refusal(identity("SourceStorage", client="one"), identity("BackupStorage", client="two"))
    )


@pytest.mark.parametrize(
    ("source", "backup"),
    [
        (identity("SourceStorage"), identity("BackupStorage")),
        (identity("SourceStorage", "t", "c", "s"), identity("BackupStorage", "T", "c", "s")),
        (identity("SourceStorage", "t1", "c", "s"), BACKUP),
        (SOURCE, identity("BackupStorage", "t2", "c", "s")),
        (SOURCE, BACKUP),
    ],
)
def test_one_identity_or_a_signature_on_a_side_is_fine(source: Connection, backup: Connection) -> None:
    assert identity_refusal(source, backup) is None


def signed(expiry: str) -> Connection:
    return Connection("SourceStorage", connection_string=f"SharedAccessSignature=sv=1&se={expiry}&sig=abc")


@pytest.mark.parametrize(
    ("expiry", "expected"),
    [
        ("2026-11-20T18%3A05%3A50Z", datetime(2026, 11, 20, 18, 5, 50, tzinfo=UTC)),
        ("2026-11-20T18:05Z", datetime(2026, 11, 20, 18, 5, tzinfo=UTC)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
    ],
)
def test_every_form_of_an_expiry_is_read(expiry: str, expected: datetime) -> None:
    assert sas_expiry(f"?sv=1&se={expiry}&sig=abc") == expected


def test_an_expired_signature_is_a_failure_that_names_the_setting() -> None:
    assert "SourceStorage expired" in str(sas_failure(signed("2026-11-20T13:59:59Z"), NOW))
    assert sas_failure(signed("2026-11-20T14:00:01Z"), NOW) is None
    assert "abc" not in str(sas_failure(signed("2026-11-20T13:59:59Z"), NOW))


def test_a_signature_that_ends_within_a_week_is_warned_of() -> None:
    week = NOW + timedelta(days=7)

    assert "renew it" in str(sas_warning(signed(f"{week:%Y-%m-%dT%H:%M:%SZ}"), NOW))
    assert sas_warning(signed(f"{week + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"), NOW) is None


def test_keys_and_stored_policies_do_not_expire() -> None:
    policy = Connection("SourceStorage", connection_string="SharedAccessSignature=sv=1&si=policy&sig=abc")

    for connection in (SOURCE, policy, identity("SourceStorage")):
        assert sas_failure(connection, NOW) is None
        assert sas_warning(connection, NOW) is None

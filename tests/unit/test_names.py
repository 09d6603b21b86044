"""Which names are refused, and what backups are called."""

import posixpath
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.names import (
    MAX_NAME_CHARACTERS,
    as_metadata,
    backup_name,
    long_name_folder,
    refusal,
    source_name_in,
    version_of_backup,
)
from shared.model import Version
from tests.names import HARD_NAMES, REFUSED_NAMES

STAMP = "20261120T140533Z-0x8DE27F0A1B2C3D4"


def version(name: str, etag: str = "0x8DE27F0A1B2C3D4") -> Version:
    return Version(name, etag, "2026-11-20T14:05:33Z", 812)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sales/2026/orders.csv", f"sales/2026/orders.csv/{STAMP}.csv"),
        ("readme", f"readme/{STAMP}"),
        (".env", f".env/{STAMP}"),
        ("a.tar.gz", f"a.tar.gz/{STAMP}.gz"),
        ("v1.0/readme", f"v1.0/readme/{STAMP}"),
        ("file.", f"file./{STAMP}"),
        ("dir/", f"dir//{STAMP}"),
        ("a.csv ", f"a.csv /{STAMP}.csv "),
    ],
)
def test_a_backup_is_named_after_its_source_time_etag_and_extension(name: str, expected: str) -> None:
    assert backup_name(version(name)) == expected


def test_a_name_that_would_pass_the_limit_is_replaced_by_its_hash() -> None:
    longest = "z" * 981 + ".csv"
    assert len(backup_name(version(longest))) == len(longest) + 1 + len(STAMP) + 4
    assert len(backup_name(version(longest[:-4] + "z" * 30 + ".csv"))) < 200
    digest = sha256(("x" * 1024).encode()).hexdigest()
    assert backup_name(version("x" * 1024)) == f".snapkeep/long/{digest}/{STAMP}"


@pytest.mark.parametrize("name", HARD_NAMES.values(), ids=HARD_NAMES)
def test_every_legal_name_has_a_legal_backup_name(name: str) -> None:
    assert refusal(name) is None
    made = backup_name(version(name))
    assert refusal(made) is None
    assert len(made.encode("utf-16-le")) // 2 <= MAX_NAME_CHARACTERS


@pytest.mark.parametrize("name", REFUSED_NAMES)
def test_a_name_that_http_would_resolve_is_refused(name: str) -> None:
    assert "segment" in (refusal(name) or "")


@given(
    st.tuples(st.text(min_size=1, max_size=1024), st.text("0123456789ABCDEFx", min_size=1, max_size=20)),
    st.tuples(st.text(min_size=1, max_size=1024), st.text("0123456789ABCDEFx", min_size=1, max_size=20)),
)
def test_two_versions_never_share_a_backup_name(one: tuple[str, str], other: tuple[str, str]) -> None:
    names = {backup_name(version(*values)) for values in (one, other)}
    assert (len(names) == 1) == (one == other)


@pytest.mark.parametrize("name", [*HARD_NAMES.values(), "x" * 1024, "é" * 1024, "a/20261120T140533Z-0x1.csv"])
def test_a_backup_tells_which_version_it_is(name: str) -> None:
    key, text = as_metadata(name)
    assert source_name_in({key: text}) == name
    backup = backup_name(version(name))
    assert version_of_backup(backup, 812, {key: text, "owner": "sales"}) == version(name)
    if not backup.startswith(".snapkeep/long/"):
        assert version_of_backup(backup, 812) == version(name)


@given(st.text(min_size=1, max_size=1024))
def test_what_a_backup_tells_is_right_or_nothing(name: str) -> None:
    key, text = as_metadata(name)
    assert version_of_backup(backup_name(version(name)), 812, {key: text}) == version(name)
    assert version_of_backup(backup_name(version(name)), 812) in {version(name), None}


def test_a_hashed_name_without_its_metadata_tells_nothing() -> None:
    backup = backup_name(version("x" * 1024))
    assert version_of_backup(backup, 812) is None
    assert version_of_backup(backup, 812, {"snapkeep_source_name": "y" * 1024}) is None


def test_a_blob_that_is_called_like_the_folder_of_a_hashed_name_is_known_by_its_metadata() -> None:
    name = long_name_folder("x" * 1024)
    assert version_of_backup(backup_name(version(name)), 812, {"snapkeep_source_name": name}) == version(name)


@pytest.mark.parametrize(
    "name",
    [
        "orders.csv",
        "sales/orders.csv",
        f"sales/orders.csv/{STAMP}",
        f"sales/orders/{STAMP}.csv",
        f"/{STAMP}"[1:],
        "sales/orders.csv/20261120T140533Z-.csv",
        "sales/orders.csv/20261120T140533-0x1.csv",
    ],
)
def test_a_blob_of_another_name_is_no_backup(name: str) -> None:
    assert version_of_backup(name, 812) is None


@pytest.mark.parametrize(
    "metadata",
    [
        {"snapkeep_source_name": "%FF"},
        {"snapkeep_source_name_base64": "/"},
        {"snapkeep_source_name_base64": "/w=="},
        {},
    ],
)
def test_a_source_name_that_makes_no_sense_is_none(metadata: dict[str, str]) -> None:
    assert source_name_in(metadata) is None


@given(st.text("a./é", max_size=8))
def test_the_extension_is_what_it_is_for_everybody_else(name: str) -> None:
    extension = posixpath.splitext(name)[1]
    assert backup_name(version(name)) == f"{name}/{STAMP}{extension if extension != '.' else ''}"


@given(st.text("a./", max_size=8))
def test_names_are_refused_for_a_dotted_segment_alone(name: str) -> None:
    assert (refusal(name) is not None) == bool({".", ".."} & set(name.split("/")))

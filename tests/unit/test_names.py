"""Which names are refused, and what backups are called."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.names import MAX_NAME_CHARACTERS, backup_name, refusal
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

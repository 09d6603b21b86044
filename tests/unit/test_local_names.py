"""Where a blob's file goes: below the directory, nobody else's place, and told when it is not the blob's own name."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.decisions.local_names import LocalName, Refused, clash, local_name
from tests.names import HARD_NAMES, REFUSED_NAMES

TRICKY = st.text(st.sampled_from("/\\.%2Ffa :CONnul1$é\x00\x1f\x7f\u202e"), min_size=1, max_size=20)
NAMES = TRICKY | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


@pytest.mark.parametrize(
    "name",
    ["a.csv", "sales/2026/orders.csv", ".hidden", "a b", "50% of.csv", "100%", "ab:c", "x?*<>|", "ü/日本", "...a"],
)
def test_an_ordinary_name_stays_as_it_is(name: str) -> None:
    assert local_name(name) == LocalName(tuple(name.split("/")), mapped=False)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/etc/passwd", "%2Fetc/passwd"),
        ("//server/share/x", "%2F%2Fserver/share/x"),
        ("\\\\server\\share", "%5C%5Cserver%5Cshare"),
        ("..\\..\\x", "..%5C..%5Cx"),
        ("C:/windows/x", "C%3A/windows/x"),
        ("c:x", "c%3Ax"),
        ("a//b", "a/%2Fb"),
        ("a/", "a%2F"),
        ("/", "%2F"),
        ("a\x00b\n", "a%00b%0A"),
        ("CON", "%43ON"),
        ("a/nul.txt", "a/%6Eul.txt"),
        ("LPT1 .x", "%4CPT1 .x"),
        ("a./b /c", "a%2E/b%20/c"),
        ("...", "..%2E"),
        ("%41", "%2541"),
        (".snapkeep-restoring-x", "%2Esnapkeep-restoring-x"),
    ],
)
def test_what_files_cannot_be_called_is_encoded_and_told(name: str, path: str) -> None:
    found = local_name(name)
    assert isinstance(found, LocalName)
    assert (found.path, found.mapped) == (path, True)


@pytest.mark.parametrize("name", REFUSED_NAMES)
def test_names_that_no_call_can_reach_are_refused(name: str) -> None:
    assert isinstance(local_name(name), Refused)


def test_a_part_that_is_too_long_for_a_file_is_refused() -> None:
    assert isinstance(local_name("a/" + "x" * 255), LocalName)
    assert isinstance(local_name("a/" + "é" * 127 + "xx"), Refused)
    assert isinstance(local_name("a/" + "x" * 254 + "."), Refused)  # by its encoding


@given(NAMES)
@example("%%25")
@example("a%2.")
@example("%\x01")
def test_every_file_is_below_the_directory_and_tells_its_blob(name: str) -> None:
    found = local_name(name)
    if isinstance(found, Refused):
        return
    for segment in found.segments:
        assert segment not in ("", ".", "..")
        assert not re.search(r"[/\\\x00-\x1f]", segment)
        assert segment[-1] not in ". "
        assert len(segment.encode()) <= 255
    assert not re.match(r"[A-Za-z]:", found.path)
    # Undoing it gives the name, so that no two blobs have one file.
    assert unquote(found.path, errors="surrogatepass") == name
    assert found.mapped == (found.path != name)


def test_hard_names_are_told_apart() -> None:
    stored = {name.replace("\\", "/") for name in HARD_NAMES.values()}
    found = [where.path for where in map(local_name, stored) if isinstance(where, LocalName)]
    assert len(found) == len(set(found)) > 20


@pytest.mark.parametrize(
    ("segment", "other"), [("A.csv", "a.csv"), ("caf\u00e9", "cafe\u0301"), ("CAF\u00c9", "cafe\u0301")]
)
def test_names_clash_that_differ_in_case_or_in_the_form_of_accents_alone(segment: str, other: str) -> None:
    assert clash(segment, {"x", other}) == other
    assert clash(segment, {"x", segment}) is None
    assert clash(segment, {"x"}) is None

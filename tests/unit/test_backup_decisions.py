"""What to do about one requested version: is it backed up, where is it copied from, and by which engine."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.decisions.backups import (
    MAX_METADATA_BYTES,
    CopyFrom,
    Stale,
    Standing,
    backup_metadata,
    engine,
    proven,
    same_bytes,
    standing,
    where_to_copy_from,
)
from shared.model import BlobState, ContentHeaders, Version
from tests.names import HARD_NAMES

MD5, OTHER_MD5 = "1B2M2Y8AsgTpgAmY7PhCfg==", "CY9rzUYh03PK3k6DJie09g=="
VERSION = Version("sales/a.csv", "0x8DE27F0A1B2C3D4", "2026-11-20T14:05:33Z", 1024)
MIB = 1024 * 1024


def state(
    version: Version = VERSION,
    *,
    md5: str | None = MD5,
    blob_type: str = "BlockBlob",
    metadata: dict[str, str] | None = None,
    snapshot: str | None = None,
) -> BlobState:
    return BlobState(version, md5, blob_type, "Hot", True, ContentHeaders(), metadata or {}, 0, snapshot)


def backup(size: int = VERSION.size, etag: str | None = VERSION.etag, blob_type: str = "BlockBlob") -> BlobState:
    metadata = {} if etag is None else {"snapkeep_source_etag": etag}
    return state(Version("any", "0xBAC", "2026-11-21T00:00:00Z", size), blob_type=blob_type, metadata=metadata)


class TestStanding:
    def test_its_size_and_the_etag_that_it_names_prove_a_backup(self) -> None:
        assert standing(VERSION, backup()) is Standing.VERIFIED

    @pytest.mark.parametrize("blob_type", ["BlockBlob", "PageBlob", "AppendBlob"])
    def test_a_blob_that_names_another_version_is_a_conflict(self, blob_type: str) -> None:
        for size in (VERSION.size, 0, VERSION.size + 512):
            assert standing(VERSION, backup(size, "0xOTHER", blob_type)) is Standing.CONFLICT

    def test_an_empty_claim_is_another_version(self) -> None:
        assert standing(VERSION, backup(etag="")) is Standing.CONFLICT

    def test_a_blob_of_the_right_size_that_names_no_version_proves_nothing(self) -> None:
        assert standing(VERSION, backup(etag=None)) is Standing.UNPROVEN

    @pytest.mark.parametrize("etag", [None, VERSION.etag])
    @pytest.mark.parametrize("size", [0, VERSION.size - 1, VERSION.size + 1, VERSION.size + 512])
    def test_a_block_blob_of_another_size_is_a_conflict(self, etag: str | None, size: int) -> None:
        assert standing(VERSION, backup(size, etag)) is Standing.CONFLICT

    def test_a_page_blob_is_unfinished_until_it_is_cut_to_size(self) -> None:
        assert standing(VERSION, backup(VERSION.size + 512, blob_type="PageBlob")) is Standing.UNFINISHED
        assert standing(VERSION, backup(VERSION.size, blob_type="PageBlob")) is Standing.VERIFIED
        assert standing(VERSION, backup(VERSION.size + 1024, blob_type="PageBlob")) is Standing.CONFLICT
        assert standing(VERSION, backup(VERSION.size - 512, blob_type="PageBlob")) is Standing.CONFLICT

    def test_an_append_blob_is_unfinished_while_it_is_shorter(self) -> None:
        assert standing(VERSION, backup(0, blob_type="AppendBlob")) is Standing.UNFINISHED
        assert standing(VERSION, backup(VERSION.size - 1, blob_type="AppendBlob")) is Standing.UNFINISHED
        assert standing(VERSION, backup(VERSION.size, blob_type="AppendBlob")) is Standing.VERIFIED
        assert standing(VERSION, backup(VERSION.size + 1, blob_type="AppendBlob")) is Standing.CONFLICT

    @pytest.mark.parametrize("blob_type", ["PageBlob", "AppendBlob"])
    def test_somebody_elses_unfinished_blob_is_never_gone_on_with(self, blob_type: str) -> None:
        size = VERSION.size + 512 if blob_type == "PageBlob" else 0
        assert standing(VERSION, backup(size, None, blob_type)) is Standing.CONFLICT


class TestComparing:
    @pytest.mark.parametrize(
        ("copy_md5", "source_md5", "same", "is_proven"),
        [
            (MD5, MD5, True, True),
            (MD5, OTHER_MD5, False, False),
            (None, MD5, True, False),
            (MD5, None, True, False),
            (None, None, True, False),
        ],
    )
    def test_an_md5_contradicts_where_both_have_one_and_proves_only_then(
        self, copy_md5: str | None, source_md5: str | None, same: bool, is_proven: bool
    ) -> None:
        copy, source = state(md5=copy_md5), state(md5=source_md5)
        assert (same_bytes(copy, source), proven(copy, source)) == (same, is_proven)

    def test_metadata_that_leaves_no_room_for_a_claim_proves_the_copy_instead(self) -> None:
        full = {"x": "y" * (MAX_METADATA_BYTES - 10)}  # no room for a claim
        source = state(md5=None, metadata=full)
        assert proven(state(md5=None, metadata=full), source)
        assert not proven(state(md5=None, metadata={"x": "z"}), source)
        assert not proven(state(md5=None), state(md5=None))

    def test_another_size_is_another_content_whatever_the_md5_says(self) -> None:
        longer = state(VERSION._replace(size=VERSION.size + 1))
        assert not same_bytes(longer, state())
        assert not proven(longer, state())


class TestWhereToCopyFrom:
    LIVE = state()
    CHANGED = state(VERSION._replace(etag="0xNEW"))
    SNAPSHOT = state(snapshot="2026-11-20T14:05:34.0000000Z")
    OTHER_SNAPSHOT = state(VERSION._replace(etag="0xOLD"), snapshot="2026-11-20T14:05:34.0000000Z")

    def test_the_live_blob_while_it_is_the_version(self) -> None:
        assert where_to_copy_from(VERSION, self.LIVE, None) == CopyFrom(self.LIVE)
        assert where_to_copy_from(VERSION, self.LIVE, self.SNAPSHOT) == CopyFrom(self.LIVE)

    def test_the_snapshot_once_the_live_blob_is_another(self) -> None:
        assert where_to_copy_from(VERSION, self.CHANGED, self.SNAPSHOT) == CopyFrom(self.SNAPSHOT)
        assert where_to_copy_from(VERSION, None, self.SNAPSHOT) == CopyFrom(self.SNAPSHOT)

    def test_nowhere_when_neither_is_the_version(self) -> None:
        assert where_to_copy_from(VERSION, self.CHANGED, None) == Stale(self.CHANGED)
        assert where_to_copy_from(VERSION, self.CHANGED, self.OTHER_SNAPSHOT) == Stale(self.CHANGED)
        assert where_to_copy_from(VERSION, None, None) == Stale(None)

    @given(st.none() | st.sampled_from(["A", "B", "C"]), st.none() | st.sampled_from(["A", "B", "C"]))
    def test_nothing_is_ever_copied_that_has_another_etag(self, live: str | None, snapshot: str | None) -> None:
        wanted = VERSION._replace(etag="A")
        states = [state(VERSION._replace(etag=etag)) if etag else None for etag in (live, snapshot)]
        found = where_to_copy_from(wanted, *states)
        if "A" in (live, snapshot):
            assert isinstance(found, CopyFrom)
            assert found.source.version.etag == "A"
        else:
            assert found == Stale(states[0])


class TestEngine:
    def test_auto_goes_by_size(self) -> None:
        for size, expected in ((256 * MIB - 1, "server"), (256 * MIB, "adf"), (0, "server"), (2**42, "adf")):
            assert engine("auto", 256 * MIB, state(VERSION._replace(size=size))) == expected

    @pytest.mark.parametrize("size", [0, 2**42])
    def test_a_configured_engine_copies_all_sizes(self, size: int) -> None:
        source = state(VERSION._replace(size=size))
        assert engine("server", 0, source) == "server"
        assert engine("adf", 256 * MIB, source) == "adf"

    @pytest.mark.parametrize(
        "name", ["a b/c.csv", "100%#+&=.csv", 'it\'s "quoted"', "@{x}", "été/😀", "a.", ".snapkeep"]
    )
    def test_other_hard_names_are_no_obstacle_to_data_factory(self, name: str) -> None:
        assert engine("adf", 0, state(VERSION._replace(name=name))) == "adf"

    @pytest.mark.parametrize("configured", ["auto", "server", "adf"])
    @pytest.mark.parametrize(
        "source",
        [
            state(snapshot="2026-11-20T14:05:34.0000000Z"),
            state(blob_type="PageBlob"),
            state(blob_type="AppendBlob"),
            *(
                state(VERSION._replace(name=name))
                for name in ("/leading", "trailing/", "dou//bled", "/", " a", "a/b ", "a/ /b", "a*", "a?b")
            ),
        ],
        ids=lambda source: source.snapshot or f"{source.blob_type} {source.version.name}",
    )
    def test_what_data_factory_cannot_copy_as_it_is_goes_by_the_blob_service(
        self, configured: Literal["auto", "server", "adf"], source: BlobState
    ) -> None:
        assert engine(configured, 0, source) == "server"


METADATA = st.dictionaries(st.text("abcXYZ_", min_size=1, max_size=9), st.text("abc=; ", max_size=2000), max_size=6)


def weight(metadata: dict[str, str]) -> int:
    return sum(len(key) + len(value) for key, value in metadata.items())


class TestBackupMetadata:
    def test_it_is_the_sources_and_says_which_version_this_is(self) -> None:
        source = state(VERSION._replace(name="é/a b.csv"), metadata={"Owner": "sales", "x": ""})
        assert backup_metadata(source) == {
            "Owner": "sales",
            "x": "",
            "snapkeep_source_etag": VERSION.etag,
            "snapkeep_source_last_modified": VERSION.last_modified,
            "snapkeep_source_name": "%C3%A9/a%20b.csv",
        }

    def test_a_source_that_is_a_backup_itself_does_not_pass_on_its_claims(self) -> None:
        claims = {"snapkeep_source_etag": "0xFORGED", "Snapkeep_Source_Name": "x", "SNAPKEEP_SOURCE_LAST_MODIFIED": "y"}
        made = backup_metadata(state(metadata=claims))
        assert made == backup_metadata(state())
        assert made["snapkeep_source_etag"] == VERSION.etag

    @pytest.mark.parametrize("name", ["😀" * 512, "漢" * 1024, "😀" * 1024], ids=len)
    def test_a_name_that_percent_encoding_makes_too_long_stands_there_in_base64(self, name: str) -> None:
        made = backup_metadata(state(VERSION._replace(name=name)))
        assert "snapkeep_source_name" not in made
        assert b64decode(made["snapkeep_source_name_base64"]).decode() == name

    def test_a_name_that_the_sources_own_metadata_leaves_no_room_for_is_left_out_and_the_version_kept(self) -> None:
        made = backup_metadata(state(VERSION._replace(name="漢" * 1024), metadata={"x": "y" * 7000}))
        assert set(made) == {"x", "snapkeep_source_etag", "snapkeep_source_last_modified"}

    @given(METADATA, st.sampled_from(sorted(HARD_NAMES.values())))
    def test_it_fits_keeps_all_that_was_there_and_proves_the_backup(self, metadata: dict[str, str], name: str) -> None:
        made = backup_metadata(state(VERSION._replace(name=name), metadata=metadata))
        assert made.items() >= metadata.items()
        assert weight(made) <= max(MAX_METADATA_BYTES, weight(metadata))
        assert all(value.isascii() for key, value in made.items() if key not in metadata)
        if weight(metadata) <= MAX_METADATA_BYTES - 100:
            claimed = backup()
            assert standing(VERSION, replace(claimed, metadata=made)) is Standing.VERIFIED

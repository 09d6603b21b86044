"""`verify` against real storage: each kind of damage is found and named, at the price of two listings and a sample."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from base64 import b64encode
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob import StandardBlobTier
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from shared.adapters.reading import MIN_PIECE_BYTES, Rate, Stored, md5_of
from shared.containers import backup_container
from shared.errors import BlobChanged, ContainerNotFound
from shared.operations.protect import protect
from shared.operations.verify import Task, verify
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import FaultProxy, Rule, answer, cut_body
from tests.names import HARD_NAMES
from tests.protection import entries
from tests.queue_reader import QueueReader
from tests.tampering import backup_of, protected, tamper, write

TODAY = datetime(2026, 11, 20, 12, tzinfo=UTC)
FULL = 100.0


def md5_bytes(content: bytes) -> bytearray:
    return bytearray(hashlib.md5(content, usedforsecurity=False).digest())


async def part(services: Services, percent: float = FULL, **task: Any) -> dict[str, Any]:
    """The report's part of the one container that the settings let it see."""
    report = await verify(services, Task(percent=percent, **task))
    assert report["complete"], report
    [only] = report["containers"]
    found: dict[str, Any] = only
    return found


async def problems(services: Services, percent: float = FULL) -> list[tuple[str, str | None]]:
    found = await part(services, percent)
    assert found["problems"] == len(found["listed"]) == sum(found["problems_by_kind"].values())
    return sorted((problem["kind"], problem["name"]) for problem in found["listed"])


@pytest.fixture
async def three(services: Services, container: ContainerClient, reader: QueueReader) -> None:
    """Three blobs of one size, protected."""
    for name in ("a.csv", "b.csv", "c.csv"):
        await container.upload_blob(name, name.encode() * 10)
    await protected(services, container, reader)


@pytest.mark.usefixtures("three")
class TestWhatIsRight:
    async def test_sound_backups_are_read_and_nothing_is_reported(self, services: Services) -> None:
        found = await part(services)
        assert (found["versions"], found["checked"], found["bytes_checked"], found["problems"]) == (3, 3, 3, 0)
        assert found["bytes_read"] == 3 * 50
        assert (found["unproven"], found["hashes_kept"], found["error"], found["note"]) == (0, 0, None, None)

    async def test_all_backups_are_judged_by_two_listings_alone(
        self, open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
    ) -> None:
        services = open_behind_proxies()
        found = await part(services, percent=0)
        assert (found["checked"], found["bytes_checked"]) == (3, 0)
        name = container.container_name
        calls = Counter((call.method, call.target.split("?")[0]) for call in blob_proxy.calls)
        assert {call: count for call, count in calls.items() if name in call[1]} == {
            ("GET", f"/source/{name}"): 1,
            ("GET", f"/backup/{name}bak"): 1,
        }

    async def test_the_report_stands_in_the_state_twice(self, services: Services) -> None:
        report = await verify(services, Task(percent=0))
        compact = report["finished_at"].replace("-", "").replace(":", "")
        assert await services.state.read("reports/verify-latest.json") == report
        assert await services.state.read(f"reports/verify-{compact}-{report['run_id']}.json") == report
        assert (report["schema"], report["kind"], report["mode"], report["percent"]) == (1, "verify", "metadata", 0)
        assert report["totals"] == {"versions": 3, "checked": 3, "bytes_checked": 0, "bytes_read": 0, "problems": 0}

    async def test_older_versions_are_verified_like_current_ones(
        self, services: Services, container: ContainerClient, reader: QueueReader
    ) -> None:
        await container.upload_blob("a.csv", b"anew", overwrite=True)
        await protected(services, container, reader)
        found = await part(services)
        assert (found["versions"], found["bytes_checked"], found["problems"]) == (4, 4, 0)

    async def test_it_changes_nothing(self, services: Services, backups: ContainerClient) -> None:
        before = [(one.name, one.etag, one.last_modified, one.metadata) for one in await entries(backups)]
        await part(services)
        assert [(one.name, one.etag, one.last_modified, one.metadata) for one in await entries(backups)] == before


class TestReading:
    async def test_a_blob_is_read_in_pieces_no_faster_than_allowed_and_on_the_condition_of_its_etag(
        self, open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
    ) -> None:
        content = bytes(range(256)) * 800
        await container.upload_blob("a", content)
        etag = (await container.get_blob_client("a").get_blob_properties()).etag.strip('"')
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        rate = Rate(MIN_PIECE_BYTES, lambda: 0.0, sleep)
        account = open_behind_proxies().source.account
        stored = Stored(container.container_name, "a", etag, len(content))
        assert await md5_of(account, stored, rate) == b64encode(md5_bytes(content)).decode()
        assert blob_proxy.count(method="GET", target=f"/{container.container_name}/a") == 4
        assert slept == [1.0, 2.0, 3.0]  # by a clock that stands still
        await container.upload_blob("a", content, overwrite=True)
        with pytest.raises(BlobChanged):
            await md5_of(account, stored, rate)


@pytest.mark.usefixtures("three")
class TestDamage:
    async def test_a_missing_backup_is_found_by_listings(self, services: Services, backups: ContainerClient) -> None:
        await backups.delete_blob(await backup_of(backups, "b.csv"))
        assert await problems(services, percent=0) == [("missing", "b.csv")]

    async def test_a_version_that_waits_for_its_backup_is_missing_too(
        self, services: Services, container: ContainerClient
    ) -> None:
        await container.upload_blob("new.csv", b"x")
        await protect(services, container.container_name, elapsed=lambda: 0.0)
        found = await part(services)
        assert found["problems_by_kind"] == {"missing": 1}
        assert "a request for it may be waiting" in found["listed"][0]["detail"]

    async def test_a_truncated_backup_is_found_by_listings(self, services: Services, backups: ContainerClient) -> None:
        await tamper(backups, await backup_of(backups, "b.csv"), b"b.csv" * 9)
        assert await problems(services, percent=0) == [("truncated", "b.csv")]

    async def test_a_flipped_bit_is_found_by_the_bytes_although_every_header_is_as_it_was(
        self, services: Services, backups: ContainerClient
    ) -> None:
        await tamper(backups, await backup_of(backups, "b.csv"), b"b.csv" * 9 + b"b.csw")
        assert await problems(services, percent=0) == []
        found = await part(services)
        assert found["problems_by_kind"] == {"corrupt": 1}
        assert found["listed"][0]["backup"] == await backup_of(backups, "b.csv")
        assert found["bytes_checked"] == 2

    async def test_another_content_with_its_own_md5_is_found_by_listings(
        self, services: Services, backups: ContainerClient
    ) -> None:
        name, content = await backup_of(backups, "b.csv"), b"B.csv" * 10
        metadata = (await backups.get_blob_client(name).get_blob_properties()).metadata
        await write(backups, name, content, md5_bytes(content), metadata=metadata)
        assert await problems(services, percent=0) == [("corrupt", "b.csv")]

    async def test_two_backups_that_were_swapped_whole_are_found_by_their_claims(
        self, services: Services, backups: ContainerClient
    ) -> None:
        names = [await backup_of(backups, name) for name in ("a.csv", "b.csv")]
        blobs = [backups.get_blob_client(name) for name in names]
        contents = [await (await blob.download_blob()).readall() for blob in blobs]
        properties = [await blob.get_blob_properties() for blob in blobs]
        for name, content, was in zip(names, reversed(contents), reversed(properties), strict=True):
            await write(backups, name, content, was.content_settings.content_md5, metadata=was.metadata)
        assert await problems(services, percent=0) == [("swapped", "a.csv"), ("swapped", "b.csv")]

    async def test_two_backups_whose_contents_were_swapped_are_found_by_their_md5(
        self, services: Services, backups: ContainerClient
    ) -> None:
        for name, other in (("a.csv", b"b.csv" * 10), ("b.csv", b"a.csv" * 10)):
            backup = await backup_of(backups, name)
            metadata = (await backups.get_blob_client(backup).get_blob_properties()).metadata
            await write(backups, backup, other, md5_bytes(other), metadata=metadata)
        assert await problems(services, percent=0) == [("swapped", "a.csv"), ("swapped", "b.csv")]
        found = await part(services)
        assert "it holds the content of 'b.csv'" in found["listed"][0]["detail"]

    async def test_swapped_bytes_under_the_right_headers_are_found_by_reading(
        self, services: Services, backups: ContainerClient
    ) -> None:
        await tamper(backups, await backup_of(backups, "a.csv"), b"b.csv" * 10)
        assert await problems(services, percent=0) == []
        assert await problems(services) == [("swapped", "a.csv")]

    async def test_a_wrong_claim_is_found(self, services: Services, backups: ContainerClient) -> None:
        for name, key, claim in (("a.csv", "snapkeep_source_etag", "0xA"), ("b.csv", "snapkeep_source_name", "z.csv")):
            blob = backups.get_blob_client(await backup_of(backups, name))
            metadata = (await blob.get_blob_properties()).metadata
            await blob.set_blob_metadata(metadata | {key: claim})
        assert await problems(services, percent=0) == [("swapped", "a.csv"), ("swapped", "b.csv")]

    async def test_a_foreign_file_is_found(self, services: Services, backups: ContainerClient) -> None:
        await backups.upload_blob("notes.txt", b"mine")
        await backups.upload_blob("a.csv/20261120T140533Z-0xA.txt", b"no extension of a version of a.csv")
        found = await part(services, percent=0)
        assert found["problems_by_kind"] == {"foreign": 2}
        assert {problem["backup"] for problem in found["listed"]} == {"notes.txt", "a.csv/20261120T140533Z-0xA.txt"}
        assert {problem["name"] for problem in found["listed"]} == {None}

    async def test_a_mirrored_file_is_none(
        self, open_services: OpenServices, container: ContainerClient, backups: ContainerClient
    ) -> None:
        await backups.upload_blob("notes.txt", b"mirrored")
        await backups.upload_blob("a.csv/20261120T140533Z-0xA.txt", b"sync mirrors none of such a name")
        mirroring = open_services(SNAPKEEP_SYNC_CONTAINERS=container.container_name)
        found = await part(mirroring, percent=0)
        assert (found["mirrored"], found["problems_by_kind"]) == (1, {"foreign": 1})

    async def test_a_backup_that_cannot_be_read_is_named_and_the_others_are_read(
        self, open_behind_proxies: OpenServices, backups: ContainerClient, blob_proxy: FaultProxy
    ) -> None:
        services = open_behind_proxies()
        blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), method="GET", target="b.csv/"))
        found = await part(services)
        assert (found["problems_by_kind"], found["bytes_checked"]) == ({"unreadable": 1}, 2)
        assert found["listed"][0]["name"] == "b.csv"

    async def test_a_backup_that_is_replaced_while_it_is_read_is_not_called_sound(
        self, open_behind_proxies: OpenServices, backups: ContainerClient, blob_proxy: FaultProxy
    ) -> None:
        services = open_behind_proxies()
        name = await backup_of(backups, "b.csv")

        async def replace(request: Any, forward: Any) -> Any:
            await tamper(backups, name, b"b.csv" * 10)
            return await forward(request)

        blob_proxy.add(Rule(replace, method="GET", target="b.csv/", times=1))
        assert await problems(services) == [("unreadable", "b.csv")]


class TestBlobsWithoutMd5:
    @pytest.fixture(autouse=True)
    async def two(self, services: Services, container: ContainerClient, reader: QueueReader) -> None:
        for name in ("a.bin", "b.bin"):
            await write(container, name, name.encode() * 10)
        await protected(services, container, reader)

    async def test_they_are_compared_with_the_versions_own_bytes_whose_hash_is_kept(
        self, services: Services, backups: ContainerClient
    ) -> None:
        before = [one.etag for one in await entries(backups)]
        first = await part(services)
        assert (first["bytes_checked"], first["hashes_kept"], first["bytes_read"]) == (2, 2, 4 * 50)
        tags = await backups.get_blob_client(await backup_of(backups, "a.bin")).get_blob_tags()
        assert tags == {"snapkeep_md5": b64encode(md5_bytes(b"a.bin" * 10)).decode()}
        assert [one.etag for one in await entries(backups)] == before
        second = await part(services)
        assert (second["bytes_checked"], second["hashes_kept"], second["bytes_read"]) == (2, 0, 2 * 50)

    async def test_a_flipped_bit_is_found_in_them(self, services: Services, backups: ContainerClient) -> None:
        await tamper(backups, await backup_of(backups, "a.bin"), b"a.bin" * 9 + b"A.bin")
        assert await problems(services) == [("corrupt", "a.bin")]
        assert await backups.get_blob_client(await backup_of(backups, "a.bin")).get_blob_tags() == {}

    async def test_kept_hashes_prove_them_when_the_source_is_emptied(
        self, services: Services, container: ContainerClient, backups: ContainerClient
    ) -> None:
        await part(services)
        for name in ("a.bin", "b.bin"):
            await container.delete_blob(name, delete_snapshots="include")
        found = await part(services)
        assert (found["versions"], found["bytes_checked"], found["unproven"], found["problems"]) == (2, 2, 0, 0)
        name = await backup_of(backups, "b.bin")
        tags = await backups.get_blob_client(name).get_blob_tags()
        await tamper(backups, name, b"B.bin" * 10)
        await backups.get_blob_client(name).set_blob_tags(tags)
        assert await problems(services) == [("corrupt", "b.bin")]

    async def test_without_the_source_or_a_kept_hash_they_are_unproven_which_is_no_problem(
        self, services: Services, container: ContainerClient
    ) -> None:
        await container.delete_container()
        found = await part(services)
        assert (found["versions"], found["bytes_checked"], found["unproven"], found["problems"]) == (2, 0, 2, 0)
        assert found["note"].startswith("the source container is gone")

    async def test_the_backups_own_tags_stay(self, services: Services, backups: ContainerClient) -> None:
        blob = backups.get_blob_client(await backup_of(backups, "a.bin"))
        await blob.set_blob_tags({"owner": "finance"})
        assert (await part(services))["hashes_kept"] == 2
        assert set(await blob.get_blob_tags()) == {"owner", "snapkeep_md5"}

    async def test_a_hash_is_not_kept_where_there_is_no_room_or_no_permission(
        self, open_behind_proxies: OpenServices, backups: ContainerClient, blob_proxy: FaultProxy
    ) -> None:
        full = {f"tag{number}": "x" for number in range(10)}
        blob = backups.get_blob_client(await backup_of(backups, "a.bin"))
        await blob.set_blob_tags(full)
        blob_proxy.add(Rule(answer(403, "AuthorizationPermissionMismatch"), target="b.bin/", method="PUT"))
        services = open_behind_proxies()
        found = await part(services)
        assert (found["bytes_checked"], found["hashes_kept"], found["hashes_not_kept"]) == (2, 0, 2)
        assert (found["problems"], await blob.get_blob_tags()) == (0, full)
        assert blob_proxy.count(method="PUT", target="comp=tags") == 1

    async def test_an_account_without_tags_is_verified_all_the_same(
        self, open_behind_proxies: OpenServices, blob_proxy: FaultProxy
    ) -> None:
        refused = answer(409, "FeatureNotYetSupportedForHierarchicalNamespaceAccounts")
        blob_proxy.add(Rule(refused, target="comp=tags"))
        found = await part(open_behind_proxies())
        assert (found["bytes_checked"], found["hashes_not_kept"], found["problems"]) == (2, 2, 0)

    async def test_a_tag_of_that_name_that_came_along_with_the_version_decides_nothing(
        self, services: Services, backups: ContainerClient
    ) -> None:
        blob = backups.get_blob_client(await backup_of(backups, "a.bin"))
        await blob.set_blob_tags({"snapkeep_md5": "forged"})
        found = await part(services)
        assert (found["problems"], found["bytes_checked"]) == (0, 2)
        assert (await blob.get_blob_tags())["snapkeep_md5"] == b64encode(md5_bytes(b"a.bin" * 10)).decode()


class TestWhatIsLookedAt:
    async def test_a_damaged_backup_comes_round_within_the_days_of_a_sample_and_is_not_forgotten(
        self, open_services: OpenServices, container: ContainerClient, backups: ContainerClient, reader: QueueReader
    ) -> None:
        for number in range(12):
            await container.upload_blob(f"{number}.csv", b"x" * 20)
        await protected(open_services(), container, reader)
        await tamper(backups, await backup_of(backups, "7.csv"), b"y" * 20)
        found_on, sound = [], 0
        for day in range(5):
            services = open_services(now=lambda day=day: TODAY + timedelta(days=day))
            found = await part(services, percent=20)
            sound += found["bytes_checked"]
            if found["problems"]:
                assert found["listed"][0]["name"] == "7.csv"
                found_on.append(day)
            assert (await part(services, percent=20))["problems"] == found["problems"]
        assert found_on == list(range(found_on[0], 5))
        assert sound == 11
        assert await problems(services, percent=0) == [("corrupt", "7.csv")]
        await tamper(backups, await backup_of(backups, "7.csv"), b"x" * 20)
        assert await problems(services, percent=0) == []

    async def test_versions_from_before_since_are_left_out(
        self, services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
    ) -> None:
        await container.upload_blob("a.csv", b"x")
        await protected(services, container, reader)
        await backups.upload_blob("foreign", b"")
        later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        found = await part(services, since=later)
        assert (found["versions"], found["checked"], found["problems"]) == (0, 0, 0)
        found = await part(services, since="2026-01-01T00:00:00Z")
        assert (found["versions"], found["checked"], found["problems"]) == (1, 1, 1)

    async def test_what_can_have_no_backup_is_counted_and_no_problem(
        self, services: Services, container: ContainerClient, reader: QueueReader
    ) -> None:
        await container.upload_blob("cold.csv", b"x")
        await container.get_blob_client("cold.csv").set_standard_blob_tier(StandardBlobTier.ARCHIVE)
        await container.upload_blob("a\\..\\b", b"x")
        await protected(services, container, reader)
        found = await part(services)
        assert (found["versions"], found["checked"], found["unprotectable"], found["problems"]) == (2, 0, 2, 0)

    async def test_a_blob_that_was_archived_after_it_was_backed_up_is_verified(
        self, services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
    ) -> None:
        await write(container, "cold.csv", b"x")
        await protected(services, container, reader)
        await container.get_blob_client("cold.csv").set_standard_blob_tier(StandardBlobTier.ARCHIVE)
        found = await part(services)
        assert (found["versions"], found["bytes_checked"], found["problems"]) == (1, 1, 0)  # by its snapshot's bytes
        await backups.get_blob_client(await backup_of(backups, "cold.csv")).set_standard_blob_tier("Archive")
        found = await part(services)
        assert (found["checked"], found["bytes_checked"], found["archived"], found["problems"]) == (1, 0, 1, 0)

    async def test_with_current_history_older_versions_need_no_backup_but_are_verified_where_there_is_one(
        self, open_services: OpenServices, container: ContainerClient, backups: ContainerClient, reader: QueueReader
    ) -> None:
        services = open_services(SNAPKEEP_HISTORY="current")
        blob = await container.upload_blob("a.csv", b"one")
        await protected(services, container, reader)
        await blob.upload_blob(b"two", overwrite=True)
        await blob.create_snapshot()
        await blob.upload_blob(b"three", overwrite=True)
        await protected(services, container, reader)
        found = await part(services)
        assert (found["versions"], found["checked"], found["problems"]) == (2, 2, 0)

    async def test_append_and_page_blobs_are_verified_by_their_bytes(
        self, services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
    ) -> None:
        await container.upload_blob("a.log", b"line\n", blob_type="AppendBlob")
        await container.upload_blob("disk.vhd", b"p" * 1024, blob_type="PageBlob")
        await protected(services, container, reader)
        found = await part(services)
        assert (found["bytes_checked"], found["hashes_kept"], found["problems"]) == (2, 2, 0)
        await backups.get_blob_client(await backup_of(backups, "disk.vhd")).upload_page(b"q" * 512, 512, 512)
        await container.get_blob_client("a.log").append_block(b"more\n")
        assert await problems(services) == [("corrupt", "disk.vhd"), ("missing", "a.log")]

    async def test_a_backup_that_is_still_being_written_is_said_to_be(
        self, services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
    ) -> None:
        await container.upload_blob("a.log", b"line\n" * 3, blob_type="AppendBlob")
        await protected(services, container, reader)
        name = await backup_of(backups, "a.log")
        metadata = (await backups.get_blob_client(name).get_blob_properties()).metadata
        await backups.upload_blob(name, b"line\n", blob_type="AppendBlob", metadata=metadata, overwrite=True)
        found = await part(services)
        assert found["problems_by_kind"] == {"truncated": 1}
        assert "still being written" in found["listed"][0]["detail"]

    async def test_hard_names_are_verified_with_and_without_their_source(
        self, services: Services, container: ContainerClient, reader: QueueReader
    ) -> None:
        for number, name in enumerate(HARD_NAMES.values()):
            await container.upload_blob(name, f"{number}".encode(), overwrite=True)
        await protected(services, container, reader)
        found = await part(services)
        assert (found["problems"], found["error"]) == (0, None), found["listed"]
        assert found["bytes_checked"] == found["checked"] == found["versions"] - found["unprotectable"] > 20
        await container.delete_container()
        again = await part(services)
        assert (again["problems"], again["bytes_checked"]) == (0, found["bytes_checked"]), again["listed"]

    async def test_a_backup_without_room_for_its_claims_is_verified(
        self, services: Services, container: ContainerClient, reader: QueueReader
    ) -> None:
        for name in ("a.csv", "b" * 1000):
            await container.upload_blob(name, b"x", metadata={"much": "x" * 8150})
        await protected(services, container, reader)
        found = await part(services)
        assert (found["versions"], found["bytes_checked"], found["problems"], found["unproven"]) == (2, 2, 0, 0)
        await container.delete_container()
        found = await part(services)
        assert (found["versions"], found["bytes_checked"], found["problems"]) == (2, 2, 0)


class TestWhatFails:
    async def test_without_the_source_account_backups_are_proven_by_themselves_and_the_run_is_not_complete(
        self,
        services: Services,
        open_behind_proxies: OpenServices,
        container: ContainerClient,
        blob_proxy: FaultProxy,
        reader: QueueReader,
    ) -> None:
        await container.upload_blob("a.csv", b"x")
        await protected(services, container, reader)
        blob_proxy.add(Rule(answer(403, "AccountIsDisabled"), target="/source/"))
        report = await verify(open_behind_proxies(), Task(percent=FULL))
        [found] = [one for one in report["containers"] if one["container"] == container.container_name]
        assert not report["complete"]
        assert (found["bytes_checked"], found["problems"]) == (1, 0)
        assert "list the source account's containers: 403 AccountIsDisabled" in found["error"]

    async def test_a_container_whose_backups_were_deleted_is_an_error_and_all_is_missing(
        self, services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
    ) -> None:
        await container.upload_blob("a.csv", b"x")
        await protected(services, container, reader)
        await backups.delete_container()
        report = await verify(services, Task())
        [found] = report["containers"]
        assert not report["complete"]
        assert "existed and is gone" in found["error"]
        assert found["problems_by_kind"] == {"missing": 1}

    async def test_a_container_without_anything_is_fine(self, services: Services) -> None:
        found = await part(services)
        assert (found["versions"], found["problems"]) == (0, 0)

    @pytest.mark.parametrize("account", ["source", "backup"])
    async def test_a_listing_that_is_cut_short_is_never_complete(
        self,
        account: str,
        services: Services,
        open_behind_proxies: OpenServices,
        container: ContainerClient,
        blob_proxy: FaultProxy,
        reader: QueueReader,
    ) -> None:
        await container.upload_blob("a.csv", b"x")
        await protected(services, container, reader)
        blob_proxy.add(Rule(cut_body(100), target=f"/{account}/{container.container_name}"))
        report = await verify(open_behind_proxies(), Task())
        assert not report["complete"]
        assert report["containers"][0]["error"]

    async def test_what_was_bad_stays_in_the_report_of_a_run_that_does_not_get_to_it(
        self,
        services: Services,
        open_behind_proxies: OpenServices,
        container: ContainerClient,
        backups: ContainerClient,
        blob_proxy: FaultProxy,
        reader: QueueReader,
    ) -> None:
        for name in ("a.csv", "b.csv"):
            await container.upload_blob(name, b"x" * 20)
        await protected(services, container, reader)
        await tamper(backups, await backup_of(backups, "a.csv"), b"y" * 20)
        await backups.delete_blob(await backup_of(backups, "b.csv"))
        bad = [("corrupt", "a.csv"), ("missing", "b.csv")]
        assert await problems(services) == bad
        for account in ("source", "backup"):
            cut = blob_proxy.add(Rule(cut_body(100), target=f"/{account}/{container.container_name}", times=50))
            report = await verify(open_behind_proxies(), Task(percent=0))
            assert (cut.hits > 0, report["complete"]) == (True, False)
            listed = report["containers"][0]["listed"]
            assert sorted((line["kind"], line["name"]) for line in listed) == bad
            blob_proxy.clear()

    async def test_an_outage_ends_the_container_and_not_one_backup_after_another(
        self,
        services: Services,
        open_behind_proxies: OpenServices,
        container: ContainerClient,
        blob_proxy: FaultProxy,
        reader: QueueReader,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("shared.operations.proving.MAX_OUTAGES", 3)
        for number in range(12):
            await container.upload_blob(f"{number}", b"x")
        await protected(services, container, reader)
        blob_proxy.add(Rule(answer(500, "OperationTimedOut"), method="GET", target="Z-0x"))
        monkeypatch.setattr("shared.adapters.retrying._jitter", lambda _: 0.0)
        report = await verify(open_behind_proxies(SNAPKEEP_CONCURRENCY=2), Task(percent=FULL))
        [found] = report["containers"]
        assert not report["complete"]
        assert "OperationTimedOut" in found["error"]
        assert found["problems"] < 12


async def test_a_backup_that_was_found_bad_stays_so_when_the_source_has_lost_the_version(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    await write(container, "a", b"wanted")
    await protected(services, container, reader)
    name = await backup_of(backups, "a")
    claims = (await backups.get_blob_client(name).get_blob_properties()).metadata
    await write(backups, name, b"WANTED", metadata=claims)
    assert await problems(services) == [("corrupt", "a")]
    await container.delete_blob("a", delete_snapshots="include")
    assert await problems(services) == [("corrupt", "a")]
    assert await problems(services, percent=0) == [("corrupt", "a")]
    await write(backups, name, b"wanted", metadata=claims)
    assert await problems(services) == []


async def test_a_container_that_nobody_knows_is_no_complete_verification(
    services: Services, container: ContainerClient
) -> None:
    await container.delete_container()
    name = container.container_name
    with pytest.raises(ContainerNotFound, match=f"nothing is known of the container {name}"):
        await verify(services, Task([name]))
    latest = await services.state.read("reports/verify-latest.json")
    assert name not in [part["container"] for part in (latest or {"containers": []})["containers"]]


async def test_all_protected_containers_are_verified_also_those_whose_source_is_gone(
    open_services: OpenServices, source_account: BlobServiceClient, reader: QueueReader
) -> None:
    prefix = f"many-{uuid4().hex[:8]}"
    services = open_services(SNAPKEEP_INCLUDE_CONTAINERS=f"{prefix}-*")
    for number in range(3):
        client = await source_account.create_container(f"{prefix}-{number}")
        await client.upload_blob("a", b"x")
        await protected(services, client, reader)
    await source_account.delete_container(f"{prefix}-1")
    report = await verify(services, Task(percent=FULL))
    assert [(one["container"], one["bytes_checked"]) for one in report["containers"]] == [
        (f"{prefix}-{number}", 1) for number in range(3)
    ]
    only = await verify(services, Task((f"{prefix}-2",)))
    assert [one["container"] for one in only["containers"]] == [f"{prefix}-2"]
    assert backup_container(f"{prefix}-2") == f"{prefix}-2bak"


async def test_what_a_run_over_some_containers_finds_joins_what_is_known_of_all(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a.csv", b"right")
    await protected(services, container, reader)
    whole = await verify(services, Task())
    name = await backup_of(backups, "a.csv")
    await tamper(backups, name, b"wrong")
    tasks = (Task((container.container_name,), percent=100), Task(since="2026-01-01T00:00:00Z", percent=100))
    for task in tasks:
        await services.state.write("reports/verify-latest.json", whole)
        for _ in range(2):  # the same problem is not another one
            report = await verify(services, task)
            compact = report["finished_at"].replace("-", "").replace(":", "")
            assert await services.state.read(f"reports/verify-{compact}-{report['run_id']}.json") == report
            latest = await services.state.read("reports/verify-latest.json")
            assert (latest["run_id"], latest["finished_at"]) == (whole["run_id"], whole["finished_at"])
            assert latest["totals"]["problems"] == whole["totals"]["problems"] + 1
            assert [line["kind"] for part in latest["containers"] for line in part["listed"]] == ["corrupt"]
    await tamper(backups, name, b"right")
    await verify(services, Task((container.container_name,)))
    assert (await services.state.read("reports/verify-latest.json"))["totals"]["problems"] == 0


async def test_before_any_run_over_all_what_a_part_finds_is_known_and_the_rest_is_not(
    services: Services, container: ContainerClient, backups: ContainerClient, reader: QueueReader
) -> None:
    await container.upload_blob("a.csv", b"x")
    await protected(services, container, reader)
    await services.state.delete("reports/verify-latest.json")
    report = await verify(services, Task((container.container_name,)))
    latest = await services.state.read("reports/verify-latest.json")
    assert (report["complete"], latest["complete"]) == (True, False)
    assert latest["totals"] == report["totals"]


class TestTheCommand:
    @pytest.fixture
    def settings_file(self, tmp_path: Path, environment: dict[str, str]) -> Path:
        path = tmp_path / "settings.json"
        path.write_text(json.dumps({"IsEncrypted": False, "Values": environment}))
        return path

    def snapkeep(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from shared.cli import main; main()", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    @pytest.mark.usefixtures("three")
    async def test_it_prints_a_line_for_each_problem_and_exits_with_1(
        self, settings_file: Path, container: ContainerClient, backups: ContainerClient
    ) -> None:
        sound = self.snapkeep("verify", "--full", "--settings", settings_file)
        assert (sound.returncode, sound.stderr) == (0, "")
        assert "complete: 3 versions, 3 backups looked at, the bytes of 3 read back, 0 problems" in sound.stdout
        name = await backup_of(backups, "b.csv")
        await tamper(backups, name, b"b.csv" * 9 + b"b.csw")
        await backups.upload_blob("evil\u202e\u2028", b"")
        run = self.snapkeep("verify", container.container_name, "--full", "--settings", settings_file)
        assert run.returncode == 1
        lines = run.stdout.splitlines()
        assert any(line.startswith(f"corrupt: {container.container_name}: 'b.csv': the MD5 of its") for line in lines)
        assert any(name in line for line in lines)
        assert any(line.startswith("foreign: ") for line in lines)
        assert not {"\u202e", "\u2028"} & set(run.stdout)
        assert "2 problems" in lines[-1]

    @pytest.mark.usefixtures("three")
    async def test_its_json_is_the_report(self, settings_file: Path, services: Services) -> None:
        run = self.snapkeep("verify", "--sample", "0", "--settings", settings_file, "--json")
        assert run.returncode == 0
        assert json.loads(run.stdout) == await services.state.read("reports/verify-latest.json")

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["--sample", "101"], "--sample"),
            (["--since", "soon"], "'soon'"),
            (["--max-bytes-per-second", "0"], "--max-bytes-per-second"),
            (["$logs"], "container"),
            (["snapkeep-drill-1"], "container"),
        ],
    )
    def test_wrong_usage_exits_with_2(self, arguments: list[str], says: str, settings_file: Path) -> None:
        run = self.snapkeep("verify", *arguments, "--settings", settings_file)
        assert run.returncode == 2
        assert says in run.stderr

"""The gateway before Azurite: what it adds works as the service does it, and nothing else is changed by it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.storage.blob import (
    AccountSasPermissions,
    BlobBlock,
    BlobSasPermissions,
    ContainerSasPermissions,
    ContentSettings,
    ResourceTypes,
    StandardBlobTier,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)
from azure.storage.blob.aio import BlobClient, BlobServiceClient, ContainerClient
from yarl import URL

from local.azurite import ACCOUNT_KEYS, BACKUP, SOURCE, Azurite, account_key, connection_string
from local.gateway import Gateway
from local.programs import azcopy

pytestmark = pytest.mark.asyncio(loop_scope="module")

HARD_NAMES = [
    "a \"b\" 'c'.csv",
    "per%cent %25 %2F.txt",
    "hash#query?plus+and&equals=.txt",
    " spaces at the ends ",
    "trailing/slash/",
    "/leading",
    "double//slash",
    "dots.at.the.end...",
    "emoji 😀.txt",
    "nfc-\u00e9 nfd-e\u0301",
    "עברית",
    "<angle> & ampersand; {brace} [bracket] ^caret~ `tick` |pipe",
    "@{pipeline().RunId}",
    "x" * 1024,
]


@dataclass
class Stack:
    azurite: Azurite
    gateway: Gateway

    def service(self, account: str, port: int | None = None) -> BlobServiceClient:
        text = connection_string(account, port or self.gateway.port, self.azurite.queue_port)
        return BlobServiceClient.from_connection_string(text, retry_total=0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    azurite = Azurite()
    await azurite.start()
    gateway = Gateway(azurite.blob_port)
    await gateway.start()
    yield Stack(azurite, gateway)
    await gateway.stop()
    await azurite.stop()


@dataclass
class Accounts:
    source: ContainerClient
    backup: ContainerClient


@pytest_asyncio.fixture(loop_scope="module")
async def accounts(stack: Stack, request: pytest.FixtureRequest) -> AsyncIterator[Accounts]:
    """A container of the test's own in each account."""
    name = f"c{abs(hash(request.node.nodeid)) % 10**12}"
    async with stack.service(SOURCE) as source, stack.service(BACKUP) as backup:
        yield Accounts(await source.create_container(name), await backup.create_container(name))


def container_sas(container: ContainerClient) -> str:
    return generate_container_sas(
        str(container.account_name),
        container.container_name,
        account_key=account_key(str(container.account_name)),
        permission=ContainerSasPermissions(read=True, list=True, write=True, create=True, tag=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )


def account_sas(account: str) -> str:
    return generate_account_sas(
        account,
        ACCOUNT_KEYS[account],
        resource_types=ResourceTypes(service=True, container=True, object=True),
        permission=AccountSasPermissions(read=True, list=True, write=True, create=True, delete=True, tag=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )


def snapshot_sas(container: ContainerClient, name: str, snapshot: str) -> str:
    return generate_blob_sas(
        str(container.account_name),
        container.container_name,
        name,
        snapshot=snapshot,
        account_key=account_key(str(container.account_name)),
        permission=BlobSasPermissions(read=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )


def with_sas(blob: BlobClient, sas: str) -> str:
    return f"{blob.url}{'&' if '?' in blob.url else '?'}{sas}"


def code_of(error: HttpResponseError) -> str:
    """The service's error code, which the SDK adds to the exception without declaring it."""
    code: object = getattr(error, "error_code", "")
    return str(getattr(code, "value", code))


async def take_snapshot(blob: BlobClient) -> str:
    return str((await blob.create_snapshot())["snapshot"])


async def content(blob: BlobClient) -> bytes:
    return await (await blob.download_blob()).readall()


# --- what passes through ---


@pytest.mark.parametrize("name", HARD_NAMES)
async def test_names_pass_through_byte_for_byte(stack: Stack, accounts: Accounts, name: str) -> None:
    await accounts.source.upload_blob(name, b"content of " + name.encode())
    async with stack.service(SOURCE, stack.azurite.blob_port) as direct:
        container = direct.get_container_client(accounts.source.container_name)
        assert [blob.name async for blob in container.list_blobs()] == [name]
    assert [blob.name async for blob in accounts.source.list_blobs(include=["snapshots"])] == [name]
    assert await content(accounts.source.get_blob_client(name)) == b"content of " + name.encode()


async def test_large_bodies_stream_both_ways_at_once(accounts: Accounts) -> None:
    bodies = {f"large-{i}": os.urandom(9_000_000) for i in range(4)}
    await asyncio.gather(*(accounts.source.upload_blob(name, body, max_concurrency=2) for name, body in bodies.items()))
    found = await asyncio.gather(*(content(accounts.source.get_blob_client(name)) for name in bodies))
    assert found == list(bodies.values())


async def test_a_compressed_blob_arrives_as_it_is_stored(stack: Stack, accounts: Accounts) -> None:
    settings = ContentSettings(content_encoding="gzip", content_type="text/plain")
    blob = await accounts.source.upload_blob("z", b"not really gzip", content_settings=settings)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        url = URL(with_sas(blob, container_sas(accounts.source)), encoded=True)
        async with session.get(url) as response:
            assert await response.read() == b"not really gzip"
            assert response.headers["Content-Encoding"] == "gzip"


# --- listings with snapshots ---


async def test_every_page_size_lists_every_snapshot_and_blob_once(accounts: Accounts) -> None:
    names = [f"dir/{i} & 'x' 😀" if i % 3 else f"{i}" for i in range(24)]
    expected: list[tuple[str, str | None]] = []
    for number, name in enumerate(names):
        blob = await accounts.source.upload_blob(name, b"1")
        for _ in range(number % 8):
            expected.append((name, await take_snapshot(blob)))
            await asyncio.sleep(0.002)  # Azurite tells snapshots apart by the millisecond
        if number == 9:
            await blob.delete_blob(delete_snapshots="include")
            expected = [entry for entry in expected if entry[0] != name]
        else:
            expected.append((name, None))
    for size in [*range(1, 13), 5000]:
        pages = accounts.source.list_blobs(include=["snapshots", "metadata"], results_per_page=size).by_page()
        found = []
        async for page in pages:
            entries = [(blob.name, blob.snapshot) async for blob in page]
            assert len(entries) <= size
            found += entries
        assert len(found) == len(set(found)), f"twice with pages of {size}"
        assert set(found) == set(expected), f"missing or wrong with pages of {size}"
    prefixed = accounts.source.list_blobs(name_starts_with="dir/", include=["snapshots"], results_per_page=2)
    found = [(blob.name, blob.snapshot) async for blob in prefixed]
    assert sorted(found, key=str) == sorted((e for e in expected if e[0].startswith("dir/")), key=str)


async def test_a_listing_goes_on_with_a_sas_as_with_a_key(stack: Stack, accounts: Accounts) -> None:
    for name in "abc":
        blob = await accounts.source.upload_blob(name, b"")
        await blob.create_snapshot()
    async with ContainerClient.from_container_url(f"{accounts.source.url}?{container_sas(accounts.source)}") as client:
        found = [blob.name async for blob in client.list_blobs(include=["snapshots"], results_per_page=1)]
    assert found == list("aabbcc")


async def test_a_marker_of_another_listing_is_refused(accounts: Accounts) -> None:
    pages = accounts.source.list_blobs(include=["snapshots"]).by_page(continuation_token="some-name")
    with pytest.raises(HttpResponseError) as refused:
        await anext(pages)
    assert (refused.value.status_code, code_of(refused.value)) == (400, "OutOfRangeInput")


async def test_a_wrong_key_is_refused_where_the_gateway_answers_itself(stack: Stack, accounts: Accounts) -> None:
    source = await accounts.source.upload_blob("a", b"")
    url = with_sas(source, container_sas(accounts.source))
    text = connection_string(SOURCE, stack.gateway.port, stack.azurite.queue_port)
    wrong = text.replace(account_key(SOURCE), account_key(BACKUP))
    async with BlobServiceClient.from_connection_string(wrong, retry_total=0) as service:
        container = service.get_container_client(accounts.source.container_name)
        with pytest.raises(HttpResponseError, match=r"AuthorizationFailure|AuthenticationFailed"):
            _ = [blob async for blob in container.list_blobs(include=["snapshots"])]
        with pytest.raises(HttpResponseError, match=r"AuthorizationFailure|AuthenticationFailed"):
            await container.get_blob_client("b").upload_blob_from_url(url)
    assert [blob.name async for blob in accounts.source.list_blobs()] == ["a"]


# --- Put Blob From URL ---


@pytest.mark.parametrize("name", HARD_NAMES)
async def test_put_blob_from_url_copies_between_accounts(accounts: Accounts, name: str) -> None:
    source = await accounts.source.upload_blob(name, b"content of " + name.encode())
    target = accounts.backup.get_blob_client(name)
    await target.upload_blob_from_url(with_sas(source, account_sas(SOURCE)))
    assert await content(target) == b"content of " + name.encode()
    assert [blob.name async for blob in accounts.backup.list_blobs()] == [name]


async def test_put_blob_from_url_keeps_what_describes_the_blob(accounts: Accounts) -> None:
    settings = ContentSettings(
        content_type="text/csv",
        content_encoding="gzip",
        content_language="de",
        content_disposition="attachment",
        cache_control="no-cache",
    )
    source = await accounts.source.upload_blob("a", b"a,b", content_settings=settings)
    target = accounts.backup.get_blob_client("a")
    await target.upload_blob_from_url(
        with_sas(source, container_sas(accounts.source)),
        metadata={"snapkeep_source_etag": "0x1", "snapkeep": "2", "snapkeepa": "3"},
        tags={"k": "v 1"},
        standard_blob_tier=StandardBlobTier.COOL,
    )
    properties = await target.get_blob_properties()
    for name in (
        "content_type",
        "content_encoding",
        "content_language",
        "content_disposition",
        "cache_control",
    ):
        assert properties.content_settings[name] == settings[name]
    assert properties.metadata == {"snapkeep_source_etag": "0x1", "snapkeep": "2", "snapkeepa": "3"}
    assert properties.blob_tier == "Cool"
    assert await target.get_blob_tags() == {"k": "v 1"}


async def test_put_blob_from_url_takes_the_requests_own_headers_instead(accounts: Accounts) -> None:
    source = await accounts.source.upload_blob("a", b"", content_settings=ContentSettings("text/csv"))
    url = with_sas(source, container_sas(accounts.source))
    replaced, plain = accounts.backup.get_blob_client("replaced"), accounts.backup.get_blob_client("plain")
    await replaced.upload_blob_from_url(url, content_settings=ContentSettings("text/html"))
    await plain.upload_blob_from_url(url, include_source_blob_properties=False)
    assert (await replaced.get_blob_properties()).content_settings.content_type == "text/html"
    assert (await plain.get_blob_properties()).content_settings.content_type == "application/octet-stream"


async def test_put_blob_from_url_honours_conditions_on_both_sides(accounts: Accounts) -> None:
    source = await accounts.source.upload_blob("a", b"1")
    etag = (await source.get_blob_properties()).etag
    url = with_sas(source, container_sas(accounts.source))
    target = accounts.backup.get_blob_client("a")
    await source.upload_blob(b"2", overwrite=True)
    with pytest.raises(HttpResponseError) as changed:
        await target.upload_blob_from_url(url, source_etag=etag, source_match_condition=MatchConditions.IfNotModified)
    assert (changed.value.status_code, code_of(changed.value)) == (412, "SourceConditionNotMet")
    assert not await target.exists()
    await target.upload_blob_from_url(url, overwrite=False)
    with pytest.raises(ResourceExistsError) as exists:
        await target.upload_blob_from_url(url, overwrite=False)
    assert code_of(exists.value) == "BlobAlreadyExists"


async def test_put_blob_from_url_reads_the_snapshot_it_is_given(accounts: Accounts) -> None:
    source = await accounts.source.upload_blob("a #?", b"old")
    snapshot = await take_snapshot(source)
    await source.upload_blob(b"new", overwrite=True)
    old = accounts.source.get_blob_client("a #?", snapshot=snapshot)
    target = accounts.backup.get_blob_client("a")
    single = snapshot_sas(accounts.source, "a #?", snapshot)
    for sas in (account_sas(SOURCE), single):
        await target.upload_blob_from_url(with_sas(old, sas), overwrite=True)
        assert await content(target) == b"old"


@pytest.mark.parametrize(
    ("name", "sas", "status"),
    [("missing", None, 404), ("a", "", 403), ("a", "sv=2021-12-02&sr=c&sig=x", 403)],
)
async def test_a_source_that_cannot_be_read_is_reported_as_the_service_does(
    accounts: Accounts, name: str, sas: str | None, status: int
) -> None:
    await accounts.source.upload_blob("a", b"1")
    source = accounts.source.get_blob_client(name)
    url = with_sas(source, container_sas(accounts.source) if sas is None else sas)
    target = accounts.backup.get_blob_client("a")
    for copy in (
        target.upload_blob_from_url(url),
        target.stage_block_from_url("MQ==", url, source_offset=0, source_length=1),
    ):
        with pytest.raises(HttpResponseError) as refused:
            await copy
        assert code_of(refused.value) == "CannotVerifyCopySource"
        assert refused.value.status_code == status
    assert not await target.exists()


async def test_a_source_elsewhere_is_refused(accounts: Accounts) -> None:
    with pytest.raises(HttpResponseError, match="CannotVerifyCopySource"):
        await accounts.backup.get_blob_client("a").upload_blob_from_url("http://192.0.2.1/source/c/a")


async def test_a_wrong_hash_of_the_source_is_refused(accounts: Accounts) -> None:
    source = await accounts.source.upload_blob("a", b"1")
    target = accounts.backup.get_blob_client("a")
    with pytest.raises(HttpResponseError, match="Md5Mismatch"):
        await target.upload_blob_from_url(
            with_sas(source, container_sas(accounts.source)), source_content_md5=bytearray(16)
        )


# --- Put Block From URL ---


@pytest.mark.parametrize("kind", ["account", "container"])
async def test_blocks_from_url_make_up_the_source(accounts: Accounts, kind: str) -> None:
    body = os.urandom(5_000_001)
    source = await accounts.source.upload_blob("a 'b'%25.bin", body)
    etag = (await source.get_blob_properties()).etag
    url = with_sas(source, account_sas(SOURCE) if kind == "account" else container_sas(accounts.source))
    target = accounts.backup.get_blob_client("a")
    step = 2_000_000
    ids = []
    for start in range(0, len(body), step):
        ids.append(f"{start:010}")
        await target.stage_block_from_url(
            ids[-1], url, start, min(step, len(body) - start), headers={"x-ms-source-if-match": etag}
        )
    await target.commit_block_list([BlobBlock(i) for i in ids], match_condition=MatchConditions.IfMissing)
    assert await content(target) == body
    with pytest.raises(ResourceExistsError) as exists:
        await target.commit_block_list([], match_condition=MatchConditions.IfMissing)
    assert code_of(exists.value) == "BlobAlreadyExists"


async def test_a_block_of_a_source_that_changed_is_refused(accounts: Accounts) -> None:
    source = await accounts.source.upload_blob("a", b"1")
    etag = (await source.get_blob_properties()).etag
    await source.upload_blob(b"2", overwrite=True)
    with pytest.raises(HttpResponseError) as changed:
        await accounts.backup.get_blob_client("a").stage_block_from_url(
            "MQ==",
            with_sas(source, container_sas(accounts.source)),
            0,
            1,
            headers={"x-ms-source-if-match": etag},
        )
    assert (changed.value.status_code, code_of(changed.value)) == (412, "SourceConditionNotMet")


# --- Copy Blob From URL: Azurite's own, which the product leans on ---


@pytest.mark.parametrize("name", HARD_NAMES)
async def test_copy_blob_from_url_copies_between_accounts(accounts: Accounts, name: str) -> None:
    source = await accounts.source.upload_blob(name, b"content of " + name.encode(), metadata={"m": "1"})
    etag = (await source.get_blob_properties()).etag
    target = accounts.backup.get_blob_client(name)
    await target.start_copy_from_url(
        with_sas(source, container_sas(accounts.source)),
        requires_sync=True,
        source_etag=etag,
        source_match_condition=MatchConditions.IfNotModified,
    )
    assert await content(target) == b"content of " + name.encode()
    assert (await target.get_blob_properties()).metadata == {"m": "1"}
    assert [blob.name async for blob in accounts.backup.list_blobs()] == [name]


async def test_copy_blob_from_url_honours_conditions_on_both_sides(accounts: Accounts) -> None:
    source = await accounts.source.upload_blob("a", b"1")
    etag = (await source.get_blob_properties()).etag
    url = with_sas(source, container_sas(accounts.source))
    target = accounts.backup.get_blob_client("a")
    await source.upload_blob(b"2", overwrite=True)
    with pytest.raises(HttpResponseError) as changed:
        await target.start_copy_from_url(
            url, requires_sync=True, source_etag=etag, source_match_condition=MatchConditions.IfNotModified
        )
    assert changed.value.status_code == 412
    assert not await target.exists()
    await target.start_copy_from_url(url, requires_sync=True, match_condition=MatchConditions.IfMissing)
    with pytest.raises(ResourceExistsError) as exists:
        await target.start_copy_from_url(url, requires_sync=True, match_condition=MatchConditions.IfMissing)
    assert code_of(exists.value) == "BlobAlreadyExists"


async def test_copy_blob_from_url_takes_tags_tier_metadata_and_a_snapshot(accounts: Accounts) -> None:
    source = await accounts.source.upload_blob("a #?%", b"old", metadata={"old": "1"})
    snapshot = await take_snapshot(source)
    await source.upload_blob(b"new", overwrite=True)
    old = accounts.source.get_blob_client("a #?%", snapshot=snapshot)
    target = accounts.backup.get_blob_client("a")
    await target.start_copy_from_url(
        with_sas(old, snapshot_sas(accounts.source, "a #?%", snapshot)),
        requires_sync=True,
        metadata={"new": "2"},
        tags={"k": "v 1"},
        standard_blob_tier=StandardBlobTier.COOL,
    )
    properties = await target.get_blob_properties()
    assert await content(target) == b"old"
    assert properties.metadata == {"new": "2"}
    assert properties.blob_tier == "Cool"
    assert await target.get_blob_tags() == {"k": "v 1"}


# --- the real azcopy ---


async def test_azcopy_syncs_between_the_accounts(accounts: Accounts, tmp_path: Path) -> None:
    bodies = {
        "small.txt": b"small",
        "empty": b"",
        "dir/a b&c+d%25#.txt": b"hard",
        "large.bin": os.urandom(20_000_000),
    }
    for name, body in bodies.items():
        await accounts.source.upload_blob(name, body)
    summary = await sync(accounts, tmp_path)
    assert (summary["JobStatus"], summary["TransfersCompleted"]) == ("Completed", str(len(bodies))), summary
    found = {
        blob.name: await content(accounts.backup.get_blob_client(blob.name))
        async for blob in accounts.backup.list_blobs()
    }
    assert found == bodies


async def sync(accounts: Accounts, folder: Path) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        azcopy(),
        "sync",
        "--from-to=BlobBlob",
        f"{accounts.source.url}?{account_sas(SOURCE)}",
        f"{accounts.backup.url}?{account_sas(BACKUP)}",
        "--output-type=json",
        "--block-size-mb=4",
        "--put-blob-size-mb=4",
        env={
            "HOME": str(folder),
            "AZCOPY_LOG_LOCATION": str(folder),
            "AZCOPY_JOB_PLAN_LOCATION": str(folder),
            "AZCOPY_CONCURRENCY_VALUE": "8",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    messages = [json.loads(line) for line in output.splitlines() if line.startswith(b"{")]
    ended = [message["MessageContent"] for message in messages if message["MessageType"] == "EndOfJob"]
    assert ended, output.decode()
    summary: dict[str, Any] = json.loads(ended[0])
    return summary


# --- what is counted ---


async def test_calls_are_counted_by_account_and_by_what_they_are_billed_as(stack: Stack, accounts: Accounts) -> None:
    url = f"http://127.0.0.1:{stack.gateway.port}/gateway"
    async with aiohttp.ClientSession() as session:
        await session.post(f"{url}/reset")
        source = await accounts.source.upload_blob("a", b"content")
        await take_snapshot(source)
        await accounts.backup.get_blob_client("a").start_copy_from_url(
            with_sas(source, container_sas(accounts.source)), requires_sync=True
        )
        assert [blob.name async for blob in accounts.source.list_blobs(include=["snapshots"])] == ["a", "a"]
        await accounts.backup.get_blob_client("a").delete_blob()
        expected = {"source": {"list": 1, "other": 1, "read": 1, "write": 1}, "backup": {"delete": 1, "write": 1}}
        async with session.get(f"{url}/transactions") as answer:
            assert await answer.json() == expected
        async with session.post(f"{url}/reset") as answer:
            assert await answer.json() == expected
        async with session.get(f"{url}/transactions") as answer:
            assert await answer.json() == {}

"""The light reader of listings against real storage: it says what the SDK says, and refuses what it can't read."""

import re
from base64 import b64encode

import pytest
from azure.storage.blob import ContentSettings, StandardBlobTier
from azure.storage.blob.aio import ContainerClient

from local.gateway.messages import Headers, Request, Response, make_response
from shared.adapters.listing import Page
from shared.errors import ContainerNotFound, StorageFailed
from shared.model import Entry
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import Action, FaultProxy, Forward, Rule, answer, pages_of
from tests.names import HARD_NAMES
from tests.protection import entries

LISTING = re.compile(r"comp=list")


async def pages(services: Services, container: ContainerClient, prefix: str = "") -> list[Page]:
    return [page async for page in services.source.pages(container.container_name, prefix)]


async def listed(services: Services, container: ContainerClient, prefix: str = "") -> list[Entry]:
    return [entry for page in await pages(services, container, prefix) for entry in page.entries]


async def as_the_sdk_says(container: ContainerClient) -> set[Entry]:
    return {
        Entry(
            each.name,
            each.snapshot,
            each.etag.strip('"'),
            f"{each.last_modified:%Y-%m-%dT%H:%M:%SZ}",
            each.size,
            b64encode(each.content_settings.content_md5).decode() if each.content_settings.content_md5 else None,
            str(each.blob_type.value),
            str(each.blob_tier or ""),
            (each.metadata or {}).get("hdi_isfolder") == "true",
        )
        for each in await entries(container)
    }


async def test_it_says_the_same_as_the_sdk_of_every_hard_name(services: Services, container: ContainerClient) -> None:
    for name in HARD_NAMES.values():
        await container.upload_blob(name, name.encode()[:50])
    found = await listed(services, container)
    assert len(found) == len(HARD_NAMES)
    assert set(found) == await as_the_sdk_says(container)


async def test_it_says_the_same_as_the_sdk_of_all_kinds_of_blobs(
    services: Services, container: ContainerClient
) -> None:
    cool = await container.upload_blob("cool", b"1", standard_blob_tier=StandardBlobTier.COOL)
    await cool.create_snapshot()
    await cool.upload_blob(b"22", overwrite=True)
    await (await container.upload_blob("cold", b"1")).set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    await container.upload_blob("folder", b"", metadata={"hdi_isfolder": "true"})
    await container.upload_blob("headers", b"3", content_settings=ContentSettings(content_type="text/<b>&amp;"))
    await container.upload_blob("metadata", b"4", metadata={"Etag": "<Etag>fake</Etag>", "k": "</Properties>"})
    await container.get_blob_client("log").create_append_blob()
    await container.get_blob_client("disk").create_page_blob(512)
    await container.get_blob_client("uncommitted").stage_block("1", b"5")
    found = await listed(services, container)
    assert len(found) == 8
    assert set(found) == await as_the_sdk_says(container)


@pytest.mark.parametrize("size", [1, 3, 4, 100])
async def test_pages_of_any_size_bring_every_entry_once(
    size: int, open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    for name in "abcdefg":
        blob = await container.upload_blob(name, b"1")
        await blob.create_snapshot()
    blob_proxy.add(Rule(pages_of(size), target=LISTING))
    found = await listed(open_behind_proxies(), container)
    assert len(found) == 14
    assert set(found) == await as_the_sdk_says(container)


async def test_a_listing_goes_on_from_the_marker_of_any_page(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    for name in "abcdefg":
        await container.upload_blob(name, b"1")
    blob_proxy.add(Rule(pages_of(2), target=LISTING))
    services = open_behind_proxies()
    all_pages = await pages(services, container)
    assert all_pages[-1].next_marker is None
    for number, page in enumerate(all_pages[:-1]):
        rest = [
            entry.name
            async for each in services.source.pages(container.container_name, marker=page.next_marker)
            for entry in each.entries
        ]
        assert rest == [entry.name for each in all_pages[number + 1 :] for entry in each.entries]


@pytest.mark.parametrize("prefix", ["a/", "a b", "a%2F", "a+b", "é", "😀", "a&prefix=b", "#", "?"])
async def test_a_prefix_is_taken_as_it_is(prefix: str, services: Services, container: ContainerClient) -> None:
    await container.upload_blob(f"{prefix}x", b"1")
    await container.upload_blob("other", b"1")
    assert [entry.name for entry in await listed(services, container, prefix)] == [f"{prefix}x"]


async def test_an_empty_container_is_one_empty_page(services: Services, container: ContainerClient) -> None:
    assert [(page.entries, page.next_marker) for page in await pages(services, container)] == [([], None)]


async def test_a_container_that_does_not_exist_is_told_apart(services: Services, container: ContainerClient) -> None:
    await container.delete_container()
    with pytest.raises(ContainerNotFound):
        await listed(services, container)


async def test_a_refusal_names_the_container_and_no_secret(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    blob_proxy.add(Rule(answer(403, "AuthorizationPermissionMismatch"), target=LISTING))
    with pytest.raises(StorageFailed, match=container.container_name) as refused:
        await listed(open_behind_proxies(), container)
    assert "sig=" not in str(refused.value)


async def test_only_the_page_ahead_is_fetched_while_one_is_worked_on(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    for name in "abcdef":
        await container.upload_blob(name, b"1")
    blob_proxy.add(Rule(pages_of(1), target=LISTING))
    services = open_behind_proxies()
    iterator = services.source.pages(container.container_name)
    await anext(iterator)
    await anext(iterator)
    await iterator.aclose()
    assert blob_proxy.count(target=LISTING) <= 3


def canned(body: str | bytes) -> Action:
    content = body.encode() if isinstance(body, str) else body

    async def act(_request: Request, _forward: Forward) -> Response:
        return make_response(200, "OK", Headers([("Content-Type", "application/xml")]), content)

    return act


def listing(*blobs: str, end: str = "<NextMarker/></EnumerationResults>") -> str:
    return f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>{"".join(blobs)}</Blobs>{end}'


def blob(name: str = "<Name>a</Name>", properties: str = "", after: str = "") -> str:
    standard = (
        "<Last-Modified>Fri, 20 Nov 2026 14:05:33 GMT</Last-Modified><Etag>0x8D1</Etag>"
        "<Content-Length>3</Content-Length>"
    )
    return f"<Blob>{name}<Properties>{standard}{properties}</Properties>{after}</Blob>"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (blob('<Name Encoded="true">a%EF%BF%BEb%2Fc</Name>'), ["a\ufffeb/c"]),
        (blob("<Name>&lt;a&gt; &amp;amp; &#x41;&#66;</Name>"), ["<a> &amp; AB"]),
        (blob(after="<Deleted>true</Deleted>"), ["a"]),  # what stands after the properties is metadata and the like
        (blob("<Name>a</Name><Deleted>true</Deleted>"), []),
        (blob("<Name>a</Name><Deleted>false</Deleted>"), ["a"]),
        (blob("<Name>a</Name><VersionId>2026-11-20T14:05:33.0000000Z</VersionId>"), []),
        (
            blob(
                "<Name>a</Name><VersionId>2026-11-20T14:05:33.0000000Z</VersionId>"
                "<IsCurrentVersion>true</IsCurrentVersion>"
            ),
            ["a"],
        ),
    ],
    ids=["encoded", "entities", "metadata", "soft-deleted", "not deleted", "old version", "current version"],
)
async def test_entries_that_azurite_never_lists_are_read_too(
    entry: str,
    expected: list[str],
    open_behind_proxies: OpenServices,
    container: ContainerClient,
    blob_proxy: FaultProxy,
) -> None:
    blob_proxy.add(Rule(canned(listing(entry)), target=LISTING))
    assert [each.name for each in await listed(open_behind_proxies(), container)] == expected


async def test_directories_and_customer_keys_are_marked(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    body = listing(
        blob("<Name>folder</Name>", "<ResourceType>directory</ResourceType>"),
        blob("<Name>locked</Name>", "<CustomerProvidedKeySha256>x</CustomerProvidedKeySha256>"),
        blob("<Name>plain</Name>", "<ResourceType>file</ResourceType>"),
    )
    blob_proxy.add(Rule(canned(body), target=LISTING))
    found = {each.name: (each.directory, each.customer_key) for each in await listed(open_behind_proxies(), container)}
    assert found == {"folder": (True, False), "locked": (False, True), "plain": (False, False)}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe<EnumerationResults>",
        "<html>please sign in</html>",
        listing(blob())[:-10],
        listing(blob())[:200],
        listing(blob(), end="</EnumerationResults>"),
        listing(blob().replace("<Etag>0x8D1</Etag>", "")),
        listing(blob().replace("0x8D1", "")),
        listing(blob().replace("GMT", "CET")),
        listing(blob().replace(">3<", ">three<")),
        listing(blob("")),
        listing(blob().replace("</Properties>", "")),
    ],
)
async def test_a_page_that_is_not_understood_is_an_error_and_never_an_end(
    body: str | bytes, open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy
) -> None:
    blob_proxy.add(Rule(canned(body), target=LISTING))
    with pytest.raises(StorageFailed):
        await listed(open_behind_proxies(), container)

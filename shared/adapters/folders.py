"""Looks at one level of a container: which blobs and which folders there are in a folder."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobPrefix

from shared.adapters.accounts import Account
from shared.adapters.listing import PAGE_SIZE, Listing
from shared.adapters.translate import azure_errors
from shared.errors import ContainerNotFound, StorageFailed


async def level(
    account: Account, container: str, prefix: str, start_from: str = ""
) -> AsyncGenerator[list[tuple[str, bool]]]:
    """The next segments of names with this prefix, and whether a folder has it; a blob may have it as well.

    In pages, within which they come in any order. The service makes such a listing without snapshots alone.

    Args:
        prefix: a folder with its last slash; empty for the container.
        start_from: the least name to list, where the service knows of that.

    Raises:
        ContainerNotFound: it does not exist.
        StorageFailed: a page could not be had.
    """
    client = account.service.get_container_client(container)
    with azure_errors(f"list the folders of {container}"):
        listed = client.walk_blobs(
            prefix or None, delimiter="/", results_per_page=PAGE_SIZE, start_from=start_from or None
        )
        async for page in listed.by_page():
            yield [_segment(found, prefix) async for found in page]


def _segment(found: BlobProperties | BlobPrefix, prefix: str) -> tuple[str, bool]:
    folder = isinstance(found, BlobPrefix)
    return found.name[len(prefix) :].removesuffix("/" if folder else ""), folder


async def begins_at(listing: Listing, container: str, name: str) -> bool:
    """Whether the service begins a listing where it is told to. Ask for a name that stands behind another.

    Raises:
        StorageFailed: it failed otherwise than by refusing that.
    """
    pages = listing.pages(container, start_from=name, page_size=1)
    try:
        page = await anext(pages)
    except ContainerNotFound:
        return True  # and nothing is listed wrongly
    except StorageFailed as error:
        if isinstance(error.__cause__, HttpResponseError) and error.__cause__.status_code == 400:
            return False
        raise
    finally:
        await pages.aclose()
    return all(entry.name >= name for entry in page.entries)

"""Reads listings of blobs, page by page, with the next page on its way while one is worked on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from azure.core import AsyncPipelineClient
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import (
    AsyncBearerTokenCredentialPolicy,
    DistributedTracingPolicy,
    HeadersPolicy,
    RequestIdPolicy,
    UserAgentPolicy,
)
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.storage.blob import AccountSasPermissions, Services

from shared.adapters.accounts import Account
from shared.adapters.calls import API_VERSION
from shared.adapters.listing_page import next_marker, parts
from shared.adapters.retrying import listing_retry
from shared.adapters.signing import STORAGE_SCOPE, USER_AGENT, Signature
from shared.adapters.translate import azure_errors
from shared.errors import SnapkeepError
from shared.model import Entry, second_of_http_date

PAGE_SIZE = 5000


class Page(NamedTuple):
    """One page of a listing.

    `next_marker` is where the next one begins; None on the last. `served_at` is when the service
    answered, by its own clock, as `YYYY-MM-DDTHH:MM:SSZ`; None should it not say so.
    """

    entries: list[Entry]
    next_marker: str | None
    served_at: str | None


class _Answer(NamedTuple):
    body: bytes
    served_at: str | None


class Listing:
    """The listings of one account's containers."""

    def __init__(self, account: Account) -> None:
        self._account = account
        authentication = (
            AsyncBearerTokenCredentialPolicy(account.credential, STORAGE_SCOPE) if account.credential else None
        )
        policies: Sequence[Any] = [
            HeadersPolicy({"x-ms-version": API_VERSION, "Accept": "application/xml"}),
            UserAgentPolicy(user_agent=USER_AGENT),
            RequestIdPolicy(),
            listing_retry(),
            authentication,
            DistributedTracingPolicy(),
        ]
        self._client: AsyncPipelineClient[HttpRequest, AsyncHttpResponse] = AsyncPipelineClient(
            account.endpoint,
            policies=[policy for policy in policies if policy is not None],
            connection_timeout=10,
            read_timeout=60,
        )
        permissions = AccountSasPermissions(list=True)
        self._signature = Signature(account.connection, account.credential, permissions, services=Services(blob=True))

    async def pages(
        self,
        container: str,
        *,
        prefix: str = "",
        marker: str | None = None,
        include: str = "",
        page_size: int = PAGE_SIZE,
        read_metadata: bool = False,
    ) -> AsyncGenerator[Page]:
        """The pages of a container's listing, from `marker` on, each fetched while the one before is used.

        Args:
            include: what the service is to add to live blobs: `snapshots`, `metadata`, with commas.
            read_metadata: whether the entries hold the metadata, which `include` must name then, and `created`.

        Raises:
            ContainerNotFound: it does not exist.
            StorageFailed: a page could not be had, or not understood; nothing of it was given out.
        """
        upcoming: asyncio.Task[_Answer] | None = asyncio.create_task(
            self._fetch(container, prefix, marker, include, page_size)
        )
        try:
            while upcoming is not None:
                answer = await upcoming
                following = next_marker(answer.body, container)
                upcoming = (
                    asyncio.create_task(self._fetch(container, prefix, following, include, page_size))
                    if following
                    else None
                )
                entries = []
                for part in parts(answer.body, container, metadata=read_metadata):
                    entries += part
                    await asyncio.sleep(0)  # the next page is asked for, and read as it comes
                yield Page(entries, following, answer.served_at)
        finally:
            if upcoming is not None:
                upcoming.cancel()
                with contextlib.suppress(asyncio.CancelledError, SnapkeepError):
                    await upcoming

    async def _fetch(self, container: str, prefix: str, marker: str | None, include: str, page_size: int) -> _Answer:
        query = {"restype": "container", "comp": "list", "maxresults": str(page_size)}
        for name, value in (("prefix", prefix), ("marker", marker), ("include", include)):
            if value:
                query[name] = value
        text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        signature = self._signature.query()
        url = f"{self._account.endpoint}/{container}?{text}{'&' + signature if signature else ''}"
        with azure_errors(f"list {container}"):
            response = await self._client.send_request(HttpRequest("GET", url))
            if response.status_code != 200:
                raise HttpResponseError(response=response)
            return _Answer(response.content, _served_at(response))

    async def close(self) -> None:
        await self._client.close()


def _served_at(response: AsyncHttpResponse) -> str | None:
    try:
        return second_of_http_date(response.headers.get("Date", ""))
    except ValueError:  # the listing is good all the same; nothing is dated by this page
        return None

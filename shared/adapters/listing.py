"""Reads listings of blobs, page by page, with the next page on its way while one is worked on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import quote

from azure.core import AsyncPipelineClient
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import (
    AsyncBearerTokenCredentialPolicy,
    DistributedTracingPolicy,
    RequestIdPolicy,
    UserAgentPolicy,
)
from azure.core.pipeline.transport import AioHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.storage.blob import AccountSasPermissions, Services

from shared.adapters.accounts import Account
from shared.adapters.calls import API_VERSION, proxy_of
from shared.adapters.listing_arrow import CONTENT_TYPE as ARROW
from shared.adapters.listing_arrow import arrow_marker, read_arrow
from shared.adapters.listing_page import next_marker, parts
from shared.adapters.listing_state import INCLUDE, Looked, read_states
from shared.adapters.retrying import listing_retry
from shared.adapters.signing import STORAGE_SCOPE, USER_AGENT, Signature
from shared.adapters.translate import azure_errors
from shared.errors import ServiceUnavailable, SnapkeepError, StorageFailed
from shared.model import Entry, second_of_http_date

PAGE_SIZE = 5000

ASK_AGAIN_SECONDS = 3600.0
"""After which it is tried anew whether pages tell of tags: a role takes minutes to count."""

_XML = {"Accept": "application/xml", "x-ms-version": API_VERSION}
_ARROW_OR_XML = {"Accept": f"{ARROW},application/xml", "x-ms-version": "2026-10-06"}
"""As the SDK asks for Arrow, with the version of the service by which it does so."""

_RANGES_VERSION = "2026-02-06"
"""The first that begins a listing at a name (`startFrom`); an earlier one disregards that."""

log = logging.getLogger(__name__)


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
    arrow: bool


class Listing:
    """The listings of one account's containers."""

    def __init__(self, account: Account) -> None:
        self._account = account
        authentication = (
            AsyncBearerTokenCredentialPolicy(account.credential, STORAGE_SCOPE) if account.credential else None
        )
        policies: Sequence[Any] = [
            UserAgentPolicy(user_agent=USER_AGENT),
            RequestIdPolicy(),
            listing_retry(),
            authentication,
            DistributedTracingPolicy(),
        ]
        self._client: AsyncPipelineClient[HttpRequest, AsyncHttpResponse] = AsyncPipelineClient(
            account.endpoint,
            policies=[policy for policy in policies if policy is not None],
            transport=AioHttpTransport(use_env_settings=False, connection_timeout=10, read_timeout=60),
        )
        proxy = proxy_of(account.endpoint)
        self._options: dict[str, Any] = {"proxy": proxy} if proxy else {}
        self._accept = _ARROW_OR_XML
        self._not_told: StorageFailed | None = None
        self._not_told_at = 0.0
        permissions = AccountSasPermissions(list=True, tag=True)
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
        start_from: str = "",
    ) -> AsyncGenerator[Page]:
        """The pages of a container's listing, from `marker` on, each fetched while the one before is used.

        Args:
            include: what the service is to add to live blobs: `snapshots`, `metadata`, with commas.
            read_metadata: whether the entries hold the metadata, which `include` must name then, and `created`.
            start_from: the least name to list, where the service knows of that: look at what comes.

        Raises:
            ContainerNotFound: it does not exist.
            StorageFailed: a page could not be had, or not understood; nothing of it was given out.
        """

        def ask(after: str | None) -> asyncio.Task[_Answer]:
            fetched = self._fetch(container, prefix, after, include, page_size, self._accept, start_from)
            return asyncio.create_task(fetched)

        upcoming: asyncio.Task[_Answer] | None = ask(marker)
        try:
            while upcoming is not None:
                answer = await upcoming
                try:
                    following = _marker(answer, container)
                    upcoming = ask(following) if following else None
                    entries = []
                    async for part in _parts(answer, container, page_size, metadata=read_metadata):
                        entries += part
                except StorageFailed as error:
                    if not answer.arrow:
                        raise
                    # What is wrong with it, only the service can know; in XML it is known what it says.
                    log.warning("%s; from now on pages are asked for as XML", error)
                    self._accept = _XML
                    await _dismiss(upcoming)
                    upcoming = ask(marker)
                    continue
                marker = following
                yield Page(entries, following, answer.served_at)
        finally:
            await _dismiss(upcoming)

    async def looked_at(self, container: str, prefix: str, page_size: int) -> dict[str, Looked]:
        """What a HEAD would tell of the first live blobs under a prefix, by their names, in one call.

        Raises:
            StorageFailed: it could not be had: the account has no index tags, or they may not be read.
            ContainerNotFound: it does not exist.
        """
        if self._not_told is not None and monotonic() - self._not_told_at < ASK_AGAIN_SECONDS:
            raise self._not_told
        try:
            answer = await self._fetch(container, prefix, None, INCLUDE, page_size, _XML)
        except ServiceUnavailable:
            raise
        except StorageFailed as error:
            self._not_told, self._not_told_at = error, monotonic()  # the next one would be refused as well
            raise
        return read_states(answer.body, container)

    async def _fetch(
        self,
        container: str,
        prefix: str,
        marker: str | None,
        include: str,
        page_size: int,
        accept: Mapping[str, str],
        start_from: str = "",
    ) -> _Answer:
        query = {"restype": "container", "comp": "list", "maxresults": str(page_size)}
        for name, value in (("prefix", prefix), ("marker", marker), ("include", include), ("startFrom", start_from)):
            if value:
                query[name] = value
        text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        signature = self._signature.query()
        url = f"{self._account.endpoint}/{container}?{text}{'&' + signature if signature else ''}"
        with azure_errors(f"list {container}"):
            headers = {**accept, "x-ms-version": max(accept["x-ms-version"], _RANGES_VERSION if start_from else "")}
            response = await self._client.send_request(HttpRequest("GET", url, headers=headers), **self._options)
            if response.status_code != 200:
                raise HttpResponseError(response=response)
            arrow = response.headers.get("Content-Type", "").startswith(ARROW)
            return _Answer(response.content, _served_at(response), arrow)

    async def close(self) -> None:
        await self._client.close()


def _marker(answer: _Answer, container: str) -> str | None:
    read = arrow_marker if answer.arrow else next_marker
    return read(answer.body, container)


async def _parts(answer: _Answer, container: str, page_size: int, *, metadata: bool) -> AsyncGenerator[list[Entry]]:
    """A page's entries, part by part; in between, the next page is asked for, and read as it comes."""
    await asyncio.sleep(0)
    if answer.arrow:
        yield read_arrow(answer.body, container, page_size, metadata=metadata)
        return
    for part in parts(answer.body, container, metadata=metadata):
        yield part
        await asyncio.sleep(0)


async def _dismiss(upcoming: asyncio.Task[_Answer] | None) -> None:
    if upcoming is not None:
        upcoming.cancel()
        with contextlib.suppress(asyncio.CancelledError, SnapkeepError):
            await upcoming


def _served_at(response: AsyncHttpResponse) -> str | None:
    try:
        return second_of_http_date(response.headers.get("Date", ""))
    except ValueError:  # the listing is good all the same; nothing is dated by this page
        return None

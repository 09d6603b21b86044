"""The gateway's counter: each call is counted as the bill counts it."""

from __future__ import annotations

import asyncio
import json

import pytest

from local.gateway.messages import Headers as Fields
from local.gateway.messages import Request, receive_request, request_head
from local.gateway.transactions import Operation, Transactions, operation_of


async def request(method: str, target: str, *headers: tuple[str, str]) -> Request:
    reader = asyncio.StreamReader()
    reader.feed_data(request_head(method, target, Fields(list(headers))))
    reader.feed_eof()
    received = await receive_request(reader)
    assert received is not None
    return received


@pytest.mark.parametrize(
    ("method", "target", "operation"),
    [
        ("GET", "/source/raw?restype=container&comp=list&include=snapshots", Operation.LIST),
        ("GET", "/source?comp=list", Operation.LIST),
        ("GET", "/source/raw?restype=container&comp=blobs&where=x", Operation.LIST),
        ("PUT", "/source/raw?restype=container", Operation.LIST),
        ("PUT", "/source/raw?restype=container&comp=lease", Operation.OTHER),
        ("PUT", "/source/raw/a", Operation.WRITE),
        ("PUT", "/source/raw/a?comp=block&blockid=x", Operation.WRITE),
        ("PUT", "/source/raw/a?comp=blocklist", Operation.WRITE),
        ("PUT", "/source/raw/a?comp=appendblock", Operation.WRITE),
        ("PUT", "/source/raw/a?comp=page", Operation.WRITE),
        ("PUT", "/source/raw/a?comp=snapshot", Operation.OTHER),
        ("PUT", "/source/raw/a?comp=lease", Operation.OTHER),
        ("PUT", "/source/raw/a?comp=metadata", Operation.OTHER),
        ("PUT", "/source/raw/a?comp=tags", Operation.OTHER),
        ("HEAD", "/source/raw/a", Operation.OTHER),
        ("HEAD", "/source/raw/a?snapshot=2026-11-20T14:05:33.0000000Z", Operation.OTHER),
        ("GET", "/source/raw/a", Operation.READ),
        ("GET", "/source/raw/a?snapshot=2026-11-20T14:05:33.0000000Z", Operation.READ),
        ("GET", "/source/raw/a?comp=tags", Operation.OTHER),
        ("GET", "/source/raw/a?comp=blocklist", Operation.OTHER),
        ("GET", "/source/raw?restype=container", Operation.OTHER),
        ("POST", "/source/raw/a?comp=query", Operation.READ),
        ("DELETE", "/source/raw/a", Operation.DELETE),
        ("DELETE", "/source/raw?restype=container", Operation.DELETE),
        ("DELETE", "/source/raw/a?comp=immutabilityPolicies", Operation.OTHER),
    ],
)
async def test_a_call_is_billed_as_the_documentation_says(method: str, target: str, operation: Operation) -> None:
    assert operation_of(await request(method, target)) is operation


async def test_a_copy_from_another_account_is_a_read_there_too() -> None:
    transactions = Transactions()
    source = ("x-ms-copy-source", "http://127.0.0.1:10000/source/raw/a?sig=x")
    transactions.count(await request("PUT", "/backup/rawbak/a", source))
    assert transactions.counts() == {"backup": {"write": 1}, "source": {"read": 1}}


@pytest.mark.parametrize("source", ["http://127.0.0.1:10000/backup/staging/a", "no address", "http://", "", "a/b/c"])
async def test_any_other_copy_is_one_write(source: str) -> None:
    transactions = Transactions()
    transactions.count(await request("PUT", "/backup/rawbak/a", ("x-ms-copy-source", source)))
    assert transactions.counts() == {"backup": {"write": 1}}


async def test_what_azurite_asks_of_a_copys_source_is_on_no_bill() -> None:
    transactions = Transactions()
    transactions.count(await request("HEAD", "/source/raw/a?sig=x", ("User-Agent", "axios/1.21.1")))
    assert transactions.counts() == {}


async def test_what_was_counted_is_read_and_reset() -> None:
    transactions = Transactions()
    transactions.count(await request("PUT", "/source/raw/a?comp=snapshot"))
    transactions.count_queue(await request("POST", "/backup/requests/messages"))
    expected = {"backup": {"queue": 1}, "source": {"other": 1}}
    for method, path in (("GET", "transactions"), ("POST", "reset")):
        answered = transactions.control(await request(method, f"/gateway/{path}"))
        assert answered is not None
        assert answered.status == 200
        assert json.loads(await answered.read()) == expected
    assert transactions.counts() == {}


async def test_nothing_else_is_taken_for_a_control() -> None:
    transactions = Transactions()
    assert transactions.control(await request("GET", "/source/gateway/transactions")) is None
    unknown = transactions.control(await request("POST", "/gateway/transactions"))
    assert unknown is not None
    assert unknown.status == 404

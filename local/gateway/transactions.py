"""Counts what passes through the gateway as the bill does: calls to storage by account and by type of operation.

    GET /gateway/transactions   {"source": {"list": 40, "other": 10000}, "backup": {...}}
    POST /gateway/reset         forgets them, and answers what they were

The types are those of standard general-purpose v2 accounts:
https://learn.microsoft.com/azure/storage/blobs/map-rest-apis-transaction-categories
Calls that fail count, as they do on the bill.
"""

from __future__ import annotations

import json
from collections import Counter
from enum import StrEnum

from local.gateway.messages import Headers, Request, Response, make_response

_CONTROLS = "/gateway/"  # the local accounts have other names
_WRITES = {"block", "blocklist", "appendblock", "seal", "page", "tier", "undelete"}
_LISTS = {"list", "blobs"}
_AZURITES_OWN = "axios/"  # the user agent of BlobHandler.validateCopySource in Azurite 3.37


class Operation(StrEnum):
    """What a call is billed as."""

    LIST = "list"
    WRITE = "write"
    READ = "read"
    OTHER = "other"
    DELETE = "delete"
    QUEUE = "queue"


class Transactions:
    """Calls by account and type, since the last reset."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Operation]] = Counter()

    def count(self, request: Request) -> None:
        """Counts a call to the Blob service.

        A copy between accounts is also a read of the source: that is billed to the account that is read. Azurite
        makes a call of its own there before it copies, which no bill knows.
        """
        if request.headers.get("user-agent").startswith(_AZURITES_OWN):
            return
        target = account_of(request.target)
        self._counts[target, operation_of(request)] += 1
        _, _, source = request.headers.get("x-ms-copy-source").partition("://")
        origin = account_of(f"/{source.partition('/')[2]}")
        if origin not in {"", target}:
            self._counts[origin, Operation.READ] += 1

    def count_queue(self, request: Request) -> None:
        """Counts a call to the Queue service, where all have one price."""
        self._counts[account_of(request.target), Operation.QUEUE] += 1

    def counts(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for (account, operation), count in sorted(self._counts.items()):
            found.setdefault(account, {})[operation.value] = count
        return found

    def reset(self) -> None:
        self._counts.clear()

    def control(self, request: Request) -> Response | None:
        """The answer to a call that is for the counter itself; None for one that is for storage."""
        if not request.path.startswith(_CONTROLS):
            return None
        asked = (request.method, request.path.removeprefix(_CONTROLS))
        if asked not in {("GET", "transactions"), ("POST", "reset")}:
            return _answer(404, "Not Found", {"error": "GET /gateway/transactions or POST /gateway/reset"})
        counts = self.counts()
        if request.method == "POST":
            self.reset()
        return _answer(200, "OK", counts)


def account_of(path: str) -> str:
    """The account of a path-style address: /account/container/blob."""
    return path.partition("?")[0].split("/")[1]


def operation_of(request: Request) -> Operation:
    """What a call to the Blob service is billed as."""
    query = request.query
    operation, container = query.get("comp", "").lower(), query.get("restype", "").lower() == "container"
    if operation in _LISTS:
        return Operation.LIST
    if request.method == "PUT":
        if container:  # creating or restoring one is billed as a listing
            return Operation.LIST if operation in {"", "undelete"} else Operation.OTHER
        return Operation.WRITE if operation == "" or operation in _WRITES else Operation.OTHER
    if request.method == "POST":
        return Operation.READ if operation == "query" else Operation.OTHER
    if request.method == "DELETE":
        return Operation.DELETE if operation == "" else Operation.OTHER
    whole = request.method == "GET" and operation == "" and "restype" not in query
    return Operation.READ if whole else Operation.OTHER


def _answer(status: int, reason: str, content: object) -> Response:
    return make_response(
        status, reason, Headers([("Content-Type", "application/json")]), f"{json.dumps(content)}\n".encode()
    )

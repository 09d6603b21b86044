"""Shared Key signatures of Blob service requests, for requests that the gateway changes before it passes
them on.

https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl

from local.gateway.messages import Headers, Request

_SIGNED_IN_ORDER = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
# The service sorts header names by collation, where `_` comes before `-` and both before digits and letters.
_COLLATION = str.maketrans({"_": "\1", "-": "\2"})


class Signer:
    """Checks and makes signatures with the keys of the local accounts."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = keys

    def accepts(self, request: Request) -> bool:
        """Whether the request may be changed and passed on: signed rightly, or not by a key at all.

        A SAS is in the URL, stays there, and is checked by the storage.
        """
        given = request.headers.get("authorization")
        if not given.startswith("SharedKey "):
            return True
        account = _account(request.target)
        return account in self._keys and hmac.compare_digest(
            given, self._authorization(request.method, request.target, request.headers)
        )

    def sign_again(self, original: Request, target: str, headers: Headers) -> Headers:
        """`headers` with a signature for the changed request, if the original had one."""
        if not original.headers.get("authorization").startswith("SharedKey "):
            return headers
        return headers.having(("Authorization", self._authorization(original.method, target, headers)))

    def _authorization(self, method: str, target: str, headers: Headers) -> str:
        account = _account(target)
        text = string_to_sign(method, target, headers, account)
        digest = hmac.new(base64.b64decode(self._keys[account]), text.encode(), hashlib.sha256).digest()
        return f"SharedKey {account}:{base64.b64encode(digest).decode()}"


def string_to_sign(method: str, target: str, headers: Headers, account: str) -> str:
    values = [headers.get(name) for name in _SIGNED_IN_ORDER]
    if headers.get("content-length") == "0":
        values[_SIGNED_IN_ORDER.index("content-length")] = ""
    named = sorted(
        ((name.lower(), value) for name, value in headers.starting("x-ms-")),
        key=lambda header: header[0].translate(_COLLATION),
    )
    path, _, query = target.partition("?")
    parameters = sorted((name.lower(), value) for name, value in parse_qsl(query, keep_blank_values=True))
    lines = [
        method,
        *values,
        *(f"{name}:{value}" for name, value in named),
        f"/{account}{path}" + "".join(f"\n{name}:{value}" for name, value in parameters),
    ]
    return "\n".join(lines)


def _account(target: str) -> str:
    """The account of a path-style URL: /account/container/blob."""
    return target.partition("?")[0].split("/")[1]

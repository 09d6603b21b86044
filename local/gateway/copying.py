"""Put Blob From URL and Put Block From URL, which Azurite lacks in part, as Get Blob followed by Put Blob
or Put Block.

https://learn.microsoft.com/rest/api/storageservices/put-blob-from-url
https://learn.microsoft.com/rest/api/storageservices/put-block-from-url
Azurite 3.37 answers the first with 500 or 501 and the second, for a source with an account SAS, with 500.
"""

from urllib.parse import urlsplit

from local.gateway.messages import Headers, Request, Response
from local.gateway.relay import Upstream
from local.gateway.responses import storage_error
from local.gateway.signing import Signer

_LOOPBACK_NAMES = {"127.0.0.1", "localhost"}
_CONDITIONS = {
    "x-ms-source-if-match": "If-Match",
    "x-ms-source-if-none-match": "If-None-Match",
    "x-ms-source-if-modified-since": "If-Modified-Since",
    "x-ms-source-if-unmodified-since": "If-Unmodified-Since",
}
# What describes the source in the request and has no place in a plain Put.
_SOURCE_HEADERS = (
    *_CONDITIONS,
    "x-ms-copy-source",
    "x-ms-copy-source-authorization",
    "x-ms-copy-source-blob-properties",
    "x-ms-source-range",
    "x-ms-source-content-md5",
    "x-ms-source-content-crc64",
    "x-ms-copy-source-tag-option",
    "content-length",
    "authorization",
    "expect",
)
_CONTENT_HEADERS = (
    "content-type",
    "content-encoding",
    "content-language",
    "content-disposition",
    "cache-control",
)


def is_from_url(request: Request) -> bool:
    """Whether this is one of the two. Copy Blob, which Azurite has, names neither blob type nor block."""
    if request.method != "PUT" or "x-ms-copy-source" not in request.headers:
        return False
    operation = request.query.get("comp", "")
    return operation == "block" or (operation == "" and "x-ms-blob-type" in request.headers)


class FromUrl:
    """The two operations, carried out against the upstream that holds both sides."""

    def __init__(self, upstream: Upstream, signer: Signer, own_port: int) -> None:
        self._upstream, self._signer = upstream, signer
        self._own_names = {f"{name}:{own_port}" for name in _LOOPBACK_NAMES}

    async def answer(self, request: Request) -> Response:
        if request.headers.get("x-ms-copy-source-tag-option").upper() == "COPY":
            message = "The local gateway does not copy tags with Put Blob From URL: send them as x-ms-tags."
            return storage_error(501, "NotImplemented", message)
        source = await self._open_source(request)
        try:
            if not source.ok:
                await source.read()
                return _source_refused(source.status)
            headers = _put_headers(request, source)
            headers = self._signer.sign_again(request, request.target, headers)
            assert source.received is not None  # noqa: S101 -- it came from a connection
            return await self._upstream.send("PUT", request.target, headers, source.received.content())
        finally:
            source.release()

    async def _open_source(self, request: Request) -> Response:
        url = request.headers.get("x-ms-copy-source")
        parts = urlsplit(url)
        # The client's own address for this server counts too: a proxy or a forwarded port may stand in front.
        if parts.scheme != "http" or parts.netloc not in {*self._own_names, request.headers.get("host")}:
            return _source_refused(404)  # as Azurite does: sources are of the same instance
        # Cut out of the URL as it stands: a parser would decode or normalise hard names.
        target = "/" + url.partition("//")[2].partition("/")[2].partition("#")[0]
        return await self._upstream.send("GET", target, _source_headers(request, parts.netloc))


def _source_headers(request: Request, host: str) -> Headers:
    given = request.headers
    fields = [("Host", host), ("x-ms-version", given.get("x-ms-version", "2021-12-02"))]
    fields += [(plain, given.get(name)) for name, plain in _CONDITIONS.items() if name in given]
    if "x-ms-source-range" in given:
        fields.append(("Range", given.get("x-ms-source-range")))
    if "x-ms-copy-source-authorization" in given:
        fields.append(("Authorization", given.get("x-ms-copy-source-authorization")))
    return Headers(fields)


def _put_headers(request: Request, source: Response) -> Headers:
    headers = request.headers.without(*_SOURCE_HEADERS)
    fields = [("Content-Length", source.headers.get("content-length"))]
    if "x-ms-source-content-md5" in request.headers:
        fields.append(("Content-MD5", request.headers.get("x-ms-source-content-md5")))
    if "x-ms-source-content-crc64" in request.headers:
        fields.append(("x-ms-content-crc64", request.headers.get("x-ms-source-content-crc64")))
    whole_blob = "comp" not in request.query
    if whole_blob and request.headers.get("x-ms-copy-source-blob-properties", "true").lower() != "false":
        fields += [
            (f"x-ms-blob-{name}", source.headers.get(name))
            for name in _CONTENT_HEADERS
            if name in source.headers and f"x-ms-blob-{name}" not in request.headers
        ]
    return headers.having(*fields)


def _source_refused(status: int) -> Response:
    if status in (304, 412):
        message = "The source condition specified using HTTP conditional header(s) is not met."
        return storage_error(412, "SourceConditionNotMet", message)
    message = "Could not verify the copy source."
    if status == 404:
        message = "The specified resource does not exist."
    return storage_error(status, "CannotVerifyCopySource", message)

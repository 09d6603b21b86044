"""Turns the SDK's properties of a blob into the project's own."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping

from azure.storage.blob import ContentSettings

from shared.errors import StorageFailed
from shared.model import BlobState, ContentHeaders, Version, second_of_http_date

_METADATA = "x-ms-meta-"


def blob_state(name: str, headers: Mapping[str, str], snapshot: str | None = None) -> BlobState:
    """What a HEAD answered for the blob `name`.

    Raises:
        StorageFailed: the answer lacks what every blob has.
    """
    try:
        modified = second_of_http_date(headers["Last-Modified"])
        version = Version(name, headers["ETag"].strip('"'), modified, int(headers["Content-Length"]))
    except (KeyError, ValueError) as error:
        raise StorageFailed(f"look at {name}: the answer is not understood: {error}") from error
    copying = headers.get("x-ms-copy-status", "")
    return BlobState(
        version=version,
        md5=headers.get("Content-MD5") or None,
        blob_type=headers.get("x-ms-blob-type", ""),
        tier=headers.get("x-ms-access-tier", ""),
        tier_inferred=headers.get("x-ms-access-tier-inferred") == "true",
        headers=ContentHeaders(
            headers.get("Content-Type"),
            headers.get("Content-Encoding"),
            headers.get("Content-Language"),
            headers.get("Content-Disposition"),
            headers.get("Cache-Control"),
        ),
        metadata={
            key[len(_METADATA) :]: value for key, value in headers.items() if key[: len(_METADATA)].lower() == _METADATA
        },
        tag_count=int(headers.get("x-ms-tag-count", "0")),
        snapshot=snapshot,
        copying="" if copying == "success" else copying,
    )


def content_settings(state: BlobState) -> ContentSettings:
    """The content headers, and the MD5, as the SDK takes them for a new blob."""
    headers = state.headers
    return ContentSettings(
        content_type=headers.content_type,
        content_encoding=headers.content_encoding,
        content_language=headers.content_language,
        content_disposition=headers.content_disposition,
        cache_control=headers.cache_control,
        content_md5=_md5_bytes(state.md5),
    )


def _md5_bytes(md5: str | None) -> bytearray | None:
    return bytearray(b64decode(md5)) if md5 else None

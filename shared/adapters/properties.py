"""Turns the SDK's properties of a blob into the project's own."""

from __future__ import annotations

from base64 import b64decode, b64encode

from azure.storage.blob import BlobProperties, ContentSettings

from shared.model import BlobState, ContentHeaders, Version, second_of


def blob_state(name: str, properties: BlobProperties, snapshot: str | None = None) -> BlobState:
    """What a HEAD answered for the blob `name`."""
    content = properties.content_settings
    return BlobState(
        version=Version(name, properties.etag.strip('"'), second_of(properties.last_modified), properties.size),
        md5=b64encode(content.content_md5).decode() if content.content_md5 else None,
        blob_type=str(getattr(properties.blob_type, "value", properties.blob_type)),
        tier=str(getattr(properties.blob_tier, "value", properties.blob_tier) or ""),
        tier_inferred=bool(properties.blob_tier_inferred),
        headers=ContentHeaders(
            content.content_type,
            content.content_encoding,
            content.content_language,
            content.content_disposition,
            content.cache_control,
        ),
        metadata=dict(properties.metadata or {}),
        tag_count=properties.tag_count or 0,
        snapshot=snapshot,
        copying=_unfinished_copy(properties),
    )


def _unfinished_copy(properties: BlobProperties) -> str:
    status = str(getattr(properties.copy.status, "value", properties.copy.status) or "")
    return "" if status == "success" else status


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

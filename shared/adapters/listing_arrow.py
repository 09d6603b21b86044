"""Understands a page of a listing that the service answers as an Apache Arrow stream, a fifth of the XML's size.

Its form is what Microsoft's own readers take it for (azure-storage-blob 12.31 for Python, azure_storage_blob for Rust):
one column for each XML element, under its name; the marker in the schema's metadata, none on the last page. It was
tried on pages in that form and not on the service yet. So whatever is different from it, if only in a column's type,
is an error, and the page is asked for as XML (`shared.adapters.listing`), which gives the same entries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from io import BytesIO
from typing import Any

from shared.decisions.restored import RESTORING
from shared.errors import StorageFailed
from shared.model import Entry, second_of

CONTENT_TYPE = "application/vnd.apache.arrow.stream"

_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""What a whole stream ends with; nanoarrow does not miss it."""

_MARKERS = {b"NextMarker", b"nextMarker"}
_PER_SECOND = {"SECOND": 1, "MILLI": 10**3, "MICRO": 10**6, "NANO": 10**9}
_UTC = {None, "", "UTC", "Etc/UTC", "GMT", "Z", "+00:00"}
_DAY_SECONDS = 86_400
_TEXT = ("STRING", "LARGE_STRING")
_ETAG = re.compile(r'"?(0x[0-9A-Fa-f]+)"?')
_TIMES = ("Last-Modified", "Creation-Time")
_COLUMNS: dict[str, tuple[str, ...]] = {
    "Name": _TEXT,
    "Snapshot": _TEXT,
    "VersionId": _TEXT,
    "IsCurrentVersion": ("BOOL",),
    "Deleted": ("BOOL",),
    "Etag": _TEXT,
    "Last-Modified": ("TIMESTAMP",),
    "Content-Length": ("INT64", "UINT64"),
    "Content-MD5": _TEXT,
    "BlobType": _TEXT,
    "AccessTier": _TEXT,
    "ResourceType": _TEXT,
    "CustomerProvidedKeySha256": _TEXT,
    "Creation-Time": ("TIMESTAMP",),
    "Metadata": ("MAP",),
}
"""What entries are made of, and of which types that may be."""

_Columns = dict[str, list[Any]]


def arrow_marker(body: bytes, container: str) -> str | None:
    """Where the next page begins; None on the last.

    Raises:
        StorageFailed: the page is cut short, or is no Arrow stream.
    """
    with _strictly(container), _opened(body) as reader:
        if not body.endswith(_END):
            raise ValueError("it has no end")
        texts = [text for key, text in dict(reader.schema.metadata or {}).items() if key in _MARKERS]
        return b"".join(texts).decode() or None


def read_arrow(body: bytes, container: str, page_size: int, *, metadata: bool = False) -> list[Entry]:
    """The entries of one page, as `listing_page.parse` gives them.

    Args:
        page_size: how many were asked for. A page of so many that names no next one is not believed.

    Raises:
        StorageFailed: the page is not of the form that is known.
    """
    entries: list[Entry] = []
    rows = 0
    with _strictly(container), _opened(body) as reader:
        fields = list(reader.schema.fields)
        for batch in reader:
            rows += len(batch)
            entries += _entries(_columns(batch, fields), metadata=metadata)
        if rows >= page_size and arrow_marker(body, container) is None:
            raise ValueError("it is full, and does not say whether it is the last")
    return entries


@contextmanager
def _strictly(container: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever the library raises for what it does not take
        raise StorageFailed(f"list {container}: an Arrow page is not understood: {error}") from error


@contextmanager
def _opened(body: bytes) -> Iterator[Any]:
    # Imported here: most services answer XML.
    from nanoarrow import ArrayStream  # type: ignore[import-untyped]  # it brings no types
    from nanoarrow.ipc import InputStream  # type: ignore[import-untyped]  # as above

    with InputStream.from_readable(BytesIO(body)) as stream:
        yield ArrayStream(stream)


def _columns(batch: Any, fields: list[Any]) -> _Columns:
    """The columns that entries are made of; one that a page lacks holds nothing."""
    columns: _Columns = {name: [None] * len(batch) for name in _COLUMNS}
    for number, field in enumerate(fields):
        if field.name in _COLUMNS:
            if field.type.name not in _COLUMNS[field.name]:
                raise ValueError(f"the column {field.name} is of another type, {field.type.name}")
            columns[field.name] = _values(field, batch.child(number))
    return columns


def _values(field: Any, column: Any) -> list[Any]:
    if field.name in _TIMES:
        return _seconds(field, column)
    return list(_maps(column)) if field.name == "Metadata" else list(column.to_pylist())


def _entries(columns: _Columns, *, metadata: bool) -> Iterator[Entry]:
    for (
        name, snapshot, version_id, current, deleted, etag, modified, size, md5, blob_type, tier, resource,
        customer_key, created, values,
    ) in zip(*columns.values(), strict=True):  # fmt: skip
        if deleted or (version_id and not snapshot and not current):
            continue
        found = _ETAG.fullmatch(etag or "")
        if name is None or found is None or modified is None:
            raise ValueError(f"no name, ETag or time: {name!r}")
        directory = resource == "directory" or (not size and bool(values) and _is_folder(values))
        if size is None and not directory:
            raise ValueError(f"no size: {name!r}")
        yield Entry(
            name,
            snapshot or None,
            found[1],
            modified,
            size or 0,
            md5 or None,
            blob_type or "BlockBlob",
            tier or "",
            directory,
            customer_key is not None,
            (values or {}) if metadata else None,
            (created or "") if metadata else "",
            bool(values) and any(key.lower().startswith(RESTORING) for key in values),
        )


def _is_folder(values: dict[str, str]) -> bool:
    return any(key.lower() == "hdi_isfolder" and value.lower() == "true" for key, value in values.items())


def _seconds(field: Any, column: Any) -> list[str | None]:
    """A column of times as `YYYY-MM-DDTHH:MM:SSZ`."""
    if field.timezone not in _UTC:
        raise ValueError(f"the column {field.name} is not in UTC but in {field.timezone}")
    # As the numbers that they are: the library's datetimes take three times as long.
    per_second = _PER_SECOND[field.unit.name]
    ticks = list(column.buffer(1))[: len(column)]
    if column.buffer(0).size_bytes:  # of which rows hold a time
        ticks = [None if value is None else tick for tick, value in zip(ticks, column.to_pylist(), strict=True)]
    return [None if tick is None else _second(tick // per_second) for tick in ticks]


def _second(seconds: int) -> str:
    days, rest = divmod(seconds, _DAY_SECONDS)
    return f"{_day(days)}{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}Z"


@lru_cache(maxsize=4096)
def _day(days: int) -> str:
    """`2026-11-20T`, so many days after 1970 began."""
    return second_of(datetime.fromtimestamp(days * _DAY_SECONDS, UTC))[:11]


def _maps(column: Any) -> Iterator[dict[str, str]]:
    """A column of metadata: each row's keys and values, which stand one after the other for all rows."""
    offsets = list(column.buffer(1))
    pairs = column.child(0)
    keys, values = pairs.child(0).to_pylist(), pairs.child(1).to_pylist()
    for row in range(len(column)):
        yield {keys[at]: values[at] or "" for at in range(offsets[row], offsets[row + 1])}

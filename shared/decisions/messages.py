"""The queue's messages: written, split and strictly read.

A released schema never changes; a new one gets a new number. No key at the top may be one that the
Functions worker takes for metadata of the message (`id`, `dequeue_count`, ...).

Schema 2 is schema 1 and the trace that the message belongs to. It is written where traces are kept, and there
alone: releases that know schema 1 alone would give up on it, and say so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from shared.containers import is_container_name
from shared.decisions.names import refusal
from shared.errors import MessageError
from shared.model import Version, moment_of

SCHEMA = 1
TRACED_SCHEMA = 2

MAX_MESSAGE_BYTES = 48 * 1024
"""Before base64, which makes 64 KiB of it, the service's limit."""

MAX_COPIED_BYTES = 16 * 1024**3
"""What one request asks to copy, unless a single blob is larger: an invocation's time is bounded."""

_ROOM_BYTES = 2304
"""Kept free when versions are packed: a follow-up or a reason, in which JSON can make six bytes of a
character, is added to the same versions later, and a trace."""

_MAX_REASON_CHARACTERS = 300
_ETAG = re.compile(r"[0-9A-Za-z]{1,64}")
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""https://www.w3.org/TR/trace-context/#traceparent-header, version 00"""


def _schema(value: int) -> int:
    if value not in (SCHEMA, TRACED_SCHEMA):
        raise ValueError("this version of Snapkeep knows schemas 1 and 2 alone")
    return value


def _container(value: str) -> str:
    if not is_container_name(value):
        raise ValueError("not a container name")
    return value


def _name(value: str) -> str:
    refused = refusal(value)
    if refused:
        raise ValueError(refused)
    if "\0" in value:
        raise ValueError("holds U+0000, which no name of a blob can")
    value.encode()  # a lone surrogate has no UTF-8 form: UnicodeEncodeError is a ValueError
    return value


def _etag(value: str) -> str:
    if not _ETAG.fullmatch(value):
        raise ValueError("not an ETag without quotes")
    return value


def _second(value: str) -> str:
    moment_of(value)
    return value


def _traceparent(value: str) -> str:
    if not _TRACEPARENT.fullmatch(value):
        raise ValueError("not a W3C trace context")
    return value


Traceparent = Annotated[str, AfterValidator(_traceparent)] | None


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Blob(_Strict):
    name: Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_name)]
    etag: Annotated[str, AfterValidator(_etag)]
    last_modified: Annotated[str, AfterValidator(_second)]
    size: Annotated[int, Field(ge=0)]


class _Asked(_Strict):
    # Not `Literal[1]`, which takes `true` and `1.0` for 1 even in strict mode.
    schema_: Annotated[int, AfterValidator(_schema)] = Field(alias="schema")
    container: Annotated[str, AfterValidator(_container)]
    attempt: Annotated[int, Field(ge=1, le=100)]
    requested_at: Annotated[str, AfterValidator(_second)]

    @model_validator(mode="after")
    def _has_its_schemas_keys(self) -> Self:
        if (getattr(self, "traceparent", None) is not None) != (self.schema_ == TRACED_SCHEMA):
            raise ValueError("schema 2 has a traceparent, and schema 1 has none")
        return self


class _Message(_Asked):
    blobs: Annotated[list[_Blob], Field(min_length=1)]
    traceparent: Traceparent = None

    @property
    def versions(self) -> list[Version]:
        return [Version(blob.name, blob.etag, blob.last_modified, blob.size) for blob in self.blobs]


class BackupRequest(_Message):
    """Asks for verified backups of versions. `reason` says why an earlier attempt failed."""

    kind: Literal["backup"] = "backup"
    reason: str | None = None


class RunFollowUp(_Message):
    """Follows a pipeline run that copies versions, until it has ended."""

    kind: Literal["run"] = "run"
    run_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,64}$")]
    request_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    started_at: Annotated[str, AfterValidator(_second)]


class Scan(_Asked):
    """Asks for one shard of a reconciliation, by its number in the container's plan; done as often as it comes."""

    kind: Literal["scan"] = "scan"
    run_id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    shard: Annotated[int, Field(ge=0)]
    reason: str | None = None
    traceparent: Traceparent = None


Message = BackupRequest | RunFollowUp
"""A message about versions."""

Queued = Message | Scan
"""Any message of the queue."""

Traced = TypeVar("Traced", bound=_Asked)

_QUEUED: TypeAdapter[Queued] = TypeAdapter(Annotated[Queued, Field(discriminator="kind")])


def decode(body: bytes) -> Queued:
    """The message in a queue message's body (its base64 already undone by the Functions host).

    Raises:
        MessageError: it is not a message of a schema that is known; the text says where.
    """
    try:
        return _QUEUED.validate_json(body)
    except ValidationError as invalid:
        error = invalid.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in error["loc"]) or "body"
        raise MessageError(f"not a request of schema 1: {place}: {error['msg']}") from None


def encode(message: Queued) -> bytes:
    """The message as JSON in UTF-8, before base64.

    Raises:
        MessageError: larger than a queue takes.
    """
    values = message.model_dump(by_alias=True, exclude_none=True)
    ordered = {"schema": values.pop("schema"), "kind": values.pop("kind")} | values
    body = json.dumps(ordered, ensure_ascii=False, separators=(",", ":")).encode()
    if len(body) > MAX_MESSAGE_BYTES:
        raise MessageError(f"a request of {len(body)} bytes is over the {MAX_MESSAGE_BYTES} a queue message holds")
    return body


def requests(
    container: str, versions: Iterable[Version], requested_at: str, attempt: int = 1
) -> Iterator[BackupRequest]:
    """As few requests for all the versions as the limits of a message allow, in order."""
    room = MAX_MESSAGE_BYTES - _ROOM_BYTES
    batch: list[Version] = []
    used_bytes = copied_bytes = 0
    for version in versions:
        version_bytes = (
            len(json.dumps(_as_blob(version).model_dump(), ensure_ascii=False, separators=(",", ":")).encode()) + 1
        )
        too_much = used_bytes + version_bytes > room or copied_bytes + version.size > MAX_COPIED_BYTES
        if batch and too_much:
            yield request(container, batch, requested_at, attempt)
            batch, used_bytes, copied_bytes = [], 0, 0
        batch.append(version)
        used_bytes += version_bytes
        copied_bytes += version.size
    if batch:
        yield request(container, batch, requested_at, attempt)


def traced(message: Traced, traceparent: str | None) -> Traced:
    """The message as a part of this trace; without one, of schema 1, whatever trace it came with."""
    schema = SCHEMA if traceparent is None else TRACED_SCHEMA
    return message.model_copy(update={"schema_": schema, "traceparent": traceparent})


def request(
    container: str, versions: Sequence[Version], requested_at: str, attempt: int = 1, reason: str | None = None
) -> BackupRequest:
    """One request for these versions; `reason` is cut to what a message and a reader can bear."""
    return BackupRequest(
        schema=SCHEMA,
        container=container,
        attempt=attempt,
        requested_at=requested_at,
        blobs=[_as_blob(version) for version in versions],
        reason=reason[:_MAX_REASON_CHARACTERS] if reason else None,
    )


def scan(
    container: str, run_id: str, shard: int, requested_at: str, attempt: int = 1, reason: str | None = None
) -> Scan:
    """The message that has one shard of a run's plan gone through."""
    return Scan(
        schema=SCHEMA,
        container=container,
        attempt=attempt,
        requested_at=requested_at,
        run_id=run_id,
        shard=shard,
        reason=reason[:_MAX_REASON_CHARACTERS] if reason else None,
    )


def follow_up(
    asked: BackupRequest, versions: Sequence[Version], run_id: str, request_id: str, started_at: str
) -> RunFollowUp:
    """What makes `backup` look at a run that copies these versions of a request."""
    return RunFollowUp(
        schema=SCHEMA,
        container=asked.container,
        attempt=asked.attempt,
        requested_at=asked.requested_at,
        blobs=[_as_blob(version) for version in versions],
        run_id=run_id,
        request_id=request_id,
        started_at=started_at,
    )


def _as_blob(version: Version) -> _Blob:
    return _Blob.model_construct(
        name=version.name, etag=version.etag, last_modified=version.last_modified, size=version.size
    )

"""Reads what stands in the queues for people: what each message asks for, and what may become of a poison one."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

from shared.decisions.messages import BackupRequest, Queued, Scan, decode, encode, request
from shared.errors import MessageError, printable
from shared.model import QueuedMessage, second_of

MAX_EXCERPT_CHARACTERS = 120
SHOWN_NAMES = 3


@dataclass(frozen=True)
class Inspected:
    """A queued message, and what it asks for; `malformed` says why where nothing can be made of it."""

    queued: QueuedMessage
    message: Queued | None
    malformed: str | None
    body: str

    @property
    def message_id(self) -> str:
        return self.queued.message_id

    def row(self) -> dict[str, Any]:
        """What a list tells of it."""
        queued, message = self.queued, self.message
        asked = message.versions if message and not isinstance(message, Scan) else []
        return {
            "id": queued.message_id,
            "queue": queued.queue,
            "kind": message.kind if message else None,
            "container": message.container if message else None,
            "blobs": len(asked),
            "names": [version.name for version in asked[:SHOWN_NAMES]],
            "attempt": message.attempt if message else None,
            "reason": message.reason if isinstance(message, BackupRequest | Scan) else None,
            "malformed": self.malformed,
            "excerpt": None if message else excerpt(self.body),
            "inserted_at": second_of(queued.inserted_at),
            "expires_at": second_of(queued.expires_at) if queued.expires_at else None,
        }

    def content(self) -> dict[str, Any]:
        """The whole message: the request as it is, or the text that is none."""
        if self.message is None:
            return {"text": self.body}
        content: dict[str, Any] = json.loads(encode(self.message))
        return content


def inspect(queued: QueuedMessage) -> Inspected:
    """What a message says, whatever somebody put there."""
    try:
        body = b64decode(queued.text, validate=True)
    except ValueError:
        return Inspected(queued, None, "not base64, which every request is", queued.text)
    try:
        return Inspected(queued, decode(body), None, "")
    except MessageError as error:
        return Inspected(queued, None, str(error), body.decode("utf-8", "backslashreplace"))


def excerpt(text: str) -> str:
    """The beginning of a text, on one line and harmless to a terminal."""
    cut = text[:MAX_EXCERPT_CHARACTERS]
    return printable(cut) + ("..." if len(text) > len(cut) else "")


def replay_refusal(inspected: Inspected, *, protected: bool) -> str | None:
    """Why this message must not be asked for again, and what to do with it; None when it may be.

    Args:
        protected: the settings let the message's container be protected.
    """
    show = f"look at it with `snapkeep requests show {inspected.message_id}`"
    discard = f"`snapkeep requests discard {inspected.message_id} --reason TEXT`"
    if inspected.message is None:
        return f"{inspected.malformed}; nobody can carry it out: {show}, and then {discard}"
    if not protected:
        return (
            f"container {inspected.message.container!r} is excluded by the settings: change "
            f"SNAPKEEP_INCLUDE_CONTAINERS or SNAPKEEP_EXCLUDE_CONTAINERS and replay it then, or {discard}"
        )
    return None


def replayed(message: Queued) -> Queued:
    """The same asked for as if for the first time.

    A follow-up of a pipeline run becomes a request, too: the run that it followed has ended long ago.
    """
    if isinstance(message, Scan):
        return message.model_copy(update={"attempt": 1, "reason": None})
    return request(message.container, message.versions, message.requested_at)

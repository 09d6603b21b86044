"""A blob that is to be written, a backup or a restored one: where, over what, and what goes onto it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from azure.core import MatchConditions
from azure.storage.blob.aio import BlobClient

from shared.adapters.accounts import Account
from shared.decisions.restored import RESTORING


@dataclass(frozen=True)
class Target:
    """A blob that is to be written: where, over what, and what goes onto it besides the content.

    Attributes:
        replaces: the ETag of the blob that is overwritten; None where nothing may stand.
        replaced_type: that blob's type; empty where nothing stands.
        restoring: what tells this restore of this version from any other attempt, in ASCII. Empty for a
            backup, whose name tells its version.
    """

    account: Account
    container: str
    name: str
    metadata: dict[str, str]
    tags: dict[str, str]
    replaces: str | None = None
    replaced_type: str = ""
    restoring: str = ""

    @property
    def client(self) -> BlobClient:
        return self.account.blob(self.container, self.name)

    @property
    def write_once(self) -> bool:
        return self.replaces is None

    @property
    def condition(self) -> dict[str, Any]:
        """What the write that makes the blob appear is conditional on."""
        if self.replaces is None:
            return {"match_condition": MatchConditions.IfMissing}
        return if_still(self.replaces)

    @property
    def condition_headers(self) -> dict[str, str]:
        """The same, for a call that is not the SDK's."""
        return {"If-None-Match": "*"} if self.replaces is None else {"If-Match": quoted(self.replaces)}

    @property
    def metadata_until_whole(self) -> dict[str, str]:
        """What a blob that is written piece by piece holds until its last piece is in.

        A restored one holds the mark alone: beside all of a version's own metadata there may be no room for it.
        """
        return {RESTORING: self.restoring} if self.restoring else self.metadata


def if_still(etag: str) -> dict[str, Any]:
    """The condition that the blob still has this ETag, given with quotes or without."""
    return {"etag": quoted(etag), "match_condition": MatchConditions.IfNotModified}


def quoted(etag: str) -> str:
    return '"{}"'.format(etag.strip('"'))


def given(**arguments: Any) -> dict[str, Any]:
    """The arguments that have a value: the SDK takes some only where they mean something."""
    return {name: value for name, value in arguments.items() if value is not None}

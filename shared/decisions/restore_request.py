"""What somebody asked to have restored, and the job that it means; asked for twice, it is known again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal

from shared.containers import (
    BACKUP_SUFFIX,
    MAX_CONTAINER_CHARACTERS,
    backup_container,
    is_container_name,
    is_system_container,
)
from shared.decisions.moments import parse_moment
from shared.decisions.restoring import Job, Mode
from shared.errors import BadParameter, ContainerExcluded
from shared.model import moment_of

DIGEST_CHARACTERS = 10


@dataclass(frozen=True)
class Arguments:
    """A restore as it was asked for: what was not said is empty.

    Attributes:
        at: the moment in the words that were used.
        directory: an absolute path.
    """

    container: str
    prefix: str = ""
    names: tuple[str, ...] = ()
    at: str = ""
    to: str = ""
    to_account: Literal["", "source", "backup"] = ""
    in_place: bool = False
    directory: str = ""
    overwrite: bool = False
    origin: Literal["auto", "snapshots", "backups"] = "auto"
    include_deleted: bool = False
    delete_newer: bool = False
    rehydrate: Literal["", "standard", "high"] = ""

    def check(self, *, has_source: bool) -> None:
        """Whether the arguments go together, and with the accounts that are configured.

        Raises:
            BadParameter, ContainerExcluded: they do not; the message says why.
        """
        if is_system_container(self.container):
            raise ContainerExcluded(f"container: {self.container!r} is a system container, which is never protected")
        if not is_container_name(self.container):
            raise BadParameter(
                f"container: expects 3 to 63 of a-z, 0-9 and single hyphens; got {self.container[:80]!r}"
            )
        if len(backup_container(self.container)) > MAX_CONTAINER_CHARACTERS:
            raise BadParameter(f"container: {self.container!r} is too long to have a backup container")
        targets = [option for option, given in self._targets() if given]
        for wrong, message in (
            (self.prefix and self.names, "--prefix and --name exclude each other: give one of them"),
            ("" in self.names, "--name: expects a blob's name; got an empty one"),
            (not all(map(_is_text, (self.prefix, *self.names))), "--name and --prefix: expect text in UTF-8"),
            (len(targets) > 1, f"{' and '.join(targets)} exclude each other: give one of them"),
            (self.delete_newer and not self.in_place, "--delete-newer is for --in-place alone"),
            (self.overwrite and not self.directory, "--overwrite is for --to-directory alone: no blob is overwritten"),
            (
                self.to_account and (self.in_place or self.directory),
                "--to-account says where a container is made: it does not go with --in-place or --to-directory",
            ),
            (
                not has_source and (self.in_place or self.origin == "snapshots" or self.to_account == "source"),
                "--in-place, --from snapshots and --to-account source need the source account: set SourceStorage",
            ),
        ):
            if wrong:
                raise BadParameter(message)

    def _targets(self) -> list[tuple[str, object]]:
        return [("--to", self.to), ("--in-place", self.in_place), ("--to-directory", self.directory)]

    def digest(self, accounts: Sequence[str]) -> str:
        """The same for the same arguments and accounts alone, however names were ordered.

        At which priority blobs are rehydrated is left out: who waited for that asks again, in whichever words.
        """
        canonical = asdict(self) | {"names": sorted(set(self.names)), "rehydrate": "", "accounts": list(accounts)}
        text = json.dumps(canonical, ensure_ascii=False, sort_keys=True)
        return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_CHARACTERS]

    def job(self, now: datetime, service_now: str, *, has_source: bool) -> Job:
        """What is to be done.

        Args:
            now: by this machine's clock; it only tells, with the service's, what lies in the future.
            service_now: by the storage service's clock, which stamps the versions: the moment where none was named,
                and what "2 hours ago" is counted from.

        Raises:
            BadParameter: the moment, or the target, is none that can be.
        """
        stamping = moment_of(service_now)
        latest = max(now, stamping)  # whichever clock is ahead: a version's own time is never refused
        at = parse_moment(self.at.strip() or "now", stamping, latest)
        account: Literal["source", "backup"] = "source"
        if not self.in_place and (self.to_account == "backup" or not has_source):
            account = "backup"
        return Job(
            container=self.container,
            at=at,
            mode=self._mode(),
            target=self._target(account, service_now),
            target_account=account,
            prefix=self.prefix,
            names=tuple(sorted(set(self.names))),
            origin=self.origin if has_source else "backups",
            include_deleted=self.include_deleted,
            delete_newer=self.delete_newer,
            overwrite=self.overwrite,
            rehydrate=self.rehydrate,
        )

    def _mode(self) -> Mode:
        if self.in_place:
            return Mode.IN_PLACE
        return Mode.DIRECTORY if self.directory else Mode.CONTAINER

    def _target(self, account: str, service_now: str) -> str:
        if self.in_place or self.directory:
            return self.directory or self.container
        target = self.to or default_target(self.container, service_now)
        if not is_container_name(target):
            raise BadParameter(f"--to: expects 3 to 63 of a-z, 0-9 and single hyphens; got {target[:80]!r}")
        if is_system_container(target):
            raise BadParameter(f"--to: {target!r} is a system container; name another")
        if account == "backup" and target.endswith(BACKUP_SUFFIX):
            raise BadParameter(
                f"--to: {target!r} ends in {BACKUP_SUFFIX!r} as the backup containers of that account do; name another"
            )
        return target


def default_target(container: str, now: str) -> str:
    """`<container>-restored-<now>`, the container's name cut where that would be too long for the service."""
    suffix = f"-restored-{_compact(now)}"
    return container[: MAX_CONTAINER_CHARACTERS - len(suffix)].rstrip("-") + suffix


def job_id(begun_at: str, digest: str) -> str:
    """The name of one restore: when it began, and what was asked for."""
    return f"{_compact(begun_at)}-{digest}"


def begun_at(identity: str) -> str | None:
    """When the restore of this name began; None where it is no such name."""
    stamp = identity.partition("-")[0].upper()
    second = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:11]}:{stamp[11:13]}:{stamp[13:]}"
    try:
        moment_of(second)
    except ValueError:
        return None
    return second


def _is_text(given: str) -> bool:
    """Whether it can be a blob's name: bytes on a command line that are not UTF-8 arrive as halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in given)


def _compact(second: str) -> str:
    return second.replace("-", "").replace(":", "").lower()

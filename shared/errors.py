"""Every error that Snapkeep raises on purpose, by what is right to do about it.

`Unprotectable` is reported and never retried; a `MessageError` ends in the poison queue; all else is
retried, five times. What HTTP answers (`code`, `http_status`) and the command line's exit codes hang on
the same classes, so that there is one place where an error gets its meaning.
"""

from typing import Any

from shared.model import Reason

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def printable(text: str) -> str:
    """The text on one line, without what moves a terminal's cursor: names of blobs may hold anything."""
    return text.translate(_CONTROLS)


class SnapkeepError(Exception):
    """An error whose message is written for the user: what is wrong, and what to do; on one line."""

    code = "Failed"
    http_status = 500
    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class SettingsError(SnapkeepError):
    """One or more settings are missing or malformed; the message names every one of them, one a line."""

    code = "BadSettings"
    exit_code = 2

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)


class BadParameter(SnapkeepError):
    """A caller's parameter is missing, malformed or unknown."""

    code = "BadParameter"
    http_status = 400
    exit_code = 2


class ContainerExcluded(SnapkeepError):
    """The settings, or the platform's own rules, keep this container out."""

    code = "ContainerExcluded"
    http_status = 403
    exit_code = 2


class ContainerNotFound(SnapkeepError):
    """The container does not exist in the account that was asked."""

    code = "ContainerNotFound"
    http_status = 404


class MessageError(SnapkeepError):
    """A queue message that can never be carried out: it belongs in the poison queue."""


class StorageFailed(SnapkeepError):
    """The storage service failed, refused or could not be reached, after retries."""

    code = "StorageFailed"
    http_status = 502


class InventoryUnusable(SnapkeepError):
    """A Blob Inventory is missing, old, damaged, or does not hold what is needed; the message says what to do."""


class DataFactoryFailed(SnapkeepError):
    """Data Factory failed, refused or could not be reached.

    Attributes:
        run_may_exist: the answer was lost or unclear, so that a call to start a run may have done so.
    """

    def __init__(self, message: str, *, run_may_exist: bool = False) -> None:
        super().__init__(message)
        self.run_may_exist = run_may_exist


class ServiceUnavailable(StorageFailed):
    """The storage service did not answer, was too busy, or failed by itself: nothing is wrong with what was asked."""


class AlreadyRunning(SnapkeepError):
    """Another instance is doing this very work; nothing was done here."""


class BackupContainerGone(SnapkeepError):
    """A backup container existed and does not any more.

    It is never created again on its own: the new one would lack the old one's immutability policy.
    """


class BlobGone(SnapkeepError):
    """The blob, or the snapshot, that a call names does not exist (any more)."""


class BlobChanged(SnapkeepError):
    """A conditional call found another ETag than the one it was made for."""


class BackupExists(SnapkeepError):
    """A write-once call found a blob under that name: compare it before anything else."""


class LeaseUnavailable(SnapkeepError):
    """A lease could not be had, or was lost: somebody else holds or broke it."""


class BackupConflict(SnapkeepError):
    """Another blob than this version's backup stands under its name. It is left untouched."""


class CopyUnverified(SnapkeepError):
    """A copy ended, but is not provably the version that was asked for."""


class Throttled(SnapkeepError):
    """A service asks to come back later.

    Attributes:
        retry_after_seconds: how long it asks to wait.
    """

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Unprotectable(SnapkeepError):
    """This version cannot be copied as it stands, however often it is tried: it is reported.

    Attributes:
        reason: why, as it stands in the reports.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class AzcopyUnusable(SnapkeepError):
    """azcopy cannot be run as things are: it is missing, broken, or has no room; nothing was copied."""


class DirectoryUnusable(SnapkeepError):
    """No more files can be written to the directory that a restore goes to: it is full, gone, or not writable."""


class FileRefused(SnapkeepError):
    """What stands under a file's name, or on the way to it, is not touched."""


class SyncFailed(SnapkeepError):
    """A mirror is not what its source is, or could not be made; the message names the pairs and reasons.

    Attributes:
        report: the run's report, as it was written to the state.
    """

    def __init__(self, message: str, report: dict[str, Any]) -> None:
        super().__init__(message)
        self.report = report

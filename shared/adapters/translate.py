"""Turns the errors of Azure's clients into the project's own, in one place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from azure.core.exceptions import AzureError, HttpResponseError

from shared.errors import (
    BackupExists,
    BlobChanged,
    BlobGone,
    ContainerNotFound,
    LeaseUnavailable,
    ServiceUnavailable,
    SnapkeepError,
    StorageFailed,
    Unprotectable,
)
from shared.model import Reason

_ARCHIVED = {"BlobArchived", "BlobBeingRehydrated"}
_CUSTOMER_KEY = {"BlobUsesCustomerSpecifiedEncryption", "BlobDoesNotUseCustomerSpecifiedEncryption"}
_EXISTS = {"BlobAlreadyExists", "BlobImmutableDueToPolicy", "UnauthorizedBlobOverwrite", "TargetConditionNotMet"}
_NO_CONTAINER = {"ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"}


@contextlib.contextmanager
def azure_errors(doing: str, *, write_once: bool = False) -> Iterator[None]:
    """Raises the project's error for any of Azure's that comes out of the block.

    Args:
        doing: what is being done, for the message: "snapshot a/b.csv". Never a URL: it may hold a SAS.
        write_once: the block makes a call with `If-None-Match: *`, whose refusal means that the blob exists.
    """
    try:
        yield
    except HttpResponseError as error:
        raise answered_error(error.status_code or 0, _code(error), doing, write_once=write_once) from error
    except AzureError as error:
        raise ServiceUnavailable(f"{doing}: no answer from the service ({type(error).__name__})") from error


def answered_error(status: int, code: str, doing: str, *, write_once: bool = False) -> SnapkeepError:
    """The project's error for an answer of this status and error code (`x-ms-error-code`); else as `azure_errors`."""
    text = f"{doing}: {status} {code}"
    if code in _NO_CONTAINER:
        return ContainerNotFound(text)
    if code in _ARCHIVED:
        return Unprotectable(Reason.ARCHIVED, f"{text}: rehydrate the blob to have it backed up")
    if code in _CUSTOMER_KEY:
        return Unprotectable(Reason.CUSTOMER_KEY, f"{text}: only its writer's key can read it")
    if write_once and (code in _EXISTS or (status == 412 and code == "ConditionNotMet")):
        return BackupExists(text)
    if code.startswith("Lease") and status in {409, 412}:
        return LeaseUnavailable(f"{text}: somebody else holds, broke or changed the lease")
    if status in {412, 304}:
        return BlobChanged(text)
    if status == 404:
        return BlobGone(text)
    if status in {401, 403}:
        return StorageFailed(f"{text}: the app's identity, key or SAS does not allow this; see README, permissions")
    if status >= 500 or status == 429:
        return ServiceUnavailable(text)
    return StorageFailed(text)


def _code(error: HttpResponseError) -> str:
    code = getattr(error, "error_code", None)
    if code is None:
        code = getattr(error.response, "headers", {}).get("x-ms-error-code")
    return str(getattr(code, "value", code) or "no error code")

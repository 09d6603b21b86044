"""Confirms that a blob or a container of the source account does not exist, by the service's own clock."""

from __future__ import annotations

from typing import Any

from azure.core.exceptions import HttpResponseError
from azure.core.pipeline import PipelineResponse
from azure.storage.blob import BlobProperties

from shared.adapters.accounts import Account
from shared.adapters.translate import azure_errors
from shared.errors import StorageFailed
from shared.model import second_of_http_date

_MISSING = {"BlobNotFound", "ContainerNotFound"}
"""The answers that tell of an absence. Any other 404 may come from a proxy, a wrong address or a disabled account."""


async def absent_at(account: Account, container: str, name: str | None = None) -> str | None:
    """When the service answered that there is no such blob, or (without a name) no such container.

    None when there is one. A directory of a hierarchical namespace is no blob: where it stands, the blob of its
    name is gone.

    Raises:
        BlobGone: no call can be made for a blob of this name.
        SnapkeepError: anything else was answered, or nothing: it is not known whether it exists.
    """
    date = ""

    def remember(response: PipelineResponse[Any, Any]) -> None:
        nonlocal date
        date = response.http_response.headers.get("Date", "")

    what = container if name is None else f"{container}/{name}"
    with azure_errors(f"look for {what}"):
        try:
            if name is None:
                client = account.service.get_container_client(container)
                await client.get_container_properties(raw_response_hook=remember)
                return None
            blob = account.blob(container, name)
            if not _is_directory(await blob.get_blob_properties(raw_response_hook=remember)):
                return None
        except HttpResponseError as error:
            if error.status_code != 404 or _code(error) not in _MISSING:
                raise
    try:
        return second_of_http_date(date)
    except ValueError as error:
        raise StorageFailed(f"look for {what}: an answer's Date is {error}") from error


def _is_directory(found: BlobProperties) -> bool:
    metadata = {key.lower(): value for key, value in (found.metadata or {}).items()}
    return metadata.get("hdi_isfolder", "").lower() == "true"


def _code(error: HttpResponseError) -> str:
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code))

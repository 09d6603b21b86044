"""What a restore does besides writing blobs: makes a container, deletes blobs, rehydrates archived ones.

Everything is conditional on the ETag that was looked at, but for rehydrating: Set Blob Tier takes no such condition,
so that the blob is looked at right before. Writing is `shared.adapters.copying`'s.
"""

from __future__ import annotations

from typing import Literal

from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.storage.blob import RehydratePriority, StandardBlobTier

from shared.adapters.accounts import Account
from shared.adapters.target import if_still
from shared.adapters.translate import azure_errors
from shared.model import BlobState

_PRIORITIES = {"standard": RehydratePriority.STANDARD, "high": RehydratePriority.HIGH}


async def container_exists(account: Account, container: str) -> bool:
    with azure_errors(f"look at {container}"):
        return bool(await account.service.get_container_client(container).exists())


async def create_container(account: Account, container: str) -> None:
    """Creates a container; one that is there by now is fine."""
    with azure_errors(f"create {container}"):
        try:
            await account.service.get_container_client(container).create_container()
        except ResourceExistsError as error:
            # One that is being deleted also "exists", for the SDK.
            if getattr(error, "error_code", None) != "ContainerAlreadyExists":
                raise


async def delete_blob(
    account: Account, container: str, name: str, etag: str, *, snapshots: Literal["include"] | None = None
) -> None:
    """Deletes a blob (or an empty directory), if it still has this ETag.

    Args:
        snapshots: whether its snapshots go with it; without, the service refuses to delete a blob that has some.

    Raises:
        BlobChanged: it is another one by now.
        BlobGone: it does not exist any more.
    """
    with azure_errors(f"delete {container}/{name}"):
        await account.blob(container, name).delete_blob(delete_snapshots=snapshots, **if_still(etag))


async def rehydrate(
    account: Account, container: str, archived: BlobState, priority: Literal["standard", "high"]
) -> None:
    """Has the service make an archived blob (never a snapshot) readable again; content, metadata and ETag stay."""
    blob = account.blob(container, archived.version.name)
    with azure_errors(f"rehydrate {container}/{archived.version.name}"):
        await blob.get_blob_properties(**if_still(archived.version.etag))
        try:
            await blob.set_standard_blob_tier(StandardBlobTier.HOT, rehydrate_priority=_PRIORITIES[priority])
        except HttpResponseError as error:
            if getattr(error, "error_code", None) != "BlobBeingRehydrated":  # an earlier run has asked for it
                raise

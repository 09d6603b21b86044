"""Containers in the backup account that a drill restores into, and that are deleted afterwards with all they hold.

Deleting a container is what this product must never do to any other. So it is done only to one that has the
name of a drill's and says in its metadata that it is one.
"""

from __future__ import annotations

from datetime import datetime

from azure.storage.blob import ContainerProperties

from shared.adapters.accounts import Account
from shared.adapters.translate import azure_errors
from shared.containers import DRILL_PREFIX
from shared.errors import ContainerNotFound, SnapkeepError

MARK = "snapkeep_drill"


class NotScratch(SnapkeepError):
    """The container is not one that a drill made: it is left alone."""


async def create_scratch(account: Account, run_id: str) -> str:
    """Creates the scratch container of a run; gives its name."""
    name = f"{DRILL_PREFIX}{run_id}"
    with azure_errors(f"create {name}"):
        await account.service.create_container(name, metadata={MARK: run_id})
    return name


async def remove_scratch(account: Account, name: str) -> None:
    """Deletes a scratch container; one that is gone already is fine.

    Raises:
        NotScratch: it is none.
    """
    client = account.service.get_container_client(name)
    try:
        with azure_errors(f"look at {name}"):
            found = await client.get_container_properties()
        if not _is_scratch(found):
            raise NotScratch(f"{name} was not made by a drill: it is left as it is")
        with azure_errors(f"delete {name}"):
            await client.delete_container()
    except ContainerNotFound:
        return


async def left_behind(account: Account, before: datetime) -> list[str]:
    """Scratch containers that were made before that time: their drills crashed."""
    with azure_errors("list the backup account's containers"):
        found = account.service.list_containers(name_starts_with=DRILL_PREFIX, include_metadata=True)
        return [one.name async for one in found if _is_scratch(one) and one.last_modified < before]


def _is_scratch(found: ContainerProperties) -> bool:
    metadata = {key.lower(): value for key, value in (found.metadata or {}).items()}
    return found.name == f"{DRILL_PREFIX}{metadata.get(MARK)}"

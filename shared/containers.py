"""The rules for names of containers and queues, and which containers are whose."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

MAX_CONTAINER_CHARACTERS = 63
BACKUP_SUFFIX = "bak"
STATE_CONTAINER = "snapkeep-state"
STAGING_CONTAINER = "snapkeep-staging"
DRILL_PREFIX = "snapkeep-drill-"
"""What the scratch containers of drills are called, before the drill's id."""

POISON_SUFFIX = "-poison"
"""What the Functions host appends to a queue's name for the messages that it gives up on."""

_NAME = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(-[a-z0-9]+)*")
_PLATFORM_CONTAINERS = ("azure-webjobs-*", "azure-pipelines-*", STATE_CONTAINER, STAGING_CONTAINER, f"{DRILL_PREFIX}*")


def is_container_name(name: str) -> bool:
    """Whether `name` obeys the service's rules for a container: 3 to 63 of a-z, 0-9 and single hyphens."""
    return _NAME.fullmatch(name) is not None


def is_queue_name(name: str) -> bool:
    """Whether a queue may have this name, and its poison queue too: the same rules as for containers."""
    return all(_NAME.fullmatch(each) for each in (name, name + POISON_SUFFIX))


def is_system_container(name: str) -> bool:
    """Whether the container belongs to the platform or to Snapkeep: such a one is always left alone."""
    return name.startswith("$") or any(fnmatchcase(name, glob) for glob in _PLATFORM_CONTAINERS)


def backup_container(container: str) -> str:
    """The container in the backup account that holds the versions of `container`'s blobs."""
    return container + BACKUP_SUFFIX

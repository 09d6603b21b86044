"""What the README promises of a backup (How the pieces fit), written down a second time.

Nothing of this comes from `shared/`: a check that used the product's own formula would call any name right.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import unquote

MAX_NAME_UNITS = 1024
ETAG, LAST_MODIFIED, NAME = "snapkeep_source_etag", "snapkeep_source_last_modified", "snapkeep_source_name"
STAGING, STATE = "snapkeep-staging", "snapkeep-state"


def backup_container(container: str) -> str:
    """Where the backups of a container's blobs are, and by default its mirror."""
    return f"{container}bak"


def backup_name(name: str, etag: str, last_modified: datetime) -> str:
    """`<name>/<Last-Modified>-<ETag><extension>`, with the name's hash in place of one that makes this too long."""
    version = f"{last_modified.astimezone(UTC):%Y%m%dT%H%M%SZ}-{etag}"
    by_hash = f".snapkeep/long/{sha256(name.encode()).hexdigest()}/{version}"
    extension = _extension(name)
    names = (f"{name}/{version}{extension}", f"{by_hash}{extension}", by_hash)
    return next(candidate for candidate in names if _fits(candidate))


def says_its_version(metadata: Mapping[str, str], name: str, etag: str, last_modified: datetime) -> bool:
    """Whether the metadata that Snapkeep adds names this version."""
    try:
        moment = datetime.fromisoformat(metadata[LAST_MODIFIED])
    except (KeyError, ValueError):
        return False
    return metadata.get(ETAG) == etag and moment == last_modified and unquote(metadata.get(NAME, "")) == name


def _extension(name: str) -> str:
    """From the last dot of the last segment on, if there is something on both sides of it."""
    stem, dot, extension = name.rpartition("/")[2].rpartition(".")
    return f".{extension}" if dot and extension and stem.strip(".") else ""


def _fits(name: str) -> bool:
    """Whether the service takes the name: it counts in UTF-16 units, and at most 254 segments."""
    return len(name.encode("utf-16-le")) // 2 <= MAX_NAME_UNITS and name.count("/") < 254

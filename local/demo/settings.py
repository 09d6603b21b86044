"""The settings that the demo gives the app: all that matter, so that nobody's own settings change the story."""

from datetime import UTC, datetime
from itertools import product

from local.demo.material import DATA_FACTORY_MIN_BYTES
from local.demo.stage import QUEUE
from local.demo.story import MIRRORED
from local.programs import azcopy

_CONNECTIONS = ("SourceStorage", "BackupStorage", "BackupQueue", "AzureWebJobsStorage")
_IDENTITY = (
    *("blobServiceUri", "queueServiceUri", "dfsServiceUri", "accountName"),
    *("credential", "clientId", "tenantId", "clientSecret"),
)


def app_settings() -> dict[str, str]:
    """Environment variables for the local host; the stack adds its connections to them.

    An empty one counts as not set, for the app and in `local.settings.json`, which must not reach another
    account from here.
    """
    # Half a year away: the demo starts both functions by hand, and counts what they do.
    far_away = f"0 0 0 1 {(datetime.now(UTC).month + 5) % 12 + 1} *"
    return {
        **{f"{name}__{part}": "" for name, part in product(_CONNECTIONS, _IDENTITY)},
        "SNAPKEEP_BACKUP_QUEUE": QUEUE,
        "SNAPKEEP_INCLUDE_CONTAINERS": "*",
        "SNAPKEEP_EXCLUDE_CONTAINERS": "",
        "SNAPKEEP_ENGINE": "auto",
        "SNAPKEEP_ADF_MIN_BYTES": str(DATA_FACTORY_MIN_BYTES),
        "SNAPKEEP_ADF_PIPELINE": "backup_blobs",
        "SNAPKEEP_ADF_POLL_SECONDS": "1",
        "SNAPKEEP_HISTORY": "all",
        "SNAPKEEP_USE_LEASE": "false",
        "SNAPKEEP_SYNC_CONTAINERS": MIRRORED,
        "SNAPKEEP_SYNC_SCHEDULE": far_away,
        "SNAPKEEP_SYNC_DELETE": "false",
        "SNAPKEEP_RECONCILE_SCHEDULE": far_away,
        "AZCOPY_PATH": str(azcopy()),
    }

"""What each identity must be allowed to do, and the calls that need it; `infra/modules/roles-*.bicep` grants just that.

Rights are Azure's own names of actions and data actions. Which of them a call of the storage services needs:
learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory#permissions-for-blob-service-operations.
`CALLS` has every call of the SDKs that the adapters make, and `SENT` what they send past those: a test reads the
adapters, so that a new call cannot be shipped without its right.
"""

from __future__ import annotations

from collections.abc import Mapping

_CONTAINERS = "Microsoft.Storage/storageAccounts/blobServices/containers"
_QUEUES = "Microsoft.Storage/storageAccounts/queueServices/queues"
_FACTORY = "Microsoft.DataFactory/factories"

BLOB_SERVICE_READ = "Microsoft.Storage/storageAccounts/blobServices/read"
CONTAINERS_READ = f"{_CONTAINERS}/read"
CONTAINERS_WRITE = f"{_CONTAINERS}/write"
CONTAINERS_DELETE = f"{_CONTAINERS}/delete"
BLOBS_READ = f"{_CONTAINERS}/blobs/read"
BLOBS_ADD = f"{_CONTAINERS}/blobs/add/action"
BLOBS_WRITE = f"{_CONTAINERS}/blobs/write"
BLOBS_DELETE = f"{_CONTAINERS}/blobs/delete"
TAGS_READ = f"{_CONTAINERS}/blobs/tags/read"
TAGS_WRITE = f"{_CONTAINERS}/blobs/tags/write"
QUEUES_READ = f"{_QUEUES}/read"
QUEUES_WRITE = f"{_QUEUES}/write"
MESSAGES_READ = f"{_QUEUES}/messages/read"
MESSAGES_ADD = f"{_QUEUES}/messages/add/action"
MESSAGES_PROCESS = f"{_QUEUES}/messages/process/action"
MESSAGES_WRITE = f"{_QUEUES}/messages/write"
RUNS_CREATE = f"{_FACTORY}/pipelines/createRun/action"
PIPELINES_READ = f"{_FACTORY}/pipelines/read"
RUNS_READ = f"{_FACTORY}/pipelineruns/read"
RUNS_CANCEL = f"{_FACTORY}/pipelineruns/cancel/action"
RUNS_QUERY = f"{_FACTORY}/querypipelineruns/action"
RUNS_QUERY_READ = f"{_FACTORY}/querypipelineruns/read"

CALLS: Mapping[str, tuple[str, ...]] = {
    "acquire": (BLOBS_WRITE,),
    "append_block": (BLOBS_WRITE,),
    "cancel": (RUNS_CANCEL,),
    "commit_block_list": (BLOBS_WRITE,),
    "create_append_blob": (BLOBS_ADD,),
    "create_container": (CONTAINERS_WRITE,),
    "create_page_blob": (BLOBS_ADD,),
    "create_queue": (QUEUES_WRITE,),
    "create_run": (RUNS_CREATE,),
    "create_snapshot": (BLOBS_ADD,),
    "delete_blob": (BLOBS_DELETE,),
    "delete_container": (CONTAINERS_DELETE,),
    "delete_message": (MESSAGES_PROCESS,),
    "download_blob": (BLOBS_READ,),
    "exists": (CONTAINERS_READ,),
    "get_blob_properties": (BLOBS_READ,),
    "get_blob_tags": (TAGS_READ,),
    "get_block_list": (BLOBS_READ,),
    "get_container_properties": (CONTAINERS_READ,),
    "get_queue_properties": (QUEUES_READ,),
    "get_service_properties": (BLOB_SERVICE_READ,),
    "list_blob_names": (BLOBS_READ,),
    "list_blobs": (BLOBS_READ,),
    "list_containers": (CONTAINERS_READ,),
    "list_page_ranges": (BLOBS_READ,),
    "walk_blobs": (BLOBS_READ,),
    "peek_messages": (MESSAGES_READ,),
    "query_by_factory": (RUNS_QUERY, RUNS_QUERY_READ),
    "receive_message": (MESSAGES_PROCESS,),
    "release": (BLOBS_WRITE,),
    "receive_messages": (MESSAGES_PROCESS,),
    "renew": (BLOBS_WRITE,),
    "resize_blob": (BLOBS_WRITE,),
    "send_message": (MESSAGES_ADD,),
    "set_blob_metadata": (BLOBS_WRITE,),
    "set_blob_tags": (TAGS_WRITE,),
    "set_standard_blob_tier": (BLOBS_WRITE,),
    "stage_block": (BLOBS_WRITE,),
    "stage_block_from_url": (BLOBS_WRITE,),
    "start_copy_from_url": (BLOBS_ADD,),
    "update_message": (MESSAGES_WRITE,),
    "upload_blob": (BLOBS_ADD,),
    "upload_page": (BLOBS_WRITE,),
}
"""What a call needs where it makes something new; none of those that the app makes on backups overwrites."""

SENT: Mapping[tuple[str, str, str], tuple[str, ...]] = {
    ("HEAD", "look", ""): (BLOBS_READ,),
    ("POST", "message", ""): (MESSAGES_ADD,),
    ("PUT", "copy", ""): (BLOBS_ADD, TAGS_WRITE),
    ("PUT", "snapshot", "snapshot"): (BLOBS_ADD,),
}
"""The same of what is sent past the SDK (`shared.adapters.calls`): method, kind of call, and `comp` of its query."""

Rights = frozenset[str]

APP_ON_SOURCE: Rights = frozenset({CONTAINERS_READ, BLOBS_READ, BLOBS_ADD, TAGS_READ})
APP_ON_SOURCE_FOR_LEASES: Rights = frozenset({BLOBS_WRITE})
APP_ON_BACKUP: Rights = frozenset(
    {BLOB_SERVICE_READ, CONTAINERS_READ, CONTAINERS_WRITE, BLOBS_READ, BLOBS_ADD, BLOBS_WRITE, TAGS_READ, TAGS_WRITE}
)
APP_ON_STAGING: Rights = frozenset({BLOBS_DELETE})
"""In the container `snapkeep-staging` alone, and on top of what it may do in the whole account."""
APP_FOR_DRILLS: Rights = frozenset({CONTAINERS_DELETE})
"""While drills run in the app alone. Azure can confine it to no name, so it is off unless somebody asks for it."""
APP_FOR_MIRRORED_DELETIONS: Rights = frozenset({BLOBS_DELETE})
"""In the mirrors that SNAPKEEP_SYNC_CONTAINERS names, while SNAPKEEP_SYNC_DELETE is on."""
APP_ON_QUEUE: Rights = frozenset(
    {QUEUES_READ, QUEUES_WRITE, MESSAGES_READ, MESSAGES_ADD, MESSAGES_PROCESS, MESSAGES_WRITE}
)
APP_ON_FACTORY: Rights = frozenset({RUNS_CREATE, PIPELINES_READ, RUNS_READ, RUNS_CANCEL, RUNS_QUERY, RUNS_QUERY_READ})
FACTORY_ON_SOURCE: Rights = frozenset({CONTAINERS_READ, BLOBS_READ})
FACTORY_ON_STAGING: Rights = frozenset({CONTAINERS_READ, BLOBS_READ, BLOBS_ADD, BLOBS_WRITE})
RESTORER_ON_SOURCE: Rights = frozenset(
    {CONTAINERS_READ, CONTAINERS_WRITE, BLOBS_READ, BLOBS_ADD, BLOBS_WRITE, TAGS_READ, TAGS_WRITE}
)
RESTORER_ON_BACKUP: Rights = frozenset({CONTAINERS_READ, BLOBS_READ, TAGS_READ})

DATA_ACTIONS: Rights = frozenset(
    {
        *(BLOBS_READ, BLOBS_ADD, BLOBS_WRITE, BLOBS_DELETE, TAGS_READ, TAGS_WRITE),
        *(MESSAGES_READ, MESSAGES_ADD, MESSAGES_PROCESS, MESSAGES_WRITE),
    }
)
"""Those that stand under `dataActions` in a role; the others are `actions`."""

"""A local Azure Functions host: serves the app in a folder the way the platform does.

HTTP with keys, a storage queue with visibility, retries and a poison queue, and timers with a schedule
monitor and a lock across instances. What the platform does was read in the sources of azure-functions-host,
azure-webjobs-sdk, azure-webjobs-sdk-extensions, the storage queues extension and
azure-functions-python-worker; each module names where its behaviour comes from. Python apps of the v2 model
only.
"""

from local.host.errors import HostStartError
from local.host.host import FunctionsHost, HostOptions, run_host

__all__ = ["FunctionsHost", "HostOptions", "HostStartError", "run_host"]

"""A stack of a story's own: nobody else's containers, reports or poison messages have a bearing on it."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from local.app_environment import connections
from local.azurite import SPARE, connection_string
from tests.e2e.app import App, Queue, Ready, app_folder
from tests.e2e.command import Snapkeep
from tests.e2e.programs import Program

SETTINGS = {"SNAPKEEP_ENGINE": "server"}


class Ground:
    """The services, the app on them, and the command that a person runs against both."""

    def __init__(self, ready: Ready, app: App, work: Path) -> None:
        self.ready = ready
        self.app = app
        self._work = work

    def queue(self) -> Queue:
        return Queue(self.ready["queue"], self.app)

    def snapkeep(self, name: str, **others: str) -> Snapkeep:
        """The command with the settings of the app, and `others` in place of those of the same names."""
        settings = connections(self.ready) | SETTINGS | {"SNAPKEEP_BACKUP_QUEUE": self.app.name} | others
        return Snapkeep(self._work / name, settings)


@contextlib.contextmanager
def a_ground_of_ones_own(work: Path) -> Iterator[Ground]:
    """Starts services and a host, and stops them when the block ends."""
    work.mkdir()
    services = Program("services", environment=os.environ, log=work / "services.log")
    try:
        ready = services.wait_until_ready()
        app = App(ready, app_folder(work / "app"), work, visibility_seconds=600, settings=SETTINGS)
        try:
            app.start()
            yield Ground(ready, app, work)
        finally:
            app.stop()
    finally:
        services.stop()


def spare_account(ready: Ready) -> str:
    """The connection string of the account that the app does not know: a new and empty one, to a story."""
    blob, queue = re.findall(r"(?:Blob|Queue)Endpoint=http://[^:/]+:(\d+)", ready["source"])
    return connection_string(SPARE, int(blob), int(queue))

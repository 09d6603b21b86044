"""Which ports the local stack listens on: the well-known ones, a block of its own, or free ones.

A free port is asked for as port 0 and read back from the listener, so two stacks that start at the same
moment cannot choose the same one.
"""

import re
import socket
from dataclasses import astuple, dataclass

from local.errors import CommandFailed

LOOPBACK = "127.0.0.1"
DEFAULT_FUNCTIONS_PORT = 7071  # where `func start` listens as well


class PortTaken(CommandFailed):
    """Somebody else listens on a port that was asked for."""

    exit_code = 2

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is taken: stop what listens there, or choose another --port-base")
        self.port = port


@dataclass(frozen=True)
class ServicePorts:
    """The ports of everything but the app; 0 asks for a free one."""

    blob: int = 0
    queue: int = 0
    adf: int = 0
    azurite_blob: int = 0


DEFAULT_PORTS = ServicePorts(blob=10000, queue=10001, adf=10002, azurite_blob=10003)
FREE_PORTS = ServicePorts()
FUNCTIONS_OFFSET = len(astuple(FREE_PORTS))  # in a block of ports the app follows the services


def block_of_ports(base: int) -> ServicePorts:
    """The ports that `--port-base` asks for: blob, queue, data factory, Azurite's own blob port."""
    return ServicePorts(blob=base, queue=base + 1, adf=base + 2, azurite_blob=base + 3)


def first_taken(ports: ServicePorts) -> int | None:
    """The first of `ports` that cannot be listened on now, if any."""
    return next((port for port in astuple(ports) if not is_free(port)), None)


def is_free(port: int) -> bool:
    """Whether `port` can be listened on now. Servers set SO_REUSEADDR too: TIME_WAIT is no obstacle."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def taken_port_in(message: str) -> int | None:
    """The port in a message of Node's such as `listen EADDRINUSE: ... 127.0.0.1:10001`, if it is one."""
    found = re.search(r"EADDRINUSE\b.*:(\d+)", message)
    return int(found[1]) if found else None

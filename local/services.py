"""What the app needs, on this machine: storage behind its gateway, and the Data Factory stand-in."""

import contextlib
import errno
from collections.abc import AsyncIterator
from pathlib import Path

from local.azurite import BACKUP, SOURCE, Azurite, AzuriteFailed, connection_string
from local.datafactory import DataFactoryStandIn, DefinitionError
from local.errors import CommandFailed
from local.gateway import Gateway
from local.ports import DEFAULT_PORTS, FREE_PORTS, PortTaken, ServicePorts, first_taken

DEFINITIONS = Path(__file__).parent.parent / "infra/datafactory"


class Services:
    """The running services. `ready` is what the app needs to know of them."""

    def __init__(self, azurite: Azurite, ready: dict[str, str]) -> None:
        self._azurite = azurite
        self.ready = ready

    async def ended(self) -> None:
        """Wait for a service to end by itself, which none should. Raises AzuriteFailed."""
        raise AzuriteFailed(f"Azurite ended with exit code {await self._azurite.wait()}")


@contextlib.asynccontextmanager
async def running_services(data: Path | None = None, ports: ServicePorts | None = None) -> AsyncIterator[Services]:
    """Start the services, and stop them when the block ends.

    `ports` None: the well-known ones when all are free, else free ones. Raises PortTaken for given ports.
    `data`: the folder that Azurite keeps its data in; None for memory.
    """
    async with contextlib.AsyncExitStack() as stack:
        yield await _start(stack, data, ports)


async def _start(stack: contextlib.AsyncExitStack, data: Path | None, ports: ServicePorts | None) -> Services:
    if ports is not None:
        if (port := first_taken(ports)) is not None:
            raise PortTaken(port)
        return await _start_on(stack, data, ports)
    if first_taken(DEFAULT_PORTS) is None:
        # Somebody may take one of them before we do: another stack that starts at the same moment.
        with contextlib.suppress(PortTaken):
            async with contextlib.AsyncExitStack() as attempt:
                services = await _start_on(attempt, data, DEFAULT_PORTS)
                stack.push_async_callback(attempt.pop_all().aclose)
                return services
    return await _start_on(stack, data, FREE_PORTS)


async def _start_on(stack: contextlib.AsyncExitStack, data: Path | None, ports: ServicePorts) -> Services:
    azurite = Azurite(data)
    await azurite.start(ports.azurite_blob, ports.queue)
    stack.push_async_callback(azurite.stop)
    gateway = Gateway(azurite.blob_port)
    await gateway.start(ports.blob)
    stack.push_async_callback(gateway.stop)
    source, backup = (connection_string(account, gateway.port, azurite.queue_port) for account in (SOURCE, BACKUP))
    try:
        data_factory = DataFactoryStandIn(DEFINITIONS, {"SourceStorage": source, "BackupStorage": backup})
    except DefinitionError as error:
        raise CommandFailed(f"the Data Factory definitions cannot be used: {error}") from error
    stack.push_async_callback(data_factory.stop)
    try:
        await data_factory.start(ports.adf)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise PortTaken(ports.adf) from error
    ready = {"source": source, "backup": backup, "queue": backup, "adf": data_factory.url}
    return Services(azurite, ready)

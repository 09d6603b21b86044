"""The gateway in front of Azurite's blob service: what Azurite lacks and azcopy and the app need.

- Put Blob From URL, and Put Block From URL from any source of the stack (copying.py);
- listings with snapshots whose pages lose nothing (listing.py).

It counts what passes (transactions.py). Everything else passes through as it came, byte for byte. It speaks to
Azurite on loopback only.
"""

from local.azurite import ACCOUNT_KEYS
from local.gateway.copying import FromUrl, is_from_url
from local.gateway.listing import SnapshotListing, is_listing_with_snapshots
from local.gateway.messages import Request, Response
from local.gateway.relay import Relay, Upstream
from local.gateway.signing import Signer
from local.gateway.transactions import Transactions

__all__ = ["Gateway"]


class Gateway:
    """Listens on `port` once started, and speaks to the blob service at `azurite_blob_port`."""

    def __init__(self, azurite_blob_port: int) -> None:
        self._signer = Signer(ACCOUNT_KEYS)
        self._upstream = Upstream(azurite_blob_port)
        self._listing = SnapshotListing(self._upstream, self._signer)
        self._relay = Relay(self._answer)
        self.transactions = Transactions()

    @property
    def port(self) -> int:
        return self._relay.port

    async def start(self, port: int = 0) -> None:
        """Listen on `port`, 0 for a free one. Raises PortTaken."""
        await self._relay.start(port)
        self._from_url = FromUrl(self._upstream, self._signer, self.port)

    async def stop(self) -> None:
        await self._relay.stop()
        self._upstream.close()

    async def _answer(self, request: Request) -> Response:
        if (controlled := self.transactions.control(request)) is not None:
            return controlled
        self.transactions.count(request)
        # A request that is signed wrongly goes on untouched, so that the service refuses it in its own words.
        if is_from_url(request) and self._signer.accepts(request):
            return await self._from_url.answer(request)
        if is_listing_with_snapshots(request) and self._signer.accepts(request):
            return await self._listing.answer(request)
        return await self._upstream.forward(request)

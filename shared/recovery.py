"""What bringing data back works with: the backup account, and, where there still is one, the source account.

It is less than `shared.services` on purpose: on the day that the source account is lost, or the app with
its queue and state, the backup account alone must do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from shared.adapters.accounts import Account
from shared.adapters.backup import BackupStorage
from shared.adapters.pacing import cap_of
from shared.adapters.source import SourceStorage
from shared.adapters.state import State
from shared.services import Services, utc_now
from shared.settings import RecoverySettings


@dataclass(frozen=True)
class Recovery:
    """Opened inside the event loop that uses it, and closed there.

    Attributes:
        source: None where no source account is configured.
        backups: the backup account, read as any account is.
        backup: the same account, as what writes backups sees it: nothing is deleted from a source without them.
        state: the app's own; without one, the backup account's container of that name.
        state_is_the_apps: whether `state` is the app's, and so knows of deletions.
    """

    settings: RecoverySettings
    source: SourceStorage | None
    backups: SourceStorage
    backup: BackupStorage
    state: State
    now: Callable[[], datetime] = utc_now

    @classmethod
    def open(cls, settings: RecoverySettings, now: Callable[[], datetime] = utc_now) -> Recovery:
        source = SourceStorage(Account(settings.source, cap_of(settings.concurrency))) if settings.source else None
        state = State(Account(settings.state or settings.backup))
        backup = BackupStorage(Account(settings.backup, cap_of(settings.concurrency)), state)
        return cls(settings, source, SourceStorage(backup.account, backup.listing), backup, state, now)

    @classmethod
    def of(cls, services: Services) -> Recovery:
        """The same with the app's own services, which stay theirs to close: there is nothing of its own to it."""
        return cls(
            RecoverySettings.of(services.settings),
            services.source,
            SourceStorage(services.backup.account, services.backup.listing),
            services.backup,
            services.state,
            services.now,
        )

    @property
    def state_is_the_apps(self) -> bool:
        return self.settings.state is not None

    async def close(self) -> None:
        """Closes what `open` opened."""
        if self.source is not None:
            await self.source.close()
        await self.backup.close()
        await self.state.close()

    async def __aenter__(self) -> Recovery:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

"""What the operations work with: the settings, and one adapter for each service, made once a process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.adapters.accounts import Account
from shared.adapters.backup import BackupStorage
from shared.adapters.datafactory import DataFactory
from shared.adapters.pacing import cap_of
from shared.adapters.requests import RequestQueue
from shared.adapters.source import SourceStorage
from shared.adapters.state import State
from shared.settings import Settings


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Services:
    """Opened inside the event loop that uses it, and closed there."""

    settings: Settings
    source: SourceStorage
    backup: BackupStorage
    queue: RequestQueue
    state: State
    data_factory: DataFactory | None
    now: Callable[[], datetime] = utc_now

    @classmethod
    def open(cls, settings: Settings, now: Callable[[], datetime] = utc_now) -> Services:
        state = State(Account(settings.state))
        place = settings.data_factory
        return cls(
            settings,
            SourceStorage(Account(settings.source, cap_of(settings.concurrency))),
            BackupStorage(Account(settings.backup, cap_of(settings.concurrency)), state),
            RequestQueue(settings.queue, settings.backup_queue),
            state,
            DataFactory(place, settings.source) if place else None,
            now,
        )

    async def close(self) -> None:
        await self.source.close()
        await self.backup.close()
        await self.queue.close()
        await self.state.close()
        if self.data_factory is not None:
            await self.data_factory.close()

    async def __aenter__(self) -> Services:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

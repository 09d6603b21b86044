"""The operation `doctor`: looks at everything that the functions need, tries it without harm, and says what to do.

It works with settings of which some are wrong: what the others allow to be looked at is looked at.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from shared.adapters.accounts import Account
from shared.adapters.azcopy import Azcopy
from shared.adapters.probing import BlobProbe, FactoryProbe, QueueProbe, azcopy_folder, settled
from shared.adapters.requests import RequestQueue
from shared.adapters.state import State
from shared.connections import Connection
from shared.containers import STAGING_CONTAINER, STATE_CONTAINER
from shared.decisions import access, doctor, pipeline
from shared.decisions.access import Need, Trial, permissions, reached, untried
from shared.decisions.doctor import BackupContainer
from shared.decisions.findings import Answer, Finding, ok, warning, wrong
from shared.errors import AzcopyUnusable, SnapkeepError
from shared.parallel import for_each
from shared.services import utc_now
from shared.settings import Settings, unknown_settings

Findings = list[Finding]
_FACTORY_SETTINGS = ("SNAPKEEP_ADF", "SNAPKEEP_ENGINE")


class Closable(Protocol):
    """What is closed once it was used."""

    async def close(self) -> None: ...


class Probe(Closable, Protocol):
    """What tries the calls of one connection."""

    async def token(self) -> Answer[None] | None: ...


Opened = TypeVar("Opened", bound=Closable)
Probing = TypeVar("Probing", bound=Probe)


async def examine(environ: Mapping[str, str] | None = None, now: Callable[[], datetime] = utc_now) -> Findings:
    """Everything that could be looked at, in the order of the settings and services.

    Args:
        environ: the settings; those of this process's environment unless given.
    """
    settings, problems = Settings.examine(environ)
    examination = _Examination(settings, now)
    services = await examination.services()
    return [
        *doctor.settings_findings(problems, unknown_settings(environ)),
        doctor.clock(examination.skew),
        *services,
        *await examination.data_factory(wanted=any(problem.startswith(_FACTORY_SETTINGS) for problem in problems)),
        *await examination.azcopy(),
    ]


class _Examination:
    """Goes from one service to the next; what one of them told is used for those that follow."""

    def __init__(self, settings: Settings, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._now = now
        self.skew: timedelta | None = None
        self._sources: list[str] | None = None
        self._marks: dict[str, str | None] | None = None

    async def services(self) -> Findings:
        """The four connections; the state comes before the backup account, whose containers it knows of."""
        settings, now = self._settings, self._now
        return [
            *await self._of(settings.source, lambda: BlobProbe(settings.source, now), self._source),
            *await self._of(
                settings.queue, lambda: QueueProbe(settings.queue, settings.backup_queue, now), self._queue
            ),
            *await self._of(settings.state, lambda: BlobProbe(settings.state, now), self._state),
            *await self._of(settings.backup, lambda: BlobProbe(settings.backup, now), self._backup),
        ]

    async def _of(
        self, connection: Connection, opened: Callable[[], Probing], look: Callable[[Probing], Awaitable[Findings]]
    ) -> Findings:
        if not connection.usable:
            return [doctor.unchecked(connection)]
        try:
            probe = opened()
        except ValueError:  # the client's own, whose text may hold the connection string
            return [
                wrong(
                    f"{connection.name}: reachable",
                    "not checked: it is no connection string (its text is not shown here)",
                    f"copy the connection string of {connection.name} again, all of it",
                )
            ]
        async with _closing(probe):
            token = await probe.token()
            identity = [] if token is None else [access.identified(connection, token)]
            if token is not None and token.status != 200:
                return identity
            return [*identity, *await look(probe), *doctor.signature(connection, self._now())]

    async def _source(self, probe: BlobProbe) -> Findings:
        connection = self._settings.source
        listed = await probe.containers()
        findings = self._reached(connection, connection.blob_endpoint, listed)
        if listed.trouble is not None:
            return findings
        self._sources = listed.value
        container = doctor.container_to_try(self._settings, listed.value or [])
        tried = await probe.reading(container, lease=self._settings.use_lease)
        findings += permissions(connection, [Trial(access.LIST_CONTAINERS, listed, None), *tried])
        findings.append(doctor.soft_delete(connection, await probe.soft_delete_days()))
        if listed.value is not None:
            findings += doctor.protected_names(self._settings, listed.value)
        return findings

    async def _queue(self, probe: QueueProbe) -> Findings:
        connection, name = self._settings.queue, self._settings.backup_queue
        there = await probe.look()
        findings = self._reached(connection, connection.queue_endpoint, there)
        if there.trouble is not None:
            return findings
        findings += permissions(connection, [Trial(access.LOOK_AT_QUEUES, there, name), *await probe.tried()])
        async with _closing(RequestQueue(connection, name)) as queue:
            overview = await settled(queue.overview, self._now)
        return findings + doctor.queues(self._settings, there, overview.value)

    async def _state(self, probe: BlobProbe) -> Findings:
        connection = self._settings.state
        there = await probe.container(STATE_CONTAINER)
        findings = self._reached(connection, connection.blob_endpoint, there)
        if there.trouble is not None:
            return findings
        async with _closing(State(Account(connection))) as state:
            trials = await self._state_trials(state)
            findings += permissions(connection, trials)
            if all(trial.answer.status == 200 for trial in trials):
                was = "there" if there.status == 200 else "made by this check: the functions need it from now on"
                findings.append(ok(f"container {STATE_CONTAINER}", was))
                self._marks = await _marks(state, self._settings.concurrency)
        return findings

    async def _state_trials(self, state: State) -> list[Trial]:
        """Writing is proven by writing alone: the container is the app's own, and the document goes again."""
        own = f"doctor-{uuid4().hex}"
        name, lock = f"doctor/{own}.json", f"locks/{own}"

        async def write() -> None:
            await state.write(name, {"schema": 1, "written_by": "snapkeep doctor"})

        async def lease() -> None:
            async with state.lock(own):
                pass

        async def delete() -> None:
            await state.delete(name)
            await state.delete(lock)

        steps: list[tuple[Need, Callable[[], Any]]] = [
            (access.WRITE_STATE, write),
            (access.READ_STATE, lambda: state.read(name)),
            (access.LIST_STATE, lambda: state.names("doctor/")),
            (access.LEASE_STATE, lease),
            (access.DELETE_STATE, delete),
        ]
        return [Trial(need, await settled(step, self._now), STATE_CONTAINER) for need, step in steps]

    async def _backup(self, probe: BlobProbe) -> Findings:
        settings, connection = self._settings, self._settings.backup
        kept = await probe.soft_delete_days()
        findings = self._reached(connection, connection.blob_endpoint, kept)
        if kept.trouble is not None:
            return findings
        containers = await self._backup_containers(probe)
        findings += await self._backup_permissions(probe, containers)
        if self._marks is None:
            findings.append(
                warning(
                    "backup containers",
                    "whether one that existed is gone was not checked: the state could not be read",
                    "make AzureWebJobsStorage work first",
                )
            )
        mirrors = {pair.backup: await probe.container(pair.backup) for pair in settings.sync_containers}
        return [
            *findings,
            doctor.soft_delete(connection, kept),
            *doctor.backup_containers(containers, kept),
            *doctor.pairs(settings, self._sources, mirrors, self._marks or {}),
        ]

    async def _backup_permissions(self, probe: BlobProbe, containers: Sequence[BackupContainer]) -> Findings:
        settings, connection = self._settings, self._settings.backup
        existing = next((container.name for container in containers if container.found.status == 200), None)
        trials = await probe.writing(existing)
        if connection.sas:
            trials += await probe.writing_blocks()
        if existing is not None:
            trials += await probe.creating(existing)
        if settings.data_factory is not None:
            trials += await probe.deleting(access.DELETE_STAGED, STAGING_CONTAINER)
        if settings.drill_blobs:
            trials += await probe.deleting_scratch()
        if settings.sync_delete and settings.sync_containers:
            trials += await probe.deleting(access.DELETE_MIRRORED, settings.sync_containers[0].backup)
        findings = permissions(connection, trials)
        if existing is None and not all(trial.answer.refused for trial in trials):
            findings.append(untried(connection, access.CREATE_CONTAINERS))
        return findings

    async def _backup_containers(self, probe: BlobProbe) -> list[BackupContainer]:
        marks = self._marks or {}
        expected = doctor.expected_backups(self._settings, self._sources or [], marks)
        found: dict[str, Answer[tuple[bool, bool]]] = {}

        async def look(name: str) -> None:
            found[name] = await probe.container(name)

        await for_each(expected, look, self._settings.concurrency)
        return [BackupContainer(name, of, name in marks, found[name]) for name, of in expected.items()]

    def _reached(self, connection: Connection, endpoint: str, answer: Answer[Any]) -> Findings:
        self.skew = answer.skew if self.skew is None else self.skew
        return [reached(connection, endpoint, answer)]

    async def data_factory(self, *, wanted: bool) -> Findings:
        """The pipeline.

        Args:
            wanted: its settings are wrong, not absent on purpose.
        """
        place = self._settings.data_factory
        if place is None:
            subject = "Data Factory"
            if wanted:
                return [warning(subject, "not checked", "correct the settings SNAPKEEP_ADF_... first")]
            return [ok(subject, "not needed: SNAPKEEP_ENGINE is server")]
        async with _closing(FactoryProbe(place, self._settings.source, self._now)) as probe:
            parameters = await probe.parameters()
            finding = pipeline.pipeline(place.pipeline, parameters)
            if parameters.trouble is not None:
                return [finding]
            return [finding, *(pipeline.permission(call, answer) for call, answer in await probe.tried())]

    async def azcopy(self) -> Findings:
        """azcopy, and where its runs have their folders."""
        if not (self._settings.sync_containers or self._settings.azcopy_path):
            return [ok("azcopy", "not needed: SNAPKEEP_SYNC_CONTAINERS is empty")]
        findings = []
        try:
            azcopy = await Azcopy.find(self._settings.azcopy_path)
            findings.append(ok("azcopy", f"{azcopy.path} runs; it is version {azcopy.version}"))
        except AzcopyUnusable as error:
            findings.append(wrong("azcopy", str(error), "install azcopy 10, or set AZCOPY_PATH to it"))
        try:
            folder, free_bytes = azcopy_folder()
            findings.append(ok("azcopy's folders", f"{folder} is writable, with {free_bytes >> 20:,} MiB free"))
        except (AzcopyUnusable, OSError) as error:
            findings.append(
                wrong("azcopy's folders", str(error), "set TMPDIR to a folder that the app may write to, with room")
            )
        return findings


async def _marks(state: State, concurrency: int) -> dict[str, str | None] | None:
    """The backup containers that were created once, and whose versions each holds; None when that is not readable."""
    marks: dict[str, str | None] = {}

    async def read(name: str) -> None:
        mark = await state.read(name)
        if mark is not None:
            marks[mark["container"]] = mark.get("versions_of")

    try:
        await for_each(await state.names("containers/"), read, concurrency)
    except (SnapkeepError, ValueError, LookupError):  # not readable, or no mark as this release writes it
        return None
    return marks


@asynccontextmanager
async def _closing(opened: Opened) -> AsyncIterator[Opened]:
    try:
        yield opened
    finally:
        await opened.close()

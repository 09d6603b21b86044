"""The app's settings: read once, checked all together, and nowhere else.

`shared.connections` reads the connections among them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from shared.connections import Connection, address, connection_of
from shared.containers import backup_container, is_container_name, is_queue_name, is_system_container
from shared.errors import SettingsError


@dataclass(frozen=True)
class SyncPair:
    """One container that `azcopy sync` mirrors, and the one in the backup account it goes to."""

    source: str
    backup: str


@dataclass(frozen=True)
class DataFactorySettings:
    """Where the copy pipeline lives."""

    subscription_id: str
    resource_group: str
    factory: str
    pipeline: str
    endpoint: str


@dataclass(frozen=True)
class InventoryPlace:
    """Where an account's Blob Inventory stands: a container of that account, and the rule that writes there."""

    container: str
    rule: str


@dataclass(frozen=True)
class VerifySample:
    """Which backups a reconciliation proves: `percent` of all, by their bytes or by what a HEAD tells of them."""

    percent: float
    by_bytes: bool


_INSTRUMENTATION_KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _split(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _glob(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9$*?\[\]!-]+", value):
        raise ValueError("expects container names or globs, such as raw,lake-*")
    return value


def _some(globs: tuple[str, ...]) -> tuple[str, ...]:
    if not globs:
        raise ValueError("expects at least one container name or glob; * is all of them")
    return globs


def _pair(value: str) -> SyncPair:
    source, _, backup = (part.strip() for part in value.partition(":"))
    backup = backup or backup_container(source)
    for name in (source, backup):
        if not is_container_name(name):
            raise ValueError(f"expects source[:backup] container names, such as lake,raw:raw-mirror; got {value!r}")
    return SyncPair(source, backup)


def _one_source_each(pairs: tuple[SyncPair, ...]) -> tuple[SyncPair, ...]:
    targets = [pair.backup for pair in pairs]
    for target in targets:
        if targets.count(target) > 1:
            raise ValueError(f"two sources go to the one container {target!r}")
    return pairs


def _inventory(value: str) -> InventoryPlace:
    container, _, rule = (part.strip() for part in value.partition("/"))
    if not is_container_name(container) or not re.fullmatch(r"[A-Za-z0-9-]{1,256}", rule):
        raise ValueError("expects the container and the rule of a Blob Inventory, such as inventory/snapkeep")
    return InventoryPlace(container, rule)


def _time_of_day(value: str) -> str:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError("expects a time of day in UTC, such as 02:30")
    return value


def _queue_name(value: str) -> str:
    if not is_queue_name(value):
        raise ValueError("expects a queue name of 3 to 56 of a-z, 0-9 and single hyphens")
    return value


def _schedule(value: str) -> str:
    if len(value.split()) != 6:
        raise ValueError("expects six NCRONTAB fields (second first), such as 0 0 * * * *")
    return value


def _application_insights(value: str) -> str:
    # As strict as the exporter, which reads the variable itself as well; but for capitals in the key.
    parts = {name.lower(): text for name, _, text in (part.partition("=") for part in value.split(";"))}
    key = parts.get("instrumentationkey", "").lower()
    if not _INSTRUMENTATION_KEY.fullmatch(key) or any(part.count("=") != 1 for part in value.split(";")):
        raise ValueError("expects InstrumentationKey=<guid>;IngestionEndpoint=https://..., with no ; at its end")
    return ";".join(f"{name}={text}" for name, text in (parts | {"instrumentationkey": key}).items())


Globs = Annotated[tuple[Annotated[str, AfterValidator(_glob)], ...], BeforeValidator(_split)]
Pairs = Annotated[
    tuple[Annotated[SyncPair, BeforeValidator(_pair)], ...], BeforeValidator(_split), AfterValidator(_one_source_each)
]
Inventory = Annotated[InventoryPlace, BeforeValidator(_inventory)]
TimeOfDay = Annotated[str, AfterValidator(_time_of_day)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Schedule = Annotated[str, AfterValidator(_schedule)]


_CONNECTIONS = (
    ("source", "SourceStorage", ("blob",)),
    ("backup", "BackupStorage", ("blob",)),
    ("queue", "BackupQueue", ("queue",)),
    ("state", "AzureWebJobsStorage", ("blob",)),
)


INVENTORY_SETTINGS = ("SNAPKEEP_SOURCE_INVENTORY", "SNAPKEEP_BACKUP_INVENTORY")


class Settings(BaseModel):
    """Everything that the app can be told. `Settings.load()` is the only way to one in production."""

    model_config = ConfigDict(frozen=True)

    source: Connection
    backup: Connection
    queue: Connection
    state: Connection

    backup_queue: Annotated[str, AfterValidator(_queue_name)] = Field("backup-requests", alias="SNAPKEEP_BACKUP_QUEUE")
    include_containers: Annotated[Globs, AfterValidator(_some)] = Field(("*",), alias="SNAPKEEP_INCLUDE_CONTAINERS")
    exclude_containers: Globs = Field((), alias="SNAPKEEP_EXCLUDE_CONTAINERS")
    engine: Literal["auto", "server", "adf"] = Field("auto", alias="SNAPKEEP_ENGINE")
    adf_min_bytes: Annotated[int, Field(ge=0)] = Field(256 * 1024 * 1024, alias="SNAPKEEP_ADF_MIN_BYTES")
    history: Literal["all", "current"] = Field("all", alias="SNAPKEEP_HISTORY")
    use_lease: bool = Field(False, alias="SNAPKEEP_USE_LEASE")
    adf_subscription_id: str | None = Field(None, alias="SNAPKEEP_ADF_SUBSCRIPTION_ID")
    adf_resource_group: str | None = Field(None, alias="SNAPKEEP_ADF_RESOURCE_GROUP")
    adf_factory: str | None = Field(None, alias="SNAPKEEP_ADF_FACTORY")
    adf_pipeline: str = Field("backup_blobs", alias="SNAPKEEP_ADF_PIPELINE")
    adf_endpoint: Annotated[str, AfterValidator(address)] = Field(
        "https://management.azure.com", alias="SNAPKEEP_ADF_ENDPOINT"
    )
    adf_deadline_minutes: Positive = Field(240, alias="SNAPKEEP_ADF_DEADLINE_MINUTES")
    adf_poll_seconds: Positive = Field(15, alias="SNAPKEEP_ADF_POLL_SECONDS")
    sync_containers: Pairs = Field((), alias="SNAPKEEP_SYNC_CONTAINERS")
    sync_schedule: Schedule = Field("0 0 * * * *", alias="SNAPKEEP_SYNC_SCHEDULE")
    sync_timeout_minutes: Positive = Field(50, alias="SNAPKEEP_SYNC_TIMEOUT_MINUTES")
    sync_delete: bool = Field(False, alias="SNAPKEEP_SYNC_DELETE")
    azcopy_path: str | None = Field(None, alias="AZCOPY_PATH")
    reconcile_schedule: Schedule = Field("0 30 2 * * *", alias="SNAPKEEP_RECONCILE_SCHEDULE")
    reconcile_budget_seconds: Positive = Field(1500, alias="SNAPKEEP_RECONCILE_BUDGET_SECONDS")
    reconcile_from: Literal["listing", "inventory"] = Field("listing", alias="SNAPKEEP_RECONCILE_FROM")
    source_inventory: Inventory | None = Field(None, alias="SNAPKEEP_SOURCE_INVENTORY")
    backup_inventory: Inventory | None = Field(None, alias="SNAPKEEP_BACKUP_INVENTORY")
    inventory_memory_mb: Annotated[int, Field(ge=256)] = Field(1024, alias="SNAPKEEP_INVENTORY_MEMORY_MB")
    change_feed: bool = Field(False, alias="SNAPKEEP_CHANGE_FEED")
    reconcile_at: TimeOfDay = Field("02:30", alias="SNAPKEEP_RECONCILE_AT")
    shard_blobs: Annotated[int, Field(ge=1)] = Field(1_000_000, alias="SNAPKEEP_SHARD_BLOBS")
    verify_sample_percent: Annotated[float, Field(ge=0, le=100)] | None = Field(
        None, alias="SNAPKEEP_VERIFY_SAMPLE_PERCENT"
    )
    drill_blobs: Annotated[int, Field(ge=0, le=10_000)] = Field(20, alias="SNAPKEEP_DRILL_BLOBS")
    protect_budget_seconds: Annotated[float, Field(gt=0, le=220)] = Field(200, alias="SNAPKEEP_PROTECT_BUDGET_SECONDS")
    alarm_share_percent: Annotated[float, Field(ge=0, le=100)] = Field(20, alias="SNAPKEEP_ALARM_SHARE_PERCENT")
    alarm_min_blobs: Annotated[int, Field(ge=1)] = Field(100, alias="SNAPKEEP_ALARM_MIN_BLOBS")
    application_insights: Annotated[str, AfterValidator(_application_insights)] | None = Field(
        None, alias="APPLICATIONINSIGHTS_CONNECTION_STRING", repr=False
    )
    concurrency: Annotated[int, Field(ge=1, le=512)] = Field(128, alias="SNAPKEEP_CONCURRENCY")
    retry_delay_seconds: Positive = Field(15, alias="SNAPKEEP_RETRY_DELAY_SECONDS")

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings of the environment (of this process unless given).

        Raises:
            SettingsError: naming every setting that is missing or malformed, and what it expects.
        """
        settings, problems = cls.examine(environ)
        if problems:
            raise SettingsError("wrong settings:\n" + "\n".join(f"  {problem}" for problem in problems))
        return settings

    @classmethod
    def examine(cls, environ: Mapping[str, str] | None = None) -> tuple[Settings, list[str]]:
        """The settings as far as they are right, and what is wrong with the others: `NAME: what it expects`.

        A wrong setting has its default here, a wrong connection names no account (`Connection.usable`),
        and the engine is `server` without the settings of a Data Factory: that is what can still be looked at.
        """
        environ = os.environ if environ is None else environ
        given = {name: value.strip() for name, value in environ.items() if value.strip()}
        problems: list[str] = []
        connections: dict[str, Connection] = {}
        for field, name, services in _CONNECTIONS:
            wrong: list[str] = []
            connection = connection_of(given, name, services, wrong)
            connections[field] = Connection(name) if wrong else connection
            problems += wrong
        values: dict[str, Any] = {f.alias: given[f.alias] for f in cls.model_fields.values() if f.alias in given}
        try:
            settings = cls.model_validate(values | connections)
        except ValidationError as invalid:
            problems += [_problem(error["loc"], error["msg"]) for error in invalid.errors()]
            for error in invalid.errors():
                values.pop(str(error["loc"][0]), None)
            settings = cls.model_validate(values | connections)
        problems += _missing_data_factory(given) + _missing_inventories(given)
        if not (settings.adf_subscription_id and settings.adf_resource_group and settings.adf_factory):
            settings = settings.model_copy(update={"engine": "server"})
        source, backup = connections["source"], connections["backup"]
        if source.usable and backup.usable and source.blob_endpoint.lower() == backup.blob_endpoint.lower():
            problems.append("BackupStorage: names the same account as SourceStorage; expects another, that outlives it")
        return settings, problems

    @property
    def data_factory(self) -> DataFactorySettings | None:
        """Where the pipeline is; None when the engine is `server` alone."""
        if self.engine == "server":
            return None
        if not (self.adf_subscription_id and self.adf_resource_group and self.adf_factory):
            raise SettingsError("the Data Factory settings are incomplete")  # `load` has refused that
        return DataFactorySettings(
            self.adf_subscription_id,
            self.adf_resource_group,
            self.adf_factory,
            self.adf_pipeline,
            self.adf_endpoint,
        )

    @property
    def verify_sample(self) -> VerifySample:
        """What a reconciliation proves. Reading bytes costs money: it is done for those who ask for it."""
        if self.verify_sample_percent is None:
            return VerifySample(percent=1, by_bytes=False)
        return VerifySample(self.verify_sample_percent, by_bytes=True)

    def protects(self, container: str) -> bool:
        """Whether the settings (and the platform) let this source container be protected."""
        return (
            not is_system_container(container)
            and any(fnmatchcase(container, glob) for glob in self.include_containers)
            and not any(fnmatchcase(container, glob) for glob in self.exclude_containers)
        )


class RecoverySettings(BaseModel):
    """What bringing data back needs: the backup account, and whatever else there still is.

    On the day that the source account, or the app with its state, is lost, `BackupStorage` alone is enough.
    """

    model_config = ConfigDict(frozen=True)

    backup: Connection
    source: Connection | None = None
    state: Connection | None = None
    concurrency: Annotated[int, Field(ge=1, le=512)] = Field(32, alias="SNAPKEEP_CONCURRENCY")

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> RecoverySettings:
        """The settings of the environment (of this process unless given).

        Raises:
            SettingsError: naming every setting that is missing or malformed, and what it expects.
        """
        environ = os.environ if environ is None else environ
        given = {name: value.strip() for name, value in environ.items() if value.strip()}
        problems: list[str] = []
        values: dict[str, Any] = {f.alias: given[f.alias] for f in cls.model_fields.values() if f.alias in given}
        for field, name in (("backup", "BackupStorage"), ("source", "SourceStorage"), ("state", "AzureWebJobsStorage")):
            if field == "backup" or any(key == name or key.startswith(f"{name}__") for key in given):
                values[field] = connection_of(given, name, ("blob",), problems)
        try:
            settings = cls.model_validate(values)
        except ValidationError as invalid:
            problems += [_problem(error["loc"], error["msg"]) for error in invalid.errors()]
        if problems:
            raise SettingsError("wrong settings:\n" + "\n".join(f"  {problem}" for problem in problems))
        return settings

    @classmethod
    def of(cls, settings: Settings) -> RecoverySettings:
        """The part of the app's settings that bringing data back needs."""
        return cls(
            backup=settings.backup,
            source=settings.source,
            state=settings.state,
            SNAPKEEP_CONCURRENCY=settings.concurrency,
        )


def unknown_settings(environ: Mapping[str, str] | None = None) -> list[str]:
    """The names that look like settings of Snapkeep and are none: most likely misspelt ones, which change nothing."""
    known = {field.alias for field in Settings.model_fields.values()}
    names = os.environ if environ is None else environ
    return sorted(name for name in names if name.startswith("SNAPKEEP_") and name not in known)


def _missing_data_factory(given: Mapping[str, str]) -> list[str]:
    # Looked at apart from the model, so that these are named together with whatever else is wrong.
    engine = given.get("SNAPKEEP_ENGINE", "auto")
    if engine not in {"auto", "adf"}:
        return []
    return [
        f"{name}: missing; required while SNAPKEEP_ENGINE is {engine} (SNAPKEEP_ENGINE=server needs no Data Factory)"
        for name in ("SNAPKEEP_ADF_SUBSCRIPTION_ID", "SNAPKEEP_ADF_RESOURCE_GROUP", "SNAPKEEP_ADF_FACTORY")
        if name not in given
    ]


def _missing_inventories(given: Mapping[str, str]) -> list[str]:
    if given.get("SNAPKEEP_RECONCILE_FROM") != "inventory":
        return []
    return [
        f"{name}: missing; required while SNAPKEEP_RECONCILE_FROM is inventory; expects the container and the rule of "
        "that account's Blob Inventory, such as inventory/snapkeep"
        for name in INVENTORY_SETTINGS
        if name not in given
    ]


def _problem(location: tuple[int | str, ...], message: str) -> str:
    name = str(location[0]) if location else "settings"
    return f"{name}: {message.removeprefix('Value error, ')}"


def inherited(names: Iterable[str]) -> dict[str, str]:
    """This process's variables of these names, for a program that it starts and that must not see the others."""
    return {name: os.environ[name] for name in names if name in os.environ}


def read_settings_file(path: Path) -> dict[str, str]:
    """The Values of a file like `local.settings.json`.

    Raises:
        SettingsError: it is not such a file, or is encrypted.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SettingsError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("Values", {}), dict):
        raise SettingsError(f'{path}: expected {{"IsEncrypted": false, "Values": {{...}}}}')
    if content.get("IsEncrypted"):
        raise SettingsError(f"{path} is encrypted: decrypt it with `func settings decrypt`")
    values: dict[str, str] = content.get("Values", {})
    if wrong := [name for name, value in values.items() if not isinstance(value, str)]:
        raise SettingsError(f"{path}: Values must be strings; not so: {', '.join(wrong)}")
    return values

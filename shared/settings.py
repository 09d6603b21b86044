"""The app's settings: read once, checked all together, and nowhere else.

Connections follow the Functions convention, so that one app setting serves the trigger and this
code alike: `<Name>` holds a connection string, or `<Name>__blobServiceUri` and its like name an
account that is reached with an identity.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from shared.errors import SettingsError

MAX_CONTAINER_CHARACTERS = 63
BACKUP_SUFFIX = "bak"
POISON_SUFFIX = "-poison"
"""What the Functions host appends to a queue's name for the messages that it gives up on."""

STATE_CONTAINER = "snapkeep-state"
STAGING_CONTAINER = "snapkeep-staging"

_CONTAINER_NAME = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(-[a-z0-9]+)*")
_QUEUE_NAME = _CONTAINER_NAME
_PLATFORM_CONTAINERS = ("azure-webjobs-*", "azure-pipelines-*", STATE_CONTAINER, STAGING_CONTAINER)


def is_container_name(name: str) -> bool:
    """Whether `name` obeys the service's rules for a container: 3 to 63 of a-z, 0-9 and single hyphens."""
    return _CONTAINER_NAME.fullmatch(name) is not None


def is_system_container(name: str) -> bool:
    """Whether the container belongs to the platform or to Snapkeep: such a one is always left alone."""
    return name.startswith("$") or any(fnmatchcase(name, glob) for glob in _PLATFORM_CONTAINERS)


def backup_container(container: str) -> str:
    """The container in the backup account that holds the versions of `container`'s blobs."""
    return container + BACKUP_SUFFIX


@dataclass(frozen=True)
class Connection:
    """How to reach one storage account: by a connection string, or by address and identity."""

    name: str
    connection_string: str | None = None
    blob_uri: str | None = None
    queue_uri: str | None = None
    dfs_uri: str | None = None
    managed_identity: bool = False
    client_id: str | None = None
    tenant_id: str | None = None
    client_secret: str | None = None

    def part(self, key: str) -> str | None:
        """One `Key=Value` part of the connection string; None without it."""
        for part in (self.connection_string or "").split(";"):
            name, _, value = part.partition("=")
            if name.strip().lower() == key.lower():
                return value.strip()
        return None

    @property
    def blob_endpoint(self) -> str:
        """The address of the account's blob service, without a trailing slash or a SAS."""
        return self._endpoint("blob", self.blob_uri)

    @property
    def queue_endpoint(self) -> str:
        """The address of the account's queue service, without a trailing slash or a SAS."""
        return self._endpoint("queue", self.queue_uri)

    @property
    def sas(self) -> str | None:
        """The shared access signature that the connection string brings, without a leading `?`."""
        signature = self.part("SharedAccessSignature")
        return signature.lstrip("?") if signature else None

    @property
    def account_key(self) -> str | None:
        return self.part("AccountKey")

    @property
    def account_name(self) -> str:
        name = self.part("AccountName")
        if name:
            return name
        address = urlsplit(self.blob_endpoint)
        host = address.hostname or ""
        return address.path.strip("/") if _is_loopback(host) else host.partition(".")[0]

    def _endpoint(self, service: str, uri: str | None) -> str:
        if self.connection_string is None:
            if uri is None:
                raise SettingsError(f"{self.name}__{service}ServiceUri is missing")
            return uri.rstrip("/")
        endpoint = self.part(f"{service.capitalize()}Endpoint")
        if endpoint:
            return endpoint.rstrip("/")
        scheme = self.part("DefaultEndpointsProtocol") or "https"
        suffix = self.part("EndpointSuffix") or "core.windows.net"
        return f"{scheme}://{self.part('AccountName')}.{service}.{suffix}"

    def __repr__(self) -> str:
        return f"Connection({self.name!r})"


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


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _glob(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9$*?\[\]!-]+", value):
        raise ValueError("expects container names or globs, such as raw,lake-*")
    return value


def _some(globs: tuple[str, ...]) -> tuple[str, ...]:
    if not globs:
        raise ValueError("expects at least one container name or glob; * is all of them")
    return globs


def _pair(value: object) -> object:
    if not isinstance(value, str):
        return value
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


def _queue_name(value: str) -> str:
    if not all(_QUEUE_NAME.fullmatch(name) for name in (value, f"{value}{POISON_SUFFIX}")):
        raise ValueError("expects a queue name of 3 to 56 of a-z, 0-9 and single hyphens")
    return value


def _schedule(value: str) -> str:
    if len(value.split()) != 6:
        raise ValueError("expects six NCRONTAB fields (second first), such as 0 0 * * * *")
    return value


def _endpoint(value: str) -> str:
    address = urlsplit(value)
    if address.query or address.fragment or address.username is not None:
        raise ValueError("expects a plain address, without a query, a SAS or a password (its text is not shown here)")
    if address.scheme == "https" and address.hostname:
        return value.rstrip("/")
    if address.scheme == "http" and _is_loopback(address.hostname or ""):
        return value.rstrip("/")
    raise ValueError("expects an https address (http only for this machine itself)")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


Globs = Annotated[tuple[Annotated[str, AfterValidator(_glob)], ...], BeforeValidator(_split)]
Pairs = Annotated[
    tuple[Annotated[SyncPair, BeforeValidator(_pair)], ...], BeforeValidator(_split), AfterValidator(_one_source_each)
]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Schedule = Annotated[str, AfterValidator(_schedule)]


class Settings(BaseModel):
    """Everything that the app can be told. `Settings.load()` is the only way to one in production."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, populate_by_name=True)

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
    adf_endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
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
    protect_budget_seconds: Annotated[float, Field(gt=0, le=220)] = Field(200, alias="SNAPKEEP_PROTECT_BUDGET_SECONDS")
    concurrency: Annotated[int, Field(ge=1, le=512)] = Field(32, alias="SNAPKEEP_CONCURRENCY")
    retry_delay_seconds: Positive = Field(15, alias="SNAPKEEP_RETRY_DELAY_SECONDS")

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings of the environment (of this process unless given).

        Raises:
            SettingsError: naming every setting that is missing or malformed, and what it expects.
        """
        environ = os.environ if environ is None else environ
        given = {name: value.strip() for name, value in environ.items() if value.strip()}
        problems: list[str] = []
        connections = {
            field: _connection(given, name, services, problems)
            for field, name, services in (
                ("source", "SourceStorage", ("blob",)),
                ("backup", "BackupStorage", ("blob",)),
                ("queue", "BackupQueue", ("queue",)),
                ("state", "AzureWebJobsStorage", ("blob",)),
            )
        }
        values: dict[str, Any] = {f.alias: given[f.alias] for f in cls.model_fields.values() if f.alias in given}
        try:
            settings = cls.model_validate(values | connections)
        except ValidationError as invalid:
            problems += [_problem(error["loc"], error["msg"]) for error in invalid.errors()]
        problems += _missing_data_factory(given)
        unclear = any(problem.startswith(("SourceStorage", "BackupStorage")) for problem in problems)
        if not unclear and connections["source"].blob_endpoint.lower() == connections["backup"].blob_endpoint.lower():
            problems.append("BackupStorage: names the same account as SourceStorage; expects another, that outlives it")
        if problems:
            raise SettingsError("wrong settings:\n" + "\n".join(f"  {problem}" for problem in problems))
        return settings

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

    def protects(self, container: str) -> bool:
        """Whether the settings (and the platform) let this source container be protected."""
        return (
            not is_system_container(container)
            and any(fnmatchcase(container, glob) for glob in self.include_containers)
            and not any(fnmatchcase(container, glob) for glob in self.exclude_containers)
        )


def _connection(given: Mapping[str, str], name: str, services: tuple[str, ...], problems: list[str]) -> Connection:
    text = given.get(name)
    uris = {service: given.get(f"{name}__{service}ServiceUri") for service in ("blob", "queue", "dfs")}
    account = given.get(f"{name}__accountName")
    if account:
        for service in services:
            uris[service] = uris[service] or f"https://{account}.{service}.core.windows.net"
    for service, uri in uris.items():
        try:
            _endpoint(uri or "https://unset.invalid")
        except ValueError as wrong:
            problems.append(f"{name}__{service}ServiceUri: {wrong}")
    if text is None:
        problems.extend(
            f"{name}: missing; expects a connection string in {name}, or an address in "
            f"{name}__{service}ServiceUri, such as https://account.{service}.core.windows.net"
            for service in services
            if not uris[service]
        )
    else:
        problems.extend(_malformed(Connection(name, text), services))
    credential = given.get(f"{name}__credential")
    if credential not in {None, "managedidentity"}:
        problems.append(f"{name}__credential: expects managedidentity, or nothing; got {credential!r}")
    secret = given.get(f"{name}__clientSecret")
    if secret and not (given.get(f"{name}__clientId") and given.get(f"{name}__tenantId")):
        problems.append(f"{name}__clientSecret: needs {name}__clientId and {name}__tenantId beside it")
    return Connection(
        name,
        connection_string=text,
        blob_uri=uris["blob"],
        queue_uri=uris["queue"],
        dfs_uri=uris["dfs"],
        managed_identity=credential is not None,
        client_id=given.get(f"{name}__clientId"),
        tenant_id=given.get(f"{name}__tenantId"),
        client_secret=secret,
    )


def _malformed(connection: Connection, services: tuple[str, ...]) -> list[str]:
    shown = f"{connection.name}: malformed (its text is not shown here); expects a connection string"
    if not connection.sas and not (connection.part("AccountName") and connection.account_key):
        return [f"{shown} such as DefaultEndpointsProtocol=https;AccountName=...;AccountKey=..."]
    endpoints = [f"{service.capitalize()}Endpoint" for service in services]
    return [
        f"{shown} with {endpoint}=https://... or AccountName=... in it"
        for endpoint in endpoints
        if not (connection.part("AccountName") or connection.part(endpoint))
    ]


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


def _problem(location: tuple[int | str, ...], message: str) -> str:
    name = str(location[0]) if location else "settings"
    return f"{name}: {message.removeprefix('Value error, ')}"


def inherited(names: Iterable[str]) -> dict[str, str]:
    """This process's variables of these names, for a program that it starts and that must not see the others."""
    return {name: os.environ[name] for name in names if name in os.environ}

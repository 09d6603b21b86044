"""The settings that the local host gives the app, as environment variables."""

import json
from collections.abc import Mapping
from pathlib import Path

from local.errors import CommandFailed

# The platform stops an app whose bindings name a setting that is not there; here the defaults step in.
BINDING_DEFAULTS = {
    "SNAPKEEP_BACKUP_QUEUE": "backup-requests",
    "SNAPKEEP_SYNC_SCHEDULE": "0 0 * * * *",
    "SNAPKEEP_RECONCILE_SCHEDULE": "0 30 2 * * *",
}
# Any name will do: the stand-in is the only factory there is.
STAND_IN_DEFAULTS = {
    "SNAPKEEP_ADF_SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000000",
    "SNAPKEEP_ADF_RESOURCE_GROUP": "local",
    "SNAPKEEP_ADF_FACTORY": "local",
}
SETTINGS_FILE = "local.settings.json"
SERVICE_KEYS = ("source", "backup", "queue", "adf")


class SettingsFileError(CommandFailed):
    """A settings file cannot be used."""

    exit_code = 2


def read_local_settings(folder: Path) -> dict[str, str]:
    """The Values of `local.settings.json` in `folder`; empty without the file. Raises SettingsFileError."""
    path = folder / SETTINGS_FILE
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise SettingsFileError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("Values", {}), dict):
        raise SettingsFileError(f'{path}: expected {{"IsEncrypted": false, "Values": {{...}}}}')
    if content.get("IsEncrypted"):
        raise SettingsFileError(f"{path} is encrypted: decrypt it with `func settings decrypt`")
    values: dict[str, str] = content.get("Values", {})
    if wrong := [name for name, value in values.items() if not isinstance(value, str)]:
        raise SettingsFileError(f"{path}: Values must be strings; not so: {', '.join(wrong)}")
    return values


def read_services(path: Path) -> dict[str, str]:
    """The READY object of `python -m local services`, from a file. Raises SettingsFileError."""
    try:
        content = json.loads(path.read_text().strip().removeprefix("READY "))
        return {key: str(content[key]) for key in SERVICE_KEYS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsFileError(f"{path} does not hold the services' READY object: {error!r}") from error


def app_environment(
    current: Mapping[str, str],
    local_settings: Mapping[str, str],
    azcopy: Path,
    services: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What the app sees. The services' connections win, then `current`, `local_settings` (in the order that
    `func` has too), and last the defaults.
    """
    defaults = {**BINDING_DEFAULTS, "AZCOPY_PATH": str(azcopy)}
    given = {name: value for name, value in {**local_settings, **current}.items() if value or name not in defaults}
    if services is None:
        return {**defaults, **given}
    return {**defaults, **STAND_IN_DEFAULTS, **given, **connections(services)}


def connections(services: Mapping[str, str]) -> dict[str, str]:
    """The settings that reach the services of a READY object."""
    return {
        "SourceStorage": services["source"],
        "BackupStorage": services["backup"],
        "BackupQueue": services["queue"],
        "AzureWebJobsStorage": services["queue"],
        "SNAPKEEP_ADF_ENDPOINT": services["adf"],
    }


def services_of(environment: Mapping[str, str]) -> dict[str, str | None]:
    """What READY says of the services when the settings name them; None for one reached by an identity."""
    names = ("SourceStorage", "BackupStorage", "BackupQueue", "SNAPKEEP_ADF_ENDPOINT")
    return {key: environment.get(name) for key, name in zip(SERVICE_KEYS, names, strict=True)}

"""What the local host gives the app as settings, and how it reads them."""

import json
from pathlib import Path

import pytest

from local.app_environment import (
    SettingsFileError,
    app_environment,
    read_local_settings,
    read_services,
    services_of,
)

AZCOPY = Path("/opt/azcopy")
SERVICES = {"source": "S", "backup": "B", "queue": "Q", "adf": "http://127.0.0.1:1"}


def test_the_environment_wins_over_the_file_and_the_file_over_defaults() -> None:
    seen = app_environment({"A": "env"}, {"A": "file", "SNAPKEEP_BACKUP_QUEUE": "mine"}, AZCOPY)
    assert (seen["A"], seen["SNAPKEEP_BACKUP_QUEUE"]) == ("env", "mine")
    assert seen["SNAPKEEP_RECONCILE_SCHEDULE"] == "0 30 2 * * *"
    assert seen["AZCOPY_PATH"] == "/opt/azcopy"


def test_running_services_win_over_any_other_connection() -> None:
    given = {"SourceStorage": "env", "SNAPKEEP_ADF_FACTORY": "mine", "AZCOPY_PATH": "/mine"}
    seen = app_environment(given, {"BackupQueue": "file"}, AZCOPY, SERVICES)
    assert services_of(seen) == SERVICES
    assert seen["AzureWebJobsStorage"] == "Q"
    assert (seen["SNAPKEEP_ADF_FACTORY"], seen["SNAPKEEP_ADF_RESOURCE_GROUP"]) == ("mine", "local")
    assert seen["AZCOPY_PATH"] == "/mine"


def test_without_services_no_connection_is_made_up() -> None:
    seen = app_environment({"SourceStorage__blobServiceUri": "https://x"}, {}, AZCOPY)
    assert services_of(seen) == {"source": None, "backup": None, "queue": None, "adf": None}


def test_a_folder_without_a_settings_file_has_no_settings(tmp_path: Path) -> None:
    assert read_local_settings(tmp_path) == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "expected"),
        ('{"Values": []}', "expected"),
        ('{"IsEncrypted": true, "Values": {}}', "decrypt"),
        ('{"Values": {"A": 1}}', "not so: A"),
    ],
)
def test_a_settings_file_that_cannot_be_used_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "local.settings.json").write_text(content)
    with pytest.raises(SettingsFileError, match=reason):
        read_local_settings(tmp_path)


@pytest.mark.parametrize("prefix", ["", "READY "])
def test_the_services_file_is_the_ready_object_or_the_whole_line(tmp_path: Path, prefix: str) -> None:
    file = tmp_path / "services.json"
    file.write_text(f"{prefix}{json.dumps(SERVICES)}\n")
    assert read_services(file) == SERVICES


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"source": "S"}'])
def test_a_services_file_without_the_services_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "services.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsFileError, match=r"services\.json"):
        read_services(file)

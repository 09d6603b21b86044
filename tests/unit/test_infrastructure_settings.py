"""The app settings that are deployed are those that the settings module knows, and the other way round."""

import json
import re
from collections.abc import Mapping

import pytest

from local.host.hostjson import read_host_json
from local.host.schedule import Schedule
from shared.settings import Settings, unknown_settings
from tests.bicep import INFRA, body, files, properties, settings_in, string, text

ROOT = INFRA.parent
MODULE = files()["modules/app-settings.bicep"]
DEFAULTS: Mapping[str, str] = json.loads((INFRA / "settings.json").read_text())
KNOWN = {str(field.alias): field for field in Settings.model_fields.values() if field.alias}
CONNECTIONS = {"SourceStorage", "BackupStorage", "BackupQueue", "AzureWebJobsStorage"}

PLATFORM = {
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "AZURE_CLIENT_ID",
}
"""Settings that are read by the platform and its libraries, and not by the app."""

HOST_ONLY = {"AzureWebJobsStorage__queueServiceUri", "AzureWebJobsStorage__tableServiceUri"}
"""Parts of connections that the host alone reads."""


def given_by_the_deployment() -> set[str]:
    """The names of settings whose value app-settings.bicep makes."""
    return settings_in(MODULE)


def test_every_setting_of_the_app_can_be_deployed() -> None:
    deployed = set(DEFAULTS) | given_by_the_deployment()
    missing = sorted(set(KNOWN) - deployed)
    assert missing == [], "give each a line in infra/settings.json and one in infra/main.parameters.json"


def test_every_setting_that_is_deployed_is_one_of_the_app() -> None:
    names = set(DEFAULTS) | {name for name in given_by_the_deployment() if not _is_connection(name)} - PLATFORM
    assert sorted(names - set(KNOWN)) == []
    assert unknown_settings(dict.fromkeys(names, "x")) == []


def _is_connection(name: str) -> bool:
    return name.partition("__")[0] in CONNECTIONS


def _default(name: str) -> str:
    value = KNOWN[name].default
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_a_setting_that_nobody_changes_has_the_default_of_the_app(name: str) -> None:
    assert DEFAULTS[name] == _default(name)


def deployed(*connections: str) -> dict[str, str]:
    """The settings as the template gives them, from its own objects, with interpolations filled in."""
    made = {}
    for name in ("app", "host", "factory", *connections):
        for setting, value in properties(body(MODULE.of("var")[name].node)).items():
            made[setting] = _filled(text(value))
    return {**DEFAULTS, **made}


def _filled(value: str) -> str:
    """A value as it might be at run time: what is in `${}` becomes a plausible text."""
    if value.startswith("'"):
        filled = value.strip("'").replace("${suffix}", "core.windows.net")
        return re.sub(r"\$\{(\w+)\}", lambda found: found[1].lower(), filled)
    if "DRILL" in value:
        return "0"
    return value.lower().replace("().", "-")


@pytest.mark.parametrize("data_lake", [False, True])
def test_the_app_takes_what_is_deployed_with_identities(data_lake: bool) -> None:
    lakes = ("sourceDataLake", "backupDataLake") if data_lake else ()
    settings, problems = Settings.examine(deployed("sourceIdentity", "backupIdentity", *lakes))
    assert problems == []
    for connection in (settings.source, settings.backup, settings.queue, settings.state):
        assert connection.managed_identity
        assert connection.client_id == "identityclientid"
    assert settings.source.account_name == "sourceaccountname"
    assert settings.queue.queue_endpoint == "https://hostaccountname.queue.core.windows.net"
    assert bool(settings.source.dfs_uri and settings.backup.dfs_uri) is data_lake
    assert settings.data_factory is not None


def test_the_app_takes_connection_strings_from_the_vault() -> None:
    given = deployed("sourceSecret", "backupSecret")
    assert given["SourceStorage"] == "@Microsoft.KeyVault(VaultName=vaultname;SecretName=source-storage)"
    resolved = "BlobEndpoint=https://{}.blob.core.windows.net;SharedAccessSignature=sv=2024&sig=x"
    given |= {"SourceStorage": resolved.format("theirs"), "BackupStorage": resolved.format("other")}
    settings, problems = Settings.examine(given)
    assert problems == []
    assert settings.source.sas == "sv=2024&sig=x"


def test_the_host_gets_each_service_of_its_account_and_the_identity_for_it() -> None:
    host = {name: text(value) for name, value in properties(body(MODULE.of("var")["host"].node)).items()}
    for service in ("blob", "queue", "table"):
        address = f"'https://${{hostAccountName}}.{service}.${{suffix}}'"
        assert host[f"AzureWebJobsStorage__{service}ServiceUri"] == address
    for connection in ("AzureWebJobsStorage", "BackupQueue"):
        assert host[f"{connection}__credential"] == "'managedidentity'"
        assert host[f"{connection}__clientId"] == "identityClientId"


def test_what_the_environment_sets_counts_more_than_a_default() -> None:
    main = files()["main.bicep"]
    assert text(main.of("var")["chosen"].value) == "union(loadJsonContent('settings.json'), given, forced)"
    assert text(properties(properties(body(main.of("module")["appSettings"].node))["params"])["chosen"]) == "chosen"
    given = text(properties(properties(body(main.of("module")["hostStorage"].node))["params"])["queueName"])
    assert given == "chosen.SNAPKEEP_BACKUP_QUEUE"


FLEX_KNOWS_FROM_ELSEWHERE = {
    *("ENABLE_ORYX_BUILD", "FUNCTIONS_EXTENSION_VERSION", "FUNCTIONS_WORKER_RUNTIME", "SCM_DO_BUILD_DURING_DEPLOYMENT"),
    *("WEBSITE_RUN_FROM_PACKAGE", "WEBSITE_CONTENTSHARE", "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING"),
    *("FUNCTIONS_WORKER_RUNTIME_VERSION", "WEBSITE_VNET_ROUTE_ALL", "WEBSITE_CONTENTOVERVNET"),
}
"""Settings that must not be there: learn.microsoft.com/azure/azure-functions/functions-app-settings, deprecations."""


def test_flex_consumption_gets_nothing_that_it_refuses() -> None:
    app = files()["modules/function-app.bicep"]
    assert given_by_the_deployment() & FLEX_KNOWS_FROM_ELSEWHERE == set()
    assert set(properties(app.of("var")["premiumSettings"].value)) <= FLEX_KNOWS_FROM_ELSEWHERE
    assert text(app.of("var")["allSettings"].value) == "flex ? settings : union(settings, premiumSettings)"
    site = properties(properties(properties(body(app.of("resource")["app"].node))["properties"])["siteConfig"])
    for name in ("alwaysOn", "linuxFxVersion", "vnetRouteAllEnabled"):
        assert re.match(r"flex( \|\| empty\(subnetId\))? \? null : ", text(site[name])), name


def test_an_instance_has_one_of_the_sizes_that_there_are() -> None:
    sizes = re.findall(r"\d+", files()["main.bicep"].of("param")["instanceMemoryMB"].decorators["allowed"])
    assert sizes == ["512", "2048", "4096"]


def test_every_connection_is_read_by_the_app_but_for_what_the_host_needs() -> None:
    """A part that nobody reads would be misspelt: the identity of another name is then used in silence."""
    parts = {"blobServiceUri", "queueServiceUri", "dfsServiceUri", "credential", "clientId"}
    for name in given_by_the_deployment() - HOST_ONLY:
        connection, _, part = name.partition("__")
        if connection in CONNECTIONS:
            assert part in parts or not part, name


def test_schedules_and_limits_agree_with_the_platform() -> None:
    host = json.loads((ROOT / "host.json").read_text())
    hours, minutes, seconds = map(int, host["functionTimeout"].split(":"))
    limit_minutes = hours * 60 + minutes + seconds / 60
    assert float(DEFAULTS["SNAPKEEP_SYNC_TIMEOUT_MINUTES"]) < limit_minutes
    assert float(DEFAULTS["SNAPKEEP_RECONCILE_BUDGET_SECONDS"]) / 60 < limit_minutes
    assert float(DEFAULTS["SNAPKEEP_PROTECT_BUDGET_SECONDS"]) < 230
    for name in ("SNAPKEEP_SYNC_SCHEDULE", "SNAPKEEP_RECONCILE_SCHEDULE"):
        assert Schedule.parse(DEFAULTS[name])
        assert f"%{name}%" in (ROOT / "function_app.py").read_text()
    assert read_host_json(ROOT / "host.json").queues.max_dequeue_count == 5


@pytest.mark.parametrize("setting", ["SNAPKEEP_USE_LEASE", "SNAPKEEP_SYNC_DELETE"])
@pytest.mark.parametrize("value", ["true", "TRUE", "1", "yes", "on", "t", "y"])
def test_what_switches_something_on_in_the_app_also_gives_the_right_for_it(setting: str, value: str) -> None:
    settings, problems = Settings.examine(deployed("sourceIdentity", "backupIdentity") | {setting: value})
    assert problems == []
    assert settings.use_lease or settings.sync_delete
    main = files()["main.bicep"]
    yes = {string(each) for each in main.of("var")["yes"].value.named_children}
    assert value.lower() in yes
    assert f"contains(yes, toLower(trim(chosen.{setting})))" in main.source


def test_functions_that_are_kept_ready_exist() -> None:
    functions = set(re.findall(r'@app\.function_name\("(\w+)"\)', (ROOT / "function_app.py").read_text()))
    ready = set(
        re.findall(r"name: '(?:function:)?(\w+)'\n    instanceCount", files()["modules/function-app.bicep"].source)
    )
    assert ready == {"http", "backup"}
    assert {name for name in ready if name != "http"} <= functions


def test_the_infrastructure_and_the_packaging_agree_on_where_azcopy_is() -> None:
    path = text(properties(body(MODULE.of("var")["app"].node))["AZCOPY_PATH"]).strip("'")
    hook = (INFRA / "hooks" / "bring_azcopy.py").read_text()
    assert path == "/home/site/wwwroot/bin/azcopy"
    assert '"bin" / "azcopy"' in hook


def test_python_is_one_that_the_project_supports() -> None:
    [version] = re.findall(r"var pythonVersion = '([\d.]+)'", files()["modules/function-app.bicep"].source)
    assert version == "3.13"
    assert '">=3.11,<3.14"' in (ROOT / "pyproject.toml").read_text()

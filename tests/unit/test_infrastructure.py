"""What is deployed fits together: every file parses, every name that one file uses of another is there."""

import json
import re
from pathlib import Path

import pytest

from shared.containers import DRILL_PREFIX, POISON_SUFFIX, STAGING_CONTAINER, STATE_CONTAINER
from shared.settings import Settings
from tests.bicep import INFRA, BicepFile, body, files, local_names, members, module_file, properties, string, text

ROOT = INFRA.parent
ALL = pytest.mark.parametrize("file", files().values(), ids=lambda file: file.name)

NAMESPACE = {
    *("concat", "contains", "cidrSubnet", "empty", "environment"),
    *("filter", "guid", "items", "join", "last"),
    *("loadJsonContent", "loadTextContent", "map", "max", "replace"),
    *("resourceGroup", "resourceId", "split", "string", "subscription"),
    *("subscriptionResourceId", "tenant", "toLower", "toObject", "trim"),
    *("union", "uniqueString"),
}
"""What Bicep itself defines, as far as it is used here."""


@ALL
def test_a_file_parses(file: BicepFile) -> None:
    assert file.errors() == []


@ALL
def test_every_parameter_says_what_it_is_for(file: BicepFile) -> None:
    silent = [name for name, each in file.of("param").items() if len(each.decorators.get("description", "")) < 8]
    assert silent == []


@ALL
def test_every_name_that_is_used_is_declared_and_the_other_way_round(file: BicepFile) -> None:
    declared = {each.name for each in file.declarations if each.kind != "output"}
    used = file.identifiers()
    assert used - declared - local_names(file) - NAMESPACE == set()
    effects = set(file.of("resource")) | set(file.of("module"))
    assert declared - used - effects == set(), "declared, and used nowhere"


@ALL
def test_every_module_gets_the_parameters_that_it_has(file: BicepFile) -> None:
    problems = []
    for module in file.of("module").values():
        target = module_file(module, file)
        if target is None:
            problems.append(f"{module.name}: no file {module.target}")
            continue
        given = set(properties(properties(body(module.node))["params"]))
        known = target.of("param")
        problems += [f"{module.name}: {target.name} has no parameter {name}" for name in given - set(known)]
        needed = {name for name, parameter in known.items() if not parameter.has_default}
        problems += [f"{module.name}: {target.name} needs {name}" for name in needed - given]
    assert problems == []


@ALL
def test_every_output_that_is_read_is_there_and_the_other_way_round(file: BicepFile) -> None:
    modules = file.of("module")
    read = members(file)
    wrong = []
    for name, output in read:
        target = module_file(modules[name], file)
        if target is None or output not in target.of("output"):
            wrong.append(f"{name}.outputs.{output}")
    assert wrong == []
    unread = [
        f"{name}.{output}"
        for name, module in modules.items()
        if (target := module_file(module, file))
        for output in target.of("output")
        if (name, output) not in read
    ]
    assert unread == []


@ALL
def test_an_output_of_a_module_that_may_be_absent_is_read_as_such(file: BicepFile) -> None:
    """Bicep warns of a plain `.outputs` there: `!` says that the condition was thought of."""
    for name, module in file.of("module").items():
        plain = re.search(rf"\b{name}\.outputs\b", file.source)
        assert not (module.conditional and plain), f"{name} has a condition"
        assert not (not module.conditional and f"{name}!." in file.source), f"{name} has none"


def test_every_module_is_deployed() -> None:
    main = files()["main.bicep"]
    used = {module_file(each, main) for each in main.of("module").values()}
    assert {each.name for each in files().values() if each not in used} == {"main.bicep"}


def test_every_file_that_is_loaded_is_there() -> None:
    for file in files().values():
        for path in re.findall(r"load\w+Content\('([^']+)'\)", file.source):
            assert (file.path.parent / path).is_file(), f"{file.name}: {path}"


def test_every_definition_of_data_factory_is_deployed() -> None:
    loaded = set(
        re.findall(r"loadJsonContent\('\.\./(datafactory/[^']+)'\)", files()["modules/data-factory.bicep"].source)
    )
    assert loaded == {path.relative_to(INFRA).as_posix() for path in INFRA.glob("datafactory/*/*.json")}


def test_azd_can_give_every_parameter_from_its_environment() -> None:
    def variable(name: str) -> str:
        known = {"environmentName": "AZURE_ENV_NAME", "location": "AZURE_LOCATION"}
        return known.get(name) or "DEPLOY_" + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()

    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    settings = json.loads((INFRA / "settings.json").read_text())
    expected: dict[str, object] = {
        name: {"value": f"${{{variable(name)}}}"} for name in files()["main.bicep"].of("param")
    }
    expected["settings"] = {"value": {name: f"${{{name}}}" for name in settings}}
    assert given == expected


def test_a_parameter_with_a_choice_has_one_of_it_as_its_default() -> None:
    for name, parameter in files()["main.bicep"].of("param").items():
        if "allowed" in parameter.decorators and parameter.has_default:
            choices = re.findall(r"'([^']*)'|\b(\d+)\b", parameter.decorators["allowed"])
            assert text(parameter.value).strip("'") in {text or number for text, number in choices}, name


def test_the_app_and_the_infrastructure_call_containers_and_queues_the_same() -> None:
    source = {name: file.source for name, file in files().items()}
    assert f"name: '{STATE_CONTAINER}'" in source["modules/storage-host.bicep"]
    assert f"'${{queueName}}{POISON_SUFFIX}'" in source["modules/storage-host.bicep"]
    assert f"name: '{STAGING_CONTAINER}'" in source["modules/backup-containers.bicep"]
    assert f"name: '{STAGING_CONTAINER}'" in source["modules/roles-backup.bicep"]
    assert f"Container != '{STAGING_CONTAINER}'" in source["modules/alerts.bicep"]
    assert f"Container !startswith '{DRILL_PREFIX}'" in source["modules/alerts.bicep"]


def test_no_lock_is_taken_without_being_asked_for_twice() -> None:
    main = files()["main.bicep"].of("param")
    assert text(main["immutability"].value) == "'none'"
    assert text(main["lockImmutability"].value) == "false"
    lock = text(files()["main.bicep"].of("output")["SNAPKEEP_CONTAINERS_TO_LOCK"].value)
    assert lock.startswith("lockImmutability && immutability != 'none'")


def test_a_locked_policy_is_not_written_again() -> None:
    """Azure takes no second write of one (only an extension), so every later deployment would fail."""
    module = files()["modules/backup-containers.bicep"]
    assert "!contains(locked, '${container}bak')" in text(module.of("var")["guarded"].value)
    assert "if (contains(guarded, container))" in text(module.of("resource")["policies"].node)
    assert "for container in guarded" in text(module.of("output")["containerNames"].node)


@pytest.mark.parametrize("name", ["storage-host", "storage-source", "storage-backup"])
def test_no_account_takes_keys_or_anonymous_readers(name: str) -> None:
    [account] = [
        each
        for each in files()[f"modules/{name}.bicep"].of("resource").values()
        if each.target.startswith("Microsoft.Storage/storageAccounts@")
    ]
    given = {key: text(value) for key, value in properties(properties(body(account.node))["properties"]).items()}
    expected = {"allowSharedKeyAccess": "false", "allowBlobPublicAccess": "false", "minimumTlsVersion": "'TLS1_2'"}
    assert {key: given.get(key) for key in expected} == expected
    assert given["publicNetworkAccess"] == "private ? 'Disabled' : 'Enabled'"


def test_nothing_deletes_snapshots_or_backups_by_default() -> None:
    main = files()["main.bicep"].of("param")
    assert {text(main[name].value) for name in ("sourceSnapshotDays", "backupExpireAfterDays")} == {"0"}
    source = files()["modules/storage-source.bicep"].source
    assert "if (snapshotDays > 0)" in source
    assert "max(30, snapshotDays)" in source


def test_there_is_a_vault_only_where_something_is_kept_in_it() -> None:
    """It cannot be purged: its name stays taken for 90 days after `azd down`, and a trial could not come again."""
    main = files()["main.bicep"]
    assert text(main.of("var")["useVault"].value) == "sourceBySas || backupBySas || ingestion != 'none'"
    assert re.search(r"module vault 'modules/key-vault.bicep' = if \(useVault\) \{", main.source)


def test_the_package_is_put_and_read_with_an_identity_in_a_container_of_its_own() -> None:
    storage = properties(properties(files()["modules/function-app.bicep"].of("var")["flexConfig"].value)["deployment"])
    given = properties(storage["storage"])
    assert text(given["value"]) == "packageContainerUrl"
    identity = {"type": "'UserAssignedIdentity'", "userAssignedIdentityResourceId": "identityId"}
    assert {name: text(value) for name, value in properties(given["authentication"]).items()} == identity
    host = files()["modules/storage-host.bicep"]
    url = "'${account.properties.primaryEndpoints.blob}${packages.name}'"
    assert text(host.of("output")["packageContainerUrl"].value) == url


def test_a_token_for_the_app_is_one_of_the_version_that_its_issuer_gives() -> None:
    """A token of version 2 has the client id for its audience; one of version 1 has another issuer."""
    app = files()["modules/function-app.bicep"].source
    assert "tenant().tenantId}/v2.0'" in app
    assert re.search(r"allowedAudiences: \[\s+audience\s+clientId\s+\]", app)
    assert "--requested-access-token-version 2" in (ROOT / "docs/deploy.md").read_text()


def test_the_app_takes_tokens_of_the_factory_alone() -> None:
    """Named as an application, too: App Service refuses those that it is not told of."""
    app = files()["modules/function-app.bicep"].source
    assert re.search(r"allowedPrincipals: \{\s+identities: \[\s+callerPrincipalId\s+\]", app)
    assert re.search(r"allowedApplications: \[\s+callerClientId\s+\]", app)
    given = properties(properties(body(files()["main.bicep"].of("module")["functionApp"].node))["params"])
    assert text(given["callerPrincipalId"]) == "identities.outputs.factoryPrincipalId"
    assert text(given["callerClientId"]) == "identities.outputs.factoryClientId"


def test_every_private_endpoint_has_a_zone_for_its_name() -> None:
    kinds = set(re.findall(r"kind: '(\w+)'", files()["modules/private-endpoints.bicep"].source))
    network = files()["modules/network.bicep"]
    zones = {name: text(value).strip("'") for name, value in properties(network.of("var")["zoneNames"].value).items()}
    listed = {text(each) for each in network.of("var")["zoneList"].value.named_children}
    given = set(properties(network.of("output")["zoneIds"].value))
    assert kinds == set(zones) == given == {each.removeprefix("zoneNames.") for each in listed}
    assert zones == {
        **{
            each: f"privatelink.{each}.${{environment().suffixes.storage}}"
            for each in ("blob", "queue", "table", "dfs")
        },
        "sites": "privatelink.azurewebsites.net",
        "vault": "privatelink.vaultcore.azure.net",
        "dataFactory": "privatelink.datafactory.azure.net",
    }
    assert "plan == 'flex' ? 'Microsoft.App/environments' : 'Microsoft.Web/serverFarms'" in network.source


def test_a_plan_is_named_by_its_size_alone() -> None:
    """P0v3 is of another tier (Premium0V3) than the larger ones, and the name says it all."""
    size = files()["modules/function-app.bicep"].of("var")["alwaysOnSize"]
    assert set(properties(size.value)) == {"name", "capacity"}


def test_neither_expired_backups_nor_staged_blobs_are_kept_as_versions() -> None:
    """In an account with versions a deletion makes the blob a version, which only a rule for versions ends."""
    backup = files()["modules/storage-backup.bicep"]
    assert "expireAfterDays > 0 && !hierarchicalNamespace ? { version: expire } : {}" in text(
        backup.of("var")["actions"].value
    )
    staging = properties(properties(backup.of("var")["discardedStaging"].value)["definition"])
    [prefix] = properties(staging["filters"])["prefixMatch"].named_children
    assert string(prefix) == f"{STAGING_CONTAINER}/"
    assert set(properties(staging["actions"])) == {"version"}
    assert "hierarchicalNamespace ? [] : [discardedStaging]" in text(backup.of("var")["rules"].value)


def test_no_secret_is_read_or_written_by_a_template() -> None:
    for file in files().values():
        assert not re.search(r"\blist(Keys|AccountSas|ServiceSas|Secrets)\b|vaults/secrets|@secure", file.source), (
            file.name
        )


def test_the_folder_that_is_deployed_holds_the_app_and_nothing_else() -> None:
    ignored = (ROOT / ".funcignore").read_text().split()
    for name in ("infra", "local", "tests", "bench", "docs", ".venv*", ".ci", ".git*", ".azure", "azure.yaml"):
        assert name in ignored
    for name in ("bin", "shared", "function_app.py", "host.json", "requirements.txt", "*"):
        assert name not in ignored
    assert Path(ROOT / "host.json").is_file()


DOCUMENTS = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "SECURITY.md", INFRA / "datafactory/README.md"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_parameters_outputs_and_files_that_there_are(path: Path) -> None:
    document = path.read_text(encoding="utf-8")
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    variables = {each["value"].strip("${}") for each in given.values() if isinstance(each["value"], str)}
    known = variables | set(files()["main.bicep"].of("output")) | {"AZURE_CLIENT_ID", "DEPLOY_AZCOPY_URL"}
    known |= {str(field.alias) for field in Settings.model_fields.values()}
    named = set(re.findall(r"\b(?:DEPLOY|SNAPKEEP)_[A-Z][A-Z_]+[A-Z]\b", document))
    assert {name for name in named if not any(each == name or each.startswith(f"{name}_") for each in known)} == set()
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document):
        assert (path.parent / link).exists(), link


def test_the_way_to_deploy_names_parameters_that_there_are() -> None:
    document = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    parameters = set(files()["main.bicep"].of("param"))
    named = set(re.findall(r"`([a-z]+[A-Z]\w+)(?:=[^`]*)?`", document))
    assert named - parameters == {"functionTimeout", "prefixMatch"}
    used = set(re.findall(r"azd env set (\w+)", document))
    assert used >= {"DEPLOY_SOURCE_ACCOUNT_NAME", "DEPLOY_IMMUTABILITY", "DEPLOY_ALERT_EMAIL"}

"""The roles grant what the code needs and nothing else; every line of them says why."""

import ast
import re
from pathlib import Path

import pytest
from azure.mgmt.datafactory.aio.operations import PipelineRunsOperations, PipelinesOperations
from azure.storage.blob.aio import BlobClient, BlobLeaseClient, BlobServiceClient, ContainerClient
from azure.storage.queue.aio import QueueClient

from shared.decisions import rights
from shared.decisions.rights import Rights
from tests.bicep import INFRA, Declaration, body, files, properties, string, text, walk

ROOT = INFRA.parent
ADAPTERS = sorted((ROOT / "shared" / "adapters").glob("*.py"))

ROLES: dict[tuple[str, str], Rights] = {
    ("roles-source", "appRole"): rights.APP_ON_SOURCE,
    ("roles-source", "factoryRole"): rights.FACTORY_ON_SOURCE,
    ("roles-source", "restoreRole"): rights.RESTORER_ON_SOURCE,
    ("roles-backup", "appRole"): rights.APP_ON_BACKUP,
    ("roles-backup", "stagingRole"): rights.APP_ON_STAGING,
    ("roles-backup", "factoryRole"): rights.FACTORY_ON_STAGING,
    ("roles-backup", "drillRole"): rights.APP_FOR_DRILLS,
    ("roles-backup", "mirrorRole"): rights.APP_FOR_MIRRORED_DELETIONS,
    ("roles-backup", "restoreRole"): rights.RESTORER_ON_BACKUP,
    ("roles-host", "queueRole"): rights.APP_ON_QUEUE,
    ("roles-factory", "appRole"): rights.APP_ON_FACTORY,
}

BUILT_IN = {
    ("modules/roles-host.bicep", "Storage Blob Data Owner"),
    ("modules/roles-host.bicep", "Storage Table Data Contributor"),
    ("modules/key-vault.bicep", "Key Vault Secrets User"),
    ("modules/monitoring.bicep", "Monitoring Metrics Publisher"),
}
"""Azure's own roles that are assigned, and where: none of them on the accounts of the source and the backups."""

NEVER = re.compile(
    r"\*|listKeys|regenerateKey|deleteBlobVersion|permanentDelete|immutab|runAsSuperUser|manageOwnership"
    r"|modifyPermissions|setAcl|roleAssignments|/delete$",
    re.IGNORECASE,
)
DELETING = {"stagingRole", "drillRole", "mirrorRole"}
"""Roles that may delete: each is confined to something, or off unless it is asked for."""


def resources() -> dict[tuple[str, str], Declaration]:
    return {
        (Path(file.name).stem, name): each
        for file in files().values()
        for name, each in file.of("resource").items()
        if each.target.startswith("Microsoft.Authorization/roleDefinitions")
    }


def granted(role: Declaration, kind: str) -> set[str]:
    """The actions (or data actions) that a role always grants."""
    [permissions] = properties(properties(body(role.node))["properties"])["permissions"].named_children
    first = next(node for node in walk(properties(permissions)[kind]) if node.type == "array")
    return {action for each in first.named_children if (action := string(each))}


def test_every_role_is_compared() -> None:
    assert set(resources()) == set(ROLES)


@pytest.mark.parametrize("key", sorted(ROLES), ids="/".join)
def test_a_role_grants_what_the_code_needs(key: tuple[str, str]) -> None:
    role, needed = resources()[key], ROLES[key]
    assert granted(role, "dataActions") == needed & rights.DATA_ACTIONS
    assert granted(role, "actions") == needed - rights.DATA_ACTIONS


def test_leases_add_one_right_and_only_while_they_are_on() -> None:
    file = files()["modules/roles-source.bicep"]
    added = {action for node in walk(file.of("var")["leaseRights"].node) if (action := string(node))}
    assert added == rights.APP_ON_SOURCE_FOR_LEASES
    assert "leases ? leaseRights : []" in file.source


@pytest.mark.parametrize("key", sorted(ROLES), ids="/".join)
def test_no_role_grants_what_nobody_in_the_app_may_do(key: tuple[str, str]) -> None:
    role = resources()[key]
    every = granted(role, "actions") | granted(role, "dataActions")
    bad = {action for action in every if NEVER.search(action)}
    assert {action for action in bad if not (key[1] in DELETING and action.endswith("/delete"))} == set()


def test_the_right_to_delete_is_confined_or_asked_for() -> None:
    backup = files()["modules/roles-backup.bicep"].of("resource")
    assert text(properties(body(backup["appOnStaging"].node))["scope"]) == "staging"
    assert backup["appDrills"].conditional
    assert backup["drillRole"].conditional
    mirrors = properties(properties(body(backup["appOnMirrors"].node))["properties"])
    assert text(mirrors["conditionVersion"]) == "'2.0'"
    assert "containers:name] ForAnyOfAnyValues:StringEquals {${inMirrors}}" in text(mirrors["condition"])
    assert text(files()["main.bicep"].of("param")["drills"].value) == "false"


def test_every_line_of_a_role_says_why() -> None:
    for file in files().values():
        for number, line in enumerate(file.source.splitlines(), 1):
            if re.match(r"\s*'Microsoft\.[\w./]+'", line) and "Microsoft.App/environments" not in line:
                assert re.search(r"// \S.{5,}", line), f"{file.name}:{number}"


def test_the_roles_of_azure_that_are_assigned_are_known() -> None:
    found = {
        (file.name, comment.split(":")[0])
        for file in files().values()
        for comment in re.findall(r"= '[0-9a-f-]{36}' // (.+)", file.source)
    }
    assert found == BUILT_IN
    ids = [guid for file in files().values() for guid in re.findall(r"'([0-9a-f]{8}-[0-9a-f-]{27})'", file.source)]
    assert len(ids) == len(BUILT_IN)


ASSIGNMENTS = {
    ("roles-source", "app"): ("appRole", "appPrincipalId", "account"),
    ("roles-source", "factoryAssignment"): ("factoryRole", "factoryPrincipalId", "account"),
    ("roles-backup", "app"): ("appRole", "appPrincipalId", "account"),
    ("roles-backup", "appOnStaging"): ("stagingRole", "appPrincipalId", "staging"),
    ("roles-backup", "factoryOnStaging"): ("factoryRole", "factoryPrincipalId", "staging"),
    ("roles-backup", "appDrills"): ("drillRole", "appPrincipalId", "account"),
    ("roles-backup", "appOnMirrors"): ("mirrorRole", "appPrincipalId", "account"),
    ("roles-host", "platform"): ("role", "appPrincipalId", "account"),
    ("roles-host", "queue"): ("queueRole", "appPrincipalId", "account"),
    ("roles-factory", "app"): ("appRole", "appPrincipalId", "factory"),
    ("key-vault", "reading"): ("secretsUser", "reader", "vault"),
    ("monitoring", "publishing"): ("metricsPublisher", "appPrincipalId", "insights"),
}
"""Which role is given to whom, and where. The roles of those who restore are given to nobody."""


def assignment(each: Declaration) -> tuple[str, str, str]:
    given = properties(body(each.node))
    inside = properties(given["properties"])
    assert text(inside["principalType"]) == "'ServicePrincipal'"
    role = re.sub(r"^subscriptionResourceId\(.*, (\w+)\)$|\.id$", r"\1", text(inside["roleDefinitionId"]))
    return role, text(inside["principalId"]), text(given["scope"]) if "scope" in given else "the resource group"


def test_every_role_is_given_to_whom_it_is_meant_for_and_no_further_than_needed() -> None:
    found = {
        (Path(file.name).stem, name): assignment(each)
        for file in files().values()
        for name, each in file.of("resource").items()
        if each.target.startswith("Microsoft.Authorization/roleAssignments")
    }
    assert found == ASSIGNMENTS


def test_every_module_takes_each_identity_for_what_it_is() -> None:
    main = files()["main.bicep"]
    for module in main.of("module").values():
        for name, value in properties(properties(body(module.node))["params"]).items():
            if name in {"appPrincipalId", "factoryPrincipalId"}:
                assert text(value) == f"identities.outputs.{name}", module.name
    identities = files()["modules/identities.bicep"].of("output")
    for name, of in {"appPrincipalId": "appIdentity", "factoryPrincipalId": "factoryIdentity"}.items():
        assert text(identities[name].value) == f"{of}.properties.principalId"


SDK = {
    name
    for client in (
        *(BlobClient, BlobLeaseClient, BlobServiceClient, ContainerClient, QueueClient),
        *(PipelinesOperations, PipelineRunsOperations),
    )
    for name in vars(client)
    if not name.startswith("_")
}
"""Every method of the clients that the adapters use."""

HARMLESS = {"close", "from_connection_string", "get_blob_client", "get_container_client", "get", "models", "url"}
"""Those that call no service; and `get`, which too many other things have: the factory's is in no doubt."""


def test_every_call_of_an_sdk_has_its_rights() -> None:
    called = {}
    for path in ADAPTERS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in SDK - HARMLESS:
                called[node.attr] = f"{path.name}:{node.lineno}"
    unknown = {name: where for name, where in called.items() if name not in rights.CALLS}
    assert unknown == {}, (
        "say in shared/decisions/rights.py what these need, and grant it in infra/modules/roles-*.bicep"
    )
    unused = set(rights.CALLS) - set(called)
    assert unused == set(), "no adapter calls these any more"


def sent(tree: ast.AST) -> set[tuple[str, str, str]]:
    """The calls that a module makes past the SDK, by `Calls.send`: method, kind and the query's `comp`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "send":
            if "calls" not in ast.unparse(node.func.value):
                continue
            query = "".join(ast.unparse(each.value) for each in node.keywords if each.arg == "query")
            comp = re.search(r"comp=(\w+)", query)
            found.add((ast.literal_eval(node.args[0]), ast.literal_eval(node.args[2]), comp[1] if comp else ""))
    return found


def test_every_call_past_the_sdk_has_its_rights() -> None:
    found = {call for path in ADAPTERS for call in sent(ast.parse(path.read_text()))}
    assert found == set(rights.SENT), "say in shared/decisions/rights.py what these need"
    by_hand = {path.name for path in ADAPTERS if re.search(r"\.send_request\(|session\.request\(", path.read_text())}
    assert by_hand == {"calls.py", "listing.py"}, "listings, and what `Calls` sends"


def test_every_right_that_a_call_needs_is_granted_to_the_app_or_to_those_who_restore() -> None:
    app = rights.APP_ON_SOURCE | rights.APP_ON_SOURCE_FOR_LEASES | rights.APP_ON_BACKUP | rights.APP_ON_STAGING
    app |= rights.APP_FOR_DRILLS | rights.APP_ON_QUEUE | rights.APP_ON_FACTORY
    needed = {right for calls in (rights.CALLS, rights.SENT) for call in calls.values() for right in call}
    assert needed - app == set()
    assert app - needed == {rights.PIPELINES_READ, rights.RUNS_READ}, "`get` of pipelines and of runs"

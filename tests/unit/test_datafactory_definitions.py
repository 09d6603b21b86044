"""The shipped Data Factory definitions fit the public schema; what the stand-in does not know, it refuses."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from local.datafactory import DataFactoryStandIn, DefinitionError
from local.datafactory.definitions import arguments, load
from local.datafactory.model import Parameter

DEFINITIONS = Path(__file__).parents[2] / "infra" / "datafactory"
SCHEMA = json.loads((Path(__file__).parents[1] / "schemas" / "datafactory.json").read_text(encoding="utf-8"))
RESOURCE_TYPES = {
    "credential": "credentials",
    "dataset": "datasets",
    "linkedService": "linkedservices",
    "pipeline": "pipelines",
}
SHIPPED = sorted(DEFINITIONS.glob("*/*.json"))

Document = dict[str, Any]


def closed(schema: Any) -> Any:
    """The schema, but without room for properties that it does not name: there a typing error would hide."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: closed(value) for key, value in schema.items() if key != "additionalProperties" or value != {}}


def strict_schema(kind: str) -> Document:
    schema: Document = closed(SCHEMA)
    for definition in schema["definitions"].values():
        if definition.get("type") == "object":
            definition["unevaluatedProperties"] = False
    resource = schema["resourceDefinitions"][f"factories_{kind}"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **resource,
        "definitions": schema["definitions"],
    }


def as_resource(document: Document, kind: str) -> Document:
    """The definition as a template deploys it: Bicep and ARM put the factory's name before its own."""
    return {
        "type": f"Microsoft.DataFactory/factories/{kind}",
        "apiVersion": "2018-06-01",
        "name": f"[concat(parameters('factoryName'), '/{document['name']}')]",
        "properties": document["properties"],
    }


def problems(document: Document, kind: str) -> list[str]:
    validator = Draft202012Validator(strict_schema(kind))
    return [error.message for error in validator.iter_errors(as_resource(document, kind))]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_definition_fits_the_public_schema(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    assert problems(document, RESOURCE_TYPES[path.parent.name]) == []


def test_all_kinds_of_definitions_are_shipped() -> None:
    assert [f"{path.parent.name}/{path.stem}" for path in SHIPPED] == [
        "credential/factory_identity",
        "dataset/source_blob",
        "dataset/staged_blob",
        "linkedService/BackupStorage",
        "linkedService/KeyVault",
        "linkedService/SnapkeepApp",
        "linkedService/SourceStorage",
        "pipeline/backup_blobs",
        "pipeline/ingest_and_protect",
    ]


def shipped(name: str) -> Document:
    document: Document = json.loads((DEFINITIONS / f"{name}.json").read_text(encoding="utf-8"))
    return document


def loop(pipeline: Document) -> Document:
    found: Document = pipeline["properties"]["activities"][0]["typeProperties"]
    return found


def copying(pipeline: Document) -> Document:
    found: Document = loop(pipeline)["activities"][0]
    return found


def test_every_copy_fails_when_its_source_is_gone_or_changes_under_it() -> None:
    """The service's own defaults are to skip the one, and not to look at the other."""
    ingesting = shipped("pipeline/ingest_and_protect")["properties"]["activities"][0]
    for copies in (copying(shipped("pipeline/backup_blobs")), ingesting):
        assert copies["typeProperties"]["skipErrorFile"] == {"fileMissing": False, "dataInconsistency": False}
        assert copies["typeProperties"]["validateDataConsistency"] is True


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p["properties"].update(activitys=[]),
        lambda p: loop(p).update(batchCount=51),
        lambda p: copying(p)["typeProperties"].update(validateDataConsistancy=True),
        lambda p: copying(p)["typeProperties"]["skipErrorFile"].update(fileMising=True),
        lambda p: copying(p)["typeProperties"]["source"].update(type="BlobbySource"),
        lambda p: copying(p)["policy"].update(retryIntervalInSeconds=5),
    ],
)
def test_the_schema_check_notices_a_mistake(change: Callable[[Document], None]) -> None:
    pipeline = shipped("pipeline/backup_blobs")
    change(pipeline)
    assert problems(pipeline, "pipelines")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEFINITIONS, tmp_path / "definitions"))


def nest(pipeline: Document) -> None:
    inner = copy.deepcopy(pipeline["properties"]["activities"][0])
    loop(pipeline)["activities"].append(inner | {"name": "Inner"})


def circle(pipeline: Document) -> None:
    copying(pipeline)["dependsOn"] = [{"activity": "Note failure", "dependencyConditions": ["Failed"]}]


def rename(pipeline: Document) -> None:
    loop(pipeline)["activities"][1]["name"] = "Copy blob"


def settings(pipeline: Document) -> Document:
    found: Document = copying(pipeline)["typeProperties"]
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p["properties"].update(concurrency=1), "does not know concurrency"),
        (lambda p: copying(p).update(type="Delete"), 'type must be "Copy" or "ForEach"'),
        (lambda p: copying(p).update(state="Inactive"), "does not know state"),
        (lambda p: copying(p).update(name=7), "name must be text, not 7"),
        (lambda p: settings(p).update(parallelCopies=2), "does not know parallelCopies"),
        (lambda p: settings(p).update(validateDataConsistency=False), "validateDataConsistency must be true"),
        (lambda p: settings(p).update(validateDataConsistency=1), "validateDataConsistency must be true"),
        (lambda p: settings(p).update(enableStaging=True), "enableStaging must be false"),
        (lambda p: settings(p).pop("skipErrorFile"), "skipErrorFile is missing"),
        (lambda p: settings(p)["skipErrorFile"].pop("fileMissing"), "fileMissing is missing"),
        (lambda p: settings(p)["skipErrorFile"].update(dataInconsistency=True), "dataInconsistency must be"),
        (
            lambda p: settings(p)["source"]["storeSettings"].update(deleteFilesAfterCompletion=True),
            "deleteFilesAfterCompletion must be false",
        ),
        (lambda p: settings(p)["source"]["storeSettings"].update(wildcardFileName="*"), "wildcardFileName"),
        (lambda p: settings(p)["sink"]["storeSettings"].update(copyBehavior="MergeFiles"), "copyBehavior"),
        (lambda p: settings(p).update(dataIntegrationUnits=1), "dataIntegrationUnits must be 2 to 256"),
        (lambda p: copying(p)["policy"].update(timeout="12h"), "timeout must look like"),
        (lambda p: copying(p)["policy"].update(retryIntervalInSeconds=1), "must be 30 to 86400"),
        (lambda p: copying(p)["inputs"].append({}), "inputs must hold exactly one dataset"),
        (lambda p: copying(p)["inputs"][0].update(referenceName="other"), "no dataset other"),
        (lambda p: copying(p)["inputs"][0]["parameters"].pop("blob"), "needs a value for blob"),
        (lambda p: copying(p)["inputs"][0]["parameters"].update(folder="x"), "has no parameter folder"),
        (lambda p: copying(p)["inputs"][0]["parameters"].update(blob=7), "must be text or an expression"),
        (
            lambda p: copying(p)["inputs"][0]["parameters"].update(blob="@toUpper(item().source)"),
            r"toUpper\(\) with 1 arguments is not known",
        ),
        (lambda p: loop(p).update(items="@item().list"), r"item\(\) exists only inside ForEach"),
        (lambda p: loop(p).update(batchCount=0), "batchCount must be 1 to 50"),
        (lambda p: loop(p)["activities"][1].update(type="SetVariable"), "SetVariable in a parallel ForEach"),
        (lambda p: p["properties"]["variables"]["failed"].update(type="String"), "failed is not an array"),
        (lambda p: p["properties"].update(variables={}), "no variable failed"),
        (
            lambda p: p["properties"]["parameters"]["container"].update(type="SecureString"),
            "type must be",
        ),
        (nest, "does not allow ForEach inside ForEach"),
        (circle, "wait for each other in a circle"),
        (rename, "two activities have the same name"),
        (lambda p: p.update(name="other"), "the file is called backup_blobs.json"),
    ],
)
def test_a_pipeline_with_something_unknown_is_refused(
    folder: Path, change: Callable[[Document], None], message: str
) -> None:
    pipeline = shipped("pipeline/backup_blobs")
    change(pipeline)
    (folder / "pipeline" / "backup_blobs.json").write_text(json.dumps(pipeline), encoding="utf-8")
    with pytest.raises(DefinitionError, match=message):
        load(folder)


def until(pipeline: Document) -> Document:
    found: Document = pipeline["properties"]["activities"][1]
    return found


def turn(pipeline: Document, name: str) -> Document:
    found: Document = next(each for each in until(pipeline)["typeProperties"]["activities"] if each["name"] == name)
    return found


def nested_loop(pipeline: Document) -> None:
    inner = copy.deepcopy(until(pipeline)) | {"name": "Inner", "dependsOn": []}
    until(pipeline)["typeProperties"]["activities"].append(inner)


def nested_branch(pipeline: Document) -> None:
    branch = turn(pipeline, "Some blobs failed")
    inner = copy.deepcopy(branch) | {"name": "Inner", "dependsOn": []}
    branch["typeProperties"]["ifTrueActivities"].append(inner)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nested_loop, "does not allow Until inside Until"),
        (nested_branch, "does not allow IfCondition inside IfCondition"),
        (lambda p: until(p)["typeProperties"].pop("timeout"), "timeout is missing"),
        (lambda p: until(p)["typeProperties"].update(expression="@variables('other')"), "no variable 'other'"),
        (lambda p: turn(p, "Call protect")["typeProperties"].update(method="DELETE"), "method must be"),
        (lambda p: turn(p, "Call protect")["typeProperties"].pop("body"), "body is missing"),
        (lambda p: turn(p, "Call protect")["typeProperties"].update(query={}), "does not know query"),
        (
            lambda p: turn(p, "Call protect")["linkedServiceName"].update(referenceName="SourceStorage"),
            "no Functions app SourceStorage",
        ),
        (
            # Side by side, the one may begin before the other has ended: on the service its output is then missing.
            lambda p: turn(p, "Keep continuation").update(dependsOn=[]),
            "no activity 'Call protect' has ended",
        ),
        (
            lambda p: turn(p, "Keep continuation")["typeProperties"].update(
                value="@concat(variables('continuation'), 'x')"
            ),
            "does not allow continuation in its own new value",
        ),
        (lambda p: p["properties"]["variables"]["ended"].update(defaultValue="no"), "must be true or false"),
    ],
)
def test_a_calling_pipeline_with_something_unknown_is_refused(
    folder: Path, change: Callable[[Document], None], message: str
) -> None:
    pipeline = shipped("pipeline/ingest_and_protect")
    change(pipeline)
    (folder / "pipeline" / "ingest_and_protect.json").write_text(json.dumps(pipeline), encoding="utf-8")
    with pytest.raises(DefinitionError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("dataset/source_blob", lambda d: d["properties"].update(type="Json"), 'type must be "Binary"'),
        (
            "dataset/source_blob",
            lambda d: d["properties"]["typeProperties"].update(compression={}),
            "does not know compression",
        ),
        (
            "dataset/source_blob",
            lambda d: d["properties"]["typeProperties"]["location"].update(folderPath="x"),
            "does not know folderPath",
        ),
        (
            "dataset/source_blob",
            lambda d: d["properties"]["linkedServiceName"].update(referenceName="Other"),
            "no linked service Other",
        ),
        ("linkedService/SourceStorage", lambda d: d["properties"].update(type="AzureBlobFS"), "type must be"),
        (
            "linkedService/SourceStorage",
            lambda d: d["properties"]["typeProperties"]["credential"].update(referenceName="other"),
            "no credential other",
        ),
        (
            "linkedService/SnapkeepApp",
            lambda d: d["properties"]["typeProperties"].update(functionKey={"type": "SecureString", "value": "x"}),
            'type must be "AzureKeyVaultSecret"',
        ),
        (
            "linkedService/SnapkeepApp",
            lambda d: d["properties"]["typeProperties"]["functionKey"]["store"].update(referenceName="other"),
            "no key vault other",
        ),
        ("credential/factory_identity", lambda d: d["properties"].update(type="ServicePrincipal"), "type must be"),
        (
            "linkedService/SourceStorage",
            lambda d: d["properties"]["typeProperties"].update(connectionString="x"),
            "does not know connectionString",
        ),
    ],
)
def test_a_dataset_or_linked_service_with_something_unknown_is_refused(
    folder: Path, name: str, change: Callable[[Document], None], message: str
) -> None:
    document = shipped(name)
    change(document)
    (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(DefinitionError, match=message):
        load(folder)


def test_a_file_that_is_not_json_and_an_empty_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="expected a folder of Data Factory definitions"):
        load(tmp_path / "nothing")
    (folder / "dataset" / "source_blob.json").write_text("{", encoding="utf-8")
    with pytest.raises(DefinitionError, match=r"dataset/source_blob.json: not JSON"):
        load(folder)


def test_every_linked_service_needs_a_connection() -> None:
    with pytest.raises(DefinitionError, match="one connection string for each of: BackupStorage, SourceStorage"):
        DataFactoryStandIn(DEFINITIONS, {"SourceStorage": "x"})


def test_parameters_take_their_defaults_and_are_checked() -> None:
    declared = {
        "name": Parameter("String", required=True),
        "count": Parameter("Int", required=False, default=3),
    }
    assert arguments(declared, {"name": "a"}, "it") == {"name": "a", "count": 3}
    assert arguments(declared, {"name": "a", "count": 4}, "it") == {"name": "a", "count": 4}
    refused: list[tuple[Document, str]] = [
        ({}, "it needs a value for name"),
        ({"name": "a", "other": 1}, "it has no parameter other"),
        ({"name": 1}, "parameter name of it must be of type String"),
        ({"name": "a", "count": True}, "parameter count of it must be of type Int"),
    ]
    for given, message in refused:
        with pytest.raises(DefinitionError, match=message):
            arguments(declared, given, "it")

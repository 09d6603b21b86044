"""Loads a folder of Data Factory definitions (its own git format); refuses what the stand-in does not know.

`pipeline/*.json`, `dataset/*.json`, `linkedService/*.json`, `credential/*.json`; activities are read in `activities`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.datafactory.activities import read_activities
from local.datafactory.expressions import Names
from local.datafactory.fields import DefinitionError, Fields
from local.datafactory.model import (
    FUNCTION_APP,
    KEY_VAULT,
    STORAGE,
    BlobDataset,
    CallFunction,
    Copy,
    Factory,
    Parameter,
    Pipeline,
    all_activities,
)
from local.datafactory.reading import read_parameters, read_template

_VARIABLE_TYPES: Mapping[str, type] = {"String": str, "Bool": bool, "Array": list}
_PARAMETER_TYPES: Mapping[str, type] = {
    "String": str,
    "Int": int,
    "Bool": bool,
    "Array": list,
    "Object": dict,
}


def load(folder: Path) -> Factory:
    """Reads every definition below `folder`. Raises DefinitionError naming the file and the property."""
    credentials = frozenset(_credential(path) for path in _files(folder, "credential"))
    read = [_linked_service(path, credentials) for path in _files(folder, "linkedService")]
    linked_services = {name: kind for name, kind, _ in read}
    for name, _, vault in read:
        if vault is not None and linked_services.get(vault) != KEY_VAULT:
            raise DefinitionError(f"linked service {name}: no key vault {vault}")
    datasets = {dataset.name: dataset for dataset in map(_dataset, _files(folder, "dataset"))}
    pipelines = {pipeline.name: pipeline for pipeline in map(_pipeline, _files(folder, "pipeline"))}
    if not pipelines:
        raise DefinitionError(f"{folder}: no pipeline/*.json; expected a folder of Data Factory definitions")
    factory = Factory(pipelines, datasets, linked_services)
    _check_references(factory)
    return factory


def arguments(parameters: Mapping[str, Parameter], given: Mapping[str, Any], of: str) -> dict[str, Any]:
    """The value of each parameter. Raises DefinitionError for missing, unknown and mistyped ones."""
    if unknown := sorted(set(given) - set(parameters)):
        raise DefinitionError(f"{of} has no parameter {', '.join(unknown)}")
    if missing := sorted(n for n, p in parameters.items() if p.required and n not in given):
        raise DefinitionError(f"{of} needs a value for {', '.join(missing)}")
    values = {name: given.get(name, parameter.default) for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        if type(values[name]) is not _PARAMETER_TYPES[parameter.type]:
            raise DefinitionError(f"parameter {name} of {of} must be of type {parameter.type}")
    return values


def _files(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / kind).glob("*.json"))


def _named(path: Path, document: Fields) -> str:
    name = document.required("name", str)
    if name != path.stem:
        # Data Factory's git mode identifies a resource by its file name.
        raise DefinitionError(f"{document.where}: name is {name!r}, but the file is called {path.name}")
    return name


def _credential(path: Path) -> str:
    with Fields.of_file(path) as document:
        name = _named(path, document)
        with document.nested("properties") as properties:
            properties.ignore("description", "annotations")
            properties.only("type", "ManagedIdentity")
            with properties.nested("typeProperties") as settings:
                settings.required("resourceId", str)
    return name


def _linked_service(path: Path, credentials: frozenset[str]) -> tuple[str, str, str | None]:
    """Its name, its type, and the key vault that it needs."""
    vault = None
    with Fields.of_file(path) as document:
        name = _named(path, document)
        with document.nested("properties") as properties:
            properties.ignore("description", "annotations")
            kind = properties.only("type", STORAGE, FUNCTION_APP, KEY_VAULT)
            with properties.nested("typeProperties") as settings:
                _read_identity(settings, credentials)
                match kind:
                    case "AzureFunction":
                        vault = _read_function_app(settings)
                    case "AzureKeyVault":
                        settings.required("baseUrl", str)
                    case _:
                        settings.required("serviceEndpoint", str)
                        settings.only("accountKind", "StorageV2", "BlockBlobStorage")
    return name, str(kind), vault


def _read_identity(settings: Fields, credentials: frozenset[str]) -> None:
    if not settings.has("credential"):
        return
    with settings.nested("credential") as reference:
        reference.only("type", "CredentialReference")
        credential = reference.required("referenceName", str)
        if credential not in credentials:
            raise DefinitionError(f"{reference.where}: no credential {credential}")


def _read_function_app(settings: Fields) -> str:
    settings.required("functionAppUrl", str)
    if settings.has("authentication"):
        settings.only("authentication", "MSI")
        settings.required("resourceId", str)
    with settings.nested("functionKey") as key:
        # A key that stands in the definition itself would be in the repository.
        key.only("type", "AzureKeyVaultSecret")
        key.required("secretName", str)
        with key.nested("store") as store:
            store.only("type", "LinkedServiceReference")
            return store.required("referenceName", str)


def _dataset(path: Path) -> BlobDataset:
    with Fields.of_file(path) as document:
        name = _named(path, document)
        with document.nested("properties") as properties:
            properties.ignore("description", "annotations")
            properties.only("type", "Binary")
            with properties.nested("linkedServiceName") as reference:
                reference.only("type", "LinkedServiceReference")
                linked_service = reference.required("referenceName", str)
            parameters = read_parameters(properties, _PARAMETER_TYPES)
            names = Names(dataset=frozenset(parameters))
            with properties.nested("typeProperties") as settings, settings.nested("location") as location:
                location.only("type", "AzureBlobStorageLocation")
                container = read_template(location, "container", names)
                blob = read_template(location, "fileName", names)
    return BlobDataset(name, linked_service, parameters, container, blob)


def _pipeline(path: Path) -> Pipeline:
    with Fields.of_file(path) as document:
        name = _named(path, document)
        body = document.required("properties", dict)
        with Fields(body, f"{document.where}.properties") as properties:
            properties.ignore("description", "annotations")
            parameters = read_parameters(properties, _PARAMETER_TYPES)
            variables = _variables(properties)
            names = Names(parameters=frozenset(parameters), variables=frozenset(variables))
            activities = read_activities(
                properties, names, frozenset(n for n, v in variables.items() if isinstance(v, list))
            )
    return Pipeline(name, parameters, variables, activities, body)


def _variables(properties: Fields) -> dict[str, Any]:
    variables: dict[str, Any] = {}
    declared = properties.optional("variables", dict, {})
    for name, value in declared.items():
        with Fields(value, f"{properties.where}.variables.{name}") as variable:
            kind = _VARIABLE_TYPES[variable.only("type", *_VARIABLE_TYPES)]
            variables[name] = variable.optional("defaultValue", kind, kind())
    return variables


def _check_references(factory: Factory) -> None:
    for dataset in factory.datasets.values():
        if dataset.linked_service not in factory.linked_services:
            raise DefinitionError(f"dataset {dataset.name}: no linked service {dataset.linked_service}")
    for pipeline in factory.pipelines.values():
        for activity in all_activities(pipeline.activities):
            if isinstance(activity, Copy):
                _check_copy(factory, pipeline, activity)
            if (
                isinstance(activity, CallFunction)
                and factory.linked_services.get(activity.linked_service) != FUNCTION_APP
            ):
                raise DefinitionError(
                    f"pipeline {pipeline.name}, activity {activity.name}: no Functions app {activity.linked_service}"
                )


def _check_copy(factory: Factory, pipeline: Pipeline, copy: Copy) -> None:
    where = f"pipeline {pipeline.name}, activity {copy.name}"
    for reference in (copy.source, copy.sink):
        dataset = factory.datasets.get(reference.dataset)
        if dataset is None:
            raise DefinitionError(f"{where}: no dataset {reference.dataset}")
        if unknown := sorted(set(reference.arguments) - set(dataset.parameters)):
            raise DefinitionError(f"{where}: dataset {dataset.name} has no parameter {', '.join(unknown)}")
        needed = {name for name, parameter in dataset.parameters.items() if parameter.required}
        if missing := sorted(needed - set(reference.arguments)):
            raise DefinitionError(f"{where}: dataset {dataset.name} needs a value for {', '.join(missing)}")

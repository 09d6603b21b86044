"""Reads Copy activities: binary copies of one blob, with the settings that Snapkeep's promises lean on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.datafactory.expressions import Names
from local.datafactory.fields import DefinitionError, Fields
from local.datafactory.model import Copy, DatasetReference, Dependency
from local.datafactory.reading import read_policy, read_template


def read_copy(fields: Fields, name: str, depends_on: tuple[Dependency, ...], names: Names) -> Copy:
    policy = read_policy(fields)
    source, sink = _reference(fields, "inputs", names), _reference(fields, "outputs", names)
    with fields.nested("typeProperties") as settings:
        _read_source(settings)
        block_size_bytes = _read_sink(settings)
        preserve = settings.only("preserve", [], ["Attributes"], default=[])
        # Without it Data Factory does not notice that the source changed while it was read.
        settings.only("validateDataConsistency", True)
        settings.only("enableStaging", False, default=False)
        if not 2 <= settings.required("dataIntegrationUnits", int) <= 256:
            raise DefinitionError(f"{settings.where}: dataIntegrationUnits must be 2 to 256")
        with settings.nested("skipErrorFile") as skip:
            # Data Factory's default is true, so it must be said.
            skip_missing = skip.required("fileMissing", bool)
            skip.only("dataInconsistency", False, default=False)
    return Copy(name, depends_on, policy, source, sink, preserve != [], skip_missing, block_size_bytes)


def _read_source(settings: Fields) -> None:
    with settings.nested("source") as source:
        source.only("type", "BinarySource")
        with source.nested("storeSettings") as store:
            store.only("type", "AzureBlobStorageReadSettings")
            store.only("recursive", False, True, default=True)
            # A backup must never delete what it protects.
            store.only("deleteFilesAfterCompletion", False, default=False)


def _read_sink(settings: Fields) -> int:
    with settings.nested("sink") as sink:
        sink.only("type", "BinarySink")
        with sink.nested("storeSettings") as store:
            store.only("type", "AzureBlobStorageWriteSettings")
            # Consistency is checked with this behaviour alone:
            # learn.microsoft.com/azure/data-factory/copy-activity-data-consistency
            store.only("copyBehavior", "PreserveHierarchy")
            return store.optional("blockSizeInMB", int, 4) * 1024 * 1024


def _reference(fields: Fields, name: str, names: Names) -> DatasetReference:
    listed: list[Any] = fields.required(name, list)
    if len(listed) != 1:
        raise DefinitionError(f"{fields.where}: {name} must hold exactly one dataset")
    with Fields(listed[0], f"{fields.where}.{name}[0]") as reference:
        reference.only("type", "DatasetReference")
        dataset = reference.required("referenceName", str)
        given: Mapping[str, Any] = reference.optional("parameters", dict, {})
    with Fields(given, f"{reference.where}.parameters") as parameters:
        return DatasetReference(dataset, {key: read_template(parameters, key, names) for key in given})

"""What the stand-in understands of a factory: values that `definitions` builds and `execution` runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from local.datafactory.expressions import Template

STORAGE, FUNCTION_APP, KEY_VAULT = "AzureBlobStorage", "AzureFunction", "AzureKeyVault"
"""The types of linked services that the stand-in knows."""


class ActivityState(StrEnum):
    """How one activity ended."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"


class Condition(StrEnum):
    """What an activity waits for in another one."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    COMPLETED = "Completed"


@dataclass(frozen=True)
class Parameter:
    """A declared parameter; `default` counts only when `required` is false."""

    type: str
    required: bool
    default: Any = None


@dataclass(frozen=True)
class Dependency:
    """One arrow into an activity: any of the conditions will do."""

    activity: str
    conditions: frozenset[Condition]


@dataclass(frozen=True)
class DatasetReference:
    """A dataset with the arguments that an activity gives it."""

    dataset: str
    arguments: Mapping[str, Template]


@dataclass(frozen=True)
class Policy:
    """How often and for how long an activity is tried."""

    timeout_seconds: float
    retries: int
    retry_interval_seconds: float


@dataclass(frozen=True)
class Copy:
    """A binary copy of one blob."""

    name: str
    depends_on: tuple[Dependency, ...]
    policy: Policy
    source: DatasetReference
    sink: DatasetReference
    preserve_attributes: bool
    skip_missing: bool
    block_size_bytes: int


@dataclass(frozen=True)
class AssignVariable:
    """Append Variable and Set Variable."""

    name: str
    depends_on: tuple[Dependency, ...]
    variable: str
    value: Template
    append: bool


@dataclass(frozen=True)
class ForEach:
    """A loop; `parallel` is the number of items at a time."""

    name: str
    depends_on: tuple[Dependency, ...]
    items: Template
    parallel: int
    activities: tuple[Activity, ...]


@dataclass(frozen=True)
class Until:
    """A loop that ends when its condition holds after a turn."""

    name: str
    depends_on: tuple[Dependency, ...]
    condition: Template
    timeout_seconds: float
    activities: tuple[Activity, ...]


@dataclass(frozen=True)
class IfCondition:
    """One of two lists of activities."""

    name: str
    depends_on: tuple[Dependency, ...]
    condition: Template
    if_true: tuple[Activity, ...]
    if_false: tuple[Activity, ...]


@dataclass(frozen=True)
class Fail:
    """Ends as failed, with a message of its own."""

    name: str
    depends_on: tuple[Dependency, ...]
    message: Template
    error_code: Template


@dataclass(frozen=True)
class CallFunction:
    """One call of a Functions app."""

    name: str
    depends_on: tuple[Dependency, ...]
    policy: Policy
    linked_service: str
    function: str
    method: str
    headers: Mapping[str, str]
    body: Template | None


Activity = Copy | AssignVariable | ForEach | Until | IfCondition | Fail | CallFunction


def inner_activities(activity: Activity) -> tuple[Activity, ...]:
    """The activities that a loop or branch holds itself."""
    match activity:
        case ForEach() | Until():
            return activity.activities
        case IfCondition():
            return (*activity.if_true, *activity.if_false)
        case _:
            return ()


def all_activities(activities: Iterable[Activity]) -> Iterator[Activity]:
    """These and all within them."""
    for activity in activities:
        yield activity
        yield from all_activities(inner_activities(activity))


@dataclass(frozen=True)
class Pipeline:
    """A pipeline, and the JSON it came from (which `pipelines.get` answers)."""

    name: str
    parameters: Mapping[str, Parameter]
    variables: Mapping[str, Any]
    activities: tuple[Activity, ...]
    document: Mapping[str, Any]


@dataclass(frozen=True)
class BlobDataset:
    """A Binary dataset on Azure Blob Storage."""

    name: str
    linked_service: str
    parameters: Mapping[str, Parameter]
    container: Template
    blob: Template


@dataclass(frozen=True)
class Factory:
    """All definitions of one folder, each under its name."""

    pipelines: Mapping[str, Pipeline]
    datasets: Mapping[str, BlobDataset]
    linked_services: Mapping[str, str]
    """The type of each."""

    @property
    def storage_accounts(self) -> frozenset[str]:
        """The linked services that are storage accounts."""
        return frozenset(name for name, kind in self.linked_services.items() if kind == STORAGE)

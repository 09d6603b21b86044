"""Judges whether the copy pipeline is there, fits what `backup` gives it, and may be run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.decisions.findings import Answer, Finding, ok, warning, wrong

PIPELINE_PARAMETERS = {"container": "String", "staging_container": "String", "request_id": "String", "blobs": "Array"}
"""What `backup` starts the pipeline with: `infra/datafactory/pipeline/backup_blobs.json`."""


@dataclass(frozen=True)
class PipelineParameter:
    """A parameter as a pipeline declares it."""

    type: str
    required: bool


def pipeline(name: str, answer: Answer[Mapping[str, PipelineParameter] | None]) -> Finding:
    """Whether the pipeline is there and takes what `backup` starts it with."""
    subject = f"pipeline {name}"
    if answer.trouble is not None:
        return wrong(
            subject,
            f"Data Factory's management service: {answer.trouble}",
            "correct SNAPKEEP_ADF_ENDPOINT, or see that this machine reaches it and the app's identity is switched on",
        )
    if answer.refused:
        return wrong(
            subject,
            f"refused: {answer.status} {answer.code}",
            "give the app's identity (that of SourceStorage) the role Data Factory Contributor on the factory, or one "
            "that reads pipelines, and starts, reads, queries and cancels runs",
        )
    if answer.status == 429 or (answer.status or 0) >= 500:
        return warning(subject, f"the service failed: {answer}", "run it again in a minute")
    if answer.status != 200:
        return wrong(
            subject,
            f"it, or the factory, is not there: {answer}",
            "deploy infra/datafactory, or correct SNAPKEEP_ADF_SUBSCRIPTION_ID, SNAPKEEP_ADF_RESOURCE_GROUP, "
            "SNAPKEEP_ADF_FACTORY and SNAPKEEP_ADF_PIPELINE; SNAPKEEP_ENGINE=server needs none of it",
        )
    misfits = _misfits(answer.value or {})
    if misfits:
        return wrong(
            subject,
            f"its parameters do not fit: {'; '.join(misfits)}",
            "deploy this release's infra/datafactory/pipeline/backup_blobs.json, or name that in SNAPKEEP_ADF_PIPELINE",
        )
    return ok(subject, "there, with the parameters that backup gives")


def _misfits(found: Mapping[str, PipelineParameter]) -> list[str]:
    misfits = [f"{name} is missing" for name in PIPELINE_PARAMETERS if name not in found]
    misfits += [
        f"{name} is of type {found[name].type}, not {kind}"
        for name, kind in PIPELINE_PARAMETERS.items()
        if name in found and found[name].type.casefold() != kind.casefold()
    ]
    misfits += [
        f"{name} is required, and backup gives no such parameter"
        for name, parameter in found.items()
        if parameter.required and name not in PIPELINE_PARAMETERS
    ]
    return misfits


def permission(call: str, answer: Answer[object]) -> Finding:
    """Whether the factory lets the app do this; tried with a pipeline or run that does not exist."""
    subject = f"Data Factory: {call}"
    if answer.status in {200, 400, 404, 409}:
        return ok(subject, "allowed (tried on what does not exist)")
    if answer.refused:
        remedy = "give the app's identity (that of SourceStorage) the role Data Factory Contributor on the factory"
        return wrong(subject, f"refused: {answer.status} {answer.code}", remedy)
    return warning(subject, f"cannot tell: {answer}", "run it again in a minute")

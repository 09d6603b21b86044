"""Data Factory's rules for which activities run, and for how a pipeline ends. Pure.

Source: learn.microsoft.com/azure/data-factory/tutorial-pipeline-failure-error-handling.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from local.datafactory.model import Activity, ActivityState, Condition, Dependency

_MATCHES = {
    Condition.SUCCEEDED: {ActivityState.SUCCEEDED},
    Condition.FAILED: {ActivityState.FAILED},
    Condition.SKIPPED: {ActivityState.SKIPPED},
    # "regardless if it succeeded or not", but not when it never ran.
    Condition.COMPLETED: {ActivityState.SUCCEEDED, ActivityState.FAILED},
}


def should_run(depends_on: Iterable[Dependency], states: Mapping[str, ActivityState]) -> bool:
    """All arrows into an activity must hold ("and"); one arrow holds when any of its conditions does."""
    return all(
        any(states[arrow.activity] in _MATCHES[condition] for condition in arrow.conditions) for arrow in depends_on
    )


def deciding_activities(activities: Iterable[Activity], states: Mapping[str, ActivityState]) -> list[str]:
    """The activities whose states decide: the leaves, a skipped one being replaced by its parents."""
    parents = {activity.name: [arrow.activity for arrow in activity.depends_on] for activity in activities}
    inner = {parent for arrows in parents.values() for parent in arrows}
    waiting = [name for name in parents if name not in inner]
    deciding: dict[str, None] = {}
    while waiting:
        name = waiting.pop(0)
        if states[name] is ActivityState.SKIPPED:
            waiting.extend(parents[name])
        else:
            deciding[name] = None
    return list(deciding)


def failed_activities(activities: Iterable[Activity], states: Mapping[str, ActivityState]) -> list[str]:
    """The deciding activities that failed: the pipeline (or the loop's turn) succeeds when there are none."""
    return [name for name in deciding_activities(activities, states) if states[name] is ActivityState.FAILED]

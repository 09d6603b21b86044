"""Data Factory's rules for what runs and how a pipeline ends: the documented patterns, one by one."""

import pytest

from local.datafactory.expressions import parse
from local.datafactory.model import ActivityState, AssignVariable, Condition, Dependency
from local.datafactory.outcome import deciding_activities, failed_activities, should_run

GOOD, BAD, SKIPPED = ActivityState.SUCCEEDED, ActivityState.FAILED, ActivityState.SKIPPED


def activity(name: str, **after: str) -> AssignVariable:
    """An activity that depends on others: `activity("b", a="Failed")`; several conditions with a slash."""
    arrows = tuple(
        Dependency(parent, frozenset(Condition(each) for each in conditions.split("/")))
        for parent, conditions in after.items()
    )
    return AssignVariable(name, arrows, "v", parse("x"), append=True)


def outcome(activities: list[AssignVariable], results: dict[str, ActivityState]) -> tuple[list[str], bool]:
    """What ran, and whether the pipeline succeeded, when each activity would end as in `results`."""
    states: dict[str, ActivityState] = {}
    for each in activities:
        states[each.name] = (
            results.get(each.name, GOOD) if should_run(each.depends_on, states) else ActivityState.SKIPPED
        )
    ran = [name for name, state in states.items() if state is not SKIPPED]
    return ran, not failed_activities(activities, states)


TRY_CATCH = [activity("try"), activity("catch", **{"try": "Failed"})]
DO_IF_ELSE = [
    activity("do"),
    activity("if_good", do="Succeeded"),
    activity("if_bad", do="Failed"),
]
DO_IF_SKIP_ELSE = [*DO_IF_ELSE, activity("dummy", if_good="Skipped")]
GENERIC = [
    activity("first"),
    activity("second", first="Succeeded"),
    activity("handler", second="Failed/Skipped"),
]
PROCEED = [
    activity("try"),
    activity("catch", **{"try": "Failed"}),
    activity("next", catch="Succeeded/Skipped"),
]


@pytest.mark.parametrize(
    ("activities", "failing", "ran", "succeeded"),
    [
        (TRY_CATCH, [], ["try"], True),
        (TRY_CATCH, ["try"], ["try", "catch"], True),
        (TRY_CATCH, ["try", "catch"], ["try", "catch"], False),
        (DO_IF_ELSE, [], ["do", "if_good"], True),
        (DO_IF_ELSE, ["do"], ["do", "if_bad"], False),
        (DO_IF_SKIP_ELSE, [], ["do", "if_good"], True),
        (DO_IF_SKIP_ELSE, ["do"], ["do", "if_bad", "dummy"], True),
        (GENERIC, [], ["first", "second"], True),
        (GENERIC, ["first"], ["first", "handler"], True),
        (GENERIC, ["second"], ["first", "second", "handler"], True),
        (PROCEED, [], ["try", "next"], True),
        (PROCEED, ["try"], ["try", "catch", "next"], True),
        ([activity("a"), activity("b", a="Succeeded")], ["a"], ["a"], False),
        ([activity("a"), activity("b", a="Completed")], ["a"], ["a", "b"], True),
        ([activity("a"), activity("b")], ["b"], ["a", "b"], False),
        ([], [], [], True),
    ],
)
def test_a_documented_pattern_ends_as_documented(
    activities: list[AssignVariable], failing: list[str], ran: list[str], succeeded: bool
) -> None:
    assert outcome(activities, dict.fromkeys(failing, BAD)) == (ran, succeeded)


def test_completed_does_not_match_an_activity_that_never_ran() -> None:
    chain = [activity("a"), activity("b", a="Failed"), activity("c", b="Completed")]
    assert outcome(chain, {}) == (["a"], True)


def test_every_arrow_into_an_activity_must_hold() -> None:
    joined = [activity("a"), activity("b"), activity("c", a="Succeeded", b="Succeeded")]
    assert outcome(joined, {"b": BAD}) == (["a", "b"], False)


def test_a_skipped_leaf_is_replaced_by_its_parents_up_to_one_that_ran() -> None:
    chain = [activity("a"), activity("b", a="Failed"), activity("c", b="Failed"), activity("d", c="Failed")]
    states = {"a": GOOD, "b": SKIPPED, "c": SKIPPED, "d": SKIPPED}
    assert deciding_activities(chain, states) == ["a"]

"""The expression language of Data Factory, as the stand-in reads it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.datafactory.expressions import ExpressionError, Names, Scope, check, evaluate, parse

SCOPE = Scope(
    pipeline={
        "parameters": {"name": "foo", "number": 42, "list": ["x", "y"]},
        "RunId": "r-1",
        "Pipeline": "p",
    },
    variables={"failed": ["a"], "nothing": []},
    activities={"Call": {"output": {"complete": True, "next": None}, "error": {}}},
    dataset={"blob": "b"},
    item={"source": "s", "deep": {"er": 7}, "flag": True},
    in_loop=True,
)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        # The table of the documentation (control-flow-expression-language-functions).
        ("parameters", "parameters"),
        ("parameters[1]", "parameters[1]"),
        ("@@", "@"),
        (" @", " @"),
        ("@pipeline().parameters.name", "foo"),
        ("@{pipeline().parameters.name}", "foo"),
        ("@pipeline().parameters.number", 42),
        ("@{pipeline().parameters.number}", "42"),
        ("Answer is: @{pipeline().parameters.number}", "Answer is: 42"),
        ("Answer is: @@{pipeline().parameters.number}", "Answer is: @{pipeline().parameters.number}"),
        # More of the same grammar.
        ("", ""),
        ("@item().source", "s"),
        ("@item()['source']", "s"),
        ("@item().deep.er", 7),
        ("@item()", {"source": "s", "deep": {"er": 7}, "flag": True}),
        ("@dataset().blob", "b"),
        ("@pipeline().parameters.list[1]", "y"),
        ("@pipeline().RunId", "r-1"),
        ("@variables('failed')", ["a"]),
        ("@concat('a', ' ', 'it''s')", "a it's"),
        ("@concat(item().source, '-', pipeline().parameters.number)", "s-42"),
        ("@{item().source}@{dataset().blob}", "sb"),
        ("a @{concat('}', '@{', item().source)} z", "a }@{s z"),
        ("@@{literal} and @{item().source}", "@{literal} and s"),
        ("@ item( ) . source", "s"),
        ("@activity('Call').output.complete", True),
        ("@coalesce(activity('Call').output.next, '')", ""),
        ("@coalesce(null, 'a', 'b')", "a"),
        ("@not(empty(variables('failed')))", True),
        ("@empty(variables('nothing'))", True),
        ("@or(not(true), empty(''))", True),
        ("@or(false, false)", False),
        ("@string(variables('failed'))", '["a"]'),
        ("@string(pipeline().parameters.number)", "42"),
        ("@replace('a\\b', '\\', '\\\\')", "a\\\\b"),
        ("@true", True),
        ("@null", None),
        ("mail@example.org", "mail@example.org"),
    ],
)
def test_an_expression_has_the_documented_value(source: str, value: Any) -> None:
    assert evaluate(parse(source), SCOPE) == value


@pytest.mark.parametrize(
    "source",
    [
        "@",
        "@item",
        "@item(",
        "@item()x",
        "@item().",
        "@item().1",
        "@item()[",
        "@item()['a'",
        "@concat('a'",
        "@concat('a',)",
        "@'open",
        "@1.5",
        "@item()?.source",
        "a @{item().source",
        "a @{}",
        "@@escaped and @{item().source}",
    ],
)
def test_a_malformed_expression_is_refused(source: str) -> None:
    with pytest.raises(ExpressionError):
        parse(source)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("@toUpper('a')", r"toUpper\(\) with 1 arguments is not known"),
        ("@concat()", r"concat\(\) with 0 arguments"),
        ("@Concat('a')", r"Concat\(\)"),
        ("@pipeline()", r"pipeline\(\) with 0 arguments"),
        ("@pipeline().parameters", "parameters is not known"),
        ("@pipeline().TriggerTime", "TriggerTime is not known"),
        ("@pipeline().parameters.other", "no parameter 'other'"),
        ("@variables('other')", "no variable 'other'"),
        ("@variables(item().source)", "variables"),
        ("@dataset().blob", "only in a dataset"),
        ("x @{activity('Copy').output}", "no activity 'Copy' has ended"),
        ("@activity(item().source).output", r"activity\(\) with 1 arguments is not known"),
        ("@not(true, false)", r"not\(\) with 2 arguments"),
    ],
)
def test_an_expression_that_cannot_have_a_value_is_refused_before_it_runs(source: str, reason: str) -> None:
    names = Names(parameters=frozenset({"name"}), variables=frozenset({"failed"}), in_loop=True)
    template = parse(source)
    with pytest.raises(ExpressionError, match=reason):
        check(template, names)


def test_item_exists_only_in_a_loop_and_pipeline_only_in_a_pipeline() -> None:
    with pytest.raises(ExpressionError, match="only inside ForEach"):
        check(parse("@item().source"), Names(parameters=frozenset()))
    with pytest.raises(ExpressionError, match="does not exist here"):
        check(parse("@pipeline().parameters.name"), Names(dataset=frozenset({"blob"})))
    with pytest.raises(ExpressionError, match="the dataset has no parameter 'other'"):
        check(parse("@dataset().other"), Names(dataset=frozenset({"blob"})))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("@item().other", r"'other' doesn't exist, available properties are \['deep', 'flag', 'source'\]"),
        ("@item().source.length", "str has no member 'length'"),
        ("@pipeline().parameters.list[2]", "list has no member 2"),
        ("@concat(item().flag)", "only text and whole numbers, not bool"),
        ("@{item().deep}", "only text and whole numbers, not dict"),
        ("@not('true')", "expected bool, not str"),
        ("@or(true, 1)", "expected bool, not int"),
        ("@empty(null)", "expected str or list or dict, not NoneType"),
        ("@replace('a', 'b', null)", "expected str, not NoneType"),
        ("@activity('Call').output.other", "'other' doesn't exist"),
    ],
)
def test_a_value_that_is_missing_or_of_the_wrong_type_is_an_error(source: str, reason: str) -> None:
    with pytest.raises(ExpressionError, match=reason):
        evaluate(parse(source), SCOPE)


awkward = st.text() | st.lists(
    st.sampled_from(["@", "@@", "@{", "}", "'", "''", "pipeline().RunId", "item()", "(", ")", "\\", '"', "é"])
).map("".join)


@given(awkward)
def test_any_text_in_a_parameter_comes_out_unchanged(text: str) -> None:
    scope = Scope(pipeline={"parameters": {"p": text}}, dataset={"d": text}, item={"i": text}, in_loop=True)
    for source in (
        "@pipeline().parameters.p",
        "@item().i",
        "@dataset().d",
        "@{item().i}",
        "@concat(item().i)",
    ):
        assert evaluate(parse(source), scope) == text
    assert evaluate(parse("<@{item().i}@{dataset().d}>"), scope) == f"<{text}{text}>"


@given(awkward)
def test_any_text_can_be_written_as_a_quoted_literal(text: str) -> None:
    quoted = text.replace("'", "''")
    assert evaluate(parse(f"@concat('{quoted}')"), Scope()) == text


@given(awkward)
def test_reading_any_text_gives_a_value_or_a_refusal(text: str) -> None:
    try:
        template = parse(text)
    except ExpressionError:
        return
    if "@" not in text:
        assert evaluate(template, Scope()) == text

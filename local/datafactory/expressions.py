"""Data Factory's expression language, as far as the shipped definitions need it. Pure.

Source: learn.microsoft.com/azure/data-factory/control-flow-expression-language-functions.
A string of a definition is a `Template`: literal text, one expression (`@item().name`), or text with
expressions in it (`a-@{item().name}`). Values that arrive while a template is evaluated (parameters, items)
are data: they are never read as templates, so a blob name such as `@{pipeline().RunId}` stays what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.datafactory.functions import FUNCTIONS, FunctionError, joined


class ExpressionError(ValueError):
    """The expression is malformed, unknown here, or has no value."""


@dataclass(frozen=True)
class Literal:
    """Text, a whole number, true, false or null."""

    value: Any


@dataclass(frozen=True)
class Call:
    """A function with its arguments."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Member:
    """`target.name`, or `target['name']`, or `target[0]`."""

    target: Node
    key: Node


@dataclass(frozen=True)
class Interpolation:
    """Text with expressions in it: always becomes text."""

    parts: tuple[Node, ...]


Node = Literal | Call | Member | Interpolation


@dataclass(frozen=True)
class Template:
    """A parsed string of a definition, with its source for error messages."""

    source: str
    node: Node

    def names_variable(self, name: str) -> bool:
        """Whether the value depends on this variable."""
        return any(each == Call("variables", (Literal(name),)) for each in _nodes(self.node))


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    match node:
        case Call(_, parts) | Interpolation(parts):
            for part in parts:
                yield from _nodes(part)
        case Member(target, key):
            yield from _nodes(target)
            yield from _nodes(key)


@dataclass(frozen=True)
class Scope:
    """What an expression can see. None marks what does not exist where the expression stands."""

    pipeline: Mapping[str, Any] | None = None
    variables: Mapping[str, Any] | None = None
    dataset: Mapping[str, Any] | None = None
    activities: Mapping[str, Any] = field(default_factory=dict)
    item: Any = None
    in_loop: bool = False


@dataclass(frozen=True)
class Names:
    """What an expression may name, known before anything runs.

    Attributes:
        activities: those that have ended when it is evaluated.
        nested_in: the type of the activity that holds the one where it stands; empty for none.
    """

    parameters: frozenset[str] | None = None
    variables: frozenset[str] = field(default_factory=frozenset)
    dataset: frozenset[str] | None = None
    activities: frozenset[str] = field(default_factory=frozenset)
    in_loop: bool = False
    nested_in: str = ""


_PIPELINE_MEMBERS = frozenset({"RunId", "Pipeline"})

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+(?![\d.]))|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>[().,\[\]}]))"""
)


def parse(source: str) -> Template:
    """Reads one string of a definition.

    Raises ExpressionError with the string and the reason.
    """
    if source.startswith("@@") and not source.startswith("@@{"):
        if "@{" in source[2:]:
            raise ExpressionError(f"{source!r} mixes a leading @@ with @{{...}}; write it with concat() instead")
        return Template(source, Literal(source[1:]))
    if source.startswith("@") and not source.startswith(("@{", "@@")):
        reader = _Reader(source, 1)
        node = reader.expression()
        reader.end()
        return Template(source, node)
    if "@{" in source:
        return Template(source, _interpolation(source))
    return Template(source, Literal(source))


def _interpolation(source: str) -> Node:
    parts: list[Node] = []
    position = 0
    while (found := source.find("@{", position)) >= 0:
        if found > position and source[found - 1] == "@":
            parts.append(Literal(source[position : found - 1] + "@{"))
            position = found + 2
            continue
        parts.append(Literal(source[position:found]))
        reader = _Reader(source, found + 2)
        parts.append(reader.expression())
        reader.take("}")
        position = reader.position
    parts.append(Literal(source[position:]))
    return Interpolation(tuple(parts))


class _Reader:
    """A recursive-descent reader over one string, from a position on."""

    def __init__(self, source: str, position: int) -> None:
        self.source = source
        self.position = position

    def expression(self) -> Node:
        node = self._primary()
        while sign := self._sign_is(".", "["):
            if sign == ".":
                node = Member(node, Literal(self._name()))
            else:
                node = Member(node, self.expression())
                self.take("]")
        return node

    def take(self, sign: str) -> None:
        if not self._sign_is(sign):
            raise self._unexpected(f"expected {sign!r}")

    def end(self) -> None:
        if self.source[self.position :].strip():
            raise self._unexpected("expected the end")

    def _primary(self) -> Node:
        token = self._next()
        if token.lastgroup == "text":
            return Literal(token["text"][1:-1].replace("''", "'"))
        if token.lastgroup == "number":
            return Literal(int(token["number"]))
        if token.lastgroup == "name":
            constants = {"true": True, "false": False, "null": None}
            if token["name"] in constants:
                return Literal(constants[token["name"]])
            self.take("(")
            return Call(token["name"], tuple(self._arguments()))
        raise self._unexpected("expected a value", token.start())

    def _arguments(self) -> Iterator[Node]:
        if self._sign_is(")"):
            return
        yield self.expression()
        while self._sign_is(","):
            yield self.expression()
        self.take(")")

    def _name(self) -> str:
        token = self._next()
        if token.lastgroup != "name":
            raise self._unexpected("expected a name", token.start())
        return token["name"]

    def _sign_is(self, *signs: str) -> str | None:
        token = _TOKEN.match(self.source, self.position)
        if token and token["sign"] in signs:
            self.position = token.end()
            return token["sign"]
        return None

    def _next(self) -> re.Match[str]:
        token = _TOKEN.match(self.source, self.position)
        if token is None:
            raise self._unexpected("expected a value")
        self.position = token.end()
        return token

    def _unexpected(self, expected: str, position: int | None = None) -> ExpressionError:
        at = self.position if position is None else position
        return ExpressionError(f"cannot read {self.source!r} at position {at}: {expected}")


def check(template: Template, names: Names) -> None:
    """Refuses what cannot have a value where it stands: unknown functions, parameters, variables.

    The members of an item are known only when it runs. Raises ExpressionError.
    """
    try:
        _check(template.node, names)
    except ExpressionError as error:
        raise ExpressionError(f"{template.source!r}: {error}") from None


def _check(node: Node, names: Names) -> None:
    match node:
        case Literal():
            return
        case Interpolation(parts):
            for part in parts:
                _check(part, names)
        case Member(Member(Call("pipeline", ()), Literal("parameters")), Literal(name)):
            _check_pipeline(names)
            if name not in (names.parameters or ()):
                raise ExpressionError(f"the pipeline has no parameter {name!r}")
        case Member(Call("pipeline", ()), Literal(name)):
            _check_pipeline(names)
            if name not in _PIPELINE_MEMBERS:
                raise ExpressionError(f"pipeline().{name} is not known to the stand-in")
        case Member(Call("dataset", ()), Literal(name)):
            if names.dataset is None:
                raise ExpressionError("dataset() exists only in a dataset")
            if name not in names.dataset:
                raise ExpressionError(f"the dataset has no parameter {name!r}")
        case Member(target, key):
            _check(target, names)
            _check(key, names)
        case Call("item", ()):
            if not names.in_loop:
                raise ExpressionError("item() exists only inside ForEach")
        case Call("variables", (Literal(name),)):
            if name not in names.variables:
                raise ExpressionError(f"the pipeline has no variable {name!r}")
        case Call("activity", (Literal(name),)):
            if name not in names.activities:
                raise ExpressionError(f"no activity {name!r} has ended when this one begins")
        case Call(function, arguments) if function in FUNCTIONS and len(arguments) in FUNCTIONS[function][1]:
            for argument in arguments:
                _check(argument, names)
        case Call(function, arguments):
            raise ExpressionError(f"{function}() with {len(arguments)} arguments is not known to the stand-in")


def _check_pipeline(names: Names) -> None:
    if names.parameters is None:
        raise ExpressionError("pipeline() does not exist here")


def evaluate(template: Template, scope: Scope) -> Any:
    """The template's value. Raises ExpressionError when a member does not exist or is of the wrong type."""
    try:
        return _evaluate(template.node, scope)
    except (ExpressionError, FunctionError) as error:
        raise ExpressionError(f"The expression {template.source!r} cannot be evaluated: {error}") from None


def _evaluate(node: Node, scope: Scope) -> Any:
    match node:
        case Literal(value):
            return value
        case Interpolation(parts):
            return joined([_evaluate(part, scope) for part in parts])
        case Call(function, arguments) if function in FUNCTIONS:
            return FUNCTIONS[function][0](*(_evaluate(argument, scope) for argument in arguments))
        case Member(target, key):
            return _member(_evaluate(target, scope), _evaluate(key, scope))
        case Call("pipeline", ()) if scope.pipeline is not None:
            return scope.pipeline
        case Call("dataset", ()) if scope.dataset is not None:
            return scope.dataset
        case Call("item", ()) if scope.in_loop:
            return scope.item
        case Call("variables", (name,)) if scope.variables is not None:
            return _member(scope.variables, _evaluate(name, scope))
        case Call("activity", (name,)):
            return _member(scope.activities, _evaluate(name, scope))
        case _:
            raise ExpressionError(f"{node.function}() has no value here")


def _member(target: Any, key: Any) -> Any:
    if isinstance(target, Mapping) and isinstance(key, str):
        if key in target:
            return target[key]
        raise ExpressionError(f"property {key!r} doesn't exist, available properties are {sorted(target)}")
    if isinstance(target, list) and isinstance(key, int) and 0 <= key < len(target):
        return target[key]
    raise ExpressionError(f"a value of type {type(target).__name__} has no member {key!r}")

"""Bicep files as tests see them: declarations, what they say and what they refer to, from the syntax tree.

No compiler can be had from the package registries, so what it would find (a misspelt parameter, an output that no
module has) is looked for here; types of resources are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tree_sitter
import tree_sitter_bicep

INFRA = Path(__file__).parents[1] / "infra"
_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))
_KINDS = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
}


def text(node: tree_sitter.Node) -> str:
    return (node.text or b"").decode()


def walk(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    yield node
    for child in node.children:
        yield from walk(child)


def string(node: tree_sitter.Node | None) -> str | None:
    """A string without interpolation; None for anything else."""
    if node is None or node.type != "string" or any(child.type == "interpolation" for child in node.named_children):
        return None
    return "".join(text(child) for child in node.named_children)


def properties(node: tree_sitter.Node) -> dict[str, tree_sitter.Node]:
    """The properties of an object, each with its value."""
    return {
        text(each.named_children[0]).strip("'"): each.named_children[1]
        for each in node.named_children
        if each.type == "object_property"
    }


def body(node: tree_sitter.Node) -> tree_sitter.Node:
    """The object of a declaration, out of its loop or condition."""
    return next(each for each in walk(node) if each.type == "object")


@dataclass(frozen=True)
class Declaration:
    """One parameter, variable, resource, module or output."""

    kind: str
    name: str
    node: tree_sitter.Node
    decorators: dict[str, str]

    @property
    def value(self) -> tree_sitter.Node:
        return self.node.named_children[-1]

    @property
    def conditional(self) -> bool:
        return any(child.type == "if_statement" for child in self.node.named_children)

    @property
    def target(self) -> str:
        """The file of a module, or the type of a resource, with its version."""
        return string(self.node.named_children[1]) or ""

    @property
    def has_default(self) -> bool:
        return len(self.node.named_children) > 2


class BicepFile:
    """One file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.relative_to(INFRA).as_posix()
        self.source = path.read_text(encoding="utf-8")
        self.root = _PARSER.parse(self.source.encode()).root_node
        self.declarations = list(self._declared())

    def _declared(self) -> Iterator[Declaration]:
        decorators: dict[str, str] = {}
        for node in self.root.named_children:
            if node.type == "decorators":
                decorators = dict(_decorators(node))
                continue
            if node.type in _KINDS:
                yield Declaration(_KINDS[node.type], text(node.named_children[0]), node, decorators)
            if node.type != "comment":
                decorators = {}

    def of(self, kind: str) -> dict[str, Declaration]:
        return {each.name: each for each in self.declarations if each.kind == kind}

    def errors(self) -> list[str]:
        """Where the parser did not understand the file."""
        return [
            f"{self.name}:{node.start_point[0] + 1}: {text(node)[:60]!r}"
            for node in walk(self.root)
            if node.type == "ERROR" or node.is_missing
        ]

    def identifiers(self) -> set[str]:
        """Every name that a value refers to."""
        return {
            text(node)
            for declaration in self.declarations
            for node in walk(declaration.node)
            if node.type == "identifier" and not _is_label(node)
        }


def _decorators(node: tree_sitter.Node) -> Iterator[tuple[str, str]]:
    for call in (each for each in walk(node) if each.type == "call_expression"):
        arguments = next((child for child in call.named_children if child.type == "arguments"), None)
        yield text(call.named_children[0]), text(arguments) if arguments is not None else ""


def _is_label(node: tree_sitter.Node) -> bool:
    """Whether an identifier names a property or declares something, and refers to nothing."""
    parent = node.parent
    if parent is None:
        return False
    if parent.type == "object_property":
        return parent.named_children[0] == node
    if parent.type in _KINDS:
        return parent.named_children[0] == node
    return False


@cache
def files() -> dict[str, BicepFile]:
    """All files below `infra`, by their path there."""
    return {each.name: each for each in map(BicepFile, sorted(INFRA.rglob("*.bicep")))}


def module_file(module: Declaration, of: BicepFile) -> BicepFile | None:
    """The file that a module declaration names; None where there is none."""
    path = (of.path.parent / module.target).resolve()
    return files().get(path.relative_to(INFRA).as_posix()) if path.is_relative_to(INFRA) else None


def members(file: BicepFile) -> set[tuple[str, str]]:
    """Every `module.outputs.name`, also `module!.outputs.name`, as (module, name).

    By its text: the grammar takes the alternative of `a ? b : c.d` for less than it is.
    """
    found = re.findall(r"\b(\w+)[!?]?\.outputs\.(\w+)", file.source)
    return {(module, name) for module, name in found if module in file.of("module")}


def local_names(file: BicepFile) -> set[str]:
    """What loops and lambdas declare."""
    names = set()
    for node in walk(file.root):
        match node.type:
            case "for_statement":
                initializer = node.child_by_field_name("initializer")
                names |= {text(initializer)} if initializer is not None else set()
            case "loop_variable" | "loop_enumerator":
                names.add(text(node))
            case "lambda_expression":
                names.add(text(node.named_children[0]))
    return names


def settings_in(file: BicepFile) -> set[str]:
    """The names of app settings that a file's objects give: those in capitals, and those of connections."""
    found = set()
    for node in walk(file.root):
        if node.type == "object":
            found |= {name for name in properties(node) if name.upper() == name or "__" in name or name in _CONNECTIONS}
    return found


_CONNECTIONS = {"SourceStorage", "BackupStorage", "BackupQueue", "AzureWebJobsStorage"}

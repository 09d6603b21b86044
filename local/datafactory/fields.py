"""Strict reading of one JSON object: every property must be asked for, and have the expected type.

Data Factory's own schema lets unknown properties pass; the stand-in must not, or a misspelled setting of the
shipped pipeline would pass every local test.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

Value = TypeVar("Value")

_TYPE_NAMES = {str: "text", bool: "true or false", int: "a whole number", list: "an array", dict: "an object"}


class DefinitionError(ValueError):
    """A definition says something that the stand-in does not know, so it refuses it."""


class Fields:
    """The properties of one object; leaving the `with` block refuses those that nobody asked for."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise DefinitionError(f"{where}: expected an object, found {type(value).__name__}")
        self._rest: dict[str, Any] = dict(value)
        self.where = where

    @classmethod
    def of_file(cls, path: Path) -> Self:
        try:
            return cls(json.loads(path.read_text(encoding="utf-8")), f"{path.parent.name}/{path.name}")
        except ValueError as error:
            raise DefinitionError(f"{path.parent.name}/{path.name}: not JSON: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._rest:
            raise DefinitionError(f"{self.where}: the stand-in does not know {', '.join(sorted(self._rest))}")

    def required(self, name: str, kind: type[Value]) -> Value:
        if name not in self._rest:
            raise DefinitionError(f"{self.where}: {name} is missing")
        return self._typed(name, kind)

    def optional(self, name: str, kind: type[Value], default: Value) -> Value:
        return self._typed(name, kind) if name in self._rest else default

    def raw(self, name: str) -> Any:
        """A property of any type, which must be there."""
        if name not in self._rest:
            raise DefinitionError(f"{self.where}: {name} is missing")
        return self._rest.pop(name)

    def nested(self, name: str) -> Fields:
        return Fields(self.required(name, dict), f"{self.where}.{name}")

    def only(self, name: str, *known: Any, default: Any = None) -> Any:
        """A property that the stand-in knows with these values alone; absent means `default`."""
        value = self._rest.pop(name, default)
        if not any(value == choice and type(value) is type(choice) for choice in known):
            shown = " or ".join(json.dumps(choice) for choice in known)
            raise DefinitionError(f"{self.where}: {name} must be {shown} here, not {json.dumps(value)}")
        return value

    def ignore(self, *names: str) -> None:
        """Drops what has no effect on a run (descriptions, annotations)."""
        for name in names:
            self._rest.pop(name, None)

    def has(self, name: str) -> bool:
        return name in self._rest

    def _typed(self, name: str, kind: type[Value]) -> Value:
        value = self._rest.pop(name)
        if type(value) is not kind:
            raise DefinitionError(f"{self.where}: {name} must be {_TYPE_NAMES[kind]}, not {json.dumps(value)}")
        return value

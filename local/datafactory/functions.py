"""The functions of Data Factory's expression language that the stand-in knows. Pure.

Source: learn.microsoft.com/azure/data-factory/control-flow-expression-language-functions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class FunctionError(ValueError):
    """An argument is of a type that the function does not take."""


def joined(values: Sequence[Any]) -> str:
    """The values as one text."""
    return "".join(map(_text, values))


def _text(value: Any) -> str:
    # How Data Factory writes true, null, objects and fractions in a text is not needed here, and easy to get wrong.
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise FunctionError(f"the stand-in joins only text and whole numbers, not {type(value).__name__}")


def _typed(value: Any, *kinds: type) -> Any:
    if type(value) not in kinds:
        raise FunctionError(f"expected {' or '.join(kind.__name__ for kind in kinds)}, not {type(value).__name__}")
    return value


def _string(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _text(value)


def _empty(value: Any) -> bool:
    return len(_typed(value, str, list, dict)) == 0


def _coalesce(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _or(one: Any, other: Any) -> bool:
    return any([_typed(one, bool), _typed(other, bool)])


def _replace(text: Any, old: Any, new: Any) -> str:
    return str(_typed(text, str)).replace(_typed(old, str), _typed(new, str))


def _not(value: Any) -> bool:
    return not _typed(value, bool)


def _concat(*values: Any) -> str:
    return joined(values)


FUNCTIONS: Mapping[str, tuple[Callable[..., Any], range]] = {
    "coalesce": (_coalesce, range(1, 100)),
    "concat": (_concat, range(1, 100)),
    "empty": (_empty, range(1, 2)),
    "not": (_not, range(1, 2)),
    "or": (_or, range(2, 3)),
    "replace": (_replace, range(3, 4)),
    "string": (_string, range(1, 2)),
}
"""Each with how many arguments it takes."""

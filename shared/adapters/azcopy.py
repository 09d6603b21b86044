"""Runs the real azcopy: finds the program, starts it apart from everything else, and never leaves it behind.

azcopy takes a SAS in its argument list only, where other users of the machine could read it. So those
that are made for a run are short-lived and open one container, and identities do without.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from shared.adapters.azcopy_folders import RunFolder, work_folder
from shared.adapters.azcopy_output import AzcopyRun, read_output
from shared.adapters.signing import USER_AGENT
from shared.errors import AzcopyUnusable
from shared.settings import inherited

END_SECONDS = 10.0
"""How long azcopy may take to end in an orderly way; then it is killed."""

VERSION_SECONDS = 60.0

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_MAX_ERROR_CHARACTERS = 4000
_INHERITED = (
    *("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)


class Azcopy:
    """The program, found and known to start. `version` is what it says of itself."""

    def __init__(self, path: Path, version: str) -> None:
        self.path = path
        self.version = version

    @classmethod
    async def find(cls, configured: str | None) -> Azcopy:
        """The azcopy at `configured` (AZCOPY_PATH), or else the one on PATH.

        Raises:
            AzcopyUnusable: there is none, or it does not start.
        """
        path = _executable(_program(configured))
        process = await _start([path, "--version"], _environment({}), asyncio.subprocess.PIPE, asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(VERSION_SECONDS):
                output, errors = await process.communicate()
        except TimeoutError:
            raise AzcopyUnusable(f"{path} --version did not answer within {VERSION_SECONDS:g} s") from None
        finally:
            await _end(process)
        text = output.decode("utf-8", "replace").strip()
        if process.returncode != 0 or not text.startswith("azcopy version "):
            said = (errors.decode("utf-8", "replace").strip() or text).partition("\n")[0][:200]
            raise AzcopyUnusable(
                f"{path} is no azcopy that runs here: set AZCOPY_PATH to one (exit code {process.returncode}: {said})"
            )
        return cls(path, text.removeprefix("azcopy version ").partition("\n")[0])

    async def sync(
        self,
        folder: RunFolder,
        source_url: str,
        backup_url: str,
        flags: Sequence[str],
        environment: Mapping[str, str],
    ) -> int:
        """Runs `azcopy sync` to its end; returns its exit code. Cancelled, it ends azcopy and its children.

        Deletions are never azcopy's to make: see `shared.decisions.mirroring.deletion_refusal`.

        Args:
            source_url: the container's address, with a SAS unless the environment holds an identity.
            environment: what azcopy needs beyond the basics.
        """
        arguments: list[str | Path] = [
            *(self.path, "sync", source_url, backup_url),
            *("--output-type=json", "--log-level=ERROR", "--recursive=true", "--delete-destination=false"),
            *flags,
        ]
        variables = _environment(
            {
                "HOME": str(folder.path),
                "TMPDIR": str(folder.path),
                "AZCOPY_LOG_LOCATION": str(folder.logs),
                "AZCOPY_JOB_PLAN_LOCATION": str(folder.plans),
                **environment,
            }
        )
        # Files, not pipes: nothing that azcopy starts can hold them open, and no line is too long for them.
        with folder.stdout.open("wb") as stdout, folder.stderr.open("wb") as stderr:
            process = await _start(arguments, variables, stdout.fileno(), stderr.fileno())
            try:
                return await process.wait()
            finally:
                await _end(process)


def read_run(folder: RunFolder, source_url: str, exit_code: int, redact: Callable[[str], str]) -> AzcopyRun:
    """What the run in this folder said until it ended, however it ended."""
    with contextlib.ExitStack() as files:
        stderr = files.enter_context(folder.stderr.open(encoding="utf-8", errors="replace"))
        stdout = files.enter_context(folder.stdout.open(encoding="utf-8", errors="replace"))
        path = folder.job_log()
        log = files.enter_context(path.open(encoding="utf-8", errors="replace")) if path else ()
        return read_output(
            stdout,
            log,
            source_url=source_url.partition("?")[0],
            exit_code=exit_code,
            stderr=stderr.read(_MAX_ERROR_CHARACTERS),
            redact=redact,
        )


def _program(configured: str | None) -> Path:
    if configured:
        path = Path(configured)
        if not path.is_file():
            raise AzcopyUnusable(f"AZCOPY_PATH names {configured}, and no such file is there: set it to azcopy's path")
        return path.absolute()
    found = shutil.which("azcopy")
    if found is None:
        raise AzcopyUnusable("azcopy is not on PATH: install it, or set AZCOPY_PATH to its path")
    return Path(found)


def _executable(program: Path) -> Path:
    """The program itself, or a copy of it that may be executed.

    A zip deployment loses the permission, and the platform mounts the app's folder read-only.
    """
    if os.access(program, os.X_OK):
        return program
    state = program.stat()
    copy = work_folder() / f"azcopy-{state.st_size}-{state.st_mtime_ns}"
    if not copy.exists():
        arriving = copy.with_name(f"{copy.name}.{os.getpid()}")  # renamed when whole: two may start at once
        shutil.copyfile(program, arriving)
        arriving.chmod(0o700)
        arriving.replace(copy)
    return copy


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """What azcopy is told: of the app's own settings, which hold keys, nothing."""
    return {
        **inherited(_INHERITED),
        "AZCOPY_USER_AGENT_PREFIX": USER_AGENT,
        "AZCOPY_DISABLE_SYSLOG": "true",
        **variables,
    }


async def _start(
    arguments: Sequence[str | Path], environment: Mapping[str, str], stdout: int, stderr: int
) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()),
        )
    except OSError as error:
        raise AzcopyUnusable(
            f"{arguments[0]} cannot be started: set AZCOPY_PATH to azcopy ({error.strerror})"
        ) from error


def _die_with(parent: int) -> Callable[[], None] | None:
    """What the child runs before it becomes azcopy, so that it ends with the app even when that is killed."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)

    def bind() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the app ended before the line above: nobody would be told
            os._exit(1)

    return bind


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends the process and all that it started: they are one process group. One that has ended is fine."""
    ending = asyncio.ensure_future(_end_group(process))
    try:
        await asyncio.shield(ending)
    except asyncio.CancelledError:
        await ending  # whoever cancels must not outrun it
        raise


async def _end_group(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        _signal(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), END_SECONDS)
    _signal(process.pid, signal.SIGKILL)
    await process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)

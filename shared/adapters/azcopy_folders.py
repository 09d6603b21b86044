"""The temporary folders of azcopy's runs: one for each, removed afterwards, its logs kept when it failed.

Only what is left of failed runs stays, without secrets, and never more than a few of them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from shared.errors import AzcopyUnusable

FREE_BYTES_NEEDED = 128 * 1024 * 1024
"""For job plans, logs and the index of a comparison: azcopy panics when the disk of its plans is full, and
says nothing when that of its logs is."""

KEPT_RUNS = 5
KEPT_BYTES_PER_FILE = 4 * 1024 * 1024
_THIS_PROCESS = uuid.uuid4().hex[:8]
"""Tells this process from an earlier one of the same id: a container that starts again counts from 1 again."""


def work_folder() -> Path:
    """The app's own folder among the system's temporary ones, made when missing.

    Raises:
        AzcopyUnusable: another user has made one of its name; what it holds is not run.
    """
    folder = Path(tempfile.gettempdir()) / f"snapkeep-{_user()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or (hasattr(os, "getuid") and folder.stat().st_uid != os.getuid()):
        raise AzcopyUnusable(f"{folder} belongs to somebody else: remove it, or set TMPDIR to a folder of your own")
    return folder


class RunFolder:
    """The folder of one run of azcopy: `logs`, `plans`, and its output."""

    def __init__(self) -> None:
        """Raises AzcopyUnusable when the disk is too full to begin."""
        base = work_folder()
        _remove_abandoned(base)
        free = shutil.disk_usage(base).free
        if free < FREE_BYTES_NEEDED:
            raise AzcopyUnusable(
                f"only {free >> 20} MiB are free in {base}, and azcopy's plans and logs need "
                f"{FREE_BYTES_NEEDED >> 20} MiB: free some, or set TMPDIR to a larger disk"
            )
        self._kept = base / "kept"
        self.path = Path(tempfile.mkdtemp(prefix=f"run-{os.getpid()}-{_THIS_PROCESS}-", dir=base))
        self.logs, self.plans = self.path / "logs", self.path / "plans"
        self.logs.mkdir()
        self.plans.mkdir()
        self.stdout, self.stderr = self.path / "stdout.jsonl", self.path / "stderr.txt"

    def job_log(self) -> Path | None:
        """The log of the job itself, not that of the scan before it."""
        return next((log for log in self.logs.glob("*.log") if not log.stem.endswith("-scanning")), None)

    def keep(self, name: str, moment: datetime, redact: Callable[[str], str]) -> str:
        """Keeps the logs and the output, the end of each, under a name that is returned; the oldest make room."""
        self._kept.mkdir(exist_ok=True)
        kept = self._kept / f"{moment:%Y%m%dT%H%M%S%f}-{name}"
        kept.mkdir()
        for file in (*self.logs.glob("*.log"), self.stdout, self.stderr):
            if file.exists():
                (kept / file.name).write_text(redact(_end_of(file)), encoding="utf-8")
        for old in sorted(self._kept.iterdir())[:-KEPT_RUNS]:
            shutil.rmtree(old, ignore_errors=True)  # another stack on this machine may be quicker
        return f"{self._kept.name}/{kept.name}"

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)  # a file that azcopy still had open on a network disk


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "app"


def _end_of(file: Path) -> str:
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - KEPT_BYTES_PER_FILE))
        text = stream.read().decode("utf-8", "replace")
    # A cut may fall into a secret, whose rest nothing would recognise: the broken line goes.
    return text if size <= KEPT_BYTES_PER_FILE else text.partition("\n")[2]


def _remove_abandoned(base: Path) -> None:
    """Removes what runs left behind whose process is gone, such as one that was killed."""
    for folder in base.glob("run-*"):
        _, process, instance, *_ = folder.name.split("-")
        ours = int(process) == os.getpid()
        if (ours and instance != _THIS_PROCESS) or not (ours or _alive(int(process))):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's, so it runs
        return True
    return True

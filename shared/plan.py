"""A restore's plan on disk: as many steps as there are blobs, read as often as needed, in flat memory."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from shared.decisions.restore_summary import Summary
from shared.decisions.restoring import Job, Step, of_line, to_line
from shared.errors import SnapkeepError

_FILE_NAME = "plan.jsonl.gz"
_COMPRESSION = 4
"""Nearly as small as with the default of 9, and several times as fast."""


class PlanFolder:
    """A temporary folder of its own for one plan's file, removed by `close`."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is where it is made; None for the system's temporary folder."""
        self._folder = tempfile.TemporaryDirectory(prefix="snapkeep-plan-", dir=folder)
        self.file = Path(self._folder.name) / _FILE_NAME

    def close(self) -> None:
        """Removes the file. Closing twice is fine."""
        self._folder.cleanup()


class PlanWriter:
    """Writes a plan step by step. Whoever does not come to `finish` must `close`."""

    def __init__(self) -> None:
        self._folder = PlanFolder()
        self._file = gzip.open(self._folder.file, "wt", _COMPRESSION, encoding="utf-8", newline="\n")  # noqa: SIM115 -- closed by finish or close

    def add(self, step: Step) -> None:
        self._file.write(to_line(step) + "\n")

    def finish(self, job: Job, summary: Summary) -> Plan:
        self._file.close()
        return Plan(job, summary, self._folder)

    def close(self) -> None:
        self._file.close()
        self._folder.close()


class Plan:
    """What a restore will do. It owns its folder: `close` removes it."""

    def __init__(self, job: Job, summary: Summary, folder: PlanFolder) -> None:
        self.job = job
        self.summary = summary
        self._folder = folder

    @property
    def file(self) -> Path:
        """All steps, one a line, compressed."""
        return self._folder.file

    def steps(self) -> Iterator[Step]:
        """All steps, from the first one on with each call.

        Raises:
            SnapkeepError: the file is damaged.
        """
        try:
            with gzip.open(self.file, "rt", encoding="utf-8", newline="\n") as lines:
                for line in lines:
                    yield of_line(line)
        except (EOFError, OSError, zlib.error, ValueError, KeyError, TypeError) as error:
            raise SnapkeepError(f"the plan cannot be read: {error}; begin anew with --restart") from error

    def close(self) -> None:
        """Removes the plan's file. Closing twice is fine."""
        self._folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

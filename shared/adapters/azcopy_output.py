"""Reads what azcopy writes: one JSON object a line on its output, and a log that has the reasons.

Every number in it is text; a message's content is JSON within JSON; and failed and skipped files are
each told once, in whichever message comes next, so that the last one is not enough. All of that was
seen with azcopy 10.32.2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import unquote

from shared.decisions.mirroring import AzcopyOutcome
from shared.decisions.sync_report import Problems

MAX_LINE_CHARACTERS = 64 * 1024 * 1024
"""A line lists every file that failed since the one before, at some 300 characters each."""

_MAX_NOTES = 20
_MAX_NOTE_CHARACTERS = 300
_REASON = re.compile(r"COPYFAILED: (\S+) : (\d+) : (.*)")
_REQUEST_ID = re.compile(r"\s*X-Ms-Request-Id: \S+\s*\Z")


@dataclass
class AzcopyRun:
    """What one run of azcopy said: its outcome, and the files that it failed at or skipped."""

    outcome: AzcopyOutcome
    failed: Problems = field(default_factory=Problems)
    skipped: Problems = field(default_factory=Problems)


def read_output(
    lines: IO[str],
    log: Iterable[str],
    *,
    source_url: str,
    exit_code: int,
    stderr: str,
    redact: Callable[[str], str],
) -> AzcopyRun:
    """Reads the output of a run that has ended.

    Args:
        lines: its standard output.
        log: the lines of its job log.
        source_url: the container's address as azcopy was given it, without a SAS.
        stderr: the beginning of its standard error, where a panic tells its reason.
        redact: takes secrets out of a text; nothing of azcopy's own words is given out without it.
    """
    reader = _Reader(source_url, _reasons(log), redact)
    for line in _lines(lines):
        if not reader.take(line):
            break
    if stderr.strip() and not reader.errors:
        reader.note(stderr.strip().partition("\n")[0])
    return reader.run(exit_code)


class _Reader:
    def __init__(self, source_url: str, reasons: dict[str, str], redact: Callable[[str], str]) -> None:
        self._root = source_url.rstrip("/") + "/"
        self._reasons = reasons
        self._redact = redact
        self._summary: dict[str, Any] = {}
        self._status: str | None = None
        self._scanned = 0
        self._malformed: str | None = None
        self._notes: list[str] = []
        self._failed, self._skipped = Problems(), Problems()
        self.errors: list[str] = []

    def take(self, line: str) -> bool:
        """Reads one line; False when it is none that azcopy should write."""
        try:
            message = json.loads(line)
            kind, content = message["MessageType"], message["MessageContent"]
            if kind == "Error":
                self.errors.append(self._brief(content))
            elif kind == "Info":
                text = content.removeprefix("INFO: ")
                if text.startswith(("WARN", "Authentication failed")):
                    self.note(text)
            elif kind in {"Progress", "EndOfJob"}:
                self._take_summary(json.loads(content), final=kind == "EndOfJob")
        except (ValueError, KeyError, TypeError, AttributeError):
            self._malformed = self._brief(line)
        return self._malformed is None

    def _take_summary(self, summary: dict[str, Any], *, final: bool) -> None:
        if "FilesScannedAtSource" in summary:
            self._scanned = int(summary["FilesScannedAtSource"])
            return
        for transfer in summary["FailedTransfers"] or ():
            self._failed.add(self._name(transfer["Src"]), self._reason(transfer))
        for transfer in summary["SkippedTransfers"] or ():
            self._skipped.add(self._name(transfer["Src"]), str(transfer["TransferStatus"]))
        for number in ("TotalTransfers", "TransfersCompleted", "TransfersFailed", "TransfersSkipped"):
            summary[number] = int(summary[number])
        summary["TotalBytesTransferred"] = int(summary["TotalBytesTransferred"])
        self._summary = summary
        if final:
            self._status = str(summary["JobStatus"])
            if summary["ErrorMsg"]:
                self.note(str(summary["ErrorMsg"]))

    def note(self, text: str) -> None:
        if len(self._notes) < _MAX_NOTES:
            self._notes.append(self._brief(text))

    def run(self, exit_code: int) -> AzcopyRun:
        summary = self._summary
        outcome = AzcopyOutcome(
            exit_code,
            self._status,
            ordered=bool(summary.get("CompleteJobOrdered", False)),
            total=summary.get("TotalTransfers", 0),
            copied=summary.get("TransfersCompleted", 0),
            failed=summary.get("TransfersFailed", 0),
            skipped=summary.get("TransfersSkipped", 0),
            bytes_copied=summary.get("TotalBytesTransferred", 0),
            scanned=max(self._scanned, summary.get("TotalTransfers", 0)),
            errors=tuple(self.errors[:_MAX_NOTES]),
            malformed=self._malformed,
            notes=tuple(self._notes),
        )
        return AzcopyRun(outcome, self._failed, self._skipped)

    def _name(self, url: str) -> str:
        return unquote(url.removeprefix(self._root))

    def _reason(self, transfer: dict[str, Any]) -> str:
        reason = self._reasons.get(transfer["Src"]) or f"the service answered {transfer['ErrorCode']}"
        return self._brief(reason)

    def _brief(self, text: str) -> str:
        """The beginning of a message, on one line: azcopy sets whole answers of the service into its own."""
        lines = (line.strip() for line in self._redact(text).splitlines())
        return " ".join(line for line in lines if line.strip("-"))[:_MAX_NOTE_CHARACTERS]


def _lines(output: IO[str]) -> Iterator[str]:
    while line := output.readline(MAX_LINE_CHARACTERS):
        if line.strip():
            yield line


def _reasons(log: Iterable[str]) -> dict[str, str]:
    """Why files failed, by their source's address: the log alone tells more than a number."""
    reasons: dict[str, str] = {}
    for line in log:
        found = _REASON.search(line)
        if found:
            reasons[found[1]] = _REQUEST_ID.sub("", found[3])
            if len(reasons) == Problems.LISTED:
                break
    return reasons

"""What the reader sees: numbered steps, a line for each thing done with the time that it took, a table and a verdict.

Plain text in a pipe; on a terminal with colours, and a spinner while something is waited for.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_COLUMNS = 100
TIME_COLUMNS = 10


class Page:
    def __init__(self) -> None:
        console = Console(highlight=False, soft_wrap=True)
        # A pipe has no width; rich would cut tables at 80 columns.
        self._console = console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=PIPE_COLUMNS)
        self._steps = 0

    def title(self, text: str) -> None:
        self._console.print(Text(text, style="bold"))

    def step(self, text: str, explanation: str) -> None:
        """Begins the next step."""
        self._steps += 1
        self._console.print()
        self._console.print(Text(f"{self._steps}. {text}", style="bold"))
        self._console.print(Text(f"   {explanation}", style="dim"))

    def line(self, text: str, seconds: float | None = None) -> None:
        """One thing that was done, and how long it took."""
        took = "" if seconds is None else f"{seconds:6.1f} s"
        self._console.print(Text(took.ljust(TIME_COLUMNS), style="cyan").append(text, style="default"))

    def problem(self, text: str) -> None:
        """Something that is not as it should be."""
        self._console.print(Text(f"{' ' * TIME_COLUMNS}{text}", style="red"))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The first column is text, the others are numbers."""
        table = Table(box=box.SIMPLE)
        for number, column in enumerate(columns):
            table.add_column(column, justify="right" if number else "left", no_wrap=True)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._console.print(table, crop=False, overflow="ignore")

    def verdict(self, text: str, *, good: bool) -> None:
        self._console.print(Text(text, style="bold green" if good else "bold red"))

    @contextmanager
    def waiting(self, text: str) -> Iterator[Callable[[str], None]]:
        """Shows on a terminal that something is going on; the block can say how far it is."""
        if not self._console.is_terminal:
            yield lambda _: None
            return
        with self._console.status(Text(text)) as status:
            yield lambda progress: status.update(Text(f"{text}: {progress}"))


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began


def mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:.1f} MiB"

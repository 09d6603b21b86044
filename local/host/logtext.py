"""Text from outside made fit for one line of a log."""

import traceback

MAX_CHARACTERS = 500
_FRAMES = 4


def one_line(text: object, limit: int = MAX_CHARACTERS) -> str:
    """`text` with every control character (CR, LF, ANSI escapes) escaped, cut at `limit` characters.

    Names and error messages can come from whoever wrote a blob or a message: unescaped they could forge log
    lines.
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return shown if len(shown) <= limit else shown[:limit] + "..."


def describe_error(error: BaseException) -> str:
    """The error's class, message and innermost frames, in one line."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    where = " < ".join(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in reversed(frames))
    return f"{type(error).__name__}: {one_line(error)}" + (f" (at {one_line(where, 1000)})" if where else "")

"""The files that the demo protects: sources of this Python's standard library, and one that is large."""

import platform
import random
import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from local.demo.errors import DemoFailed
from local.demo.record import Draft, draft

MIB = 1024 * 1024
DATA_FACTORY_MIN_BYTES = 4 * MIB
LARGE_BYTES = 6 * MIB
LARGE_NAME = "measurements/2026.bin"
HARD_NAME = 'drafts/"früh & spät" 100% #1 + ½?.txt'
METADATA = {"origin": "standard library", "python": platform.python_version()}
UNANNOUNCED_PACKAGES = ("encodings",)
MIRRORED_PACKAGES = ("email", "html", "http", "json")
_RESERVED = {*UNANNOUNCED_PACKAGES, *MIRRORED_PACKAGES}
_LEFT_OUT = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"}


def sources(*packages: str) -> Iterator[Draft]:
    """The library's source files in the order of their names: of these packages, or of all that no other step uses."""
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).parts
        wanted = parts[0] in packages if packages else parts[0] not in _RESERVED
        if wanted and not _LEFT_OUT.intersection(parts):
            yield draft("/".join(parts), path.read_bytes(), METADATA)


def some(count: int, files: Iterator[Draft]) -> list[Draft]:
    """The first files. Raises DemoFailed when this Python comes with far fewer."""
    found = list(islice(files, count))
    if len(found) < count // 2:
        library = sysconfig.get_path("stdlib")
        raise DemoFailed(f"{library} holds too few sources to show anything: use a Python with its standard library")
    return found


def large_file() -> Draft:
    """More than the Data Factory threshold, and nothing that compresses; the same at each run."""
    content = random.Random(2026).randbytes(LARGE_BYTES)  # noqa: S311 -- not a secret
    return draft(LARGE_NAME, content, {"origin": "random"}, year="2026", kind="measurement")


def hard_named_file() -> Draft:
    """A small file whose name holds what URLs, JSON and shells take for their own."""
    return draft(HARD_NAME, b"Names are bytes, too.\n", {"origin": "demo"})

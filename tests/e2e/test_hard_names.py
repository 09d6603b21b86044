"""Every hard name goes through HTTP, queue, engine and backup byte for byte; both engines."""

import hashlib
import posixpath
import re

import pytest

from tests.e2e.app import Queue, Ready
from tests.e2e.blobs import Pair
from tests.e2e.conftest import NewApp, NewPair
from tests.names import HARD_NAMES

STAMP = r"\d{8}T\d{6}Z-"


def stored_names() -> list[str]:
    """The names as the service keeps them: it turns a backslash into a slash, so that two may become one."""
    return sorted({name.replace("\\", "/") for name in HARD_NAMES.values()})


def expected_name(name: str, etag: str) -> str:
    """The backup's name by the README (How the pieces fit), as a pattern: the time is the service's."""
    extension = "" if (found := posixpath.splitext(name)[1]) == "." else found
    # As the service counts: UTF-16 units, and path segments.
    units = len(f"{name}/20261120T140533Z-{etag}{extension}".encode("utf-16-le")) // 2
    if units > 1024 or name.count("/") > 252:
        # An extension that leaves no room even there is left out.
        return rf"\.snapkeep/long/{hashlib.sha256(name.encode()).hexdigest()}/{STAMP}{etag}(?:{re.escape(extension)})?"
    return f"{re.escape(name)}/{STAMP}{etag}{re.escape(extension)}"


@pytest.mark.parametrize("engine", ["server", "adf"])
async def test_every_hard_name_is_backed_up_byte_for_byte(
    stack: Ready, new_app: NewApp, new_pair: NewPair, engine: str
) -> None:
    # The names that would have a "." or ".." segment cannot be written through an SDK, nor asked for.
    contents = {
        name: f"content of {name}".encode() for name in stored_names() if not {".", ".."} & set(name.split("/"))
    }
    assert len(contents) >= 60
    pair: Pair = await new_pair(contents)
    app = new_app(SNAPKEEP_ENGINE=engine, SNAPKEEP_INCLUDE_CONTAINERS=pair.name)
    async with Queue(stack["queue"], app) as queue:
        await app.start_beside()
        protected = await app.protect(pair.name)
        assert (protected["scanned"], protected["requested"], protected["failed"]) == (len(contents), len(contents), [])
        await queue.drained()
    assert {name for name, _ in pair.versions} == set(contents), "the service keeps other names than were written"
    assert await pair.problems() == []
    for (name, etag), [backup] in (await pair.copies()).items():
        assert re.fullmatch(expected_name(name, etag), backup.blob), backup.blob

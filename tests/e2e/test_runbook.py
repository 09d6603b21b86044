"""`docs/restore.md` does what it says: each command in it is run, in the order of the page, on a bad day.

The page is read, not repeated: a command that is added to it is run as well, and compared by the options that
it has. Its exit code is 0, unless a comment behind it claims another (`# exit code 1`).
"""

import contextlib
import json
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from local.demo.command import end_of_this_second
from shared.cli import main
from tests.e2e.app import Ready
from tests.e2e.command import Ended, Snapkeep
from tests.e2e.ground import Ground, a_ground_of_ones_own, spare_account
from tests.e2e.picture import Blob, Picture, delete, differences, picture, write
from tests.e2e.programs import ROOT

RUNBOOK = ROOT / "docs/restore.md"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

THE_MOMENT = "2026-11-20T14:05:33Z"
AGO = re.compile(r"\d+ (?:minute|hour|day)s? ago")


@dataclass(frozen=True)
class Line:
    """A command of the page. `block` numbers the blocks that the page shows its commands in."""

    section: str
    block: int
    words: tuple[str, ...]
    exit_code: int

    def __str__(self) -> str:
        return f"{self.section}: snapkeep {shlex.join(self.words)}"


def lines_of(page: Path) -> Iterator[Line]:
    """The commands `snapkeep` in the console blocks of a page."""
    section, block, inside = "", 0, False
    for text in page.read_text().splitlines():
        if text.startswith("```"):
            inside = text == "```console"
            block += inside
        elif text.startswith("## "):
            section = text.removeprefix("## ")
        elif inside and text.startswith("$ snapkeep "):
            command, _, comment = text.removeprefix("$ snapkeep ").partition(" # ")
            claimed = re.search(r"exit code (\d)", comment)
            yield Line(section, block, tuple(shlex.split(command)), int(claimed[1]) if claimed else 0)


def options_of(words: tuple[str, ...]) -> dict[str, Any]:
    """What the command line makes of the words after `snapkeep restore`; a UsageError where it does not know them."""
    with main.commands["restore"].make_context("restore", list(words)) as context:
        return context.params


GOOD: Picture = {
    "sales/2026/orders.csv": Blob(
        b"id,item\n1,2\n", {"content_type": "text/csv"}, {"origin": "shop"}, {"stage": "raw"}
    ),
    "sales/2026/items.csv": Blob(b"id,name\n2,pen\n", {"content_type": "text/csv"}),
    "sales/2025/orders.csv": Blob(b"id,item\n0,0\n", {"cache_control": "no-cache"}),
    "customers.csv": Blob(b"id,name\n7,Ada\n", metadata={"owner": "crm"}),
    "readme.md": Blob(b"Nobody touches this.\n"),
}
DELETED_ON_PURPOSE: Picture = {"sales/2024/orders.csv": Blob(b"id,item\n", metadata={"closed": "yes"})}
RUINED: Picture = {
    name: Blob(bytes(20)) for name in ("sales/2026/orders.csv", "sales/2025/orders.csv", "customers.csv")
}
DELETED = ("sales/2026/items.csv",)
NEWER: Picture = {"sales/2026/orders.csv.locked": Blob(b"pay us"), "README.txt": Blob(b"pay us", tags={"a": "b"})}


class BadDay:
    """The container `raw`, from the last good night to what a job made of it, and all that should come of it."""

    def __init__(self, ground: Ground, folder: Path, source: BlobServiceClient, backup: BlobServiceClient) -> None:
        self._ground = ground
        self._source, self._backup = source, backup
        self._raw = source.get_container_client("raw")
        self.snapkeep = ground.snapkeep("person")
        alone = {"BackupStorage": ground.ready["backup"]}
        self._alone = Snapkeep(folder / "alone", alone)
        self._with_new_account = Snapkeep(folder / "new", alone | {"SourceStorage": spare_account(ground.ready)})
        self._moment = ""

    async def befalls(self) -> None:
        """From the first protection to the damage."""
        await self._raw.create_container()
        await write(self._raw, GOOD | DELETED_ON_PURPOSE)
        await self.snapkeep.run("protect", "raw")
        await self.work_is_done()
        await self.snapkeep.run("reconcile")
        await delete(self._raw, DELETED_ON_PURPOSE)
        await self.snapkeep.run("reconcile")
        self._moment = await end_of_this_second()
        await write(self._raw, RUINED | NEWER)
        await delete(self._raw, DELETED)

    async def work_is_done(self) -> None:
        async with self._ground.queue() as queue:
            await queue.drained()

    async def run(self, line: Line) -> list[str]:
        """Does what the line says; tells what is not as the page says, or should be."""
        words = tuple(self._with_real_times(word) for word in line.words)
        if words[0] != "restore":
            return _exit_problems(line, await self.snapkeep.run(*words, exit_code=None))
        options = options_of(words[1:])
        before = await picture(self._raw)
        containers = await self._containers()
        snapkeep = self._command_for(options)
        asks = not options["plan_only"] and not options["yes"]
        # The plan, the question and the progress, as a person sees them.
        ended = await (snapkeep.run_on_terminal(*words, typed="y\n") if asks else snapkeep.run(*words, exit_code=None))
        problems = _exit_problems(line, ended)
        if asks and "[y/N]" not in ended.printed:
            problems.append(f"it did not ask: {ended.printed}")
        after = await picture(self._raw)
        if options["plan_only"]:
            return [*problems, *differences(before, after), *sorted(await self._containers() - containers)]
        report = _last_report(snapkeep.folder)
        wanted = self._wanted(options)
        if options["in_place"]:
            stays = before if not options["delete_newer"] else {k: v for k, v in before.items() if k in GOOD}
            return problems + differences(stays | wanted, after)
        problems += differences(before, after)
        if options["to_directory"]:
            return problems + _on_disk(wanted, snapkeep.folder / options["to_directory"])
        async with self._target(options, report["job"]["target"]) as target:
            return problems + differences(wanted, await picture(target))

    def _with_real_times(self, word: str) -> str:
        if AGO.fullmatch(word):
            return f"{(datetime.now(UTC) - datetime.fromisoformat(self._moment)).seconds} seconds ago"
        return word.replace(THE_MOMENT, self._moment)

    def _command_for(self, options: dict[str, Any]) -> Snapkeep:
        """The command with the settings that there still are: on the day of section 5 the backup account alone."""
        if options["origin"] != "backups":
            return self.snapkeep
        return self._alone if options["to_account"] == "backup" else self._with_new_account

    def _wanted(self, options: dict[str, Any]) -> Picture:
        """What a restore with these options brings."""
        wanted = dict(GOOD)
        if options["include_deleted"]:
            wanted |= DELETED_ON_PURPOSE
        if options["origin"] == "backups" and not options["at"]:
            # All that ever had a backup: what was deleted stands in the app's state, which is not asked.
            wanted |= DELETED_ON_PURPOSE | NEWER
        names = options["names"]
        return {
            name: blob
            for name, blob in wanted.items()
            if name.startswith(options["prefix"]) and (not names or name in names)
        }

    @contextlib.asynccontextmanager
    async def _target(self, options: dict[str, Any], name: str) -> AsyncIterator[ContainerClient]:
        if options["origin"] != "backups":
            yield self._source.get_container_client(name)
        elif options["to_account"] == "backup":
            yield self._backup.get_container_client(name)
        else:
            async with BlobServiceClient.from_connection_string(spare_account(self._ground.ready)) as spare:
                yield spare.get_container_client(name)

    async def _containers(self) -> set[str]:
        return {each.name for account in (self._source, self._backup) async for each in account.list_containers()}


def _exit_problems(line: Line, ended: Ended) -> list[str]:
    return [] if ended.exit_code == line.exit_code else [f"the page claims exit code {line.exit_code}: {ended}"]


def _last_report(folder: Path) -> Any:
    newest = max(folder.glob("snapkeep-restore-*.json"), key=lambda path: path.stat().st_mtime_ns)
    return json.loads(newest.read_text())


def _on_disk(wanted: Picture, folder: Path) -> list[str]:
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    problems = [
        f"{name} is missing in {folder.name}, or another" for name in wanted if found.get(name) != wanted[name].content
    ]
    return problems + [f"{name} should not be in {folder.name}" for name in found.keys() - wanted.keys()]


@pytest.fixture
def ground(work: Path) -> Iterator[Ground]:
    with a_ground_of_ones_own(work / "runbook") as ground:
        yield ground


@pytest.fixture
def stack(ground: Ground) -> Ready:
    """In place of the stack that other tests share."""
    return ground.ready


async def test_every_command_of_the_runbook_does_what_the_page_says(
    ground: Ground, tmp_path: Path, source_account: BlobServiceClient, backup_account: BlobServiceClient
) -> None:
    lines = list(lines_of(RUNBOOK))
    shown = re.findall(r"^\W*snapkeep ", RUNBOOK.read_text(), re.MULTILINE)
    assert len(lines) == len(shown) > 0, "there are commands outside of console blocks, or not after a $"
    day = BadDay(ground, tmp_path, source_account, backup_account)
    await day.befalls()
    problems: dict[str, list[str]] = {}
    block = 0
    for line in lines:
        if line.block != block:
            await day.work_is_done()  # between two blocks a person reads, and the app goes on
        block = line.block
        if found := await day.run(line):
            problems[str(line)] = found
    assert problems == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists_with_its_options(page: Path) -> None:
    assert [problem for text in _named_in(page) for problem in _unknown_in(text)] == []


def test_the_pages_are_read_as_they_are_written() -> None:
    assert all(len(_named_in(ROOT / page)) > 3 for page in ("README.md", "docs/restore.md", "docs/operations.md"))


def _named_in(page: Path) -> list[str]:
    return re.findall(r"(?:`|^\$ )snapkeep ([^`\n]+)", page.read_text(), re.MULTILINE)


def _unknown_in(text: str) -> list[str]:
    """What of a command, or of a part of one, the command line does not know."""
    command: click.Command = main
    problems = []
    for word in shlex.split(text, comments=True):
        if isinstance(command, click.Group) and word in command.commands:
            command = command.commands[word]
        elif isinstance(command, click.Group) and command is main and not word.startswith("-"):
            problems.append(f"snapkeep {text}: there is no command {word}")
            break
        elif word.startswith("--") and word not in {name for option in command.params for name in option.opts}:
            problems.append(f"snapkeep {text}: there is no option {word}")
    return problems

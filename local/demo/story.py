"""What the demo does and shows, from the first file to the last byte compared."""

from collections.abc import Mapping
from typing import Any

from local.demo import material
from local.demo.checks import (
    Findings,
    check_engines,
    check_leftovers,
    check_mirror,
    check_restored,
    check_source,
    check_strangers,
    check_versions,
)
from local.demo.command import Snapkeep, end_of_this_second
from local.demo.contract import backup_container
from local.demo.errors import DemoFailed
from local.demo.page import Page, Stopwatch, mebibytes
from local.demo.progress import Reports, drained
from local.demo.record import Draft, RecordedContainer
from local.demo.stage import Stage, open_stage

ANNOUNCED, UNANNOUNCED, MIRRORED = "raw", "ledger", "lake"
EDITED_FILES = 10
SHOWN_DIFFERENCES = 20
DELETED_OF = 20
"""The job that runs amok deletes one blob in so many, with its snapshots, and overwrites the others."""

COLUMNS = ("", "written", "right", "differences", "compared")


async def tell(page: Page, ready: Mapping[str, str]) -> list[str]:
    """The whole demo, on a stack that has just started. Returns what did not match: nothing, if all is well.

    Raises:
        DemoFailed: it could not be told to its end.
    """
    async with open_stage(page, ready) as stage:
        await look_at_empty_accounts(stage)
        raw = await protect_new_files(stage)
        await protect_changes(stage, raw)
        ledger = await reconcile_an_unannounced_container(stage)
        lake = await mirror_a_container(stage)
        await compare_everything(stage, [raw, ledger], lake)
        await corrupt_and_restore(stage, raw, Snapkeep(ready))
        return stage.differences


async def look_at_empty_accounts(stage: Stage) -> None:
    for what, account in (("source", stage.source), ("backup", stage.backup)):
        # The host keeps its locks in a container of its own, as on the platform.
        found = [each.name async for each in account.list_containers() if each.name != "azure-webjobs-hosts"]
        if found:
            raise DemoFailed(f"the {what} account is not empty: it holds {', '.join(found)}")
    stage.page.line("the source and the backup account are empty")


async def protect_new_files(stage: Stage) -> RecordedContainer:
    stage.page.step(
        "New files are protected",
        "protect takes a snapshot of each new blob and requests its backup; backup copies and verifies it.",
    )
    raw = await stage.new_container(ANNOUNCED)
    await write(stage, raw, [*material.some(400, material.sources()), material.large_file()])
    await call_protect(stage, raw, changed=len(raw.live))
    await wait_for_backups(stage, raw)
    return raw


async def protect_changes(stage: Stage, raw: RecordedContainer) -> None:
    stage.page.step(
        "Changes are protected, version by version",
        "A changed blob gets another snapshot, and another backup beside the older ones, which stay.",
    )
    names = sorted(raw.live.keys() - {material.LARGE_NAME})
    described, relabelled, deleted, *edited = names[:: len(names) // (EDITED_FILES + 3)][: EDITED_FILES + 3]
    edited.append(material.LARGE_NAME)
    watch = Stopwatch()
    await raw.rewrite(edited, lambda content: content + b"\n# edited\n")
    await raw.set_metadata(described, {"origin": "demo", "reviewed": "yes"})
    await raw.set_headers(relabelled, {"content_type": "text/plain", "content_language": "en"})
    await raw.delete(deleted)
    await raw.write([material.hard_named_file()])
    seconds = watch.seconds
    stage.page.line(f"{raw.name}: edited {len(edited)} files, {material.LARGE_NAME} among them", seconds)
    stage.page.line(f"{raw.name}: changed the metadata of {described}, the headers of {relabelled}")
    stage.page.line(f"{raw.name}: deleted {deleted}, and its snapshots with it")
    stage.page.line(f"{raw.name}: added {material.HARD_NAME}")
    await call_protect(stage, raw, changed=len(edited) + 3)
    await wait_for_backups(stage, raw)
    await call_protect(stage, raw, changed=0)


async def reconcile_an_unannounced_container(stage: Stage) -> RecordedContainer:
    stage.page.step(
        "A container that nobody announced is found",
        "reconcile goes through the whole source account and fills in what is missing.",
    )
    ledger = await stage.new_container(UNANNOUNCED)
    await write(stage, ledger, material.some(60, material.sources(*material.UNANNOUNCED_PACKAGES)))
    await reconcile(stage, missing=len(ledger.live))
    await wait_for_backups(stage, ledger)
    await reconcile(stage, missing=0)
    return ledger


async def mirror_a_container(stage: Stage) -> RecordedContainer:
    stage.page.step("A container is mirrored", "sync runs the real azcopy, and compares what it did.")
    lake = await stage.new_container(MIRRORED)
    await write(stage, lake, material.some(40, material.sources(*material.MIRRORED_PACKAGES)))
    report, seconds = await run_by_hand(stage, "sync", stage.sync_reports)
    for pair in report["pairs"]:
        stage.page.line(
            f"sync: azcopy {report['azcopy_version']} copied {pair['copied']} files, {mebibytes(pair['bytes'])}, "
            f"to {pair['backup']}",
            seconds,
        )
        stage.expect(pair["outcome"] == "succeeded", f"sync of {pair['source']} {pair['outcome']}: {pair['reason']}")
    return lake


async def compare_everything(stage: Stage, protected: list[RecordedContainer], lake: RecordedContainer) -> None:
    stage.page.step(
        "Everything is compared with what was written",
        "The demo has its own record of every version, and works out the name of each backup by itself.",
    )
    rows: list[tuple[str, str, str, str, str]] = []
    differences: list[str] = []
    watch = Stopwatch()

    def found(what: str, expected: int, findings: Findings) -> None:
        rows.append(row(what, expected, findings))
        differences.extend(findings.differences)

    for record in protected:
        found(f"{record.name}: live blobs, with a snapshot", len(record.live), await check_source(record))
        backups = stage.backups_of(record)
        for what, versions in (("still live", record.current), ("replaced or deleted", record.past)):
            if versions:
                findings = await check_versions(backups, versions)
                found(f"{backups.container_name}: versions {what}", len(versions), findings)
        differences += await check_strangers(backups, record)
    mirror = stage.backups_of(lake)
    found(f"{mirror.container_name}: mirrored files", len(lake.live), await check_mirror(mirror, lake))
    containers = {backup_container(record.name) for record in (*protected, lake)}
    differences += await check_leftovers(stage.backup, stage.poison, containers)
    differences += check_engines(await stage.data_factory.copied(), protected, material.DATA_FACTORY_MIN_BYTES)
    stage.page.line("read every backup: content, headers, metadata, index tags", watch.seconds)
    stage.page.table(COLUMNS, rows)
    show_differences(stage, differences)


async def corrupt_and_restore(stage: Stage, raw: RecordedContainer, snapkeep: Snapkeep) -> None:
    stage.page.step(
        "A job runs amok, and one command brings back the second before it",
        "restore shows its plan first; each blob comes from the nearest place that still holds it, and is verified.",
    )
    moment = await end_of_this_second()
    watch = Stopwatch()
    deleted = sorted(raw.live)[::DELETED_OF]
    await raw.ruin(deleted)
    ruined = len(raw.live) - len(deleted)
    stage.page.line(f"{raw.name}: a job overwrote {ruined} blobs with zeros, deleted {len(deleted)}", watch.seconds)
    command = ("restore", raw.name, "--in-place", "--at", moment)
    await snapkeep_says(stage, snapkeep, *command, "--plan")
    await snapkeep_says(stage, snapkeep, *command, "--yes")
    watch = Stopwatch()
    findings = await check_restored(raw)
    stage.page.line("read every blob: content, headers, metadata, index tags", watch.seconds)
    stage.page.table(COLUMNS, [row(f"{raw.name}: blobs as of {moment}", len(raw.live), findings)])
    show_differences(stage, findings.differences)


async def snapkeep_says(stage: Stage, snapkeep: Snapkeep, *arguments: str) -> None:
    """Runs the command and shows what it prints."""
    watch = Stopwatch()
    with stage.page.waiting(arguments[0]):
        exit_code, printed = await snapkeep.run(*arguments)
    stage.page.line(f"$ snapkeep {' '.join(arguments)}", watch.seconds)
    for line in printed.splitlines():
        stage.page.line(f"  {line}")
    stage.expect(exit_code == 0, f"snapkeep {arguments[0]} ended with {exit_code}")


def row(what: str, expected: int, findings: Findings) -> tuple[str, str, str, str, str]:
    """One line of the tables of what was compared."""
    size = mebibytes(findings.size_bytes) if findings.size_bytes else ""
    return what, str(expected), str(findings.right), str(len(findings.differences)), size


def show_differences(stage: Stage, differences: list[str]) -> None:
    """Shows the first of them, and keeps all."""
    for difference in differences[:SHOWN_DIFFERENCES]:
        stage.page.problem(difference)
    if len(differences) > SHOWN_DIFFERENCES:
        stage.page.problem(f"... and {len(differences) - SHOWN_DIFFERENCES} more")
    stage.differences.extend(differences)


async def write(stage: Stage, record: RecordedContainer, drafts: list[Draft]) -> None:
    watch = Stopwatch()
    await record.write(drafts)
    stage.page.line(f"{record.name}: wrote {len(record.live)} files, {mebibytes(record.size_bytes)}", watch.seconds)


async def call_protect(stage: Stage, record: RecordedContainer, *, changed: int) -> None:
    """Calls `protect`, of which so many changes are expected."""
    watch = Stopwatch()
    with stage.page.waiting(f"protect {record.name}"):
        done = await stage.app.protect(record.name)
    stage.page.line(
        f"protect: {done.scanned} blobs scanned, {done.changed} changed: {done.snapshots_created} snapshots, "
        f"{done.requested} backups requested",
        watch.seconds,
    )
    counts = (done.changed, done.snapshots_created, done.requested)
    stage.expect(counts == (changed,) * 3, f"protect: {changed} had changed, each to be snapshotted and requested")
    for failed in done.failed:
        stage.expect(False, f"protect: {failed}")


async def wait_for_backups(stage: Stage, record: RecordedContainer) -> None:
    expected = {version.backup_name for version in record.versions}
    watch = Stopwatch()
    with stage.page.waiting("backup") as show:
        there = await drained(stage.queue, stage.backups_of(record), expected, show)
    stage.page.line(f"backup: the queue is empty, {there} of {len(expected)} versions are backed up", watch.seconds)
    if copied := await stage.data_factory.newly_copied():
        stage.page.line(f"of these, Data Factory copied {', '.join(copied)}")


async def reconcile(stage: Stage, *, missing: int) -> None:
    """Runs `reconcile`, which is expected to find so many blobs without a snapshot and a backup."""
    report, seconds = await run_by_hand(stage, "reconcile", stage.coverage_reports)
    totals = report["totals"]
    stage.page.line(
        f"reconcile: {totals['protected']} of {totals['versions']} versions were protected: "
        f"{totals['snapshots_created']} snapshots, {totals['backups_requested']} backups requested",
        seconds,
    )
    filled = (totals["snapshots_created"], totals["backups_requested"])
    stage.expect(filled == (missing, missing), f"reconcile: {missing} blobs lacked a snapshot and a backup")
    stage.expect(report["complete"] and totals["unprotectable"] == 0, f"reconcile: not complete: {totals}")
    stage.expect(totals["protected"] == totals["versions"] - missing, "reconcile: not all the others were protected")


async def run_by_hand(stage: Stage, function: str, reports: Reports) -> tuple[dict[str, Any], float]:
    """Starts a timer's function through the admin endpoint; gives its report and the seconds until it was there."""
    watch = Stopwatch()
    with stage.page.waiting(function):
        await stage.app.start(function)
        report = await reports.next()
    return report, watch.seconds

"""Alarms of an unusual share of overwritten or deleted blobs: raised, told, acknowledged, and what they pause."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob.aio import BlobServiceClient, ContainerClient
from click.testing import CliRunner

from shared.cli import main
from shared.decisions.alarms import LATELY
from shared.decisions.status_findings import Verdict
from shared.errors import StorageFailed, SyncFailed
from shared.operations.alarms import acknowledge
from shared.operations.reconcile import reconcile
from shared.operations.status import status
from shared.operations.sync import sync
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import FaultProxy, Rule, answer
from tests.integration.test_sync import AZCOPY
from tests.queue_reader import QueueReader

FEW = {"SNAPKEEP_ALARM_MIN_BLOBS": 3}


async def reconciled(services: Services) -> dict[str, Any]:
    """The container's part of the report of a reconciliation."""
    report = await reconcile(services, elapsed=lambda: 0.0)
    part: dict[str, Any] = report["containers"][0]
    return part


async def alarms(services: Services) -> list[str]:
    """What the status says of them, beside what a sync that was paused says."""
    reasons = (await status(services)).reasons
    return [reason.text for reason in reasons if "possible mass" in reason.text and "the last " not in reason.text]


async def test_a_reconciliation_raises_the_alarm_until_somebody_acknowledges_it(
    open_services: OpenServices,
    environment: dict[str, str],
    container: ContainerClient,
    reader: QueueReader,
    tmp_path: Path,
) -> None:
    services = open_services(**FEW)
    for name in "abcd":
        await container.upload_blob(name, b"good")
    quiet = await reconciled(services)
    await reader.drain(services)
    assert (quiet["created_lately"], quiet["overwritten_lately"], quiet["alarm"]) == (4, 0, None)
    before = await container.get_blob_client("d").get_blob_properties()
    since = before.last_modified + timedelta(seconds=1)
    await asyncio.sleep((since - datetime.now(UTC)).total_seconds() + 0.05)  # the service's times are whole seconds
    for name in "ab":
        await container.upload_blob(name, b"encrypted", overwrite=True)
    await container.delete_blob("c", delete_snapshots="include")

    # A day later: what was written since then is of that day.
    ahead = since + LATELY - datetime.now(UTC)
    later = open_services(**FEW, now=lambda: datetime.now(UTC) + ahead)
    raised = await reconciled(later)
    assert (raised["overwritten_lately"], raised["deleted_in_run"], raised["overwritten_percent"]) == (2, 1, 50.0)
    assert raised["alarm"] is not None
    assert "75 % of 4 blobs were overwritten (2) or deleted (1): possible mass encryption" in raised["alarm"]
    name = container.container_name
    assert await alarms(later) == [f"{name}: {raised['alarm']}; if that is meant: `snapkeep alarms acknowledge {name}`"]
    assert (await status(later)).verdict is Verdict.AT_RISK

    # That somebody runs it again says nothing of the first one's findings.
    again = await reconciled(later)
    assert (again["deleted_in_run"], again["deleted_lately"]) == (0, 1)
    assert len(await alarms(later)) == 1

    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"Values": environment}))
    given = ["--settings", str(settings)]
    listed = await asyncio.to_thread(CliRunner().invoke, main, ["alarms", "list", *given])
    assert (listed.exit_code, f"{name}: stands since" in listed.output) == (1, True)
    done = await asyncio.to_thread(CliRunner().invoke, main, ["alarms", "acknowledge", name, *given])
    assert (done.exit_code, "acknowledged" in done.output) == (0, True)
    listed = await asyncio.to_thread(CliRunner().invoke, main, ["alarms", "list", "--json", *given])
    assert listed.exit_code == 0
    assert json.loads(listed.output)["alarms"][0]["acknowledged_at"]
    other = await asyncio.to_thread(CliRunner().invoke, main, ["alarms", "acknowledge", "nothing-here", *given])
    assert (other.exit_code, "no alarm stands" in other.output) == (1, True)
    assert await alarms(later) == []

    # A run of another day finds nothing unusual.
    another_day = open_services(**FEW, now=lambda: datetime.now(UTC) + 2 * LATELY)
    assert (await reconciled(another_day))["alarm"] is None
    listed = await asyncio.to_thread(CliRunner().invoke, main, ["alarms", "list", *given])
    assert (listed.exit_code, listed.output) == (0, "no alarm\n")


async def test_an_alarm_stands_whenever_the_app_ends_once_it_was_found_out(
    open_behind_proxies: OpenServices, container: ContainerClient, blob_proxy: FaultProxy, reader: QueueReader
) -> None:
    services = open_behind_proxies(**FEW)
    for name in "abcd":
        await container.upload_blob(name, b"good")
    await reconciled(services)
    await reader.drain(services)
    for name in "abc":
        await container.delete_blob(name, delete_snapshots="include")
    ended = Rule(answer(403, "AuthorizationFailure"), method="PUT", target="reports/")
    blob_proxy.add(Rule(answer(403, "AuthorizationFailure"), method="PUT", target="reconcile-report.json", times=1))
    blob_proxy.add(ended)
    for _ in range(2):  # first as soon as the deletions are recorded, and then as the report is written
        with pytest.raises(StorageFailed):
            await reconciled(services)
    assert ended.hits
    [reason] = await alarms(services)
    assert "deleted (3)" in reason
    await services.state.delete("checkpoints/reconcile-report.json")


async def test_an_unusual_share_of_deletions_is_not_mirrored_until_somebody_acknowledges_it(
    open_services: OpenServices, container: ContainerClient, backup_account: BlobServiceClient
) -> None:
    name = container.container_name
    services = open_services(
        AZCOPY_PATH=AZCOPY, SNAPKEEP_SYNC_CONTAINERS=f"{name}:{name}-m", SNAPKEEP_SYNC_DELETE="true", **FEW
    )
    mirror = backup_account.get_container_client(f"{name}-m")
    for blob in "abcde":
        await container.upload_blob(blob, b"x")
    await sync(services)
    for blob in "abc":
        await container.delete_blob(blob)

    with pytest.raises(SyncFailed, match="paused: nothing is deleted from the mirror") as failed:
        await sync(services)
    assert (failed.value.report["pairs"][0]["alarm"], failed.value.report["pairs"][0]["deleted"]) == (True, 0)
    assert sorted([blob async for blob in mirror.list_blob_names()]) == ["a", "b", "c", "d", "e"]
    assert len(await alarms(services)) == 1

    await acknowledge(services, name)
    (pair,) = (await sync(services)).pairs
    assert (pair.deleted, pair.alarm) == (3, False)
    assert sorted([blob async for blob in mirror.list_blob_names()]) == ["d", "e"]

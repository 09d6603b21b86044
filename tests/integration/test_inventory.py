"""`reconcile --from-inventory` against real storage: inventories are hints, and the accounts have the last word."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from shared.decisions.alarms import Alarm
from shared.decisions.inventory import Side
from shared.errors import InventoryUnusable
from shared.model import second_of
from shared.operations.inventory import reconcile_from_inventory
from shared.operations.protect import protect
from shared.operations.timed import reconcile_on_timer
from shared.services import Services
from tests.conftest import OpenServices
from tests.integration.test_cli import snapkeep
from tests.inventories import Form, Publisher
from tests.protection import assert_protected, backup_names
from tests.queue_reader import QueueReader

NOW = datetime.now(UTC).replace(microsecond=0)
STARTED = NOW - timedelta(hours=6)
Open = Callable[..., Services]


@pytest.fixture
def publisher(services: Services, tmp_path: Path) -> Publisher:
    return Publisher(services, tmp_path)


@pytest.fixture
def open_with_inventory(open_services: OpenServices, publisher: Publisher) -> Open:
    return lambda **overrides: open_services(**publisher.settings | overrides)


async def run(services: Services) -> dict[str, Any]:
    return await reconcile_from_inventory(services, elapsed=lambda: 0.0)


def only(report: dict[str, Any]) -> dict[str, Any]:
    [part] = report["containers"]
    found: dict[str, Any] = part
    return found


def counts(part: dict[str, Any]) -> tuple[int, ...]:
    return tuple(part[name] for name in ("blobs", "versions", "protected", "snapshots_created", "backups_requested"))


@pytest.mark.parametrize("form", ["csv", "parquet"])
async def test_what_lacks_something_is_filled_in_once_and_is_protected_in_the_end(
    open_with_inventory: Open,
    publisher: Publisher,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
    form: Form,
) -> None:
    services = open_with_inventory(SNAPKEEP_VERIFY_SAMPLE_PERCENT=100, SNAPKEEP_DRILL_BLOBS=2)
    name = container.container_name
    for number in range(5):
        await container.upload_blob(f'{number}, "{number}" é.csv', b"x" * number)
    old = await container.upload_blob("twice", b"old")
    await old.create_snapshot()
    await old.upload_blob(b"new", overwrite=True)
    await publisher.publish([name], STARTED, form)
    first = await run(services)
    assert counts(only(first)) == (6, 7, 0, 6, 7)
    assert first["complete"]
    again = await run(services)  # by the same inventory: what was done since is seen
    assert counts(only(again)) == (6, 7, 0, 0, 7)  # the backups are not there yet, and asked for again
    await reader.drain(services)
    third = await run(services)
    assert counts(only(third)) == (6, 7, 7, 0, 0)
    await publisher.publish([name], STARTED + timedelta(hours=1), form)
    alarm = Alarm(name, second_of(NOW), "reconcile", 2, 0, "x")
    await services.state.write(f"alarms/{name}.json", alarm.document())
    last = await run(services)
    assert only(last)["alarm"] == "x"  # an inventory tells nothing of it, and it stands
    assert counts(only(last)) == (6, 7, 7, 0, 0)
    assert only(last)["listing"] == "inventory"
    assert (last["verify"]["totals"]["checked"], last["drill"]["picked"], last["errors"]) == (7, 2, [])
    assert last["listing"]["as_of"] == second_of(STARTED + timedelta(hours=1))
    assert last["listing"]["fallbacks"] == []
    assert await assert_protected(container, backups) == 7


async def test_what_has_changed_since_is_taken_as_it_is_now(
    open_with_inventory: Open, publisher: Publisher, container: ContainerClient, reader: QueueReader
) -> None:
    services = open_with_inventory()
    for name in ("announced", "changed", "deleted"):
        await container.upload_blob(name, b"x")
    await publisher.publish([container.container_name], STARTED)
    await protect(services, container.container_name, "announced", elapsed=lambda: 0.0)
    await container.upload_blob("changed", b"other", overwrite=True)
    await container.delete_blob("deleted")
    await reader.drain(services)
    assert counts(only(await run(services))) == (2, 2, 1, 1, 1)
    [request] = await reader.requests()
    assert [(blob["name"], blob["size"]) for blob in request["blobs"]] == [("changed", 5)]


async def test_a_blob_whose_name_http_would_resolve_is_reported_as_by_a_listing(
    open_with_inventory: Open, publisher: Publisher, container: ContainerClient
) -> None:
    await container.upload_blob("a\\..\\b", b"hidden")  # the service takes a backslash for a slash
    await publisher.publish([container.container_name], STARTED)
    part = only(await run(open_with_inventory()))
    assert (part["unprotectable_by_reason"], part["failed"]) == ({"refused name": 1}, [])
    assert counts(part) == (1, 1, 0, 0, 0)


async def test_a_container_that_the_inventory_does_not_hold_is_listed(
    open_with_inventory: Open,
    publisher: Publisher,
    container: ContainerClient,
    source_account: BlobServiceClient,
) -> None:
    new = source_account.get_container_client(f"new-{uuid4().hex[:8]}")
    await new.create_container()
    await new.upload_blob("a", b"x")
    await container.upload_blob("a", b"x")
    services = open_with_inventory(SNAPKEEP_INCLUDE_CONTAINERS=f"{container.container_name},{new.container_name}")
    await publisher.publish([container.container_name], STARTED)
    report = await run(services)
    assert report["complete"]
    found = {part["container"]: (part["listing"], counts(part)) for part in report["containers"]}
    assert found == {
        container.container_name: ("inventory", (1, 1, 0, 1, 1)),
        new.container_name: ("live", (1, 1, 0, 1, 1)),
    }


async def test_backups_that_are_gone_since_count_for_nothing(
    open_with_inventory: Open,
    publisher: Publisher,
    container: ContainerClient,
    backups: ContainerClient,
    reader: QueueReader,
) -> None:
    services = open_with_inventory()
    await container.upload_blob("a", b"x")
    await protect(services, container.container_name, elapsed=lambda: 0.0)
    await reader.drain(services)
    assert len(await backup_names(backups)) == 1
    await publisher.publish([container.container_name], STARTED)
    await backups.delete_container()
    report = await run(services)
    part = only(report)
    assert (report["complete"], part["versions"], part["protected"], part["backups_requested"]) == (False, 1, 0, 0)
    assert "existed and is gone" in part["error"]


async def test_a_run_that_failed_is_passed_over_and_named(
    open_with_inventory: Open, publisher: Publisher, container: ContainerClient
) -> None:
    await container.upload_blob("a", b"x")
    await publisher.publish([container.container_name], STARTED)
    later = STARTED + timedelta(hours=3)
    await publisher.publish([container.container_name], later, status="Failed", files=[], inventoryCompletionTime=None)
    report = await run(open_with_inventory())
    assert report["listing"]["as_of"] == second_of(STARTED)
    assert [note.partition(": ")[2] for note in report["listing"]["notes"]] == [
        f"the run of {second_of(later)} is Failed"
    ] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "Pending"}, f"no run since .* ended well; .*{second_of(STARTED)} is Pending"),
        ({"endpoint": "https://another.blob.core.windows.net"}, "is of the account another, and not of source"),
        ({"summary": {"objectCount": 5}}, "its files hold 1 rows, and its manifest says 5"),
        ({"ruleDefinition": {"format": "csv"}}, "manifest.json: ruleDefinition.schemaFields: Field required"),
        ({"files": [{"blob": "2026/11/20/gone.csv", "size": 5}]}, "gone.csv, which the manifest names, is gone"),
    ],
    ids=["pending", "another account", "too few rows", "no fields", "a file is gone"],
)
async def test_an_inventory_that_cannot_be_used_is_an_error_and_nothing_is_done(
    open_with_inventory: Open,
    publisher: Publisher,
    container: ContainerClient,
    reader: QueueReader,
    changes: dict[str, Any],
    message: str,
) -> None:
    await container.upload_blob("a", b"x")
    await publisher.publish([container.container_name], STARTED, **changes)
    with pytest.raises(InventoryUnusable, match=message):
        await run(open_with_inventory())
    assert await reader.requests() == []


async def test_an_old_inventory_and_one_of_one_account_alone_are_errors(
    open_with_inventory: Open, publisher: Publisher, container: ContainerClient
) -> None:
    await publisher.upload(Side.SOURCE, [], NOW - timedelta(hours=51))
    with pytest.raises(InventoryUnusable, match="more than 50 h ago"):
        await run(open_with_inventory())
    await publisher.upload(Side.SOURCE, [], STARTED)
    with pytest.raises(InventoryUnusable, match="account backup has no container"):
        await run(open_with_inventory())
    with pytest.raises(InventoryUnusable, match="SNAPKEEP_BACKUP_INVENTORY: missing"):
        await run(open_with_inventory(SNAPKEEP_BACKUP_INVENTORY=""))


async def test_when_time_is_over_what_was_not_looked_at_is_said(
    open_with_inventory: Open, publisher: Publisher, container: ContainerClient
) -> None:
    for number in range(3):
        await container.upload_blob(f"{number}", b"x")
    await publisher.publish([container.container_name], STARTED)
    report = await reconcile_from_inventory(open_with_inventory(), elapsed=lambda: 1e6)
    assert not report["complete"]
    assert only(report)["error"].startswith("3 versions that may lack something were not looked at")


async def test_the_timer_reconciles_by_inventories_where_the_settings_say_so(
    open_with_inventory: Open, publisher: Publisher, container: ContainerClient
) -> None:
    await container.upload_blob("a", b"x")
    await publisher.publish([container.container_name], STARTED)
    services = open_with_inventory(SNAPKEEP_RECONCILE_FROM="inventory")
    report = await reconcile_on_timer(services, elapsed=lambda: 0.0)
    assert isinstance(report, dict)
    assert only(report)["listing"] == "inventory"


async def test_the_command_takes_the_inventories_that_the_settings_name(
    services: Services,
    publisher: Publisher,
    container: ContainerClient,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    await container.upload_blob("a", b"x")
    await publisher.publish([container.container_name], datetime.now(UTC))
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"Values": environment | publisher.settings}))
    found = snapkeep("reconcile", "--from-inventory", "--settings", path)
    assert found.returncode == 1, found.stderr
    assert "by inventories: what changed since" in found.stdout
    path.write_text(json.dumps({"Values": environment}))
    refused = snapkeep("reconcile", "--from-inventory", "--settings", path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "SNAPKEEP_SOURCE_INVENTORY and SNAPKEEP_BACKUP_INVENTORY: missing" in refused.stderr

"""The bad days, told from the first byte written to the last one compared, on a whole local stack of their own.

The app protects by HTTP and backs up from its queue; all else is done as a person does it, with the command.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from azure.storage.blob import BlobBlock, BlobType, ContentSettings, StandardBlobTier
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from local.demo.command import end_of_this_second
from local.demo.contract import backup_name
from tests.e2e.app import Ready, state_document
from tests.e2e.blobs import Pair
from tests.e2e.command import Snapkeep
from tests.e2e.conftest import NewPair
from tests.e2e.ground import Ground, a_ground_of_ones_own, spare_account
from tests.e2e.picture import Blob, delete, differences, picture, write
from tests.names import HARD_NAMES

NewCommand = Callable[[Pair], Snapkeep]


@pytest.fixture(scope="module")
def ground(work: Path) -> Iterator[Ground]:
    with a_ground_of_ones_own(work / "stories") as ground:
        yield ground


@pytest.fixture(scope="module")
def stack(ground: Ground) -> Ready:
    """In place of the stack that other tests share."""
    return ground.ready


@pytest.fixture
def command_for(ground: Ground) -> NewCommand:
    """The command with the app's settings, for which the story's container is the only one."""
    return lambda pair: ground.snapkeep(pair.name, SNAPKEEP_INCLUDE_CONTAINERS=pair.name, **NO_PROOFS)


NO_PROOFS = {"SNAPKEEP_VERIFY_SAMPLE_PERCENT": "0", "SNAPKEEP_DRILL_BLOBS": "0"}


async def protect(ground: Ground, pair: Pair) -> None:
    """Protects all of a container, and waits for its backups."""
    async with ground.queue() as queue:
        done = await ground.app.protect(pair.name)
        assert (done["complete"], done["failed"]) == (True, [])
        await queue.drained()


def sales(count: int) -> dict[str, Blob]:
    """Blobs such as a job writes: small, no two alike, and all that a blob can have on some of them."""
    random = Random(count)  # noqa: S311 -- not a secret
    blobs = {}
    for number in range(count):
        headers = {"content_type": "text/csv", "cache_control": f"max-age={number}"} if number % 3 == 0 else {}
        if number % 21 == 0:
            headers |= {"content_encoding": "gzip", "content_language": "de", "content_disposition": "attachment"}
        metadata = {"origin": "story", "number": str(number)} if number % 5 == 0 else {}
        tags = {"stage": "raw", "number": str(number)} if number % 11 == 0 else {}
        content = random.randbytes(random.randrange(2000)) if number % 50 else b""
        tier = StandardBlobTier.COOL if number % 13 == 0 else None
        blobs[f"sales/2026/{number:04}.csv"] = Blob(content, headers, metadata, tags, tier=tier)
    blobs["logs/append.log"] = Blob(b"line\n" * 100, metadata={"kind": "log"}, kind=BlobType.APPENDBLOB)
    blobs["disks/page.vhd"] = Blob(random.randbytes(1024), kind=BlobType.PAGEBLOB)
    return blobs


def garbage(names: list[str]) -> dict[str, Blob]:
    """What the job that runs amok makes of these blobs."""
    return {name: Blob(f"garbage {name}".encode(), {"content_type": "text/x-garbage"}) for name in names}


async def live(container: ContainerClient) -> dict[str, str]:
    """The ETags of all live blobs."""
    return {blob.name: blob.etag async for blob in container.list_blobs()}


async def snapshots_of(container: ContainerClient) -> dict[tuple[str, str], str]:
    """A snapshot's timestamp by the version that it is of: name and ETag."""
    listed = container.list_blobs(include=["snapshots"])
    return {(blob.name, blob.etag.strip('"')): blob.snapshot async for blob in listed if blob.snapshot}


async def test_a_thousand_blobs_that_a_job_overwrote_come_back_beside_the_garbage_and_over_it(
    ground: Ground, new_pair: NewPair, command_for: NewCommand, source_account: BlobServiceClient
) -> None:
    written = sales(998)
    assert len(written) == 1000
    pair = await new_pair()
    await write(pair.source, written)
    await protect(ground, pair)
    before = await end_of_this_second()
    await delete(pair.source, sorted(written)[::20])
    ruined = garbage([name for number, name in enumerate(sorted(written)) if number % 20])
    left_by_the_job = {"sales/2026/_SUCCESS": Blob(), "tmp/part-0001": Blob(b"half a part")}
    garbage_etags = await write(pair.source, ruined)
    await write(pair.source, left_by_the_job)
    damaged = await live(pair.source)
    snapkeep = command_for(pair)

    beside = (await snapkeep.run("restore", pair.name, "--at", before, "--yes", "--json")).json
    assert (beside["complete"], beside["totals"]["restored"]) == (True, 1000)
    target = beside["job"]["target"]
    assert target.startswith(f"{pair.name}-restored-")
    assert differences(written, await picture(source_account.get_container_client(target))) == []
    assert await live(pair.source) == damaged, "it touched more than its target"

    await snapkeep.run("restore", pair.name, "--in-place", "--at", before, "--yes")
    assert differences(written | left_by_the_job, await picture(pair.source)) == []

    kept = await snapshots_of(pair.source)
    assert garbage_etags.items() - kept.keys() == set(), "versions were overwritten without a snapshot"
    for name in sorted(ruined)[::100]:
        snapshot = pair.source.get_blob_client(name, snapshot=kept[name, garbage_etags[name]])
        assert await (await snapshot.download_blob()).readall() == ruined[name].content


async def test_what_was_deleted_comes_back_as_of_before_and_stays_away_as_of_after(
    ground: Ground, new_pair: NewPair, command_for: NewCommand, source_account: BlobServiceClient
) -> None:
    written = sales(30)
    pair = await new_pair()
    await write(pair.source, written)
    await protect(ground, pair)
    snapkeep = command_for(pair)
    await snapkeep.run("reconcile")
    before = await end_of_this_second()
    gone = sorted(written)[::3]
    await delete(pair.source, gone)
    await snapkeep.run("reconcile")
    after = await end_of_this_second()
    still_there = {name: blob for name, blob in written.items() if name not in gone}

    async def restored(name: str, *arguments: str) -> dict[str, Blob]:
        target = f"{pair.name}-{name}"
        await snapkeep.run("restore", pair.name, "--to", target, "--yes", *arguments)
        return await picture(source_account.get_container_client(target))

    as_of_after, with_deleted, from_backups = await asyncio.gather(
        restored("after", "--at", after),
        restored("deleted", "--at", after, "--include-deleted"),
        restored("far", "--from", "backups", "--to-account", "source"),
    )
    assert differences(still_there, as_of_after) == []
    assert differences(written, with_deleted) == []
    assert differences(still_there, from_backups) == []

    await snapkeep.run("restore", pair.name, "--in-place", "--at", before, "--yes")
    assert differences(written, await picture(pair.source)) == []


async def test_a_lost_account_is_rebuilt_from_the_backup_account_alone(
    ground: Ground, new_pair: NewPair, backup_account: BlobServiceClient, tmp_path: Path
) -> None:
    first = sales(20)
    pair = await new_pair()
    await write(pair.source, first)
    await protect(ground, pair)
    of_the_first = await end_of_this_second()
    second = first | {name: Blob(b"second " + name.encode(), metadata={"take": "2"}) for name in sorted(first)[::4]}
    second["sales/2027/new.csv"] = Blob(b"new", tags={"stage": "new"})
    await write(pair.source, {name: blob for name, blob in second.items() if first.get(name) != blob})
    await protect(ground, pair)
    await pair.source.delete_container()

    alone = Snapkeep(tmp_path / "alone", {"BackupStorage": ground.ready["backup"]})
    here = ("--from", "backups", "--to-account", "backup", "--yes")
    await alone.run("restore", pair.name, "--to", f"{pair.name}-recovered", *here)
    recovered = await picture(backup_account.get_container_client(f"{pair.name}-recovered"))
    assert differences(second, recovered) == []

    # What else would it use, having nothing else?
    earlier = (await alone.run("restore", pair.name, "--at", of_the_first, "--yes", "--json")).json
    assert differences(first, await picture(backup_account.get_container_client(earlier["job"]["target"]))) == []

    spare = spare_account(ground.ready)
    both = Snapkeep(tmp_path / "both", {"BackupStorage": ground.ready["backup"], "SourceStorage": spare})
    there = ("--from", "backups", "--to-account", "source", "--yes")
    await both.run("restore", pair.name, "--to", pair.name, *there)
    async with BlobServiceClient.from_connection_string(spare) as account:
        assert differences(second, await picture(account.get_container_client(pair.name))) == []


async def test_every_hard_name_comes_back_byte_for_byte_from_wherever_it_is_taken(
    ground: Ground,
    new_pair: NewPair,
    command_for: NewCommand,
    source_account: BlobServiceClient,
    backup_account: BlobServiceClient,
) -> None:
    # The service turns a backslash into a slash; a "." or ".." segment cannot be asked for through an SDK.
    names = {name.replace("\\", "/") for name in HARD_NAMES.values()}
    names = {name for name in names if not {".", ".."} & set(name.split("/"))}
    assert len(names) >= 60
    written = {name: Blob(f"content of {name}".encode(), metadata={"hard": "yes"}) for name in names}
    pair = await new_pair()
    await write(pair.source, written)
    await protect(ground, pair)
    before = await end_of_this_second()
    await delete(pair.source, sorted(names)[::2])
    await write(pair.source, garbage(sorted(names)[1::2]))
    snapkeep = command_for(pair)

    async def restore(*arguments: str) -> None:
        await snapkeep.run("restore", pair.name, "--at", before, "--yes", *arguments)

    near, far = f"{pair.name}-near", f"{pair.name}-far"
    await asyncio.gather(restore("--to", near), restore("--from", "backups", "--to", far, "--to-account", "backup"))
    await restore("--in-place")
    assert differences(written, await picture(source_account.get_container_client(near))) == []
    assert differences(written, await picture(backup_account.get_container_client(far))) == []
    assert differences(written, await picture(pair.source)) == []


async def test_the_status_follows_what_befalls_the_data_and_its_backups(ground: Ground, new_pair: NewPair) -> None:
    pair = await new_pair()
    # With the proofs that reconcile makes by default: a sample verified, and a drill.
    snapkeep = ground.snapkeep(pair.name, SNAPKEEP_INCLUDE_CONTAINERS=pair.name)

    async def verdict() -> str:
        status = await snapkeep.run("status", "--json", exit_code=None)
        said: str = status.json["verdict"]
        assert status.exit_code == (0 if said == "protected" else 1), str(status)
        return said

    await write(pair.source, sales(30))
    await protect(ground, pair)
    await snapkeep.run("reconcile")
    assert await verdict() == "protected"

    await write(pair.source, {"sales/2026/late.csv": Blob(b"nobody announced this")})
    async with ground.queue() as queue:
        await snapkeep.run("reconcile", exit_code=1)
        assert await verdict() == "at risk"
        await queue.drained()
    await snapkeep.run("reconcile")
    assert await verdict() == "protected"

    name = "sales/2026/0007.csv"
    source = await pair.source.get_blob_client(name).get_blob_properties()
    backup = backup_name(name, source.etag.strip('"'), source.last_modified)
    right = await flip_a_bit(pair.backups, backup)
    verified = await snapkeep.run("verify", pair.name, "--full", exit_code=1)
    assert name in verified.printed
    assert await verdict() == "at risk"
    [found] = (await state_document(ground.ready, "reports/verify-latest.json"))["containers"]
    assert [(problem["name"], problem["kind"]) for problem in found["listed"]] == [(name, "corrupt")]
    await snapkeep.run("reconcile", exit_code=1)
    assert await verdict() == "at risk", "what was bad is not better for looking at others"

    await put(pair.backups, backup, right)
    await snapkeep.run("verify", "--full")
    await snapkeep.run("drill", "--blobs", "5")
    assert await verdict() == "protected"


async def flip_a_bit(container: ContainerClient, name: str) -> bytes:
    """Damages a blob so that nothing but its bytes says so; gives those that it had."""
    content: bytes = await (await container.get_blob_client(name).download_blob()).readall()
    await put(container, name, bytes([content[0] ^ 1]) + content[1:])
    return content


async def put(container: ContainerClient, name: str, content: bytes) -> None:
    """Gives a blob these bytes, and leaves it all else, the MD5 that it claims to have too."""
    blob = container.get_blob_client(name)
    stands: Any = await blob.get_blob_properties()
    settings: ContentSettings = stands.content_settings
    await blob.stage_block("0", content)
    await blob.commit_block_list([BlobBlock("0")], content_settings=settings, metadata=stands.metadata)

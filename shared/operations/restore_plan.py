"""Makes the plan of a restore: gathers what every place holds, decides name by name, sums up; and writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing, suppress

from shared.adapters.source import SourceStorage
from shared.containers import backup_container
from shared.decisions.deletions import Back, Gone
from shared.decisions.restore_steps import step
from shared.decisions.restore_summary import Tally
from shared.decisions.restoring import Job, Step
from shared.errors import ServiceUnavailable, SnapkeepError
from shared.model import second_of
from shared.operations.deletions import DeletionRecords
from shared.operations.restore_gathering import gather
from shared.plan import Plan, PlanWriter
from shared.recovery import Recovery
from shared.version_index import VersionIndex

STEPS_AT_ONCE = 1000
"""How many names are decided before others get a turn, Ctrl-C among them."""


async def make_plan(
    recovery: Recovery, job: Job, *, now: str = "", progress: Callable[[int], None] = lambda _entries: None
) -> Plan:
    """The plan; whoever has it closes it.

    Args:
        now: what `service_time` said just before; empty where it was not asked.
        progress: called with the number of entries of listings that were read so far.

    Raises:
        BadParameter: nothing may be restored to where the job says.
        ContainerNotFound: there is nothing to restore from.
        StorageFailed: something could not be read in full, so that nothing may be concluded from it.
    """
    with VersionIndex() as index:
        gathered = await gather(recovery, job, index, progress)
        if recovery.state_is_the_apps:
            await _read_deletions(recovery, job, index)
        else:
            gathered.warnings.append(
                "without the app's state (AzureWebJobsStorage) deletions are not known: blobs deleted by then come back"
            )
        tally = Tally(job)
        writer = PlanWriter()
        try:
            for number, made in enumerate(_steps(job, index, tally, now)):
                tally.add(made)
                writer.add(made)
                if number % STEPS_AT_ONCE == 0:
                    await asyncio.sleep(0)
            return writer.finish(job, tally.summary(gathered.lists, gathered.warnings))
        except BaseException:
            writer.close()
            raise


async def _read_deletions(recovery: Recovery, job: Job, index: VersionIndex) -> None:
    """Raises StorageFailed where what was recorded cannot be read in full."""
    names = set(job.names)

    def concerns(name: str) -> bool:
        return name in names if names else name.startswith(job.prefix)

    def take(gone: list[Gone], back: list[Back]) -> None:
        index.add_deletions([one for one in gone if concerns(one.name)], [one for one in back if concerns(one.name)])

    await DeletionRecords(recovery.state, job.container).read(take)


def _steps(job: Job, index: VersionIndex, tally: Tally, now: str) -> Iterator[Step]:
    """Blobs in the order of their names, then directories, so that each is empty by its turn if ever."""
    unknown = set(job.names)
    in_the_way: set[str] = set()
    for found in index:
        unknown.discard(found.name)
        tally.see(found.held)
        deletions = index.deletions_of(found.name)
        made = step(job, found.name, found.live, found.held, deletions, found.standing, now)
        if made is None or made.directory:
            continue
        if found.live is not None and found.live.directory:
            in_the_way.add(found.name)
        yield made
    for name in sorted(unknown):
        made = step(job, name, None, (), index.deletions_of(name))
        if made is not None:
            yield made
    for directory in index.directories():
        made = None if directory.name in in_the_way else step(job, directory.name, directory, (), ())
        if made is not None:
            yield made


async def is_there(storage: SourceStorage, container: str) -> bool:
    """Whether the account answers at all, be it that it has no such container, or refuses to tell."""
    try:
        async with aclosing(storage.pages(container, page_size=1)) as pages:
            async for _ in pages:
                break
    except ServiceUnavailable:
        return False
    except SnapkeepError:
        return True
    return True


async def service_time(recovery: Recovery, container: str, *, from_source: bool) -> str:
    """What time it is by the clock that stamps the versions; by this machine's where the service cannot be asked."""
    source = recovery.source if from_source else None
    pages = (
        source.pages(container, page_size=1)
        if source is not None
        else recovery.backups.pages(backup_container(container), page_size=1)
    )
    with suppress(SnapkeepError):  # what is wrong shows when the listing is read
        async with aclosing(pages):
            async for page in pages:
                if page.served_at:
                    return page.served_at
    return second_of(recovery.now())

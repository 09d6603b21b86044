"""What a reconciliation ends with: it proves a sample of the backups that it found, and restores some as a drill.

The sample is of versions that are protected, as far as listings tell: each backup is looked at, by a HEAD or by its
bytes, and with them all that an earlier verification called bad. Time is short, and what there was none for is said.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.adapters.reading import Rate
from shared.containers import backup_container
from shared.decisions.names import as_metadata, refusal, version_of_backup
from shared.decisions.proof_reports import ContainerProof, verify_report
from shared.decisions.restored import entry_of
from shared.decisions.sampling import Sampler
from shared.decisions.verification import expected_of, identity, missing
from shared.errors import SnapkeepError
from shared.expected import Expected
from shared.model import BlobState
from shared.operations.drill import drill
from shared.operations.proof_scope import read_suspects, store, version_in_source
from shared.operations.proving import Prover
from shared.parallel import for_each
from shared.services import Services

DRILL_MAX_BYTES = 1024**3
"""How much the drill of a reconciliation restores at most."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Proof:
    """The reports of both, as they were written; None for what the settings switch off."""

    verify: dict[str, Any] | None
    drill: dict[str, Any] | None


async def prove(services: Services, sampler: Sampler, *, seconds: float, by_bytes: bool) -> Proof:
    """Proves what the sampler chose.

    Args:
        sampler: was offered all versions that are protected.
        seconds: how long both may take together; each may take half of it, and the drill what verifying leaves.
        by_bytes: read the backups and compare their bytes; else a HEAD each.

    Raises:
        StorageFailed: a report could not be written.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds
    restores = sampler.drill_blobs > 0
    verified = drilled = None
    if sampler.percent > 0:
        verified = await _verify(services, sampler, seconds / 2 if restores else seconds, by_bytes=by_bytes)
    if restores:
        left = max(0.0, ends_at - loop.time())
        drilled = await drill(services, sampler.to_restore, sampler.seed, max_bytes=DRILL_MAX_BYTES, seconds=left)
    return Proof(verified, drilled)


async def _verify(services: Services, sampler: Sampler, seconds: float, *, by_bytes: bool) -> dict[str, Any]:
    started_at = services.now()
    again = {
        name: bad for name, bad in (await read_suspects(services.state)).items() if services.settings.protects(name)
    }
    sampled: dict[str, list[Expected]] = defaultdict(list)
    for chosen in sampler.to_prove:
        sampled[chosen.container].append(expected_of(chosen.entry))
    parts = [ContainerProof(container) for container in sorted({*again, *sampled})]
    rate = Rate(None)
    complete = True
    try:
        async with asyncio.timeout(seconds):
            for part in parts:
                checks = _Checks(Prover(services, part, rate), again.get(part.container, {}), by_bytes)
                await checks.run(sampled[part.container])
    except TimeoutError:
        complete = False
        log.warning("the backups that were sampled were not all verified within %.0f s", seconds)
    for part in parts:
        for line in again.get(part.container, {}).values():
            part.carry_over(line)
    report = verify_report(
        sampler.seed,
        started_at,
        services.now(),
        parts,
        percent=sampler.percent,
        by_bytes=by_bytes,
        since=None,
        complete=complete,
    )
    report["left_out"] = sampler.left_out
    await store(services, report)
    return report


@dataclass(frozen=True)
class _Checks:
    """The backups of one container that are looked at one by one.

    Attributes:
        suspects: what an earlier verification called bad, by backup; what was looked at again is taken out.
    """

    prover: Prover
    suspects: dict[str, dict[str, Any]]
    by_bytes: bool

    async def run(self, sampled: Sequence[Expected]) -> None:
        others = [expected for expected in sampled if expected.backup not in self.suspects]
        parallel = self.prover.parallel if self.by_bytes else self.prover.services.settings.concurrency
        try:
            await for_each(list(self.suspects.values()), self._suspect, self.prover.parallel)
            await for_each(others, self._sampled, parallel)
        except SnapkeepError as error:
            log.warning("verify %s: %s", self.prover.part.container, error)
            self.prover.part.error = str(error)

    async def _sampled(self, expected: Expected) -> None:
        """Looks at the backup of a version that is protected."""
        state = await self._backup(expected.backup)
        self.prover.part.versions += 1
        if state is None:
            self.prover.part.add(missing(expected, "its backup is gone since it was listed"))
        else:
            await self._judge(state, expected, by_bytes=self.by_bytes)

    async def _suspect(self, problem: dict[str, Any]) -> None:
        """Looks at a backup that an earlier verification called bad, by its bytes whatever was wrong with it.

        Where neither the version nor a backup of it is left, there is nothing that anybody could mend.
        """
        backup = str(problem["backup"])
        state = await self._backup(backup)
        expected = await self._in_source(backup, problem["name"])
        if state is not None:
            await self._judge(state, expected, by_bytes=True, was=problem)
        elif expected is not None:
            self.prover.part.add(missing(expected))
        self.prover.part.versions += expected is not None
        del self.suspects[backup]

    async def _judge(
        self, state: BlobState, expected: Expected | None, *, by_bytes: bool, was: dict[str, Any] | None = None
    ) -> None:
        found = entry_of(state)
        who = self.prover.look(found, identity(found, expected), expected)
        if who is not None and by_bytes:
            await self.prover.prove(found, who, expected, was)
        elif who is not None:
            self.prover.leave_unread(found, expected)

    async def _backup(self, name: str) -> BlobState | None:
        return await self.prover.services.backup.state(backup_container(self.prover.part.container), name)

    async def _in_source(self, backup: str, name: str | None) -> Expected | None:
        """What the backup of this name must be, while the source has the version."""
        version = version_of_backup(backup, 0, dict([as_metadata(name)] if name else []))
        if version is None or refusal(version.name):
            return None
        found = await version_in_source(self.prover.services, self.prover.part.container, version)
        return None if found is None else expected_of(entry_of(found))

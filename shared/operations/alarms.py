"""Keeps the alarms of unusual shares of overwritten or deleted blobs: `alarms/<container>.json` in the state."""

from __future__ import annotations

import logging
from typing import Any

from shared.decisions.alarms import Alarm, Thresholds, after_comparison, after_reconciliation, share_of
from shared.decisions.alarms import deletion_refusal as refusal_by
from shared.errors import SnapkeepError, StorageFailed
from shared.services import Services

FOLDER = "alarms/"

log = logging.getLogger(__name__)


async def watch(services: Services, report: dict[str, Any]) -> None:
    """Raises and ends alarms by a coverage report, and has it say so. What fails of that stands among its errors."""
    try:
        known = {alarm.container: alarm for alarm in await _stored(services)}
    except SnapkeepError as error:
        log.warning("alarms: %s", error)
        report["errors"].append(f"alarms: {error}")
        known = {}
    for part in report["containers"]:
        share = share_of(part)
        part["overwritten_percent"], part["deleted_percent"] = share.overwritten_percent, share.deleted_percent
        if not part["complete"] and part["error"] is None:
            continue  # the run goes on with it
        if part["listing"] != "live":
            # An inventory does not tell what was overwritten or deleted: an alarm stays as it is.
            alarm = known.get(part["container"])
            part["alarm"] = alarm.text if alarm is not None and alarm.stands else None
            continue
        try:
            await _watch(services, report, part, known.get(part["container"]))
        except SnapkeepError as error:
            log.warning("alarms: %s", error)
            report["errors"].append(f"alarms: {error}")


async def _watch(services: Services, report: dict[str, Any], part: dict[str, Any], known: Alarm | None) -> None:
    seen = part | {"finished_at": report["finished_at"]}
    alarm = after_reconciliation(seen, known, _thresholds(services), services.now())
    if alarm is None and known is not None and not part["complete"]:
        alarm = known  # a part of a container is no proof that nothing is wrong with it
    if alarm is not None and alarm.stands:
        log.warning("%s: %s", alarm.container, alarm.text)
        part["alarm"] = alarm.text
    if alarm is None and known is not None:
        await services.state.delete(_name(known.container))
    elif alarm is not None and alarm != known:
        await services.state.write(_name(alarm.container), alarm.document())


async def deletion_refusal(services: Services, container: str, extraneous: int, compared: int) -> str | None:
    """Why a mirror must not lose so many files now, of which the source holds `compared` others; None when it may.

    An unusual share raises an alarm by itself: the next reconciliation may be a day away.
    """
    known = await _read(services, _name(container))
    alarm = after_comparison(container, extraneous, compared, known, _thresholds(services), services.now())
    if alarm is not None and alarm != known:
        await services.state.write(_name(container), alarm.document())
    return refusal_by(container, alarm)


async def standing(services: Services) -> list[Alarm]:
    """The alarms that nobody acknowledged, of containers that the settings still name.

    Raises:
        StorageFailed: they could not be read.
    """
    return [alarm for alarm in await all_alarms(services) if alarm.stands]


async def all_alarms(services: Services) -> list[Alarm]:
    """The alarms of containers that the settings still name, acknowledged ones included."""
    settings = services.settings
    mirrored = {pair.source for pair in settings.sync_containers}
    alarms = await _stored(services)
    return [alarm for alarm in alarms if settings.protects(alarm.container) or alarm.container in mirrored]


async def acknowledge(services: Services, container: str) -> Alarm:
    """Says that what the container's alarm is about is meant.

    Raises:
        SnapkeepError: there is no alarm.
    """
    known = await _read(services, _name(container))
    if known is None:
        raise SnapkeepError(f"{container}: no alarm stands for this container; `snapkeep alarms list` shows all")
    alarm = known.acknowledged(services.now())
    await services.state.write(_name(container), alarm.document())
    return alarm


async def _stored(services: Services) -> list[Alarm]:
    names = sorted(await services.state.names(FOLDER))
    found = [await _read(services, name) for name in names]
    return [alarm for alarm in found if alarm is not None]


async def _read(services: Services, name: str) -> Alarm | None:
    document = await services.state.read(name)
    try:
        return None if document is None else Alarm.of(document)
    except ValueError as error:
        raise StorageFailed(f"{name} in the state is not what this release understands: {error}") from error


def _name(container: str) -> str:
    return f"{FOLDER}{container}.json"


def _thresholds(services: Services) -> Thresholds:
    settings = services.settings
    return Thresholds(settings.alarm_share_percent, settings.alarm_min_blobs)

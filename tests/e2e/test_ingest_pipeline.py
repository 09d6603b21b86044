"""The example pipeline of `infra/datafactory` against the real app: what it ingests has its backup afterwards."""

from typing import Any
from uuid import uuid4

import aiohttp

from tests.e2e.app import App, Queue, Ready, until_it_is
from tests.e2e.conftest import NewPair, factory_runs

FACTORY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.DataFactory/factories/f"


async def ingest(stack: Ready, app: App, **parameters: str) -> dict[str, Any]:
    """Runs the pipeline to its end."""
    address = f"{stack['adf']}{FACTORY}/pipelines/ingest_and_protect/createRun?api-version=2018-06-01"
    place = {"url": app.url, "key": app.function_key}
    async with aiohttp.ClientSession() as session:
        async with session.put(f"{stack['adf']}/standin/function-apps/SnapkeepApp", json=place) as told:
            assert told.status == 204
        async with session.post(address, json=parameters) as created:
            run_id = (await created.json())["runId"]

    async def run() -> dict[str, Any]:
        return next(each for each in await factory_runs(stack) if each["run_id"] == run_id)

    async def ended() -> bool:
        return (await run())["status"] in {"Succeeded", "Failed"}

    await until_it_is(ended, "the pipeline run ends")
    return await run()


async def test_what_the_pipeline_ingests_is_protected_when_it_ends(
    stack: Ready, app: App, queue: Queue, new_pair: NewPair
) -> None:
    landing, pair = await new_pair({"day.csv": b"ingested"}), await new_pair()
    run = await ingest(stack, app, landing_container=landing.name, container=pair.name, blob="day.csv")
    assert (run["status"], run["message"]) == ("Succeeded", "")
    await queue.drained()
    [(backup,)] = (await pair.copies()).values()
    assert backup.content == b"ingested"


async def test_the_pipeline_fails_when_the_settings_exclude_the_container(
    stack: Ready, app: App, new_pair: NewPair
) -> None:
    landing, excluded = await new_pair({"day.csv": b"ingested"}), await new_pair(name=f"secret-{uuid4().hex[:8]}")
    run = await ingest(stack, app, landing_container=landing.name, container=excluded.name, blob="day.csv")
    assert run["status"] == "Failed"
    assert "HttpStatusCode - 403" in run["message"]
    assert app.function_key not in str(run)

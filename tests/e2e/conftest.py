"""What end-to-end tests share: services and apps as processes, and containers of a test's own."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from azure.storage.blob.aio import BlobServiceClient

from tests.e2e.app import App, Queue, Ready, app_folder
from tests.e2e.blobs import Pair
from tests.e2e.programs import Program

NewApp = Callable[..., App]
NewPair = Callable[..., Awaitable[Pair]]
Control = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this session's hosts have their logs and files."""
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="session")
def stack(work: Path) -> Iterator[Ready]:
    """The services, in a process of their own, in place of the ones in this process that other tests use."""
    services = Program("services", environment=os.environ, log=work / "services.log")
    try:
        yield services.wait_until_ready()
    finally:
        services.stop()


@pytest.fixture(scope="session")
def folder(work: Path) -> Path:
    """The app's folder, for hosts that are to be quick."""
    return app_folder(work / "app")


@pytest.fixture(scope="session")
def app(stack: Ready, folder: Path, work: Path) -> Iterator[App]:
    """The app that most tests share: the Blob service is its engine; containers named `secret-*` are excluded."""
    settings = {"SNAPKEEP_ENGINE": "server", "SNAPKEEP_EXCLUDE_CONTAINERS": "secret-*"}
    shared = App(stack, folder, work, visibility_seconds=600, settings=settings)
    try:
        shared.start()
        yield shared
    finally:
        shared.stop()


@pytest.fixture
async def queue(stack: Ready, app: App) -> AsyncIterator[Queue]:
    """The queue of `app`."""
    async with Queue(stack["queue"], app) as opened:
        yield opened


@pytest.fixture
def new_app(stack: Ready, folder: Path, work: Path) -> Iterator[NewApp]:
    """Makes an app with settings of its own (`new_app(SNAPKEEP_ENGINE="adf")`), to be started by the test."""
    made: list[App] = []

    def make(
        services: Ready | None = None, own_folder: Path | None = None, visibility_seconds: float = 600, **settings: str
    ) -> App:
        one = App(
            services or stack, own_folder or folder, work, visibility_seconds=visibility_seconds, settings=settings
        )
        made.append(one)
        return one

    yield make
    for one in made:
        one.stop()


@pytest.fixture
async def new_pair(source_account: BlobServiceClient, backup_account: BlobServiceClient) -> NewPair:
    """Makes a source container with these blobs in it."""

    async def make(contents: dict[str, bytes] | None = None, name: str | None = None) -> Pair:
        pair = Pair(source_account, backup_account, name or f"e2e-{uuid4().hex[:10]}")
        await pair.source.create_container()
        await pair.write(contents or {})
        return pair

    return make


async def factory_state(stack: Ready) -> dict[str, Any]:
    """What the stand-in is told to do, and which copies it holds."""
    async with aiohttp.ClientSession() as session, session.get(f"{stack['adf']}/standin/state") as answer:
        return dict(await answer.json())


async def factory_runs(stack: Ready) -> list[dict[str, Any]]:
    """All runs that the stand-in was ever asked for, in their order."""
    async with aiohttp.ClientSession() as session, session.get(f"{stack['adf']}/standin/runs") as answer:
        return list((await answer.json())["runs"])


@pytest.fixture
async def control(stack: Ready) -> AsyncIterator[Control]:
    """Pulls a switch of the Data Factory stand-in: `await control("fail-runs", count=1)`. All are reset afterwards."""

    async def pull(name: str, **arguments: Any) -> Any:
        url = f"{stack['adf']}/standin/{name}"
        async with aiohttp.ClientSession() as session, session.post(url, json=arguments) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    yield pull
    await pull("reset")

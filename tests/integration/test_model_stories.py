"""Stories that the model once found to end badly, told again: a few events, and a restore that must be right."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from typing import Literal

import pytest
import pytest_asyncio

from tests.model.bench import Bench, running_bench
from tests.model.disturbance import Fault
from tests.model.model import Content
from tests.model.product import Product
from tests.model.restoring import Restoring, Wish
from tests.model.working import Working
from tests.model.world import World
from tests.names import HARD_NAMES
from tests.sweep import Kind

pytestmark = pytest.mark.asyncio(loop_scope="module")

BINARY = (("Content-Type", "application/octet-stream"),)
MOST_CALLS = 60

_numbers = count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench() -> AsyncIterator[Bench]:
    async with running_bench(Product()) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def world(bench: Bench) -> AsyncIterator[World]:
    created = await World.create(bench, f"story-{next(_numbers)}")
    yield created
    await created.remove()


async def write(world: World, name: str, body: bytes, kind: str = "BlockBlob") -> Wish:
    """Gives the wish to have it back as it is now."""
    await world.write(name, Content(body, kind, BINARY))
    return Wish(world.history.moments()[-1])


async def test_a_block_blob_that_comes_back_over_a_page_blob_has_no_tier_that_nobody_asked_for(world: World) -> None:
    wish = await write(world, "a", b"block")
    await Working(world).protect_and_back_up()
    await write(world, "a", bytes(512), "PageBlob")
    assert "1 blobs came back" in await Restoring(world, wish).in_place()


@pytest.mark.parametrize("kind", ["AppendBlob", "PageBlob"])
async def test_a_blob_whose_address_is_too_long_to_copy_from_comes_back_in_place_from_its_snapshot(
    world: World, kind: str
) -> None:
    wish = await write(world, HARD_NAMES["long cjk"], b"1" * 512, kind)
    await Working(world).protect()
    await write(world, HARD_NAMES["long cjk"], b"2" * 512, kind)
    assert "1 blobs came back" in await Restoring(world, wish).in_place()


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("account", ["source", "backup"])
async def test_the_restore_of_an_empty_page_blob_goes_on_wherever_it_was_interrupted(
    world: World, kind: Kind, account: Literal["source", "backup"]
) -> None:
    wish = await write(world, "a", b"", "PageBlob")
    for number in range(1, MOST_CALLS):
        told = await Restoring(world, wish, Fault(kind, number)).to_container(account)
        assert told.startswith("1 blobs came back")
        if "no such call" in told:
            return
    raise AssertionError("the restore of one blob takes more calls than it should")

"""What the app itself leaves for `snapkeep status`: notes of its runs, and the page in the state."""

from __future__ import annotations

from pathlib import Path

from azure.storage.blob import StandardBlobTier
from azure.storage.blob.aio import BlobClient
from playwright.async_api import expect

from tests.e2e.app import Queue, Ready, state_document, until_it_is
from tests.e2e.browser import running_browser, tab_of
from tests.e2e.conftest import NewApp, NewPair
from tests.names import HARD_NAMES


async def test_the_app_notes_its_runs_and_leaves_a_page_that_tells_of_them(
    stack: Ready, new_app: NewApp, new_pair: NewPair, tmp_path: Path
) -> None:
    """With names that the service takes, one of them in the archive tier, so that the report names it."""
    hostile = '"><img src=x onerror=alert(1)>.csv'
    pair = await new_pair({"a.csv": b"x", hostile: b"y"} | dict.fromkeys(list(HARD_NAMES.values())[:5], b"z"))
    await pair.source.get_blob_client(hostile).set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    app = new_app(SNAPKEEP_ENGINE="server", SNAPKEEP_INCLUDE_CONTAINERS=pair.source.container_name)
    app.start()
    await app.protect(pair.source.container_name)
    async with Queue(stack["queue"], app) as queue:
        await queue.drained()
    before = await state_document(stack, "reports/latest.json")

    async def reconciled() -> bool:
        report = await state_document(stack, "reports/latest.json")
        noted = await state_document(stack, "runs/reconcile.json")
        if not report or report == before or not noted:
            return False
        return bool(noted["finished_at"] >= report["finished_at"])

    await app.start_by_hand("reconcile")
    await until_it_is(reconciled, "the report and the note of the reconciliation")
    for function in ("protect", "backup", "reconcile"):
        noted = await state_document(stack, f"runs/{function}.json")
        assert (noted["function"], noted["result"]) == (function, "succeeded"), noted
    async with BlobClient.from_connection_string(stack["queue"], "snapkeep-state", "status.html") as blob:
        text = await (await blob.download_blob()).readall()
    page = tmp_path / "status.html"
    page.write_bytes(text)
    async with running_browser() as browser, tab_of(browser) as tab:
        await tab.open(page)
        await expect(tab.page.get_by_role("heading", level=1)).to_have_text("! at risk")
        await expect(tab.page.locator("#unprotected tbody th")).to_have_text([hostile])
        await expect(tab.page.get_by_role("row", name=pair.source.container_name).first).to_contain_text("archived")
    assert (tab.dialogs, tab.console, tab.errors, tab.left) == ([], [], [], [])

"""`snapkeep requests` and what is behind it: whatever happens between two of its calls, no request is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue.aio import QueueClient

from shared.decisions.messages import BackupRequest, encode, follow_up, request
from shared.errors import SnapkeepError, StorageFailed
from shared.model import QueueOverview, Version
from shared.operations.requests import discard, discarded, find_request, list_requests, replay
from shared.services import Services
from tests.conftest import OpenServices
from tests.fault_proxy import FaultProxy, Rule, answer, lose_answer
from tests.names import HARD_NAMES
from tests.queue_reader import QueueReader

ASKED_AT = "2026-11-20T14:05:33Z"
REASON = "raw/a.csv: 409 SomethingWrong"


def asked(container: str, *names: str, attempt: int = 5, reason: str | None = REASON) -> BackupRequest:
    versions = [Version(name, f"0x8DE{number}", ASKED_AT, 5) for number, name in enumerate(names or ("a.csv",))]
    return request(container, versions, ASKED_AT, attempt, reason)


@pytest.fixture
def name(environment: dict[str, str]) -> str:
    """The container that the settings protect."""
    return environment["SNAPKEEP_INCLUDE_CONTAINERS"]


@pytest.fixture
async def poison(environment: dict[str, str]) -> AsyncIterator[QueueClient]:
    """The poison queue of this test, where anybody can put anything."""
    queue = f"{environment['SNAPKEEP_BACKUP_QUEUE']}-poison"
    async with QueueClient.from_connection_string(environment["BackupQueue"], queue) as client:
        with suppress(ResourceExistsError):
            await client.create_queue()
        yield client


async def ids(services: Services) -> list[str]:
    return [message.message_id for message in (await list_requests(services))[1].messages]


async def put(poison: QueueClient, text: str | bytes) -> str:
    content = text if isinstance(text, str) else b64encode(text).decode()
    return str((await poison.send_message(content)).id)


class TestOverview:
    async def test_queues_that_do_not_exist_yet_hold_nothing(self, services: Services) -> None:
        assert await services.queue.overview() == QueueOverview(0, None, 0, None)

    async def test_it_counts_what_is_delayed_and_knows_the_oldest_that_shows(
        self, services: Services, name: str, reader: QueueReader
    ) -> None:
        before = services.now().replace(microsecond=0)
        await services.queue.send(asked(name))
        await services.queue.send(asked(name), delay_seconds=500)
        await services.queue.give_up(asked(name))
        overview = await services.queue.overview()
        assert (overview.waiting, overview.poison) == (2, 1)
        assert overview.oldest_waiting is not None
        assert overview.oldest_poison is not None
        assert before <= overview.oldest_waiting <= overview.oldest_poison <= services.now()

    async def test_a_queue_that_cannot_be_read_is_not_an_empty_one(
        self, open_behind_proxies: OpenServices, queue_proxy: FaultProxy
    ) -> None:
        queue_proxy.add(Rule(answer(403, "AuthorizationFailure"), method="GET", target="-poison"))
        with pytest.raises(StorageFailed, match="AuthorizationFailure"):
            await open_behind_proxies().queue.overview()


class TestList:
    async def test_it_tells_of_waiting_and_poison_messages_what_they_ask_for(
        self, services: Services, name: str
    ) -> None:
        await services.queue.send(asked(name, "a", "b", "c", "d", attempt=2, reason=None))
        await services.queue.give_up(asked(name))
        waiting, poison = await list_requests(services)
        (row,) = waiting.to_json()["messages"]
        assert (row["kind"], row["container"], row["attempt"], row["reason"]) == ("backup", name, 2, None)
        assert (row["blobs"], row["names"]) == (4, ["a", "b", "c"])
        assert row["expires_at"] is None
        (row,) = poison.to_json()["messages"]
        assert (row["queue"], row["attempt"], row["reason"]) == (services.queue.poison_name, 5, REASON)
        assert row["malformed"] is None

    async def test_waiting_messages_are_looked_at_without_a_delivery(
        self, services: Services, name: str, environment: dict[str, str]
    ) -> None:
        await services.queue.send(asked(name))
        for _ in range(3):
            await list_requests(services, every=True)
        queue = environment["SNAPKEEP_BACKUP_QUEUE"]
        async with QueueClient.from_connection_string(environment["BackupQueue"], queue) as client:
            taken = await client.receive_message()
        assert taken is not None
        assert taken.dequeue_count == 1

    async def test_a_look_shows_32_and_says_of_how_many(self, services: Services, name: str) -> None:
        for number in range(40):
            await services.queue.give_up(asked(name, f"{number}.csv"))
        _, poison = await list_requests(services)
        assert (len(poison.messages), poison.total) == (32, 40)

    async def test_all_poison_messages_can_be_listed_and_are_there_afterwards(
        self, services: Services, name: str
    ) -> None:
        for number in range(70):
            await services.queue.give_up(asked(name, f"{number}.csv"))
        for _ in range(2):  # the first list has given all of them back, and as they were
            _, poison = await list_requests(services, every=True)
            assert len({message.message_id for message in poison.messages}) == poison.total == 70
            assert {message.row()["names"][0] for message in poison.messages} == {f"{n}.csv" for n in range(70)}

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("no base64 at all!", "not base64"),
            (b"\xff\xfe no text", "not a request of schema 1"),
            (b'{"schema": 9}', "not a request of schema 1"),
            (b"", "not a request of schema 1"),
        ],
    )
    async def test_a_malformed_message_is_listed_with_what_is_wrong(
        self, services: Services, poison: QueueClient, text: str | bytes, why: str
    ) -> None:
        await put(poison, text)
        (found,) = (await list_requests(services))[1].messages
        row = found.row()
        assert why in row["malformed"]
        assert (row["kind"], row["container"], row["blobs"]) == (None, None, 0)

    async def test_the_excerpt_of_a_malformed_message_is_one_short_harmless_line(
        self, services: Services, poison: QueueClient
    ) -> None:
        await put(poison, b"\x1b[2Jnew\nline" + b"x" * 1000)
        (found,) = (await list_requests(services))[1].messages
        text = found.row()["excerpt"]
        assert text.startswith("\\x1b[2Jnew\\x0alinexxx")
        assert text.endswith("x...")
        assert len(text) < 150


class TestReplay:
    async def test_it_asks_for_the_same_versions_as_if_for_the_first_time(
        self, services: Services, name: str, reader: QueueReader
    ) -> None:
        original = asked(name, *HARD_NAMES.values())
        await services.queue.give_up(original)
        settled = await replay(services, await ids(services))
        assert (len(settled.done), settled.failed) == (1, [])
        (sent,) = await reader.requests()
        expected = json.loads(encode(original)) | {"attempt": 1}
        del expected["reason"]
        assert sent == expected
        assert await reader.poison() == []

    async def test_only_the_named_messages_are_replayed_and_the_others_stay_visible(
        self, services: Services, name: str, reader: QueueReader
    ) -> None:
        for number in range(40):
            await services.queue.give_up(asked(name, f"{number}.csv"))
        chosen = (await ids(services))[3]
        settled = await replay(services, [chosen])
        assert [row["id"] for row in settled.done] == [chosen]
        assert len(await reader.requests()) == 1
        _, poison = await list_requests(services, every=True)
        assert len(poison.messages) == 39

    async def test_all_can_be_replayed(self, services: Services, name: str, reader: QueueReader) -> None:
        for number in range(70):
            await services.queue.give_up(asked(name, f"{number}.csv"))
        assert len((await replay(services, None)).done) == 70
        assert (await reader.poison(), await reader.waiting()) == ([], 70)

    async def test_a_follow_up_of_a_run_becomes_a_request_for_its_versions(
        self, services: Services, name: str, reader: QueueReader
    ) -> None:
        versions = [Version("a.csv", "0x8DE1", ASKED_AT, 5)]
        followed = follow_up(asked(name), versions, "run-1", "0" * 32, ASKED_AT)
        await services.queue.give_up(followed)
        await replay(services, None)
        (sent,) = await reader.requests()
        assert (sent["kind"], sent["attempt"]) == ("backup", 1)
        assert [blob["etag"] for blob in sent["blobs"]] == ["0x8DE1"]
        assert "run_id" not in sent

    async def test_a_message_that_nobody_can_carry_out_stays_and_stops_no_other(
        self, services: Services, name: str, poison: QueueClient, reader: QueueReader
    ) -> None:
        malformed = await put(poison, b'{"schema": 1}')
        foreign = await put(poison, encode(asked("another-container")))
        await services.queue.give_up(asked(name))
        settled = await replay(services, None)
        assert len(settled.done) == 1
        reasons = {failure["id"]: failure["reason"] for failure in settled.failed}
        assert f"snapkeep requests discard {malformed} --reason" in reasons[malformed]
        assert "SNAPKEEP_INCLUDE_CONTAINERS" in reasons[foreign]
        assert len(await reader.requests()) == 1
        assert set(await ids(services)) == {malformed, foreign}

    async def test_a_crash_between_sending_and_deleting_costs_a_duplicate_and_never_the_request(
        self, services: Services, open_behind_proxies: OpenServices, queue_proxy: FaultProxy, name: str
    ) -> None:
        await services.queue.give_up(asked(name))
        queue_proxy.add(Rule(answer(403, "AuthorizationPermissionMismatch"), method="DELETE"))
        settled = await replay(open_behind_proxies(), None)
        assert settled.done == []
        assert "it was done, but the message may still stand there" in settled.failed[0]["reason"]
        waiting, poison = await list_requests(services)
        assert (len(waiting.messages), len(poison.messages)) == (1, 1)

    async def test_a_request_that_cannot_be_sent_stays_where_it_was(
        self, services: Services, open_behind_proxies: OpenServices, queue_proxy: FaultProxy, name: str
    ) -> None:
        await services.queue.give_up(asked(name))
        queue_proxy.add(Rule(answer(403, "AuthorizationPermissionMismatch"), method="POST", target="/messages"))
        settled = await replay(open_behind_proxies(), None)
        assert "AuthorizationPermissionMismatch" in settled.failed[0]["reason"]
        waiting, poison = await list_requests(services)
        assert (len(waiting.messages), len(poison.messages)) == (0, 1)

    async def test_a_lost_answer_to_the_deletion_is_no_lost_request(
        self, services: Services, open_behind_proxies: OpenServices, queue_proxy: FaultProxy, name: str
    ) -> None:
        await services.queue.give_up(asked(name))
        queue_proxy.add(Rule(lose_answer(), method="DELETE", times=1))
        await replay(open_behind_proxies(), None)
        waiting, poison = await list_requests(services)
        assert (len(waiting.messages), poison.messages) == (1, [])

    async def test_what_a_killed_command_had_taken_is_visible_again_within_a_minute(
        self, services: Services, name: str
    ) -> None:
        await services.queue.give_up(asked(name))
        pages = services.queue.take_poison()
        (taken,) = await anext(pages)
        await pages.aclose()
        # It is neither given back nor deleted, as when the program was killed. The service says when it shows again.
        assert await ids(services) == []
        assert taken.visible_at is not None
        assert (taken.visible_at - services.now()).total_seconds() <= 60

    async def test_an_id_that_is_not_there_is_said_so(self, services: Services, name: str) -> None:
        await services.queue.give_up(asked(name))
        settled = await replay(services, ["no-such-id"])
        assert [failure["id"] for failure in settled.failed] == ["no-such-id"]
        assert len(await ids(services)) == 1


class TestDiscard:
    async def test_the_record_says_what_it_was_and_why_it_is_gone(self, services: Services, name: str) -> None:
        await services.queue.give_up(asked(name))
        (message_id,) = await ids(services)
        settled = await discard(services, [message_id], "a test file; nobody needs it")
        assert [row["id"] for row in settled.done] == [message_id]
        assert await ids(services) == []
        record = await services.state.read(f"discarded/{message_id}.json")
        assert record["reason"] == "a test file; nobody needs it"
        assert record["message"] == json.loads(encode(asked(name)))
        assert (record["schema"], record["queue"]) == (1, services.queue.poison_name)
        assert record in await discarded(services)

    async def test_a_malformed_message_is_kept_on_record_as_its_text(
        self, services: Services, poison: QueueClient
    ) -> None:
        message_id = await put(poison, b"not JSON \x1b\xff")
        await discard(services, [message_id], "somebody's mistake")
        record = await services.state.read(f"discarded/{message_id}.json")
        assert record["message"] == {"text": "not JSON \x1b\\xff"}

    async def test_without_a_record_nothing_is_discarded(
        self, services: Services, open_behind_proxies: OpenServices, blob_proxy: FaultProxy, name: str
    ) -> None:
        await services.queue.give_up(asked(name))
        blob_proxy.add(Rule(answer(403, "AuthorizationPermissionMismatch"), method="PUT", target="/discarded"))
        settled = await discard(open_behind_proxies(), await ids(services), "why not")
        assert "AuthorizationPermissionMismatch" in settled.failed[0]["reason"]
        assert len(await ids(services)) == 1

    async def test_what_backup_recorded_as_unprotected_stays_recorded(self, services: Services, name: str) -> None:
        await services.state.write(f"unprotected/{name}/1.json", {"name": "a.csv"})
        await services.queue.give_up(asked(name))
        await discard(services, await ids(services), "why not")
        assert await services.state.names(f"unprotected/{name}/") == [f"unprotected/{name}/1.json"]


class TestShow:
    async def test_it_finds_a_message_wherever_it_stands(self, services: Services, name: str) -> None:
        await services.queue.send(asked(name, "waiting.csv"))
        for number in range(40):
            await services.queue.give_up(asked(name, f"{number}.csv"))
        waiting, poison = await list_requests(services, every=True)
        for message in (waiting.messages[0], poison.messages[-1]):
            assert (await find_request(services, message.message_id)).content() == message.content()

    async def test_an_unknown_id_is_an_error_that_says_where_to_look(self, services: Services) -> None:
        with pytest.raises(SnapkeepError, match="snapkeep requests list --all"):
            await find_request(services, "no-such-id")


class TestCommand:
    @pytest.fixture
    def settings_file(self, tmp_path: Path, environment: dict[str, str]) -> Path:
        path = tmp_path / "settings.json"
        path.write_text(json.dumps({"Values": environment}))
        return path

    async def test_from_list_to_replay_and_discard(
        self, services: Services, name: str, poison: QueueClient, settings_file: Path, reader: QueueReader
    ) -> None:
        await services.queue.give_up(asked(name, "a\x1b[31m.csv", "\u202egnp.exe"))
        malformed = await put(poison, b'{"schema": 1}')
        listed = snapkeep("list", "--settings", settings_file)
        assert listed.returncode == 0, listed.stderr
        assert f"{services.queue.name} (waiting): no messages" in listed.stdout
        assert f"{services.queue.poison_name} (poison): 2 messages" in listed.stdout
        assert REASON in listed.stdout
        assert "malformed, not a request of schema 1" in listed.stdout
        assert not {"\x1b", "\u202e"} & set(listed.stdout)
        shown = snapkeep("show", malformed, "--settings", settings_file)
        assert json.loads(shown.stdout)["message"] == {"text": '{"schema": 1}'}
        [line] = snapkeep("show", malformed, "--json", "--settings", settings_file).stdout.splitlines()
        assert json.loads(line) == json.loads(shown.stdout)

        replayed = snapkeep("replay", "--all", "--settings", settings_file)
        assert replayed.returncode == 1
        assert f"sent again: backup, {name}, 2 blobs" in replayed.stdout
        assert f"{malformed}: not sent again: not a request of schema 1" in replayed.stdout
        thrown = snapkeep("discard", malformed, "--reason", "  not ours ", "--settings", settings_file, "--json")
        assert thrown.returncode == 0, thrown.stderr
        assert json.loads(thrown.stdout)["done"][0]["id"] == malformed
        assert (await services.state.read(f"discarded/{malformed}.json"))["reason"] == "not ours"
        report = snapkeep("list", "--settings", settings_file, "--json")
        counts = json.loads(report.stdout)
        assert (counts["waiting"]["total"], counts["poison"]["total"]) == (1, 0)

    @pytest.mark.parametrize(
        "arguments",
        [["replay"], ["replay", "--all", "some-id"], ["discard", "some-id"], ["discard", "some-id", "--reason", " "]],
    )
    def test_wrong_usage_exits_with_2(self, arguments: list[str], settings_file: Path) -> None:
        run = snapkeep(*arguments, "--settings", settings_file)
        assert run.returncode == 2
        assert run.stdout == ""


def snapkeep(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command: list[Any] = [sys.executable, "-c", "from shared.cli import main; main()", "requests", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

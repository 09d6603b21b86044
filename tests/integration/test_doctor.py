"""`snapkeep doctor` on the local stack: what is wrong is found and named, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import (
    RetentionPolicy,
    generate_account_sas,
)
from azure.storage.blob import Services as SasServices
from azure.storage.blob.aio import BlobServiceClient, ContainerClient
from azure.storage.queue.aio import QueueServiceClient

from local import programs
from local.datafactory import DataFactoryStandIn
from local.ports import LOOPBACK
from local.services import DEFINITIONS
from shared.containers import STATE_CONTAINER
from shared.decisions.findings import Finding, Level, verdict
from shared.decisions.messages import BackupRequest, request
from shared.model import Version
from shared.operations.doctor import examine
from shared.operations.protect import protect
from shared.services import Services, utc_now
from tests.conftest import OpenServices, Ready
from tests.fault_proxy import FaultProxy, Rule, answer
from tests.integration.conftest import endpoint
from tests.queue_reader import QueueReader

Examine = Callable[..., Awaitable[list[Finding]]]
WRONG_KEY = "d3Jvbmcta2V5LW9mLXRoZS1hY2NvdW50"
CONNECTIONS = ("SourceStorage", "BackupStorage", "BackupQueue", "AzureWebJobsStorage")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """With the state in the source account, where no other test's marks of containers are."""
    return environment | {"AzureWebJobsStorage": environment["SourceStorage"]}


@pytest.fixture
def look(environment: dict[str, str]) -> Examine:
    """Examines the stack; keyword arguments are settings (None: not set) or `now`."""

    async def examined(**changes: Any) -> list[Finding]:
        now = changes.pop("now", utc_now)
        values = {name: value for name, value in (environment | changes).items() if value is not None}
        return await examine(values, now)

    return examined


def part(connection_string: str, key: str) -> str:
    return dict(part.split("=", 1) for part in connection_string.split(";") if part)[key]


def with_sas(connection_string: str, permissions: str, types: str = "sco", **options: Any) -> str:
    """The same account, reached with a SAS of these permissions."""
    sas = generate_account_sas(
        part(connection_string, "AccountName"),
        part(connection_string, "AccountKey"),
        types,
        permissions,
        options.get("expiry", datetime.now(UTC) + timedelta(days=30)),
        services=SasServices(blob=True, queue=True),
    )
    places = ";".join(f"{name}={part(connection_string, name)}" for name in ("BlobEndpoint", "QueueEndpoint"))
    return f"{places};SharedAccessSignature={sas}"


def found(findings: list[Finding], subject: str) -> Finding:
    (finding,) = [finding for finding in findings if finding.subject == subject]
    return finding


def not_ok(findings: list[Finding], prefix: str = "") -> set[str]:
    return {each.subject.removeprefix(prefix) for each in findings if each.level is not Level.OK}


def refused(findings: list[Finding], connection: str) -> set[str]:
    """The calls on a connection that are not allowed."""
    start = f"{connection}: "
    return {
        each.subject.removeprefix(start) for each in findings if "refused: 403" in each.text and start in each.subject
    }


class TestAllRight:
    @pytest.fixture
    async def protected(self, services: Services, container: ContainerClient, reader: QueueReader) -> None:
        await container.upload_blob("a.csv", b"x")
        await protect(services, container.container_name, elapsed=lambda: 0.0)
        await reader.drain(services)

    @pytest.mark.usefixtures("protected")
    async def test_a_stack_in_use_has_nothing_wrong(self, look: Examine) -> None:
        findings = await look(
            SNAPKEEP_ENGINE="auto",
            SNAPKEEP_USE_LEASE="true",
            SNAPKEEP_SYNC_DELETE="true",
            AZCOPY_PATH=str(programs.azcopy()),
        )
        # Azurite knows neither soft delete nor immutability: that much is true of it.
        assert not_ok(findings) == {"BackupStorage: immutability"}
        assert verdict(findings) is Level.WARNING

    async def test_every_call_is_tried_on_a_stack_that_was_never_used_too(
        self, look: Examine, source_account: BlobServiceClient, container: ContainerClient
    ) -> None:
        await container.delete_container()
        with suppress(ResourceNotFoundError):
            await source_account.delete_container(STATE_CONTAINER)
        findings = await look(SNAPKEEP_ENGINE="auto", SNAPKEEP_USE_LEASE="true")
        queue = next(each.subject for each in findings if each.subject.startswith("queue requests-"))
        assert not_ok(findings) == {"SNAPKEEP_INCLUDE_CONTAINERS", queue}
        assert "created when the first backup is requested" in found(findings, queue).text
        assert found(findings, "BackupStorage: create containers").text.startswith("not tried")
        assert found(findings, f"container {STATE_CONTAINER}").text.startswith("made by this check")

    @pytest.mark.usefixtures("protected")
    async def test_nothing_is_created_changed_or_taken(
        self,
        open_services: OpenServices,
        environment: dict[str, str],
        look: Examine,
        blob_proxy: FaultProxy,
        queue_proxy: FaultProxy,
    ) -> None:
        services = open_services()
        await services.queue.send(request_for(services))
        await look(
            SourceStorage=blob_proxy.in_place_of(environment["SourceStorage"], "Blob"),
            BackupStorage=blob_proxy.in_place_of(environment["BackupStorage"], "Blob"),
            AzureWebJobsStorage=blob_proxy.in_place_of(environment["AzureWebJobsStorage"], "Blob"),
            BackupQueue=queue_proxy.in_place_of(environment["BackupQueue"], "Queue"),
            SNAPKEEP_ENGINE="auto",
            SNAPKEEP_USE_LEASE="true",
            SNAPKEEP_SYNC_CONTAINERS=environment["SNAPKEEP_INCLUDE_CONTAINERS"],
            SNAPKEEP_SYNC_DELETE="true",
        )
        changed = [
            call.target
            for proxy in (blob_proxy, queue_proxy)
            for call in proxy.calls
            if call.method not in {"GET", "HEAD"} and (call.status or 0) < 400
        ]
        assert changed, "the proxies have seen nothing at all"
        assert all(f"/{STATE_CONTAINER}/" in target for target in changed)
        assert (await services.queue.overview()).oldest_waiting is not None  # it is visible: nobody took it
        for prefix in ("doctor/", "locks/doctor-"):
            assert await services.state.names(prefix) == []

    async def test_the_sas_variant_creates_no_container_and_no_queue(
        self, look: Examine, environment: dict[str, str], backup_account: BlobServiceClient
    ) -> None:
        full = {name: with_sas(environment[name], "rwdlacupt") for name in CONNECTIONS}
        await look(**full, SNAPKEEP_ENGINE="auto")
        assert [each async for each in backup_account.list_containers(name_starts_with="snapkeep-doctor")] == []
        async with QueueServiceClient.from_connection_string(environment["BackupQueue"]) as queues:
            assert [each async for each in queues.list_queues(name_starts_with="snapkeep-doctor")] == []


class TestSettings:
    async def test_what_is_right_is_looked_at_though_other_settings_are_wrong(self, look: Examine) -> None:
        findings = await look(
            BackupStorage=None, SNAPKEEP_ENGINE="warp", SNAPKEEP_SYNC_CONTAINERS="UPPER", SNAPKEEP_INCLUDE="raw"
        )
        assert not_ok(findings) >= {
            *("BackupStorage", "SNAPKEEP_ENGINE", "SNAPKEEP_SYNC_CONTAINERS", "SNAPKEEP_INCLUDE"),
            "BackupStorage: reachable",
        }
        assert found(findings, "SourceStorage: snapshot blobs").level is Level.OK
        assert found(findings, "BackupQueue: put messages").level is Level.OK
        assert found(findings, "BackupStorage: reachable").text == "not checked"

    async def test_without_any_setting_each_is_named_and_nothing_fails(self) -> None:
        findings = await examine({})
        assert {"SourceStorage", "BackupStorage", "BackupQueue", "AzureWebJobsStorage"} <= not_ok(findings)
        assert found(findings, "clock").level is Level.WARNING

    async def test_a_text_that_is_no_connection_string_is_not_shown(self, look: Examine) -> None:
        text = f"AccountName=source;AccountKey={WRONG_KEY};and a word"
        findings = await look(SourceStorage=text, BackupQueue=text)
        for name in ("SourceStorage", "BackupQueue"):
            assert "no connection string" in found(findings, f"{name}: reachable").text
        assert WRONG_KEY not in repr(findings)


class TestReachable:
    @pytest.mark.parametrize("name", CONNECTIONS)
    async def test_a_port_where_nothing_listens_is_told(
        self, look: Examine, environment: dict[str, str], unused_port: int, name: str
    ) -> None:
        service = "Queue" if name == "BackupQueue" else "Blob"
        old = endpoint(environment[name], service)
        findings = await look(**{name: environment[name].replace(old, f"http://{LOOPBACK}:{unused_port}/x")})
        finding = found(findings, f"{name}: reachable")
        assert (finding.level, finding.text) == (Level.WRONG, f"{LOOPBACK}:{unused_port}: nothing listens there")
        assert name in (finding.remedy or "")
        # The other connections are looked at all the same.
        other = "SourceStorage" if name != "SourceStorage" else "BackupStorage"
        assert found(findings, f"{other}: reachable").level is Level.OK

    async def test_a_service_that_speaks_no_tls_is_told(self, look: Examine, environment: dict[str, str]) -> None:
        async with speaking(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
            old = endpoint(environment["SourceStorage"], "Blob")
            findings = await look(
                SourceStorage=environment["SourceStorage"].replace(old, f"https://{LOOPBACK}:{port}/source")
            )
        assert "no secure connection" in found(findings, "SourceStorage: reachable").text

    async def test_an_identity_without_a_token_is_told_what_to_do(
        self, look: Examine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # What the platform's identity service says of an identity that the app does not have.
        refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        async with speaking(refusal) as port:
            monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://{LOOPBACK}:{port}/token")
            monkeypatch.setenv("IDENTITY_HEADER", "s3cr3t-of-the-platform")
            findings = await look(
                BackupStorage=None,
                BackupStorage__blobServiceUri="https://backup.example.invalid",
                BackupStorage__credential="managedidentity",
            )
        finding = found(findings, "BackupStorage: identity")
        assert finding.text.startswith("has no token")
        assert "BackupStorage__clientId" in (finding.remedy or "")
        assert "s3cr3t" not in repr(findings)


class TestKeysAndSignatures:
    @pytest.mark.parametrize("name", CONNECTIONS)
    async def test_a_wrong_key_is_one_line(self, look: Examine, environment: dict[str, str], name: str) -> None:
        right = part(environment[name], "AccountKey")
        findings = await look(**{name: environment[name].replace(right, WRONG_KEY)})
        finding = found(findings, f"{name}: access")
        assert finding.level is Level.WRONG
        assert "put the present key there" in (finding.remedy or "")
        assert refused(findings, name) <= {"access", "soft delete"}
        assert WRONG_KEY not in repr(findings)

    async def test_a_key_that_is_no_base64_is_told(self, look: Examine, environment: dict[str, str]) -> None:
        right = part(environment["BackupStorage"], "AccountKey")
        findings = await look(BackupStorage=environment["BackupStorage"].replace(right, "%not-base64%"))
        assert "no base64" in (found(findings, "BackupStorage: access").remedy or "")
        assert "not-base64" not in repr(findings)

    @pytest.mark.parametrize(
        ("permissions", "types", "calls"),
        [
            ("rwct", "sco", {"list containers", "list blobs and snapshots"}),
            ("lwct", "sco", {"read blobs"}),
            ("rlt", "sco", {"snapshot blobs", "lease blobs"}),
            ("rlct", "sco", {"lease blobs"}),
            ("rlwc", "sco", {"read index tags"}),
            ("rlwct", "co", {"list containers"}),
            ("rlwct", "so", {"list blobs and snapshots"}),
            ("rlwct", "sc", {"read blobs", "snapshot blobs", "read index tags", "lease blobs"}),
            ("rlwct", "sco", set()),
        ],
    )
    async def test_what_a_sas_lacks_on_the_source_is_named_call_by_call(
        self, look: Examine, environment: dict[str, str], permissions: str, types: str, calls: set[str]
    ) -> None:
        sas = with_sas(environment["SourceStorage"], permissions, types)
        findings = await look(SourceStorage=sas, SNAPKEEP_USE_LEASE="true")
        assert refused(findings, "SourceStorage") - {"soft delete"} == calls
        for call in calls:
            assert "put a SAS into SourceStorage that has" in (found(findings, f"SourceStorage: {call}").remedy or "")

    @pytest.mark.parametrize(
        ("permissions", "calls"),
        [
            ("rlwdct", set[str]()),
            ("rwdct", {"list blobs"}),
            ("lwdct", {"look at containers", "read blobs"}),
            ("rlcdt", {"write blocks"}),
            ("rldt", {"create containers", "create blobs", "write blocks"}),
            ("rlwct", {"delete in snapkeep-staging", "delete scratch containers"}),
            ("rlwdc", {"set index tags"}),
        ],
    )
    async def test_what_a_sas_lacks_on_the_backup_account_is_named_call_by_call(
        self,
        look: Examine,
        environment: dict[str, str],
        backups: ContainerClient,
        permissions: str,
        calls: set[str],
    ) -> None:
        await backups.create_container()
        sas = with_sas(environment["BackupStorage"], permissions)
        findings = await look(BackupStorage=sas, SNAPKEEP_ENGINE="auto", SNAPKEEP_DRILL_BLOBS="20")
        calls = calls - {"create containers"} if "r" not in permissions else calls
        assert refused(findings, "BackupStorage") == calls

    async def test_without_drills_nothing_is_needed_for_them(
        self, look: Examine, environment: dict[str, str], backups: ContainerClient
    ) -> None:
        await backups.create_container()
        sas = with_sas(environment["BackupStorage"], "rlwct")
        assert refused(await look(BackupStorage=sas, SNAPKEEP_DRILL_BLOBS="0"), "BackupStorage") == set()

    @pytest.mark.parametrize(
        ("permissions", "calls"),
        [
            ("raup", set[str]()),
            ("aup", {"look at queues", "peek at messages"}),
            ("rup", {"put messages"}),
            ("rau", {"take messages"}),
            ("rap", {"hold messages"}),
        ],
    )
    async def test_what_a_sas_lacks_on_the_queue_is_named_call_by_call(
        self, look: Examine, environment: dict[str, str], reader: QueueReader, permissions: str, calls: set[str]
    ) -> None:
        await reader.create()
        findings = await look(BackupQueue=with_sas(environment["BackupQueue"], permissions))
        assert refused(findings, "BackupQueue") == calls

    @pytest.mark.parametrize(
        ("permissions", "calls"),
        [
            ("rlwdc", set[str]()),
            ("rldc", {"lease documents"}),
            ("rlwc", {"delete documents"}),
            ("rwdc", {"list documents"}),
            ("rld", {"write documents", "lease documents"}),
        ],
    )
    async def test_the_state_is_proven_by_writing_to_it(
        self, look: Examine, environment: dict[str, str], permissions: str, calls: set[str]
    ) -> None:
        await look()  # the container is there from now on
        findings = await look(AzureWebJobsStorage=with_sas(environment["AzureWebJobsStorage"], permissions))
        assert refused(findings, "AzureWebJobsStorage") >= calls
        assert bool(refused(findings, "AzureWebJobsStorage")) == bool(calls)

    @pytest.mark.parametrize(("days", "level"), [(-1, Level.WRONG), (5, Level.WARNING), (30, Level.OK)])
    async def test_a_sas_that_has_ended_or_will_soon_is_told(
        self, look: Examine, environment: dict[str, str], days: int, level: Level
    ) -> None:
        sas = with_sas(environment["SourceStorage"], "rlwct", expiry=datetime.now(UTC) + timedelta(days=days, hours=1))
        findings = await look(SourceStorage=sas)
        assert found(findings, "SourceStorage: SAS expiry").level is level
        assert ("SourceStorage: access" in not_ok(findings)) == (days < 0)
        assert unquote(sas.partition("sig=")[2].partition("&")[0]) not in unquote(repr(findings))

    async def test_a_service_that_fails_is_not_taken_for_a_refusal(
        self, look: Examine, environment: dict[str, str], blob_proxy: FaultProxy
    ) -> None:
        blob_proxy.add(Rule(answer(503, "ServerBusy"), target="comp=snapshot"))
        findings = await look(SourceStorage=blob_proxy.in_place_of(environment["SourceStorage"], "Blob"))
        assert found(findings, "SourceStorage: snapshot blobs").text == "the service failed: 503 ServerBusy"


class TestQueueAndState:
    async def test_poison_messages_are_counted(self, look: Examine, services: Services, reader: QueueReader) -> None:
        await reader.create()
        await services.queue.give_up(request_for(services))
        finding = found(await look(), f"queue {services.queue.poison_name}")
        assert (finding.level, finding.text) == (Level.WARNING, "messages that were given up on: 1")

    @pytest.mark.parametrize(("ahead", "level"), [(0, Level.OK), (120, Level.WARNING), (-600, Level.WRONG)])
    async def test_the_clock_is_compared_with_the_service_s(self, look: Examine, ahead: int, level: Level) -> None:
        findings = await look(now=lambda: utc_now() + timedelta(seconds=ahead))
        assert found(findings, "clock").level is level

    async def test_a_backup_container_that_existed_and_is_gone_is_wrong(
        self, look: Examine, services: Services, container: ContainerClient, backups: ContainerClient
    ) -> None:
        await services.backup.ensure_container(backups.container_name, versions_of=container.container_name)
        await backups.delete_container()
        try:
            finding = found(await look(), f"container {backups.container_name}")
        finally:
            await services.state.delete(f"containers/{backups.container_name}.json")
        assert finding.level is Level.WRONG
        assert "restore it (container soft delete)" in (finding.remedy or "")

    async def test_a_state_that_cannot_be_read_leaves_the_backup_containers_unjudged(
        self, look: Examine, environment: dict[str, str]
    ) -> None:
        right = part(environment["AzureWebJobsStorage"], "AccountKey")
        state = environment["AzureWebJobsStorage"].replace(right, WRONG_KEY)
        assert found(await look(AzureWebJobsStorage=state), "backup containers").level is Level.WARNING

    async def test_soft_delete_is_told_where_it_is_visible(
        self, look: Examine, environment: dict[str, str], source_account: BlobServiceClient
    ) -> None:
        await source_account.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=True, days=7))
        try:
            findings = await look()
        finally:
            await source_account.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=False))
        assert found(findings, "SourceStorage: soft delete").text.startswith("deleted blobs are kept for 7 days")
        hidden = await look(SourceStorage=with_sas(environment["SourceStorage"], "rlwct", "co"))
        assert found(hidden, "SourceStorage: soft delete").text.startswith("not visible")

    async def test_a_container_whose_name_leaves_no_room_is_wrong(
        self, look: Examine, source_account: BlobServiceClient
    ) -> None:
        name = f"long-{uuid4().hex}-{'x' * 23}"
        assert len(name) == 61
        await source_account.create_container(name)
        try:
            findings = await look(SNAPKEEP_INCLUDE_CONTAINERS="long-*")
        finally:
            await source_account.delete_container(name)
        assert "SNAPKEEP_EXCLUDE_CONTAINERS" in (found(findings, f"container {name}").remedy or "")


class TestDataFactory:
    async def test_the_shipped_pipeline_fits_and_may_be_run(self, look: Examine) -> None:
        findings = await look(SNAPKEEP_ENGINE="adf")
        assert found(findings, "pipeline backup_blobs").level is Level.OK
        for call in ("start runs", "look at runs", "query runs", "cancel runs"):
            assert found(findings, f"Data Factory: {call}").level is Level.OK

    async def test_a_missing_pipeline_is_wrong(self, look: Examine) -> None:
        finding = found(
            await look(SNAPKEEP_ENGINE="adf", SNAPKEEP_ADF_PIPELINE="nobody_made_this"), "pipeline nobody_made_this"
        )
        assert finding.level is Level.WRONG
        assert "SNAPKEEP_ADF_PIPELINE" in (finding.remedy or "")

    async def test_a_pipeline_with_other_parameters_is_wrong(self, look: Examine, stack: Ready, tmp_path: Path) -> None:
        shutil.copytree(DEFINITIONS, tmp_path, dirs_exist_ok=True)
        definition = tmp_path / "pipeline/backup_blobs.json"
        content = json.loads(definition.read_text())
        parameters = content["properties"]["parameters"]
        del parameters["request_id"]
        parameters["another"] = {"type": "String"}
        definition.write_text(json.dumps(content))
        factory = DataFactoryStandIn(tmp_path, {"SourceStorage": stack["source"], "BackupStorage": stack["backup"]})
        await factory.start(0)
        try:
            findings = await look(SNAPKEEP_ENGINE="adf", SNAPKEEP_ADF_ENDPOINT=factory.url)
        finally:
            await factory.stop()
        finding = found(findings, "pipeline backup_blobs")
        assert finding.level is Level.WRONG
        assert "request_id is missing" in finding.text
        assert "another is required" in finding.text

    async def test_a_factory_that_does_not_let_runs_be_started_is_wrong(self, look: Examine, stack: Ready) -> None:
        async with FaultProxy(stack["adf"]) as proxy:
            proxy.add(Rule(answer(403, "AuthorizationFailed"), method="POST", target="createRun"))
            findings = await look(SNAPKEEP_ENGINE="adf", SNAPKEEP_ADF_ENDPOINT=proxy.url)
        assert found(findings, "Data Factory: start runs").level is Level.WRONG
        assert found(findings, "Data Factory: query runs").level is Level.OK

    async def test_a_factory_that_is_not_there_is_wrong(self, look: Examine, unused_port: int) -> None:
        findings = await look(SNAPKEEP_ENGINE="adf", SNAPKEEP_ADF_ENDPOINT=f"http://{LOOPBACK}:{unused_port}")
        assert "nothing listens there" in found(findings, "pipeline backup_blobs").text

    async def test_a_missing_setting_of_it_is_wrong_and_the_rest_unchecked(self, look: Examine) -> None:
        findings = await look(SNAPKEEP_ENGINE="adf", SNAPKEEP_ADF_FACTORY=None)
        assert found(findings, "SNAPKEEP_ADF_FACTORY").level is Level.WRONG
        assert found(findings, "Data Factory").text == "not checked"


class TestMirrors:
    async def test_azcopy_its_folders_and_the_pair_are_looked_at(
        self, look: Examine, container: ContainerClient
    ) -> None:
        name = container.container_name
        findings = await look(SNAPKEEP_SYNC_CONTAINERS=f"{name}:{name}-mirror", AZCOPY_PATH=str(programs.azcopy()))
        assert "it is version 10." in found(findings, "azcopy").text
        assert "MiB free" in found(findings, "azcopy's folders").text
        assert found(findings, f"mirror {name} to {name}-mirror").level is Level.OK

    async def test_a_missing_azcopy_is_wrong(self, look: Examine) -> None:
        finding = found(await look(SNAPKEEP_SYNC_CONTAINERS="lake", AZCOPY_PATH="/nowhere/azcopy"), "azcopy")
        assert finding.level is Level.WRONG
        assert "AZCOPY_PATH" in (finding.remedy or "")

    async def test_a_pair_whose_source_is_missing_is_wrong(self, look: Examine) -> None:
        name = f"lake-{uuid4().hex[:8]}"
        findings = await look(SNAPKEEP_SYNC_CONTAINERS=name, AZCOPY_PATH=str(programs.azcopy()))
        assert found(findings, f"mirror {name} to {name}bak").level is Level.WRONG


class TestCommand:
    async def test_it_prints_a_line_a_finding_and_exits_with_0_while_nothing_is_wrong(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        run = snapkeep(tmp_path, environment)
        assert run.returncode == 0, run.stdout
        *lines, counts = run.stdout.splitlines()
        assert all(line.startswith(("ok       ", "warning  ")) for line in lines)
        assert counts.startswith("0 wrong, ")
        assert run.stderr == ""

    async def test_it_exits_with_1_when_something_is_wrong_and_tells_no_secret(
        self, environment: dict[str, str], tmp_path: Path
    ) -> None:
        sas = with_sas(environment["BackupStorage"], "r")
        changed = environment | {
            "SourceStorage": environment["SourceStorage"].replace(
                part(environment["SourceStorage"], "AccountKey"), WRONG_KEY
            ),
            "BackupStorage": sas,
            "BackupQueue__queueServiceUri": "https://queue.example/?sig=hidden-signature",
            "SNAPKEEP_CONCURRENCY": "none",
        }
        signature = sas.partition("sig=")[2].partition("&")[0]
        secrets = {WRONG_KEY, signature, unquote(signature), "hidden-signature"}
        secrets |= {part(environment[name], "AccountKey") for name in CONNECTIONS}
        for arguments in ([], ["--json"]):
            run = snapkeep(tmp_path, changed, *arguments)
            assert run.returncode == 1
            assert {secret for secret in secrets if secret in run.stdout + run.stderr} == set()
            assert "SNAPKEEP_CONCURRENCY" in run.stdout
        report = json.loads(run.stdout)
        assert (report["schema"], report["verdict"]) == (1, "wrong")
        assert all(each["remedy"] for each in report["findings"] if each["level"] != "ok")

    def test_wrong_usage_exits_with_2(self, tmp_path: Path) -> None:
        assert snapkeep(tmp_path, {}, "--nonsense").returncode == 2


@pytest.fixture
async def unused_port() -> int:
    async with speaking(b"") as port:
        return port


@asynccontextmanager
async def speaking(greeting: bytes) -> AsyncIterator[int]:
    """The port of a server that says this to everybody and ends."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, LOOPBACK, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def request_for(services: Services) -> BackupRequest:
    (container,) = services.settings.include_containers
    moment = "2026-11-20T14:05:33Z"
    return request(container, [Version("a.csv", "0x8DE1", moment, 1)], moment)


def snapkeep(folder: Path, values: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    path = folder / "settings.json"
    path.write_text(json.dumps({"Values": values}))
    command = [sys.executable, "-c", "from shared.cli import main; main()", "doctor", "--settings", str(path)]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)

"""What the doctor makes of what it saw: which level, and that whoever reads it is told what to do."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import gaierror
from ssl import SSLCertVerificationError
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseTimeoutError

from shared.adapters.probing import of_error
from shared.connections import Connection
from shared.decisions import access, doctor, pipeline
from shared.decisions.access import Need, Trial, permissions, reached, untried
from shared.decisions.doctor import BackupContainer
from shared.decisions.findings import Answer, Finding, Level, Trouble, ok, verdict, warning, wrong
from shared.decisions.pipeline import PipelineParameter
from shared.model import QueueOverview
from shared.settings import Settings, SyncPair, unknown_settings

NOW = datetime(2026, 11, 20, 14, 5, 33, tzinfo=UTC)
DEFINITION = Path(__file__).parents[2] / "infra/datafactory/pipeline/backup_blobs.json"

KEY = Connection("SourceStorage", "AccountName=source;AccountKey=c2VjcmV0")
IDENTITY = Connection("SourceStorage", blob_uri="https://source.blob.core.windows.net")
OK = Answer[Any](200)


def sas(query: str = "sp=rl&srt=sco&sig=c2VjcmV0") -> Connection:
    return Connection("SourceStorage", f"BlobEndpoint=https://s.example;SharedAccessSignature={query}")


def settings(**changes: str) -> Settings:
    connections = {
        "SourceStorage": "AccountName=source;AccountKey=c2VjcmV0",
        "BackupStorage": "AccountName=backup;AccountKey=c2VjcmV0",
        "BackupQueue": "AccountName=backup;AccountKey=c2VjcmV0",
        "AzureWebJobsStorage": "AccountName=backup;AccountKey=c2VjcmV0",
        "SNAPKEEP_ENGINE": "server",
    }
    return Settings.load(connections | changes)


def judged(connection: Connection, need: Need, answer: Answer[Any], where: str | None = "raw") -> Finding:
    # Beside a call that is allowed, so that a refusal is not one of the whole account.
    _, finding = permissions(connection, [Trial(access.LIST_CONTAINERS, OK, None), Trial(need, answer, where)])
    return finding


class TestVerdict:
    def test_it_is_the_worst_finding(self) -> None:
        fine, poor, bad = ok("a", ""), warning("b", "", "do"), wrong("c", "", "do")
        assert verdict([fine]) is Level.OK
        assert verdict([fine, poor]) is Level.WARNING
        assert verdict([fine, bad, poor]) is Level.WRONG

    def test_what_a_service_says_cannot_move_the_cursor(self) -> None:
        assert wrong("a", "x\x1b[2J\ny", "do\r").text == "x\\x1b[2J\\x0ay"


class TestPermissions:
    @pytest.mark.parametrize("status", [200, 404, 409, 412])
    def test_an_answer_about_the_thing_itself_proves_that_the_call_is_allowed(self, status: int) -> None:
        assert judged(KEY, access.SNAPSHOT, Answer(status)).level is Level.OK

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_refusal_is_wrong_and_says_what_does_not_work_without_it(self, status: int) -> None:
        found = judged(IDENTITY, access.SNAPSHOT, Answer(status, "AuthorizationPermissionMismatch"))
        assert found.level is Level.WRONG
        assert "needed by protect and reconcile" in found.text
        assert "blobs/add/action" in (found.remedy or "")

    def test_what_only_some_blobs_need_is_a_warning(self) -> None:
        found = judged(sas(), access.READ_TAGS, Answer(403, "AuthorizationPermissionMismatch"))
        assert found.level is Level.WARNING
        assert found.remedy is not None

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_a_failing_service_says_nothing_of_permissions(self, status: int) -> None:
        found = judged(KEY, access.SNAPSHOT, Answer(status, "ServerBusy"))
        assert found.level is Level.WARNING
        assert "the service failed" in found.text

    def test_an_answer_that_proves_nothing_is_called_so(self) -> None:
        found = judged(KEY, access.SNAPSHOT, Answer(400, "InvalidHeaderValue"))
        assert found.level is Level.WARNING
        assert "cannot tell" in found.text

    def test_no_answer_is_no_permission(self) -> None:
        assert judged(KEY, access.SNAPSHOT, Answer(None, trouble=Trouble.TIMEOUT)).level is Level.WRONG

    def test_a_sas_is_told_which_letters_it_lacks(self) -> None:
        found = judged(sas(), access.SNAPSHOT, Answer(403, "AuthorizationPermissionMismatch"))
        assert "c or w among its permissions (sp) and o among its resource types (srt)" in (found.remedy or "")

    def test_a_role_on_one_container_is_not_looked_for_on_another(self) -> None:
        refused = Answer[Any](403, "AuthorizationPermissionMismatch")
        assert "does not show here" in (judged(IDENTITY, access.SNAPSHOT, refused, where=None).remedy or "")
        assert "does not show here" not in (judged(IDENTITY, access.SNAPSHOT, refused).remedy or "")

    @pytest.mark.parametrize(
        ("connection", "code", "remedy"),
        [
            (KEY, "AuthenticationFailed", "put the present key there"),
            (sas(), "AuthenticationFailed", "put a new SAS there"),
            (sas(), "AuthorizationSourceIPMismatch", "other addresses"),
            (sas(), "AuthorizationProtocolMismatch", "https alone"),
            (sas(), "AuthorizationServiceMismatch", "ss=b"),
            (KEY, "KeyBasedAuthenticationNotPermitted", "give SourceStorage an identity"),
            (KEY, "AccountIsDisabled", "the account is disabled"),
            (IDENTITY, "AuthorizationFailure", "firewall, if it has one; or give the identity of SourceStorage"),
            (IDENTITY, "AuthenticationFailed", "of the account's tenant"),
        ],
    )
    def test_a_refusal_of_every_call_is_one_finding_with_its_own_remedy(
        self, connection: Connection, code: str, remedy: str
    ) -> None:
        trials = [Trial(need, Answer(403, code), "raw") for need in (access.LIST_BLOBS, access.SNAPSHOT)]
        (found,) = permissions(connection, trials)
        assert (found.level, found.subject) == (Level.WRONG, "SourceStorage: access")
        assert remedy in (found.remedy or "")

    def test_a_sas_that_lacks_every_permission_is_told_each_of_them(self) -> None:
        refused = Answer[Any](403, "AuthorizationPermissionMismatch")
        trials = [Trial(need, refused, "raw") for need in (access.LIST_BLOBS, access.SNAPSHOT)]
        assert len(permissions(sas(), trials)) == 2

    @pytest.mark.parametrize(
        ("connection", "level"),
        [
            (KEY, Level.OK),
            (sas("sp=c&srt=c&sig=x"), Level.OK),
            (sas("sp=rl&srt=sco&sig=x"), Level.WRONG),
            (sas("sp=c&srt=o&sig=x"), Level.WRONG),
            (sas("si=policy&sig=x"), Level.WARNING),
            (IDENTITY, Level.WARNING),
        ],
    )
    def test_what_could_be_tried_by_doing_it_alone_is_read_off_the_connection(
        self, connection: Connection, level: Level
    ) -> None:
        assert untried(connection, access.CREATE_CONTAINERS).level is level


class TestReached:
    @pytest.mark.parametrize("trouble", list(Trouble))
    def test_each_trouble_is_told_apart_and_has_a_remedy(self, trouble: Trouble) -> None:
        found = reached(KEY, "https://source.blob.core.windows.net", Answer(None, trouble=trouble))
        assert found.level is Level.WRONG
        assert str(trouble) in found.text
        assert found.remedy

    @pytest.mark.parametrize(
        ("cause", "trouble"),
        [
            (gaierror(-2, "Name or service not known"), Trouble.NAME),
            (ConnectionRefusedError(111, "Connection refused"), Trouble.REFUSED),
            (OSError(113, "No route to host"), Trouble.UNREACHABLE),
        ],
    )
    def test_the_client_s_error_says_which_it_is(self, cause: OSError, trouble: Trouble) -> None:
        key = ConnectionKey("s.example", 443, True, True, None, None, None)
        error = aiohttp.ClientConnectorError(key, cause)
        assert of_error(ServiceRequestError("", error=error), [], NOW).trouble is trouble

    def test_a_certificate_that_is_not_trusted_and_a_silent_host_are_told_too(self) -> None:
        key = ConnectionKey("s.example", 443, True, True, None, None, None)
        certificate = aiohttp.ClientConnectorCertificateError(key, SSLCertVerificationError("self-signed"))
        assert of_error(ServiceRequestError("", error=certificate), [], NOW).trouble is Trouble.TLS
        assert of_error(ServiceResponseTimeoutError("", error=TimeoutError()), [], NOW).trouble is Trouble.TIMEOUT
        assert of_error(ClientAuthenticationError("no token"), [], NOW).trouble is Trouble.CREDENTIAL

    @pytest.mark.parametrize(
        "answer", [Answer[None](None, trouble=each) for each in Trouble] + [Answer[None](401, "x")]
    )
    def test_an_identity_without_a_token_is_told_apart_from_a_storage_that_is_not_there(
        self, answer: Answer[None]
    ) -> None:
        found = access.identified(IDENTITY, answer)
        assert (found.level, found.subject) == (Level.WRONG, "SourceStorage: identity")
        assert "SourceStorage__clientId" in (found.remedy or "")
        assert access.identified(IDENTITY, Answer(200)).level is Level.OK

    def test_neither_a_password_nor_a_sas_in_an_address_is_shown(self) -> None:
        found = reached(KEY, "https://user:hidden@s.example/a?sig=hidden", OK)
        assert "s.example" in found.text
        assert "hidden" not in found.text

    def test_an_address_without_a_host_is_no_address(self) -> None:
        assert reached(KEY, "somewhere", OK).level is Level.WRONG


class TestClock:
    @pytest.mark.parametrize(
        ("seconds", "level"),
        [
            (0, Level.OK),
            (60, Level.OK),
            (61, Level.WARNING),
            (-61, Level.WARNING),
            (300, Level.WARNING),
            (301, Level.WRONG),
            (-301, Level.WRONG),
        ],
    )
    def test_it_may_be_a_minute_off_and_not_five(self, seconds: int, level: Level) -> None:
        assert doctor.clock(timedelta(seconds=seconds)).level is level

    def test_the_finding_says_which_way(self) -> None:
        assert "400 s ahead of" in doctor.clock(timedelta(seconds=400)).text
        assert "400 s behind" in doctor.clock(timedelta(seconds=-400)).text

    def test_without_a_date_nothing_is_said_of_it(self) -> None:
        assert doctor.clock(None).level is Level.WARNING


class TestSignature:
    @pytest.mark.parametrize(
        ("expiry", "level"),
        [
            ("2026-11-20T14:05:33Z", Level.WRONG),
            ("2026-11-20T14:05:34Z", Level.WARNING),
            ("2026-12-04T14:05:32Z", Level.WARNING),
            ("2026-12-04T14:05:33Z", Level.OK),
        ],
    )
    def test_it_is_to_be_renewed_two_weeks_ahead(self, expiry: str, level: Level) -> None:
        (found,) = doctor.signature(sas(f"se={expiry.replace(':', '%3A')}&sig=c2VjcmV0"), NOW)
        assert found.level is level
        assert "c2VjcmV0" not in found.text

    def test_a_key_has_none_and_a_stored_policy_keeps_its_own(self) -> None:
        assert doctor.signature(KEY, NOW) == []
        assert doctor.signature(sas("si=policy&sig=x"), NOW)[0].level is Level.OK


class TestQueues:
    def test_one_that_is_missing_is_created_at_first_use(self) -> None:
        (found,) = doctor.queues(settings(), Answer(404, "QueueNotFound"), QueueOverview(0, None, 0, None))
        assert found.level is Level.WARNING
        assert "created when the first backup is requested" in found.text

    def test_poison_messages_are_a_warning_that_names_the_command(self) -> None:
        waiting, poison = doctor.queues(settings(), OK, QueueOverview(3, NOW, 2, NOW))
        assert (waiting.level, poison.level) == (Level.OK, Level.WARNING)
        assert poison.text.endswith(": 2")
        assert "snapkeep requests list" in (poison.remedy or "")

    def test_nothing_is_said_of_a_queue_that_could_not_be_read(self) -> None:
        assert doctor.queues(settings(), Answer(403, "AuthorizationFailure"), None) == []


class TestContainers:
    def test_a_glob_that_finds_nothing_is_a_warning(self) -> None:
        found = doctor.protected_names(settings(SNAPKEEP_INCLUDE_CONTAINERS="raw,rwa-*"), ["raw", "$logs"])
        assert [(each.level, each.text) for each in found if each.level is not Level.OK] == [
            (Level.WARNING, "rwa-* matches no container of the source account")
        ]

    @pytest.mark.parametrize(("length", "wrong_lines"), [(60, 0), (61, 1), (63, 1)])
    def test_a_name_without_room_for_its_backup_container_is_wrong(self, length: int, wrong_lines: int) -> None:
        found = doctor.protected_names(settings(), ["x" * length])
        assert sum(each.level is Level.WRONG for each in found) == wrong_lines

    def test_an_excluded_name_may_be_as_long_as_it_likes(self) -> None:
        found = doctor.protected_names(settings(SNAPKEEP_EXCLUDE_CONTAINERS="x*"), ["x" * 63])
        assert verdict(found) is Level.OK

    def test_a_container_that_existed_and_is_gone_is_wrong(self) -> None:
        gone = BackupContainer("rawbak", "raw", marked=True, found=Answer(404, "ContainerNotFound"))
        never = BackupContainer("newbak", "new", marked=False, found=Answer(404, "ContainerNotFound"))
        (found,) = doctor.backup_containers([gone, never], Answer(200, value=7))
        assert (found.level, found.subject) == (Level.WRONG, "container rawbak")

    @pytest.mark.parametrize(
        ("guards", "days", "level"),
        [
            ((True, False), 0, Level.OK),
            ((False, True), 0, Level.OK),
            ((False, False), 7, Level.OK),
            ((False, False), 0, Level.WARNING),
            ((False, False), None, Level.OK),  # not visible: nothing is known to be wrong
        ],
    )
    def test_something_must_keep_backups_from_being_deleted_for_good(
        self, guards: tuple[bool, bool], days: int | None, level: Level
    ) -> None:
        container = BackupContainer("rawbak", "raw", marked=True, found=Answer(200, value=guards))
        (found,) = doctor.backup_containers([container], Answer(200 if days is not None else 403, value=days))
        assert found.level is level


class TestPairs:
    def pair(self, mirror: Answer[Any], sources: list[str] | None = None, marks: tuple[str, ...] = ()) -> Finding:
        chosen = settings(SNAPKEEP_SYNC_CONTAINERS="lake:mirror")
        assert chosen.sync_containers == (SyncPair("lake", "mirror"),)
        (found,) = doctor.pairs(chosen, sources, {"mirror": mirror}, marks)
        return found

    def test_a_missing_source_is_wrong_and_a_mirror_yet_to_come_is_not(self) -> None:
        absent = Answer[Any](404, "ContainerNotFound")
        assert self.pair(OK, ["raw"]).level is Level.WRONG
        assert self.pair(OK, ["lake"]).level is Level.OK
        assert self.pair(absent, ["lake"]).level is Level.OK

    def test_a_mirror_that_existed_and_is_gone_is_wrong(self) -> None:
        assert self.pair(Answer(404, "ContainerNotFound"), ["lake"], ("mirror",)).level is Level.WRONG

    def test_what_could_not_be_looked_at_is_not_called_good(self) -> None:
        assert self.pair(OK, None).level is Level.WARNING
        assert self.pair(Answer(403, "AuthorizationFailure"), ["lake"]).level is Level.WARNING

    def test_a_pair_that_sync_refuses_is_wrong(self) -> None:
        chosen = settings(SNAPKEEP_SYNC_CONTAINERS="snapkeep-staging:mirror")
        (found,) = doctor.pairs(chosen, ["snapkeep-staging"], {"mirror": OK}, ())
        assert found.level is Level.WRONG


FITTING = {name: PipelineParameter(kind, required=True) for name, kind in pipeline.PIPELINE_PARAMETERS.items()}


class TestPipeline:
    def test_the_shipped_definition_takes_what_backup_gives(self) -> None:
        declared = json.loads(DEFINITION.read_text())["properties"]["parameters"]
        assert {name: each["type"] for name, each in declared.items()} == pipeline.PIPELINE_PARAMETERS

    def test_one_that_fits_is_good_and_may_have_more_with_defaults(self) -> None:
        more = FITTING | {"note": PipelineParameter("String", required=False)}
        assert pipeline.pipeline("p", Answer(200, value=more)).level is Level.OK

    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"blobs": None}, "blobs is missing"),
            ({"blobs": PipelineParameter("String", required=True)}, "blobs is of type String, not Array"),
            ({"note": PipelineParameter("String", required=True)}, "note is required, and backup gives no such"),
        ],
    )
    def test_parameters_that_do_not_fit_are_named(
        self, changes: dict[str, PipelineParameter | None], text: str
    ) -> None:
        parameters = {name: each for name, each in (FITTING | changes).items() if each is not None}
        found = pipeline.pipeline("p", Answer(200, value=parameters))
        assert found.level is Level.WRONG
        assert text in found.text
        assert "backup_blobs.json" in (found.remedy or "")

    @pytest.mark.parametrize(
        ("answer", "remedy"),
        [
            (Answer[Any](404, "EntityNotFound"), "deploy infra/datafactory"),
            (Answer[Any](403, "AuthorizationFailed"), "Data Factory Contributor"),
            (Answer[Any](None, trouble=Trouble.REFUSED), "SNAPKEEP_ADF_ENDPOINT"),
        ],
    )
    def test_one_that_cannot_be_had_is_wrong(self, answer: Answer[Any], remedy: str) -> None:
        found = pipeline.pipeline("p", answer)
        assert found.level is Level.WRONG
        assert remedy in (found.remedy or "")

    def test_a_factory_that_fails_is_not_called_missing(self) -> None:
        assert pipeline.pipeline("p", Answer(503, "Busy")).level is Level.WARNING

    def test_a_call_that_the_factory_refuses_is_wrong(self) -> None:
        assert pipeline.permission("start runs", Answer(403, "AuthorizationFailed")).level is Level.WRONG
        assert pipeline.permission("start runs", Answer(404, "EntityNotFound")).level is Level.OK
        assert pipeline.permission("start runs", Answer(503, "Busy")).level is Level.WARNING


class TestSettings:
    def test_each_wrong_setting_is_a_line_of_its_own(self) -> None:
        usable, problems = Settings.examine(
            {
                "BackupStorage": "AccountName=backup;AccountKey=c2VjcmV0",
                "AzureWebJobsStorage": "Account=secret-text",
                "SNAPKEEP_CONCURRENCY": "many",
                "SNAPKEEP_BACKUP_QUEUE": "requests",
            }
        )
        found = doctor.settings_findings(problems, [])
        assert {each.subject for each in found} == {
            *("SourceStorage", "BackupQueue", "AzureWebJobsStorage", "SNAPKEEP_CONCURRENCY"),
            *("SNAPKEEP_ADF_SUBSCRIPTION_ID", "SNAPKEEP_ADF_RESOURCE_GROUP", "SNAPKEEP_ADF_FACTORY"),
        }
        assert all(each.level is Level.WRONG and each.remedy for each in found)
        assert "secret-text" not in repr(found)
        # What is right can be looked at all the same.
        assert usable.backup.usable
        assert not usable.source.usable
        assert not usable.state.usable
        assert (usable.backup_queue, usable.concurrency, usable.engine) == ("requests", 128, "server")
        assert usable.data_factory is None

    def test_right_settings_are_loaded_as_they_are_examined(self) -> None:
        right = settings()
        again, problems = Settings.examine(
            {
                "SourceStorage": "AccountName=source;AccountKey=c2VjcmV0",
                **dict.fromkeys(
                    ("BackupStorage", "BackupQueue", "AzureWebJobsStorage"), "AccountName=backup;AccountKey=c2VjcmV0"
                ),
                "SNAPKEEP_ENGINE": "server",
            }
        )
        assert (again, problems) == (right, [])
        assert verdict(doctor.settings_findings(problems, [])) is Level.OK

    def test_a_misspelt_setting_is_a_warning(self) -> None:
        unknown = unknown_settings({"SNAPKEEP_INCLUDE_CONTAINER": "raw", "SNAPKEEP_ENGINE": "server", "PATH": "/bin"})
        assert unknown == ["SNAPKEEP_INCLUDE_CONTAINER"]
        (found,) = doctor.settings_findings([], unknown)
        assert (found.level, found.subject) == (Level.WARNING, "SNAPKEEP_INCLUDE_CONTAINER")

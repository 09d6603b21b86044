"""The settings: what they mean, what they refuse, and that they never tell a secret."""

from __future__ import annotations

import traceback
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.connections import Connection
from shared.containers import backup_container, is_container_name, is_system_container
from shared.errors import SettingsError
from shared.settings import InventoryPlace, RecoverySettings, Settings, SyncPair

KEY = "c2VjcmV0LWtleS1vZi10aGUtYWNjb3VudA=="
SIGNATURE = "sv=2024-11-04&ss=b&sig=c2VjcmV0LXNpZ25hdHVyZQ%3D%3D&se=2027-01-01"
CLIENT_SECRET = "s3cr3t~of~the~principal"
SECRETS = (KEY, "c2VjcmV0LXNpZ25hdHVyZQ", CLIENT_SECRET)

SOURCE = f"DefaultEndpointsProtocol=https;AccountName=source;AccountKey={KEY};EndpointSuffix=core.windows.net"
BACKUP = SOURCE.replace("=source", "=backup")
CONNECTIONS = {
    "SourceStorage": SOURCE,
    "BackupStorage": BACKUP,
    "BackupQueue": BACKUP,
    "AzureWebJobsStorage": BACKUP,
}
DATA_FACTORY = {
    "SNAPKEEP_ADF_SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000000",
    "SNAPKEEP_ADF_RESOURCE_GROUP": "group",
    "SNAPKEEP_ADF_FACTORY": "factory",
}
GOOD = CONNECTIONS | DATA_FACTORY
AZURITE = (
    f"DefaultEndpointsProtocol=http;AccountName=source;AccountKey={KEY};"
    "BlobEndpoint=http://127.0.0.1:10000/source;QueueEndpoint=http://127.0.0.1:10001/source;"
)


def loaded(**changes: str) -> Settings:
    return Settings.load(GOOD | changes)


def problems(environ: Mapping[str, str]) -> list[str]:
    """The lines of the one message that names what is wrong."""
    with pytest.raises(SettingsError) as refused:
        Settings.load(environ)
    first, *lines = str(refused.value).splitlines()
    assert first == "wrong settings:"
    return [line.strip() for line in lines]


def only_problem(**changes: str) -> str:
    (line,) = problems(GOOD | changes)
    return line


class TestDefaults:
    def test_what_is_not_set_is_as_the_contract_says(self) -> None:
        settings = loaded()
        assert settings.backup_queue == "backup-requests"
        assert (settings.include_containers, settings.exclude_containers) == (("*",), ())
        assert (settings.engine, settings.adf_min_bytes, settings.history) == ("auto", 268435456, "all")
        assert (settings.use_lease, settings.sync_delete, settings.azcopy_path) == (False, False, None)
        assert (settings.adf_pipeline, settings.adf_endpoint) == ("backup_blobs", "https://management.azure.com")
        assert (settings.sync_containers, settings.sync_timeout_minutes) == ((), 50)
        assert (settings.sync_schedule, settings.reconcile_schedule) == ("0 0 * * * *", "0 30 2 * * *")
        assert settings.protect_budget_seconds == 200
        assert settings.drill_blobs == 20

    def test_an_empty_setting_is_one_that_is_not_set(self) -> None:
        names = [field.alias for field in Settings.model_fields.values() if field.alias]
        assert Settings.load(GOOD | {name: " " for name in names if name not in DATA_FACTORY}) == loaded()

    def test_the_engine_server_needs_no_data_factory(self) -> None:
        settings = Settings.load(CONNECTIONS | {"SNAPKEEP_ENGINE": "server"})
        assert settings.data_factory is None

    @pytest.mark.parametrize("engine", ["auto", "adf"])
    def test_the_other_engines_name_the_pipeline_to_run(self, engine: str) -> None:
        factory = loaded(SNAPKEEP_ENGINE=engine, SNAPKEEP_ADF_PIPELINE="mine").data_factory
        assert factory is not None
        assert (factory.factory, factory.resource_group, factory.pipeline) == ("factory", "group", "mine")

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({}, (1, False)),
            ({"SNAPKEEP_VERIFY_SAMPLE_PERCENT": "2.5"}, (2.5, True)),
            ({"SNAPKEEP_VERIFY_SAMPLE_PERCENT": "1"}, (1, True)),
            ({"SNAPKEEP_VERIFY_SAMPLE_PERCENT": "0"}, (0, True)),
        ],
    )
    def test_bytes_are_read_back_only_where_a_share_of_them_is_asked_for(
        self, given: dict[str, str], expected: tuple[float, bool]
    ) -> None:
        sample = loaded(**given).verify_sample
        assert (sample.percent, sample.by_bytes) == expected

    def test_settings_are_not_changed_once_they_are_read(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            loaded().engine = "server"  # type: ignore[misc]  # mypy knows it too


class TestRefusal:
    def test_all_that_is_missing_is_named_in_one_message(self) -> None:
        assert [line.partition(":")[0] for line in problems({})] == [*CONNECTIONS, *DATA_FACTORY]

    def test_all_that_is_malformed_is_named_in_the_same_message(self) -> None:
        wrong = {
            "SourceStorage": "nonsense",
            "BackupStorage__credential": "key",
            "BackupQueue__clientSecret": CLIENT_SECRET,
            "AzureWebJobsStorage__blobServiceUri": "ftp://account",
            "SNAPKEEP_BACKUP_QUEUE": "No_Queue",
            "SNAPKEEP_INCLUDE_CONTAINERS": "raw,Lake",
            "SNAPKEEP_EXCLUDE_CONTAINERS": "a/b",
            "SNAPKEEP_ENGINE": "rsync",
            "SNAPKEEP_ADF_MIN_BYTES": "256 MiB",
            "SNAPKEEP_HISTORY": "some",
            "SNAPKEEP_USE_LEASE": "perhaps",
            "SNAPKEEP_ADF_ENDPOINT": "http://example.org",
            "SNAPKEEP_ADF_DEADLINE_MINUTES": "0",
            "SNAPKEEP_ADF_POLL_SECONDS": "-1",
            "SNAPKEEP_SYNC_CONTAINERS": "raw:x",
            "SNAPKEEP_SYNC_SCHEDULE": "0 * * * *",
            "SNAPKEEP_SYNC_TIMEOUT_MINUTES": "inf",
            "SNAPKEEP_SYNC_DELETE": "2",
            "SNAPKEEP_RECONCILE_SCHEDULE": "daily",
            "SNAPKEEP_RECONCILE_BUDGET_SECONDS": "nan",
            "SNAPKEEP_VERIFY_SAMPLE_PERCENT": "nan",
            "SNAPKEEP_DRILL_BLOBS": "some",
            "SNAPKEEP_PROTECT_BUDGET_SECONDS": "200 s",
            "SNAPKEEP_CONCURRENCY": "0",
            "SNAPKEEP_RETRY_DELAY_SECONDS": "soon",
        }
        named = {line.partition(":")[0] for line in problems(wrong)}
        missing = {"BackupStorage", "BackupQueue"}
        assert named == wrong.keys() | missing

    def test_data_factorys_settings_are_missed_together_with_whatever_else_is_wrong(self) -> None:
        lines = problems(CONNECTIONS | {"SNAPKEEP_CONCURRENCY": "many", "SNAPKEEP_ADF_FACTORY": "f"})
        assert [line.partition(":")[0] for line in lines] == [
            "SNAPKEEP_CONCURRENCY",
            "SNAPKEEP_ADF_SUBSCRIPTION_ID",
            "SNAPKEEP_ADF_RESOURCE_GROUP",
        ]
        assert "SNAPKEEP_ENGINE is auto" in lines[1]

    @pytest.mark.parametrize(
        ("name", "value", "expects"),
        [
            ("SNAPKEEP_ENGINE", "rsync", "'auto', 'server' or 'adf'"),
            ("SNAPKEEP_HISTORY", "none", "'all' or 'current'"),
            ("SNAPKEEP_ADF_MIN_BYTES", "-1", "greater than or equal to 0"),
            ("SNAPKEEP_CONCURRENCY", "513", "less than or equal to 512"),
            ("SNAPKEEP_VERIFY_SAMPLE_PERCENT", "101", "less than or equal to 100"),
            ("SNAPKEEP_VERIFY_SAMPLE_PERCENT", "-1", "greater than or equal to 0"),
            ("SNAPKEEP_DRILL_BLOBS", "-1", "greater than or equal to 0"),
            ("SNAPKEEP_DRILL_BLOBS", "10001", "less than or equal to 10000"),
            ("SNAPKEEP_BACKUP_QUEUE", "ab", "3 to 56 of a-z"),
            ("SNAPKEEP_BACKUP_QUEUE", "x" * 57, "3 to 56 of a-z"),
            ("SNAPKEEP_SYNC_SCHEDULE", "0 * * * *", "six NCRONTAB fields"),
            ("SNAPKEEP_ADF_ENDPOINT", "management.azure.com", "https"),
            ("SNAPKEEP_ADF_ENDPOINT", "https://", "https"),
            ("SNAPKEEP_INCLUDE_CONTAINERS", "raw;lake", "raw,lake-*"),
            ("SNAPKEEP_INCLUDE_CONTAINERS", " , ,", "at least one container"),
            ("SNAPKEEP_SYNC_CONTAINERS", "lake:Mirror", "source[:backup]"),
            ("SNAPKEEP_SYNC_CONTAINERS", "lake,:mirror", "source[:backup]"),
            ("SNAPKEEP_SYNC_CONTAINERS", "a-b:c-d:e-f", "source[:backup]"),
            ("SNAPKEEP_SYNC_CONTAINERS", "x" * 61, "source[:backup]"),
            ("SNAPKEEP_SYNC_CONTAINERS", "raw:mirror,lake:mirror", "two sources go to the one container 'mirror'"),
            ("SNAPKEEP_SYNC_CONTAINERS", "raw,lake:rawbak", "two sources go to the one container 'rawbak'"),
        ],
    )
    def test_a_malformed_setting_is_named_with_what_it_expects(self, name: str, value: str, expects: str) -> None:
        line = only_problem(**{name: value})
        assert line.startswith(f"{name}: ")
        assert expects in line

    @pytest.mark.parametrize(
        "text",
        [
            "nonsense",
            "AccountName=source",
            f"AccountKey={KEY}",
            f"AccountName=;AccountKey={KEY}",
            "AccountName=source;AccountKey=",
            "AccountName=source;SharedAccessSignature=",
            f"SharedAccessSignature={SIGNATURE}",
            f"QueueEndpoint=https://source.queue.core.windows.net;SharedAccessSignature={SIGNATURE}",
            SOURCE.replace(";", ","),
        ],
    )
    def test_a_malformed_connection_string_is_named_and_not_shown(self, text: str) -> None:
        line = only_problem(SourceStorage=text)
        assert line.startswith("SourceStorage: malformed (its text is not shown here)")
        assert not any(secret in line for secret in SECRETS)

    def test_a_connection_string_must_lead_to_the_service_that_it_is_for(self) -> None:
        text = f"BlobEndpoint=https://source.blob.core.windows.net;SharedAccessSignature={SIGNATURE}"
        assert loaded(SourceStorage=text).source.blob_endpoint == "https://source.blob.core.windows.net"
        assert "QueueEndpoint=https://..." in only_problem(BackupQueue=text)

    @pytest.mark.parametrize("backup", [SOURCE, SOURCE.replace("AccountName=source", "AccountName=SOURCE")])
    def test_the_backups_stand_in_another_account_than_their_source(self, backup: str) -> None:
        assert only_problem(BackupStorage=backup).startswith("BackupStorage: names the same account as SourceStorage")
        lines = problems(GOOD | {"BackupStorage": backup, "SNAPKEEP_CONCURRENCY": "many"})
        assert [line.partition(":")[0] for line in lines] == ["SNAPKEEP_CONCURRENCY", "BackupStorage"]

    @pytest.mark.parametrize(
        "uri",
        [
            "account.blob.core.windows.net",
            "http://account.blob.core.windows.net",
            "https://",
            f"https://account.blob.core.windows.net?{SIGNATURE}",
            f"https://user:{CLIENT_SECRET}@account.blob.core.windows.net",
            "https://account.blob.core.windows.net#x",
        ],
    )
    def test_an_address_is_a_plain_one_over_tls(self, uri: str) -> None:
        environ = {name: text for name, text in GOOD.items() if name != "SourceStorage"}
        (line,) = problems(environ | {"SourceStorage__blobServiceUri": uri})
        assert line.startswith("SourceStorage__blobServiceUri: expects")
        assert not any(secret in line for secret in SECRETS)


GARBAGE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


class TestSecrets:
    WITH_SECRETS = GOOD | {
        "BackupStorage": f"BlobEndpoint=https://backup.blob.core.windows.net;SharedAccessSignature=?{SIGNATURE}",
        "SourceStorage__clientId": "id",
        "SourceStorage__tenantId": "tenant",
        "SourceStorage__clientSecret": CLIENT_SECRET,
    }

    def test_no_text_form_of_the_settings_tells_one(self) -> None:
        settings = Settings.load(self.WITH_SECRETS)
        assert settings.source.account_key == KEY
        assert settings.source.client_secret == CLIENT_SECRET
        assert settings.backup.sas == SIGNATURE
        for shown in (settings, settings.source, settings.backup, [settings.queue], {"x": settings.state}):
            for text in (repr(shown), str(shown), f"{shown}", f"{shown!r}"):
                assert not any(secret in text for secret in SECRETS)

    @given(st.sampled_from(sorted(WITH_SECRETS.keys() | {"SNAPKEEP_CONCURRENCY", "SNAPKEEP_SYNC_CONTAINERS"})), GARBAGE)
    def test_no_refusal_tells_one_whatever_else_is_wrong(self, name: str, value: str) -> None:
        try:
            Settings.load(self.WITH_SECRETS | {name: value, "SNAPKEEP_ENGINE": "rsync"})
        except SettingsError as refused:
            text = "".join(traceback.format_exception(refused))
            assert not any(secret in text for secret in SECRETS)
        else:
            pytest.fail("an unknown engine was taken")

    def test_a_connection_string_that_is_cut_short_is_refused_without_being_shown(self) -> None:
        text = f"AccountKey={KEY};AccountName="
        for length in range(1, len(text)):
            assert KEY[:8] not in only_problem(SourceStorage=text[:length])
        assert loaded(SourceStorage=f"{text}x").source.account_key == KEY


class TestConnections:
    def test_an_account_key_leads_to_the_public_cloud_unless_told_otherwise(self) -> None:
        connection = loaded(SourceStorage=f"AccountName=source;AccountKey={KEY}").source
        assert connection.blob_endpoint == "https://source.blob.core.windows.net"
        assert connection.queue_endpoint == "https://source.queue.core.windows.net"
        assert (connection.account_name, connection.account_key, connection.sas) == ("source", KEY, None)

    @pytest.mark.parametrize("suffix", ["core.usgovcloudapi.net", "core.chinacloudapi.cn"])
    def test_a_sovereign_cloud_is_reached_by_its_suffix(self, suffix: str) -> None:
        connection = loaded(SourceStorage=SOURCE.replace("core.windows.net", suffix)).source
        assert connection.blob_endpoint == f"https://source.blob.{suffix}"
        assert connection.queue_endpoint == f"https://source.queue.{suffix}"

    def test_explicit_endpoints_lead(self) -> None:
        connection = loaded(SourceStorage=AZURITE).source
        assert connection.blob_endpoint == "http://127.0.0.1:10000/source"
        assert connection.queue_endpoint == "http://127.0.0.1:10001/source"
        assert connection.account_name == "source"

    def test_parts_are_found_whatever_their_case_and_the_spaces_around_them(self) -> None:
        connection = loaded(SourceStorage=f" accountname=source ; ACCOUNTKEY={KEY} ;").source
        assert (connection.account_name, connection.account_key) == ("source", KEY)

    @pytest.mark.parametrize("lead", ["", "?"])
    @pytest.mark.parametrize(
        ("endpoint", "account"),
        [
            ("https://source.blob.core.windows.net/", "source"),
            ("https://source.blob.core.usgovcloudapi.net", "source"),
            ("http://127.0.0.1:10000/source/", "source"),
            ("http://localhost:10000/source", "source"),
        ],
    )
    def test_a_signature_comes_with_an_endpoint_that_names_the_account(
        self, endpoint: str, account: str, lead: str
    ) -> None:
        connection = loaded(SourceStorage=f"BlobEndpoint={endpoint};SharedAccessSignature={lead}{SIGNATURE}").source
        assert connection.blob_endpoint == endpoint.rstrip("/")
        assert (connection.sas, connection.account_key, connection.account_name) == (SIGNATURE, None, account)

    def test_an_identity_is_an_address_and_no_connection_string(self) -> None:
        environ = {name: text for name, text in GOOD.items() if name not in CONNECTIONS} | {
            "SourceStorage__blobServiceUri": "https://source.blob.core.windows.net/",
            "SourceStorage__credential": "managedidentity",
            "SourceStorage__clientId": "11111111-1111-1111-1111-111111111111",
            "BackupStorage__accountName": "backup",
            "BackupQueue__queueServiceUri": "https://backup.queue.core.windows.net",
            "AzureWebJobsStorage__accountName": "jobs",
        }
        settings = Settings.load(environ)
        assert settings.source.blob_endpoint == "https://source.blob.core.windows.net"
        assert settings.source.connection_string is None
        assert settings.source.managed_identity
        assert settings.source.client_id == "11111111-1111-1111-1111-111111111111"
        assert settings.source.account_name == "source"
        assert settings.backup.blob_endpoint == "https://backup.blob.core.windows.net"
        assert not settings.backup.managed_identity
        assert settings.queue.queue_endpoint == "https://backup.queue.core.windows.net"
        assert settings.state.blob_endpoint == "https://jobs.blob.core.windows.net"

    def test_an_address_for_another_service_leaves_this_one_missing(self) -> None:
        environ = {name: text for name, text in GOOD.items() if name != "BackupQueue"}
        (line,) = problems(environ | {"BackupQueue__blobServiceUri": "https://backup.blob.core.windows.net"})
        assert "BackupQueue__queueServiceUri" in line

    def test_an_endpoint_that_was_never_given_is_an_error_with_its_name(self) -> None:
        with pytest.raises(SettingsError, match="BackupQueue__blobServiceUri"):
            _ = Connection("BackupQueue", queue_uri="https://backup.queue.core.windows.net").blob_endpoint


class TestContainers:
    def test_all_but_system_containers_are_protected_by_default(self) -> None:
        settings = loaded()
        assert all(settings.protects(name) for name in ("raw", "lake-2026", "x" * 63, "logs", "snapkeep"))

    @pytest.mark.parametrize(
        "name",
        [
            "$logs",
            "$root",
            "$web",
            "$blobchangefeed",
            "azure-webjobs-hosts",
            "azure-webjobs-secrets",
            "azure-pipelines-deploy",
            "snapkeep-state",
            "snapkeep-staging",
        ],
    )
    def test_system_containers_are_out_whatever_the_settings_say(self, name: str) -> None:
        assert is_system_container(name)
        assert not loaded(SNAPKEEP_INCLUDE_CONTAINERS=f"*,{name}").protects(name)

    @pytest.mark.parametrize(
        ("include", "exclude", "protected", "left"),
        [
            ("raw", "", {"raw"}, {"raw1", "xraw", "lake"}),
            ("raw*, lake-? ", "", {"raw", "raw1", "lake-1"}, {"lake-", "lake-12"}),
            ("*", "tmp-*,cache", {"raw", "tmp"}, {"tmp-", "tmp-1", "cache"}),
            ("raw,tmp-1", "tmp-*", {"raw"}, {"tmp-1"}),
            ("team-[ab]", "", {"team-a", "team-b"}, {"team-c"}),
            ("team-[!ab]", "", {"team-c"}, {"team-a"}),
            ("raw", "*", set(), {"raw"}),
        ],
    )
    def test_globs_say_which_containers_are_in(
        self, include: str, exclude: str, protected: set[str], left: set[str]
    ) -> None:
        settings = loaded(SNAPKEEP_INCLUDE_CONTAINERS=include, SNAPKEEP_EXCLUDE_CONTAINERS=exclude)
        assert {name for name in protected | left if settings.protects(name)} == protected

    @pytest.mark.parametrize("name", ["raw", "a-b-c", "123", "x" * 63, "0x0"])
    def test_these_are_container_names(self, name: str) -> None:
        assert is_container_name(name)

    @pytest.mark.parametrize(
        "name",
        ["", "ab", "x" * 64, "Raw", "a_b", "a--b", "-ab", "ab-", "a.b", "$logs", "raw\n", "räw", "a/b", "a b", "٣٣٣"],
    )
    def test_these_are_none(self, name: str) -> None:
        assert not is_container_name(name)

    @given(st.text("ab-", min_size=3, max_size=60).filter(is_container_name))
    def test_a_backup_container_is_named_after_its_source(self, name: str) -> None:
        assert is_container_name(backup_container(name))
        assert backup_container(name) == f"{name}bak"


class TestValues:
    def test_sync_pairs_are_trimmed_and_default_to_the_backup_container(self) -> None:
        settings = loaded(SNAPKEEP_SYNC_CONTAINERS=" lake , raw : raw-mirror ,, ")
        assert settings.sync_containers == (SyncPair("lake", "lakebak"), SyncPair("raw", "raw-mirror"))

    def test_one_source_may_have_two_mirrors(self) -> None:
        settings = loaded(SNAPKEEP_SYNC_CONTAINERS="raw:one-mirror,raw:two-mirror")
        assert [pair.backup for pair in settings.sync_containers] == ["one-mirror", "two-mirror"]

    @pytest.mark.parametrize(
        ("text", "meant"),
        [
            *((text, True) for text in ("true", "True", "TRUE", "1", "on", "yes")),
            *((text, False) for text in ("false", "False", "0", "off", "no", " false ")),
        ],
    )
    def test_yes_and_no_are_written_as_people_write_them(self, text: str, meant: bool) -> None:
        settings = loaded(SNAPKEEP_USE_LEASE=text, SNAPKEEP_SYNC_DELETE=text)
        assert (settings.use_lease, settings.sync_delete) == (meant, meant)

    @pytest.mark.parametrize("text", ["maybe", "2", "tru", "-", "none"])
    def test_anything_else_is_neither(self, text: str) -> None:
        assert only_problem(SNAPKEEP_SYNC_DELETE=text).startswith("SNAPKEEP_SYNC_DELETE: ")

    def test_values_are_trimmed(self) -> None:
        settings = loaded(SNAPKEEP_ENGINE=" adf ", SNAPKEEP_CONCURRENCY=" 8\n", SNAPKEEP_BACKUP_QUEUE="\tmine-1 ")
        assert (settings.engine, settings.concurrency, settings.backup_queue) == ("adf", 8, "mine-1")

    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("https://management.usgovcloudapi.net/", "https://management.usgovcloudapi.net"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://localhost:8080/", "http://localhost:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ],
    )
    def test_data_factory_is_reached_over_tls_or_on_this_machine(self, text: str, address: str) -> None:
        assert loaded(SNAPKEEP_ADF_ENDPOINT=text).adf_endpoint == address

    @pytest.mark.parametrize(
        "text", ["http://127.0.0.1.example.org", "http://127.example.org", "http://localhost.example.org"]
    )
    def test_a_host_that_only_begins_like_this_machine_is_another(self, text: str) -> None:
        assert only_problem(SNAPKEEP_ADF_ENDPOINT=text).startswith("SNAPKEEP_ADF_ENDPOINT: ")

    @given(st.dictionaries(st.sampled_from([f.alias for f in Settings.model_fields.values() if f.alias]), GARBAGE))
    def test_no_text_raises_anything_but_a_settings_error(self, garbage: dict[str, str]) -> None:
        wrong: list[str] = []
        try:
            Settings.load(GOOD | garbage)
        except SettingsError as refused:
            wrong = [line.strip().partition(":")[0] for line in str(refused).splitlines()[1:]]
        assert set(wrong) <= garbage.keys()

    def test_the_process_environment_is_the_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in (GOOD | {"SNAPKEEP_CONCURRENCY": "7"}).items():
            monkeypatch.setenv(name, value)
        assert Settings.load().concurrency == 7


class TestRecovery:
    def test_the_backup_account_alone_is_enough(self) -> None:
        settings = RecoverySettings.load({"BackupStorage": BACKUP})
        assert settings.backup.account_name == "backup"
        assert (settings.source, settings.state, settings.concurrency) == (None, None, 32)

    def test_the_other_accounts_are_taken_where_they_are_given(self) -> None:
        settings = RecoverySettings.load(GOOD | {"SNAPKEEP_CONCURRENCY": "7", "SNAPKEEP_ENGINE": "warp"})
        assert settings.source is not None
        assert settings.state is not None
        assert (settings.source.account_name, settings.state.account_name) == ("source", "backup")
        assert settings.concurrency == 7
        assert RecoverySettings.of(loaded(SNAPKEEP_CONCURRENCY="7")) == settings

    def test_an_account_that_is_half_given_is_an_error_and_not_left_out(self) -> None:
        environ = {"SourceStorage__credential": "managedidentity", "SNAPKEEP_CONCURRENCY": "0"}
        with pytest.raises(SettingsError) as refused:
            RecoverySettings.load(environ)
        lines = str(refused.value).splitlines()[1:]
        assert [line.split(":")[0].strip() for line in lines] == [
            "BackupStorage",
            "SourceStorage",
            "SNAPKEEP_CONCURRENCY",
        ]


class TestApplicationInsights:
    KEY = "0a1b2c3d-0000-4000-8000-00000000000A"

    def load(self, value: str) -> Settings:
        return Settings.load(GOOD | {"APPLICATIONINSIGHTS_CONNECTION_STRING": value})

    def test_without_it_nothing_is_sent_anywhere(self) -> None:
        assert loaded().application_insights is None
        assert self.load(" ").application_insights is None

    def test_it_is_handed_on_as_the_exporter_reads_it(self) -> None:
        given = f"InstrumentationKey={self.KEY};IngestionEndpoint=https://x.in.applicationinsights.azure.com/"
        expected = (
            f"instrumentationkey={self.KEY.lower()};ingestionendpoint=https://x.in.applicationinsights.azure.com/"
        )
        assert self.load(given).application_insights == expected

    @pytest.mark.parametrize(
        "value",
        ["x", "InstrumentationKey=x", f"Key={KEY}", f"InstrumentationKey={KEY};A=b=c", f"InstrumentationKey={KEY};"],
    )
    def test_a_wrong_one_stops_the_app_and_is_not_repeated(self, value: str) -> None:
        with pytest.raises(SettingsError, match="APPLICATIONINSIGHTS_CONNECTION_STRING: expects Instr") as refused:
            self.load(value)
        assert self.KEY not in str(refused.value)

    def test_it_is_not_shown(self) -> None:
        assert self.KEY.lower() not in repr(self.load(f"InstrumentationKey={self.KEY}"))


class TestAlarms:
    def test_by_default_a_fifth_of_the_blobs_and_a_hundred_of_them_are_unusual(self) -> None:
        settings = loaded()
        assert (settings.alarm_share_percent, settings.alarm_min_blobs) == (20, 100)

    @pytest.mark.parametrize("value", ["-1", "101", "x"])
    def test_a_share_is_a_percentage(self, value: str) -> None:
        with pytest.raises(SettingsError, match="SNAPKEEP_ALARM_SHARE_PERCENT"):
            Settings.load(GOOD | {"SNAPKEEP_ALARM_SHARE_PERCENT": value})


class TestManyBlobs:
    def test_inventories_are_named_by_container_and_rule(self) -> None:
        settings = Settings.load(
            GOOD
            | {
                "SNAPKEEP_RECONCILE_FROM": "inventory",
                "SNAPKEEP_SOURCE_INVENTORY": "inventory/Rule1",
                "SNAPKEEP_BACKUP_INVENTORY": " daily / snapkeep ",
            }
        )
        assert settings.source_inventory == InventoryPlace("inventory", "Rule1")
        assert settings.backup_inventory == InventoryPlace("daily", "snapkeep")
        assert (settings.change_feed, settings.reconcile_at) == (False, "02:30")

    def test_reconciling_by_inventories_needs_both(self) -> None:
        with pytest.raises(SettingsError) as refused:
            Settings.load(GOOD | {"SNAPKEEP_RECONCILE_FROM": "inventory"})
        for name in ("SNAPKEEP_SOURCE_INVENTORY", "SNAPKEEP_BACKUP_INVENTORY"):
            assert f"{name}: missing; required while SNAPKEEP_RECONCILE_FROM is inventory" in str(refused.value)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("SNAPKEEP_SOURCE_INVENTORY", "inventory"),
            ("SNAPKEEP_BACKUP_INVENTORY", "Inventory/rule"),
            ("SNAPKEEP_RECONCILE_FROM", "memory"),
            ("SNAPKEEP_RECONCILE_AT", "24:00"),
            ("SNAPKEEP_CHANGE_FEED", "perhaps"),
            ("SNAPKEEP_INVENTORY_MEMORY_MB", "64"),
        ],
    )
    def test_a_malformed_value_is_refused_by_name(self, name: str, value: str) -> None:
        with pytest.raises(SettingsError, match=f"{name}: "):
            Settings.load(GOOD | {name: value})

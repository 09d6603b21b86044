"""What azcopy is given to get at a pair of containers, and what is blotted out of what it says."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from shared.adapters.azcopy_access import MARGIN, access_to, redactor
from shared.connections import Connection
from shared.settings import SyncPair

UNTIL = datetime(2026, 11, 20, 14, 50, tzinfo=UTC)
PAIR = SyncPair("lake", "lakebak")
KEY = "c2VjcmV0LWtleQ=="


def keyed(name: str, dfs_uri: str | None = None) -> Connection:
    text = f"AccountName={name.lower()};AccountKey={KEY};BlobEndpoint=https://{name.lower()}.blob.x"
    return Connection(name, connection_string=text, dfs_uri=dfs_uri)


def signed(name: str) -> Connection:
    return Connection(
        name, connection_string=f"BlobEndpoint=https://{name.lower()}.blob.x;SharedAccessSignature=?si=p&sig=s%2Bg"
    )


def identity(name: str, dfs_uri: str | None = None, **more: str) -> Connection:
    return Connection(name, blob_uri=f"https://{name.lower()}.blob.x", dfs_uri=dfs_uri, **more)  # type: ignore[arg-type]


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_account_keys_become_signatures_of_one_container_that_end_with_the_run_and_cannot_delete() -> None:
    access = access_to(keyed("Source"), keyed("Backup"), PAIR, UNTIL)

    assert access.source_url.startswith("https://source.blob.x/lake?")
    assert access.backup_url.startswith("https://backup.blob.x/lakebak?")
    for url, rights in ((access.source_url, "rl"), (access.backup_url, "racwl")):
        assert query(url)["sr"] == "c"
        assert set(query(url)["sp"]) == set(rights)
        assert datetime.fromisoformat(query(url)["se"]) == UNTIL + MARGIN
        assert KEY not in url
    assert access.environment == {}
    assert timedelta() < MARGIN < timedelta(hours=1)


def test_a_signature_in_the_connection_is_used_as_it_is() -> None:
    access = access_to(signed("Source"), keyed("Backup"), PAIR, UNTIL)

    assert access.source_url == "https://source.blob.x/lake?si=p&sig=s%2Bg"


def test_a_managed_identity_needs_no_signature_and_finds_the_platforms_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://localhost:42356/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header-secret")
    monkeypatch.setenv("AzureWebJobsStorage", "AccountKey=other")

    access = access_to(
        identity("Source", managed_identity=True, client_id="id"),  # type: ignore[arg-type]
        identity("Backup", managed_identity=True, client_id="id"),  # type: ignore[arg-type]
        PAIR,
        UNTIL,
    )

    assert (access.source_url, access.backup_url) == ("https://source.blob.x/lake", "https://backup.blob.x/lakebak")
    assert access.environment == {
        "AZCOPY_AUTO_LOGIN_TYPE": "MSI",
        "AZCOPY_MSI_CLIENT_ID": "id",
        "IDENTITY_ENDPOINT": "http://localhost:42356/msi/token",
        "IDENTITY_HEADER": "header-secret",
    }
    assert access.redact("said header-secret") == "said REDACTED"


def test_a_service_principal_is_told_through_the_environment_and_mixes_with_a_signature() -> None:
    principal = identity("Source", client_id="id", tenant_id="tenant", client_secret="pass-word")

    access = access_to(principal, signed("Backup"), PAIR, UNTIL)

    assert access.environment == {
        "AZCOPY_AUTO_LOGIN_TYPE": "SPN",
        "AZCOPY_SPA_APPLICATION_ID": "id",
        "AZCOPY_SPA_CLIENT_SECRET": "pass-word",
        "AZCOPY_TENANT_ID": "tenant",
    }
    assert "?" not in access.source_url
    assert access.backup_url.endswith("?si=p&sig=s%2Bg")


@pytest.mark.parametrize(
    ("source_dfs", "backup_dfs", "from_to"),
    [
        (None, None, "BlobBlob"),
        ("https://s.dfs.x/", "https://b.dfs.x", "BlobFSBlobFS"),
        (None, "https://b.dfs.x", "BlobBlobFS"),
        ("https://s.dfs.x", None, "BlobFSBlob"),
    ],
)
def test_a_side_with_a_data_lake_endpoint_is_reached_there(
    source_dfs: str | None, backup_dfs: str | None, from_to: str
) -> None:
    access = access_to(keyed("Source", source_dfs), keyed("Backup", backup_dfs), PAIR, UNTIL)

    assert access.from_to == from_to
    assert access.source_url.startswith("https://s.dfs.x/lake?" if source_dfs else "https://source.blob.x/lake?")
    assert access.backup_url.startswith("https://b.dfs.x/lakebak?" if backup_dfs else "https://backup.blob.x/lakebak?")


def test_secrets_are_blotted_out_in_every_form_that_a_url_can_hold() -> None:
    access = access_to(keyed("Source"), keyed("Backup"), PAIR, UNTIL)
    signature = query(access.source_url)["sig"]
    told = f"{access.source_url} {signature} {quote(signature)} {quote(signature, safe='')} {KEY} {quote(KEY, safe='')}"

    redacted = access.redact(told)

    for secret in (signature, quote(signature), quote(signature, safe=""), KEY, quote(KEY, safe="")):
        assert secret not in redacted


@pytest.mark.parametrize(
    "text",
    ["https://x/y?sv=1&sig=abc%2B&se=2", '{"u":"?sig=abc%2B\\u0026se=2"}', "AccountKey=abc%2B;Next=2", "SIG=abc%2B"],
)
def test_signatures_and_keys_that_are_not_known_are_blotted_out_by_their_shape(text: str) -> None:
    redacted = redactor([])(text)

    assert "abc" not in redacted
    assert "REDACTED" in redacted


def test_nothing_secret_is_in_the_representation() -> None:
    access = access_to(keyed("Source"), keyed("Backup"), PAIR, UNTIL)

    assert "sig=" not in repr(access)

"""The gateway's Shared Key signatures are those of the storage SDK."""

import pytest
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.rest import HttpRequest
from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy

from local.azurite import ACCOUNT_KEYS, SOURCE, account_key
from local.gateway.messages import Body, Headers, Request
from local.gateway.signing import Signer


def sdk_request(method: str, target: str, headers: dict[str, str], key: str) -> Request:
    """A request as the SDK signs and the gateway receives it."""
    request = HttpRequest(method, f"http://127.0.0.1:10000{target}", headers=headers)
    policy = SharedKeyCredentialPolicy(SOURCE, key)  # type: ignore[no-untyped-call]  # the SDK's
    policy.on_request(PipelineRequest(request, PipelineContext(None)))  # type: ignore[no-untyped-call]
    fields = Headers(list(request.headers.items()))
    return Request(method, target, fields, Body(None, 0), b"")  # type: ignore[arg-type]


CASES = [
    ("GET", "/source/raw?restype=container&comp=list&include=snapshots%2Cmetadata&prefix=a%20%C3%A9", {}),
    ("PUT", "/source/raw/a%2520b?comp=block&blockid=MQ%3D%3D", {"Content-Length": "0", "x-ms-version": "2021-12-02"}),
    (
        "PUT",
        "/source/raw/a",
        {
            "Content-Length": "3",
            "Content-Type": "text/plain",
            "If-None-Match": "*",
            "x-ms-meta-a_b": "1",
            "x-ms-meta-a": "2",
            "x-ms-meta-a1": "3",
            "x-ms-blob-type": "BlockBlob",
        },
    ),
]


@pytest.mark.parametrize(("method", "target", "headers"), CASES)
def test_a_signature_of_the_sdks_is_accepted(method: str, target: str, headers: dict[str, str]) -> None:
    request = sdk_request(method, target, headers, account_key(SOURCE))
    assert request.headers.get("authorization").startswith("SharedKey source:")
    assert Signer(ACCOUNT_KEYS).accepts(request)


@pytest.mark.parametrize(("method", "target", "headers"), CASES)
def test_a_signature_with_another_key_is_not(method: str, target: str, headers: dict[str, str]) -> None:
    assert not Signer(ACCOUNT_KEYS).accepts(sdk_request(method, target, headers, account_key("backup")))


def test_a_changed_request_is_signed_again_as_the_sdk_would() -> None:
    method, target, headers = CASES[0]
    original = sdk_request(method, target, headers, account_key(SOURCE))
    changed = "/source/raw?restype=container&comp=list&maxresults=3"
    signed = Signer(ACCOUNT_KEYS).sign_again(original, changed, original.headers)
    received = Request(method, changed, signed, original.body, b"")
    assert Signer(ACCOUNT_KEYS).accepts(received)
    assert signed.get("authorization") != original.headers.get("authorization")


def test_a_request_of_an_unknown_account_is_not_accepted() -> None:
    request = sdk_request("GET", "/other/raw?comp=list", {}, account_key(SOURCE))
    assert not Signer(ACCOUNT_KEYS).accepts(request)

"""What azd runs: azure.yaml is one that it takes, azcopy is the pinned one, and secrets pass through no argument."""

import hashlib
import io
import json
import os
import re
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from infra.hooks import bring_azcopy
from infra.hooks.bring_azcopy import NotBrought, bring
from infra.sbom import with_azcopy
from shared import __version__
from shared.adapters.azcopy import Azcopy

ROOT = Path(__file__).parents[2]
HOOKS = ROOT / "infra" / "hooks"
AZURE_YAML: dict[str, Any] = yaml.safe_load((ROOT / "azure.yaml").read_text())

HOOK = {
    "type": "object",
    "additionalProperties": False,
    "required": ["shell", "run"],
    "properties": {"shell": {"enum": ["sh", "pwsh"]}, "run": {"type": "string"}},
}
PLATFORMS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["posix", "windows"],
    "properties": {"posix": HOOK, "windows": HOOK},
}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "infra", "services", "requiredVersions"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
        "requiredVersions": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"azd": {"type": "string", "pattern": r"^>= \d+\.\d+\.\d+$"}},
        },
        "metadata": {"type": "object", "additionalProperties": False, "properties": {"template": {"type": "string"}}},
        "infra": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "provider": {"enum": ["bicep", "terraform"]},
                "path": {"type": "string"},
                "module": {"type": "string"},
            },
        },
        "services": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["host", "project", "language"],
                "properties": {
                    "project": {"type": "string"},
                    "language": {"enum": ["python"]},
                    "host": {"enum": ["function"]},
                    "hooks": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {"prepackage": PLATFORMS},
                    },
                },
            },
        },
        "hooks": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"postprovision": PLATFORMS, "postdeploy": PLATFORMS},
        },
    },
}
"""What azd's own schema (v1.0) says of the properties that are used here, and no room for others."""


def test_azd_takes_the_project() -> None:
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(AZURE_YAML)] == []
    assert AZURE_YAML["metadata"]["template"] == f"snapkeep@{__version__}"


def test_an_azd_that_deletes_groups_which_it_did_not_create_is_refused() -> None:
    """Before 1.24.1 `azd down` took the groups of existing accounts along (Azure/azure-dev#7698)."""
    oldest = AZURE_YAML["requiredVersions"]["azd"].removeprefix(">= ").split(".")
    assert tuple(map(int, oldest)) >= (1, 24, 1)


def test_everything_that_azd_is_pointed_to_is_there() -> None:
    assert (ROOT / AZURE_YAML["infra"]["path"] / f"{AZURE_YAML['infra']['module']}.bicep").is_file()
    hooks = [*AZURE_YAML["hooks"].values(), *AZURE_YAML["services"]["snapkeep"]["hooks"].values()]
    for platform in (each for hook in hooks for each in hook.values()):
        script = ROOT / platform["run"].split()[-1]
        assert script.is_file()
        if script.suffix == ".sh":
            assert os.access(script, os.X_OK), script


def test_the_service_is_found_by_the_tag_that_the_app_gets() -> None:
    [service] = AZURE_YAML["services"]
    main = (ROOT / "infra/main.bicep").read_text()
    assert f"'azd-service-name': '{service}'" in main
    assert "'azd-env-name': environmentName" in main


# azcopy

PROGRAM = b"#!/bin/sh\necho azcopy version 99.0.0\n"


def release(*, name: str = "azcopy_linux_amd64_99.0.0/azcopy", content: bytes = PROGRAM) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as files:
        for path, data in (("../../escaped", b"bad"), ("azcopy_linux_amd64_99.0.0/NOTICE.txt", b"n"), (name, content)):
            info = tarfile.TarInfo(path)
            info.size = len(data)
            files.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


Serve = Callable[[bytes], str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serves a file from this machine, and gives its address."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def one(content: bytes) -> str:
        (folder / "release.tar.gz").write_bytes(content)
        return f"http://127.0.0.1:{server.server_port}/release.tar.gz"

    yield one
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_pinned_azcopy_is_brought_and_nothing_else_of_the_archive(tmp_path: Path, serve: Serve) -> None:
    target = tmp_path / "app" / "bin" / "azcopy"
    archive = release()
    assert bring(serve(archive), digest(archive), target)
    assert target.read_bytes() == PROGRAM
    assert stat.S_IMODE(target.stat().st_mode) == 0o755
    assert sorted(each.name for each in target.parent.iterdir()) == ["azcopy", "azcopy.sha256"]
    assert not (tmp_path / "escaped").exists()


async def test_it_runs_where_a_deployment_has_taken_its_permission(tmp_path: Path, serve: Serve) -> None:
    target = tmp_path / "azcopy"
    archive = release()
    bring(serve(archive), digest(archive), target)
    target.chmod(0o444)
    found = await Azcopy.find(str(target))
    assert found.version == "99.0.0"


def test_another_hash_than_the_pinned_one_is_refused_and_changes_nothing(tmp_path: Path, serve: Serve) -> None:
    target = tmp_path / "azcopy"
    target.write_bytes(b"the one before")
    with pytest.raises(NotBrought, match=f"{'0' * 64} is pinned"):
        bring(serve(release()), "0" * 64, target)
    assert target.read_bytes() == b"the one before"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["azcopy", "served"]


def test_the_pinned_azcopy_is_downloaded_once(tmp_path: Path, serve: Serve) -> None:
    target, archive = tmp_path / "azcopy", release()
    address = serve(archive)
    assert bring(address, digest(archive), target)
    assert not bring("http://127.0.0.1:9/never-asked", digest(archive), target)
    target.write_bytes(b"somebody changed it")
    assert bring(address, digest(archive), target)
    assert target.read_bytes() == PROGRAM


@pytest.mark.parametrize(
    ("content", "reason"), [(b"no archive", "cannot be read"), (release(name="other/program"), "holds no azcopy")]
)
def test_an_archive_without_azcopy_is_refused(tmp_path: Path, serve: Serve, content: bytes, reason: str) -> None:
    with pytest.raises(NotBrought, match=reason):
        bring(serve(content), digest(content), tmp_path / "azcopy")
    assert not (tmp_path / "azcopy").exists()


def test_the_hook_says_what_is_wrong_and_fails_the_packaging(serve: Serve) -> None:
    environment = {**os.environ, "DEPLOY_AZCOPY_URL": serve(release())}
    bin_folder = ROOT / "bin"
    before = sorted(bin_folder.iterdir()) if bin_folder.exists() else None
    ran = subprocess.run(
        [sys.executable, str(HOOKS / "bring_azcopy.py")], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert f"and {bring_azcopy.SHA256} is pinned" in ran.stderr
    assert (sorted(bin_folder.iterdir()) if bin_folder.exists() else None) == before


def test_a_release_is_pinned() -> None:
    assert len(bring_azcopy.SHA256) == 64
    assert bring_azcopy.VERSION in bring_azcopy.URL
    assert bring_azcopy.URL.startswith("https://github.com/Azure/azure-storage-azcopy/releases/download/")


# The hooks that use the Azure CLI, with one that notes how it is called

SECRET = "the-function-key"

AZ = f"""#!/bin/sh
echo "$*" >> "$AZ_LOG"
case "$*" in
  *"keys set"*) echo "REDACTED" ;;
  "cloud show"*) echo https://arm.test/ ;;
  *"keys list"*) echo '{SECRET}' ;;
  "rest "*) for each; do case "$each" in @*) cat "${{each#@}}" > "$AZ_LOG.secret" ;; esac; done ;;
  *"show"*"state"*) echo "${{AZ_STATE:-Unlocked}}" ;;
  *"show"*"etag"*) echo etag-1 ;;
esac
"""

AZD = """#!/bin/sh
echo "azd $*" >> "$AZ_LOG"
"""


Hook = Callable[..., tuple[list[str], str]]


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    """Runs a hook; gives what it called the Azure CLI (and azd) with, and what it said."""
    for name, program in (("az", AZ), ("azd", AZD)):
        (tmp_path / name).write_text(program)
        (tmp_path / name).chmod(0o755)
    log = tmp_path / "az.log"

    def run(name: str, **variables: str) -> tuple[list[str], str]:
        log.write_text("")
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "AZ_LOG": str(log), "TMPDIR": str(tmp_path)}
        ran = subprocess.run(
            [str(HOOKS / name)], env=environment | variables, capture_output=True, text=True, check=True
        )
        return log.read_text().splitlines(), ran.stdout

    return run


def test_the_function_key_goes_to_the_vault_through_no_argument(hook: Hook, tmp_path: Path) -> None:
    place = {"AZURE_SUBSCRIPTION_ID": "s", "AZURE_RESOURCE_GROUP": "rg", "SNAPKEEP_APP_NAME": "func"}
    calls, said = hook("store_function_key.sh", SNAPKEEP_KEY_VAULT="kv", **place)
    assert json.loads((tmp_path / "az.log.secret").read_text()) == {"properties": {"value": SECRET}}
    assert [call.split(" --")[0] for call in calls] == [
        "functionapp keys set",
        "functionapp keys list",
        "cloud show",
        "rest",
    ]
    assert "--method put" in calls[-1]
    assert (
        "https://arm.test/subscriptions/s/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv/secrets/protect-key?"
        in calls[-1]
    )
    assert SECRET not in "".join(calls) + said
    assert sorted(each.name for each in tmp_path.iterdir()) == ["az", "az.log", "az.log.secret", "azd"], (
        "no key is left behind"
    )


def test_no_key_is_made_where_nobody_calls(hook: Hook) -> None:
    assert hook("store_function_key.sh", SNAPKEEP_KEY_VAULT="")[0] == []


BACKUP = {"SNAPKEEP_BACKUP_SUBSCRIPTION": "s", "SNAPKEEP_BACKUP_GROUP": "g", "SNAPKEEP_BACKUP_ACCOUNT": "a"}


def test_policies_are_locked_when_that_was_asked_for(hook: Hook) -> None:
    calls, said = hook("lock_immutability.sh", SNAPKEEP_CONTAINERS_TO_LOCK="rawbak,lakebak", **BACKUP)
    locks = [call for call in calls if "immutability-policy lock" in call]
    assert [("--container-name rawbak" in call, "--if-match etag-1" in call) for call in locks] == [
        (True, True),
        (False, True),
    ]
    assert said.count("locked, for good") == 2


def test_a_locked_policy_is_noted_so_that_no_later_deployment_writes_it_again(hook: Hook) -> None:
    noted = {"DEPLOY_LOCKED_CONTAINERS": "oldbak"}
    calls, _ = hook("lock_immutability.sh", SNAPKEEP_CONTAINERS_TO_LOCK="rawbak,lakebak", **BACKUP, **noted)
    assert [call for call in calls if call.startswith("azd ")] == [
        "azd env set DEPLOY_LOCKED_CONTAINERS oldbak,rawbak",
        "azd env set DEPLOY_LOCKED_CONTAINERS oldbak,rawbak,lakebak",
    ]


def test_a_policy_that_is_locked_is_noted_and_without_being_asked_nothing_happens(hook: Hook) -> None:
    calls, said = hook("lock_immutability.sh", SNAPKEEP_CONTAINERS_TO_LOCK="rawbak", AZ_STATE="Locked", **BACKUP)
    assert [call for call in calls if "policy lock" in call] == []
    assert "locked already" in said
    assert calls[-1] == "azd env set DEPLOY_LOCKED_CONTAINERS rawbak"
    assert hook("lock_immutability.sh", SNAPKEEP_CONTAINERS_TO_LOCK="")[0] == []


def test_the_template_gives_the_hooks_what_they_read() -> None:
    main = (ROOT / "infra/main.bicep").read_text()
    read = {
        name
        for script in HOOKS.glob("*.sh")
        for name in re.findall(r"\b(?:SNAPKEEP|AZURE)_[A-Z_]+\b", script.read_text())
    }
    assert {name for name in read if f"output {name} string" not in main} == {"AZURE_SUBSCRIPTION_ID"}, (
        "that is azd's own"
    )


def test_the_bill_of_materials_names_azcopy_with_its_hash() -> None:
    bill = with_azcopy({"components": [{"name": "aiohttp"}]})
    assert [each["name"] for each in bill["components"]] == ["aiohttp", "azcopy"]
    [reference] = bill["components"][1]["externalReferences"]
    assert reference["hashes"] == [{"alg": "SHA-256", "content": bring_azcopy.SHA256}]


# The workflow

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_the_least_permissions_and_pins_what_it_uses(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"] == {"contents": "read"}
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
            assert "${{" not in step.get("run", ""), "what others write must not become part of a script"
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_the_workflow_runs_the_tests_on_every_python_that_is_supported() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml"]
    jobs = yaml.safe_load(WORKFLOWS[0].read_text())["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    commands = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    for command in ("make test", "make audit", "make sbom", "az bicep build"):
        assert any(command in each for each in commands), command

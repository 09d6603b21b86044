"""Puts azcopy into the folder that is deployed, before it is packaged: the pinned release, checked by its hash.

Microsoft's ordinary release for Linux, since npm's build of it needs libsecret, which the platform is not known to
have. At start the app copies it to where it may be executed (shared/adapters/azcopy.py): a deployment loses the
permission, and the app's folder is read-only.

    python3 infra/hooks/bring_azcopy.py

To move to another release, change VERSION and SHA256 together; the release's page shows the hash of each file.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
import urllib.request
from pathlib import Path

VERSION = "10.32.8"
SHA256 = "a95277dbc265912cefdddbaf251aa99ec648cb18ba657e8788066357a9022dc3"
URL = f"https://github.com/Azure/azure-storage-azcopy/releases/download/v{VERSION}/azcopy_linux_amd64_{VERSION}.tar.gz"

TARGET = Path(__file__).parents[2] / "bin" / "azcopy"
MAX_BYTES = 200 * 1024 * 1024
TIMEOUT_SECONDS = 120


class NotBrought(Exception):
    """azcopy is not there, or is not the one that is pinned."""


def bring(url: str = URL, sha256: str = SHA256, target: Path = TARGET) -> bool:
    """Downloads, checks and unpacks azcopy; False when the pinned one is there already.

    Raises:
        NotBrought: it cannot be downloaded, its hash is another, or it holds no azcopy. Nothing is changed then.
    """
    stamp = target.with_name(f"{target.name}.sha256")
    if target.is_file() and stamp.is_file() and stamp.read_text() == f"{sha256} {_digest(target.read_bytes())}\n":
        return False
    archive = _download(url)
    found = _digest(archive)
    if found != sha256:
        raise NotBrought(f"{url} has the SHA-256 {found}, and {sha256} is pinned: nothing was unpacked")
    program = _unpack(archive)
    target.parent.mkdir(parents=True, exist_ok=True)
    arriving = target.with_name(f"{target.name}.arriving")
    arriving.write_bytes(program)
    arriving.chmod(0o755)
    arriving.replace(target)
    stamp.write_text(f"{sha256} {_digest(program)}\n")
    return True


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - the address is our own
            content: bytes = answer.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotBrought(f"{url} cannot be downloaded: {error}") from error
    if len(content) > MAX_BYTES:
        raise NotBrought(f"{url} is larger than {MAX_BYTES >> 20} MiB")
    return content


def _unpack(archive: bytes) -> bytes:
    """The one file that is wanted: nothing of the archive is written anywhere else."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
            member = next((each for each in files if each.isfile() and Path(each.name).name == "azcopy"), None)
            content = files.extractfile(member) if member else None
            if content is None:
                raise NotBrought("the archive holds no azcopy")
            return content.read()
    except tarfile.TarError as error:
        raise NotBrought(f"the archive cannot be read: {error}") from error


def main() -> int:
    # A mirror of the release, for machines that reach no other; what it serves must have the same hash.
    url = os.environ.get("DEPLOY_AZCOPY_URL") or URL
    try:
        brought = bring(url)
    except NotBrought as error:
        print(f"azcopy was not brought: {error}", file=sys.stderr)
        return 1
    print(f"azcopy {VERSION}: {'brought' if brought else 'there already'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Adds azcopy to a bill of materials in CycloneDX's JSON: no requirements file names it, and the app runs it.

Reads one from standard input and writes it to standard output; `make sbom` makes both.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from infra.hooks.bring_azcopy import SHA256, URL, VERSION


def with_azcopy(bill: dict[str, Any]) -> dict[str, Any]:
    """The bill with one component more."""
    azcopy = {
        "type": "application",
        "bom-ref": f"azcopy-{VERSION}",
        "name": "azcopy",
        "version": VERSION,
        "purl": f"pkg:github/Azure/azure-storage-azcopy@v{VERSION}",
        "externalReferences": [
            {"type": "distribution", "url": URL, "hashes": [{"alg": "SHA-256", "content": SHA256}]},
        ],
    }
    return bill | {"components": [*bill.get("components", []), azcopy]}


if __name__ == "__main__":
    json.dump(with_azcopy(json.load(sys.stdin)), sys.stdout, indent=2)
    print()

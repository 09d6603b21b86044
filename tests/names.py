"""The corpus of hard blob names, one resource for the tests of every level."""

import json
from pathlib import Path

_CORPUS = Path(__file__).parent / "resources" / "hard_names.json"

HARD_NAMES: dict[str, str] = json.loads(_CORPUS.read_text())
"""What is hard about each name, and the name."""

REFUSED_NAMES = (".", "..", "a/../b", "../other/secret", "./a", "a/.", "a/..", "..//x", "a/./b")

"""The rule that keeps the product testable: decisions are pure, adapters alone know Azure, operations join the two."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARED = ROOT / "shared"
FILES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in sorted(SHARED.rglob("*.py"))}
FILES["function_app.py"] = ast.parse((ROOT / "function_app.py").read_text())

DECISIONS = [name for name in FILES if name.startswith("shared/decisions/")]
ADAPTERS = [name for name in FILES if name.startswith("shared/adapters/")]
OPERATIONS = [name for name in FILES if name.startswith("shared/operations/")]
PLAIN = [
    "shared/connections.py",
    "shared/containers.py",
    "shared/errors.py",
    "shared/expected.py",
    "shared/index.py",
    "shared/logged.py",
    "shared/model.py",
    "shared/parallel.py",
    "shared/settings.py",
    "shared/temporary_database.py",
    "shared/tracing.py",
    "shared/wording.py",
]
ON_DISK = ["shared/inventory_index.py", "shared/plan.py", "shared/version_index.py"]
"""What a restore, or a comparison of inventories, keeps in temporary files: plain, but of what decisions speak of."""
PAGE = [name for name in FILES if name.startswith("shared/status_page/")]
COMMANDS = [name for name in FILES if name.startswith("shared/cli/")]
ENTRY_POINTS = [
    *COMMANDS,
    "function_app.py",
    "shared/recovery.py",
    "shared/runtime.py",
    "shared/services.py",
    "shared/telemetry.py",
    "shared/web.py",
]

PURE_MODULES = {
    "__future__",
    "base64",
    "bisect",
    "collections",
    "dataclasses",
    "datetime",
    "enum",
    "fnmatch",
    "hashlib",
    "itertools",
    "json",
    "operator",
    "posixpath",
    "pydantic",
    "re",
    "typing",
    "unicodedata",
    "urllib.parse",
}
"""All that a decision may import from outside: nothing here does I/O or knows what time it is."""


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that a file imports, wherever in it, as `package.module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not followed here"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module.startswith("shared"))


def within(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def test_every_file_of_the_product_has_its_place() -> None:
    packages = ["shared/__init__.py"]
    assert sorted(FILES) == sorted(DECISIONS + ADAPTERS + OPERATIONS + PLAIN + ON_DISK + PAGE + ENTRY_POINTS + packages)


@pytest.mark.parametrize("name", DECISIONS)
def test_a_decision_imports_nothing_that_does_io(name: str) -> None:
    foreign = {module for module in imports(FILES[name]) if not within(module, {"shared"})}
    assert {module for module in foreign if not within(module, PURE_MODULES)} == set()


@pytest.mark.parametrize("name", DECISIONS)
def test_a_decision_builds_on_decisions_and_plain_values_alone(name: str) -> None:
    allowed = {
        "shared.decisions",
        "shared.model",
        "shared.errors",
        "shared.settings",
        "shared.connections",
        "shared.containers",
        "shared.expected",
        "shared.index",
    }
    own = {module for module in imports(FILES[name]) if within(module, {"shared"})}
    assert {module for module in own if not within(module, allowed)} == set()


@pytest.mark.parametrize("name", PAGE)
def test_the_page_is_made_of_a_status_alone(name: str) -> None:
    own = {module for module in imports(FILES[name]) if within(module, {"shared"})}
    allowed = {"shared.status_page", "shared.decisions", "shared.wording"}
    assert {module for module in own if not within(module, allowed)} - {"shared"} == set()


@pytest.mark.parametrize("name", sorted(set(FILES) - set(ADAPTERS)))
def test_only_adapters_know_azure(name: str) -> None:
    azure = {module for module in imports(FILES[name]) if within(module, {"azure", "aiohttp", "msal"})}
    triggers = {"function_app.py", "shared/runtime.py", "shared/web.py"}
    assert {module for module in azure if not (name in triggers and within(module, {"azure.functions"}))} == set()


@pytest.mark.parametrize("name", ADAPTERS + PLAIN + ON_DISK)
def test_nothing_below_knows_what_is_above_it(name: str) -> None:
    above = {"shared.operations", "shared.services", "shared.web", "shared.runtime", "shared.cli", "function_app"}
    if name in PLAIN:
        above |= {"shared.adapters", "shared.decisions"}
    if name in ON_DISK:
        above |= {"shared.adapters"}
    assert {module for module in imports(FILES[name]) if within(module, above)} == set()


@pytest.mark.parametrize("name", sorted(set(FILES) - {"shared/settings.py"}))
def test_the_environment_is_read_by_the_settings_alone(name: str) -> None:
    reads = {
        ast.unparse(node)
        for node in ast.walk(FILES[name])
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "getenvb"}
    }
    imported = {module for module in imports(FILES[name]) if module in {"os.environ", "dotenv"}}
    for node in ast.walk(FILES[name]):
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            imported |= {alias.name for alias in node.names if "env" in alias.name}
    assert reads | imported == set()


@pytest.mark.parametrize("name", DECISIONS + PLAIN + ON_DISK + PAGE)
def test_no_decision_reads_a_clock_or_rolls_dice(name: str) -> None:
    clocks = {"now", "utcnow", "today", "time", "monotonic", "perf_counter", "uuid1", "uuid4", "random", "getpid"}
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(FILES[name])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)
    }
    assert {call for call in calls if call.rpartition(".")[2] in clocks} == set()


def test_decisions_work_where_no_azure_package_is() -> None:
    modules = [name.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".") for name in DECISIONS + PLAIN]
    program = f"""
import importlib, sys
for module in {modules!r}:
    importlib.import_module(module)
print([name for name in sys.modules if name.partition('.')[0] in {{'azure', 'aiohttp', 'requests', 'msal'}}])
"""
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_entry_points_hold_no_work_of_their_own() -> None:
    functions = [node for node in FILES["function_app.py"].body if isinstance(node, ast.AsyncFunctionDef)]
    assert [function.name for function in functions] == ["protect", "backup", "sync", "reconcile"]
    for function in functions:
        assert len(function.body) <= 5, f"{function.name} does more than parse, call and answer"

"""Whoever is alarmed finds what to do; whatever is queried is something that the app sends."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.decisions.metrics import METRICS
from shared.settings import Settings, read_settings_file
from tests.bicep import INFRA, files, properties, text, walk

DOCUMENT = (INFRA.parent / "docs" / "operations.md").read_text(encoding="utf-8")
ALERTS = files()["modules/alerts.bicep"]
WORKBOOK: dict[str, Any] = json.loads((INFRA / "workbook.json").read_text(encoding="utf-8"))


def rules() -> dict[str, dict[str, str]]:
    [array] = [node for node in walk(ALERTS.of("var")["rules"].node) if node.type == "array"][:1]
    parsed = [
        {name: text(value) for name, value in properties(each).items()}
        for each in array.named_children
        if each.type == "object"
    ]
    return {each["name"].strip("'"): each for each in parsed}


def metrics() -> dict[str, set[str]]:
    """The documented metrics, each with its attributes."""
    rows = re.findall(r"^\| `(snapkeep\.[\w.]+)` \| ([^|]+) \| ([^|]+) \|", DOCUMENT, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", attributes)) for name, _, attributes in rows}


def queries() -> Iterator[tuple[str, str]]:
    for name, rule in rules().items():
        yield name, rule["query"]
    for item in WORKBOOK["items"]:
        if item["type"] == 3:
            yield item["name"], item["content"]["query"]


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    sections = re.findall(r"^### (\S+)$", DOCUMENT.partition("\n## Alerts\n")[2], re.MULTILINE)
    assert sections == list(rules())


@pytest.mark.parametrize("name", rules())
def test_a_section_says_how_grave_it_is_and_what_to_do(name: str) -> None:
    section = DOCUMENT.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
    assert f"*Severity {rules()[name]['severity']}." in section
    assert re.search(r"^1\. ", section, re.MULTILINE) or "As verify-failed" in section


def test_the_alerts_are_those_that_were_asked_for() -> None:
    asked = {
        *("no-complete-reconcile", "unprotected-too-long", "poison-messages", "sync-failed"),
        *("unusual-changes", "sas-expiry", "drill-failed"),
    }
    assert asked <= set(rules())


@pytest.mark.parametrize(("name", "query"), list(queries()))
def test_a_query_asks_for_metrics_and_attributes_that_there_are(name: str, query: str) -> None:
    known = metrics()
    asked = set(re.findall(r"'(snapkeep\.[\w.]+)'", query))
    assert asked <= set(known), "not in the table of docs/operations.md"
    attributes = set().union(*(known[each] for each in asked))
    assert set(re.findall(r"Properties\['(\w+)'\]", query)) <= attributes
    assert asked or "StorageBlobLogs" in query


def test_the_documented_metrics_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(snapkeep\.[\w.]+)` \| (\w+), `([^`]+)` \|", DOCUMENT, re.MULTILINE)
    assert sorted(rows) == sorted((each.name, each.kind.value, each.unit) for each in METRICS)


def test_every_metric_is_alerted_on_or_shown() -> None:
    asked = {metric for _, query in queries() for metric in re.findall(r"'(snapkeep\.[\w.]+)'", query)}
    assert set(metrics()) - asked == set()


@pytest.mark.parametrize("name", rules())
def test_an_alert_looks_back_over_a_window_that_azure_takes(name: str) -> None:
    """Windows and frequencies are of a fixed list, and a rule looks at least as far back as it runs apart."""
    rule = rules()[name]
    minutes = {"PT15M": 15, "PT30M": 30, "PT1H": 60, "PT2H": 120, "PT6H": 360, "P1D": 1440, "P2D": 2880}
    every, over = (minutes[rule[key].strip("'")] for key in ("every", "over"))
    assert every <= over
    longest = max([int(hours) * 60 for hours in re.findall(r"ago\((\d+)h\)", rule["query"])], default=0)
    assert longest <= over


def test_a_reconcile_that_never_ran_raises_its_alert_too() -> None:
    query = rules()["no-complete-reconcile"]["query"]
    assert "isnull(Last)" in query, "an empty table has no last run"
    assert "by " not in query.partition("summarize")[2], "grouped, an empty table would give no row at all"


def test_the_workbook_is_one_and_names_no_deployment() -> None:
    assert WORKBOOK["version"] == "Notebook/1.0"
    assert {item["type"] for item in WORKBOOK["items"]} == {1, 3, 9}
    source = (INFRA / "workbook.json").read_text(encoding="utf-8")
    assert "/subscriptions/" not in source
    assert "'__WORKSPACE__', workspaceId" in files()["modules/workbook.bicep"].source


def test_the_command_that_fetches_the_settings_gives_a_file_that_the_command_line_takes(tmp_path: Path) -> None:
    program = DOCUMENT.partition("python3 -c '\n")[2].partition("' >app.settings.json")[0]
    host = {"AzureWebJobsStorage__blobServiceUri": "https://host.blob.core.windows.net"}
    listed = host | {
        "SourceStorage__blobServiceUri": "https://source.blob.core.windows.net",
        "SourceStorage__credential": "managedidentity",
        "SourceStorage__clientId": "x",
        "BackupStorage__blobServiceUri": "https://backup.blob.core.windows.net",
        "BackupQueue__queueServiceUri": "https://host.queue.core.windows.net",
        "SNAPKEEP_ENGINE": "server",
    }
    answer = json.dumps([{"name": name, "slotSetting": False, "value": value} for name, value in listed.items()])
    made = subprocess.run([sys.executable, "-c", program], input=answer, capture_output=True, text=True, check=True)
    file = tmp_path / "app.settings.json"
    file.write_text(made.stdout)
    settings = Settings.load(read_settings_file(file))
    assert (settings.source.managed_identity, settings.source.client_id) == (False, None)

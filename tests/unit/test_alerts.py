"""Whoever is alarmed finds what to do; whatever is queried is something that the app sends."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.decisions.metrics import METRICS, Kind
from shared.settings import Settings, read_settings_file
from tests.bicep import INFRA, files, properties, text, walk
from tests.measured import everything

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


def said() -> dict[str, dict[str, set[str]]]:
    """What the code can say: of each metric its attributes, and of each of those the values."""
    found: dict[str, dict[str, set[str]]] = {}
    for metric, _, attributes in everything():
        of_metric = found.setdefault(metric.name, {})
        for name, value in attributes.items():
            of_metric.setdefault(name, set()).add(value)
    return found


SAID = said()


def clauses(query: str) -> Iterator[tuple[set[str], str]]:
    """Each part of a query that reads metrics: their names, and what it asks of them."""
    for part in re.split("AppMetrics|__METRICS__", query)[1:]:
        yield set(re.findall(r"'(snapkeep\.[\w.]+)'", part)), part


def asked_values(clause: str) -> Iterator[tuple[str, str]]:
    """Each attribute and value that are compared."""
    yield from re.findall(r"Properties\['(\w+)'\]\) [!=]= '([^']+)'", clause)
    for attribute, values in re.findall(r"Properties\['(\w+)'\]\) in \(([^)]+)\)", clause):
        yield from ((attribute, value) for value in re.findall(r"'([^']+)'", values))


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
    parts = list(clauses(query))
    for asked, clause in parts:
        assert asked
        assert asked <= set(SAID), "the code emits no such metric"
        for attribute in set(re.findall(r"Properties\['(\w+)'\]", clause)):
            assert any(attribute in SAID[metric] for metric in asked), attribute
        for attribute, value in asked_values(clause):
            assert all(value in SAID[metric][attribute] for metric in asked), f"{attribute} is never {value}"
    assert parts or "__DELETIONS__" in query


@pytest.mark.parametrize(("name", "query"), list(queries()))
def test_a_query_reads_columns_that_are_filled(name: str, query: str) -> None:
    """The exporter sends the least and the greatest of histograms alone."""
    histograms = {metric.name for metric in METRICS if metric.kind is Kind.HISTOGRAM}
    for asked, clause in clauses(query):
        if not asked <= histograms:
            assert not re.search(r"\b(Max|Min|ItemCount)\b", clause)


@pytest.mark.parametrize("name", rules())
def test_an_alert_works_before_its_table_is_there(name: str) -> None:
    query = rules()[name]["query"]
    assert not re.search(r"App(Metrics|Traces)|StorageBlobLogs", query)
    given = {each.name: text(each.value) for each in ALERTS.of("var").values()}
    tables = re.findall(r"__(METRICS|TRACES|DELETIONS)__", query)
    assert tables
    for table in tables:
        read = given[table.lower()]
        assert re.match(r"'\(union isfuzzy=true (AppMetrics|AppTraces|StorageBlobLogs), \(datatable\(", read)
        assert f"'__{table}__', {table.lower()}" in ALERTS.source
    columns = set(re.findall(r"(\w+): (?:datetime|string|real|dynamic)", "".join(given[one.lower()] for one in tables)))
    made = set(re.findall(r"(\w+) = ", query))
    plain = re.sub(r"'[^']*'", "", query.split("'''")[1])
    assert set(re.findall(r"\b[A-Z][A-Za-z]+\b", plain)) - made - columns == set()


def test_the_documented_metrics_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(snapkeep\.[\w.]+)` \| (\w+), `([^`]+)` \|", DOCUMENT, re.MULTILINE)
    assert sorted(rows) == sorted((each.name, each.kind.value, each.unit) for each in METRICS)
    assert metrics() == {name: set(attributes) for name, attributes in SAID.items()}


CLOSED = ("function", "outcome", "engine", "change", "queue", "proof")


def test_the_documented_values_are_those_of_the_code() -> None:
    for name, attributes in SAID.items():
        [row] = [line for line in DOCUMENT.splitlines() if line.startswith(f"| `{name}` ")]
        for attribute in CLOSED:
            if f"`{attribute}` is " in row:
                assert {value for value in attributes[attribute] if f"`{value}`" not in row} == set()


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


def test_what_comes_once_a_day_is_looked_for_over_two_days() -> None:
    """A gauge, or a count, of a nightly run: with a shorter window an alert would end though nothing is better."""
    daily = {metric.name for metric in METRICS if metric.kind is Kind.GAUGE} | {"snapkeep.proofs", "snapkeep.runs"}
    for name, rule in rules().items():
        if any(asked & daily for asked, _ in clauses(rule["query"])):
            assert rule["over"] == "'P2D'", name


@pytest.mark.parametrize(("name", "last"), [("no-complete-reconcile", "Last"), ("sync-failed", "TimeGenerated")])
def test_what_never_ran_raises_its_alert_too(name: str, last: str) -> None:
    query = rules()[name]["query"]
    assert f"isnull({last}) or {last} < ago(26h)" in query, "an empty table has no last run"
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

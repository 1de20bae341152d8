"""The dashboard and the alerts of deploy/: they name only metrics and labels that a server has."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.frontend.observability.test_vllm import everything, promtool

DEPLOY = Path(__file__).parents[3] / "deploy"
RULES = DEPLOY / "prometheus" / "nacelle.rules.yml"
DASHBOARD: Any = json.loads((DEPLOY / "grafana" / "nacelle.json").read_text())
PANELS: list[Any] = DASHBOARD["panels"]
QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']}-{target['refId']}")
    for panel in PANELS
    for target in panel.get("targets", [])
]
_OF_PROMETHEUS = {"instance", "job"}  # labels that a scrape adds


@pytest.fixture(scope="module")
def served() -> dict[str, set[str]]:
    """The labels of every series, by its name."""
    metrics = everything()
    model = metrics.of_model("m")
    model.of_replica(0)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def names_in(query: str) -> set[str]:
    return set(re.findall(r"\b(?:nacelle_|vllm:)\w+", query))


def labels_in(query: str) -> Iterator[str]:
    """Of matchers and of groupings."""
    for matchers in re.findall(r"\{([^}]*)\}", query):
        yield from re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)
    for grouping in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", query):
        yield from re.findall(r"\w+", grouping)


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_names_series_and_labels_that_a_server_has(query, served):
    names = names_in(query)
    assert names
    assert not names - set(served)
    labels = {label for name in names for label in served[name]}
    assert not set(labels_in(query)) - labels - _OF_PROMETHEUS


def test_alerts_name_series_and_labels_that_a_server_has(served):
    queries = re.findall(r"expr: (?:>-\n)?(.*?)\n        ?(?:for|labels):", RULES.read_text(), re.DOTALL)
    assert len(queries) == RULES.read_text().count("- alert:")
    for query in queries:
        assert names_in(query) and not names_in(query) - set(served), query
        labels = {label for name in names_in(query) for label in served[name]}
        assert not set(labels_in(query)) - labels - _OF_PROMETHEUS, query


def test_the_dashboard_has_what_grafana_requires():
    assert (DASHBOARD["uid"], DASHBOARD["title"]) == ("nacelle", "Nacelle")
    assert DASHBOARD["schemaVersion"] >= 36  # since then a data source is an object
    assert "id" not in DASHBOARD  # which Grafana gives
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(PANELS))) == variables
    for panel in PANELS:
        assert panel["type"] in {"row", "stat", "timeseries"}
        references = [target["refId"] for target in panel.get("targets", [])]
        assert len(set(references)) == len(references)
        assert bool(references) == (panel["type"] != "row")


def test_no_panel_covers_another():
    places = [panel["gridPos"] for panel in PANELS]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


@pytest.mark.promtool
def test_promtool_accepts_the_alerts():
    assert "SUCCESS: 9 rules found" in promtool("check", "rules", str(RULES))


@pytest.mark.promtool
def test_prometheus_understands_every_query_of_the_dashboard(tmp_path):
    rules = [
        {"record": f"query:{number}", "expr": str(query.values[0]).replace("$__rate_interval", "1m")}
        for number, query in enumerate(QUERIES)
    ]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"SUCCESS: {len(QUERIES)} rules found" in promtool("check", "rules", str(file))

"""Alert rules and dashboard ask for metrics that a service has, and the rules fire when they should."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.unit.serving.whole_application import whole_application

REPOSITORY = Path(__file__).resolve().parents[3]
RULES = REPOSITORY / "deploy" / "prometheus" / "alerts.yaml"
CASES = REPOSITORY / "deploy" / "prometheus" / "alerts_test.yaml"
DASHBOARD = REPOSITORY / "deploy" / "grafana" / "dashboards" / "catena.json"
PROMETHEUS_ADDS = {"job", "instance"}  # labels, to every series
WORDS = {"and", "or", "unless", "on", "by", "without", "offset", "ignoring", "group_left", "bool", "le"}

Labels = dict[str, set[str]]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Labels]:
    """Names of all metrics of a service that has answered, each with the values of its labels."""
    with TestClient(whole_application(tmp_path_factory.mktemp("service"))) as client:
        for path in ("/readyz", "/healthz", "/metrics", "/nowhere"):
            client.get(path)
        assert client.post("/v1/search", json={"query": "a"}).status_code == 200
        assert client.post("/v1/embeddings", json={"input": "a"}).status_code == 200
        page = client.get("/metrics").text
    found: dict[str, Labels] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


def expressions() -> dict[str, str]:
    """Every expression of rules and dashboard, by where it stands."""
    of_rules = {rule["alert"]: rule["expr"] for rule in rules()}
    of_panels = {f"{p['title']} {t['refId']}": t["expr"] for p in panels() for t in p["targets"]}
    return of_rules | of_panels


def selectors(expression: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """The metrics that a PromQL expression reads, each with its matchers: label, operator, value."""
    for name, matchers in re.findall(r"\b([a-z_]\w*)\{([^}]*)\}", expression):
        yield name, re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers)


def unknown(expression: str, series: dict[str, Labels]) -> list[str]:
    """What of an expression no series has: metrics, labels, and values that are asked for by name."""
    bare = re.sub(r'\{[^}]*\}|\[[^\]]*\]|\b(by|on|group_left)\s*\([^)]*\)|"[^"]*"', " ", expression)
    names = {word for word in re.findall(r"\b[a-z_]\w*\b(?!\s*\()", bare) if word not in WORDS and word != "m"}
    found = sorted(names - series.keys() - {"up"})
    for name, matchers in selectors(expression):
        labels = series.get(name, {})
        for label, operator, value in matchers:
            if name != "up" and label not in labels and label not in PROMETHEUS_ADDS:
                found.append(f"{name}: no label {label}")
            elif operator == "=" and label == "route" and value not in labels[label]:
                found.append(f"{name}: no route {value}")
    grouped = {label for inner in re.findall(r"\bby\s*\(([^)]*)\)", expression) for label in re.split(r",\s*", inner)}
    return found + sorted(grouped - {label for labels in series.values() for label in labels} - PROMETHEUS_ADDS)


@pytest.mark.parametrize("place", expressions())
def test_every_metric_label_and_route_that_is_asked_for_is_there(place: str, series: dict[str, Labels]) -> None:
    expression = expressions()[place]
    assert any(True for _ in selectors(expression)), f"{place} reads nothing"
    assert unknown(expression, series) == []


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ('rate(catena_answers_total{job="catena"}[5m])', ["catena_answers_total"]),
        ("catena_answers", ["catena_answers"]),
        ('up{job="catena"} or catena_waiting{shop="1"}', ["catena_waiting: no label shop"]),
        ('catena_requests_total{route="/v1/serach"}', ["catena_requests_total: no route /v1/serach"]),
        ('sum by (route, shop) (catena_requests_total{route!="none"})', ["shop"]),
    ],
)
def test_what_is_not_there_is_found(expression: str, wrong: list[str], series: dict[str, Labels]) -> None:
    found = unknown(expression, series)
    assert [one for one in wrong if one not in found] == []


def test_each_alert_is_shown_firing_and_silent_and_is_explained() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) >= 6
    checks = [check for case in yaml.safe_load(CASES.read_text())["tests"] for check in case["alert_rule_test"]]
    manual = (REPOSITORY / "docs" / "operations.md").read_text()
    for name in names:
        outcomes = {bool(check["exp_alerts"]) for check in checks if check["alertname"] == name}
        assert outcomes == {True, False}, name
        assert f"| `{name}` |" in manual, f"docs/operations.md does not say what to do about {name}"
    assert {check["alertname"] for check in checks} == set(names)  # a misspelt one would never fire


def test_the_dashboard_shows_what_it_promises() -> None:
    asked = " ".join(expressions().values())
    for metric in ("requests_total", "request_seconds_bucket", "phase_seconds_sum", "waiting", "expected_wait_seconds"):
        assert f"catena_{metric}" in asked
    boxes = [panel["gridPos"] for panel in panels()]
    cells = [(x, y) for b in boxes for x in range(b["x"], b["x"] + b["w"]) for y in range(b["y"], b["y"] + b["h"])]
    assert len(cells) == len(set(cells)), "panels lie on each other"
    assert all(panel["datasource"]["uid"] == "${source}" for panel in panels())


def test_grafana_finds_its_source_and_its_dashboard() -> None:
    provisioning = REPOSITORY / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    variables = {one["name"]: one for one in json.loads(DASHBOARD.read_text())["templating"]["list"]}
    assert variables["source"]["current"]["value"] == source["uid"]
    scrape = yaml.safe_load((REPOSITORY / "deploy" / "prometheus" / "prometheus.yaml").read_text())
    assert source["jsonData"]["timeInterval"] == scrape["global"]["scrape_interval"]
    (job,) = scrape["scrape_configs"]
    assert job["job_name"] == "catena" and scrape["rule_files"] == [RULES.name]


@pytest.fixture
def promtool() -> str:
    """Prometheus's own checker, of Debian's package prometheus."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool on the path: it comes with Debian's package prometheus")
    return found


def test_promtool_finds_rules_and_configuration_valid(promtool: str, tmp_path: Path) -> None:
    run = {"check": True, "capture_output": True, "text": True, "cwd": RULES.parent}
    subprocess.run([promtool, "check", "config", "--syntax-only", "prometheus.yaml"], **run)
    replaced = {"$__rate_interval": "5m", "$instance": ".+", "$route": ".+"}
    written = []
    for place, expression in expressions().items():
        for variable, value in replaced.items():
            expression = expression.replace(variable, value)
        written.append({"record": "a", "expr": expression, "labels": {"place": place}})
    every = tmp_path / "every.yaml"
    every.write_text(yaml.safe_dump({"groups": [{"name": "every", "rules": written}]}))
    subprocess.run([promtool, "check", "rules", str(RULES), str(every)], **run)


def test_rules_fire_when_they_should_and_only_then(promtool: str) -> None:
    done = subprocess.run([promtool, "test", "rules", CASES.name], cwd=CASES.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

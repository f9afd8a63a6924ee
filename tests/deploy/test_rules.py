"""Prometheus rules, alerts and dashboard: promtool agrees, every alert is
tested both ways, and nothing asks for a metric the server does not export."""

import json
import pathlib
import re
import subprocess

import pytest
import yaml

from queries import (
    DASHBOARDS,
    DEPLOY,
    RULE_FILES,
    compared_vectors,
    filled_in,
    panels,
    queries,
    rules,
)

HERE = pathlib.Path(__file__).parent
README = (DEPLOY / "README.md").read_text()
PROMTOOL_TESTS = sorted((HERE / "promtool").glob("*.test.yml"))

# What Prometheus adds to every series, and its own.
TARGET_LABELS = {"job", "instance"}
PROMETHEUS_OWN = {"up": set()}

_WORDS = {"and", "or", "unless", "group_left", "group_right", "bool", "offset"}
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


def promtool(*arguments):
    result = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


def exported() -> dict[str, set[str]]:
    """Series the server exports, with their labels, from the table in
    deploy/README.md, which a unit test compares with a real scrape."""
    series = {}
    row = re.compile(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)
    for name, kind, cell in row.findall(README):
        labels = set(re.findall(r"`(\w+)`", cell))
        if kind == "histogram":
            series[f"{name}_bucket"] = labels | {"le"}
            series[f"{name}_sum"] = series[f"{name}_count"] = labels
        else:
            series[name] = labels
    return series


def recorded() -> dict[str, set[str]]:
    """Series the recording rules make, with the labels they keep."""
    series = {}
    for rule in rules():
        if "record" not in rule:
            continue
        grouping = _GROUPING.findall(rule["expr"])
        labels = set(re.findall(r"\w+", grouping[0])) if grouping else set()
        series[rule["record"]] = labels - {"le"}
    return series


def series_in(expression: str) -> list[tuple[str, set[str]]]:
    """Series an expression selects, each with the labels it matches on."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    text = re.sub(r"\[[^\]]*\]", "", _GROUPING.sub("", text))
    found = []
    for name, call, matchers in re.findall(
        r"(?<![\w.:])([a-zA-Z_:][\w:]*)\s*(\()?(?:\{([^}]*)\})?", text
    ):
        if call or name in _WORDS:
            continue
        # Inside braces: `{label="..."}` was consumed with its metric.
        found.append((name, set(re.findall(r"(\w+)\s*[=!]", matchers))))
    return found


def every_expression() -> list[str]:
    return queries() + [r["expr"] for r in rules()]


def test_scrape_configuration_is_valid():
    promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")


@pytest.mark.parametrize("path", RULE_FILES, ids=lambda p: p.name)
def test_rules_are_valid(path):
    promtool("check", "rules", path)


@pytest.mark.parametrize("path", PROMTOOL_TESTS, ids=lambda p: p.name)
def test_rules_do_what_their_tests_say(path):
    promtool("test", "rules", path)


def test_prometheus_loads_every_rule_file():
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    loaded = {DEPLOY / "prometheus" / path for path in config["rule_files"]}
    assert loaded == set(RULE_FILES)


def promtool_cases(kind):
    for path in PROMTOOL_TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            yield from test.get(kind, [])


@pytest.mark.parametrize("alert", [r["alert"] for r in rules() if "alert" in r])
def test_every_alert_is_tested_firing_and_silent(alert):
    outcomes = {
        bool(case["exp_alerts"])
        for case in promtool_cases("alert_rule_test")
        if case["alertname"] == alert
    }
    assert outcomes == {True, False}


@pytest.mark.parametrize("record", recorded())
def test_every_recording_rule_is_evaluated(record):
    tested = [
        case["expr"]
        for case in promtool_cases("promql_expr_test")
        if case["exp_samples"]
    ]
    assert any(record in expression for expression in tested)


@pytest.mark.parametrize(
    "rule",
    [r for r in rules() if "alert" in r],
    ids=lambda rule: rule["alert"],
)
def test_every_alert_says_what_to_do(rule):
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    notes = rule["annotations"]
    assert set(notes) == {"summary", "description", "runbook"}
    document, anchor = notes["runbook"].split("#")
    assert document == "deploy/README.md"
    assert anchor == rule["alert"].lower()
    section = README.split(f"\n### {rule['alert']}\n")
    assert len(section) == 2, f"{document} has no section {rule['alert']}"
    assert len(section[1].split("\n### ")[0].split()) > 15


@pytest.mark.parametrize("expression", every_expression())
def test_every_query_asks_for_what_is_exported(expression):
    known = PROMETHEUS_OWN | exported() | recorded()
    selected = series_in(expression)
    assert selected, "no series in it"
    for name, labels in selected:
        assert name in known, f"nobody exports {name}"
        assert labels <= known[name] | TARGET_LABELS, name


def test_what_rules_group_by_is_a_label_of_what_they_read():
    for rule in rules():
        known = PROMETHEUS_OWN | exported() | recorded()
        available = set(TARGET_LABELS)
        for name, _ in series_in(rule["expr"]):
            available |= known[name]
        for labels in _GROUPING.findall(rule["expr"]):
            assert set(re.findall(r"\w+", labels)) <= available, rule


def test_an_alert_compares_vectors_that_exist_when_all_is_well():
    assert compared_vectors(
        "min_over_time(a[5m]) > 0\nand on (job)\nrate(b[5m]) == 0"
    ) == ["min_over_time(a[5m])", "rate(b[5m])"]
    for rule in rules():
        if "alert" not in rule:
            continue
        for vector in compared_vectors(rule["expr"]):
            without_matchers = re.sub(r"\{[^}]*\}", "", vector)
            assert not re.search(r"[<>=]", without_matchers), vector


def test_series_are_found_in_expressions():
    assert series_in(
        'sum by (job) (rate(a_total{x="1",y=~"b{c}"}[5m])) / on (job) up > 0.5'
    ) == [("a_total", {"x", "y"}), ("up", set())]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.name)
def test_dashboard_is_what_grafana_imports(path):
    dashboard = json.loads(path.read_text())
    assert dashboard["title"] and dashboard["uid"]
    assert dashboard["schemaVersion"] >= 36
    variables = {v["name"]: v for v in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"\$\{?(\w+)", path.read_text()))
    assert used <= set(variables) | {"__rate_interval", "__all"}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.name)
def test_panels_do_not_overlap_and_fit_the_grid(path):
    taken = set()
    for panel in json.loads(path.read_text())["panels"]:
        area = panel["gridPos"]
        assert area["x"] >= 0 and area["x"] + area["w"] <= 24, panel["title"]
        for x in range(area["x"], area["x"] + area["w"]):
            for y in range(area["y"], area["y"] + area["h"]):
                assert (x, y) not in taken, panel["title"]
                taken.add((x, y))


@pytest.mark.parametrize("panel", panels(), ids=lambda p: p["title"])
def test_every_panel_explains_itself(panel):
    assert panel["title"] and panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    for source in [panel, *panel["targets"]]:
        assert source["datasource"]["uid"] == "${datasource}"
    for target in panel["targets"]:
        assert "$" not in filled_in(target["expr"])


def test_dashboard_shows_every_metric_of_the_service():
    """A metric that nobody looks at is missing a panel or should not be."""
    seen = {
        name
        for panel in panels()
        for target in panel["targets"]
        for name, _ in series_in(filled_in(target["expr"]))
    }
    by_rule = {r["record"]: r["expr"] for r in rules() if "record" in r}
    for name in list(seen & set(by_rule)):
        seen |= {metric for metric, _ in series_in(by_rule[name])}
    alerts = {
        name
        for rule in rules()
        if "alert" in rule
        for name, _ in series_in(rule["expr"])
    }
    for family in re.findall(r"^\| `(octet_\w+)` \|", README, re.MULTILINE):
        series = {family, *(f"{family}_{s}" for s in ("bucket", "sum"))}
        assert series & (seen | alerts), f"no panel or alert reads {family}"


def test_readme_lists_the_flags_of_the_server():
    source = (DEPLOY.parent / "server" / "flags.cc").read_text()
    flags = re.findall(r'\bAdd\(app, "([\w-]+)"|add_flag\("--([\w-]+)"', source)
    flags = [option or switch for option, switch in flags]
    assert flags
    documented = re.findall(r"^\| `--([\w-]+)` \|", README, re.MULTILINE)
    assert documented == flags

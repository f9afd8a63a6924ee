"""Every PromQL expression of the rules and the dashboard.

    queries() -> list of strings that a Prometheus answers with data, once it
    has scraped a server that had traffic

Dashboard variables are filled in: selectors match everything, and the rate
interval is five minutes. An alert's expression returns nothing while all is
well, so for alerts the vectors that it compares are listed instead:
"a > 0 and b == 0" gives "a" and "b".
"""

import json
import pathlib
import re

import yaml

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
RULE_FILES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))

_SET_OPERATOR = re.compile(
    r"\b(?:and|or|unless)\b(?:\s+(?:on|ignoring)\s*\([^)]*\))?"
)
_COMPARISON = re.compile(r"\s*(?:==|!=|>=|<=|>|<)\s*[-+.\de]+\s*$")


def rules() -> list[dict]:
    """The rules of all files, as they are written there."""
    return [
        rule
        for path in RULE_FILES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def compared_vectors(expression: str) -> list[str]:
    """What an alert's expression compares with constants."""
    return [
        _COMPARISON.sub("", part).strip()
        for part in _SET_OPERATOR.split(expression)
    ]


def panels() -> list[dict]:
    """The panels of all dashboards that ask Prometheus something."""
    return [
        panel
        for path in DASHBOARDS
        for panel in json.loads(path.read_text())["panels"]
        if panel["type"] != "row"
    ]


def filled_in(expression: str) -> str:
    """A dashboard's expression as Grafana would send it."""
    for variable in ("$job", "$instance", "$model"):
        expression = expression.replace(variable, ".*")
    return expression.replace("$__rate_interval", "5m")


def queries() -> list[str]:
    found = []
    for rule in rules():
        if "alert" in rule:
            found += compared_vectors(rule["expr"])
        else:
            found += [rule["expr"].strip(), rule["record"]]
    for panel in panels():
        found += [filled_in(target["expr"]) for target in panel["targets"]]
    return list(dict.fromkeys(found))

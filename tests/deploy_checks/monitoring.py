"""Alerts and dashboards, as Prometheus reads them. tests/deployment.rs holds their metrics to the reference page."""

import json
import pathlib
import re
import subprocess
import tempfile

import yaml

from .tools import ROOT

ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
DASHBOARDS = ROOT / "deploy/grafana"
# What Grafana puts in the place of its variables.
VARIABLES = {"$__rate_interval": "5m", "$namespace": "models", "$job": "vllm-epp"}


def run(report, kit):
    """All checks of monitoring."""
    dashboards = {path.name: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}
    for name, dashboard in dashboards.items():
        report.check(f"{name}: panels", _panels(dashboard))
    promtool = kit.program("promtool")
    if not promtool:
        report.skip("queries and alerts", "no promtool; cure: apt-get install prometheus")
        return
    report.check("promtool check rules", _promtool(promtool, ALERTS.read_text()))
    cases = pathlib.Path(__file__).with_name("alerts_test.yaml").read_text().replace("RULES", str(ALERTS))
    report.check("promtool test rules", _promtool(promtool, cases, "test"))
    for name, dashboard in dashboards.items():
        report.check(f"{name}: Prometheus reads its queries", _promtool(promtool, _as_rules(dashboard)))


def _panels(dashboard):
    """Every panel says what it shows, has a query, and lies on no other."""
    taken = {}
    if not dashboard["uid"].startswith("murmuration-") or dashboard.get("id") is not None:
        yield "a dashboard needs a uid of ours, and no id of one Grafana"
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                if x >= 24 or (x, y) in taken:
                    yield f"{panel['title']} lies on {taken.get((x, y), 'the edge')}"
                    return
                taken[x, y] = panel["title"]
        if panel["type"] != "row" and not (panel["description"] and panel["targets"]):
            yield f"{panel['title']}: no description or no query"


def queries(dashboard):
    """The queries with Grafana's variables replaced."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            text = target["expr"]
            for name, value in VARIABLES.items():
                text = text.replace(name, value)
            assert not re.search(r"\$\w", text), text
            yield text


def _as_rules(dashboard):
    rules = [{"record": f"query:{number}", "expr": text} for number, text in enumerate(queries(dashboard))]
    return yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]})


def _promtool(promtool, text, verb="check"):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        done = subprocess.run([promtool, verb, "rules", file.name], capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [done.stdout + done.stderr]

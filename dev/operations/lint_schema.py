"""Each dashboard against Grafana's own schema, and each panel's options against those of its kind."""

import json
from pathlib import Path

from jsonschema import Draft7Validator

from files import DASHBOARDS, Found

SCHEMAS = Path(__file__).resolve().parent / "schema"


def validator(name):
    return Draft7Validator(json.loads((SCHEMAS / f"{name}.json").read_text()))


def faults(where, judge, value):
    return [f"{where}/{'/'.join(str(part) for part in error.path)}: {error.message[:200]}" for error in judge.iter_errors(value)]


def check():
    dashboard = validator("dashboard")
    options = {kind: validator(f"{kind}_options") for kind in ("stat", "timeseries")}
    custom = validator("timeseries_custom")
    found, panels = [], 0
    for path in sorted(DASHBOARDS.glob("*.json")):
        shown = json.loads(path.read_text())
        found += faults(path.name, dashboard, shown)
        for panel in shown["panels"]:
            if panel["type"] == "row":
                continue
            panels += 1
            where = f"{path.name}: {panel['title']}"
            if panel["type"] not in options:
                found.append(f"{where}: no schema for panels of kind {panel['type']}")
                continue
            found += faults(where, options[panel["type"]], panel["options"])
            if panel["type"] == "timeseries":
                found += faults(where, custom, panel["fieldConfig"]["defaults"]["custom"])
    if found:
        raise Found(found)
    return f"{panels} panels"

"""Grafana's JSON of dev/operations/panels.py, with each alert beside its threshold; and what every dashboard must keep."""

import json
import re

import panels
import promql
from files import DASHBOARDS as PLACE
from files import Found, alerts

SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTHS = {"stat": 6, "timeseries": 12}
HEIGHTS = {"stat": 4, "timeseries": 8}
UNITS = {"short", "ops", "s", "percentunit", "bytes"}
VARIABLES = [
    {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus", "current": {"text": "Prometheus", "value": "prometheus"},
     "hide": 2, "includeAll": False, "multi": False, "refresh": 1, "options": []},
    {"name": "instance", "label": "Node", "type": "query", "datasource": SOURCE, "query": {"query": 'label_values(up{job="malote"}, instance)', "refId": "instance"},
     "includeAll": True, "allValue": ".*", "multi": True,
     "current": {"text": ["All"], "value": ["$__all"]}, "refresh": 2, "sort": 1, "options": [], "regex": "", "hide": 0},
]


def steps(threshold=None, below=False):
    if threshold is None:
        return [{"color": "green", "value": None}]
    colors = ("red", "green") if below else ("green", "red")
    return [{"color": colors[0], "value": None}, {"color": colors[1], "value": threshold}]


def field(kind, unit, threshold=None, below=False):
    defaults = {"unit": unit, "color": {"mode": "palette-classic" if kind == "timeseries" else "thresholds"},
                "thresholds": {"mode": "absolute", "steps": steps(threshold, below)}}
    if kind == "timeseries":
        defaults["custom"] = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never",
                              "thresholdsStyle": {"mode": "off" if threshold is None else "line"}}
    return {"defaults": defaults, "overrides": []}


def options(kind):
    if kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "value", "graphMode": "area",
                "justifyMode": "auto", "textMode": "auto", "orientation": "auto", "wideLayout": True, "showPercentChange": False,
                "percentChangeColorMode": "standard"}
    return {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}}


def panel(number, place, kind, title, words, unit, queries, threshold=None, below=False, links=()):
    targets = [{"refId": chr(ord("A") + at), "datasource": SOURCE, "expr": expression, "legendFormat": legend, "editorMode": "code",
                "range": kind == "timeseries", "instant": kind == "stat"} for at, (expression, legend) in enumerate(queries)]
    return {"id": number, "type": kind, "title": title, "description": words, "datasource": SOURCE, "gridPos": place,
            "fieldConfig": field(kind, unit, threshold, below), "options": options(kind), "targets": targets, "links": list(links)}


def of_alert(rule):
    """What an alert compares, and with what: the first comparison with a number in it."""
    for node, _ in promql.walk(promql.parse(rule["expr"])):
        if promql.kind(node) == "BinaryExpr" and str(node.op) in (">", "<", ">=", "<=", "==") and promql.kind(node.rhs) == "NumberLiteral":
            return node.lhs.prettify(), node.rhs.val, str(node.op) in ("<", "<=")
    return rule["expr"], None, False


def alert_panels(uid):
    found = []
    for _, _, rule in alerts():
        if not rule["annotations"]["dashboard_url"].endswith(f"/d/{uid}"):
            continue
        expression, threshold, below = of_alert(rule)
        slo = rule["labels"].get("slo")
        unit = "percentunit" if slo or "humanizePercentage" in rule["annotations"]["summary"] else "short"
        title = rule["alert"] + (f" {slo}" if slo else "")
        words = f"{rule['annotations']['description'].split('{{')[0].strip() or rule['alert']} The line is the threshold; runbook: docs/runbooks/{rule['alert']}.md."
        found.append((title, words, unit, [(expression, "{{instance}}")], threshold, below))
    return found


def dashboard(name, title, question, rows):
    placed, number, down = [], 0, 0

    def row(words):
        nonlocal number, down
        number += 1
        placed.append({"id": number, "type": "row", "title": words, "collapsed": False, "gridPos": {"h": 1, "w": 24, "x": 0, "y": down}, "panels": []})
        down += 1

    def fill(wanted):
        nonlocal number, down
        across, tall = 0, 0
        for kind, *rest in wanted:
            if across + WIDTHS[kind] > 24:
                across, down, tall = 0, down + tall, 0
            number += 1
            placed.append(panel(number, {"h": HEIGHTS[kind], "w": WIDTHS[kind], "x": across, "y": down}, kind, *rest))
            across, tall = across + WIDTHS[kind], max(tall, HEIGHTS[kind])
        down += tall

    for words, wanted in rows:
        row(words)
        fill(wanted)
    row("Alerts")
    fill([("timeseries", *rest) for rest in alert_panels(f"malote-{name}")])
    return {"uid": f"malote-{name}", "title": f"Malote: {title}", "description": question, "tags": ["malote"], "schemaVersion": 39, "version": 1,
            "editable": False, "graphTooltip": 1, "refresh": "10s", "time": {"from": "now-1h", "to": "now"}, "timezone": "utc", "timepicker": {},
            "annotations": {"list": []}, "templating": {"list": VARIABLES}, "panels": placed,
            "links": [{"title": "Malote", "type": "dashboards", "tags": ["malote"], "asDropdown": True, "includeVars": True, "keepTime": True,
                       "icon": "external link", "targetBlank": False, "tooltip": "", "url": ""}]}


def texts():
    return {PLACE / f"{name}.json": json.dumps(dashboard(name, title, question, rows), indent=2) + "\n" for name, title, question, rows in panels.ALL}


def overlap(one, other):
    a, b = one["gridPos"], other["gridPos"]
    return a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]


def of_panel(where, shown):
    found = [] if shown["description"].strip() else [f"{where}: says nothing"]
    if shown["datasource"] != SOURCE or any(target["datasource"] != SOURCE for target in shown["targets"]):
        found.append(f"{where}: the source is not the variable")
    if shown["fieldConfig"]["defaults"]["unit"] not in UNITS:
        found.append(f"{where}: no unit of ours")
    if not shown["targets"]:
        found.append(f"{where}: asks nothing")
    for target in shown["targets"]:
        expression = target["expr"]
        for name, matchers, has_range, call in promql.selectors(expression):
            if name and re.search(r"_(total|bucket|count|sum)$", name) and call not in ("rate", "increase", "irate", None) and has_range:
                found.append(f"{where}: {name} inside of {call}")
            if name and name.endswith("_total") and not has_range:
                found.append(f"{where}: the counter {name} is shown as it is")
        if where.endswith("Alerts") is False and re.search(r"\[\d+[smhd]\]", expression) and shown["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "off" \
                and "slo:" not in expression and "absent" not in expression and " and " not in expression:
            found.append(f"{where}: a fixed window instead of $__rate_interval")
    return found


def check():
    found, seen = [], set()
    names = {name for name, *_ in panels.ALL}
    if {path.stem for path in PLACE.glob("*.json")} != names:
        found.append("dashboards/ holds others than dev/operations/panels.py")
    for path in sorted(PLACE.glob("*.json")):
        shown = json.loads(path.read_text())
        found += [f"{path.name}: the uid {shown['uid']} is there twice"] if shown["uid"] in seen else []
        seen.add(shown["uid"])
        every = shown["panels"]
        if len({one["id"] for one in every}) != len(every):
            found.append(f"{path.name}: two panels have one id")
        found += [f"{path.name}: {one['title']} and {other['title']} overlap" for at, one in enumerate(every) for other in every[at + 1:] if overlap(one, other)]
        for one in every:
            if one["type"] != "row":
                found += of_panel(f"{path.name}: {one['title']}", one)
    shown = {one["title"] for path in PLACE.glob("*.json") for one in json.loads(path.read_text())["panels"]}
    found += [f"{rule['alert']} has no panel" for _, _, rule in alerts() if not any(title.split(" ")[0] == rule["alert"] for title in shown)]
    if found:
        raise Found(found)
    return f"{len(seen)} dashboards, {len(shown)} panels"

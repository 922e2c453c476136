"""Asks a real Prometheus, which has scraped a running server for some minutes, everything that the dashboards ask."""

import json
import math
import sys
import time
import urllib.parse
import urllib.request

from files import DASHBOARDS, Found
from panels import QUIET

SERIES_MOST, SECONDS_MOST, SCRAPED_FOR = 50, 1.0, 300
# Jobs that an installation may not have: their panels may be empty where nothing of theirs is scraped.
OPTIONAL = {'job="host"': "host", "redis_": "redis", "pg_": "postgresql", "node_": "host", "pgbackrest_": "host", "backup_": "host", "malote_archive": "host",
            "malote_backup": "host", "rabbitmq_": "rabbitmq"}
VARIABLES = {"$__rate_interval": "60s", "$__range": "300s", "$instance": ".+"}


def ask(prometheus, path, **parameters):
    with urllib.request.urlopen(f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=10) as answer:
        return json.load(answer)


def jobs(prometheus):
    return {found["metric"]["job"] for found in ask(prometheus, "query", query="up == 1")["data"]["result"]}


def may_be_empty(expression, title, present):
    if any(part in expression for part in QUIET) or title.startswith(("SloFastBurn", "SloSlowBurn")):
        return True
    # What an alert compares is often there only while something fails.
    return any(part in expression for part in ("absent(", "== 0")) or any(part in expression and job not in present for part, job in OPTIONAL.items())


def of_target(prometheus, where, title, expression, present):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    now, began = time.time(), time.monotonic()
    answer = ask(prometheus, "query_range", query=expression, start=now - SCRAPED_FOR, end=now, step=15)
    took, result = time.monotonic() - began, answer["data"]["result"]
    found = [f"{where}: {warning}" for warning in answer.get("warnings", [])]
    if took > SECONDS_MOST:
        found.append(f"{where}: took {took:.1f} s")
    if len(result) > SERIES_MOST:
        found.append(f"{where}: {len(result)} series")
    finite = any(math.isfinite(float(value)) for series in result for _, value in series["values"])
    if not result and not may_be_empty(expression, title, present):
        found.append(f"{where}: nothing for {expression}")
    elif result and not finite and "histogram_quantile" not in expression and "/" not in expression:
        found.append(f"{where}: no finite value for {expression}")
    return found, bool(result)


def main(prometheus):
    present, found, asked, answered = jobs(prometheus), [], 0, 0
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                lines, is_there = of_target(prometheus, f"{path.stem}: {panel['title']}", panel["title"], target["expr"], present)
                found, asked, answered = found + lines, asked + 1, answered + is_there
    print(f"{asked} queries, {answered} with data, jobs {', '.join(sorted(present))}", file=sys.stderr)
    if found:
        raise Found(found)

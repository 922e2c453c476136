"""What every rule must keep, beyond what promtool asks."""

import re
import subprocess

import promql
from files import RULES, Found, alerts, relative, rules, seconds

SEVERITIES = {"critical", "warning"}
TEAMS = {"platform", "messaging", "security"}
ANNOTATIONS = ["summary", "description", "runbook_url", "dashboard_url"]
# Alerts of these files say what to do first in their runbooks alone.
BY_RUNBOOK = {"recovery"}
ALWAYS_FIRES = {"Watchdog"}
SCRAPE_SECONDS = 5
RATES = {"rate", "increase", "irate"}
# Counters by their names, and a gauge of others that only looks like one.
GAUGES = {"pg_stat_activity_count"}
COUNTER = re.compile(r"(_total|_count|_sum|_bucket)$")


def of_alert(path, group, rule):
    where, labels, notes = f"{path.name}: {rule['alert']}", rule.get("labels", {}), rule.get("annotations", {})
    found = [f"{where} has no {name}" for name in ANNOTATIONS if not notes.get(name)]
    quiet = rule["alert"] in ALWAYS_FIRES
    if labels.get("severity") not in ({"none"} if quiet else SEVERITIES):
        found.append(f"{where}: severity {labels.get('severity')!r} is none of ours")
    if labels.get("team") not in TEAMS:
        found.append(f"{where}: team {labels.get('team')!r} is none of ours")
    if not quiet and not promql.compares(promql.parse(rule["expr"])):
        found.append(f"{where} compares nothing, so it would always fire")
    if "absent(" in rule["expr"] and seconds(rule.get("for")) < 2 * SCRAPE_SECONDS:
        found.append(f"{where}: absent() needs `for`, or it fires when Prometheus starts")
    if any("$value" in str(value) for value in labels.values()):
        found.append(f"{where}: a value in a label makes each value an alert of its own")
    if not quiet and "keep_firing_for" not in rule:
        found.append(f"{where}: without keep_firing_for it flaps")
    if not quiet and not labels.get("slo") and path.stem not in BY_RUNBOOK and "first" not in notes.get("description", "").lower():
        found.append(f"{where}: the description does not say what to do first")
    if seconds(group.get("interval", "1m")) > 300:
        found.append(f"{where}: its group is evaluated too seldom")
    aggregated = re.match(r"(sum|max|min|avg|count)\s*(?!\s*(by|without))\(", rule["expr"]) and " by " not in rule["expr"]
    for label in promql.labels_in_template(" ".join(notes.values())) - set(labels):
        if aggregated or (" by " in rule["expr"] and label not in rule["expr"]):
            found.append(f"{where}: its words use the label {label}, which its expression does not keep")
    return found


def of_expression(path, rule):
    where, found = f"{path.name}: {rule.get('alert') or rule['record']}", []
    for name, matchers, has_range, call in promql.selectors(rule["expr"]):
        is_counter = bool(name and COUNTER.search(name) and name not in GAUGES)
        if is_counter and call not in RATES:
            found.append(f"{where}: the counter {name} is read as it is, without rate or increase")
        if call in RATES and has_range and name and not is_counter:
            found.append(f"{where}: {call}() of {name}, which is no counter")
        for label, (operator, value) in matchers.items():
            if operator.endswith("Re") and not re.search(r"[.*+?|()\[\]\\]", value):
                found.append(f"{where}: {label}=~\"{value}\" is an equality")
    for window in re.findall(r"\[(\w+)\]", rule["expr"]):
        if seconds(window) < 4 * SCRAPE_SECONDS:
            found.append(f"{where}: a window of {window} holds too few scrapes")
    for node, _ in promql.walk(promql.parse(rule["expr"])):
        if promql.kind(node) == "AggregateExpr" and str(node.op) in ("topk", "bottomk") and "alert" in rule:
            found.append(f"{where}: topk in an alert flaps")
    return found


def unguarded(path, rule):
    """A ratio without a least number of events pages on the first failure of a quiet night."""
    expression = rule["expr"]
    shares = re.search(r"\n/ sum\(rate", expression)
    return [f"{path.name}: {rule['alert']} is a ratio of rates without a least number of events"] \
        if shares and ">=" not in expression else []


def recorded(known):
    """Names with a colon are recorded somewhere, before they are used, or the rule waits for ever."""
    names = {rule["record"] for _, _, rule in known if "record" in rule}
    return [f"{path.name}: {name} is recorded nowhere" for path, _, rule in known
            for name in promql.metrics(rule["expr"]) if ":" in name and name not in names]


def check():
    known = list(rules())
    done = subprocess.run(["promtool", "check", "rules", "--lint=all", "--lint-fatal", *map(str, sorted(RULES.glob("*.yml")))],
                          capture_output=True, text=True)
    found = [done.stdout + done.stderr] if done.returncode else []
    for path, group, rule in alerts():
        found += of_alert(path, group, rule) + unguarded(path, rule)
    for path, _, rule in known:
        found += of_expression(path, rule)
    found += recorded(known)
    seen = set()
    for path, _, rule in alerts():
        name = (rule["alert"], tuple(sorted(rule["labels"].items())))
        found += [f"{relative(path)}: {rule['alert']} is there twice"] if name in seen else []
        seen.add(name)
    if found:
        raise Found(found)
    return f"{len(known)} rules, {len(alerts())} of them alerts"

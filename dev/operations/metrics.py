"""docs/metrics.md: what a server shows, and who looks at it."""

import json
import re
import sys
import urllib.request

import promql
from files import DASHBOARDS, ROOT, Found, alerts, read_yaml, rules

PAGE = ROOT / "docs" / "metrics.md"
OTHERS = ROOT / "alerts" / "metrics_of_others.yaml"
ROW = re.compile(r"^\| `(malote_\w+)` \| (\w+) \| (.*?) \| (.*?) \| .* \|$", re.M)
HEAD = """# Metrics

Every metric that a server shows on `/metrics` of its internal address, what it means, and who looks at it. Written by
`dev/ops metrics --write URL` from a running server; `make lint` compares the last column with rules and dashboards, and
`dev/ops metrics URL` the others with a server. Counters end in `_total` there, histograms in `_bucket`, `_sum` and `_count`.

Labels come from closed sets, and nothing carries a phone number, a message's or a campaign's id. Two gauges name tenants,
a bounded number of them: the deepest mailboxes and those in quarantine.

| metric | type | meaning | labels | looked at by |
|---|---|---|---|---|
"""


def of_page(text):
    """Name, type, help and labels of each metric of an exposition."""
    found = {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, name, words = line.split(" ", 3)
            found[name] = [None, words.rstrip("."), set()]
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            found[name][0] = kind
        elif line and not line.startswith("#"):
            name, _, labels = line.partition("{")
            base = promql.base(name.split(" ")[0], found)
            found[base][2].update(re.findall(r'(\w+)="', labels.rpartition("}")[0]))
    return {name: (kind, words, ", ".join(f"`{label}`" for label in sorted(labels - {"le"}))) for name, (kind, words, labels) in found.items()}


def documented():
    return {name: (kind, words, labels) for name, kind, words, labels in ROW.findall(PAGE.read_text())}


def known():
    """Whether a name is exported by somebody: by us, by others, or by a recording rule."""
    ours, others = documented(), {name for names in read_yaml(OTHERS).values() for name in names}
    recorded = {rule["record"] for _, _, rule in rules() if "record" in rule}
    return lambda name: promql.base(name, ours) is not None or name in others or name in recorded


def queries():
    """Every expression with the name of what asks it."""
    for _, _, rule in rules():
        yield rule.get("alert") or rule["labels"]["slo"], rule["expr"]
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield path.stem, target["expr"]


def users(types):
    found = {name: [] for name in types}
    for who, expression in queries():
        for name in promql.metrics(expression):
            base = promql.base(name, types)
            if base and who not in found[base]:
                found[base].append(who)
    return found


def text(types):
    looked = users(types)
    rows = [f"| `{name}` | {kind} | {words} | {labels or 'none'} | {', '.join(sorted(looked[name]))} |\n"
            for name, (kind, words, labels) in sorted(types.items())]
    return HEAD + "".join(rows)


def check():
    """What can be said without a server: the page is as it would be written, all is exported, all is looked at."""
    types = documented()
    found = [] if PAGE.read_text() == text({name: (kind, words, "" if labels == "none" else labels) for name, (kind, words, labels) in types.items()}) \
        else ["docs/metrics.md is stale: dev/ops generate"]
    is_known = known()
    for who, expression in queries():
        found += [f"{who} asks for {name}, which nothing exports" for name in sorted(promql.metrics(expression)) if not is_known(name)]
    found += [f"{name} is exported and nobody looks at it" for name, who in users(types).items() if not who]
    used = {name for _, expression in queries() for name in promql.metrics(expression)}
    for job, names in read_yaml(OTHERS).items():
        found += [f"{OTHERS.name}: {name} of {job} is used nowhere" for name in names if name not in used]
    if found:
        raise Found(sorted(set(found)))
    return f"{len(types)} metrics, all looked at"


def rewrite():
    types = documented()
    PAGE.write_text(text({name: (kind, words, "" if labels == "none" else labels) for name, (kind, words, labels) in types.items()}))


def main(words):
    """Compares the page with a running server, or writes it from one."""
    addresses = [word for word in words if not word.startswith("--")]
    if len(addresses) != 1:
        raise Found(["usage: dev/ops metrics [--write] http://127.0.0.1:9090/metrics"])
    with urllib.request.urlopen(addresses[0], timeout=10) as answer:
        shown = of_page(answer.read().decode())
    if "--write" in words:
        PAGE.write_text(text(shown))
        return print(f"{len(shown)} metrics written")
    told = {name: (kind, meaning, "" if labels == "none" else labels) for name, (kind, meaning, labels) in documented().items()}
    found = [f"the server shows {name} as {shown[name]}, docs/metrics.md has {told.get(name)}" for name in shown
             # A gauge of tenants shows no label while there is none.
             if name not in told or told[name][:2] != shown[name][:2] or (shown[name][2] and shown[name][2] != told[name][2])]
    found += [f"docs/metrics.md has {name}, which the server does not show" for name in told if name not in shown]
    if found:
        raise Found(found)
    return print(f"{len(shown)} metrics as documented", file=sys.stderr)

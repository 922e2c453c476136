"""Prometheus and Alertmanager for the drill: the repository's own rules and routes, a history, a naive rule beside ours."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import yaml
from drill_stage import CHECKOUT, Failed, eventually, run
from receivers import CONTROL, moment

HISTORY_HOURS = 26
STEP = 60
# Longer than a scrape, so that each rate has two samples of each node.
MEASURED_FOR = 40
LINE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)")
# What somebody writes first: a minute's share of errors, and no more. It goes the same way as ours, to a receiver of its own.
NAIVE = {"groups": [{"name": "control", "interval": "5s", "rules": [{
    "alert": "NaiveErrorRate", "expr": 'slo:error_ratio:1m{slo="message_acceptance"} > 0.05', "labels": {"severity": "control", "team": "control"},
    "annotations": {"summary": "More than 5 % of calls failed in the last minute"}}]}]}


def ask(address, path, **parameters):
    try:
        with urllib.request.urlopen(f"{address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=20) as answer:
            return json.load(answer)["data"]
    except OSError as error:
        raise Failed(f"Prometheus, {path}: {error}") from error


class Watch:
    """What watches the stage."""

    def __init__(self, stack, receivers):
        self.stack, self.receivers = stack, receivers
        self.directory = stack.root
        self.address = None

    def route_to_receivers(self):
        """The routes, waits and groups of alerts/alertmanager.yml; PagerDuty, Slack and the rest are paths of ours, each with a token."""
        config = yaml.safe_load((CHECKOUT / "alerts/alertmanager.yml").read_text())
        silent = {receiver["name"] for receiver in config["receivers"]
                  if any(not webhook.get("send_resolved", True) for webhook in receiver.get("webhook_configs", []))}
        home = self.directory / "alertmanager"
        held = home / "secrets"
        held.mkdir(exist_ok=True)
        config["receivers"] = [{"name": name, "webhook_configs": [{
            "url": self.receivers.url(name), "send_resolved": name not in silent,
            "http_config": {"authorization": {"type": "Bearer", "credentials_file": str(held / name)}}}]} for name in self.receivers.tokens]
        for name, token in self.receivers.tokens.items():
            (held / name).write_text(token)
            (held / name).chmod(0o644)  # Alertmanager runs as a user of its own.
        config["route"]["routes"].insert(0, {"matchers": ['severity="control"'], "receiver": CONTROL, "group_wait": "0s", "group_interval": "5s"})
        (home / "alertmanager.yml").write_text(yaml.safe_dump(config, sort_keys=False))
        self.reload("alertmanager")

    def reload(self, server):
        os.kill(int((self.directory / server / "pid").read_text()), signal.SIGHUP)

    def start(self, pages, targets, wanted):
        """Prometheus, with a day behind it in which the present load ran without fault: `1h` and `1d` are as long as they say."""
        home = self.directory / "prometheus"
        shutil.rmtree(home / "data", ignore_errors=True)
        (home / "data").mkdir(parents=True)
        write_history(home, pages, wanted)
        if os.geteuid() == 0:
            run(["chown", "-R", "prometheus:prometheus", home / "data"])
        for name, content in targets.items():
            held = CHECKOUT / f".stack-{self.stack.instance}" / "targets"
            held.mkdir(exist_ok=True)
            (held / f"{name}.json").write_text(json.dumps(content))
        self.stack.do("up", "--only", "prometheus")
        port = json.loads((CHECKOUT / f".stack-{self.stack.instance}" / "stack.json").read_text())["ports"]["prometheus"]
        self.address = f"http://127.0.0.1:{port}"
        (home / "control.yml").write_text(yaml.safe_dump(NAIVE))
        config = yaml.safe_load((home / "prometheus.yml").read_text())
        config["rule_files"].append(str(home / "control.yml"))
        (home / "prometheus.yml").write_text(yaml.safe_dump(config, sort_keys=False))
        eventually("Prometheus has read its history", 120, self.is_ready)
        self.reload("prometheus")
        eventually("Prometheus knows the naive rule", 30, lambda: "NaiveErrorRate" in json.dumps(ask(self.address, "rules")))

    def is_ready(self):
        try:
            return urllib.request.urlopen(f"{self.address}/-/ready", timeout=5).status == 200
        except OSError:
            return False

    def up(self):
        """How many targets of each job answer."""
        found = ask(self.address, "query", query="sum by (job) (up)")["result"]
        return {one["metric"]["job"]: int(float(one["value"][1])) for one in found}

    def firing(self):
        """The names of alerts that fire now, the two that should aside."""
        found = ask(self.address, "alerts")["alerts"]
        return {one["labels"]["alertname"] for one in found if one["state"] == "firing"} - {"Watchdog", "NaiveErrorRate"}

    def active_since(self, name, labels):
        """When the rule's condition first held."""
        found = [moment(one["activeAt"]) for one in ask(self.address, "alerts")["alerts"]
                 if one["labels"]["alertname"] == name and labels.items() <= one["labels"].items()]
        return min(found, default=None)


def wanted_counters():
    """The metrics of the objectives: their windows are the long ones."""
    texts = []
    for slo in yaml.safe_load((CHECKOUT / "alerts/slo.yaml").read_text())["slos"]:
        texts += [*slo.get("all", []), *slo.get("wrong", []), *([slo["quick"]] if "quick" in slo else [])]
    return {re.match(r"\w+", text).group(): 'le="' in text for text in texts}, {part for text in texts for part in re.findall(r'le="[^"]+"', text)}


def sampled(address, wanted):
    """The series of a metrics page that are wanted, with their values."""
    names, edges = wanted
    page = urllib.request.urlopen(f"http://{address}/metrics", timeout=10).read().decode()
    found = {}
    for line in page.splitlines():
        match = LINE.match(line)
        if match and match[1] in names and (not names[match[1]] or any(edge in line for edge in edges)):
            found[(match[1], match[2] or "")] = float(match[3])
    return found


def rates(addresses, wanted):
    """What each node counts in a second under the present load: (address, name, labels) and how many."""
    begun, before = time.time(), {address: sampled(address, wanted) for address in addresses}
    time.sleep(MEASURED_FOR)
    after, took = {address: sampled(address, wanted) for address in addresses}, time.time() - begun
    return {(address, *series): (value - before[address].get(series, 0.0)) / took for address in addresses for series, value in after[address].items()}


def write_history(home, pages, wanted):
    """Blocks of a day and a bit in which each counter grew as it does now; promtool makes them."""
    end = int(time.time())
    begin, lines = end - HISTORY_HOURS * 3600, []
    for (address, name, labels), rate in sorted(rates(pages, wanted).items(), key=lambda one: one[0][1:] + one[0][:1]):
        series = ",".join(filter(None, [labels, f'instance="{address}"', 'job="malote"']))
        lines += [f"{name}{{{series}}} {rate * (at - begin):.3f} {at}" for at in range(begin, end, STEP)]
    file = home / "history.txt"
    file.write_text("\n".join(lines) + "\n# EOF\n")
    run(["promtool", "tsdb", "create-blocks-from", "openmetrics", file, home / "data"])
    file.unlink()


def check_receivers(receivers):
    """Sees the receivers refuse: no token, and the token of another."""
    names = list(receivers.tokens)
    refused = 0
    for token in ("", f"Bearer {receivers.tokens[names[1]]}"):
        call = urllib.request.Request(receivers.url(names[0]), b"{}", {"Authorization": token})
        try:
            urllib.request.urlopen(call, timeout=5)
        except urllib.error.HTTPError as error:
            refused += error.code == 401
    counted, receivers.refused = receivers.refused, 0
    return refused == 2 and counted == 2


def tools():
    """The versions of what watched."""
    def first_line(program):
        done = subprocess.run([program, "--version"], capture_output=True, text=True)
        return (done.stdout + done.stderr).splitlines()[0].split(" (")[0]
    return [first_line(program) for program in ("prometheus", "prometheus-alertmanager") if Path(f"/usr/bin/{program}").exists()]

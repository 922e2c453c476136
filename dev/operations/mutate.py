"""Breaks each rule in every way that it can be broken, one at a time, and sees its unit tests go red."""

import copy
import os
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

import promql
from cases import documents, source_of
from files import RULES, Found, alerts, groups

NUMBER = re.compile(r"(?<=(?:>=|<=|==| >| <) )(\d+(?:\.\d+)?)")
# The short window of a pair only decides when an alert ends, and keep_firing_for hides that: half of its threshold changes nothing.
SHORT = re.compile(r'\(slo:error_ratio:\w+\{slo="\w+"\} > $')
OPPOSITE = {">": "<", "<": ">", ">=": "<", "<=": ">", "==": "!="}


def mutants(rule):
    """Each way to break a rule: what is broken, and the broken rule."""
    found = []

    def broken(words, **changes):
        other = copy.deepcopy(rule)
        for key, value in changes.items():
            other.pop(key, None)
            if value is not None:
                other[key] = value
        found.append((words, other))

    expression = rule["expr"]
    for match in re.finditer(r" (>=|<=|==|>|<) ", expression):
        flipped = expression[:match.start(1)] + OPPOSITE[match.group(1)] + expression[match.end(1):]
        broken(f"comparison {match.group(1)} turned round at {match.start()}", expr=flipped)
    for match in NUMBER.finditer(expression):
        value = float(match.group(1))
        if value:
            for factor in (2,) if SHORT.search(expression[:match.start()]) else (0.5, 2):
                other = f"{value * factor:.6g}"
                broken(f"threshold {match.group(1)} made {other}", expr=expression[:match.start()] + other + expression[match.end():])
    branches = re.split(r"\n(and|or) ?\n?", expression)
    for at in range(0, len(branches), 2) if len(branches) > 1 else []:
        rest = branches[:max(at - 1, 0)] + branches[at + (1 if at else 2):]
        if "\n".join(rest).count("(") != "\n".join(rest).count(")"):
            continue  # Half of a pair of brackets is no rule.
        broken(f"without `{' '.join(branches[at].split())[:60]}`", expr="\n".join(rest))
    if "for" in rule:
        broken("no wait", **{"for": None})
        broken("waits for an hour", **{"for": "1h"})
    if "keep_firing_for" in rule:
        broken("does not keep firing", keep_firing_for=None)
    return found


def goes_red(path, document, rule, other):
    """Whether the tests of the rule notice that it was replaced by the other."""
    name = rule["alert"]
    tests = [group for group in document["tests"] if group["name"].startswith((f"{name}:", f"{name} "))]
    if not tests:
        return False
    kept, needed = [], promql.metrics(rule["expr"])
    for group in groups(path):
        rules = [other if found == rule else found for found in group["rules"] if found.get("record") in needed or found == rule]
        kept.append({**group, "rules": rules})
    with tempfile.TemporaryDirectory() as place:
        Path(place, "rules.yml").write_text(yaml.dump({"groups": kept}, sort_keys=False))
        Path(place, "tests.yml").write_text(yaml.dump({**document, "rule_files": ["rules.yml"], "tests": tests}, sort_keys=False))
        if subprocess.run(["promtool", "check", "rules", f"{place}/rules.yml"], capture_output=True).returncode:
            raise Found([f"{name}: a mutant is no rule at all:\n{other['expr']}"])
        return subprocess.run(["promtool", "test", "rules", f"{place}/tests.yml"], capture_output=True).returncode != 0


def main(only):
    tests, work = documents(), []
    for path in sorted(RULES.glob("*.yml")):
        for _, _, rule in alerts([path]):
            # Burn rates of all objectives come from one piece of code: one of them stands for all.
            same = rule["alert"].startswith("Slo") and rule["labels"]["slo"] != "webhook_acceptance"
            if not same and (not only or rule["alert"] in only):
                if not source_of(path).exists():
                    continue
                mine = [document for document in tests.values() if document["rule_files"] == [f"../rules/{path.name}"]]
                work += [(path, mine, rule, words, other) for words, other in mutants(rule)]

    def attempt(job):
        path, mine, rule, words, other = job
        killed = any(goes_red(path, document, rule, other) for document in mine)
        label = f"{rule['alert']} {rule['labels'].get('slo', '')}".strip()
        print(f"{'killed' if killed else 'LIVES '} {label}: {words}", flush=True)
        return None if killed else f"{label} lives: {words}"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        alive = [line for line in pool.map(attempt, work) if line]
    print(f"{len(work) - len(alive)} of {len(work)} mutants killed")
    if alive:
        raise Found(alive)

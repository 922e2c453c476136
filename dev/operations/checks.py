"""All that can be checked without a server, and all that is generated."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cases
import dashboards
import lint_notices
import lint_rules
import lint_runbooks
import lint_schema
import metrics
import slo
from files import RULES, TESTS, Found, relative


def generated():
    """What is generated, in the order in which one thing needs another."""
    yield RULES.glob("slo_*.yml"), slo.texts
    yield filter(cases.is_generated, sorted(TESTS.glob("*.yml"))), cases.texts
    yield dashboards.PLACE.glob("*.json"), dashboards.texts


def generate():
    for there, texts in generated():
        wanted = texts()
        for path in set(there) - set(wanted):
            path.unlink()
        for path, text in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    metrics.rewrite()


def stale():
    found = []
    for there, texts in generated():
        wanted = texts()
        found += [f"{relative(path)} comes from no source" for path in set(there) - set(wanted)]
        found += [f"{relative(path)} is stale: dev/ops generate" for path, text in wanted.items()
                  if not path.exists() or path.read_text() != text]
    if found:
        raise Found(sorted(found))
    return "up to date"


def test(path):
    done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True)
    return None if done.returncode == 0 else f"{relative(path)}:\n{done.stdout}{done.stderr}"


def unit_tests():
    """Two at a time; the longest first."""
    paths = sorted(TESTS.glob("*.yml"), key=lambda path: -path.stat().st_size)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failed = [words for words in pool.map(test, paths) if words]
    if failed:
        raise Found(failed)
    return f"{len(paths)} files of promtool's tests"


CHECKS = [("generated", stale), ("rules", lint_rules.check), ("notices", lint_notices.check), ("metrics", metrics.check),
          ("runbooks", lint_runbooks.check), ("dashboards", dashboards.check), ("schema", lint_schema.check),
          ("unit tests", unit_tests)]


def check():
    found = []
    for name, run in CHECKS:
        try:
            print(f"{name}: {run()}", file=sys.stderr, flush=True)
        except Found as problem:
            found += [f"{name}: {line}" for line in problem.lines]
    if found:
        raise Found(found)

"""How near each alert came to its threshold over some time: 100 % means that its condition held.

A rule is taken apart at its comparisons. Of each the larger or smaller side's peak is compared with the other side; `and` is as near as the
farther of its parts, `or` as the nearer, at each moment. What compares labels across parts is not looked at: it would only make a rule farther.
"""

import math

import promql
from files import alerts
from prometheus import ask

STEP = 15
COMPARISONS = (">", ">=", "<", "<=", "==", "!=")


def nearness(node, moments):
    """For each moment how near the expression came, or None where it has no data."""
    shape = promql.kind(node)
    if shape == "ParenExpr":
        return nearness(node.expr, moments)
    if shape == "BinaryExpr" and str(node.op) in ("and", "or", "unless"):
        left, right = nearness(node.lhs, moments), nearness(node.rhs, moments)
        if str(node.op) == "or":
            return [max((part for part in pair if part is not None), default=None) for pair in zip(left, right)]
        return [None if None in pair else min(pair) for pair in zip(left, right)] if str(node.op) == "and" else left
    if shape == "BinaryExpr" and str(node.op) in COMPARISONS:
        return compared(str(node.op), moments(node.lhs.prettify()), moments(node.rhs.prettify()))
    if shape == "Call" and node.func.name == "absent":
        return [1.0 if held else 0.0 for held in moments(node.prettify())]
    return [1.0 if held else 0.0 for held in moments(node.prettify())]


def compared(operator, left, right):
    """Every series of the left against the right's, which is a number or one series; the nearest counts."""
    found = []
    for ours, theirs in zip(left, right):
        pairs = [(value, theirs.get(labels, next(iter(theirs.values())) if len(theirs) == 1 else None)) for labels, value in ours.items()]
        found.append(max((near(operator, value, limit) for value, limit in pairs if limit is not None), default=None))
    return found


def near(operator, value, limit):
    if math.isnan(value) or math.isnan(limit):
        return 0.0
    if operator in ("==", "!="):
        return 1.0 if (value == limit) == (operator == "==") else 0.0
    if operator in ("<", "<="):
        value, limit = limit, value
    if limit > 0:
        return max(0.0, value / limit)
    return 1.0 if value > limit or (operator in (">=", "<=") and value == limit) else 0.0


class Moments:
    """Answers of Prometheus over the time that is looked at, each expression asked once."""

    def __init__(self, address, begin, end):
        self.address, self.begin, self.end, self.known = address, begin, end, {}
        self.count = int((end - begin) // STEP) + 1

    def __call__(self, expression):
        if expression not in self.known:
            answer = ask(self.address, "query_range", query=expression, start=self.begin, end=self.begin + (self.count - 1) * STEP, step=STEP)
            held = [{} for _ in range(self.count)]
            for series in answer["result"]:
                labels = frozenset(item for item in series["metric"].items() if item[0] != "__name__")
                for at, value in series["values"]:
                    held[round((float(at) - self.begin) / STEP)][labels] = float(value)
            self.known[expression] = held
        return self.known[expression]


def table(address, begin, end):
    """For every alert: how near it came, the share of the time in which it was more than half way, and whether anything was there to see."""
    moments, found = Moments(address, begin, end), []
    for _, _, rule in alerts():
        name = " ".join(filter(None, [rule["alert"], rule["labels"].get("slo", "")]))
        if name == "Watchdog":
            continue
        seen = [one for one in nearness(promql.parse(rule["expr"]), moments) if one is not None]
        found.append({"alert": name, "severity": rule["labels"]["severity"], "for": rule.get("for", "0s"), "nearest": round(max(seen), 3) if seen else None,
                      "past_half": round(sum(one > 0.5 for one in seen) / len(seen), 3) if seen else None})
    return sorted(found, key=lambda line: -(line["nearest"] if line["nearest"] is not None else -1))

"""From alerts/cases/*.yaml: promtool's unit tests of each alert.

A case says how its series look in peace, in the incident, at the edge of it, and in a blip that is too short. From that follow the
tests: quiet in peace, in time, no second firing through a relapse, still firing while `keep_firing_for` lasts, resolved once; and
never at the edge or in the blip.
"""

import re

from files import CASES, GENERATED, RULES, TESTS, Found, alerts, dump, read_yaml, seconds

LABELS = {"grafana": "http://grafana", "runbooks": "http://runbooks"}
PAUSE, HOLD = 60, 240


class Timeline:
    """The values of one series, segment after segment, as promtool writes them."""

    def __init__(self, step):
        self.step, self.value, self.known, self.words = step, 0.0, False, []

    def add(self, level, length):
        steps = max(1, round(length / self.step))
        if level is None:
            self.words.append(f"stale _x{steps - 1}" if self.known else f"_x{steps}")
            self.known = False
        elif isinstance(level, str):
            rise = self.rise(level)
            first = self.value + rise
            self.words.append(f"{first:.12g}+{rise:.12g}x{steps - 1}")
            # A little more than the sum: promtool rounds on its way, and a counter must never seem to start anew.
            self.value, self.known = (self.value + rise * steps) * (1 + 1e-8), True
        else:
            self.words.append(f"{level:.10g}+0x{steps - 1}")
            self.known = True

    def rise(self, level):
        number, unit = level.split("/")
        return float(number) * self.step / {"s": 1, "m": 60}[unit]

    def text(self):
        return " ".join(word.removesuffix(" _x0") for word in self.words)


def series(case, step, segments, noise):
    """Each series over the segments: pairs of a level's name and its length."""
    found = []
    for name, levels in case["series"].items():
        line = Timeline(step)
        for level, length in segments:
            line.add(levels.get(level, levels["incident"] if level == "blip" else levels["healthy"]), length)
        found.append({"series": name, "values": line.text()})
    total = sum(length for _, length in segments)
    for name, level in noise.items():
        line = Timeline(step)
        line.add(level, total)
        found.append({"series": name, "values": line.text()})
    return found


def firing(case, state="firing"):
    labels = {"alertname": case["alert"], "alertstate": state, **case.get("where", {})}
    return "ALERTS{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def never(case, until):
    return {"expr": f"sum(count_over_time({firing(case)}[{until}s]))", "eval_time": f"{until}s", "exp_samples": []}


def count(case, at, many):
    samples = [{"labels": "{}", "value": many}] if many else []
    return {"expr": f"count({firing(case)})", "eval_time": f"{at}s", "exp_samples": samples}


def group(name, step, inputs, tests):
    return {"name": name, "interval": f"{step}s", "external_labels": LABELS, "input_series": inputs, "promql_expr_test": tests}


def title(case):
    return " ".join([case["alert"], *case.get("where", {}).values(), *([f"({case['way']})"] if "way" in case else [])])


def longest_range(rule):
    """How far back the rule looks."""
    return max([0, *(seconds(found) for found in re.findall(r"\[(\w+)[\]:]", rule["expr"]))])


def of_incident(case, rule, step, noise):
    warm, lasts, within = (seconds(case.get(key, usual)) for key, usual in (("warm", "10m"), ("incident", "5m"), ("within", "60s")))
    hold = seconds(case.get("hold", f"{HOLD}s"))
    pause = seconds(case.get("pause", f"{PAUSE}s"))
    gone = longest_range(rule) + seconds(rule["keep_firing_for"]) + 120
    rest = seconds(case["rest"]) if "rest" in case else gone
    relapse = max(lasts, within)
    over = warm + lasts + pause + relapse
    segments = [("healthy", warm), ("incident", lasts), ("healthy", pause), ("incident", relapse), ("healthy", rest)]
    many = case.get("fires", 1)
    began = "ALERTS_FOR_STATE" + firing(case).removeprefix("ALERTS").replace('alertstate="firing"', "").replace(",}", "}").replace(",,", ",")
    # A little beyond `within`, so that pending samples before it are not in the range.
    since = over + hold - (warm + within) - step
    tests = [
        never(case, warm - step),
        count(case, warm + within, many),
        {"expr": f"sum(changes({began}[{since}s]))", "eval_time": f"{over + hold}s", "exp_samples": [{"labels": "{}", "value": 0}]},
        count(case, over + hold, many),
        count(case, over + rest, 0),
    ]
    return group(f"{title(case)}: fires in time, once, and resolves", step, series(case, step, segments, noise), tests)


def of_level(case, step, level, length, noise):
    warm, rest = seconds(case.get("warm", "10m")), max(600, 2 * step)
    segments = [("healthy", warm), (level, length), ("healthy", rest)]
    words = "stays quiet at the edge" if level == "edge" else "stays quiet in a blip"
    return group(f"{title(case)}: {words}", step, series(case, step, segments, noise), [never(case, warm + length + rest)])


def groups_of(case, rule, noise):
    if case.get("always"):
        return [group(f"{case['alert']}: always fires", 5, [{"series": "up", "values": "1x240"}],
                      [count(case, 0, 1), count(case, 1_200, 1)])]
    step = seconds(case["evaluate"])
    found = [of_incident(case, rule, step, noise)]
    if "no_edge" not in case:
        found.append(of_level(case, step, "edge", seconds(case.get("incident", "5m")) + 600, noise))
    if "blip" in case:
        found.append(of_level(case, step, "blip", seconds(case["blip"]), noise))
    elif "for" in rule and "no_blip" not in case:
        raise Found([f"{case['alert']} waits ({rule['for']}) and its case has neither `blip` nor a reason, `no_blip`"])
    return found


def matching(case, rules):
    """The rule that a case is about."""
    for rule in rules:
        if rule["alert"] == case["alert"] and all(rule["labels"].get(name) == value for name, value in case.get("where", {}).items()):
            return rule
    raise Found([f"alerts/cases has a case of {title(case)}, which no rule is"])


def source_of(path):
    """The cases of a file of rules; those of all objectives are in one file."""
    return CASES / ("slo.yaml" if path.stem.startswith("slo_") else f"{path.stem}.yaml")


def belongs(case, path):
    return "slo" not in case.get("where", {}) or path.stem == f"slo_{case['where']['slo']}"


def is_generated(path):
    return path.read_text().startswith("# Generated")


def untested(path, here):
    """Rules may also be tested by hand, in the file of tests of the same name; each alert must at least be in it."""
    tests = TESTS / path.name
    text = tests.read_text() if tests.exists() else ""
    return [f"{path.name}: {rule['alert']} has neither a case nor a test" for _, rule in here.values() if rule["alert"] not in text]


def documents():
    """The unit tests of each file of rules, one document for each interval at which its cases are evaluated."""
    found, lines = {}, []
    for path in sorted(RULES.glob("*.yml")):
        here = {id(rule): (group, rule) for _, group, rule in alerts([path])}
        if not source_of(path).exists():
            lines += untested(path, here)
            continue
        source = read_yaml(source_of(path))
        cases = [case for case in source["cases"] if belongs(case, path)]
        of_case = [matching(case, [rule for _, rule in here.values()]) for case in cases]
        covered = {id(rule) for rule in of_case}
        lines += [f"{path.name}: {rule['alert']} has no case in {source_of(path).name}"
                  for known, (_, rule) in here.items() if known not in covered]
        for case, rule in zip(cases, of_case):
            case.setdefault("evaluate", here[id(rule)][0]["interval"])
            name = f"{path.stem}_{case['evaluate']}"
            document = found.setdefault(name, {"rule_files": [f"../rules/{path.name}"], "evaluation_interval": case["evaluate"], "tests": []})
            document["tests"] += groups_of(case, rule, source.get("noise", {}))
    if lines:
        raise Found(lines)
    return found


def texts():
    """The files of unit tests, by their names."""
    return {TESTS / f"{name}.yml": GENERATED.format(source="alerts/cases/") + dump(document) for name, document in documents().items()}

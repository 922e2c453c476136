"""From alerts/slo.yaml: the ratios that are recorded, and the alerts on outages and on budgets that burn."""

from files import ALERTS, GENERATED, RULES, dump, read_yaml

SOURCE = ALERTS / "slo.yaml"
SHORT = ("1m", "5m")
LONG = ("30m", "1h", "2h", "6h", "1d", "3d")
# A window pair, the factor at which the budget burns, and how many events the long window must hold. The factors are the usual ones:
# 2 % of a 30-day budget in an hour, 5 % in six hours, 10 % in three days.
FAST = (("5m", "1h", 14.4), ("30m", "6h", 6))
SLOW = (("2h", "1d", 3), ("6h", "3d", 1))
FAST_EVENTS, SLOW_EVENTS = ("1h", 50), ("1d", 100)
KEEP = "5m"


def expressions(slo, window):
    """What went wrong and all that happened, as increases over a window."""
    def of(selectors):
        # A counter that has never counted may not be there at all, and nothing plus something would be nothing.
        return " + ".join(f"(sum(increase({selector}[{window}])) or vector(0))" for selector in selectors)
    wrong = of(slo["wrong"]) if "wrong" in slo else f"{of(slo['all'])} - {of([slo['quick']])}"
    return f"({wrong})", f"({of(slo['all'])})"


def recordings(slo, windows, counted):
    found = []
    for window in windows:
        wrong, everything = expressions(slo, window)
        found.append({"record": f"slo:error_ratio:{window}", "expr": f"{wrong} / ({everything} > 0)",
                      "labels": {"slo": slo["name"]}})
        if window in counted:
            found.append({"record": f"slo:events:{window}", "expr": everything, "labels": {"slo": slo["name"]}})
    return found


def annotations(slo, alert, summary, description):
    return {
        "summary": summary, "description": description,
        "runbook_url": f"{{{{ $externalLabels.runbooks }}}}/{alert}.md",
        "dashboard_url": "{{ $externalLabels.grafana }}/d/malote-overview",
    }


def number(value):
    return f"{value:.6f}".rstrip("0").rstrip(".")


def above(slo, windows, ratio):
    return " and ".join(f'slo:error_ratio:{window}{{slo="{slo["name"]}"}} > {number(ratio)}' for window in windows)


def enough(slo, window, events):
    return f'slo:events:{window}{{slo="{slo["name"]}"}} >= {events}'


def outage(slo):
    """Some of a minute and more than a blip of the long window failed, with enough events to tell."""
    wanted = slo["outage"]
    ratio = wanted["ratio"]
    branches = [f"({above(slo, ('1m', '5m'), ratio)} and {enough(slo, '5m', wanted['events'])})"]
    if "events_2m" in wanted:
        branches.append(f"({above(slo, ('1m', '2m'), ratio)} and {enough(slo, '2m', wanted['events_2m'])})")
    return {
        "alert": wanted["alert"], "expr": "\nor\n".join(branches), "keep_firing_for": KEEP,
        "labels": {"severity": "critical", "team": slo["team"], "slo": slo["name"]},
        "annotations": annotations(slo, wanted["alert"], f"{slo['title']}: {{{{ $value | humanizePercentage }}}} fail now", wanted["first"]),
    }


def burn(slo, alert, pairs, events, severity, wait, words):
    budget = 1 - slo["objective"]
    # A factor that asks for more than everything could never be reached.
    pairs = [pair for pair in pairs if pair[2] * budget < 1]
    branches = "\nor\n".join(f"({above(slo, (short, long), factor * budget)})" for short, long, factor in pairs)
    return {
        "alert": alert, "expr": f"({branches})\nand {enough(slo, *events)}", "for": wait, "keep_firing_for": KEEP,
        "labels": {"severity": severity, "team": slo["team"], "slo": slo["name"]},
        "annotations": annotations(slo, alert, f"{slo['title']}: {words}", f"{{{{ $value | humanizePercentage }}}} fail, the objective bears {number(budget * 100)} %. {slo['first']}"),
    }


def budget(slo):
    wrong, everything = expressions(slo, "30d")
    return [
        {"record": "slo:objective", "expr": f"vector({slo['objective']})", "labels": {"slo": slo["name"]}},
        {"record": "slo:budget_left:30d", "expr": f"1 - {wrong} / ({everything} > 0) / {number(1 - slo['objective'])}",
         "labels": {"slo": slo["name"]}},
    ]


def document(slo):
    two_minutes = ("2m",) if "events_2m" in slo.get("outage", {}) else ()
    short = recordings(slo, SHORT + two_minutes, ("5m", *two_minutes)) + ([outage(slo)] if "outage" in slo else [])
    long = recordings(slo, LONG, (FAST_EVENTS[0], SLOW_EVENTS[0]))
    long.append(burn(slo, "SloFastBurn", FAST, FAST_EVENTS, "critical", "1m", "the month's budget is gone in days"))
    long.append(burn(slo, "SloSlowBurn", SLOW, SLOW_EVENTS, "warning", "15m", "the month's budget will not last"))
    name = slo["name"]
    return {"groups": [
        {"name": f"{name}_outage", "interval": "5s", "rules": short},
        {"name": f"{name}_burn", "interval": "30s", "rules": long},
        {"name": f"{name}_budget", "interval": "5m", "rules": budget(slo)},
    ]}


def texts():
    """The files of rules, by their names: one for each objective."""
    return {RULES / f"slo_{slo['name']}.yml": GENERATED.format(source="alerts/slo.yaml") + dump(document(slo))
            for slo in read_yaml(SOURCE)["slos"]}

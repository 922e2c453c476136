"""What the drill leaves behind: a table to read, JSON for the gate, a page for docs/drills/."""

import json
import os
import platform
import statistics
from datetime import datetime, timezone

from drill_report import CHECKOUT, DRILLS, git, is_dirty, sign, version

OBJECTIVE = 120


def times(incidents):
    """Seconds from injection to the first notice, of the incidents that were told."""
    return [one["notified_after"] for one in incidents if one["notified_after"] is not None]


def seconds(value):
    return "-" if value is None else f"{value:.0f} s"


def terminal(incidents):
    lines = [f"{'incident':<20} {'alert':<24} {'active':>8} {'notified':>9} {'mended':>8} {'resolved':>9}  also told"]
    for one in incidents:
        lines.append(f"{one['incident']:<20} {one['alert'] or 'NONE':<24} {seconds(one['active_after']):>8} {seconds(one['notified_after']):>9} "
                     f"{seconds(one['mended_after']):>8} {seconds(one['resolved_after']):>9}  {', '.join(one['besides'])}")
    heard = times(incidents)
    if heard:
        lines.append(f"from injection to notice: median {statistics.median(heard):.1f} s, maximum {max(heard):.1f} s, objective {OBJECTIVE} s")
    return "\n".join(lines)


def summary(incidents):
    heard = times(incidents)
    return {"median_seconds": round(statistics.median(heard), 1), "maximum_seconds": round(max(heard), 1)} if heard else {}


def evidence(drill, begun, passed):
    return {
        "kind": drill.kind, "passed": passed, "commit": git("rev-parse", "HEAD"), "dirty": is_dirty(),
        "started_at": stamp(begun), "finished_at": stamp(datetime.now(timezone.utc).timestamp()), "by": "CI" if os.environ.get("CI") else "hand",
        "host": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores", "malote": version(drill.arguments.malote), "watched_by": drill.tools,
        "load_messages_per_second": drill.arguments.load, "objective_seconds": OBJECTIVE, **summary(drill.incidents),
        "checks": drill.checks, "incidents": drill.incidents, "normal_load": drill.quiet,
        "notices": [notice(told) for told in drill.stage.receivers.of_people()] if drill.stage else [],
    }


def notice(told):
    return f"{stamp(told.at)} {told.receiver}: {told.name} {told.fingerprint} {told.status}, began {stamp(told.began)}"


def stamp(at):
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds")


def write(found, arguments):
    DRILLS.mkdir(exist_ok=True)
    moment = datetime.fromisoformat(found["started_at"])
    file = DRILLS / f"{moment:%Y-%m-%d-%H%M}-alerts.json"
    file.write_text(json.dumps(found, indent=1).replace(str(CHECKOUT), ".") + "\n")
    signed_by = sign(file, arguments.sign)
    file.with_suffix(".md").write_text(markdown(found, signed_by))
    return file.relative_to(CHECKOUT)


def markdown(found, signed_by):
    lines = [
        f"# Drill of alerts of {found['started_at']}", "",
        f"**{'Passed' if found['passed'] else 'FAILED'}**, {found['malote']} at commit `{found['commit'][:12]}`{' with changes' if found['dirty'] else ''}, "
        f"{found['host']}, run by {found['by']}. {', '.join(found['watched_by'])}. Two nodes under {found['load_messages_per_second']} messages a second.", "",
        f"From the injection to the first notice: **median {found.get('median_seconds')} s, maximum {found.get('maximum_seconds')} s**; objective "
        f"{found['objective_seconds']} s. All times below are seconds since the injection.", "",
        "| incident | injected at | told first by | condition held | notice received | mended | resolved | receivers | told besides |",
        "|---|---|---|---|---|---|---|---|---|"]
    for one in found["incidents"]:
        lines.append(f"| {one['what']} | {one['injected_at'][11:19]} | {one['alert'] or '**none**'} | {plain(one['active_after'])} | "
                     f"{plain(one['notified_after'])} | {plain(one['mended_after'])} | {plain(one['resolved_after'])} | "
                     f"{', '.join(one['receivers'])} | {', '.join(one['besides'])} |")
    lines += ["", "| check | holds |", "|---|---|"]
    lines += [f"| {check['check'].replace('|', '/')} | {'yes' if check['holds'] else '**no**: ' + check['seen'].replace('|', '/')} |" for check in found["checks"]]
    lines += normal_load(found["normal_load"])
    lines += ["", f"Signed by `{signed_by.split(' (')[0]}`" + (f" ({signed_by.split(' (', 1)[1]}" if " (" in signed_by else "") + ".", ""]
    return "\n".join(lines)


def normal_load(quiet):
    if not quiet:
        return []
    lines = ["", "## Normal load", "",
             f"{quiet['minutes']:.0f} minutes with {quiet['blips']} blips, each {quiet['blip']}. The naive rule beside ours (more than 5 % of a minute's calls "
             f"failed) sent {quiet['naive_notices']} notices, the Watchdog {quiet['watchdogs']}, our rules {quiet['notices']}.", "",
             "How near each alert came to its threshold, 100 % being where its condition holds; `for` is how long it must hold. *No data*: nothing of "
             "the kind happened, or nothing here shows it (machines, backups).", "",
             "| alert | severity | for | nearest | time past half way |", "|---|---|---|---|---|"]
    for line in quiet["calibration"]:
        near = "no data" if line["nearest"] is None else f"{line['nearest']:.0%}"
        half = "" if line["past_half"] is None else f"{line['past_half']:.0%}"
        lines.append(f"| {line['alert']} | {line['severity']} | {line['for']} | {near} | {half} |")
    return lines


def plain(value):
    return "-" if value is None else f"{value:.1f}"

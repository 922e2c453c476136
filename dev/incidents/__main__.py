"""Breaks a running installation in each way that its alerts know, and measures when somebody hears of it.

Real Prometheus, Alertmanager, PostgreSQL, Redis, RabbitMQ and two nodes of ours, on a stack of its own (dev/stack --instance incidents);
`malote seed` fills them and keeps a light load going, the simulator is Meta. The rules are alerts/rules, the routes and waits those of
alerts/alertmanager.yml; its receivers are stood in for by one program that takes only what bears the right token.

1. Each incident is injected, and mended as soon as somebody was told; then comes the next, once what would tell of it is quiet again.
   Noted: when it was injected, when the rule's condition held, when the notice was received, when it was told to be over.
2. When all is over: normal load, with blips that a naive rule beside ours calls an incident. Ours must say nothing. If the naive one
   says nothing either, the silence proves nothing, and the drill fails.
3. A table: for every alert, how near its threshold that load came.

0 only if each incident was told within 120 s, each alert told to be over once, no notice repeated another, and nobody heard of normal load.

Read the table so: `active` is the rule, `notified` the rule and the way to you. A rule that is quick and told late waits in Alertmanager.
To try one: dev/drill --only redis-stopped,node-killed. What the incidents are: dev/drill --list. How long: --short about ten minutes, all
of them about fifty. A record is written for a whole drill only: docs/drills/, JSON for the gate and a page to read.
"""

import argparse
import signal
import statistics
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "operations")]

import calibration  # noqa: E402
import incidents  # noqa: E402
import report  # noqa: E402
import self_test  # noqa: E402
from drill_stage import CHECKOUT, Failed, eventually  # noqa: E402
from prometheus import check_receivers, tools  # noqa: E402
from receivers import CONTROL, DEAD_MAN, faults_of  # noqa: E402
from stage import INSTANCE, PRACTICE, Stage, purge  # noqa: E402

GIVE_UP_AFTER, QUIET_WITHIN, INCIDENTS_WITHIN = 240, 900, 45 * 60
BLIP_EVERY, BLIP_SECONDS = 150, 5
# Alertmanager repeats it each minute, or each other one where a round comes a moment too early; a third time missing is a fault.
WATCHDOG_GAP_MOST = 150
FIELDS = {"critical", "warning", "none"}


class Drill:
    def __init__(self, arguments, chosen):
        self.arguments, self.chosen = arguments, chosen
        self.kind = "alerts-drill" if len(chosen) == len(incidents.ALL) else "alerts-drill-part"
        self.checks, self.incidents, self.quiet, self.tools = [], [], None, tools()
        self.stage, self.begun, self.instance = None, time.time(), PRACTICE if arguments.hold else INSTANCE

    def say(self, text):
        print(f"drill {time.time() - self.begun:5.0f} s: {text}", file=sys.stderr, flush=True)

    def check(self, name, holds, seen=""):
        self.checks.append({"check": name, "holds": bool(holds), "seen": str(seen)[:1500]})
        self.say(("holds  " if holds else "BROKEN ") + name + ("" if holds else f": {seen}"))

    def play(self):
        self.say("servers, nodes, customers, a load; then a history for Prometheus")
        self.stage = Stage(self.instance, self.arguments.malote, self.arguments.load, self.arguments.messages)
        self.check("a notice without its receiver's token is refused", check_receivers(self.stage.receivers))
        self.stage.set()
        self.say(f"Prometheus is at {self.stage.watch.address}")
        time.sleep(self.arguments.warm_up)
        self.check("nothing fires before the first incident", not self.stage.watch.firing(), self.stage.watch.firing())
        if self.arguments.hold:
            return self.hold(self.chosen[0])
        begun = time.time()
        for incident in self.chosen:
            self.suffer(incident)
        self.wait_until_over(begun)
        self.judge(begun)
        if self.arguments.quiet:
            self.stay_normal()
        return None

    def hold(self, incident):
        """One incident, until whoever practises with it has enough."""
        running = incident.run(self.stage)
        next(running)
        node = self.stage.nodes[0]
        print(f"{incident.name}: {incident.what}. Its settings: {self.stage.write_settings()}\nPrometheus {self.stage.watch.address}, "
              f"API http://127.0.0.1:{self.stage.public}, operators http://{node.address}\nEnter mends it.", flush=True)
        begun = time.time()
        sys.stdin.readline()
        for _ in running:
            pass
        for one in sorted({(one.name, round(one.at - begun)) for one in self.stage.receivers.of_people(begun) if one.status == "firing"}, key=lambda one: one[1]):
            print(f"told after {one[1]} s: {one[0]}")

    def suffer(self, incident):
        receivers = self.stage.receivers
        eventually(f"{' and '.join(incident.alerts)} are quiet before {incident.name}", QUIET_WITHIN, lambda: self.is_quiet(incident.alerts))
        self.say(f"{incident.name}: {incident.what}")
        running, injected = incident.run(self.stage), time.time()
        told = None
        try:
            next(running)
            told = eventually("a notice", GIVE_UP_AFTER, lambda: receivers.first(incident.alerts, injected))
        except Failed as error:
            self.say(f"{incident.name}: {error}")
        found = {"incident": incident.name, "what": incident.what, "injected_at": report.stamp(injected), "injected": injected,
                 "alert": told and told.name, "severity": told and told.labels["severity"], "active_after": None, "notified_after": None}
        if told:
            active = self.stage.watch.active_since(told.name, told.labels) or told.began
            found.update(active_after=round(active - injected, 1), notified_after=round(told.at - injected, 1))
        self.incidents.append(found)
        self.say(f"{incident.name}: {told.name + ' told after ' + str(found['notified_after']) + ' s' if told else 'NOBODY was told'}")
        try:
            for _ in running:
                pass
        except Failed as error:
            self.check(f"{incident.name} can be mended", False, error)
        found["mended_after"] = round(time.time() - injected, 1)

    def is_quiet(self, alerts):
        named = set(alerts)
        return not named & self.stage.watch.firing() and not named & set(self.stage.receivers.open().values())

    def wait_until_over(self, begun):
        self.say("mended; waiting until everything was told to be over")
        left = max(60, INCIDENTS_WITHIN - (time.time() - begun))
        try:
            eventually("everything is over", left, lambda: not self.stage.watch.firing() and not self.stage.receivers.open())
        except Failed:
            self.check("everything is over", False, sorted({*self.stage.watch.firing(), *self.stage.receivers.open().values()}))
        took = time.time() - begun
        self.check(f"all incidents took {took / 60:.0f} minutes, of 45", took <= INCIDENTS_WITHIN)

    def judge(self, begun):
        told = self.stage.receivers.of_people(begun)
        for number, found in enumerate(self.incidents):
            until = self.incidents[number + 1]["injected"] if number + 1 < len(self.incidents) else float("inf")
            mine = [one for one in told if found["injected"] <= one.began < until and one.status == "firing"]
            ends = [one.at for one in told if one.name == found["alert"] and one.began >= found["injected"] and one.status == "resolved"]
            found["resolved_after"] = round(min(ends) - found["injected"], 1) if ends else None
            found["receivers"] = sorted({one.receiver for one in mine if one.name == found["alert"]})
            found["besides"] = sorted({one.name for one in mine} - {found["alert"]})
        for found in self.incidents:
            del found["injected"]
        heard = report.times(self.incidents)
        late = [one["incident"] for one in self.incidents if one["notified_after"] is None or one["notified_after"] > report.OBJECTIVE]
        figures = f"median {statistics.median(heard):.1f} s, maximum {max(heard):.1f} s" if heard else "none"
        self.check(f"each of {len(self.incidents)} incidents was told within {report.OBJECTIVE} s: {figures}", not late, late)
        faults = faults_of(told)
        self.check("each alert was told to be over once, and no notice said nothing new", not faults, faults)
        self.check("every notice bore its receiver's token", self.stage.receivers.refused == 0, self.stage.receivers.refused)
        wrong = sorted({problem for one in told for problem in problems_of(one)})
        self.check("every notice has a severity, a team, a runbook and a dashboard that exist", not wrong, wrong)

    def stay_normal(self):
        stage, minutes = self.stage, self.arguments.quiet
        self.say(f"{minutes} minutes of normal load, with blips")
        begun, blips = time.time(), 0
        end = begun + minutes * 60
        while time.time() < end:
            next_blip = begun + BLIP_EVERY * (blips + 0.5)
            if next_blip + BLIP_SECONDS < end:
                time.sleep(max(0.0, next_blip - time.time()))
                stage.faults(transient_error_share=1.0)
                time.sleep(BLIP_SECONDS)
                stage.faults()
                blips += 1
            else:
                time.sleep(max(0.0, end - time.time()))
        told = stage.receivers.all(begun)
        people = stage.receivers.of_people(begun)
        naive = [one for one in told if one.receiver == CONTROL and one.status == "firing"]
        watchdogs = [one.at for one in told if one.receiver == DEAD_MAN]
        self.quiet = {"minutes": minutes, "blips": blips, "blip": f"{BLIP_SECONDS} s in which Meta refuses every call", "naive_notices": len(naive),
                      "watchdogs": len(watchdogs), "notices": len(people), "calibration": calibration.table(stage.watch.address, begun, end)}
        self.check(f"the naive rule would have told {len(naive)} times of normal load", len(naive) >= max(1, blips // 2), f"{blips} blips")
        self.check("our rules told nobody anything of normal load", not people, sorted({one.name for one in people}))
        gaps = [later - earlier for earlier, later in zip([begun, *watchdogs], [*watchdogs, end])]
        self.check(f"the Watchdog came all the while, at most {max(gaps):.0f} s apart", max(gaps) <= WATCHDOG_GAP_MOST)


def problems_of(told):
    """What is missing in a notice: whoever is woken by it must know what to open."""
    found, links = [], {key: told.annotations.get(key, "") for key in ("runbook_url", "dashboard_url")}
    if told.labels.get("severity") not in FIELDS or not told.labels.get("team"):
        found.append(f"{told.name}: labels {told.labels}")
    if not (CHECKOUT / "docs/runbooks" / Path(links["runbook_url"]).name).is_file():
        found.append(f"{told.name}: no runbook at {links['runbook_url']}")
    if not (CHECKOUT / "dashboards" / f"{links['dashboard_url'].rpartition('/malote-')[2]}.json").is_file():
        found.append(f"{told.name}: no dashboard at {links['dashboard_url']}")
    return found


def read_arguments():
    parser = argparse.ArgumentParser(prog="dev/drill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="the incidents, in the order in which they are injected, and end")
    parser.add_argument("--self-test", action="store_true", help="sees its own judgement go red, without servers, and ends; part of make lint")
    parser.add_argument("--only", metavar="NAME,NAME", help="these incidents and no others; no record")
    parser.add_argument("--short", action="store_true", help=f"{' and '.join(incidents.SHORT)}, no normal load; part of make nightly")
    parser.add_argument("--hold", metavar="NAME", help="this incident until Enter is pressed, for people to practise with; no record")
    parser.add_argument("--quiet", type=float, metavar="MINUTES", help="how long the normal load is watched (15; 0 with --short and --only)")
    parser.add_argument("--load", type=int, default=12, help="messages a second (12)")
    parser.add_argument("--messages", type=int, default=4000, help="messages of the history that `malote seed` makes first (4000)")
    parser.add_argument("--warm-up", type=int, default=60, metavar="SECONDS", help="between the start of Prometheus and the first incident (60)")
    parser.add_argument("--malote", type=Path, default=CHECKOUT / "target/debug/malote", help="a build with the feature fault-injection")
    parser.add_argument("--sign", type=Path, metavar="KEY", help="signs the record; without it a key is made and thrown away")
    parser.add_argument("--keep", action="store_true", help="leaves the servers running, to look at; dev/stack --instance incidents down --purge ends them")
    parser.add_argument("--no-evidence", action="store_true", help="writes no record")
    return parser.parse_args()


def choose(arguments):
    some = arguments.hold or arguments.only
    names = some.split(",") if some else incidents.SHORT if arguments.short else [one.name for one in incidents.ALL]
    unknown = set(names) - {one.name for one in incidents.ALL}
    if unknown:
        print(f"no incident {', '.join(sorted(unknown))}; dev/drill --list shows them", file=sys.stderr)
        sys.exit(2)
    return [one for one in incidents.ALL if one.name in names]


def stop(number, _frame):
    """Ends as after an error does: nodes that were left behind would join the next drill, and take its queues."""
    raise SystemExit(128 + number)


def main():
    arguments = read_arguments()
    if arguments.self_test:
        return self_test.run()
    if arguments.list:
        for one in incidents.ALL:
            print(f"{one.name:<20} {one.what}; told by {' or '.join(one.alerts)}")
        return 0
    chosen = choose(arguments)
    is_whole = len(chosen) == len(incidents.ALL)
    arguments.quiet = arguments.quiet if arguments.quiet is not None else 15 if is_whole else 0
    drill = Drill(arguments, chosen)
    purge(drill.instance)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        drill.play()
    except Failed as error:
        drill.check("the drill came to its end", False, error)
    finally:
        if drill.stage:
            drill.stage.end()
        if not arguments.keep:
            purge(drill.instance)
    passed = all(check["holds"] for check in drill.checks)
    if is_whole and not arguments.no_evidence:
        drill.say(f"record: {report.write(report.evidence(drill, drill.begun, passed), arguments)}")
    print(report.terminal(drill.incidents))
    drill.say("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

"""What a drill leaves behind: JSON for the gate, Markdown for people, a signature over the JSON."""

import json
import os
import platform
import subprocess
import tempfile
from datetime import datetime, timezone
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
DRILLS = CHECKOUT / "docs/drills"
# docs/disaster-recovery.md says where they come from.
RPO_OBJECTIVE = 60
RTO_OBJECTIVE = 900
NAMESPACE = "malote-drill"


def git(*words):
    return subprocess.run(["git", *words], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.strip()


def is_dirty():
    """Whether there are changes in no commit, records aside."""
    records = ["docs/evidence", "docs/drills", "docs/readiness/decisions", "docs/readiness/signatures"]
    return bool(git("status", "--porcelain", "--untracked-files=all", "--", ".", *[f":!{record}" for record in records]))


def write_restore(drill, begun):
    arguments = drill.arguments
    objectives = {"rpo_seconds": 0 if arguments.synchronous else RPO_OBJECTIVE, "rto_seconds": RTO_OBJECTIVE}
    load = {"at_the_loss": "4 slow writers" if arguments.idle else "a campaign and 4 writers", **load_of(arguments)}
    figures = {name: value for name, value in drill.figures.items() if name != "application_up_at"}
    evidence = {**evidence_of("restore-drill", drill, begun), "load": load, "objectives": objectives, "figures": figures, "checks": drill.checks}
    suffix = "-synchronous" if arguments.synchronous else "-idle" if arguments.idle else ""
    return leave(evidence, suffix, restore_page, begun, arguments.sign)


def write_rollback(drill, begun):
    objectives = {"rto_seconds": RTO_OBJECTIVE, "failed_requests_without_a_restore": 0}
    evidence = {**evidence_of("rollback-drill", drill, begun), "previous": version(drill.arguments.previous), "load": load_of(drill.arguments),
                "objectives": objectives, "figures": drill.figures, "checks": drill.checks}
    return leave(evidence, "-rollback", rollback_page, begun, drill.arguments.sign)


def load_of(arguments):
    return {"contacts": arguments.contacts, "messages_per_second": arguments.rate}


def evidence_of(kind, drill, begun):
    """What every piece of evidence says."""
    return {
        "kind": kind, "passed": drill.passed, "commit": git("rev-parse", "HEAD"), "dirty": is_dirty(),
        "started_at": moment_of(begun).isoformat(timespec="seconds"), "finished_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "by": "CI" if os.environ.get("CI") else "hand",
        "host": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores", "malote": version(drill.arguments.malote),
    }


def moment_of(begun):
    return datetime.fromtimestamp(begun, timezone.utc)


def leave(evidence, suffix, page, begun, key):
    DRILLS.mkdir(exist_ok=True)
    file = DRILLS / f"{moment_of(begun):%Y-%m-%d-%H%M}{suffix}.json"
    # Where the checkout lies on this machine is nobody's business.
    file.write_text(json.dumps(evidence, indent=1).replace(str(CHECKOUT), ".") + "\n")
    signed_by = sign(file, key)
    file.with_suffix(".md").write_text("\n".join([*page(evidence), *ending(evidence, signed_by)]))
    return file.relative_to(CHECKOUT)


def version(program):
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return f"{said} ({program.resolve().parent.name} build)"


def sign(file, key):
    """Signs with the given key, or with one that is thrown away at once: then only the public half is kept, beside the signature."""
    with tempfile.TemporaryDirectory() as scratch:
        given, key = key is not None, key or Path(scratch) / "key"
        if not given:
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "thrown away", "-f", str(key)], check=True)
        signature = file.with_name(file.name + ".sig")
        signature.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(file)], check=True, capture_output=True)
        public = " ".join(Path(f"{key}.pub").read_text().split()[:2])
    return public if given else f"{public} (made for this run and thrown away: shows that the file was not edited, not who ran it)"


def heading(kind, evidence, more):
    return [f"# {kind} of {evidence['started_at']}", "", f"**{'Passed' if evidence['passed'] else 'FAILED'}**, {evidence['malote']} at "
            f"commit `{evidence['commit'][:12]}`{' with changes' if evidence['dirty'] else ''}, {evidence['host']}, run by {evidence['by']}. {more}"]


def ending(evidence, signed_by):
    lines = ["", "| check | holds |", "|---|---|"]
    lines += [f"| {check['check'].replace('|', '/')} | {'yes' if check['holds'] else '**no**'} |" for check in evidence["checks"]]
    tables = [f"| {table} | {held['rows']} |" for table, held in evidence["figures"].get("tables", {}).items() if held["rows"]]
    lines += ["", "| table | rows at the target |", "|---|---|", *tables] if tables else []
    key, _, why = signed_by.partition(" (")
    return [*lines, "", f"Signed by `{key}`{' (' + why if why else ''}.", ""]


def restore_page(evidence):
    figures, objectives = evidence["figures"], evidence["objectives"]
    restore = figures.get("restore", {})
    shown = [
        ("RPO", seconds(figures.get("rpo_seconds")), f"{objectives['rpo_seconds']} s"),
        ("RTO, from the request to an application that is ready", seconds(figures.get("rto_seconds")), f"{objectives['rto_seconds']} s"),
        ("of it files and recovery", seconds(restore.get("files_and_recovery_seconds")), ""),
        ("acknowledged rows lost with the disk", f"{figures.get('acknowledged_and_lost')} of {figures.get('acknowledged')}", ""),
        ("full backup under load", seconds(figures.get("backup_full_seconds")), ""),
        ("incremental backup under load", seconds(figures.get("backup_incr_seconds")), ""),
        ("messages that Meta took after the target", figures.get("sent_after_the_target"), ""),
    ]
    lines = heading("Restore drill", evidence, f"{restore.get('postgresql')}, {restore.get('pgbackrest')}, backup {restore.get('backup')}.")
    lines += [f"Load: a campaign of {evidence['load']['contacts']} at {evidence['load']['messages_per_second']} a second; when the disk was lost: {evidence['load']['at_the_loss']}. "
              f"Target: {figures.get('target')}.", "", "| figure | measured | objective |", "|---|---|---|"]
    return lines + [f"| {name} | {measured} | {objective} |" for name, measured, objective in shown]


def rollback_page(evidence):
    load, figures = evidence["load"], evidence["figures"]
    lines = heading("Rollback drill", evidence, f"Before it: {evidence['previous']}.")
    lines += [f"Load: two campaigns of {load['contacts']} at {load['messages_per_second']} a second each, and clients that store single messages and read.", "",
              "| way | took | longest time without an answer | requests, failed | taken by Meta meanwhile |", "|---|---|---|---|---|"]
    lines += [f"| {way['way']} | {seconds(way['seconds'])} | {seconds(way['longest_silence_seconds'])} | {way['requests']}, {way['failed']} | "
              f"{way['taken_by_meta']} |" for way in figures.get("ways", [])]
    lines += ["", "| step | took |", "|---|---|"]
    lines += [f"| {step} | {seconds(took)} |" for step, took in figures.get("steps", {}).items()]
    whole = figures.get("whole")
    return lines + ([] if whole is None else [
        "", f"Had the whole database gone back to before the contract instead: {seconds(whole['seconds'])} to a program that is ready, and then "
        f"{whole['stored_and_gone']} stored messages gone and {whole['sent_and_unknown']} that Meta took unknown."])


def seconds(value):
    return "not measured" if value is None else f"{value:.1f} s"

"""What a restore drill leaves behind: JSON for the gate, Markdown for people, a signature over the JSON."""

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


def write(checks, figures, passed, begun, arguments):
    DRILLS.mkdir(exist_ok=True)
    moment = datetime.fromtimestamp(begun, timezone.utc)
    figures = {name: value for name, value in figures.items() if name != "application_up_at"}
    evidence = {
        "kind": "restore-drill", "passed": passed, "commit": git("rev-parse", "HEAD"), "dirty": is_dirty(),
        "started_at": moment.isoformat(timespec="seconds"), "finished_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "by": "CI" if os.environ.get("CI") else "hand",
        "host": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores", "malote": version(arguments.malote),
        "load": {"at_the_loss": "4 slow writers" if arguments.idle else "a campaign and 4 writers", "contacts": arguments.contacts, "messages_per_second": arguments.rate},
        "objectives": {"rpo_seconds": 0 if arguments.synchronous else RPO_OBJECTIVE, "rto_seconds": RTO_OBJECTIVE},
        "figures": figures, "checks": checks,
    }
    suffix = "-synchronous" if arguments.synchronous else "-idle" if arguments.idle else ""
    file = DRILLS / f"{moment:%Y-%m-%d-%H%M}{suffix}.json"
    # Where the checkout lies on this machine is nobody's business.
    file.write_text(json.dumps(evidence, indent=1).replace(str(CHECKOUT), ".") + "\n")
    signed_by = sign(file, arguments.sign)
    file.with_suffix(".md").write_text(markdown(evidence, signed_by))
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


def markdown(evidence, signed_by):
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
    lines = [f"# Restore drill of {evidence['started_at']}", "", f"**{'Passed' if evidence['passed'] else 'FAILED'}**, {evidence['malote']} at "
             f"commit `{evidence['commit'][:12]}`{' with changes' if evidence['dirty'] else ''}, {evidence['host']}, run by {evidence['by']}. "
             f"{restore.get('postgresql')}, {restore.get('pgbackrest')}, backup {restore.get('backup')}.",
             f"Load: a campaign of {evidence['load']['contacts']} at {evidence['load']['messages_per_second']} a second; when the disk was lost: {evidence['load']['at_the_loss']}. "
             f"Target: {figures.get('target')}.", "", "| figure | measured | objective |", "|---|---|---|"]
    lines += [f"| {name} | {measured} | {objective} |" for name, measured, objective in shown]
    lines += ["", "| check | holds |", "|---|---|"]
    lines += [f"| {check['check'].replace('|', '/')} | {'yes' if check['holds'] else '**no**'} |" for check in evidence["checks"]]
    lines += ["", "| table | rows at the target |", "|---|---|"]
    lines += [f"| {table} | {held['rows']} |" for table, held in figures.get("tables", {}).items() if held["rows"]]
    lines += ["", f"Signed by `{signed_by.split(' (')[0]}`" + (f" ({signed_by.split(' (', 1)[1]}" if " (" in signed_by else "") + ".", ""]
    return "\n".join(lines)


def seconds(value):
    return "not measured" if value is None else f"{value:.1f} s"

"""Each alert has a runbook that can be followed: its headings, its queries, its commands."""

import re
import subprocess

import metrics
import promql
from files import DASHBOARDS, RUNBOOKS, Found, alerts, relative

HEADINGS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Verification", "Rollback", "Escalation", "Last drilled"]
PORTUGUESE = ["Significado", "Impacto", "Diagnóstico", "Mitigação", "Verificação", "Reversão", "Escalonamento", "Último exercício"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def of_form(path, name, headings):
    text = path.read_text()
    found = [] if text.startswith(f"# {name}\n") else [f"{relative(path)} does not begin with `# {name}`"]
    sections = re.findall(r"^## ([^\n]+)\n+(.*?)(?=^## |\Z)", text, re.M | re.S)
    if [title for title, _ in sections] != headings:
        found.append(f"{relative(path)} has not the headings {', '.join(headings)}")
    found += [f"{relative(path)}: nothing under {title}" for title, body in sections if not body.strip()]
    return found


def of_blocks(path, known):
    found = []
    for language, body in BLOCK.findall(path.read_text()):
        if language == "promql":
            try:
                used = promql.metrics(body)
            except ValueError as error:
                found.append(f"{relative(path)}: {error}")
                continue
            found += [f"{relative(path)} asks for {name}, which nothing exports" for name in sorted(used) if not known(name)]
        elif language == "sh":
            done = subprocess.run(["bash", "-n"], input=body, capture_output=True, text=True)
            found += [f"{relative(path)}: {done.stderr.strip()}"] if done.returncode else []
        else:
            found.append(f"{relative(path)}: a block of {language}; there are promql and sh")
    return found


def url(rule, annotation, place):
    """The last part of a link, which must stand under the place that the installation configures."""
    match = re.fullmatch(r"\{\{ \$externalLabels\." + place + r" \}\}/(.+)", rule["annotations"].get(annotation, ""))
    return match and match.group(1)


def check():
    found, known, wanted = [], metrics.known(), set()
    for _, _, rule in alerts():
        name = rule["alert"]
        wanted.add(name)
        if url(rule, "runbook_url", "runbooks") != f"{name}.md":
            found.append(f"{name}: runbook_url does not lead to {name}.md")
        dashboard = url(rule, "dashboard_url", "grafana") or ""
        if not (DASHBOARDS / f"{dashboard.removeprefix('d/malote-')}.json").exists():
            found.append(f"{name}: dashboard_url leads to no dashboard of ours")
        for folder, headings in ((RUNBOOKS, HEADINGS), (RUNBOOKS / "pt-BR", PORTUGUESE)):
            path = folder / f"{name}.md"
            if path.exists():
                found += of_form(path, name, headings) + of_blocks(path, known)
            elif headings is HEADINGS or rule["labels"]["severity"] == "critical":
                found.append(f"{name} has no runbook {relative(path)}")
    others = {"README", "security-incident"}
    found += [f"{relative(path)} is the runbook of no alert" for path in RUNBOOKS.rglob("*.md") if path.stem not in wanted | others]
    if found:
        raise Found(sorted(set(found)))
    return f"{len(wanted)} runbooks, {len(list((RUNBOOKS / 'pt-BR').glob('*.md')))} in Portuguese"

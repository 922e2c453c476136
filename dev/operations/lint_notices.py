"""Who hears of what: Alertmanager's file, its routes and what it keeps quiet."""

import subprocess

from files import ALERTS, Found, alerts, read_yaml

CONFIG = ALERTS / "alertmanager.yml"
SECRETS = ("url", "api_url", "routing_key", "service_key", "credentials", "password", "bearer_token")


def receivers_of(labels):
    words = [f"{name}={value}" for name, value in labels.items()]
    done = subprocess.run(["amtool", "config", "routes", "test", f"--config.file={CONFIG}", *words], capture_output=True, text=True)
    return [name for name in done.stdout.strip().split(",") if name]


def routes(route):
    yield route
    for child in route.get("routes", []):
        yield from routes(child)


def of_receivers(config):
    used = {route["receiver"] for route in routes(config["route"]) if "receiver" in route}
    named = {receiver["name"] for receiver in config["receivers"]}
    found = [f"the receiver {name} is used by no route" for name in sorted(named - used)]
    for receiver in config["receivers"]:
        kinds = {key: value for key, value in receiver.items() if key.endswith("_configs")}
        if not any(kinds.values()):
            found.append(f"the receiver {receiver['name']} tells nobody")
        for key, entries in kinds.items():
            for entry in entries:
                inline = [name for name in SECRETS if name in entry and not (key == "webhook_configs" and name == "url")]
                found += [f"{receiver['name']}: {name} stands in the file instead of coming from one" for name in inline]
                if key == "webhook_configs" and "credentials_file" not in entry.get("http_config", {}).get("authorization", {}):
                    found.append(f"{receiver['name']}: the webhook has no credentials_file")
    return found


def of_inhibitions(config):
    names = {rule["alert"] for _, _, rule in alerts()}
    found = []
    for rule in config["inhibit_rules"]:
        text = " ".join(rule["source_matchers"] + rule["target_matchers"])
        if not rule.get("equal"):
            found.append(f"an inhibition without `equal` silences everybody: {text}")
        for word in text.replace('"', "|").replace("=", "|").replace("~", "|").replace(" ", "|").split("|"):
            if word[:1].isupper() and word not in names:
                found.append(f"an inhibition names {word}, which is no alert")
    return found


def of_routes(config):
    wanted = read_yaml(ALERTS / "routes.yaml")["routes"]
    found, reached = [], set()
    for case in wanted:
        answer = receivers_of(case["labels"])
        reached.update(answer)
        if answer != case["receivers"]:
            found.append(f"{case['labels']} reaches {answer}, and should reach {case['receivers']}")
    missing = {receiver["name"] for receiver in config["receivers"]} - reached
    found += [f"alerts/routes.yaml tries no alert that reaches {name}" for name in sorted(missing)]
    pairs = {(rule["labels"]["severity"], rule["labels"]["team"]) for _, _, rule in alerts()}
    for severity, team in sorted(pairs):
        answer = receivers_of({"severity": severity, "team": team})
        if severity == "critical" and not {"incident"} < set(answer):
            found.append(f"a critical alert of {team} reaches {answer} only")
    return found


def check():
    done = subprocess.run(["amtool", "check-config", str(CONFIG)], capture_output=True, text=True)
    if done.returncode:
        raise Found([done.stdout + done.stderr])
    config = read_yaml(CONFIG)
    found = of_receivers(config) + of_inhibitions(config) + of_routes(config)
    if found:
        raise Found([f"alerts/alertmanager.yml: {line}" for line in found])
    return f"{len(config['receivers'])} receivers, {len(config['inhibit_rules'])} inhibitions"

"""The stage of the drill: servers of its own, two nodes behind a balancer, a simulated Meta, customers under a light load."""

import json
import os
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from drill_balancer import Balancer
from drill_stage import CHECKOUT, Failed, Stack, eventually, free_port, run
from prometheus import Watch, wanted_counters
from receivers import CONTROL, DEAD_MAN, Receivers

# What people practise with has a stack of its own, so that a drill may run beside.
INSTANCE, PRACTICE = "incidents", "practice"
RECEIVERS = [DEAD_MAN, "incident", "page_platform", "page_messaging", "slack_platform", "slack_messaging", "slack_security", CONTROL]
READY_WITHIN, FILLED_WITHIN = 180, 900


class Node:
    """A process of ours: its addresses stay when it is killed and started again."""

    def __init__(self, name):
        self.name, self.public, self.internal, self.process = name, free_port(), free_port(), None

    @property
    def address(self):
        return f"127.0.0.1:{self.internal}"


def purge(instance):
    run([CHECKOUT / "dev/stack", "--instance", instance, "down", "--purge"])


class Stage:
    def __init__(self, instance, program, load, messages):
        self.program, self.load, self.messages = program, load, messages
        self.receivers = Receivers(RECEIVERS)
        self.stack = Stack(instance, "postgresql,redis,rabbitmq,alertmanager")
        self.watch = Watch(self.stack, self.receivers)
        self.nodes, self.processes, self.logs = [Node("first"), Node("second")], {}, {}
        self.public, self.simulator = free_port(), free_port()
        self.relay_key = secrets.token_hex(24)
        self.exporters = {"redis": free_port(), "postgresql": free_port()}

    def set(self):
        """Everything up, filled and under load; Prometheus last, so that it sees no start."""
        (self.stack.secrets / "relay").write_text(self.relay_key)
        self.watch.route_to_receivers()
        run([self.program, "migrate", "up"], env=self.environment(self.nodes[0]))
        self.spawn("simulator", self.stack.environment, self.program, "simulator", "--listen", f"127.0.0.1:{self.simulator}", "--number-rate", 0,
                   "--callback", f"http://127.0.0.1:{self.public}/webhooks/meta", "--app-secret", self.stack.password("app_secret"),
                   "--answer-delay-ms", 40, "--answer-delay-p99-ms", 250)
        for node in self.nodes:
            self.start(node)
        balancer = Balancer(self.public, [node.public for node in self.nodes])
        eventually("both nodes are ready", READY_WITHIN, lambda: all(balancer.ready.values()))
        self.export()
        self.fill()
        self.watch.start([node.address for node in self.nodes], self.targets(), wanted_counters())
        eventually("every target answers", 60, lambda: self.watch.up() == {"malote": 2, "redis": 1, "postgresql": 1, "rabbitmq": 1, "alertmanager": 1})

    def fill(self):
        """`malote seed`: it fills the installation, says so, and goes on with the load."""
        words = ["seed", "--messages", self.messages, "--load", self.load, "--public", f"127.0.0.1:{self.public}", "--internal", self.nodes[0].address]
        self.spawn("seed", self.environment(self.nodes[0]), self.program, *words)
        eventually("the installation is filled", FILLED_WITHIN, lambda: self.is_filled())

    def is_filled(self):
        if self.processes["seed"].poll() is not None:
            raise Failed(f"malote seed ended: {self.log('seed').read_text()[-1500:]}")
        return "told to stop" in self.log("seed").read_text()

    def export(self):
        """The exporters of Redis and PostgreSQL, as Debian has them. Passwords go by the environment."""
        ports, environment = self.stack.ports, dict(os.environ)
        self.spawn("redis-exporter", {**environment, "REDIS_ADDR": f"redis://127.0.0.1:{ports['redis']}", "REDIS_PASSWORD": self.stack.password("redis")},
                   "prometheus-redis-exporter", "-web.listen-address", f"127.0.0.1:{self.exporters['redis']}")
        source = f"postgresql://postgres:{self.stack.password('superuser')}@127.0.0.1:{ports['postgresql']}/postgres?sslmode=disable"
        self.spawn("postgres-exporter", {**environment, "DATA_SOURCE_NAME": source}, "prometheus-postgres-exporter",
                   f"--web.listen-address=127.0.0.1:{self.exporters['postgresql']}")

    def targets(self):
        nodes = [{"targets": [node.address for node in self.nodes], "labels": {"job": "malote"}}]
        others = [{"targets": [f"127.0.0.1:{port}"], "labels": {"job": job}} for job, port in self.exporters.items()]
        return {"malote": nodes, "exporters": others}

    def environment(self, node):
        return {**self.stack.environment, "MALOTE_ENVIRONMENT": "staging", "MALOTE_NODE__NAME": node.name,
                "MALOTE_HTTP__PUBLIC_ADDRESS": f"127.0.0.1:{node.public}", "MALOTE_HTTP__INTERNAL_ADDRESS": node.address,
                "MALOTE_META__BASE_URL": f"http://127.0.0.1:{self.simulator}", "MALOTE_WEBHOOKS__RELAY_KEY_FILE": str(self.stack.secrets / "relay")}

    def start(self, node):
        node.process = self.spawn(node.name, self.environment(node), self.program, "serve")

    def kill(self, node):
        """As a power cut would."""
        node.process.kill()
        node.process.wait()

    def is_ready(self, node):
        if node.process.poll() is not None:
            raise Failed(f"the node {node.name} ended: {self.log(node.name).read_text(errors='replace')[-1500:]}")
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{node.public}/readyz", timeout=5).status == 200
        except OSError:
            return False

    def log(self, name):
        return Path(self.stack.root) / f"{name}.log"

    def spawn(self, name, environment, *words):
        log = open(self.log(name), "ab")
        self.processes[name] = subprocess.Popen([str(word) for word in words], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self.processes[name]

    def command(self, *words):
        """A command of an operator."""
        return run([self.program, *words], env=self.environment(self.nodes[0]))

    def write_settings(self):
        """A file that gives a shell the settings of an operator, `malote` included."""
        file = Path(self.stack.root) / "operator.env"
        mine = {name: value for name, value in self.environment(self.nodes[0]).items() if name.startswith("MALOTE_")}
        file.write_text("".join(f"export {name}='{value}'\n" for name, value in mine.items()))
        return file

    def faults(self, **plan):
        """The fault plan of the simulated Meta; empty means none."""
        self.call(f"http://127.0.0.1:{self.simulator}/_control/faults", plan, method="PUT")

    def operator(self, node, path, body=None, method=None):
        return self.call(f"http://{node.address}{path}", body, {"Authorization": f"Bearer {self.stack.password('admin')}"}, method)

    def call(self, url, body=None, headers=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise Failed(f"{url}: {error.code} {error.read()[:400]}") from error
        except OSError as error:
            raise Failed(f"{url}: {error}") from error

    def tenant(self):
        """The largest customer."""
        [found] = [tenant["id"] for tenant in self.operator(self.nodes[0], "/admin/v1/tenants")["items"] if tenant["name"] == "Mercados Atlântico"]
        return found

    def end(self):
        for process in self.processes.values():
            process.terminate()
        end = time.monotonic() + 30
        for process in self.processes.values():
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.receivers.close()

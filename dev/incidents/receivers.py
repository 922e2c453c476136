"""Stands in for everybody whom Alertmanager tells: takes what bears the right token, and keeps it with the time of its arrival."""

import hmac
import json
import secrets
import threading
import time
from collections import namedtuple
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# One alert of one notice. `key` is the notice's group, `began` since when Prometheus says that it fires.
Told = namedtuple("Told", "at receiver key name status began fingerprint labels annotations")
# These two are no answer to an incident: the Watchdog's, and that of the rule which runs beside ours for comparison.
DEAD_MAN, CONTROL = "dead_man", "control"


class Receivers:
    """One server; each receiver of alerts/alertmanager.yml is a path of it, with a token of its own."""

    def __init__(self, names):
        self.tokens = {name: secrets.token_hex(24) for name in names}
        self.told, self.refused, self.lock = [], 0, threading.Lock()
        receivers = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802  (the name is http.server's)
                at, body = time.time(), self.rfile.read(int(self.headers.get("Content-Length", 0)))
                code = receivers.take(at, self.path.strip("/"), self.headers.get("Authorization", ""), body)
                self.send_response(code)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, at, name, authorization, body):
        token = self.tokens.get(name)
        if token is None or not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            with self.lock:
                self.refused += 1
            return 401
        notice = json.loads(body)
        with self.lock:
            self.told += [Told(at, name, notice["groupKey"], alert["labels"]["alertname"], alert["status"], moment(alert["startsAt"]),
                               alert["fingerprint"], alert["labels"], alert["annotations"]) for alert in notice["alerts"]]
        return 200

    def url(self, name):
        return f"http://127.0.0.1:{self.port}/{name}"

    def all(self, since=0.0):
        with self.lock:
            return [told for told in self.told if told.at >= since]

    def of_people(self, since=0.0):
        """What somebody would have been woken or written to by."""
        return [told for told in self.all(since) if told.receiver not in (DEAD_MAN, CONTROL)]

    def first(self, names, since):
        """The first notice that one of these alerts fires since then."""
        heard = [told for told in self.of_people(since) if told.name in names and told.status == "firing" and told.began >= since]
        return min(heard, key=lambda told: told.at, default=None)

    def open(self):
        """Alerts of which it was told last that they fire: (receiver, fingerprint) and their name."""
        last = {(told.receiver, told.fingerprint): told for told in self.of_people()}
        return {key: told.name for key, told in last.items() if told.status == "firing"}

    def close(self):
        self.server.shutdown()


def moment(text):
    """Seconds since 1970 of what Prometheus and Alertmanager write; they write more digits than Python reads."""
    whole, _, rest = text.replace("Z", "+00:00").partition(".")
    if rest:
        sign = "+" if "+" in rest else "-"
        digits, zone = rest.split(sign)
        whole += f".{digits[:6]:0<6}{sign}{zone}"
    return datetime.fromisoformat(whole).timestamp()


def faults_of(told):
    """What is wrong with how the notices came: for each (receiver, alert) how often it was told, and that it is over.

    An alert that fires anew before it was told to be over went on, as people see it: Alertmanager may keep the later beginning to itself, and
    tells of the later end alone. So an end answers whatever the same alert was told to have begun until then.
    """
    fired, over, repeated, groups = {}, {}, [], {}
    for one in told:
        (fired if one.status == "firing" else over).setdefault((one.receiver, one.name, one.fingerprint, one.began), []).append(one.at)
        groups.setdefault((one.receiver, one.key, one.at), set()).add((one.fingerprint, one.began, one.status))
    found = [f"{name} at {receiver} was told {len(times)} times to be over" for (receiver, name, *_), times in over.items() if len(times) > 1]
    last_fired, last_over = latest(fired), latest(over)
    found += [f"{name} at {receiver} was never told to be over" for (receiver, name, fingerprint), began in last_fired.items()
              if last_over.get((receiver, name, fingerprint), 0.0) < began]
    known = {}
    for (receiver, key, _), content in sorted(groups.items(), key=lambda group: group[0][2]):
        before = known.setdefault((receiver, key), set())
        if content <= before:
            repeated.append(f"a notice of {key} at {receiver} said nothing new")
        before |= content
    return found + repeated


def latest(keys):
    """Of each (receiver, alert) the beginning that was told last."""
    return {key[:3]: key[3] for key in sorted(keys, key=lambda key: key[3])}

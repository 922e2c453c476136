"""The stage of the drills: a stack of its own with its archive, an application under load, psql held open."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
INSTANCE = "drill"
TOKEN = "a-token-that-only-the-simulator-knows"
ARCHIVE_TIMEOUT = 30
OVER = "SELECT count(*) FROM app.messages WHERE state IN ('planned', 'queued', 'sending', 'accepted', 'sent')"
UNAPPLIED = "SELECT count(*) FROM app.events WHERE applied_at IS NULL"


class Failed(Exception):
    """Why the drill cannot go on."""


def run(command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))[:200]}: {(done.stdout + done.stderr).strip()[-1500:]}")
    return done.stdout


def as_user(user, *command):
    return ["runuser", "-u", user, "--", *map(str, command)] if os.geteuid() == 0 else list(map(str, command))


def as_postgres(*command):
    """PostgreSQL refuses root, and pgBackRest reads its files: both run as the user of the data directory."""
    return as_user("postgres", *command)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(what, within, ask):
    end = time.monotonic() + within
    while True:
        found = ask()
        if found:
            return found
        if time.monotonic() > end:
            raise Failed(f"not within {within} s: {what}")
        time.sleep(0.1)


class Drill:
    """What was checked, and the stage that it was checked on."""

    def __init__(self, arguments):
        self.arguments, self.checks, self.figures = arguments, [], {}
        self.stack, self.application = Stack(), None

    def say(self, text):
        print(f"drill: {text}", file=sys.stderr, flush=True)

    def check(self, name, holds, seen=""):
        self.checks.append({"check": name, "holds": bool(holds), "seen": str(seen)[-1500:]})
        self.say(("holds  " if holds else "BROKEN ") + name + ("" if holds else f": {seen}"))

    def check_books(self, when, **changed):
        """The ledger's chains and counters by the program, and the same sums by SQL that shares nothing with it."""
        for words in (("verify-audit",), ("reconcile", "--full")):
            done = self.application.command("billing", *words, **changed)
            self.check(f"the books are in order {when} ({words[0]})", done.returncode == 0, done.stdout + done.stderr)

    def end(self):
        if self.application:
            self.application.end()
        for into in (self.stack.home / "copies").glob("*"):
            self.stack.end_copy(into)

    @classmethod
    def perform(cls, arguments):
        """Plays the drill on an empty stage, clears the stage, and gives the drill."""
        purge = [CHECKOUT / "dev/stack", "--instance", INSTANCE, "down", "--purge"]
        run(purge)
        drill = None
        try:
            drill = cls(arguments)
            drill.play()
        except Failed as error:
            if drill is None:
                raise
            drill.check("the drill came to its end", False, error)
        finally:
            if drill:
                drill.end()
            if not arguments.keep:
                run(purge)
        return drill

    @property
    def passed(self):
        return bool(self.checks) and all(check["holds"] for check in self.checks)


class Stack:
    """The instance's servers, and what is archived of its database."""

    def __init__(self, instance=INSTANCE, servers="postgresql,redis,rabbitmq"):
        self.instance = instance
        self.do("up", "--only", servers)
        described = json.loads((CHECKOUT / f".stack-{instance}" / "stack.json").read_text())
        self.name, self.root, self.ports = described["name"], Path(described["root"]), described["ports"]
        self.port = self.ports["postgresql"]
        self.secrets = CHECKOUT / f".stack-{instance}" / "secrets"
        self.environment = dict(os.environ)
        for line in self.do("env").splitlines():
            name, value = line.removeprefix("export ").split("=", 1)
            self.environment[name] = value.strip("'")
        self.home = self.root / "backup"
        self.programs = self.home / "bin"

    def do(self, *words):
        return run([CHECKOUT / "dev/stack", "--instance", self.instance, *words])

    def password(self, name):
        return (self.secrets / name).read_text().strip()

    def give(self, path, mode):
        path.chmod(mode)
        if os.geteuid() == 0:
            shutil.chown(path, "postgres", "postgres")

    def archive(self):
        """Installs deploy/backup as on a database's host, switches archiving on and begins again."""
        run([CHECKOUT / "dev/stack", "install", "pgbackrest"])
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(CHECKOUT / "deploy/backup", self.programs)
        for directory in (self.home, self.programs, self.home / "state", self.home / "repository", self.home / "copies"):
            directory.mkdir(exist_ok=True)
            self.give(directory, 0o755 if directory == self.programs else 0o750)
        marks = {"@REPOSITORY@": self.home / "repository", "@STATE@": self.home / "state", "@PORT@": self.port,
                 "@DATA@": self.root / "postgresql/data", "@SOCKET@": self.root / "postgresql"}
        text = (CHECKOUT / "deploy/backup/pgbackrest.conf").read_text()
        for mark, value in marks.items():
            text = text.replace(mark, str(value))
        settings = {"PGBACKREST_CONFIG": self.home / "pgbackrest.conf", "PGBACKREST_STANZA": "malote",
                    "MALOTE_BACKUP_KEY_FILE": self.home / "key", "MALOTE_BACKUP_STATE": self.home / "state",
                    "MALOTE_BACKUP_METRICS": self.home / "state/malote_backup.prom", "MALOTE_BACKUP_RECEIVERS": 0,
                    "PGUSER": "postgres", "PGDATABASE": "postgres", "PGHOST": self.root / "postgresql", "PGPORT": self.port,
                    "PGPASSFILE": self.home / "passwords"}
        for name, content in {
            "pgbackrest.conf": text, "key": secrets.token_hex(32) + "\n", "passwords": f"*:*:*:postgres:{self.password('superuser')}\n",
            "backup.env": "".join(f"{key}='{value}'\n" for key, value in settings.items()),
        }.items():
            (self.home / name).write_text(content)
            self.give(self.home / name, 0o600)
        push = f"MALOTE_BACKUP_SETTINGS={self.home}/backup.env {self.programs}/archive-by-pgbackrest push %p"
        for setting in ("archive_mode = on", f"archive_command = '{push}'", f"archive_timeout = {ARCHIVE_TIMEOUT}"):
            self.ask("postgres", f"ALTER SYSTEM SET {setting}")
        self.do("stop", "postgresql")
        self.do("start", "postgresql")

    def archive_all(self):
        """What was written so far is in the archive: a target in a segment that is on its way there cannot be met."""
        last = self.ask("postgres", "SELECT pg_walfile_name(pg_switch_wal())")
        archived = "SELECT coalesce(max(last_archived_wal), '') FROM pg_stat_archiver WHERE last_archived_wal !~ '[.]'"
        eventually("the last segment is archived", 60, lambda: self.ask("postgres", archived) >= last)

    def copy(self, name):
        """Where a restored copy goes."""
        return self.home / "copies" / name

    def end_copy(self, into):
        if (into / "postmaster.pid").exists():
            run(as_postgres("/usr/lib/postgresql/15/bin/pg_ctl", "-D", into, "-m", "immediate", "-w", "stop"))
        run(["rm", "-rf", "--", into])

    def script(self, *words, check=True):
        """A program of deploy/backup, as the user postgres."""
        command = as_postgres("env", f"MALOTE_BACKUP_SETTINGS={self.home}/backup.env", self.programs / words[0], *words[1:])
        if check:
            return run(command, cwd=self.home)
        return subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=self.home)

    def ask(self, database, query, port=None):
        environment = {**os.environ, "PGPASSWORD": self.password("superuser")}
        return run(["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", port or self.port, "-U", "postgres",
                    "-d", database, "-c", query], env=environment).strip()

    def broker(self, *words):
        """RabbitMQ's command line, or a program that calls it, as the broker's user."""
        programs = next(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"))
        return run(as_user("rabbitmq", "env", f"HOME={self.root / 'rabbitmq'}", f"RABBITMQ_NODENAME=malote-{self.name}@localhost",
                           f"PATH={programs}:{os.environ['PATH']}", *words), cwd=self.root / "rabbitmq")

    def put(self, database, given, *statements, port=None):
        """Statements in one transaction, one of which reads what is given."""
        environment = {**os.environ, "PGPASSWORD": self.password("superuser")}
        words = [word for statement in statements for word in ("-c", statement)]
        return run(["psql", "-X", "-q", "-At", "-1", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", port or self.port, "-U", "postgres",
                    "-d", database, *words], env=environment, input=given)

    def session(self, database):
        return Session(self, database)


class Session:
    """A connection that stays open over several statements."""

    def __init__(self, stack, database):
        environment = {**os.environ, "PGPASSWORD": stack.password("superuser")}
        self.process = subprocess.Popen(
            ["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(stack.port), "-U", "postgres", "-d", database],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)

    def ask(self, statements):
        try:
            self.process.stdin.write(f"{statements};\n\\echo end-of-answer\n")
            self.process.stdin.flush()
        except OSError as error:
            raise Failed("the session is over") from error
        lines = []
        for line in self.process.stdout:
            if line.strip() == "end-of-answer":
                return lines
            lines.append(line.rstrip("\n"))
        raise Failed(f"the session is over: {' '.join(lines)[-500:]}")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Heartbeats:
    """Writers that note each row that PostgreSQL acknowledged, and when."""

    def __init__(self, stack, pause, writers=4):
        stack.ask("postgres", "CREATE TABLE IF NOT EXISTS heartbeats (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)")
        self.acknowledged, self.lock, self.pause = {}, threading.Lock(), pause
        self.threads = [threading.Thread(target=self.write, args=(stack.session("postgres"),)) for _ in range(writers)]
        for thread in self.threads:
            thread.start()

    def write(self, session):
        try:
            while True:
                [row] = session.ask("INSERT INTO heartbeats DEFAULT VALUES RETURNING id")
                with self.lock:
                    self.acknowledged[int(row)] = time.time()
                time.sleep(self.pause)
        except (Failed, ValueError):
            return  # The server was killed: what was acknowledged until then is the truth.

    def wait(self):
        for thread in self.threads:
            thread.join()
        return self.acknowledged


class Application:
    """malote and the simulated Meta that it sends to."""

    def __init__(self, stack, program, *simulated):
        self.stack, self.program, self.server, self.log = stack, program, None, open(stack.root / "application.log", "ab")
        self.public, self.internal, meta = free_port(), free_port(), free_port()
        self.meta = f"http://127.0.0.1:{meta}"
        self.simulator = self.spawn(stack.environment, "simulator", "--listen", f"127.0.0.1:{meta}", "--number-rate", 0, "--token", TOKEN,
                                    "--callback", f"http://127.0.0.1:{self.public}/webhooks/meta",
                                    "--app-secret", stack.password("app_secret"), *simulated)
        self.key = None

    def spawn(self, environment, *words, program=None):
        return subprocess.Popen([str(program or self.program), *map(str, words)], env=environment, stdout=self.log, stderr=self.log)

    def environment(self, changed):
        return {**self.stack.environment, "MALOTE_HTTP__PUBLIC_ADDRESS": f"127.0.0.1:{self.public}",
                "MALOTE_HTTP__INTERNAL_ADDRESS": f"127.0.0.1:{self.internal}", "MALOTE_META__BASE_URL": self.meta,
                "MALOTE_PIPELINE__PARTITIONS": "4", **changed}

    def migrate(self, *words):
        run([self.program, "migrate", "up", *words], env=self.environment({}))

    def command(self, *words, **changed):
        """A command of malote to its end, however it ends."""
        return subprocess.run([str(word) for word in (self.program, *words)], capture_output=True, text=True, env=self.environment(changed))

    def start(self, **changed):
        self.server = self.spawn(self.environment(changed), "serve")
        eventually("the application is ready", 90, self.is_ready)

    def is_ready(self):
        if self.server.poll() is not None:
            raise Failed(f"the application ended; see {self.log.name}")
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.public}/readyz", timeout=5).status == 200
        except OSError:
            return False

    def stop(self, hard=False):
        if self.server is not None:
            (self.server.kill if hard else self.server.terminate)()
            self.server.wait()
            self.server = None

    def end(self):
        self.stop(hard=True)
        self.simulator.kill()
        self.simulator.wait()

    def call(self, path, body=None, content_type="application/json", operator=False, method=None, repeats=None):
        """Asks the API; `repeats` is the key by which a repeated request is known, its own by default."""
        key = self.stack.password("admin") if operator else self.key
        data = None if body is None else (json.dumps(body) if content_type == "application/json" else body).encode()
        asked = urllib.request.Request(f"http://127.0.0.1:{self.internal if operator else self.public}{path}", data,
                                       {"Authorization": f"Bearer {key}", "Content-Type": content_type,
                                        "Idempotency-Key": repeats or secrets.token_hex(12)}, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise Failed(f"{path}: {error.code} {error.read()[:400]}") from error

    def truth(self):
        return json.loads(urllib.request.urlopen(f"{self.meta}/_control/truth", timeout=10).read())

    def make_tenant(self, rate):
        """A tenant with a key and a number; gives the number's id."""
        plan = {"code": "drill", "name": "Drill", "currency": "EUR", "fee_minor": 900, "allowance_units": 100, "policy": "overage",
                "overage_price_micros": 50000}
        self.call("/admin/v1/plans", plan, operator=True)
        tenant = self.call("/admin/v1/tenants", {"name": "Drill", "plan": "drill", "timezone": "Europe/Lisbon"}, operator=True)["id"]
        self.key = self.call(f"/admin/v1/tenants/{tenant}/api-keys", {"name": "drill"}, operator=True)["key"]
        number = {"phone_number_id": "106540352242922", "waba_id": "102290129340398", "display_phone_number": "+351 910 000 000",
                  "access_token": TOKEN, "messages_per_second": rate}
        return self.call("/v1/senders", number)["id"]

    def launch(self, sender, name, first, contacts):
        template = {"name": "order_update", "language": "en_US",
                    "components": [{"type": "body", "parameters": [{"type": "text", "text": "{{name}}"}]}]}
        campaign = self.call("/v1/campaigns", {"name": name, "sender_id": sender, "template": template})["id"]
        rows = "".join(f"+3519{number:08},Contact {number}\n" for number in range(first, first + contacts))
        self.call(f"/v1/campaigns/{campaign}/recipients", "recipient,name\n" + rows, "text/csv")
        self.call(f"/v1/campaigns/{campaign}/launch", {})
        return campaign

    def counts(self, campaign):
        found = self.call(f"/v1/campaigns/{campaign}")
        return found["state"], found["counts"]

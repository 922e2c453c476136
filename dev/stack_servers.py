"""How each server of the stack is configured, started, asked whether it is up, and stopped."""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

POSTGRESQL_BIN = Path("/usr/lib/postgresql/15/bin")
START_WITHIN = 150
STOP_WITHIN = 20


class Failed(Exception):
    """Something that the person at the terminal can act on."""


class Server:
    """A server process of ours, known by its pid file."""

    name = ""
    port_names = ()
    given_by = None
    user = None

    def __init__(self, config, state, password, say):
        self.config, self.state, self.password, self.say = config, state, password, say
        self.directory = Path(config["root"]) / self.name
        self.log = self.directory / "log"
        self.process = None
        self.pid_file = self.directory / "pid"

    @property
    def port(self):
        return self.config["ports"][self.port_names[0]]

    def owner(self):
        """The user that the server runs as: one of its own when we are root."""
        return self.user if os.geteuid() == 0 and self.user else None

    def make_directory(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.give(self.directory)

    def give(self, path):
        if self.owner():
            account = pwd.getpwnam(self.owner())
            os.chown(path, account.pw_uid, account.pw_gid)

    def pid(self):
        """The process of the pid file, if it still is this server's."""
        try:
            pid = int(self.pid_file.read_text().split()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError, IndexError):
            return None
        return pid if self.recognises(pid, command) else None

    def recognises(self, _pid, command):
        return str(self.directory) in command

    def spawn(self, command, environment=None):
        with open(self.log, "ab") as log:
            account = pwd.getpwnam(self.owner()) if self.owner() else None
            process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **(environment or {})}, cwd=self.directory, start_new_session=True,
                user=account.pw_uid if account else None, group=account.pw_gid if account else None,
                extra_groups=[] if account else None)
        self.pid_file.write_text(f"{process.pid}\n")
        self.process = process
        return process

    def answers(self):
        """Whether somebody listens; servers with a protocol of their own ask more."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def is_up(self):
        return self.pid() is not None and all(name in self.config["ports"] for name in self.port_names) and self.answers()

    def wait_until_up(self):
        end = time.monotonic() + START_WITHIN
        while not self.is_up():
            # Asked of the process itself: its command line reads as empty for a moment while it is being replaced.
            ended = self.process is not None and self.process.poll() is not None
            if time.monotonic() > end or ended:
                tail = self.log.read_text(errors="replace")[-1500:] if self.log.exists() else ""
                raise Failed(f"{self.name} did not start; its log ends with:\n{tail}")
            time.sleep(0.1)

    def stop(self):
        pid = self.pid()
        if pid is not None:
            send(pid, self.stop_signal())
            end = time.monotonic() + STOP_WITHIN
            while self.pid() is not None:
                if time.monotonic() > end:
                    send(pid, signal.SIGKILL)
                time.sleep(0.05)
        self.pid_file.unlink(missing_ok=True)

    def kill(self):
        """Ends the server and all its helpers at once, as a power cut would."""
        pid = self.pid()
        if pid is not None:
            doomed = [pid, *descendants(pid)]
            for process in doomed:
                send(process, signal.SIGKILL)
            end = time.monotonic() + STOP_WITHIN
            while any(Path(f"/proc/{process}/exe").exists() for process in doomed) and time.monotonic() < end:
                time.sleep(0.02)
        self.pid_file.unlink(missing_ok=True)

    def stop_signal(self):
        return signal.SIGTERM


def descendants(pid):
    """Every process that this one has begun, and those that they have."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, waiting = [], [pid]
    while waiting:
        of_one = children.get(waiting.pop(), [])
        found += of_one
        waiting += of_one
    return found


def send(pid, what):
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        pass


class PostgreSQL(Server):
    name, port_names, given_by, user = "postgresql", ("postgresql",), "MALOTE_DATABASE__HOST", "postgres"

    def start(self):
        self.make_directory()
        data = self.directory / "data"
        if not (data / "PG_VERSION").exists():
            self.initialise(data)
        self.spawn([POSTGRESQL_BIN / "postgres", "-D", data, "-p", self.port, "-k", self.directory,
                    "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=256MB", "-c", "max_connections=400",
                    "-c", "max_wal_size=2GB", "-c", "log_min_duration_statement=1000"])
        self.wait_until_up()
        self.make_roles()  # Every statement of the script may run again, and the script may have changed.
        if self.query("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'malote'") == "0":
            self.query("postgres", "CREATE DATABASE malote OWNER migration_admin")

    def initialise(self, data):
        shutil.rmtree(data, ignore_errors=True)
        password_file = self.directory / "superuser"
        password_file.write_text(self.password("superuser") + "\n")
        self.give(password_file)
        initdb = [POSTGRESQL_BIN / "initdb", "-D", data, "-U", "postgres", "--auth=scram-sha-256", "--encoding=UTF8",
                  "--locale=C.UTF-8", f"--pwfile={password_file}"]
        account = pwd.getpwnam(self.owner()) if self.owner() else None
        done = subprocess.run([str(word) for word in initdb], capture_output=True, text=True, cwd=self.directory,
                              user=account.pw_uid if account else None, group=account.pw_gid if account else None,
                              extra_groups=[] if account else None)
        password_file.unlink()
        if done.returncode:
            raise Failed(f"initdb failed:\n{done.stdout}{done.stderr}")

    def make_roles(self):
        script = Path(self.config["checkout"]) / "deploy/postgres/roles.sql"
        passwords = []
        for role in ("migration_admin", "app_rw", "app_system", "readonly_audit"):
            passwords += ["-v", f"{role}={self.password(role)}"]
        self.psql("postgres", *passwords, "-f", str(script))
        self.query("postgres", "ALTER ROLE migration_admin CREATEDB")  # Only here: tests make databases of their own.

    def psql(self, database, *arguments):
        environment = {**os.environ, "PGPASSWORD": self.password("superuser")}
        done = subprocess.run(["psql", "-X", "-q", "-At", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres",
                               "-d", database, "-v", "ON_ERROR_STOP=1", *arguments],
                              capture_output=True, text=True, env=environment)
        if done.returncode:
            raise Failed(f"psql: {done.stderr.strip()}")
        return done.stdout.strip()

    def query(self, database, statement):
        return self.psql(database, "-c", statement)

    def answers(self):
        ready = [POSTGRESQL_BIN / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready).returncode == 0

    def kill(self):
        super().kill()
        # They name a process that nobody may have waited for yet, and that would count as a running server.
        for lock in [self.directory / "data" / "postmaster.pid", *self.directory.glob(".s.PGSQL.*.lock")]:
            lock.unlink(missing_ok=True)

    def stop_signal(self):
        return signal.SIGINT  # A fast shutdown.


class Redis(Server):
    name, port_names, given_by, user = "redis", ("redis",), "MALOTE_REDIS__ADDRESS", "redis"

    def start(self):
        self.make_directory()
        config = self.directory / "redis.conf"
        config.write_text(f"port {self.port}\nbind 127.0.0.1\nrequirepass {self.password('redis')}\n"
                          f"dir {self.directory}\nsave 60 1000\nappendonly no\ndaemonize no\n")
        config.chmod(0o600)
        self.give(config)
        self.spawn(["redis-server", config])
        self.wait_until_up()

    def recognises(self, _pid, command):
        return "redis-server" in command and f":{self.config['ports'].get('redis')}" in command or super().recognises(_pid, command)

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password('redis')}\r\nPING\r\n".encode())
                heard = b""
                while b"+PONG" not in heard:
                    more = connection.recv(64)
                    if not more or b"-" in more:
                        return False
                    heard += more
                return True
        except OSError:
            return False


class RabbitMQ(Server):
    name, given_by, user = "rabbitmq", "MALOTE_BROKER__ADDRESS", "rabbitmq"
    port_names = ("rabbitmq", "rabbitmq_management", "rabbitmq_metrics", "rabbitmq_distribution")

    def environment(self):
        ports = self.config["ports"]
        return {
            "HOME": str(self.directory), "RABBITMQ_NODENAME": f"malote-{self.config['name']}@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"), "RABBITMQ_LOG_BASE": str(self.directory),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "RABBITMQ_PID_FILE": str(self.directory / "erlang.pid"),
            "RABBITMQ_DIST_PORT": str(ports["rabbitmq_distribution"]), "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        }

    def start(self):
        self.make_directory()
        ports = self.config["ports"]
        files = {
            "rabbitmq.conf": f"listeners.tcp.1 = 127.0.0.1:{ports['rabbitmq']}\n"
                             f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {ports['rabbitmq_management']}\n"
                             f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {ports['rabbitmq_metrics']}\n"
                             f"default_user = malote\ndefault_pass = {self.password('rabbitmq')}\n"
                             "disk_free_limit.absolute = 200MB\nlog.console = true\nlog.file = false\n",
            "plugins": "[rabbitmq_management,rabbitmq_prometheus].\n",
        }
        for name, text in files.items():
            (self.directory / name).write_text(text)
            (self.directory / name).chmod(0o600)
            self.give(self.directory / name)
        self.forget_another_boot()
        # The server itself and not the wrapper in /usr/sbin, which changes its user.
        program = next(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"), "rabbitmq-server")
        self.spawn([program], self.environment())
        self.wait_until_up()

    def forget_another_boot(self):
        for stale in self.directory.glob("erlang.pid"):
            stale.unlink()

    def recognises(self, pid, command):
        return "rabbit" in command or str(self.directory) in command

    def answers(self):
        """Whether the broker speaks AMQP; the listener opens last in its start."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"AMQP\0\0\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False

    def stop(self):
        pid = self.pid()
        if pid is not None:
            send_group(pid, signal.SIGTERM)
            end = time.monotonic() + STOP_WITHIN
            while group_lives(pid):
                if time.monotonic() > end:
                    send_group(pid, signal.SIGKILL)
                time.sleep(0.05)
        self.pid_file.unlink(missing_ok=True)


def send_group(group, what):
    """Tells whether there was anybody to send it to."""
    try:
        os.killpg(group, what)
        return True
    except ProcessLookupError:
        return False


def group_lives(group):
    return send_group(group, 0)


class Prometheus(Server):
    name, port_names, user = "prometheus", ("prometheus",), "prometheus"

    def start(self):
        self.make_directory()
        targets = self.state / "targets"
        targets.mkdir(exist_ok=True)
        ports = self.config["ports"]
        checkout = Path(self.config["checkout"])
        template = (checkout / "deploy/prometheus/prometheus.yml").read_text()
        found = {"@RULES@": str(checkout / "alerts"), "@TARGETS@": str(targets),
                 "@ALERTMANAGER@": f"127.0.0.1:{ports['alertmanager']}",
                 "@RABBITMQ@": f"127.0.0.1:{ports.get('rabbitmq_metrics', 0)}"}
        for mark, value in found.items():
            template = template.replace(mark, value)
        file = self.directory / "prometheus.yml"
        file.write_text(template)
        data = self.directory / "data"
        data.mkdir(exist_ok=True)
        self.give(data)
        self.spawn(["prometheus", f"--config.file={file}", f"--storage.tsdb.path={data}",
                    f"--web.listen-address=127.0.0.1:{self.port}", "--storage.tsdb.retention.time=2d", "--log.level=warn"])
        self.wait_until_up()


class Alertmanager(Server):
    name, port_names, user = "alertmanager", ("alertmanager",), "prometheus"

    def start(self):
        self.make_directory()
        source = (Path(self.config["checkout"]) / "alerts/alertmanager.yml").read_text()
        file = self.directory / "alertmanager.yml"
        file.write_text(without_notices(source))
        self.spawn(["prometheus-alertmanager", f"--config.file={file}", f"--storage.path={self.directory}/data",
                    f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address=", "--log.level=warn"])
        self.wait_until_up()


def without_notices(config):
    """The same routes to receivers that tell nobody: a stack on a desk must not page."""
    routes, receivers = config.split("\nreceivers:\n")
    names = re.findall(r"^  - name: (\w+)$", receivers, re.M)
    return routes + "\nreceivers:\n" + "".join(f"  - name: {name}\n" for name in names)


SERVERS = [PostgreSQL, Redis, RabbitMQ, Alertmanager, Prometheus]

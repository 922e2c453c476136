"""Two nodes behind a balancer, and clients that ask without a pause."""

import threading
import time
from http.client import HTTPException
from secrets import token_hex

from drill_balancer import Balancer
from drill_stage import Failed, eventually, free_port

CLIENTS = 4


class Nodes:
    """Two nodes behind the balancer, each of which may be a program of its own."""

    def __init__(self, application):
        self.application, self.ports, self.processes = application, [free_port(), free_port()], {}
        self.internals = dict(zip(self.ports, [application.internal, free_port()]))
        self.balancer = Balancer(application.public, self.ports)

    def start(self, port, program=None, *words, **changed):
        """Starts a node; a setting that is None is left out."""
        listens = {"MALOTE_HTTP__PUBLIC_ADDRESS": f"127.0.0.1:{port}", "MALOTE_HTTP__INTERNAL_ADDRESS": f"127.0.0.1:{self.internals[port]}"}
        environment = self.application.environment({**listens, **changed})
        environment = {name: value for name, value in environment.items() if value is not None}
        self.processes[port] = self.application.spawn(environment, "serve", *words, program=program)

    def start_all(self, program=None, *words, **changed):
        for port in self.ports:
            self.start(port, program, *words, **changed)
        eventually("both nodes are ready", 120, self.are_ready)

    def are_ready(self):
        ended = [process.returncode for process in self.processes.values() if process.poll() is not None]
        if ended:
            raise Failed(f"a node ended with {ended[0]}; see {self.application.log.name}")
        return all(self.balancer.ready.values())

    def stop(self, port):
        """Tells a node to end; gives how it did."""
        self.processes[port].terminate()
        code = self.processes.pop(port).wait(60)
        self.balancer.ready[port] = False
        return code

    def stop_all(self):
        for process in self.processes.values():
            process.terminate()
        for port in self.ports:
            self.stop(port)

    def take_out(self, port):
        """The balancer sends no new connection to a node, and those that it has come to their end."""
        self.balancer.nodes = [other for other in self.ports if other != port]
        time.sleep(0.5)

    def replace(self, port, program=None, **changed):
        """A program in the place of another. Gives how that one ended, after how long, and when the new one was ready."""
        begun = time.time()
        code, ended = self.stop(port), time.time()
        self.balancer.nodes = self.ports
        self.start(port, program, **changed)
        eventually("the node is ready again", 120, self.are_ready)
        return code, ended - begun, time.time() - begun

    def end(self):
        for node in self.processes.values():
            node.kill()
            node.wait()


class Clients:
    """Store single messages and read, and note each answer; a message that failed is asked for again under its key until it is stored."""

    def __init__(self, application, sender, first=0):
        self.application, self.sender, self.first, self.stopped = application, sender, first, threading.Event()
        self.stored, self.answered, self.failed, self.lock = 0, [], [], threading.Lock()
        self.threads = [threading.Thread(target=self.work, args=(number,), daemon=True) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def work(self, number):
        count = self.first
        template = {"name": "order_update", "language": "en_US", "components": [{"type": "body", "parameters": [{"type": "text", "text": "now"}]}]}
        while not self.stopped.is_set():
            count += 1
            message = {"sender_id": self.sender, "to": f"+3516{number}{count:07}", "template": template, "category": "utility"}
            key = token_hex(12)
            while not self.ask("/v1/messages", message, key):
                time.sleep(0.1)
            self.ask("/v1/usage")
            time.sleep(0.05)

    def ask(self, path, body=None, key=None):
        try:
            self.application.call(path, body, repeats=key)
        except (Failed, OSError, HTTPException, ValueError) as error:
            with self.lock:
                self.failed.append(f"{path}: {error!r}")
            return False
        with self.lock:
            self.answered.append(time.time())
            self.stored += path == "/v1/messages"
        return True

    def longest_silence(self, since):
        """The longest time without any answer."""
        with self.lock:
            moments = [since, *(moment for moment in self.answered if moment > since), time.time()]
        return max(later - earlier for earlier, later in zip(moments, moments[1:]))

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

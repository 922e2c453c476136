"""A balancer as small as one can be, for drills with several nodes."""

import socket
import threading
import time
import urllib.request


class Balancer:
    """Passes connections on to nodes that are ready."""

    def __init__(self, port, nodes):
        self.nodes, self.ready = nodes, dict.fromkeys(nodes, False)
        self.listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self.turn = 0
        for work in (self.probe, self.accept):
            threading.Thread(target=work, daemon=True).start()

    def probe(self):
        while True:
            for node in self.nodes:
                try:
                    self.ready[node] = urllib.request.urlopen(f"http://127.0.0.1:{node}/readyz", timeout=2).status == 200
                except OSError:
                    self.ready[node] = False
            time.sleep(0.2)

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        self.turn += 1
        order = self.nodes[self.turn % 2:] + self.nodes[:self.turn % 2]
        for node in sorted(order, key=lambda node: not self.ready[node]):
            try:
                server = socket.create_connection(("127.0.0.1", node), timeout=5)
            except OSError:
                continue
            server.settimeout(None)
            threading.Thread(target=pipe, args=(server, client), daemon=True).start()
            return pipe(client, server)
        client.close()


def pipe(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

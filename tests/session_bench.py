# SPDX-License-Identifier: Apache-2.0
"""One gateway and one edge whose clients, PLC and next gateway are in the test's own hands.

Whoever they are, each of them can be closed, reset or silent in every state of a session.
"""
import contextlib
import socket
import time

import lab
from tls_peer import Peer, client_context, dial, server_context

P = min(lab.PATIENCE, 2)  # of deadlines that are waited for
# Seconds; short, so that the suite is, and long enough for a machine that does more than this.
TIMEOUTS = {"handshake": 0.9, "proxy_header": 0.9, "dial_gateway": 1.6, "dial_plc": 0.9,
            "slot_wait": 1.0, "frame_rest": 0.9, "plc_reopen": 0.05, "drain": 0.9}
READ = lab.read_words(0, 1)
ANSWER = lab.answer_3e(b"\x34\x12")
AT_ONCE = 0.7  # seconds; less than any of the deadlines above
IN_TIME = 2.5  # seconds; the end of any of them


class Listener:
    """A PLC or gateway in the test's own hands: who dials it waits until taken."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def take(self):
        self.socket.settimeout(5 * P)
        sock, _ = self.socket.accept()
        sock.settimeout(5 * P)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def nobody_dials(self):
        return not lab.readable(self.socket, 0.2)

    def close(self):
        self.socket.close()


class Deaf:
    """A port whose SYNs are never answered: nobody accepts, and the queue is full."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(0)
        self.port = self.socket.getsockname()[1]
        self.queue = []
        while self.answers():
            assert len(self.queue) < 16, "a queue without end"

    def answers(self):
        sock = socket.socket()
        sock.settimeout(0.2)
        self.queue.append(sock)
        try:
            sock.connect(("127.0.0.1", self.port))
            return True
        except TimeoutError:
            return False

    def close(self):
        for sock in [*self.queue, self.socket]:
            sock.close()


def ended(sock, seconds=AT_ONCE):
    """It was closed, and soon; what came before that."""
    started = time.monotonic()
    received = lab.receive_end(sock, 5)
    assert time.monotonic() - started < seconds * P
    return received


def verdict(peer, seconds=AT_ONCE):
    started = time.monotonic()
    seen = peer.verdict()
    assert time.monotonic() - started < seconds * P, seen
    return seen


# --- the bench: one gateway and one edge for all tests of an engine ------------------------------


class Bench:
    EDGES = {"raw": ["raw"], "deaf": ["deaf"], "dead": ["dead"], "deaf-raw": ["deaf", "raw"],
             "dead-raw": ["dead", "raw"], "raw-second": ["raw", "second"]}

    def __init__(self, folder, engine, timeouts=TIMEOUTS, head=""):
        self.pki = lab.Pki(folder / "pki")
        self.gateway_credentials = self.pki.gateway()
        self.edge_credentials, self.ana = self.pki.edge("office"), self.pki.client("ana")
        self.plc, self.deaf = Listener(), Deaf()
        self.raw, self.second = Listener(), Listener()
        self.dead_port = lab.free_port()
        self.gateway_ports = {name: lab.free_port() for name in ("live", "deaf", "dead", "any")}
        self.edge_ports = {name: lab.free_port() for name in self.EDGES}
        deadlines = " ".join(f"{name} = {value * P:.3f}" for name, value in timeouts.items())
        head = (f"log_level = debug\nengine = {engine}\nmark = 0\nworkers = 2\n"
                f"timeouts {{ {deadlines} }}\n{head}\n")
        self.gateway = lab.Daemon(folder, head + self.gateway_text(), name="gateway")
        self.edge = lab.Daemon(folder, head + self.edge_text(), name="edge")

    def gateway_text(self):
        text = lab.EVERYTHING + """
identity "office" {
	match = "uri:urn:mcseal:edge:office" role = edge plcs = "*" policy = "everything"
}
identity "ana" { match = "uri:urn:mcseal:client:ana" plcs = "*" policy = "everything" }
"""
        for name, port in (("live", self.plc.port), ("deaf", self.deaf.port),
                           ("dead", self.dead_port)):
            text += f'plc "{name}" {{ address = 127.0.0.1 port "{port}" {{ }} }}\n'
        for name, port in self.gateway_ports.items():
            text += f"""
gateway "{name}" {{
	listen = "127.0.0.1:{port}"
	{self.gateway_credentials.config()}
	{f'plc = "{name}"' if name != "any" else ""}
}}
"""
        return text

    def edge_text(self):
        ports = {"raw": self.raw.port, "second": self.second.port, "deaf": self.deaf.port,
                 "dead": self.dead_port}
        text = ""
        for number, (name, gateways) in enumerate(self.EDGES.items(), 1):
            addresses = ", ".join(f'"127.0.0.1:{ports[one]}"' for one in gateways)
            text += f"""
edge "{name}" {{
	listen = "127.0.0.1:{self.edge_ports[name]}"
	destination = "10.99.0.{number}:5007"
	{self.edge_credentials.config()}
	source "here" {{ addresses = "127.0.0.0/8" }}
	route "{name}" {{
		destinations = "10.99.0.{number}:5007"
		gateways = {{ {addresses} }}
	}}
}}
"""
        return text

    # Both find a session by its client's port, whatever else goes on.

    def closed(self, daemon, sock, reason, detail=""):
        port = sock if isinstance(sock, int) else sock.getsockname()[1]
        line = daemon.wait_text(
            rf"^.*session-closed .*(client|edge)=127\.0\.0\.1:{port}\b.*$").group(0)
        assert f"reason={reason} " in line and detail in line, line

    # A gateway's client, TLS in its own hands.

    def client(self, listener, credentials=None, alpn=None):
        sock = dial(self.gateway_ports[listener])
        return Peer(sock, client_context(credentials or self.ana, alpn=alpn)).handshake()

    @contextlib.contextmanager
    def relaying(self):
        """(client, PLC's connection) of a session that has carried a request."""
        client = self.client("live")
        client.send(READ)
        plc = self.plc.take()
        assert lab.receive_frame(plc) == READ
        plc.sendall(ANSWER)
        assert client.receive_frame() == ANSWER
        with client.sock, plc:
            yield client, plc

    def gateway_works(self):
        """And the PLC's only slot is free again."""
        with self.relaying() as (client, plc):
            client.close_notify()
            client.sock.shutdown(socket.SHUT_WR)
            assert ended(plc) == b""
            plc.close()
            assert verdict(client) == "goodbye"
            self.closed(self.gateway, client.sock, "finished")

    # An edge's client, plain, and the gateway that it is carried to.

    @contextlib.contextmanager
    def carried(self, edge="raw"):
        """(client, gateway) of a session that has carried a request."""
        with dial(self.edge_ports[edge]) as client:
            client.sendall(READ)
            with self.raw.take() as sock:
                gateway = Peer(sock, server_context(self.gateway_credentials), True).handshake()
                header = gateway.receive(28)
                assert header[:12] == b"\r\n\r\n\0\r\nQUIT\n" and len(header) == 28
                assert gateway.receive_frame() == READ
                gateway.send(ANSWER)
                assert lab.receive_frame(client) == ANSWER
                yield client, gateway

    def edge_works(self):
        with self.carried() as (client, gateway):
            client.shutdown(socket.SHUT_WR)
            assert verdict(gateway) == "goodbye"
            gateway.close_notify()
            gateway.sock.close()
            assert ended(client) == b""
            self.closed(self.edge, client, "finished")

    def close(self):
        for listener in (self.plc, self.deaf, self.raw, self.second):
            listener.close()

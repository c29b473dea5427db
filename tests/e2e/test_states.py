#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Client, gateway and PLC killed in every state of a session, in both roles.

Killed means: closed (FIN), reset (RST), or silent for ever. Each time: the named reason, the other
side closed in time, and the next session as good as ever: the PLC has one slot, and it is free.
"""
import contextlib
import os
import signal
import socket
import ssl
import struct
import threading
import time

import pytest

import lab
from test_attackers import Peer, client_context, dial, keep, proxy_header, server_context

P = min(lab.PATIENCE, 2)  # of deadlines that are waited for
# Seconds; short, so that the suite is.
TIMEOUTS = {"handshake": 0.5, "proxy_header": 0.5, "dial_gateway": 0.6, "dial_plc": 0.4,
            "slot_wait": 0.5, "frame_rest": 0.4, "plc_reopen": 0.05, "drain": 0.5}
READ = lab.read_words(0, 1)
ANSWER = lab.answer_3e(b"\x34\x12")
AT_ONCE = 0.35  # seconds; less than any of the deadlines above


# --- the other ends ------------------------------------------------------------------------------


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


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

    def __init__(self, folder, engine):
        self.pki = lab.Pki(folder / "pki")
        self.gateway_credentials = self.pki.gateway()
        self.edge_credentials, self.ana = self.pki.edge("office"), self.pki.client("ana")
        self.plc, self.deaf = Listener(), Deaf()
        self.raw, self.second = Listener(), Listener()
        self.dead_port = lab.free_port()
        self.gateway_ports = {name: lab.free_port() for name in ("live", "deaf", "dead", "any")}
        self.edge_ports = {name: lab.free_port() for name in self.EDGES}
        timeouts = " ".join(f"{name} = {value * P:.3f}" for name, value in TIMEOUTS.items())
        head = (f"log_level = debug\nengine = {engine}\nmark = 0\nworkers = 2\n"
                f"timeouts {{ {timeouts} }}\n")
        self.gateway = lab.Daemon(folder, head + self.gateway_text(), name="gateway")
        self.edge = lab.Daemon(folder, head + self.edge_text(), name="edge")

    def gateway_text(self):
        text = """
identity "office" { match = "uri:urn:mcseal:edge:office" role = edge plcs = "*" }
identity "ana" { match = "uri:urn:mcseal:client:ana" plcs = "*" }
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


@pytest.fixture(scope="module", params=["auto", "epoll"])
def bench(request, tmp_path_factory):
    made = Bench(tmp_path_factory.mktemp(f"bench-{request.param}"), request.param)
    keep(made.gateway, made.edge)
    with lab.stopping(made.edge, made.gateway):
        yield made
    made.close()


# --- gateway: HANDSHAKING ------------------------------------------------------------------------


def in_handshake(bench):
    """A client whose ClientHello is half there; in the state, by the log."""
    states = len(bench.gateway.lines("to=HANDSHAKING"))
    peer = Peer(dial(bench.gateway_ports["live"]), client_context(bench.ana))
    with contextlib.suppress(ssl.SSLWantReadError):
        peer.tls.do_handshake()
    peer.sock.sendall(peer.outgoing.read()[:50])
    lab.wait_for(lambda: len(bench.gateway.lines("to=HANDSHAKING")) > states, "HANDSHAKING")
    return peer


@pytest.mark.parametrize("how, reason, detail", [
    ("fin", "handshake-failed", "eof"), ("rst", "handshake-failed", "reset"),
    ("silence", "handshake-timeout", "did not finish in time")])
def test_gateway_handshaking_client(bench, how, reason, detail):
    client = in_handshake(bench)
    port = client.sock.getsockname()[1]
    if how == "silence":
        assert ended(client.sock, 1.2) == b""
    (reset if how == "rst" else socket.socket.close)(client.sock)
    bench.closed(bench.gateway, port, reason, detail)
    bench.gateway_works()


# --- gateway: RESOLVING --------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [0, 10], ids=["no-header", "half-a-header"])
@pytest.mark.parametrize("how, reason", [
    ("goodbye", "proxy-header-bad"), ("fin", "client-truncated"), ("rst", "client-lost"),
    ("silence", "proxy-header-timeout")])
def test_gateway_resolving_edge(bench, how, reason, sent):
    edge = bench.client("any", bench.edge_credentials, ["mcseal/1"])
    port = edge.sock.getsockname()[1]
    if sent:
        edge.send(proxy_header(("127.0.0.1", bench.plc.port))[:sent])
    if how == "goodbye":
        edge.close_notify()
        edge.sock.shutdown(socket.SHUT_WR)
        assert verdict(edge) == "goodbye"
    elif how == "silence":
        assert verdict(edge, 1.2) == "goodbye"
    (reset if how == "rst" else socket.socket.close)(edge.sock)
    bench.closed(bench.gateway, port, reason)
    bench.gateway_works()


# --- gateway: DIALING ----------------------------------------------------------------------------


@pytest.mark.parametrize("plc, reason, seconds", [("deaf", "plc-timeout", 1.2),
                                                  ("dead", "plc-refused", AT_ONCE)])
def test_gateway_dialing_plc(bench, plc, reason, seconds):
    """Twice: the slot of a dial that failed is free again."""
    for _ in range(2):
        client = bench.client(plc)
        with contextlib.suppress(ConnectionError):
            client.send(READ)
        assert verdict(client, seconds) in ("goodbye", "cut")
        bench.closed(bench.gateway, client.sock, reason)
        client.sock.close()


@pytest.mark.parametrize("how", ["goodbye", "fin", "rst"])
def test_gateway_dialing_client(bench, how):
    """The client goes while a deaf PLC is dialled; the dial's deadline ends it all."""
    client = bench.client("deaf")
    port = client.sock.getsockname()[1]
    if how == "goodbye":
        client.close_notify()
    (reset if how == "rst" else socket.socket.close)(client.sock)
    bench.closed(bench.gateway, port, "plc-timeout")
    with bench.client("deaf").sock as sock:  # not plc-busy: the slot is free
        bench.closed(bench.gateway, sock, "plc-timeout")


def test_gateway_dialing_busy_plc(bench):
    with bench.relaying() as (client, plc):
        second = bench.client("live")
        assert verdict(second, 1.2) == "goodbye"
        bench.closed(bench.gateway, second.sock, "plc-busy")
        second.sock.close()
        client.send(READ)  # and the first never noticed
        assert lab.receive_frame(plc) == READ
        client.sock.close()
    bench.gateway_works()


@pytest.mark.parametrize("how", ["goodbye", "fin", "rst"])
def test_gateway_waiting_for_a_slot_client(bench, how):
    """It dies while it waits; the slot that it then gets is not lost."""
    with bench.relaying() as (first, plc):
        second = bench.client("live")
        port = second.sock.getsockname()[1]
        if how == "goodbye":
            second.close_notify()
        (reset if how == "rst" else socket.socket.close)(second.sock)
        reset(first.sock)
        assert ended(plc) == b""
    with bench.plc.take() as plc:
        assert ended(plc) == b""
    bench.closed(bench.gateway, port, {"goodbye": "finished", "fin": "client-truncated",
                                       "rst": "client-lost"}[how])
    bench.gateway_works()


# --- gateway: RELAYING ---------------------------------------------------------------------------


@pytest.mark.parametrize("asking", [False, True], ids=["idle", "in-request"])
@pytest.mark.parametrize("how, reason", [
    ("goodbye", "finished"), ("fin", "client-truncated"), ("rst", "client-lost")])
def test_gateway_relaying_client(bench, how, reason, asking):
    with bench.relaying() as (client, plc):
        port = client.sock.getsockname()[1]
        if asking:
            client.send(READ)
            assert lab.receive_frame(plc) == READ
        if how == "goodbye":
            client.close_notify()
            client.sock.shutdown(socket.SHUT_WR)
        else:
            (reset if how == "rst" else socket.socket.close)(client.sock)
        assert ended(plc) == b""
        plc.close()
        if how == "goodbye":
            assert verdict(client) == "goodbye"
        bench.closed(bench.gateway, port, reason)
    bench.gateway_works()


@pytest.mark.parametrize("asking", [False, True], ids=["idle", "in-request"])
@pytest.mark.parametrize("how, reason", [("fin", "finished"), ("rst", "target-lost")])
def test_gateway_relaying_plc(bench, how, reason, asking):
    with bench.relaying() as (client, plc):
        if asking:
            client.send(READ)
            assert lab.receive_frame(plc) == READ
        (reset if how == "rst" else socket.socket.close)(plc)
        assert verdict(client) == "goodbye"
        client.close_notify()
        port = client.sock.getsockname()[1]
        client.sock.close()
        bench.closed(bench.gateway, port, reason)
    bench.gateway_works()


@pytest.mark.parametrize("sent, end, reason, seconds", [
    (ANSWER[:12], "fin", "target-truncated", AT_ONCE),
    (ANSWER[:12], "rst", "target-lost", AT_ONCE),
    (ANSWER[:12], "silence", "answer-incomplete", 1),
    (b"no answer at all", "silence", "bad-answer", AT_ONCE)])
def test_gateway_relaying_plc_inside_an_answer(bench, sent, end, reason, seconds):
    """Nothing of it reaches the client."""
    with bench.relaying() as (client, plc):
        client.send(READ)
        assert lab.receive_frame(plc) == READ
        plc.sendall(sent)
        if end == "rst":
            # Taken in before the reset, which would throw it away.
            lab.wait_for(lambda: unread(plc) == 0, "the answer's way")
        if end != "silence":
            (reset if end == "rst" else socket.socket.close)(plc)
        assert verdict(client, seconds) == "goodbye"
        bench.closed(bench.gateway, client.sock, reason)
        if end == "silence":
            assert ended(plc) == b""
    bench.gateway_works()


def unread(sock):
    """Bytes that the other end's system has not acknowledged (SIOCOUTQ)."""
    import array
    import fcntl
    import termios
    count = array.array("i", [0])
    fcntl.ioctl(sock, termios.TIOCOUTQ, count)
    return count[0]


@pytest.mark.parametrize("how, reason", [
    ("goodbye", "client-truncated"), ("fin", "client-truncated"), ("rst", "client-lost"),
    ("silence", "request-incomplete")])
def test_gateway_relaying_client_inside_a_request(bench, how, reason):
    """Nothing of it reaches the PLC."""
    with bench.relaying() as (client, plc):
        port = client.sock.getsockname()[1]
        client.send(READ[:12])
        if how == "goodbye":
            client.close_notify()
        if how == "silence":
            assert verdict(client, 1) == "goodbye"
        else:
            (reset if how == "rst" else socket.socket.close)(client.sock)
        assert ended(plc, 1) == b""
        bench.closed(bench.gateway, port, reason)
    bench.gateway_works()


# --- gateway: DRAINING ---------------------------------------------------------------------------


@pytest.mark.parametrize("how, reason", [
    ("fin", "finished"), ("rst", "target-lost"), ("silence", "drain-timeout")])
def test_gateway_draining_plc(bench, how, reason):
    """The client has said goodbye; now the PLC ..."""
    with bench.relaying() as (client, plc):
        client.close_notify()
        client.sock.shutdown(socket.SHUT_WR)
        assert ended(plc) == b""
        if how != "silence":
            (reset if how == "rst" else socket.socket.close)(plc)
        assert verdict(client, 1.2) == "goodbye"
        bench.closed(bench.gateway, client.sock, reason)
    bench.gateway_works()


@pytest.mark.parametrize("how, reason", [
    ("goodbye", "finished"), ("rst", "client-lost"), ("silence", "drain-timeout")])
def test_gateway_draining_client(bench, how, reason):
    """The PLC has closed; now the client ..."""
    with bench.relaying() as (client, plc):
        port = client.sock.getsockname()[1]
        plc.shutdown(socket.SHUT_WR)
        assert verdict(client) == "goodbye"
        if how == "goodbye":
            client.close_notify()
            client.sock.shutdown(socket.SHUT_WR)
        elif how == "rst":
            reset(client.sock)
        assert ended(plc, 1.2) == b""
        bench.closed(bench.gateway, port, reason)
    bench.gateway_works()


def test_gateway_draining_client_in_request_without_goodbye(bench):
    """The PLC closes over an open request; a client that is then cut off is not called finished."""
    with bench.relaying() as (client, plc):
        client.send(READ)
        assert lab.receive_frame(plc) == READ
        plc.shutdown(socket.SHUT_WR)
        assert verdict(client) == "goodbye"
        port = client.sock.getsockname()[1]
        client.sock.close()
        assert ended(plc) == b""
        bench.closed(bench.gateway, port, "client-truncated")
    bench.gateway_works()


# --- edge: NEW, RESOLVING ------------------------------------------------------------------------


@pytest.mark.parametrize("how, reason", [("fin", "finished"), ("rst", "client-lost")])
def test_edge_resolving_client(bench, how, reason):
    """Gone before the edge has looked at it: the edge stands still meanwhile."""
    lines = len(bench.edge.lines("session-closed"))
    os.kill(bench.edge.pid, signal.SIGSTOP)
    try:
        client = dial(bench.edge_ports["raw"])
        (reset if how == "rst" else socket.socket.close)(client)
    finally:
        os.kill(bench.edge.pid, signal.SIGCONT)
    if how == "fin":
        with bench.raw.take() as sock:
            gateway = Peer(sock, server_context(bench.gateway_credentials), True).handshake()
            gateway.receive(28)
            assert verdict(gateway) == "goodbye"
            gateway.close_notify()
    lab.wait_for(lambda: len(bench.edge.lines("session-closed")) > lines, "its end")
    assert f"reason={reason} " in bench.edge.lines("session-closed")[-1]
    bench.edge_works()


# --- edge: DIALING -------------------------------------------------------------------------------


@pytest.mark.parametrize("edge, detail, seconds", [("deaf", "no answer in time", 1.4),
                                                   ("dead", "Connection refused", AT_ONCE)])
def test_edge_dialing_gateway(bench, edge, detail, seconds):
    with dial(bench.edge_ports[edge]) as client:
        client.sendall(READ)
        assert ended(client, seconds) == b""
        bench.closed(bench.edge, client, "gateways-failed", detail)
    bench.edge_works()


@pytest.mark.parametrize("edge", ["deaf-raw", "dead-raw"])
def test_edge_dialing_next_gateway(bench, edge):
    with bench.carried(edge) as (client, gateway):
        client.sendall(READ)
        assert gateway.receive_frame() == READ
        reset(gateway.sock)
        assert ended(client) == b""
        bench.closed(bench.edge, client, "target-lost")


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_edge_dialing_client(bench, how):
    states = len(bench.edge.lines("to=DIALING"))
    client = dial(bench.edge_ports["deaf"])
    port = client.getsockname()[1]
    lab.wait_for(lambda: len(bench.edge.lines("to=DIALING")) > states, "DIALING")
    (reset if how == "rst" else socket.socket.close)(client)
    bench.closed(bench.edge, port, "gateways-failed", "no answer in time")
    bench.edge_works()


# --- edge: HANDSHAKING ---------------------------------------------------------------------------


@pytest.mark.parametrize("how, detail, seconds", [
    ("fin", "eof", AT_ONCE), ("rst", "onnection reset", AT_ONCE),
    ("garbage", "wrong version number", AT_ONCE), ("silence", "did not finish in time", 1.4)])
def test_edge_handshaking_gateway(bench, how, detail, seconds):
    with dial(bench.edge_ports["raw"]) as client:
        client.sendall(READ)
        with bench.raw.take() as gateway:
            assert gateway.recv(1) == b"\x16"
            if how == "garbage":
                gateway.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
            elif how == "fin":
                gateway.recv(65536)
                gateway.close()
            elif how == "rst":
                reset(gateway)
            assert ended(client, seconds) == b""
            bench.closed(bench.edge, client, "gateways-failed", detail)
    bench.edge_works()


def test_edge_handshaking_next_gateway(bench):
    """A gateway that takes connections and says nothing must not eat all of the time."""
    with dial(bench.edge_ports["raw-second"]) as client, bench.raw.take() as mute:
        client.sendall(READ)
        with bench.second.take() as sock:
            gateway = Peer(sock, server_context(bench.gateway_credentials), True).handshake()
            gateway.receive(28)
            assert gateway.receive_frame() == READ
            assert lab.receive_end(mute)[:1] == b"\x16"
        assert ended(client) == b""


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_edge_handshaking_client(bench, how):
    """The client goes while a mute gateway holds the handshake up."""
    client = dial(bench.edge_ports["raw"])
    port = client.getsockname()[1]
    with bench.raw.take() as gateway:
        assert gateway.recv(1) == b"\x16"
        (reset if how == "rst" else socket.socket.close)(client)
        bench.closed(bench.edge, port, "gateways-failed", "did not finish in time")
    bench.edge_works()


# --- edge: RELAYING ------------------------------------------------------------------------------


@pytest.mark.parametrize("asking", [False, True], ids=["idle", "in-request"])
@pytest.mark.parametrize("how, reason", [("fin", "finished"), ("rst", "client-lost")])
def test_edge_relaying_client(bench, how, reason, asking):
    with bench.carried() as (client, gateway):
        port = client.getsockname()[1]
        if asking:
            client.sendall(READ)
            assert gateway.receive_frame() == READ
        (reset if how == "rst" else socket.socket.close)(client)
        assert verdict(gateway) == "goodbye"
        gateway.close_notify()
        gateway.sock.close()
        bench.closed(bench.edge, port, reason)
    bench.edge_works()


@pytest.mark.parametrize("asking", [False, True], ids=["idle", "in-request"])
@pytest.mark.parametrize("how, reason", [
    ("goodbye", "finished"), ("fin", "target-truncated"), ("rst", "target-lost"),
    ("garbage", "gateway-tls-failed")])
def test_edge_relaying_gateway(bench, how, reason, asking):
    with bench.carried() as (client, gateway):
        if asking:
            client.sendall(READ)
            assert gateway.receive_frame() == READ
        if how == "goodbye":
            gateway.close_notify()
            gateway.sock.shutdown(socket.SHUT_WR)
        elif how == "garbage":
            gateway.sock.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))
            assert verdict(gateway) == "alert: bad record mac"
        else:
            (reset if how == "rst" else socket.socket.close)(gateway.sock)
        assert ended(client) == b""
        port = client.getsockname()[1]
        client.close()
        bench.closed(bench.edge, port, reason)
    bench.edge_works()


@pytest.mark.parametrize("how, reason, seconds", [
    ("goodbye", "target-truncated", AT_ONCE), ("fin", "target-truncated", AT_ONCE),
    ("silence", "answer-incomplete", 1)])
def test_edge_relaying_gateway_inside_an_answer(bench, how, reason, seconds):
    with bench.carried() as (client, gateway):
        client.sendall(READ)
        assert gateway.receive_frame() == READ
        gateway.send(ANSWER[:12])
        if how == "goodbye":
            gateway.close_notify()
        if how != "silence":
            gateway.sock.close()
        assert ended(client, seconds) == b""
        bench.closed(bench.edge, client, reason)
    bench.edge_works()


def nobody_dials(listener):
    return not lab.readable(listener.socket, 0.2)


def test_edge_sends_no_request_twice(bench):
    """The gateway dies over a write; there is another gateway, and it is not asked."""
    with dial(bench.edge_ports["raw-second"]) as client:
        with bench.raw.take() as sock:
            gateway = Peer(sock, server_context(bench.gateway_credentials), True).handshake()
            gateway.receive(28)
            client.sendall(lab.write_words(0, [1]))
            gateway.receive_frame()
            reset(sock)
            assert ended(client) == b""
            bench.closed(bench.edge, client, "target-lost")
    assert nobody_dials(bench.second) and nobody_dials(bench.raw)


def test_gateway_sends_no_request_twice(bench):
    with bench.relaying() as (client, plc):
        client.send(lab.write_words(0, [1]))
        lab.receive_frame(plc)
        reset(plc)
        assert verdict(client) == "goodbye"
        assert nobody_dials(bench.plc)


# --- edge: DRAINING ------------------------------------------------------------------------------


@pytest.mark.parametrize("how, reason", [
    ("goodbye", "finished"), ("rst", "target-lost"), ("silence", "drain-timeout")])
def test_edge_draining_gateway(bench, how, reason):
    """The client has half-closed; now the gateway ..."""
    with bench.carried() as (client, gateway):
        client.shutdown(socket.SHUT_WR)
        assert verdict(gateway) == "goodbye"
        if how == "goodbye":
            gateway.close_notify()
            gateway.sock.shutdown(socket.SHUT_WR)
        elif how == "rst":
            reset(gateway.sock)
        assert ended(client, 1.2) == b""
        bench.closed(bench.edge, client, reason)
    bench.edge_works()


@pytest.mark.parametrize("how, reason", [
    ("fin", "finished"), ("rst", "client-lost"), ("silence", "drain-timeout")])
def test_edge_draining_client(bench, how, reason):
    """The gateway has said goodbye; now the client ..."""
    with bench.carried() as (client, gateway):
        port = client.getsockname()[1]
        gateway.close_notify()
        assert ended(client) == b""
        if how != "silence":
            (reset if how == "rst" else socket.socket.close)(client)
        assert verdict(gateway, 1.2) == "goodbye"
        bench.closed(bench.edge, port, reason)
    bench.edge_works()


# --- the daemons themselves ----------------------------------------------------------------------


class Everywhere:
    """Sessions of a fresh bench in every state at once, with nothing about to run out of time."""

    def __init__(self, bench):
        self.peers = []
        handshaking = Peer(dial(bench.gateway_ports["live"]), client_context(bench.ana))
        silent = dial(bench.gateway_ports["live"])
        with contextlib.suppress(ssl.SSLWantReadError):
            handshaking.tls.do_handshake()
        handshaking.sock.sendall(handshaking.outgoing.read()[:50])
        resolving = bench.client("any", bench.edge_credentials, ["mcseal/1"])
        relaying = bench.client("live")
        plc = bench.plc.take()
        waiting = bench.client("live")
        dialing = bench.client("deaf")
        edge_dialing = dial(bench.edge_ports["deaf"])
        edge_shaking = dial(bench.edge_ports["raw"])
        mute = bench.raw.take()
        edge_relaying = dial(bench.edge_ports["raw"])
        gateway = Peer(bench.raw.take(), server_context(bench.gateway_credentials),
                       True).handshake()
        gateway.receive(28)
        edge_draining = dial(bench.edge_ports["raw"])
        silent_gateway = Peer(bench.raw.take(), server_context(bench.gateway_credentials),
                              True).handshake()
        silent_gateway.receive(28)
        edge_draining.shutdown(socket.SHUT_WR)
        assert silent_gateway.verdict() == "goodbye"
        self.gateway_peers = [handshaking, resolving, relaying, waiting, dialing]
        self.sockets = [peer.sock for peer in self.gateway_peers] + [silent]
        self.edge_sockets = [edge_dialing, edge_shaking, edge_relaying, edge_draining]
        self.others = [plc, mute, gateway.sock, silent_gateway.sock]

    def close(self):
        for sock in self.sockets + self.edge_sockets + self.others:
            sock.close()


PATIENT = dict.fromkeys(TIMEOUTS, 60)


@pytest.mark.parametrize("engine", ["auto", "epoll"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_daemon_ends_with_sessions_in_every_state(tmp_path, monkeypatch, engine, number):
    """By SIGTERM soon, cleanly and with a word to everybody; by SIGKILL the system closes."""
    monkeypatch.setattr("test_states.TIMEOUTS", PATIENT)
    bench = Bench(tmp_path, engine)
    sessions = Everywhere(bench)
    started = time.monotonic()
    for daemon in (bench.gateway, bench.edge):
        status = daemon.stop(number)
        if number == signal.SIGTERM:
            lab.assert_clean(daemon, status)
    assert time.monotonic() - started < 3 * P
    if number == signal.SIGTERM:
        assert bench.gateway.reasons() == ["shutdown"] * 6
        assert bench.edge.reasons() == ["shutdown"] * 4
    for sock in sessions.sockets + sessions.edge_sockets + sessions.others:
        lab.receive_end(sock)
    sessions.close()
    bench.close()


def test_start_and_stop_under_fire(tmp_path):
    """SIGTERM at any moment of many handshakes: the daemon ends, each time."""
    bench = Bench(tmp_path, "auto")
    lab.assert_clean(bench.edge, bench.edge.stop())
    config = bench.gateway.config.read_text()
    stop = threading.Event()

    def knock():
        while not stop.is_set():
            try:
                address = ("127.0.0.1", bench.gateway_ports["dead"])
                with socket.create_connection(address, 5) as sock:
                    Peer(sock, client_context(bench.ana)).handshake().verdict()
            except ConnectionRefusedError:
                stop.wait(0.01)
            except (OSError, ssl.SSLError):
                pass

    knockers = [threading.Thread(target=knock) for _ in range(4)]
    for thread in knockers:
        thread.start()
    try:
        for _ in range(8):
            lab.wait_for(lambda: "plc-refused" in bench.gateway.reasons(), "work")
            lab.assert_clean(bench.gateway, bench.gateway.stop(seconds=5))
            bench.gateway.log_path.unlink()
            bench.gateway = lab.Daemon(tmp_path, config, name="gateway")
    finally:
        stop.set()
        for thread in knockers:
            thread.join()
    lab.assert_clean(bench.gateway, bench.gateway.stop())
    bench.close()


# --- silence: a machine that is simply gone ------------------------------------------------------


class Line:
    """client - edge - gateway - PLC on four machines, any of which can lose its power."""

    CUT = "add table inet cut\n" + "".join(
        f"add chain inet cut {hook} {{ type filter hook {hook} priority -300; policy drop; }}\n"
        for hook in ("input", "output", "forward"))

    def __init__(self, folder, net):
        self.net = net
        pki = lab.Pki(folder / "pki")
        gateway, edge = pki.gateway("gw", (net.GATEWAY4,)), pki.edge("office")
        head = ("log_level = debug\nmark = 0\ntimeouts { keepalive_idle = 1 keepalive_interval = 1 "
                "keepalive_count = 1 user_timeout = 1 dial_plc = 0.5 dial_gateway = 0.8 "
                "plc_reopen = 0.05 }\n")
        self.plc = lab.Plc(folder, listen=f"{net.PLC4}:5007", netns=net.ns("plc"))
        self.gateway = lab.Daemon(folder, head + f"""
plc "press-1" {{ address = {net.PLC4} port "5007" {{ connections = 1 }} }}
identity "office" {{ match = "uri:urn:mcseal:edge:office" role = edge plcs = "*" }}
gateway "plant" {{
	listen = "{net.GATEWAY4}:8443"
	{gateway.config()}
}}
""", netns=net.ns("gateway"), name="gateway")
        self.edge = lab.Daemon(folder, head + f"""
edge "office" {{
	listen = "10.10.0.1:5007"
	destination = "{net.PLC4}:5007"
	{edge.config()}
	source "client" {{ addresses = "{net.CLIENT4}" }}
	route "plant" {{ destinations = "{net.PLC4}:5007" gateways = "{net.GATEWAY4}:8443" }}
}}
""", netns=net.ns("edge"), name="edge")

    def processes(self):
        return [self.edge, self.gateway, self.plc]

    def client(self):
        with self.net.inside("client"):
            sock = socket.socket()
        sock.settimeout(5 * P)
        sock.connect(("10.10.0.1", 5007))
        return sock

    @contextlib.contextmanager
    def polling(self):
        with self.client() as sock:
            sock.sendall(READ)
            assert lab.words_of(lab.receive_frame(sock)) == [0]
            yield sock

    @contextlib.contextmanager
    def dead(self, *names):
        for name in names:
            self.net.exec(name, "nft", "-f", "-", input=self.CUT)
        try:
            yield
        finally:
            for name in names:
                self.net.exec(name, "nft", "delete", "table", "inet", "cut")

    @contextlib.contextmanager
    def ending(self, **reasons):
        """Sessions end in these daemons for these reasons, soon."""
        for name in ("edge", "gateway"):
            lab.wait_for(lambda daemon=getattr(self, name): len(daemon.reasons()) == len(
                daemon.lines("from=NEW")), "the end of earlier sessions")
        before = {name: getattr(self, name).reasons() for name in reasons}
        yield
        for name, reason in reasons.items():
            daemon = getattr(self, name)
            lab.wait_for(lambda daemon=daemon, name=name: len(daemon.reasons()) > len(before[name]),
                         f"{reason} at the {name}", 6)
            assert daemon.reasons()[len(before[name]):] == [reason]

    @contextlib.contextmanager
    def ending_of_polling(self, **reasons):
        with self.ending(**reasons), self.polling() as sock:
            yield sock

    def works(self):
        def answers():
            with contextlib.suppress(OSError, lab.LabError), self.polling():
                return True
        lab.wait_for(answers, "an answer from the PLC's only slot", 5)


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    with lab.Net(prefix=f"sta{os.getpid()}-") as net:
        made = Line(tmp_path_factory.mktemp("line"), net)
        keep(*made.processes())
        with lab.stopping(*made.processes()):
            yield made


def test_silent_client(line):
    with line.ending_of_polling(edge="client-lost", gateway="finished"), line.dead("client"):
        lab.wait_for(lambda: line.edge.lines("reason=client-lost"), "the edge's notice")
    line.works()


@pytest.mark.parametrize("asking", [False, True], ids=["idle", "in-request"])
def test_silent_plc(line, asking):
    with line.ending_of_polling(gateway="target-lost", edge="finished") as sock, line.dead("plc"):
        if asking:
            sock.sendall(READ)
        assert lab.receive_end(sock, 6) == b""
        sock.close()
    line.works()


@pytest.mark.parametrize("asking", [False, True], ids=["idle", "in-request"])
def test_silent_gateway(line, asking):
    """Both of its neighbours notice by themselves; so does it, about both of them."""
    with line.ending_of_polling(edge="target-lost") as sock, line.dead("gateway"):
        if asking:
            sock.sendall(READ)
        assert lab.receive_end(sock, 6) == b""
        sock.close()
        lab.wait_for(lambda: line.gateway.reasons()[-1] in ("client-lost", "target-lost"),
                     "the gateway's own notice", 6)
    line.works()


def test_silent_plc_is_dialled(line):
    with line.ending(gateway="plc-timeout"), line.dead("plc"), line.client() as sock:
        assert ended(sock, 1.5) == b""
    line.works()


def test_silent_gateway_is_dialled(line):
    with line.ending(edge="gateways-failed"), line.dead("gateway"), line.client() as sock:
        assert ended(sock, 1.5) == b""
    line.works()

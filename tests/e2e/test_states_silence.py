#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Client, gateway or PLC silent because its machine is simply gone.

Each time: the named reason, and the next session as good as ever.
"""
import contextlib
import os
import socket

import pytest

import lab
from session_bench import READ, P, ended
from tls_peer import keep


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
                "keepalive_count = 1 user_timeout = 1 dial_plc = 1 dial_gateway = 1.5 "
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
        assert ended(sock, 3) == b""
    line.works()


def test_silent_gateway_is_dialled(line):
    with line.ending(edge="gateways-failed"), line.dead("gateway"), line.client() as sock:
        assert ended(sock, 3) == b""
    line.works()

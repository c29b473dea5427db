# SPDX-License-Identifier: Apache-2.0
"""The lab for transparent redirect: daemons, PLCs and the rulesets of nft-rules/ in namespaces.

Routed: clients in "client", the edge on the router "edge". On a host: client and edge both in
"client", and "edge" only forwards. Gateway and PLCs are the same in both.
"""
import contextlib
import os
import pathlib
import pwd
import socket

import lab

RULES = lab.ROOT / "nft-rules"
NOBODY = pwd.getpwnam("nobody").pw_uid
# What a client may dial; D0 of each tells which one answered.
TARGETS = (("10.30.0.10", 5007), ("10.30.0.10", 5001), ("10.30.0.11", 5007),
           ("fd30::10", 5007), ("fd30::10", 5001), ("fd30::11", 5007))
SETS = {"PLC4": "{ 10.30.0.10-10.30.0.11 . 5001-5007 }", "PLC6": "{ fd30::/64 . 5001-5007 }"}
ROUTE = '"10.30.0.10:5001-5007", "10.30.0.11:5001-5007", "[fd30::/64]:5001-5007"'
SOURCES = {"router": 'addresses = { "10.10.0.2", "fd10::2" }', "host": 'users = { "nobody" }'}


@contextlib.contextmanager
def links():
    """The namespaces, with a second address for the PLCs."""
    assert os.geteuid() == 0, "these tests make network namespaces: run them as root"
    with lab.Net(prefix=f"mcred-{os.getpid()}-") as net:
        net.exec("plc", "ip", "addr", "add", "10.30.0.11/24", "dev", "to-gateway")
        net.exec("plc", "ip", "addr", "add", "fd30::11/64", "dev", "to-gateway", "nodad")
        # IPv6 neighbours answer only when the link-local addresses are past their detection.
        for name in net.names:
            lab.wait_for(lambda ns=name: not net.exec(ns, "ip", "-6", "addr", "show",
                                                      "tentative").stdout, "IPv6 addresses")
        yield net


def without_rules(net):
    for name in net.names:
        net.exec(name, "nft", "flush", "ruleset")
    return net


def certificates(folder):
    pki = lab.Pki(folder)
    pki.at_gateway = pki.gateway("gw", [lab.Net.GATEWAY4, lab.Net.GATEWAY6])
    pki.at_edge = pki.edge("office")
    return pki


def at(host, port):
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Plants:
    """PLCs and gateway, with gateway.nft loaded, and an edge in the place asked for."""

    def __init__(self, net, pki, folder, place, edge_config=None, edge=True):
        self.net, self.pki, self.folder, self.place = net, pki, pathlib.Path(folder), place
        self.name = {"router": "edge", "host": "client"}[place]
        self.plcs = [lab.Plc(folder, "--set", f"D0={number}", listen=at(*target),
                             netns=net.ns("plc"), name=f"plc-{number}")
                     for number, target in enumerate(TARGETS, 1)]
        self.gateway = lab.Daemon(folder, self.gateway_text(), net.ns("gateway"), "gateway")
        self.edge_config = edge_config or self.edge_text()
        self.edge = self.start_edge() if edge else None
        self.load_rules()

    def start_edge(self, name="edge"):
        return lab.Daemon(self.folder, self.edge_config, self.net.ns(self.name), name)

    def gateway_text(self):
        hosts = sorted({host for host, _ in TARGETS})
        plcs = "".join(f'plc "p{n}" {{ address = "{host}"\n port "5001" {{ connections = 8 }}\n'
                       f'port "5007" {{ connections = 8 }} }}\n' for n, host in enumerate(hosts))
        return f"""log_level = debug
{plcs}
identity "office" {{ match = {{ "uri:urn:mcseal:edge:office" }} role = edge plcs = {{ "*" }} }}
gateway "plant" {{
	listen = {{ "10.20.0.2:8443", "[fd20::2]:8443" }}
	{self.pki.at_gateway.config()}
}}
"""

    def edge_text(self, head="", gateways='"10.20.0.2:8443"', credentials=None):
        listen = {"router": '"0.0.0.0:15007", "[::]:15007"',
                  "host": '"127.0.0.1:15007", "[::1]:15007"'}[self.place]
        return f"""log_level = debug
{head}
timeouts {{ dial_gateway = {1.5 * lab.PATIENCE} }}
edge "office" {{
	listen = {{ {listen} }}
	{(credentials or self.pki.at_edge).config()}
	source "scada" {{ {SOURCES[self.place]} }}
	route "plant" {{
		destinations = {{ {ROUTE} }}
		gateways = {{ {gateways} }}
	}}
}}
"""

    def load_rules(self, sets=None):
        sets = sets or SETS
        self.net.nft("gateway", RULES / "gateway.nft")
        self.net.nft(self.name, RULES / "guard.nft", **SETS)
        if self.place == "router":
            self.net.nft("edge", RULES / "edge-router.nft",
                         CLIENT_INTERFACES='{ "to-client" }', **sets)
        else:
            self.net.nft("client", RULES / "edge-host.nft", **sets)

    def connect(self, host, port, user=NOBODY, like=None):
        """As a client does that knows nothing of mcseal; with the source port of `like`."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with self.net.inside("client"):
            os.seteuid(user)
            try:
                sock = socket.socket(family)
            finally:
                os.seteuid(0)
        sock.settimeout(5 * lab.PATIENCE)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if like:
                sock.bind(like.getsockname()[:2])
            sock.connect((host, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def ask(self, host, port):
        """D0 of whichever PLC answers."""
        with self.connect(host, port) as sock:
            sock.sendall(lab.read_words(0, 1))
            return lab.words_of(lab.receive_frame(sock))[0]

    def everybody_answers(self):
        for number, target in enumerate(TARGETS, 1):
            assert self.ask(*target) == number, target

    def seen(self):
        return [line for plc in self.plcs for line in plc.events()]

    def processes(self):
        return [*([self.edge] if self.edge else []), self.gateway, *self.plcs]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            with lab.stopping(*self.processes()):
                pass
            return
        for process in self.processes():
            process.kill()
            print(f"--- {process.log_path}\n{process.text()[-3000:]}")

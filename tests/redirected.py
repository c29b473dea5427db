# SPDX-License-Identifier: Apache-2.0
"""The lab for transparent edges: daemons and PLCs in namespaces, with the rules that mcseal-nft
makes of the daemons' own configurations, installed before the daemons start.

Routed: clients in "client", the edge on the router "edge", by redirect or TPROXY. On a host: client
and edge both in "client", and "edge" only forwards. Gateway and PLCs are the same in all.
"""
import contextlib
import os
import pathlib
import pwd
import re
import shutil
import socket

import pytest

import lab

NOBODY = pwd.getpwnam("nobody").pw_uid
# What a client may dial; D0 of each tells which one answered.
TARGETS = (("10.30.0.10", 5007), ("10.30.0.10", 5001), ("10.30.0.11", 5007),
           ("fd30::10", 5007), ("fd30::10", 5001), ("fd30::11", 5007))
ROUTE = '"10.30.0.10:5001-5007", "10.30.0.11:5001-5007", "[fd30::/64]:5001-5007"'
NEIGHBOURS = 'addresses = { "10.10.0.2", "fd10::2" }'
EVERYBODY = 'addresses = { "0.0.0.0/0", "::/0" }'
# Where the edge is, what it carries and where its clients stand.
PLACES = {
    "router": ("edge", NEIGHBOURS, '"0.0.0.0:15007", "[::]:15007"',
               'interfaces = { "to-client" }'),
    "host": ("client", 'users = { "nobody" }', '"127.0.0.1:15007", "[::1]:15007"', ""),
    # Packets are not changed, so that the listener can be where no neighbour reaches it.
    "tproxy": ("edge", NEIGHBOURS, '"127.0.0.1:15007", "[::1]:15007"',
               'interfaces = { "to-client" } interception = tproxy'),
}
# The edge's address, and on a host the client's.
CLIENTS = 'clients = { "10.20.0.1", "10.10.0.0/24", "fd20::1", "fd10::/64" }'


# --- fixtures of the test files that import them -------------------------------------------------


@pytest.fixture(scope="module")
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


@pytest.fixture
def net(links):
    """The namespaces without any rule."""
    for name in links.names:
        links.exec(name, "sh", "-c", """nft flush ruleset || exit 1
            for family in -4 -6; do
                printf 'rule del lookup 207\\nroute flush table 207\\n' | ip $family -force -batch -
            done; true""")
    return links


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    made = lab.Pki(tmp_path_factory.mktemp("pki") / "pki")
    made.at_gateway = made.gateway("gw", [lab.Net.GATEWAY4, lab.Net.GATEWAY6])
    made.at_edge = made.edge("office")
    return made


def at(host, port):
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Plants:
    """PLCs and gateway, and an edge in the place asked for, each with its rules."""

    def __init__(self, net, pki, folder, place, edge_config=None, edge=True,
                 gateway_options=CLIENTS, head="", connections=8):
        self.net, self.pki, self.folder, self.place = net, pki, pathlib.Path(folder), place
        self.name, self.sources, self.listen, self.interception = PLACES[place]
        self.plcs = [lab.Plc(folder, "--set", f"D0={number}", "--connections", connections,
                             listen=at(*target), netns=net.ns("plc"), name=f"plc-{number}")
                     for number, target in enumerate(TARGETS, 1)]
        self.gateway_config = self.gateway_text(gateway_options, head, connections)
        self.edge_config = edge_config or self.edge_text()
        self.rules("gateway", self.gateway_config)
        self.rules(self.name, self.edge_config)
        self.gateway = self.start_gateway()
        self.edge = self.start_edge() if edge else None

    def write(self, name, text):
        path = self.folder / f"{name}.rules.conf"
        path.write_text(text)
        return path

    def rules(self, name, text):
        return self.net.rules(name, self.write(name, text))

    def redirect_everybody(self, gateway=False):
        """Then the daemon itself has to tell clients apart; `gateway`: the gateway's port, too."""
        wide = self.edge_text(sources=EVERYBODY, gateways='"192.0.2.1:8443"',
                              destinations=ROUTE + (', "10.20.0.2:8443"' if gateway else ""))
        self.rules(self.name, wide)
        # The guard is still the one that belongs to the daemon: it lets TLS out.
        guard = self.net.exec(self.name, lab.BUILD / "mcseal-nft", "-c",
                              self.write(self.name, self.edge_config), "print", "--guard",
                              stderr=None).stdout
        self.net.exec(self.name, "nft", "-f", "-", input=guard)

    def blocked(self, name=None, chain="refuse_plain"):
        """TCP packets that the guard has refused."""
        text = self.net.exec(name or self.name, "nft", "list", "chain", "inet", "mcseal_guard",
                             chain).stdout
        return int(re.search(r"counter packets (\d+) .*reject with tcp reset", text).group(1))

    def start_edge(self, name="edge"):
        return lab.Daemon(self.folder, self.edge_config, self.net.ns(self.name), name)

    def start_gateway(self, name="gateway"):
        return lab.Daemon(self.folder, self.gateway_config, self.net.ns("gateway"), name)

    def gateway_text(self, options, head="", connections=8):
        hosts = sorted({host for host, _ in TARGETS})
        port = f"{{ connections = {connections} }}"
        plcs = "".join(f'plc "p{n}" {{ address = "{host}"\n port "5001" {port}\n'
                       f'port "5007" {port} }}\n' for n, host in enumerate(hosts))
        return lab.EVERYTHING + f"""log_level = debug
{head}
nft {{ plc_networks = {{ "10.30.0.0/24", "fd30::/64" }} }}
{plcs}
identity "office" {{
	match = {{ "uri:urn:mcseal:edge:office" }} role = edge plcs = {{ "*" }} policy = "everything"
}}
gateway "plant" {{
	listen = {{ "10.20.0.2:8443", "[fd20::2]:8443" }}
	{self.pki.at_gateway.config()}
	{options}
}}
"""

    def edge_text(self, head="", gateways='"10.20.0.2:8443"', credentials=None, sources=None,
                  destinations=ROUTE):
        return f"""log_level = debug
{head}
timeouts {{ dial_gateway = {1.5 * lab.PATIENCE} }}
edge "office" {{
	listen = {{ {self.listen} }}
	{self.interception}
	{(credentials or self.pki.at_edge).config()}
	source "scada" {{ {sources or self.sources} }}
	route "plant" {{
		destinations = {{ {destinations} }}
		gateways = {{ {gateways} }}
	}}
}}
"""

    def connect(self, host, port, user=NOBODY, like=None, source=None, name="client"):
        """As a client does that knows nothing of mcseal; with the source port of `like`."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with self.net.inside(name):
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
            if source:
                sock.bind((source, 0))
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


class Unprivileged(lab.Process):
    """mcseald as the user nobody, with the capabilities named and no others.

    `public` is a folder that this user may read.
    """

    def __init__(self, plants, public, capabilities, ready=True):
        self.prepare(plants, public)
        # LeakSanitizer's ptrace is not allowed to such a process.
        leaks = os.environ.get("ASAN_OPTIONS", "").replace("detect_leaks=1", "detect_leaks=0")
        caps = "-all" + "".join(f",+{name}" for name in capabilities)
        super().__init__(
            ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
             f"--inh-caps={caps}", f"--ambient-caps={caps}", f"--bounding-set={caps}",
             "--no-new-privs", public / "mcseald", public / "edge.conf"],
            plants.folder / "edge.log", plants.net.ns(plants.name), env={"ASAN_OPTIONS": leaks})
        if ready:
            self.wait_text(r"\bready workers=", 10)
            assert self.status("Uid") == [str(NOBODY)] * 4

    @staticmethod
    def prepare(plants, public):
        """Program, configuration and what that names, for this user to read."""
        credentials, config = plants.pki.at_edge, plants.edge_text()
        for path in (credentials.certificate, credentials.key, plants.pki.ca, plants.pki.crl):
            copy = shutil.copy(path, public)
            os.chown(copy, NOBODY, NOBODY)
            config = config.replace(str(path), str(copy))
        (public / "edge.conf").write_text(config)
        shutil.copy(lab.BUILD / "mcseald", public)

    def closed(self, reason, seconds=5.0):
        return self.wait_text(rf"^.*session-closed reason={reason}\b.*$", seconds).group(0)

    def status(self, name):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return re.search(rf"^{name}:\s*(.*)$", text, re.MULTILINE).group(1).split()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Transparent redirect with the real daemon and the rulesets of nft-rules/, in namespaces (root).

Routed: clients in "client", the edge on the router "edge". On a host: client and edge both in
"client", and "edge" only forwards. Gateway and PLCs are the same in both.
"""
import contextlib
import os
import pathlib
import pwd
import re
import shutil
import socket
import tempfile

import pytest

import lab
import peers

RULES = lab.ROOT / "nft-rules"
NOBODY = pwd.getpwnam("nobody").pw_uid
PLC = {4: lab.Net.PLC4, 6: lab.Net.PLC6}
# What a client may dial; D0 of each tells which one answered.
TARGETS = (("10.30.0.10", 5007), ("10.30.0.10", 5001), ("10.30.0.11", 5007),
           ("fd30::10", 5007), ("fd30::10", 5001), ("fd30::11", 5007))
SETS = {"PLC4": "{ 10.30.0.10-10.30.0.11 . 5001-5007 }", "PLC6": "{ fd30::/64 . 5001-5007 }"}
ROUTE = '"10.30.0.10:5001-5007", "10.30.0.11:5001-5007", "[fd30::/64]:5001-5007"'
SOURCES = {"router": 'addresses = { "10.10.0.2", "fd10::2" }', "host": 'users = { "nobody" }'}
both = pytest.mark.parametrize("version", [4, 6])
placements = pytest.mark.parametrize("place", ["router", "host"])


@pytest.fixture(scope="module")
def links():
    assert os.geteuid() == 0, "these tests make network namespaces: run them as root"
    with lab.Net(prefix=f"mcred-{os.getpid()}-") as made:
        made.exec("plc", "ip", "addr", "add", "10.30.0.11/24", "dev", "to-gateway")
        made.exec("plc", "ip", "addr", "add", "fd30::11/64", "dev", "to-gateway", "nodad")
        # IPv6 neighbours answer only when the link-local addresses are past their detection.
        for name in made.names:
            lab.wait_for(lambda ns=name: not made.exec(ns, "ip", "-6", "addr", "show",
                                                       "tentative").stdout, "IPv6 addresses")
        yield made


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    made = lab.Pki(tmp_path_factory.mktemp("pki") / "pki")
    made.at_gateway = made.gateway("gw", [lab.Net.GATEWAY4, lab.Net.GATEWAY6])
    made.at_edge = made.edge("office")
    return made


@pytest.fixture
def net(links):
    for name in links.names:
        links.exec(name, "nft", "flush", "ruleset")
    return links


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

    def connect(self, host, port, user=NOBODY):
        """As a client does that knows nothing of mcseal."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with self.net.inside("client"):
            os.seteuid(user)
            try:
                sock = socket.socket(family)
            finally:
                os.seteuid(0)
        sock.settimeout(5 * lab.PATIENCE)
        try:
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


# --- the right PLC ---------------------------------------------------------------------------------------


@placements
def test_original_destination(net, pki, tmp_path, place):
    """Many PLCs and ports, one edge listener: each client reaches what it dialled."""
    with Plants(net, pki, tmp_path, place) as plants:
        for _ in range(2):
            plants.everybody_answers()
        for host, port in TARGETS:
            assert plants.edge.lines(rf"session-open .*destination={re.escape(at(host, port))} ")
            line = plants.gateway.lines(rf"session-open .*destination={re.escape(at(host, port))}")
            client = lab.Net.CLIENT6 if ":" in host else lab.Net.CLIENT4
            assert f"client={at(client, '')}" in line[0] and "edge=1" in line[0], line


@placements
def test_all_at_once(net, pki, tmp_path, place):
    with Plants(net, pki, tmp_path, place) as plants, contextlib.ExitStack() as stack:
        socks = [(number, stack.enter_context(plants.connect(*target)))
                 for _ in range(8) for number, target in enumerate(TARGETS, 1)]
        for _ in range(3):
            for _, sock in socks:
                sock.sendall(lab.read_words(0, 1))
            for number, sock in socks:
                assert lab.words_of(lab.receive_frame(sock)) == [number]


@placements
def test_gateway_dialled_over_ipv6(net, pki, tmp_path, place):
    plants = Plants(net, pki, tmp_path, place, edge=False)
    plants.edge_config = plants.edge_text(gateways='"[fd20::2]:8443"')
    plants.edge = plants.start_edge()
    with plants:
        plants.everybody_answers()
        assert "edge=[fd" in plants.gateway.lines("session-open")[0]


@both
def test_local_user_who_is_not_listed(net, pki, tmp_path, version):
    with Plants(net, pki, tmp_path, "host") as plants:
        assert plants.ask(PLC[version], 5007) in (1, 4)
        before = len(plants.seen())
        for user in (0, NOBODY - 1):
            with plants.connect(PLC[version], 5007, user=user) as sock:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(lab.read_words(0, 1))
                assert lab.receive_end(sock) == b""
        lab.wait_for(lambda: plants.edge.reasons().count("source-refused") == 2, "two refusals")
        lab.wait_for(lambda: len(plants.seen()) in (before, before + 1), "the first one's end")
        assert len([line for line in plants.seen() if "event=request" in line]) == 1


# --- the mark --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("marked", [True, False])
def test_mark_keeps_the_daemon_out_of_the_redirect(net, pki, tmp_path, marked):
    """The redirected range covers the gateway, too: the mark alone tells the daemon's own apart."""
    plants = Plants(net, pki, tmp_path, "host", edge=False)
    plants.edge_config = plants.edge_text(head="" if marked else "mark = 0")
    plants.edge = plants.start_edge()
    plants.load_rules({**SETS, "PLC4": SETS["PLC4"].replace("}", ", 10.20.0.2 . 8443 }")})
    with plants:
        if marked:
            plants.everybody_answers()
            return
        with plants.connect(*TARGETS[0]) as sock:
            with contextlib.suppress(ConnectionError):
                sock.sendall(lab.read_words(0, 1))
            assert lab.receive_end(sock) == b""
        # Its own connection came back to it, from a user that no source lists: no endless loop.
        plants.edge.closed("gateways-failed")
        plants.edge.closed("source-refused")
        assert len(plants.edge.lines("session-closed")) == 2
        assert plants.seen() == []


# --- restart -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stopped", "killed"])
@placements
def test_restart_leaks_nothing(net, pki, tmp_path, place, how):
    """Rules stay while the daemon is away: clients are refused at once, nothing leaves in plain."""
    # Before any rule: the same request crosses the link in plain, and the capture can tell.
    control = peers.Capture(tmp_path, "to-gateway", "tcp", netns=net.ns("edge"), name="control")
    plc = lab.Plc(tmp_path, listen="10.30.0.10:5007", netns=net.ns("plc"), name="control-plc")
    with lab.stopping(plc):
        net.exec("client", lab.BUILD / "mcping", "10.30.0.10:5007", "read", "D0")
    control.stop()
    assert plain_packets(control)

    with Plants(net, pki, tmp_path, place) as plants:
        capture = peers.Capture(tmp_path, "to-gateway", "tcp", netns=net.ns("edge"))
        plants.everybody_answers()
        with plants.connect(*TARGETS[0]) as four, plants.connect(*TARGETS[3]) as six:
            for sock in (four, six):
                sock.sendall(lab.read_words(0, 1))
                lab.receive_frame(sock)
            if how == "stopped":
                lab.assert_clean(plants.edge, plants.edge.stop())
            else:
                plants.edge.kill()
            before = len([line for line in plants.seen() if "event=request" in line])
            for sock in (four, six):
                assert lab.receive_end(sock) == b""
                # Whoever goes on all the same is reset, not carried in plain.
                with contextlib.suppress(ConnectionError):
                    for _ in range(3):
                        sock.sendall(lab.read_words(0, 1))
            for target in TARGETS:
                for _ in range(3):
                    with pytest.raises(ConnectionRefusedError):
                        plants.connect(*target)
        assert len([line for line in plants.seen() if "event=request" in line]) == before
        plants.edge = plants.start_edge("edge-again")
        plants.everybody_answers()
        capture.stop()
        assert capture.fields("frame.number", only="tcp.port == 8443 && tcp.len > 0")
        assert plain_packets(capture) == []


def plain_packets(capture):
    """Whatever is not on the way to or from the gateway's TLS port, or no TLS record there."""
    other = capture.fields("frame.number", "tcp.dstport", only="tcp && !(tcp.port == 8443)")
    raw = capture.path.read_bytes()
    return other + [("request",)] * raw.count(lab.read_words(0, 1))


# --- as little privilege as possible ---------------------------------------------------------------------


class Unprivileged(lab.Process):
    """mcseald as the user nobody, with the capabilities named and no others."""

    def __init__(self, plants, capabilities):
        folder = plants.public
        # LeakSanitizer's ptrace is not allowed to such a process.
        leaks = os.environ.get("ASAN_OPTIONS", "").replace("detect_leaks=1", "detect_leaks=0")
        caps = "-all" + "".join(f",+{name}" for name in capabilities)
        super().__init__(
            ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
             f"--inh-caps={caps}", f"--ambient-caps={caps}", f"--bounding-set={caps}",
             "--no-new-privs", folder / "mcseald", folder / "edge.conf"],
            plants.folder / "edge.log", plants.net.ns(plants.name), env={"ASAN_OPTIONS": leaks})
        self.wait_text(r"\bready workers=", 10)

    def closed(self, reason, seconds=5.0):
        return self.wait_text(rf"^.*session-closed reason={reason}\b.*$", seconds).group(0)

    def status(self, name):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return re.search(rf"^{name}:\s*(.*)$", text, re.MULTILINE).group(1).split()


@pytest.fixture
def public():
    """A folder that the user nobody may read."""
    with tempfile.TemporaryDirectory(prefix="mcseal-public-") as made:
        os.chmod(made, 0o755)
        yield pathlib.Path(made)


def unprivileged(plants, public, capabilities):
    plants.public = public
    credentials = plants.pki.at_edge
    names = {}
    for path in (credentials.certificate, credentials.key, plants.pki.ca, plants.pki.crl):
        names[path] = shutil.copy(path, public)
        os.chown(names[path], NOBODY, NOBODY)
    config = plants.edge_text()
    for path, copy in names.items():
        config = config.replace(str(path), str(copy))
    (public / "edge.conf").write_text(config)
    shutil.copy(lab.BUILD / "mcseald", public)
    plants.edge = Unprivileged(plants, capabilities)
    assert plants.edge.status("Uid") == [str(NOBODY)] * 4


@placements
def test_net_raw_is_enough(net, pki, tmp_path, public, place):
    with Plants(net, pki, tmp_path, place, edge=False) as plants:
        unprivileged(plants, public, ["net_raw"])
        assert plants.edge.status("CapEff") == ["0000000000002000"]
        assert not plants.edge.lines("mark-not-set")
        plants.everybody_answers()


def test_marks_its_connections_by_net_raw_alone(net, pki, tmp_path, public):
    with Plants(net, pki, tmp_path, "host", edge=False) as plants:
        plants.load_rules({**SETS, "PLC4": SETS["PLC4"].replace("}", ", 10.20.0.2 . 8443 }")})
        unprivileged(plants, public, ["net_raw"])
        plants.everybody_answers()


@placements
def test_without_net_raw_it_warns_and_works(net, pki, tmp_path, public, place):
    with Plants(net, pki, tmp_path, place, edge=False) as plants:
        unprivileged(plants, public, [])
        assert plants.edge.status("CapEff") == ["0000000000000000"]
        assert "CAP_NET_RAW" in plants.edge.lines("warning mark-not-set")[0]
        plants.everybody_answers()


# --- the PLC's connection slots ------------------------------------------------------------------------------


def plc_sockets(net):
    """The PLCs' connections, listeners left out."""
    return net.exec("plc", "ss", "-Htan", "state", "connected").stdout.splitlines()


def test_plc_sees_every_connection_end(net, pki, tmp_path):
    """Behind gateway.nft the last acknowledgement reaches the PLC: no slot stays taken."""
    with Plants(net, pki, tmp_path, "router") as plants:
        for _ in range(5):
            plants.everybody_answers()
        with plants.connect(*TARGETS[0]) as four, plants.connect(*TARGETS[3]) as six:
            for sock in (four, six):
                sock.sendall(lab.read_words(0, 1))
                lab.receive_frame(sock)
            assert len(plc_sockets(net)) >= 2
        lab.wait_for(lambda: not plc_sockets(net), "no connection at the PLC")
        opened = [line for line in plants.seen() if "event=open" in line]
        closed = [line for line in plants.seen() if "event=close" in line]
        assert len(opened) == len(closed) == 5 * len(TARGETS) + 2
        assert all("reason=peer" in line for line in closed)  # a FIN, and no reset


def test_plc_sees_the_end_of_a_killed_gateway(net, pki, tmp_path):
    with Plants(net, pki, tmp_path, "router") as plants:
        with plants.connect(*TARGETS[0]) as four, plants.connect(*TARGETS[3]) as six:
            for sock in (four, six):
                sock.sendall(lab.read_words(0, 1))
                lab.receive_frame(sock)
            plants.gateway.kill()
            for sock in (four, six):
                assert lab.receive_end(sock) == b""
        lab.wait_for(lambda: not plc_sockets(net), "no connection at the PLC")
        plants.edge.closed("target-(lost|truncated)")
        plants.gateway = lab.Daemon(tmp_path, plants.gateway_text(), net.ns("gateway"), "again")
        plants.everybody_answers()

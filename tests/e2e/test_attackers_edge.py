#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that an edge must not carry: nothing of theirs reaches gateway or PLC."""
import contextlib
import os
import pathlib
import socket

import pytest

import lab
from tls_peer import READ, closed, frozen, keep

LISTED_USER, OTHER_USER = 64001, 64002
TOUCHED = "event=(open|request|refused)"  # but for the ends of what was there before


class PickySite(lab.Site):
    """An edge with a source rule of its own; the client dials it directly."""

    def __init__(self, folder, rule, **options):
        self.rule = rule
        super().__init__(folder, **options)

    def edge_text(self, options, protocol):
        return super().edge_text(options, protocol).replace('addresses = { "127.0.0.0/8" }',
                                                            self.rule)

    def refuses(self, *prefix):
        """A program that is not carried: it is cut off, nothing reaches gateway or PLC."""
        sessions, events = len(self.gateway.lines("from=NEW")), self.plc.events(TOUCHED)
        refusals = self.edge.reasons().count("source-refused")
        result = lab.run(*prefix, lab.BUILD / "mcping", f"127.0.0.1:{self.edge_port}", "read", "D0",
                         check=False)
        assert result.returncode == 3, result.stdout
        lab.wait_for(lambda: self.edge.reasons().count("source-refused") == refusals + 1,
                     "the refusal's line")
        assert len(self.gateway.lines("from=NEW")) == sessions
        assert self.plc.events(TOUCHED) == events

    def carries(self, *prefix):
        result = lab.run(*prefix, lab.BUILD / "mcping", f"127.0.0.1:{self.edge_port}", "read", "D0")
        assert "D0: 0" in result.stdout


def as_user(number):
    return ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"]


def test_unlisted_local_user(tmp_path):
    rule = f'users = {{ "{LISTED_USER}" }}'
    with PickySite(tmp_path, rule) as site:
        site.refuses(*as_user(OTHER_USER))
        site.refuses()  # not even root
        site.carries(*as_user(LISTED_USER))


def test_unlisted_address(tmp_path):
    with PickySite(tmp_path, 'addresses = "127.0.0.5"') as site:
        site.refuses()
        assert site.plc.events() == []
        with socket.create_connection(("127.0.0.1", site.edge_port), 5, ("127.0.0.5", 0)) as sock:
            sock.sendall(READ)
            assert lab.words_of(lab.receive_frame(sock)) == [0]


def test_user_and_address_must_both_match(tmp_path):
    rule = f'addresses = "127.0.0.5" users = {{ "{LISTED_USER}" }}'
    with PickySite(tmp_path, rule) as site:
        site.refuses(*as_user(LISTED_USER))
        assert site.plc.events() == []


class MixedSite(PickySite):
    """An edge that is dialled over IPv6 and leads to a PLC with an IPv4 address."""

    def edge_text(self, options, protocol):
        return super().edge_text(options, protocol).replace(f'"127.0.0.1:{self.edge_port}"',
                                                            f'"[::1]:{self.edge_port}"')


def test_client_of_the_other_family(tmp_path):
    """It is carried to that PLC and to no other, and told as what it is."""
    with MixedSite(tmp_path, 'addresses = "::1"') as site:
        lab.run(lab.BUILD / "mcping", f"[::1]:{site.edge_port}", "read", "D0")
        line = site.gateway.closed("finished")
        assert "client=[::1]:" in line and "plc=press-1" in line


class RevokedEdgeSite(lab.Site):
    def gateway_text(self, *words):
        self.pki.revoke("office")
        return super().gateway_text(*words)


def test_edge_whose_certificate_is_revoked(tmp_path):
    """Both daemons' own words: the edge learns why, and so does its log's reader."""
    with RevokedEdgeSite(tmp_path) as site:
        assert site.mcping("read", "D0", check=False).returncode == 3
        assert "certificate revoked" in site.gateway.closed("handshake-failed")
        assert "alert: certificate revoked" in site.edge.wait_text(
            "^.*session-closed reason=(gateway-tls-failed|gateways-failed) .*$").group(0)
        assert site.gateway.lines('peer-refused .*subject="?CN=office')
        assert site.plc.events() == []


WRITE_AND_GO = """
import socket, sys
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
sock.sendall(bytes.fromhex(sys.argv[2]))
print(sock.getsockname()[1])
sock.close()
"""


def has_no_owner(port):
    """The kernel keeps this connection in FIN_WAIT2, without its socket."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "05" and
               line.split()[9] == "0" for line in lines)


def test_socket_that_nobody_owns_any_more(tmp_path):
    """Send a write and close at once: a closed socket is told as root's, and is nobody's."""
    with PickySite(tmp_path, 'users = { "root" }') as site:
        site.carries()
        before = site.plc.events(TOUCHED)
        with frozen(site.edge):
            port = int(lab.run(*as_user(OTHER_USER), "/usr/bin/python3", "-c", WRITE_AND_GO,
                               site.edge_port, lab.write_words(0, [0xbeef]).hex()).stdout)
            lab.wait_for(lambda: has_no_owner(port), "the end of the socket")
        closed(site.edge, port, "source-refused")
        assert site.plc.events(TOUCHED) == before


def cgroup_root():
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, options = line.split()[:4]
        if kind == "cgroup2" and mount.startswith("/sys/fs/cgroup") and "rw" in options.split(","):
            return pathlib.Path(mount)
    return None


def test_unlisted_cgroup(tmp_path):
    root = cgroup_root()
    assert root, "no writable cgroup v2 hierarchy below /sys/fs/cgroup"
    listed, other = (root / f"mcseal-test-{os.getpid()}-{name}" for name in ("listed", "other"))
    into = 'echo $$ > "$0"/cgroup.procs && exec "$@"'
    try:
        listed.mkdir()
        other.mkdir()
        rule = f'cgroups = {{ "/{listed.relative_to("/sys/fs/cgroup")}" }}'
        with PickySite(tmp_path, rule) as site:
            site.refuses("sh", "-c", into, other)
            site.refuses()
            assert site.plc.events() == []
            site.carries("sh", "-c", into, listed)
    finally:
        for path in (listed, other):
            if path.exists():
                lab.wait_for(lambda path=path: not (path / "cgroup.procs").read_text(), "its end")
                path.rmdir()


class Plant:
    """Transparent edge on a router that also runs clients of its own, gateway and PLC."""

    EDGE_PORT, PLC_PORT = 15007, 5007
    UNROUTED = "10.30.0.99"  # redirected, but no route of the edge leads there
    STRANGER = "10.10.0.3"

    def __init__(self, folder, net):
        self.net = net
        pki = lab.Pki(folder / "pki")
        gateway = pki.gateway("gw", (net.GATEWAY4, net.GATEWAY6))
        edge = pki.edge("office")
        net.exec("client", "ip", "addr", "add", f"{self.STRANGER}/24", "dev", "to-edge")
        # These rules redirect everybody, so that it is the daemon who has to refuse.
        config = folder / "rules.conf"
        everybody = 'source "all" { addresses = { "0.0.0.0/0", "::/0" } }'
        config.write_text(self.edge_text(edge, everybody,
                                         f'"{self.UNROUTED}:5007", '))
        net.rules("edge", config)
        self.plc = lab.Plc(folder, "--listen", f"[{net.PLC6}]:5007", listen=f"{net.PLC4}:5007",
                           netns=net.ns("plc"))
        self.gateway = lab.Daemon(folder, f"""
log_level = debug
plc "four" {{ address = {net.PLC4} port "5007" {{ connections = 8 }} }}
plc "six" {{ address = {net.PLC6} port "5007" {{ connections = 8 }} }}
identity "office" {{ match = "uri:urn:mcseal:edge:office" role = edge plcs = "*" }}
gateway "plant" {{
	listen = {{ "{net.GATEWAY4}:8443" }}
	{gateway.config()}
}}
""", netns=net.ns("gateway"), name="gateway")
        sources = (f'source "neighbours" {{ addresses = {{ "{net.CLIENT4}", "{net.CLIENT6}" }} }}\n'
                   f'\tsource "local" {{ users = {{ "{LISTED_USER}" }} }}')
        self.edge = lab.Daemon(folder, self.edge_text(edge, sources), netns=net.ns("edge"),
                               name="edge")

    def edge_text(self, credentials, sources, more_destinations=""):
        return f"""
log_level = debug
edge "site" {{
	listen = {{ "0.0.0.0:{self.EDGE_PORT}", "[::]:{self.EDGE_PORT}" }}
	interfaces = {{ "to-client", "local" }}
	{credentials.config()}
	{sources}
	route "plant" {{
		destinations = {{ {more_destinations}"{self.net.PLC4}:5007", "[{self.net.PLC6}]:5007" }}
		gateways = "{self.net.GATEWAY4}:8443"
	}}
}}
"""

    def processes(self):
        return [self.edge, self.gateway, self.plc]

    def mcping(self, name, host, prefix=(), check=True):
        host = f"[{host}]" if ":" in host else host
        return self.net.exec(name, *prefix, lab.BUILD / "mcping", f"{host}:5007", "read", "D0",
                             check=check)

    @contextlib.contextmanager
    def untouched(self):
        """Neither gateway nor PLC hears of what happens in here."""
        sessions, events = len(self.gateway.lines("from=NEW")), self.plc.events(TOUCHED)
        yield
        assert len(self.gateway.lines("from=NEW")) == sessions
        assert self.plc.events(TOUCHED) == events

    @contextlib.contextmanager
    def refused(self, reason):
        before = self.edge.reasons().count(reason)
        with self.untouched():
            yield
            lab.wait_for(lambda: self.edge.reasons().count(reason) == before + 1, reason)

    def socket(self, name, source=None):
        with self.net.inside(name):
            sock = socket.socket()
        sock.settimeout(5 * lab.PATIENCE)
        if source:
            sock.bind((source, 0))
        return sock


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    with lab.Net(prefix=f"att{os.getpid()}-") as net:
        made = Plant(tmp_path_factory.mktemp("plant"), net)
        keep(*made.processes())
        with lab.stopping(*made.processes()):
            yield made


@pytest.mark.parametrize("host", [lab.Net.PLC4, lab.Net.PLC6])
def test_listed_clients_are_carried(plant, host):
    """What the refusals below are measured against."""
    assert "D0: 0" in plant.mcping("client", host).stdout
    assert "D0: 0" in plant.mcping("edge", host, as_user(LISTED_USER)).stdout


def test_unlisted_neighbour(plant):
    with plant.refused("source-refused"), plant.socket("client", plant.STRANGER) as sock:
        sock.connect((plant.net.PLC4, 5007))  # the redirect answers, not the PLC
        with contextlib.suppress(ConnectionError):
            sock.sendall(READ)
        assert lab.receive_end(sock) == b""
    line = plant.edge.lines("reason=source-refused")[-1]
    assert f"client={plant.STRANGER}:" in line and f"destination={plant.net.PLC4}:5007" in line


@pytest.mark.parametrize("host", [lab.Net.PLC4, lab.Net.PLC6])
@pytest.mark.parametrize("user", [OTHER_USER, 0])
def test_unlisted_user_of_a_transparent_edge(plant, host, user):
    with plant.refused("source-refused"):
        assert plant.mcping("edge", host, as_user(user), check=False).returncode == 3


def test_destination_without_route(plant):
    with plant.refused("no-route"), plant.socket("client") as sock:
        sock.connect((plant.UNROUTED, 5007))
        with contextlib.suppress(ConnectionError):
            sock.sendall(READ)
        assert lab.receive_end(sock) == b""
    assert f"destination={plant.UNROUTED}:5007" in plant.edge.lines("reason=no-route")[-1]


def test_listener_dialled_directly(plant):
    """The rules reject it; where they do not, mcseald does."""
    with plant.untouched(), plant.socket("client") as sock, \
            pytest.raises(ConnectionRefusedError):
        sock.connect(("10.10.0.1", plant.EDGE_PORT))
    plant.net.exec("edge", "nft", "flush", "chain", "inet", "mcseal", "input")
    for name, host in (("client", "10.10.0.1"), ("edge", "127.0.0.1")):
        with plant.refused("not-redirected"), plant.socket(name) as sock:
            sock.connect((host, plant.EDGE_PORT))
            with contextlib.suppress(ConnectionError):
                sock.sendall(READ)
            assert lab.receive_end(sock) == b""

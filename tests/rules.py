# SPDX-License-Identifier: Apache-2.0
"""Rules that mcseal-nft makes of a configuration, and plain sockets to try them with.

Plain sockets stand in for mcseald, its clients and the PLC: what is proven with them is what the
rules alone do. client - edge - gateway - plc are the lab's namespaces.
"""
import contextlib
import json
import os
import pwd
import socket
import struct
import time

import pytest

import lab

MC_PORT, OTHER_PORT, TLS_PORT = 5007, 8080, 8443
REDIRECT_PORT, TPROXY_PORT = 15007, 15008
MARK = 0x4D430001  # the default of `mark`
LISTED, UNLISTED = pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("daemon").pw_uid
ROOT = 0
PLC = {4: lab.Net.PLC4, 6: lab.Net.PLC6}
CLIENT = {4: lab.Net.CLIENT4, 6: lab.Net.CLIENT6}
STRANGER = {4: "10.10.0.3", 6: "fd10::3"}  # the same machine by an address that is not listed
EDGE = {4: "10.10.0.1", 6: "fd10::1"}
EDGE_FAR = {4: "10.20.0.1", 6: "fd20::1"}
GATEWAY = {4: lab.Net.GATEWAY4, 6: lab.Net.GATEWAY6}
GATEWAY_FAR = {4: "10.30.0.1", 6: "fd30::1"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
ANY = {4: "0.0.0.0", 6: "::"}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h; IP6T_SO_ORIGINAL_DST has the same number
SO_MARK = 36
TRANSPARENT = {4: (socket.SOL_IP, 19), 6: (socket.IPPROTO_IPV6, 75)}  # linux/in.h, linux/in6.h

both = pytest.mark.parametrize("version", [4, 6])

# --- configurations -------------------------------------------------------------------------------

CREDENTIALS = ('certificate = "/etc/mcseal/x.pem" key = "/etc/mcseal/x.key" '
               'ca = "/etc/mcseal/ca.pem"')
DESTINATIONS = '"10.30.0.10:5007", "10.30.0.12/30:5000-5010", "[fd30::/64]:5000-5010"'
NEIGHBOURS = '"10.10.0.2", "fd10::2"'
FROM_LOOPBACK = '"127.0.0.1:{port}", "[::1]:{port}"'
FROM_ANYWHERE = '"0.0.0.0:{port}", "[::]:{port}"'


def edge(sources, listen=FROM_ANYWHERE, port=REDIRECT_PORT, options="", name="office",
         destinations=DESTINATIONS):
    """An edge section; `sources` is the inside of one source, or a list of them."""
    sections = "".join(f'\tsource "s{number}" {{ {source} }}\n' for number, source in
                       enumerate([sources] if isinstance(sources, str) else sources, 1))
    return f"""edge "{name}" {{
	listen = {{ {listen.format(port=port)} }}
	{CREDENTIALS}
	{options}
{sections}	route "plant" {{ destinations = {{ {destinations} }} gateways = {{ "10.20.0.2:8443" }} }}
}}
"""


def gateway(options="", networks='"10.30.0.0/24", "fd30::/64"'):
    """The gateway in front of 10.30.0.0/24 and fd30::/64, of which it knows two PLCs."""
    return f"""nft {{ plc_networks = {{ {networks} }} }}
plc "four" {{ address = 10.30.0.10 port "5007" {{ }} }}
plc "six" {{ address = fd30::10 port "5007" {{ }} }}
identity "edge" {{ match = "uri:urn:example:edge" role = edge plcs = {{ "*" }} }}
gateway "plant" {{
	listen = {{ "0.0.0.0:{TLS_PORT}", "[::]:{TLS_PORT}" }}
	{CREDENTIALS}
	{options}
}}
"""


def router(options="", **more):
    return edge(f"addresses = {{ {NEIGHBOURS} }}",
                options=f'interfaces = {{ "to-client" }} {options}', **more)


def tproxy(**more):
    return router("interception = tproxy", port=TPROXY_PORT, **more)


def host(sources='users = { "nobody" }', **more):
    return edge(sources, listen=FROM_LOOPBACK, **more)


DIALLED = edge('addresses = { "127.0.0.1" }', listen='"127.0.0.1:{port}"', port=MC_PORT,
               options='destination = "10.30.0.10:5007"', destinations='"10.30.0.10:5007"')
CLIENTS = 'clients = { "10.20.0.1", "10.10.0.0/24", "fd20::1", "fd10::/64" }'
BOTH = gateway(CLIENTS) + edge(['users = { "nobody" }', f"addresses = {{ {NEIGHBOURS} }}"],
                               options='interfaces = { "local", "to-edge" }')
# One configuration for each kind of ruleset.
ROLES = {
    "host": host(['users = { "nobody" }', 'users = { "daemon" } addresses = { "10.10.0.0/24" }']),
    "router": router(),
    "tproxy": tproxy(),
    "destination": DIALLED,
    "gateway": gateway(CLIENTS),
    "gateway without clients": gateway(networks='"10.30.0.10", "fd30::/64"'),
    "both": BOTH,
    "everything": BOTH + router("interception = tproxy", port=TPROXY_PORT, name="second",
                                destinations='"10.40.0.0/24:5000-5010", "[fd40::10]:5007"'),
}


# --- namespaces with rules ------------------------------------------------------------------------


@contextlib.contextmanager
def links():
    """The namespaces; the client has a second address, which no configuration lists."""
    assert os.geteuid() == 0, "these tests make network namespaces: run them as root"
    with lab.Net(prefix=f"nftx-{os.getpid()}-") as made:
        made.exec("client", "ip", "addr", "add", f"{STRANGER[4]}/24", "dev", "to-edge")
        made.exec("client", "ip", "addr", "add", f"{STRANGER[6]}/64", "dev", "to-edge", "nodad",
                  "preferred_lft", "0")
        # IPv6 neighbours answer only when the link-local addresses are past their detection.
        for name in made.names:
            lab.wait_for(lambda ns=name: not made.exec(ns, "ip", "-6", "addr", "show",
                                                       "tentative").stdout, "IPv6 addresses")
        yield made


def without_rules(net):
    """As the namespaces were made: no tables, and no way to themselves for TPROXY."""
    for name in net.names:
        net.exec(name, "nft", "flush", "ruleset")
        for family in ("-4", "-6"):
            net.exec(name, "ip", family, "rule", "del", "lookup", "207", check=False)
            net.exec(name, "ip", family, "route", "flush", "table", "207", check=False)
    return net


class Ruled:
    """Namespaces, and a folder for the configurations that rules are made of."""

    def __init__(self, net, folder):
        self.net, self.folder = net, folder

    def write(self, name, text):
        path = self.folder / f"{name}.conf"
        path.write_text(text)
        return path

    def apply(self, name, text, *options):
        return self.net.rules(name, self.write(name, text), *options)

    def print(self, name, text, *options):
        """What an admin would redirect into a file: without the warnings beside it."""
        return self.net.exec(name, lab.BUILD / "mcseal-nft", "-c", self.write(name, text),
                             *options, "print", stderr=None).stdout

    def remove(self, name, text, *options):
        self.net.exec(name, lab.BUILD / "mcseal-nft", "-c", self.write(name, text), "remove",
                      *options)

    def load(self, name, rules, *options):
        self.net.exec(name, "nft", *options, "-f", "-", input=rules)

    def listing(self, name):
        """Without counters and handles: what an admin would compare."""
        return self.net.exec(name, "nft", "-s", "list", "ruleset").stdout

    def count(self, name, chain, comment, table="mcseal_guard"):
        """Packets of the rules with that comment in a chain."""
        text = self.net.exec(name, "nft", "-j", "list", "chain", "inet", table, chain).stdout
        rules = [entry["rule"] for entry in json.loads(text)["nftables"] if "rule" in entry]
        chosen = [rule for rule in rules if comment in rule["comment"]]
        assert chosen, (comment, rules)
        return sum(statement["counter"]["packets"] for rule in chosen for statement in rule["expr"]
                   if "counter" in statement)

    def delete_rule(self, name, chain, comment, table="mcseal_guard"):
        """Takes one rule out: the test that relies on it must notice."""
        text = self.net.exec(name, "nft", "-j", "list", "chain", "inet", table, chain).stdout
        handles = [entry["rule"]["handle"] for entry in json.loads(text)["nftables"]
                   if comment in entry.get("rule", {}).get("comment", "")]
        assert len(handles) == 1, text
        self.net.exec(name, "nft", "delete", "rule", "inet", table, chain, "handle", handles[0])

    # --- sockets ----------------------------------------------------------------------------------

    def listener(self, name, version, address, port, kind=socket.SOCK_STREAM, transparent=False):
        with self.net.inside(name):
            sock = socket.socket(FAMILY[version], kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if transparent:
            sock.setsockopt(*TRANSPARENT[version], 1)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(64)
        sock.settimeout(3 * lab.PATIENCE)
        return sock

    def plc(self, version, port=MC_PORT, kind=socket.SOCK_STREAM):
        return self.listener("plc", version, ANY[version], port, kind)

    def socket(self, name, version, mark=None, kind=socket.SOCK_STREAM, user=ROOT, source=None):
        with self.net.inside(name):
            os.seteuid(user)
            try:
                sock = socket.socket(FAMILY[version], kind)
            finally:
                os.seteuid(ROOT)
        sock.settimeout(3 * lab.PATIENCE)
        if mark is not None:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        if source:
            sock.bind((source, 0))
        return sock

    @contextlib.contextmanager
    def connected(self, name, version, address, port=MC_PORT, **options):
        with self.socket(name, version, **options) as sock:
            sock.connect((address, port))
            yield sock

    def refused(self, name, version, address, port=MC_PORT, **options):
        """A connection gets a reset at once."""
        start = time.monotonic()
        with self.socket(name, version, **options) as sock, \
                pytest.raises(ConnectionRefusedError):
            sock.connect((address, port))
        assert time.monotonic() - start < 2 * lab.PATIENCE  # and not after a client's patience


def nobody_came(listener):
    assert not lab.readable(listener, 0.1)


def exchange(client, server):
    """Both directions work."""
    server.settimeout(3 * lab.PATIENCE)  # accept() gives sockets that wait for ever
    client.sendall(b"ask")
    assert server.recv(16) == b"ask"
    server.sendall(b"answer")
    assert client.recv(16) == b"answer"


def is_cut(client, server):
    """What the client says now does not arrive: it is reset instead."""
    with pytest.raises(ConnectionError):
        client.sendall(b"secret")
        client.recv(16)
    nobody_came(server)


def original_destination(sock, version):
    if version == 4:
        answer = sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        return socket.inet_ntop(socket.AF_INET, answer[4:8]), struct.unpack(">H", answer[2:4])[0]
    answer = sock.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
    return socket.inet_ntop(socket.AF_INET6, answer[8:24]), struct.unpack(">H", answer[2:4])[0]

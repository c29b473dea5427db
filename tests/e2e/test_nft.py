#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The rulesets of nft-rules/, loaded as an admin would, in network namespaces (root).

Plain sockets stand in for mcseald, its clients and the PLC: what is proven here is what the rules
alone do. client - edge - gateway - plc are the lab's namespaces; the host's rules are loaded in
"client", the router's in "edge".
"""
import contextlib
import errno
import json
import os
import re
import socket
import struct
import threading
import time

import pytest

import lab

RULES = lab.ROOT / "nft-rules"
FILES = ["edge-host.nft", "edge-router.nft", "guard.nft", "gateway.nft"]
EDGE_PORT, MC_PORT, OTHER_PORT = 15007, 5007, 8080
MARK = 0x4D430001
CLIENTS = {"CLIENT_INTERFACES": '{ "to-client" }'}
PLC = {4: lab.Net.PLC4, 6: lab.Net.PLC6}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h; IP6T_SO_ORIGINAL_DST has the same number
SO_MARK = 36

both = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module")
def links():
    assert os.geteuid() == 0, "these tests make network namespaces: run them as root"
    with lab.Net(prefix=f"nftx-{os.getpid()}-") as made:
        # IPv6 neighbours answer only when the link-local addresses are past their detection.
        for name in made.names:
            lab.wait_for(lambda ns=name: not made.exec(ns, "ip", "-6", "addr", "show",
                                                       "tentative").stdout, "IPv6 addresses")
        yield made


@pytest.fixture
def net(links):
    """Every test starts without rules; the namespaces are made once."""
    for name in links.names:
        links.exec(name, "nft", "flush", "ruleset")
    return links


def make_listener(net, name, version, host, port, kind=socket.SOCK_STREAM):
    with net.inside(name):
        sock = socket.socket(FAMILY[version], kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if version == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((host, port))
    if kind == socket.SOCK_STREAM:
        sock.listen(64)
    sock.settimeout(3 * lab.PATIENCE)
    return sock


def any_host(version):
    return "0.0.0.0" if version == 4 else "::"


def loopback(version):
    return "127.0.0.1" if version == 4 else "::1"


def make_socket(net, name, version, mark=None, kind=socket.SOCK_STREAM):
    with net.inside(name):
        sock = socket.socket(FAMILY[version], kind)
    sock.settimeout(3 * lab.PATIENCE)
    if mark is not None:
        sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
    return sock


@contextlib.contextmanager
def connected(net, name, version, host, port, mark=None):
    with make_socket(net, name, version, mark) as sock:
        sock.connect((host, port))
        yield sock


def refused(net, name, version, host, port, mark=None):
    """A connection gets a reset at once."""
    start = time.monotonic()
    with make_socket(net, name, version, mark) as sock, pytest.raises(ConnectionRefusedError):
        sock.connect((host, port))
    assert time.monotonic() - start < 2 * lab.PATIENCE  # and not after a client's patience


def nobody_came(listener):
    assert not lab.readable(listener, 0.2)


def original_destination(sock, version):
    if version == 4:
        answer = sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        return socket.inet_ntop(socket.AF_INET, answer[4:8]), struct.unpack(">H", answer[2:4])[0]
    answer = sock.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
    return socket.inet_ntop(socket.AF_INET6, answer[8:24]), struct.unpack(">H", answer[2:4])[0]


def listing(net, name):
    """Without counters and handles: what an admin would compare."""
    return net.exec(name, "nft", "-s", "list", "ruleset").stdout


def load(net, name, file, **defines):
    net.nft(name, RULES / file, **defines)


# --- the files themselves -----------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES)
def test_loading_again_changes_nothing(net, file):
    load(net, "edge", file)
    first = listing(net, "edge")
    load(net, "edge", file)
    assert first == listing(net, "edge")
    assert "10.30.0." in first and "fd30::" in first


@pytest.mark.parametrize("file", FILES)
def test_listing_loads_back(net, file):
    load(net, "edge", file)
    first = listing(net, "edge")
    net.exec("gateway", "nft", "-f", "-", input=first)
    assert first == listing(net, "gateway")


@pytest.mark.parametrize("file", FILES)
def test_changed_sets_replace_the_old_ones(net, file):
    load(net, "edge", file)
    load(net, "edge", file, PLC4="{ }", PLC6="{ }")
    now = listing(net, "edge")
    assert "10.30.0." not in now and "fd30::" not in now
    one = "{ 192.0.2.1 }" if file == "gateway.nft" else "{ 192.0.2.1 . 1 }"
    load(net, "edge", file, PLC4=one)
    assert "192.0.2.1" in listing(net, "edge")


@pytest.mark.parametrize("file", FILES)
def test_every_rule_is_commented_and_counted(net, file):
    load(net, "edge", file)
    ruleset = json.loads(net.exec("edge", "nft", "-j", "list", "ruleset").stdout)["nftables"]
    rules = [entry["rule"] for entry in ruleset if "rule" in entry]
    assert len(rules) >= 4
    for rule in rules:
        assert rule.get("comment"), rule
        assert any("counter" in expression for expression in rule["expr"]), rule


def test_all_files_together(net):
    """A router that polls by itself as well and is guarded; nothing of the site's own is touched."""
    net.exec("edge", "nft", "-f", "-", input="table inet site {\n chain c {\n counter\n }\n}\n")
    for file in FILES:
        load(net, "edge", file)
    tables = re.findall(r"(?m)^table inet (\w+)", listing(net, "edge"))
    assert tables == ["site", "mcseal_host", "mcseal_router", "mcseal_guard", "mcseal_gateway"]


@pytest.mark.parametrize("file", FILES)
def test_the_mark_is_the_daemons_default(file):
    text = (RULES / file).read_text()
    manual = (lab.ROOT / "docs" / "mcseald.conf.md").read_text()
    default = re.search(r"\| `mark` \| `(\w+)`", manual).group(1)
    assert int(default, 16) == MARK
    for value in re.findall(r"(?m)^define DAEMON_MARK = (\w+)$", text):
        assert int(value, 16) == MARK
    assert "flush ruleset" not in text


# --- edge-host.nft -------------------------------------------------------------------------------------


@both
def test_host_redirects(net, version):
    load(net, "client", "edge-host.nft")
    load(net, "client", "guard.nft")
    with make_listener(net, "client", version, loopback(version), EDGE_PORT) as listener, \
            connected(net, "client", version, PLC[version], MC_PORT) as client:
        accepted, _ = listener.accept()
        with accepted:
            assert original_destination(accepted, version) == (PLC[version], MC_PORT)
            client.sendall(b"ask")
            assert accepted.recv(16) == b"ask"
            accepted.sendall(b"answer")
            assert client.recv(16) == b"answer"
            # The client believes to talk to the PLC.
            assert client.getpeername()[:2] == (PLC[version], MC_PORT)


@both
def test_host_redirects_ranges(net, version):
    load(net, "client", "edge-host.nft")
    host, port = ("10.30.0.15", 5010) if version == 4 else ("fd30::abcd", 5000)
    with make_listener(net, "client", version, loopback(version), EDGE_PORT) as listener, \
            connected(net, "client", version, host, port):
        accepted, _ = listener.accept()
        with accepted:
            assert original_destination(accepted, version) == (host, port)


@both
def test_host_leaves_other_ports_alone(net, version):
    load(net, "client", "edge-host.nft")
    load(net, "client", "guard.nft")
    with make_listener(net, "plc", version, any_host(version), OTHER_PORT) as plc, \
            connected(net, "client", version, PLC[version], OTHER_PORT):
        plc.accept()[0].close()


@both
def test_host_without_daemon_is_closed(net, version):
    load(net, "client", "edge-host.nft")
    with make_listener(net, "plc", version, any_host(version), MC_PORT) as plc:
        refused(net, "client", version, PLC[version], MC_PORT)
        nobody_came(plc)


@both
def test_host_direct_use_is_refused(net, version):
    with make_listener(net, "client", version, loopback(version), EDGE_PORT) as listener:
        with connected(net, "client", version, loopback(version), EDGE_PORT):
            listener.accept()[0].close()  # it is the rules that refuse below
        load(net, "client", "edge-host.nft")
        refused(net, "client", version, loopback(version), EDGE_PORT)
        nobody_came(listener)


@both
def test_host_excludes_the_daemons_mark(net, version):
    load(net, "client", "edge-host.nft")
    with make_listener(net, "client", version, loopback(version), EDGE_PORT) as listener, \
            make_listener(net, "plc", version, any_host(version), MC_PORT) as plc:
        with connected(net, "client", version, PLC[version], MC_PORT, mark=MARK):
            plc.accept()[0].close()
        nobody_came(listener)
        with connected(net, "client", version, PLC[version], MC_PORT, mark=MARK + 1):
            listener.accept()[0].close()
        nobody_came(plc)
        # The mark opens no way out in plain.
        load(net, "client", "guard.nft")
        refused(net, "client", version, PLC[version], MC_PORT, mark=MARK)
        nobody_came(plc)


# --- edge-router.nft -----------------------------------------------------------------------------------


@both
def test_router_redirects(net, version):
    load(net, "edge", "edge-router.nft", **CLIENTS)
    load(net, "edge", "guard.nft")
    with make_listener(net, "edge", version, any_host(version), EDGE_PORT) as listener, \
            connected(net, "client", version, PLC[version], MC_PORT) as client:
        accepted, peer = listener.accept()
        with accepted:
            assert original_destination(accepted, version) == (PLC[version], MC_PORT)
            assert peer[:2] == client.getsockname()[:2]
            client.sendall(b"ask")
            assert accepted.recv(16) == b"ask"
            accepted.sendall(b"answer")
            assert client.recv(16) == b"answer"


@both
def test_router_direct_use_is_refused(net, version):
    own = "10.10.0.1" if version == 4 else "fd10::1"
    with make_listener(net, "edge", version, any_host(version), EDGE_PORT) as listener:
        with connected(net, "client", version, own, EDGE_PORT):
            listener.accept()[0].close()
        load(net, "edge", "edge-router.nft", **CLIENTS)
        refused(net, "client", version, own, EDGE_PORT)
        nobody_came(listener)


@both
def test_router_redirects_only_from_its_clients(net, version):
    """What comes from the other side is not the edge's to carry: the guard stops it."""
    far = "10.10.0.2" if version == 4 else "fd10::2"
    defines = {"PLC4": f"{{ {far} . {MC_PORT} }}"} if version == 4 else \
        {"PLC6": f"{{ {far} . {MC_PORT} }}"}
    load(net, "edge", "edge-router.nft", **CLIENTS, **defines)
    load(net, "edge", "guard.nft", **defines)
    with make_listener(net, "edge", version, any_host(version), EDGE_PORT) as listener, \
            make_listener(net, "client", version, any_host(version), MC_PORT) as there:
        refused(net, "gateway", version, far, MC_PORT)
        nobody_came(listener)
        nobody_came(there)


@both
def test_router_without_daemon_is_closed(net, version):
    load(net, "edge", "edge-router.nft", **CLIENTS)
    with make_listener(net, "plc", version, any_host(version), MC_PORT) as plc:
        refused(net, "client", version, PLC[version], MC_PORT)
        nobody_came(plc)


# --- guard.nft -----------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("where", ["client", "edge"])
def test_guard_blocks_plain_tcp(net, version, where):
    """On the machine that polls and on the one that forwards."""
    with make_listener(net, "plc", version, any_host(version), MC_PORT) as plc, \
            make_listener(net, "plc", version, any_host(version), OTHER_PORT) as other:
        with connected(net, "client", version, PLC[version], MC_PORT):
            plc.accept()[0].close()
        load(net, where, "guard.nft")
        refused(net, "client", version, PLC[version], MC_PORT)
        nobody_came(plc)
        with connected(net, "client", version, PLC[version], OTHER_PORT):
            other.accept()[0].close()


@both
@pytest.mark.parametrize("where", ["client", "edge"])
def test_guard_blocks_plain_udp(net, version, where):
    with make_listener(net, "plc", version, any_host(version), MC_PORT, socket.SOCK_DGRAM) as plc, \
            make_socket(net, "client", version, kind=socket.SOCK_DGRAM) as client:
        client.sendto(b"before", (PLC[version], MC_PORT))
        assert plc.recv(16) == b"before"
        load(net, where, "guard.nft")
        if where == "client":
            with pytest.raises(PermissionError):
                client.sendto(b"after", (PLC[version], MC_PORT))
        else:
            client.sendto(b"after", (PLC[version], MC_PORT))
        nobody_came(plc)


@both
def test_guard_ends_plain_connections_that_stand(net, version):
    with make_listener(net, "plc", version, any_host(version), MC_PORT) as plc, \
            connected(net, "client", version, PLC[version], MC_PORT) as client:
        accepted, _ = plc.accept()
        with accepted:
            load(net, "client", "edge-host.nft")
            load(net, "client", "guard.nft")
            with pytest.raises(ConnectionError):
                client.sendall(b"secret")
                client.recv(16)
            nobody_came(accepted)


@both
def test_guard_stays_when_the_redirect_is_gone(net, version):
    load(net, "edge", "edge-router.nft", **CLIENTS)
    load(net, "edge", "guard.nft")
    net.exec("edge", "nft", "delete", "table", "inet", "mcseal_router")
    with make_listener(net, "plc", version, any_host(version), MC_PORT) as plc:
        refused(net, "client", version, PLC[version], MC_PORT)
        nobody_came(plc)


def test_guard_counts(net):
    load(net, "client", "guard.nft")
    refused(net, "client", 4, PLC[4], MC_PORT)
    rules = net.exec("client", "nft", "list", "chain", "inet", "mcseal_guard", "plain").stdout
    # At least the SYN: a connection of the test before may still be saying goodbye.
    assert re.search(r"counter packets [1-9]\d* bytes \d+ reject with tcp reset", rules), rules


def test_nothing_leaks_while_rules_are_loaded_again(net):
    """Connections all the time, rules replaced all the time: none reaches the PLC in plain."""
    files = ["edge-host.nft", "guard.nft"]
    for file in files:
        load(net, "client", file)
    stop = threading.Event()
    outcomes = {"redirected": 0, "refused": 0}
    errors = []
    loaded = 0

    def poll():
        with net.inside("client"):
            while not stop.is_set():
                try:
                    socket.create_connection((PLC[4], MC_PORT), 3 * lab.PATIENCE).close()
                    outcomes["redirected"] += 1
                except ConnectionRefusedError:
                    outcomes["refused"] += 1
                except OSError as error:
                    errors.append(error)

    def take(listener):
        while not stop.is_set():
            if lab.readable(listener, 0.1):
                listener.accept()[0].close()

    with make_listener(net, "plc", 4, "0.0.0.0", MC_PORT) as plc, \
            make_listener(net, "client", 4, "127.0.0.1", EDGE_PORT) as listener:
        threads = [threading.Thread(target=poll) for _ in range(2)]
        threads.append(threading.Thread(target=take, args=(listener,)))
        for thread in threads:
            thread.start()
        try:
            end = time.monotonic() + 20 * lab.PATIENCE
            while (loaded < 25 or outcomes["redirected"] < 300) and time.monotonic() < end:
                for file in files:
                    load(net, "client", file)
                loaded += 1
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        nobody_came(plc)
    assert not errors
    assert loaded >= 25 and outcomes["redirected"] >= 300, outcomes


# --- gateway.nft ---------------------------------------------------------------------------------------


@both
def test_gateway_lets_only_the_daemon_out(net, version):
    load(net, "gateway", "gateway.nft")
    with make_listener(net, "plc", version, any_host(version), MC_PORT) as plc, \
            make_listener(net, "plc", version, any_host(version), OTHER_PORT) as other:
        refused(net, "gateway", version, PLC[version], MC_PORT)
        refused(net, "gateway", version, PLC[version], OTHER_PORT)
        refused(net, "gateway", version, PLC[version], MC_PORT, mark=MARK + 1)
        refused(net, "client", version, PLC[version], MC_PORT)
        refused(net, "client", version, PLC[version], MC_PORT, mark=MARK)
        nobody_came(plc)
        nobody_came(other)
        with connected(net, "gateway", version, PLC[version], MC_PORT, mark=MARK) as daemon:
            accepted, _ = plc.accept()
            with accepted:
                daemon.sendall(b"ask")
                assert accepted.recv(16) == b"ask"
                accepted.sendall(b"answer")
                assert daemon.recv(16) == b"answer"


@both
def test_gateway_drops_udp(net, version):
    load(net, "gateway", "gateway.nft")
    with make_listener(net, "plc", version, any_host(version), 5006, socket.SOCK_DGRAM) as plc, \
            make_socket(net, "client", version, kind=socket.SOCK_DGRAM) as client, \
            make_socket(net, "gateway", version, kind=socket.SOCK_DGRAM) as local:
        client.sendto(b"x", (PLC[version], 5006))
        with pytest.raises(PermissionError):
            local.sendto(b"x", (PLC[version], 5006))
        nobody_came(plc)


@both
def test_gateway_frees_the_plcs_slot(net, version):
    """The last packets of a closed connection pass: nothing stays in LAST-ACK at the PLC."""
    load(net, "gateway", "gateway.nft")
    with make_listener(net, "plc", version, any_host(version), MC_PORT) as plc:
        ports = []
        for first in ("daemon", "plc"):
            daemon = make_socket(net, "gateway", version, mark=MARK)
            daemon.connect((PLC[version], MC_PORT))
            accepted, peer = plc.accept()
            ports.append(peer[1])
            for sock in (daemon, accepted) if first == "daemon" else (accepted, daemon):
                sock.close()

        def left():
            text = net.exec("plc", "ss", "-Htn", "state", "last-ack", "state", "fin-wait-1",
                            "state", "closing", "state", "close-wait").stdout
            return [port for port in ports if f":{port} " in text + " "]
        lab.wait_for(lambda: not left(), "the PLC's connections to end", 2)


@both
def test_gateway_resets_what_nobody_holds(net, version):
    """What a PLC sends to a connection that mcseald has left is reset: its slot is free again."""
    load(net, "gateway", "gateway.nft")
    net.exec("gateway", "sysctl", "-qw", "net.ipv4.tcp_fin_timeout=1")
    with make_listener(net, "plc", version, any_host(version), MC_PORT) as plc:
        daemon = make_socket(net, "gateway", version, mark=MARK)
        daemon.connect((PLC[version], MC_PORT))
        accepted, peer = plc.accept()
        with accepted:
            daemon.close()

            def held(name, port):
                text = net.exec(name, "ss", "-Htan").stdout
                return re.search(rf":{port}\b", text)
            lab.wait_for(lambda: not held("gateway", peer[1]), "the gateway to forget", 10)
            assert held("plc", peer[1])
            accepted.sendall(b"late")
            lab.wait_for(lambda: not held("plc", peer[1]), "the PLC's connection to end", 2)


@both
def test_gateway_keeps_connections_of_before(net, version):
    with make_listener(net, "plc", version, any_host(version), MC_PORT) as plc, \
            connected(net, "gateway", version, PLC[version], MC_PORT, mark=MARK) as daemon:
        accepted, _ = plc.accept()
        with accepted:
            load(net, "gateway", "gateway.nft")
            daemon.sendall(b"ask")
            assert accepted.recv(16) == b"ask"
            accepted.sendall(b"answer")
            assert daemon.recv(16) == b"answer"
            load(net, "gateway", "gateway.nft")
            daemon.sendall(b"again")
            assert accepted.recv(16) == b"again"


@both
def test_gateway_lets_plcs_ask(net, version):
    """A PLC that dials a service (here: time, mail) gets its answers, also through the gateway."""
    load(net, "gateway", "gateway.nft")
    hosts = {"gateway": "10.30.0.1" if version == 4 else "fd30::1",
             "edge": "10.20.0.1" if version == 4 else "fd20::1"}
    for name, host in hosts.items():
        with make_listener(net, name, version, any_host(version), OTHER_PORT) as service, \
                connected(net, "plc", version, host, OTHER_PORT) as plc:
            accepted, _ = service.accept()
            with accepted:
                accepted.sendall(b"answer")
                assert plc.recv(16) == b"answer"


@both
def test_gateway_leaves_ping_and_neighbours(net, version):
    load(net, "gateway", "gateway.nft")
    net.exec("gateway", "ip", "neigh", "flush", "all")
    protocol, echo = (socket.IPPROTO_ICMP, 8) if version == 4 else (socket.IPPROTO_ICMPV6, 128)
    with net.inside("gateway"):
        ping = socket.socket(FAMILY[version], socket.SOCK_RAW, protocol)
    with ping:
        ping.settimeout(3 * lab.PATIENCE)
        # Type, code, checksum (of the other, known words; ICMPv6's is the kernel's), id, sequence.
        ping.sendto(struct.pack(">BBHHH", echo, 0, 0xFFFF - 0x0800 - 2 - 1, 1, 2), (PLC[version], 0))
        replies = {4: (0, 20), 6: (129, 0)}
        kind, offset = replies[version]
        while True:
            packet, sender = ping.recvfrom(256)
            if sender[0] == PLC[version] and packet[offset] == kind:
                break


@both
def test_gateway_opens_tls_to_peers_only(net, version):
    load(net, "gateway", "gateway.nft")
    own = net.GATEWAY4 if version == 4 else net.GATEWAY6
    near_plc = "10.30.0.1" if version == 4 else "fd30::1"
    with make_listener(net, "gateway", version, any_host(version), 8443) as tls:
        for name in ("edge", "client"):
            with connected(net, name, version, own, 8443):
                tls.accept()[0].close()
        with make_socket(net, "plc", version) as stranger:
            stranger.settimeout(0.5)
            with pytest.raises((TimeoutError, socket.timeout)):
                stranger.connect((near_plc, 8443))
        nobody_came(tls)
        everybody = {"PEERS4": "{ 0.0.0.0/0 }", "PEERS6": "{ ::/0 }"}
        load(net, "gateway", "gateway.nft", **everybody)
        with connected(net, "plc", version, near_plc, 8443):
            tls.accept()[0].close()


def test_lab_leaves_nothing_behind():
    """Also a test that fails must take its namespaces along."""
    prefix = f"nftx-{os.getpid()}-left"
    with pytest.raises(OSError, match="on purpose"), lab.Net(prefix=prefix):
        raise OSError(errno.EIO, "on purpose")
    assert prefix not in lab.run("ip", "netns", "list").stdout

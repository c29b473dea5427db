#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the rules of a gateway do, and of a gateway that is an edge as well (root)."""
import re
import socket
import struct

import pytest

import lab
import rules
from rules import (ANY, CLIENT, GATEWAY, GATEWAY_FAR, LISTED, MARK, MC_PORT, OTHER_PORT, PLC,
                   REDIRECT_PORT, TLS_PORT, UNLISTED, Ruled, both, exchange, nobody_came,
                   original_destination)

OPEN, CLOSED = rules.gateway(), rules.gateway(rules.CLIENTS)


@pytest.fixture(scope="module")
def links():
    with rules.links() as made:
        yield made


@pytest.fixture
def ruled(links, tmp_path):
    return Ruled(rules.without_rules(links), tmp_path)


# --- the PLCs' network ----------------------------------------------------------------------------


@both
def test_only_the_daemon_gets_out(ruled, version):
    """Every port, of the machine's own programs and of what it forwards."""
    ruled.apply("gateway", OPEN)
    with ruled.plc(version) as plc, ruled.plc(version, OTHER_PORT) as other:
        for user in (rules.ROOT, LISTED):
            for port in (MC_PORT, OTHER_PORT, 1, 65535):
                ruled.refused("gateway", version, PLC[version], port, user=user)
                ruled.refused("client", version, PLC[version], port, user=user)
        ruled.refused("gateway", version, PLC[version], mark=MARK + 1)
        ruled.refused("client", version, PLC[version], mark=MARK)  # marks stay on their machine
        # All of the network, also where the configuration has no PLC.
        ruled.refused("gateway", version, {4: "10.30.0.77", 6: "fd30::77"}[version])
        nobody_came(plc)
        nobody_came(other)
        assert ruled.count("gateway", "refuse_plc", "TCP is told at once") >= 19
        with ruled.connected("gateway", version, PLC[version], mark=MARK) as daemon:
            accepted, _ = plc.accept()
            with accepted:
                exchange(daemon, accepted)
    assert ruled.count("gateway", "local_to_plc", "marks its connection") > 0


@both
def test_udp_is_dropped(ruled, version):
    ruled.apply("gateway", OPEN)
    ports = (5006, MC_PORT, 53)
    plcs = [ruled.plc(version, port, socket.SOCK_DGRAM) for port in ports]
    with ruled.socket("client", version, kind=socket.SOCK_DGRAM) as client, \
            ruled.socket("gateway", version, kind=socket.SOCK_DGRAM) as local:
        for port in ports:
            client.sendto(b"x", (PLC[version], port))
            with pytest.raises(PermissionError):
                local.sendto(b"x", (PLC[version], port))
        for plc in plcs:
            nobody_came(plc)
            plc.close()
    assert ruled.count("gateway", "refuse_plc", "UDP and others") == 2 * len(ports)


@both
def test_other_protocols_are_dropped(ruled, version):
    """SCTP and GRE stand for all of them."""
    for protocol in (132, 47):
        raw = {}
        for name in ("plc", "client", "gateway"):
            with ruled.net.inside(name):
                raw[name] = socket.socket(rules.FAMILY[version], socket.SOCK_RAW, protocol)
        for sender in ("client", "gateway"):
            raw[sender].sendto(bytes(16), (PLC[version], 0))
            assert lab.readable(raw["plc"], 3 * lab.PATIENCE)  # without rules it gets there
            raw["plc"].recv(256)
        ruled.apply("gateway", OPEN)
        raw["client"].sendto(bytes(16), (PLC[version], 0))
        with pytest.raises(PermissionError):
            raw["gateway"].sendto(bytes(16), (PLC[version], 0))
        nobody_came(raw["plc"])
        assert ruled.count("gateway", "refuse_plc", "UDP and others") == 2
        for sock in raw.values():
            sock.close()
        rules.without_rules(ruled.net)


def ping(ruled, name, version, address):
    protocol, echo = (socket.IPPROTO_ICMP, 8) if version == 4 else (socket.IPPROTO_ICMPV6, 128)
    with ruled.net.inside(name):
        sock = socket.socket(rules.FAMILY[version], socket.SOCK_RAW, protocol)
    with sock:
        sock.settimeout(3 * lab.PATIENCE)
        # Type, code, checksum (of the other, known words; ICMPv6's is the kernel's), id, sequence.
        sock.sendto(struct.pack(">BBHHH", echo, 0, 0xFFFF - 0x0800 - 2 - 1, 1, 2), (address, 0))
        kind, offset = {4: (0, 20), 6: (129, 0)}[version]
        while True:
            packet, sender = sock.recvfrom(256)
            if sender[0] == address and packet[offset] == kind:
                return


@both
def test_ping_and_neighbours_go_on(ruled, version):
    ruled.apply("gateway", CLOSED)
    for name, address in (("gateway", PLC), ("client", PLC), ("plc", GATEWAY_FAR),
                          ("plc", CLIENT)):
        for machine in ("gateway", "plc"):
            ruled.net.exec(machine, "ip", "neigh", "flush", "all")
        ping(ruled, name, version, address[version])
    assert ruled.count("gateway", "local_to_plc", "ping") > 0
    assert ruled.count("gateway", "through_to_plc", "ping") > 0


@both
def test_plcs_may_ask(ruled, version):
    """A PLC that dials a service (time, mail) gets its answers, also through the gateway."""
    ruled.apply("gateway", OPEN)
    hosts = {"gateway": GATEWAY_FAR[version], "edge": rules.EDGE_FAR[version]}
    for name, address in hosts.items():
        with ruled.listener(name, version, ANY[version], OTHER_PORT) as service, \
                ruled.connected("plc", version, address, OTHER_PORT) as plc:
            accepted, _ = service.accept()
            with accepted:
                exchange(plc, accepted)
        with ruled.listener(name, version, ANY[version], OTHER_PORT,
                            socket.SOCK_DGRAM) as service, \
                ruled.socket("plc", version, kind=socket.SOCK_DGRAM) as plc:
            plc.sendto(b"ask", (address, OTHER_PORT))
            _, peer = service.recvfrom(16)
            service.sendto(b"answer", peer[:2])
            assert plc.recv(16) == b"answer"


@both
def test_a_simulator_on_the_machine_itself(ruled, version):
    """A PLC's address on this machine: nothing leaves it."""
    address = {4: "10.30.0.99", 6: "fd30::99"}[version]
    width = {4: 32, 6: 128}[version]
    ruled.net.exec("gateway", "ip", "addr", "add", f"{address}/{width}", "dev", "lo")
    try:
        ruled.apply("gateway", OPEN)
        with ruled.listener("gateway", version, address, MC_PORT) as simulator, \
                ruled.connected("gateway", version, address) as client:
            accepted, _ = simulator.accept()
            with accepted:
                exchange(client, accepted)
    finally:
        ruled.net.exec("gateway", "ip", "addr", "del", f"{address}/{width}", "dev", "lo")


# --- a PLC's connection slots ---------------------------------------------------------------------


def held(ruled, name, port):
    """A machine's connection from or to that port, in whatever state but TIME-WAIT."""
    text = ruled.net.exec(name, "ss", "-Htan", "exclude", "listening", "exclude",
                          "time-wait").stdout
    return re.search(rf":{port}\b", text)


@both
def test_a_closed_connection_frees_its_slot(ruled, version):
    """The last packets pass: nothing stays in LAST-ACK at the PLC, whoever closes first."""
    ruled.apply("gateway", OPEN)
    with ruled.plc(version) as plc:
        ports = []
        for first in ("daemon", "plc"):
            daemon = ruled.socket("gateway", version, mark=MARK)
            daemon.connect((PLC[version], MC_PORT))
            accepted, peer = plc.accept()
            ports.append(peer[1])
            for sock in (daemon, accepted) if first == "daemon" else (accepted, daemon):
                sock.close()
        lab.wait_for(lambda: not [port for port in ports if held(ruled, "plc", port)],
                     "the PLC's connections to end", 2)


@both
@pytest.mark.parametrize("known", [True, False])
def test_what_nobody_holds_is_reset(ruled, version, known):
    """What a PLC sends to a connection that mcseald has left is reset: its slot is free again.

    That packet has no socket, and so no mark: without the mark on the connection it would not pass.
    """
    ruled.apply("gateway", OPEN)
    if not known:
        ruled.delete_rule("gateway", "local_to_plc", "mcseald's connection, known")
    ruled.net.exec("gateway", "sysctl", "-qw", "net.ipv4.tcp_fin_timeout=1")
    with ruled.plc(version) as plc:
        daemon = ruled.socket("gateway", version, mark=MARK)
        daemon.connect((PLC[version], MC_PORT))
        accepted, peer = plc.accept()
        with accepted:
            daemon.close()
            lab.wait_for(lambda: not held(ruled, "gateway", peer[1]), "the gateway to forget", 10)
            assert held(ruled, "plc", peer[1])
            before = ruled.count("gateway", "local_to_plc", "everything else")
            accepted.sendall(b"late")
            if not known:
                lab.wait_for(lambda: ruled.count("gateway", "local_to_plc", "everything else") >
                             before, "the reset that is kept back")
                assert held(ruled, "plc", peer[1])
                ruled.apply("gateway", OPEN)  # puts the rule back
            lab.wait_for(lambda: not held(ruled, "plc", peer[1]), "the PLC's connection to end",
                         2 if known else 10)


@both
def test_a_plc_with_one_slot_is_polled_again_at_once(ruled, tmp_path, version):
    """A connection after the other, without a pause, to a PLC that has one."""
    ruled.apply("gateway", OPEN)
    address = {4: "10.30.0.10:5007", 6: "[fd30::10]:5007"}[version]
    plc = lab.Plc(tmp_path, "--connections", "1", "--set", "D0=7", listen=address,
                  netns=ruled.net.ns("plc"))
    with lab.stopping(plc):
        for number in range(1, 21):
            with ruled.connected("gateway", version, PLC[version], mark=MARK) as daemon:
                daemon.sendall(lab.read_words(0, 1))
                assert lab.words_of(lab.receive_frame(daemon)) == [7]
            # What a poll costs at most: the way of one packet, and never a retransmission.
            lab.wait_for(lambda: len(plc.events("event=close")) == number,  # pylint: disable=W0640
                         "the slot", 0.5)
        assert not plc.events("event=refused")
        assert "LAST-ACK" not in ruled.net.exec("plc", "ss", "-Htan").stdout


@both
def test_connections_of_before_stay(ruled, version):
    with ruled.plc(version) as plc, \
            ruled.connected("gateway", version, PLC[version], mark=MARK) as daemon, \
            ruled.connected("gateway", version, PLC[version]) as stranger, \
            ruled.connected("client", version, PLC[version]) as forwarded:
        accepted = {}
        for _ in range(3):
            sock, peer = plc.accept()
            accepted[peer[1]] = sock
        ruled.apply("gateway", OPEN)
        exchange(daemon, accepted[daemon.getsockname()[1]])
        ruled.apply("gateway", CLOSED)
        exchange(daemon, accepted[daemon.getsockname()[1]])
        # And those of everybody else are cut.
        for sock in (stranger, forwarded):
            rules.is_cut(sock, accepted[sock.getsockname()[1]])
        for sock in accepted.values():
            sock.close()


@both
def test_guard_stays_when_the_rest_is_removed(ruled, version):
    ruled.apply("gateway", CLOSED)
    ruled.remove("gateway", CLOSED)
    with ruled.plc(version) as plc, ruled.listener("gateway", version, ANY[version],
                                                   TLS_PORT) as tls:
        for name in ("gateway", "client"):
            ruled.refused(name, version, PLC[version])
        nobody_came(plc)
        with ruled.connected("plc", version, GATEWAY_FAR[version], TLS_PORT):
            tls.accept()[0].close()
        ruled.remove("gateway", CLOSED, "--guard")
        with ruled.connected("client", version, PLC[version]):
            plc.accept()[0].close()


# --- the TLS port ---------------------------------------------------------------------------------


def kept_out(ruled, name, version, address):
    """Nothing answers: whoever is not listed does not learn that there is a port."""
    with ruled.socket(name, version) as stranger:
        stranger.settimeout(0.3)
        with pytest.raises((TimeoutError, socket.timeout)):
            stranger.connect((address, TLS_PORT))


@both
def test_tls_port_is_for_listed_clients(ruled, version):
    ruled.apply("gateway", CLOSED)
    with ruled.listener("gateway", version, ANY[version], TLS_PORT) as tls, \
            ruled.listener("gateway", version, ANY[version], OTHER_PORT) as other:
        for name in ("edge", "client"):
            with ruled.connected(name, version, GATEWAY[version], TLS_PORT):
                tls.accept()[0].close()
        kept_out(ruled, "plc", version, GATEWAY_FAR[version])
        nobody_came(tls)
        assert ruled.count("gateway", "gateway/plant", "not listed", "mcseal") >= 1
        assert ruled.count("gateway", "gateway/plant", "evidence", "mcseal") >= 1
        with ruled.connected("plc", version, GATEWAY_FAR[version], OTHER_PORT):
            other.accept()[0].close()
        ruled.apply("gateway", OPEN)
        with ruled.connected("plc", version, GATEWAY_FAR[version], TLS_PORT):
            tls.accept()[0].close()


@both
def test_clients_of_one_family_keep_out_the_other(ruled, version):
    listed = {4: '"10.20.0.0/16"', 6: '"fd20::/64"'}
    ruled.apply("gateway", rules.gateway(f"clients = {{ {listed[version]} }}"))
    other = 10 - version
    with ruled.listener("gateway", version, ANY[version], TLS_PORT) as tls, \
            ruled.listener("gateway", other, ANY[other], TLS_PORT) as second:
        with ruled.connected("edge", version, GATEWAY[version], TLS_PORT):
            tls.accept()[0].close()
        kept_out(ruled, "edge", other, GATEWAY[other])
        nobody_came(second)


@both
def test_admitted_connections_stay_when_clients_change(ruled, version):
    ruled.apply("gateway", CLOSED)
    with ruled.listener("gateway", version, ANY[version], TLS_PORT) as tls, \
            ruled.connected("edge", version, GATEWAY[version], TLS_PORT) as client:
        accepted, _ = tls.accept()
        with accepted:
            ruled.apply("gateway", rules.gateway('clients = { "192.0.2.1" }'))
            exchange(client, accepted)
            kept_out(ruled, "edge", version, GATEWAY[version])


@both
def test_each_listener_has_its_own_clients(ruled, version):
    """The second gateway section has no list, the third one another."""
    def section(name, port, options=""):
        return (f'gateway "{name}" {{ listen = {{ "0.0.0.0:{port}", "[::]:{port}" }}\n'
                f"{rules.CREDENTIALS} {options} }}\n")
    ruled.apply("gateway", CLOSED + section("second", TLS_PORT + 1) +
                section("third", TLS_PORT + 2, 'clients = { "10.30.0.0/24", "fd30::/64" }'))
    ports = [TLS_PORT, TLS_PORT + 1, TLS_PORT + 2]
    listeners = [ruled.listener("gateway", version, ANY[version], port) for port in ports]
    admitted = {"edge": [True, True, False], "plc": [False, True, True]}
    for name, address in (("edge", GATEWAY), ("plc", GATEWAY_FAR)):
        for port, listener, welcome in zip(ports, listeners, admitted[name]):
            with ruled.socket(name, version) as sock:
                sock.settimeout(3 * lab.PATIENCE if welcome else 0.3)
                if welcome:
                    sock.connect((address[version], port))
                    listener.accept()[0].close()
                    continue
                with pytest.raises((TimeoutError, socket.timeout)):
                    sock.connect((address[version], port))
                nobody_came(listener)
    for listener in listeners:
        listener.close()


# --- edge and gateway on one machine --------------------------------------------------------------


@both
def test_both_roles_on_one_machine(ruled, version):
    """Listed clients are redirected, the daemon reaches the PLCs, and nobody else does."""
    ruled.apply("gateway", rules.BOTH)
    with ruled.plc(version) as plc, \
            ruled.listener("gateway", version, ANY[version], REDIRECT_PORT) as listener:
        for name, user in (("gateway", LISTED), ("client", UNLISTED)):
            with ruled.connected(name, version, PLC[version], user=user,
                                 **{"source": CLIENT[version]} if name == "client" else {}):
                with listener.accept()[0] as accepted:
                    assert original_destination(accepted, version) == (PLC[version], MC_PORT)
        nobody_came(plc)
        with ruled.connected("gateway", version, PLC[version], mark=MARK, user=LISTED) as daemon:
            accepted, _ = plc.accept()
            with accepted:
                exchange(daemon, accepted)
        before = ruled.count("gateway", "refuse_plc", "TCP is told at once")
        ruled.refused("gateway", version, PLC[version], user=UNLISTED)
        ruled.refused("client", version, PLC[version], source=rules.STRANGER[version])
        ruled.refused("client", version, PLC[version], OTHER_PORT, source=CLIENT[version])
        ruled.refused("edge", version, PLC[version])
        nobody_came(plc)
        nobody_came(listener)
        # A SYN is sent again when its reset has to wait for neighbour discovery.
        assert ruled.count("gateway", "refuse_plc", "TCP is told at once") >= before + 4


@both
def test_both_roles_for_different_plants(ruled, version):
    """The mark opens the way to the gateway's own PLCs, not to those that the edge protects."""
    there = {4: "10.10.0.2", 6: "fd10::2"}
    text = rules.gateway() + rules.edge('users = { "nobody" }', listen=rules.FROM_LOOPBACK,
                                        destinations='"10.10.0.2:5007", "[fd10::2]:5007"')
    ruled.apply("gateway", text)
    with ruled.listener("client", version, ANY[version], MC_PORT) as far, \
            ruled.listener("gateway", version, ANY[version], REDIRECT_PORT) as listener, \
            ruled.plc(version) as plc:
        with ruled.connected("gateway", version, there[version], user=LISTED):
            listener.accept()[0].close()
        for mark, user in ((MARK, LISTED), (None, UNLISTED)):
            ruled.refused("gateway", version, there[version], mark=mark, user=user)
        nobody_came(far)
        with ruled.connected("gateway", version, PLC[version], mark=MARK):
            plc.accept()[0].close()
        ruled.refused("gateway", version, PLC[version], user=LISTED)

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the rules of a TPROXY edge do: packets as they are, held by a listener on the router (root).

A plain listener with IP_TRANSPARENT stands in for mcseald.
"""
import contextlib
import re
import socket

import pytest

import rules
from rules import (ANY, CLIENT, EDGE, LOOPBACK, MC_PORT, OTHER_PORT, PLC, STRANGER, TPROXY_PORT,
                   Ruled, both, exchange, is_cut, nobody_came)

TPROXY = rules.tproxy()


@pytest.fixture(scope="module")
def links():
    with rules.links() as made:
        yield made


@pytest.fixture
def ruled(links, tmp_path):
    return Ruled(rules.without_rules(links), tmp_path)


def held_by(ruled, version, addresses=ANY):
    return ruled.listener("edge", version, addresses[version], TPROXY_PORT, transparent=True)


@contextlib.contextmanager
def carried(ruled, listener, version, address=None, port=MC_PORT):
    """A connection of the listed client that the listener holds: its two sockets."""
    address = address or PLC[version]
    with ruled.connected("client", version, address, port, source=CLIENT[version]) as client:
        accepted, peer = listener.accept()
        with accepted:
            assert accepted.getsockname()[:2] == (address, port)
            assert accepted.getpeername()[:2] == client.getsockname()[:2] == peer[:2]
            assert client.getpeername()[:2] == (address, port)
            exchange(client, accepted)
            yield client, accepted


@contextlib.contextmanager
def blocked(ruled, *sockets):
    before = ruled.count("edge", "refuse_plain", "TCP is told at once")
    yield
    for sock in sockets:
        nobody_came(sock)
    assert ruled.count("edge", "refuse_plain", "TCP is told at once") > before


@contextlib.contextmanager
def switched(ruled, value, *settings):
    """Switches of the kernel, on the edge, put to `value` and back."""
    def put(to):
        ruled.net.exec("edge", "sysctl", "-qw", *[f"{name}={to}" for name in settings])
    put(value)
    try:
        yield
    finally:
        put(1 - value)


@both
def test_both_ends_are_the_true_ones(ruled, version):
    ruled.apply("edge", TPROXY)
    with held_by(ruled, version) as listener, carried(ruled, listener, version):
        pass


@both
def test_listener_out_of_reach(ruled, version):
    """Packets are not changed: on loopback the listener gets them all the same, and only them."""
    ruled.apply("edge", rules.tproxy(listen=rules.FROM_LOOPBACK))
    with held_by(ruled, version, LOOPBACK) as listener:
        with carried(ruled, listener, version):
            pass
        ruled.net.exec("edge", "nft", "flush", "chain", "inet", "mcseal", "input")
        ruled.refused("client", version, EDGE[version], TPROXY_PORT)
        nobody_came(listener)


@both
def test_whole_blocks_on_one_listener(ruled, version):
    ruled.apply("edge", TPROXY)
    ends = {4: (("10.30.0.12", 5000), ("10.30.0.15", 5010)),
            6: (("fd30::", 5000), ("fd30::ffff:ffff:ffff:ffff", 5010))}
    with held_by(ruled, version) as listener:
        for address, port in ends[version]:
            with carried(ruled, listener, version, address, port):
                pass


@both
def test_no_translation_in_the_kernel(ruled, version):
    """Connection tracking knows nothing of it, or the packet as it is."""
    ruled.apply("edge", TPROXY)
    assert " redirect to " not in ruled.listing("edge") and "dnat" not in ruled.listing("edge")
    with held_by(ruled, version) as listener, carried(ruled, listener, version) as (client, _):
        port = client.getsockname()[1]
        table = ruled.net.exec("edge", "conntrack", "-L", "-f", f"ipv{version}", "-p", "tcp").stdout
        for line in table.splitlines():
            ends = re.findall(r"(src|dst|sport|dport)=(\S+)", line)
            if ("sport", str(port)) in ends:
                assert [value for _, value in ends[4:]] == \
                    [ends[1][1], ends[0][1], ends[3][1], ends[2][1]], line
    assert ruled.count("edge", "edge/office", "mcseald holds", "mcseal") > 0


@both
def test_neighbour_who_is_not_listed(ruled, version):
    ruled.apply("edge", TPROXY)
    with held_by(ruled, version) as listener, ruled.plc(version) as plc:
        with blocked(ruled, plc, listener):
            ruled.refused("client", version, PLC[version], source=STRANGER[version])


@both
def test_only_from_its_interfaces(ruled, version):
    """From the other side, and from the router itself: refused."""
    destinations = ", ".join(f'"{address}:{MC_PORT}"' for address in (CLIENT[4], f"[{CLIENT[6]}]"))
    ruled.apply("edge", rules.edge('addresses = { "0.0.0.0/0", "::/0" }', port=TPROXY_PORT,
                                   options='interfaces = { "to-client" } interception = tproxy',
                                   destinations=destinations))
    with held_by(ruled, version) as listener, \
            ruled.listener("client", version, ANY[version], MC_PORT) as there:
        with blocked(ruled, there, listener):
            ruled.refused("gateway", version, CLIENT[version])
            ruled.refused("edge", version, CLIENT[version])


@both
def test_other_ports_are_left_alone(ruled, version):
    ruled.apply("edge", TPROXY)
    with held_by(ruled, version) as listener, ruled.plc(version, OTHER_PORT) as plc:
        with ruled.connected("client", version, PLC[version], OTHER_PORT) as client:
            accepted, _ = plc.accept()
            with accepted:
                exchange(client, accepted)
        nobody_came(listener)


@both
def test_direct_use_is_refused(ruled, version):
    with held_by(ruled, version) as listener:
        with ruled.connected("client", version, EDGE[version], TPROXY_PORT):
            listener.accept()[0].close()
        ruled.apply("edge", TPROXY)
        for name, address in (("client", EDGE), ("edge", LOOPBACK)):
            ruled.refused(name, version, address[version], TPROXY_PORT)
        nobody_came(listener)


@both
def test_without_daemon_it_is_closed(ruled, version):
    """TPROXY without a listener lets the packet go on: it is the guard that resets it."""
    ruled.apply("edge", TPROXY)
    with ruled.plc(version) as plc:
        with held_by(ruled, version) as listener, carried(ruled, listener, version) as ends:
            client, accepted = ends
            accepted.close()
            assert client.recv(16) == b""
        with blocked(ruled, plc):
            ruled.refused("client", version, PLC[version], source=CLIENT[version])
        # Taken out: what the line above would see if there were no guard.
        ruled.net.exec("edge", "nft", "delete", "table", "inet", "mcseal_guard")
        with ruled.connected("client", version, PLC[version], source=CLIENT[version]):
            plc.accept()[0].close()


@both
def test_without_its_route_it_is_closed(ruled, version):
    """Somebody has removed the way to the machine itself: the guard again, and apply mends it."""
    ruled.apply("edge", TPROXY)
    ruled.net.exec("edge", "ip", f"-{version}", "rule", "del", "lookup", "207")
    with held_by(ruled, version) as listener, ruled.plc(version) as plc:
        with ruled.socket("client", version, source=CLIENT[version]) as client:
            client.settimeout(0.5)
            with pytest.raises((ConnectionRefusedError, TimeoutError)):
                client.connect((PLC[version], MC_PORT))
        nobody_came(plc)
        nobody_came(listener)
        assert f"+ ip -{version} rule fwmark" in ruled.apply("edge", TPROXY)
        with carried(ruled, listener, version):
            pass


@both
def test_connections_stay_when_sources_change(ruled, version):
    """Who is taken out of the sources keeps what he has, as with the redirect; nothing new."""
    ruled.apply("edge", TPROXY)
    # Or the kernel would look for sockets before it routes, and do without the rule.
    with switched(ruled, 0, "net.ipv4.tcp_early_demux"), \
            held_by(ruled, version) as listener, ruled.plc(version) as plc, \
            carried(ruled, listener, version) as (client, accepted):
        ruled.apply("edge", TPROXY.replace(rules.NEIGHBOURS, f'"{STRANGER[version]}"'))
        exchange(client, accepted)
        with blocked(ruled, plc, listener):
            ruled.refused("client", version, PLC[version], source=CLIENT[version])


@both
def test_plain_connections_that_stand_are_cut(ruled, version):
    with ruled.plc(version) as plc, held_by(ruled, version) as listener, \
            ruled.connected("client", version, PLC[version], source=CLIENT[version]) as client:
        accepted, _ = plc.accept()
        with accepted:
            exchange(client, accepted)
            ruled.apply("edge", TPROXY)
            is_cut(client, accepted)
        with carried(ruled, listener, version):
            pass


@both
def test_udp_is_dropped(ruled, version):
    ruled.apply("edge", TPROXY)
    with ruled.plc(version, kind=socket.SOCK_DGRAM) as plc, \
            ruled.socket("client", version, kind=socket.SOCK_DGRAM) as client:
        client.sendto(b"x", (PLC[version], MC_PORT))
        nobody_came(plc)
    assert ruled.count("edge", "refuse_plain", "UDP and others") == 1


@both
def test_beside_a_redirect_for_the_machines_own_programs(ruled, version):
    """TPROXY cannot take them: a second edge does, and neither takes the other's."""
    own = rules.edge('users = { "nobody" }', name="own", listen=rules.FROM_LOOPBACK)
    ruled.apply("edge", TPROXY + own)
    with held_by(ruled, version) as listener, ruled.plc(version) as plc, \
            ruled.listener("edge", version, LOOPBACK[version], rules.REDIRECT_PORT) as second:
        with carried(ruled, listener, version):
            nobody_came(second)
        with ruled.connected("edge", version, PLC[version], user=rules.LISTED):
            with second.accept()[0] as accepted:
                assert rules.original_destination(accepted, version) == (PLC[version], MC_PORT)
        with blocked(ruled, plc, listener, second):
            ruled.refused("edge", version, PLC[version], user=rules.UNLISTED)


def test_reverse_path_filter_is_no_obstacle(ruled):
    """As long as it does not look at marks: `mcseal-nft check` warns of src_valid_mark."""
    ruled.apply("edge", TPROXY)
    with switched(ruled, 1, "net.ipv4.conf.all.rp_filter", "net.ipv4.conf.to-client.rp_filter"), \
            held_by(ruled, 4) as listener, carried(ruled, listener, 4):
        pass

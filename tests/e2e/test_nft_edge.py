#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the rules of an edge do: on the host that polls and on a router, with the guard (root)."""
import contextlib
import pathlib
import re
import socket
import subprocess
import threading
import time

import pytest

import lab
import rules
from rules import (ANY, CLIENT, EDGE, LISTED, LOOPBACK, MARK, MC_PORT, OTHER_PORT, PLC,
                   REDIRECT_PORT, STRANGER, UNLISTED, Ruled, both, exchange, is_cut, nobody_came,
                   original_destination)

HOST, ROUTER = rules.host(), rules.router()
# Where the guard is, and whom it meets there: programs of the machine itself, or neighbours.
PLACES = {"client": HOST, "edge": ROUTER}
everywhere = pytest.mark.parametrize("where", PLACES)


@pytest.fixture(scope="module")
def links():
    with rules.links() as made:
        yield made


@pytest.fixture
def ruled(links, tmp_path):
    return Ruled(rules.without_rules(links), tmp_path)


def on_host(ruled, version):
    return ruled.listener("client", version, LOOPBACK[version], REDIRECT_PORT)


def on_router(ruled, version):
    return ruled.listener("edge", version, ANY[version], REDIRECT_PORT)


def carried(ruled, listener, name, version, address=None, port=MC_PORT, **options):
    """The connection arrives at the listener, which learns where to and from whom."""
    address = address or PLC[version]
    with ruled.connected(name, version, address, port, **options) as client:
        accepted, peer = listener.accept()
        with accepted:
            assert original_destination(accepted, version) == (address, port)
            assert client.getpeername()[:2] == (address, port)  # the client talks to its PLC
            exchange(client, accepted)
            return peer[0]


@contextlib.contextmanager
def blocked(ruled, name, plcs, chain="refuse_plain"):
    """What happens in the body reaches none of these sockets, and the guard has counted it."""
    before = ruled.count(name, chain, "TCP is told at once")
    yield
    for plc in plcs:
        nobody_came(plc)
    assert ruled.count(name, chain, "TCP is told at once") > before


# --- the host that polls --------------------------------------------------------------------------


@both
def test_host_redirects(ruled, version):
    ruled.apply("client", HOST)
    with on_host(ruled, version) as listener:
        carried(ruled, listener, "client", version, user=LISTED)


@both
def test_host_redirects_whole_blocks(ruled, version):
    ruled.apply("client", HOST)
    ends = {4: (("10.30.0.12", 5000), ("10.30.0.15", 5010)),
            6: (("fd30::", 5000), ("fd30::ffff:ffff:ffff:ffff", 5010))}
    with on_host(ruled, version) as listener:
        for address, port in ends[version]:
            carried(ruled, listener, "client", version, address, port, user=LISTED)


@both
def test_host_leaves_the_rest_alone(ruled, version):
    ruled.apply("client", HOST)
    with ruled.plc(version, OTHER_PORT) as plc:
        for user in (LISTED, UNLISTED):
            with ruled.connected("client", version, PLC[version], OTHER_PORT, user=user) as client:
                accepted, _ = plc.accept()
                with accepted:
                    exchange(client, accepted)


@both
def test_host_refuses_a_user_who_is_not_listed(ruled, version):
    ruled.apply("client", HOST)
    with on_host(ruled, version) as listener, ruled.plc(version) as plc:
        with blocked(ruled, "client", [plc, listener]):
            for user in (UNLISTED, rules.ROOT):
                ruled.refused("client", version, PLC[version], user=user)


@both
def test_host_by_address(ruled, version):
    listed = f'addresses = {{ "{CLIENT[version]}" }}'
    ruled.apply("client", rules.host(listed))
    with on_host(ruled, version) as listener, ruled.plc(version) as plc:
        carried(ruled, listener, "client", version, user=UNLISTED, source=CLIENT[version])
        with blocked(ruled, "client", [plc, listener]):
            ruled.refused("client", version, PLC[version], source=STRANGER[version])
            # A source that lists addresses of the other family only lists nobody of this one.
            ruled.apply("client", rules.host(f'addresses = {{ "{CLIENT[10 - version]}" }}'))
            ruled.refused("client", version, PLC[version], source=CLIENT[version])


@both
def test_host_demands_every_kind_of_one_source(ruled, version):
    ruled.apply("client", rules.host(
        [f'users = {{ "nobody" }} addresses = {{ "{CLIENT[version]}" }}', 'users = { "root" }']))
    with on_host(ruled, version) as listener, ruled.plc(version) as plc:
        carried(ruled, listener, "client", version, user=LISTED, source=CLIENT[version])
        carried(ruled, listener, "client", version, user=rules.ROOT, source=STRANGER[version])
        with blocked(ruled, "client", [plc, listener]):
            ruled.refused("client", version, PLC[version], user=LISTED, source=STRANGER[version])
            ruled.refused("client", version, PLC[version], user=UNLISTED, source=CLIENT[version])


@both
def test_host_direct_use_is_refused(ruled, version):
    with on_host(ruled, version) as listener:
        with ruled.connected("client", version, LOOPBACK[version], REDIRECT_PORT):
            listener.accept()[0].close()  # it is the rules that refuse below
        ruled.apply("client", HOST)
        for user in (LISTED, rules.ROOT):
            ruled.refused("client", version, LOOPBACK[version], REDIRECT_PORT, user=user)
        nobody_came(listener)
        assert ruled.count("client", "input", "dialled mcseald directly", "mcseal") >= 2


@both
def test_host_excludes_the_daemons_mark(ruled, version):
    ruled.apply("client", rules.host('users = { "root" }'))
    with on_host(ruled, version) as listener, ruled.plc(version) as plc:
        # The mark opens no way out in plain.
        with blocked(ruled, "client", [plc, listener]):
            ruled.refused("client", version, PLC[version], mark=MARK)
        carried(ruled, listener, "client", version, mark=MARK + 1)
        ruled.net.exec("client", "nft", "delete", "table", "inet", "mcseal_guard")
        with ruled.connected("client", version, PLC[version], mark=MARK):
            plc.accept()[0].close()
        nobody_came(listener)
        carried(ruled, listener, "client", version, mark=MARK + 1)
        nobody_came(plc)


# --- control groups -------------------------------------------------------------------------------

# `ip netns exec` gives its command a /sys of its own, without the control groups.
WITH_GROUPS = ["sh", "-c", 'mount -t cgroup2 none /sys/fs/cgroup && exec "$@"', "sh"]
IN_GROUP = ["sh", "-c", 'mount -t cgroup2 none /sys/fs/cgroup && '
            'echo $$ >"/sys/fs/cgroup$0/cgroup.procs" && exec "$@"']
DIAL = "import socket, sys\nsocket.create_connection((sys.argv[1], 5007), 5).sendall(b'here')"


@pytest.fixture
def groups(ruled):
    """Two groups at different depths below one; the paths as a configuration has them."""
    top = f"/mcseal-{ruled.net.prefix}"
    paths = [top, f"{top}/listed", f"{top}/listed/below", f"{top}/other"]

    def each(command, names):
        ruled.net.exec("client", *WITH_GROUPS, command,
                       *[f"/sys/fs/cgroup{name}" for name in names])
    each("mkdir", paths)
    try:
        yield paths
    finally:
        each("rmdir", reversed(paths))


def dial_from(ruled, group, version):
    return ruled.net.exec("client", *IN_GROUP, group, "/usr/bin/python3", "-c", DIAL, PLC[version],
                          check=False)


def apply_with_groups(ruled, text):
    return ruled.net.exec("client", *WITH_GROUPS, lab.BUILD / "mcseal-nft", "-c",
                          ruled.write("client", text), "apply").stdout


@both
def test_host_by_control_group(ruled, groups, version):
    """Its members and those of groups below it; other groups are refused."""
    top, listed, below, other = groups
    apply_with_groups(ruled, rules.host(f'cgroups = {{ "{listed}" }}'))
    listing = ruled.net.exec("client", *WITH_GROUPS, "nft", "list", "ruleset").stdout
    assert f'"{listed[1:]}"' in listing
    with on_host(ruled, version) as listener, ruled.plc(version) as plc:
        for group in (listed, below):
            result = dial_from(ruled, group, version)
            assert result.returncode == 0, result.stdout
            with listener.accept()[0] as accepted:
                assert lab.readable(accepted, 3 * lab.PATIENCE)
                assert accepted.recv(16) == b"here"
        with blocked(ruled, "client", [plc, listener]):
            for group in (top, other):
                result = dial_from(ruled, group, version)
                assert result.returncode != 0 and "ConnectionRefusedError" in result.stdout


def test_host_by_control_groups_of_different_depths(ruled, groups):
    top, listed, below, other = groups
    text = rules.host(f'cgroups = {{ "{other}", "{below}", "{top}/not-there" }}')
    assert "not-there does not exist" in apply_with_groups(ruled, text)
    assert apply_with_groups(ruled, text).splitlines()[-1] == "nothing to change"
    with on_host(ruled, 4) as listener, ruled.plc(4) as plc:
        for group in (other, below):
            assert dial_from(ruled, group, 4).returncode == 0
            listener.accept()[0].close()
        with blocked(ruled, "client", [plc, listener]):
            for group in (top, listed):
                assert dial_from(ruled, group, 4).returncode != 0


# --- the router -----------------------------------------------------------------------------------


@both
def test_router_redirects(ruled, version):
    ruled.apply("edge", ROUTER)
    with on_router(ruled, version) as listener:
        assert carried(ruled, listener, "client", version, source=CLIENT[version]) == \
            CLIENT[version]


@both
def test_router_refuses_a_neighbour_who_is_not_listed(ruled, version):
    ruled.apply("edge", ROUTER)
    with on_router(ruled, version) as listener, ruled.plc(version) as plc:
        with blocked(ruled, "edge", [plc, listener]):
            ruled.refused("client", version, PLC[version], source=STRANGER[version])


@both
def test_router_direct_use_is_refused(ruled, version):
    with on_router(ruled, version) as listener:
        with ruled.connected("client", version, EDGE[version], REDIRECT_PORT):
            listener.accept()[0].close()
        ruled.apply("edge", ROUTER)
        for name, address in (("client", EDGE), ("edge", LOOPBACK)):
            ruled.refused(name, version, address[version], REDIRECT_PORT)
        nobody_came(listener)
        assert ruled.count("edge", "input", "dialled mcseald directly", "mcseal") >= 2


@both
def test_router_redirects_only_from_its_interfaces(ruled, version):
    """What comes from the other side is not the edge's to carry, whoever it says it is."""
    far = CLIENT[version]
    destinations = ", ".join(f'"{address}:{MC_PORT}"' for address in (CLIENT[4], f"[{CLIENT[6]}]"))
    ruled.apply("edge", rules.edge('addresses = { "0.0.0.0/0", "::/0" }', destinations=destinations,
                                   options='interfaces = { "to-client" }'))
    with on_router(ruled, version) as listener, \
            ruled.listener("client", version, ANY[version], MC_PORT) as there:
        with blocked(ruled, "edge", [there, listener]):
            ruled.refused("gateway", version, far)
            ruled.refused("edge", version, far)


@both
def test_router_that_polls_as_well(ruled, version):
    """Its own programs are sources like others, where "local" is among the interfaces."""
    sources = [f"addresses = {{ {rules.NEIGHBOURS} }}", 'users = { "nobody" }']
    for local in (True, False):
        names = '"to-client", "local"' if local else '"to-client"'
        ruled.apply("edge", rules.edge(sources, options=f"interfaces = {{ {names} }}"))
        with on_router(ruled, version) as listener, ruled.plc(version) as plc:
            carried(ruled, listener, "client", version, source=CLIENT[version])
            if local:
                carried(ruled, listener, "edge", version, user=LISTED)
            with blocked(ruled, "edge", [plc, listener]):
                ruled.refused("edge", version, PLC[version], user=UNLISTED)
                if not local:
                    ruled.refused("edge", version, PLC[version], user=LISTED)


# --- the guard ------------------------------------------------------------------------------------


@both
@everywhere
def test_without_daemon_it_is_closed(ruled, where, version):
    ruled.apply(where, PLACES[where])
    with ruled.plc(version) as plc:
        ruled.refused("client", version, PLC[version], user=LISTED)
        nobody_came(plc)


@both
@everywhere
def test_guard_stays_when_the_redirect_is_gone(ruled, where, version):
    with ruled.plc(version) as plc, ruled.plc(version, OTHER_PORT) as other:
        with ruled.connected("client", version, PLC[version], user=LISTED):
            plc.accept()[0].close()  # nothing else is in the way
        ruled.apply(where, PLACES[where])
        ruled.remove(where, PLACES[where])
        with blocked(ruled, where, [plc]):
            ruled.refused("client", version, PLC[version], user=LISTED)
        with ruled.connected("client", version, PLC[version], OTHER_PORT):
            other.accept()[0].close()
        # Taken out as well: what the test above would see if there were no guard.
        ruled.remove(where, PLACES[where], "--guard")
        with ruled.connected("client", version, PLC[version], user=LISTED):
            plc.accept()[0].close()


@both
@everywhere
def test_guard_blocks_plain_udp(ruled, where, version):
    with ruled.plc(version, kind=socket.SOCK_DGRAM) as plc, \
            ruled.socket("client", version, kind=socket.SOCK_DGRAM, user=LISTED) as client:
        client.sendto(b"before", (PLC[version], MC_PORT))
        assert plc.recv(16) == b"before"
        ruled.apply(where, PLACES[where])
        if where == "client":
            with pytest.raises(PermissionError):
                client.sendto(b"after", (PLC[version], MC_PORT))
        else:
            client.sendto(b"after", (PLC[version], MC_PORT))
        nobody_came(plc)
        assert ruled.count(where, "refuse_plain", "UDP and others") > 0


@both
@everywhere
def test_guard_ends_plain_connections_that_stand(ruled, where, version):
    """The client's next one is redirected."""
    take = on_host if where == "client" else on_router
    with ruled.plc(version) as plc, take(ruled, version) as listener, \
            ruled.connected("client", version, PLC[version], user=LISTED,
                            source=CLIENT[version]) as client:
        accepted, _ = plc.accept()
        with accepted:
            exchange(client, accepted)
            ruled.apply(where, PLACES[where])
            is_cut(client, accepted)
        carried(ruled, listener, "client", version, user=LISTED, source=CLIENT[version])


@everywhere
def test_edge_that_is_dialled_needs_only_the_guard(ruled, where):
    """An edge with a destination: nothing is redirected, nobody refused at its own listener."""
    ruled.apply(where, rules.DIALLED)
    assert re.findall(r"(?m)^table inet (\w+)", ruled.listing(where)) == ["mcseal_guard"]
    with ruled.listener("client", 4, "127.0.0.1", MC_PORT) as listener, ruled.plc(4) as plc:
        with ruled.connected("client", 4, "127.0.0.1"):
            listener.accept()[0].close()
        with blocked(ruled, where, [plc]):
            ruled.refused("client", 4, PLC[4])


def test_blocked_attempts_are_logged(ruled):
    """One line with address and port, by the kernel's log; the machine logs for namespaces."""
    switch = pathlib.Path("/proc/sys/net/netfilter/nf_log_all_netns")
    before = switch.read_text()
    ruled.apply("client", HOST)
    wanted = re.compile(rf"mcseal-plain-blocked: IN= OUT=to-edge SRC={CLIENT[4]} DST={PLC[4]} .*"
                        rf"PROTO=TCP .*DPT={MC_PORT} ")
    start = time.clock_gettime(time.CLOCK_BOOTTIME)

    def logged():
        switch.write_text("1")  # other tests may have put it back
        ruled.refused("client", 4, PLC[4], user=UNLISTED)
        time.sleep(0.2)
        text = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
        return [line for line in text.splitlines() if wanted.search(line) and
                float(re.search(r"\[\s*([\d.]+)\]", line).group(1)) > start - 1]
    try:
        lab.wait_for(logged, "the guard's line in the kernel's log")
    finally:
        switch.write_text(before)
    assert ruled.count("client", "refuse_plain", "evidence, rate-limited") > 0


def test_nothing_leaks_while_files_are_loaded_again(ruled):
    """Connections all the time, `nft -f` of the printed file all the time: none in plain."""
    printed = ruled.print("client", rules.host('users = { "root" }'))
    ruled.load("client", printed)
    stop = threading.Event()
    outcomes = {"redirected": 0, "refused": 0}
    errors = []
    loaded = 0

    def poll():
        with ruled.net.inside("client"):
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

    with ruled.plc(4) as plc, on_host(ruled, 4) as listener:
        threads = [threading.Thread(target=poll) for _ in range(2)]
        threads.append(threading.Thread(target=take, args=(listener,)))
        for thread in threads:
            thread.start()
        try:
            end = time.monotonic() + 20 * lab.PATIENCE
            while (loaded < 25 or outcomes["redirected"] < 300) and time.monotonic() < end:
                ruled.load("client", printed)
                loaded += 1
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        nobody_came(plc)
    assert not errors
    assert loaded >= 25 and outcomes["redirected"] >= 300, outcomes

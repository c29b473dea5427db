#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Transparent edges with the real daemon and the rules that mcseal-nft makes of its configuration,
in namespaces (root): redirected on a router and on a host, and taken by TPROXY on a router. What
holds when the daemon is marked, restarted, unprivileged, in both roles, or killed.
"""
import contextlib
import os
import pathlib
import tempfile

import pytest

import lab
import peers
import redirected
from redirected import TARGETS, Plants, Unprivileged, links, net, pki  # noqa: F401 (fixtures)

placements = pytest.mark.parametrize("place", redirected.PLACES)


# --- the mark ------------------------------------------------------------------------------------


@pytest.mark.parametrize("marked", [True, False])
def test_mark_keeps_the_daemon_out_of_the_redirect(net, pki, tmp_path, marked):
    """The redirected range covers the gateway, too: the mark alone tells the daemon's own apart."""
    plants = Plants(net, pki, tmp_path, "host", edge=False)
    plants.redirect_everybody(gateway=True)
    plants.edge_config = plants.edge_text(head="" if marked else "mark = 0")
    plants.edge = plants.start_edge()
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


# --- restart -------------------------------------------------------------------------------------


# In an emulated machine each takes half a minute, and a killed daemon is the harder case.
@pytest.mark.parametrize("how", ["killed"] if lab.KERNEL else ["stopped", "killed"])
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
            # The kernel ends a killed io_uring, and with it the listener, a moment later.
            lab.wait_for(lambda: not net.exec(plants.name, "ss", "-Htln",
                                              "sport = :15007").stdout, "the listener's end")
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


# --- as little privilege as possible -------------------------------------------------------------


@pytest.fixture
def public():
    """A folder that the user nobody may read."""
    with tempfile.TemporaryDirectory(prefix="mcseal-public-") as made:
        os.chmod(made, 0o755)
        yield pathlib.Path(made)


@placements
def test_net_raw_is_enough(net, pki, tmp_path, public, place):
    with Plants(net, pki, tmp_path, place, edge=False) as plants:
        plants.edge = Unprivileged(plants, public, ["net_raw"])
        assert plants.edge.status("CapEff") == ["0000000000002000"]
        assert not plants.edge.lines("mark-not-set")
        plants.everybody_answers()


def test_marks_its_connections_by_net_raw_alone(net, pki, tmp_path, public):
    with Plants(net, pki, tmp_path, "host", edge=False) as plants:
        plants.redirect_everybody(gateway=True)
        plants.edge = Unprivileged(plants, public, ["net_raw"])
        plants.everybody_answers()


@pytest.mark.parametrize("place", ["router", "host"])
def test_without_net_raw_it_warns_and_works(net, pki, tmp_path, public, place):
    with Plants(net, pki, tmp_path, place, edge=False) as plants:
        plants.edge = Unprivileged(plants, public, [])
        assert plants.edge.status("CapEff") == ["0000000000000000"]
        assert "CAP_NET_RAW" in plants.edge.lines("warning mark-not-set")[0]
        plants.everybody_answers()


def test_tproxy_without_net_raw_does_not_start(net, pki, tmp_path, public):
    """It says what it lacks, and clients are refused by the guard."""
    with Plants(net, pki, tmp_path, "tproxy", edge=False) as plants:
        edge = Unprivileged(plants, public, [], ready=False)
        assert edge.popen.wait(10 * lab.PATIENCE) != 0
        assert "CAP_NET_RAW" in edge.lines("error listen-failed")[0]
        for target in (TARGETS[0], TARGETS[3]):
            with pytest.raises(ConnectionRefusedError):
                plants.connect(*target)
        assert plants.seen() == [] and plants.blocked() >= 2


# --- who may dial the gateway --------------------------------------------------------------------


@pytest.mark.parametrize("gateway,client", [('"10.20.0.2:8443"', "10.20.0.1:"),
                                            ('"[fd20::2]:8443"', "[fd20::1]:")])
def test_gateway_refuses_whom_its_clients_do_not_list(net, pki, tmp_path, gateway, client):
    """With its rules the edge gets no answer; without them the daemon refuses by itself."""
    with Plants(net, pki, tmp_path, "router", edge=False,
                gateway_options='clients = { "10.20.0.99", "fd20::99" }') as plants:
        plants.edge_config = plants.edge_text(gateways=gateway)
        plants.edge = plants.start_edge()

        def fails():
            with plants.connect(*TARGETS[0]) as sock:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(lab.read_words(0, 1))
                assert lab.receive_end(sock) == b""
        fails()
        plants.edge.closed("gateways-failed")
        assert not plants.gateway.lines("session-")
        net.exec("gateway", lab.BUILD / "mcseal-nft", "-c", plants.gateway.config, "remove")
        fails()
        line = plants.gateway.closed("source-refused")
        assert f"client={client}" in line and "edge=" not in line, line
        assert plants.seen() == []
        plants.gateway.stop()
        # The same gateway for everybody who is listed.
        plants.gateway_config = plants.gateway_text(redirected.CLIENTS)
        plants.rules("gateway", plants.gateway_config)
        plants.gateway = plants.start_gateway("gateway-again")
        plants.everybody_answers()


# --- edge and gateway in one daemon --------------------------------------------------------------


def test_both_roles_in_one_daemon(net, pki, tmp_path):
    """In front of the PLCs: redirected, through TLS to itself, and out by its mark."""
    with Plants(net, pki, tmp_path, "router", edge=False) as plants:
        plants.gateway.stop()
        edge = plants.edge_text(destinations=redirected.ROUTE)
        edge = edge.replace('"to-client"', '"to-edge"').replace("log_level = debug\n", "")
        plants.gateway_config = plants.gateway_text('clients = { "10.20.0.2" }') + edge
        net.exec("edge", "nft", "flush", "ruleset")
        plants.rules("gateway", plants.gateway_config)
        plants.gateway = plants.start_gateway("both")
        plants.everybody_answers()
        requests = len([line for line in plants.seen() if "event=request" in line])
        for name in ("gateway", "edge"):
            assert net.exec(name, lab.BUILD / "mcping", "10.30.0.10:5007", "read", "D0",
                            check=False).returncode != 0
        assert len([line for line in plants.seen() if "event=request" in line]) == requests
        assert plants.blocked("gateway", "refuse_plc") >= 2


# --- the PLC's connection slots ------------------------------------------------------------------


def plc_sockets(net):
    """The PLCs' connections, listeners left out."""
    return net.exec("plc", "ss", "-Htan", "state", "connected").stdout.splitlines()


def test_plc_sees_every_connection_end(net, pki, tmp_path):
    """Behind the gateway's rules the last acknowledgement reaches the PLC: no slot stays taken."""
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
        plants.gateway = plants.start_gateway("again")
        plants.everybody_answers()


@placements
def test_plcs_with_one_slot_are_polled_again_at_once(net, pki, tmp_path, place):
    """One connection after the other to PLCs that take one each: none is ever turned away."""
    with Plants(net, pki, tmp_path, place, connections=1,
                head="timeouts { plc_reopen = 0.05 }") as plants:
        for _ in range(5):
            plants.everybody_answers()
        assert not [line for line in plants.seen() if "event=refused" in line]
        assert plants.gateway.reasons().count("plc-busy") == 0

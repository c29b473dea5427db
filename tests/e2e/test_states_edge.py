#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Client and gateway killed in every state of an edge's session.

Killed means: closed (FIN), reset (RST), or silent for ever. Each time: the named reason, the other
side closed in time, and the next session as good as ever: the PLC has one slot, and it is free.
"""
import socket

import pytest

import lab
from session_bench import ANSWER, AT_ONCE, IN_TIME, READ, ended, verdict
from tls_peer import Peer, dial, frozen, reset, server_context


# --- edge: NEW, RESOLVING ------------------------------------------------------------------------


@pytest.mark.parametrize("how, reason", [("fin", "finished"), ("rst", "client-lost")])
def test_edge_resolving_client(bench, how, reason):
    """Gone before the edge has looked at it: the edge stands still meanwhile."""
    lines = len(bench.edge.lines("session-closed"))
    with frozen(bench.edge):
        client = dial(bench.edge_ports["raw"])
        (reset if how == "rst" else socket.socket.close)(client)
    if how == "fin":
        with bench.raw.take() as sock:
            gateway = Peer(sock, server_context(bench.gateway_credentials), True).handshake()
            gateway.receive(28)
            assert verdict(gateway) == "goodbye"
            gateway.close_notify()
    lab.wait_for(lambda: len(bench.edge.lines("session-closed")) > lines, "its end")
    assert f"reason={reason} " in bench.edge.lines("session-closed")[-1]
    bench.edge_works()


# --- edge: DIALING -------------------------------------------------------------------------------


@pytest.mark.parametrize("edge, detail, seconds", [("deaf", "no answer in time", IN_TIME),
                                                   ("dead", "Connection refused", AT_ONCE)])
def test_edge_dialing_gateway(bench, edge, detail, seconds):
    with dial(bench.edge_ports[edge]) as client:
        client.sendall(READ)
        assert ended(client, seconds) == b""
        bench.closed(bench.edge, client, "gateways-failed", detail)
    bench.edge_works()


@pytest.mark.parametrize("edge", ["deaf-raw", "dead-raw"])
def test_edge_dialing_next_gateway(bench, edge):
    with bench.carried(edge) as (client, gateway):
        client.sendall(READ)
        assert gateway.receive_frame() == READ
        reset(gateway.sock)
        assert ended(client) == b""
        bench.closed(bench.edge, client, "target-lost")


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_edge_dialing_client(bench, how):
    states = len(bench.edge.lines("to=DIALING"))
    client = dial(bench.edge_ports["deaf"])
    port = client.getsockname()[1]
    lab.wait_for(lambda: len(bench.edge.lines("to=DIALING")) > states, "DIALING")
    (reset if how == "rst" else socket.socket.close)(client)
    bench.closed(bench.edge, port, "gateways-failed", "no answer in time")
    bench.edge_works()


# --- edge: HANDSHAKING ---------------------------------------------------------------------------


@pytest.mark.parametrize("how, detail, seconds", [
    ("fin", "eof", AT_ONCE), ("rst", "onnection reset", AT_ONCE),
    ("garbage", "wrong version number", AT_ONCE), ("silence", "did not finish in time", IN_TIME)])
def test_edge_handshaking_gateway(bench, how, detail, seconds):
    with dial(bench.edge_ports["raw"]) as client:
        client.sendall(READ)
        with bench.raw.take() as gateway:
            assert gateway.recv(1) == b"\x16"
            if how == "garbage":
                gateway.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
            elif how == "fin":
                gateway.recv(65536)
                gateway.close()
            elif how == "rst":
                reset(gateway)
            assert ended(client, seconds) == b""
            bench.closed(bench.edge, client, "gateways-failed", detail)
    bench.edge_works()


def test_edge_handshaking_next_gateway(bench):
    """A gateway that takes connections and says nothing must not eat all of the time."""
    with dial(bench.edge_ports["raw-second"]) as client, bench.raw.take() as mute:
        client.sendall(READ)
        with bench.second.take() as sock:
            gateway = Peer(sock, server_context(bench.gateway_credentials), True).handshake()
            gateway.receive(28)
            assert gateway.receive_frame() == READ
            assert lab.receive_end(mute)[:1] == b"\x16"
        assert ended(client) == b""


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_edge_handshaking_client(bench, how):
    """The client goes while a mute gateway holds the handshake up."""
    client = dial(bench.edge_ports["raw"])
    port = client.getsockname()[1]
    with bench.raw.take() as gateway:
        assert gateway.recv(1) == b"\x16"
        (reset if how == "rst" else socket.socket.close)(client)
        bench.closed(bench.edge, port, "gateways-failed", "did not finish in time")
    bench.edge_works()


# --- edge: RELAYING ------------------------------------------------------------------------------


@pytest.mark.parametrize("asking", [False, True], ids=["idle", "in-request"])
@pytest.mark.parametrize("how, reason", [("fin", "finished"), ("rst", "client-lost")])
def test_edge_relaying_client(bench, how, reason, asking):
    with bench.carried() as (client, gateway):
        port = client.getsockname()[1]
        if asking:
            client.sendall(READ)
            assert gateway.receive_frame() == READ
        (reset if how == "rst" else socket.socket.close)(client)
        assert verdict(gateway) == "goodbye"
        gateway.close_notify()
        gateway.sock.close()
        bench.closed(bench.edge, port, reason)
    bench.edge_works()


@pytest.mark.forges
@pytest.mark.parametrize("asking", [False, True], ids=["idle", "in-request"])
@pytest.mark.parametrize("how, reason", [
    ("goodbye", "finished"), ("fin", "target-truncated"), ("rst", "target-lost"),
    ("garbage", "gateway-tls-failed")])
def test_edge_relaying_gateway(bench, how, reason, asking):
    with bench.carried() as (client, gateway):
        if asking:
            client.sendall(READ)
            assert gateway.receive_frame() == READ
        if how == "goodbye":
            gateway.close_notify()
            gateway.sock.shutdown(socket.SHUT_WR)
        elif how == "garbage":
            gateway.sock.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))
            # No alert leaves a socket whose kernel could not open a record.
            assert verdict(gateway) == ("cut" if lab.KERNEL else "alert: bad record mac")
        else:
            (reset if how == "rst" else socket.socket.close)(gateway.sock)
        assert ended(client) == b""
        port = client.getsockname()[1]
        client.close()
        bench.closed(bench.edge, port, reason)
    bench.edge_works()


@pytest.mark.parametrize("how, reason, seconds", [
    ("goodbye", "target-truncated", AT_ONCE), ("fin", "target-truncated", AT_ONCE),
    ("silence", "answer-incomplete", IN_TIME)])
def test_edge_relaying_gateway_inside_an_answer(bench, how, reason, seconds):
    with bench.carried() as (client, gateway):
        client.sendall(READ)
        assert gateway.receive_frame() == READ
        gateway.send(ANSWER[:12])
        if how == "goodbye":
            gateway.close_notify()
        if how != "silence":
            gateway.sock.close()
        assert ended(client, seconds) == b""
        bench.closed(bench.edge, client, reason)
    bench.edge_works()


def test_edge_sends_no_request_twice(bench):
    """The gateway dies over a write; there is another gateway, and it is not asked."""
    with dial(bench.edge_ports["raw-second"]) as client:
        with bench.raw.take() as sock:
            gateway = Peer(sock, server_context(bench.gateway_credentials), True).handshake()
            gateway.receive(28)
            client.sendall(lab.write_words(0, [1]))
            gateway.receive_frame()
            reset(sock)
            assert ended(client) == b""
            bench.closed(bench.edge, client, "target-lost")
    assert bench.second.nobody_dials() and bench.raw.nobody_dials()


# --- edge: DRAINING ------------------------------------------------------------------------------


@pytest.mark.parametrize("how, reason", [
    ("goodbye", "finished"), ("rst", "target-lost"), ("silence", "drain-timeout")])
def test_edge_draining_gateway(bench, how, reason):
    """The client has half-closed; now the gateway ..."""
    with bench.carried() as (client, gateway):
        client.shutdown(socket.SHUT_WR)
        assert verdict(gateway) == "goodbye"
        if how == "goodbye":
            gateway.close_notify()
            gateway.sock.shutdown(socket.SHUT_WR)
        elif how == "rst":
            reset(gateway.sock)
        assert ended(client, IN_TIME) == b""
        bench.closed(bench.edge, client, reason)
    bench.edge_works()


@pytest.mark.parametrize("how, reason", [
    ("fin", "finished"), ("rst", "client-lost"), ("silence", "drain-timeout")])
def test_edge_draining_client(bench, how, reason):
    """The gateway has said goodbye; now the client ..."""
    with bench.carried() as (client, gateway):
        port = client.getsockname()[1]
        gateway.close_notify()
        assert ended(client) == b""
        if how != "silence":
            (reset if how == "rst" else socket.socket.close)(client)
        assert verdict(gateway, IN_TIME) == "goodbye"
        bench.closed(bench.edge, port, reason)
    bench.edge_works()

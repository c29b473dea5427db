#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Client and PLC killed in every state of a gateway's session.

Killed means: closed (FIN), reset (RST), or silent for ever. Each time: the named reason, the other
side closed in time, and the next session as good as ever: the PLC has one slot, and it is free.
"""
import array
import contextlib
import fcntl
import socket
import ssl
import termios

import pytest

import lab
from session_bench import ANSWER, AT_ONCE, IN_TIME, READ, ended, verdict
from tls_peer import Peer, client_context, dial, proxy_header, reset


# --- gateway: HANDSHAKING ------------------------------------------------------------------------


def in_handshake(bench):
    """A client whose ClientHello is half there; in the state, by the log."""
    states = len(bench.gateway.lines("to=HANDSHAKING"))
    peer = Peer(dial(bench.gateway_ports["live"]), client_context(bench.ana))
    with contextlib.suppress(ssl.SSLWantReadError):
        peer.tls.do_handshake()
    peer.sock.sendall(peer.outgoing.read()[:50])
    lab.wait_for(lambda: len(bench.gateway.lines("to=HANDSHAKING")) > states, "HANDSHAKING")
    return peer


@pytest.mark.parametrize("how, reason, detail", [
    ("fin", "handshake-failed", "eof"), ("rst", "handshake-failed", "reset"),
    ("silence", "handshake-timeout", "did not finish in time")])
def test_gateway_handshaking_client(bench, how, reason, detail):
    client = in_handshake(bench)
    port = client.sock.getsockname()[1]
    if how == "silence":
        assert ended(client.sock, IN_TIME) == b""
    (reset if how == "rst" else socket.socket.close)(client.sock)
    bench.closed(bench.gateway, port, reason, detail)
    bench.gateway_works()


# --- gateway: RESOLVING --------------------------------------------------------------------------


def take_ticket(edge):
    """What an edge waits for before it goes on. Closed over unread, it would make a reset."""
    while True:
        with contextlib.suppress(ssl.SSLWantReadError):
            edge.tls.read(1)
        if edge.tls.session.has_ticket:
            return
        edge.arrived(edge.sock.recv(65536))


@pytest.mark.parametrize("sent", [0, 10], ids=["no-header", "half-a-header"])
@pytest.mark.parametrize("how, reason", [
    ("goodbye", "proxy-header-bad"), ("fin", "client-truncated"), ("rst", "client-lost"),
    ("silence", "proxy-header-timeout")])
def test_gateway_resolving_edge(bench, how, reason, sent):
    edge = bench.client("any", bench.edge_credentials, ["mcseal/1"])
    take_ticket(edge)
    port = edge.sock.getsockname()[1]
    if sent:
        edge.send(proxy_header(("127.0.0.1", bench.plc.port))[:sent])
    if how == "goodbye":
        edge.close_notify()
        edge.sock.shutdown(socket.SHUT_WR)
        assert verdict(edge) == "goodbye"
    elif how == "silence":
        assert verdict(edge, IN_TIME) == "goodbye"
    (reset if how == "rst" else socket.socket.close)(edge.sock)
    bench.closed(bench.gateway, port, reason)
    bench.gateway_works()


# --- gateway: DIALING ----------------------------------------------------------------------------


@pytest.mark.parametrize("plc, reason, seconds", [("deaf", "plc-timeout", IN_TIME),
                                                  ("dead", "plc-refused", AT_ONCE)])
def test_gateway_dialing_plc(bench, plc, reason, seconds):
    """Twice: the slot of a dial that failed is free again."""
    for _ in range(2):
        client = bench.client(plc)
        with contextlib.suppress(ConnectionError):
            client.send(READ)
        assert verdict(client, seconds) in ("goodbye", "cut")
        bench.closed(bench.gateway, client.sock, reason)
        client.sock.close()


@pytest.mark.parametrize("how", ["goodbye", "fin", "rst"])
def test_gateway_dialing_client(bench, how):
    """The client goes while a deaf PLC is dialled; the dial's deadline ends it all."""
    client = bench.client("deaf")
    port = client.sock.getsockname()[1]
    if how == "goodbye":
        client.close_notify()
    (reset if how == "rst" else socket.socket.close)(client.sock)
    bench.closed(bench.gateway, port, "plc-timeout")
    with bench.client("deaf").sock as sock:  # not plc-busy: the slot is free
        bench.closed(bench.gateway, sock, "plc-timeout")


def test_gateway_dialing_busy_plc(bench):
    with bench.relaying() as (client, plc):
        second = bench.client("live")
        assert verdict(second, IN_TIME) == "goodbye"
        bench.closed(bench.gateway, second.sock, "plc-busy")
        second.sock.close()
        client.send(READ)  # and the first never noticed
        assert lab.receive_frame(plc) == READ
        client.sock.close()
    bench.gateway_works()


@pytest.mark.parametrize("how", ["goodbye", "fin", "rst"])
def test_gateway_waiting_for_a_slot_client(bench, how):
    """It dies while it waits; the slot that it then gets is not lost."""
    with bench.relaying() as (first, plc):
        second = bench.client("live")
        port = second.sock.getsockname()[1]
        if how == "goodbye":
            second.close_notify()
        (reset if how == "rst" else socket.socket.close)(second.sock)
        reset(first.sock)
        assert ended(plc) == b""
    with bench.plc.take() as plc:
        assert ended(plc) == b""
    bench.closed(bench.gateway, port, {"goodbye": "finished", "fin": "client-truncated",
                                       "rst": "client-lost"}[how])
    bench.gateway_works()


# --- gateway: RELAYING ---------------------------------------------------------------------------


@pytest.mark.parametrize("asking", [False, True], ids=["idle", "in-request"])
@pytest.mark.parametrize("how, reason", [
    ("goodbye", "finished"), ("fin", "client-truncated"), ("rst", "client-lost")])
def test_gateway_relaying_client(bench, how, reason, asking):
    with bench.relaying() as (client, plc):
        port = client.sock.getsockname()[1]
        if asking:
            client.send(READ)
            assert lab.receive_frame(plc) == READ
        if how == "goodbye":
            client.close_notify()
            client.sock.shutdown(socket.SHUT_WR)
        else:
            (reset if how == "rst" else socket.socket.close)(client.sock)
        assert ended(plc) == b""
        plc.close()
        if how == "goodbye":
            assert verdict(client) == "goodbye"
        bench.closed(bench.gateway, port, reason)
    bench.gateway_works()


@pytest.mark.parametrize("asking", [False, True], ids=["idle", "in-request"])
@pytest.mark.parametrize("how, reason", [("fin", "finished"), ("rst", "target-lost")])
def test_gateway_relaying_plc(bench, how, reason, asking):
    with bench.relaying() as (client, plc):
        if asking:
            client.send(READ)
            assert lab.receive_frame(plc) == READ
        (reset if how == "rst" else socket.socket.close)(plc)
        assert verdict(client) == "goodbye"
        client.close_notify()
        port = client.sock.getsockname()[1]
        client.sock.close()
        bench.closed(bench.gateway, port, reason)
    bench.gateway_works()


@pytest.mark.parametrize("sent, end, reason, seconds", [
    (ANSWER[:12], "fin", "target-truncated", AT_ONCE),
    (ANSWER[:12], "rst", "target-lost", AT_ONCE),
    (ANSWER[:12], "silence", "answer-incomplete", IN_TIME),
    (b"no answer at all", "silence", "bad-answer", AT_ONCE)])
def test_gateway_relaying_plc_inside_an_answer(bench, sent, end, reason, seconds):
    """Nothing of it reaches the client."""
    with bench.relaying() as (client, plc):
        client.send(READ)
        assert lab.receive_frame(plc) == READ
        plc.sendall(sent)
        if end == "rst":
            # Taken in before the reset, which would throw it away.
            lab.wait_for(lambda: unread(plc) == 0, "the answer's way")
        if end != "silence":
            (reset if end == "rst" else socket.socket.close)(plc)
        assert verdict(client, seconds) == "goodbye"
        bench.closed(bench.gateway, client.sock, reason)
        if end == "silence":
            assert ended(plc) == b""
    bench.gateway_works()


def unread(sock):
    """Bytes that the other end's system has not acknowledged (SIOCOUTQ)."""
    count = array.array("i", [0])
    fcntl.ioctl(sock, termios.TIOCOUTQ, count)
    return count[0]


@pytest.mark.parametrize("how, reason", [
    ("goodbye", "client-truncated"), ("fin", "client-truncated"), ("rst", "client-lost"),
    ("silence", "request-incomplete")])
def test_gateway_relaying_client_inside_a_request(bench, how, reason):
    """Nothing of it reaches the PLC."""
    with bench.relaying() as (client, plc):
        port = client.sock.getsockname()[1]
        client.send(READ[:12])
        if how == "goodbye":
            client.close_notify()
        if how == "silence":
            assert verdict(client, IN_TIME) == "goodbye"
        else:
            (reset if how == "rst" else socket.socket.close)(client.sock)
        assert ended(plc, IN_TIME) == b""
        bench.closed(bench.gateway, port, reason)
    bench.gateway_works()


# --- gateway: DRAINING ---------------------------------------------------------------------------


@pytest.mark.parametrize("how, reason", [
    ("fin", "finished"), ("rst", "target-lost"), ("silence", "drain-timeout")])
def test_gateway_draining_plc(bench, how, reason):
    """The client has said goodbye; now the PLC ..."""
    with bench.relaying() as (client, plc):
        client.close_notify()
        client.sock.shutdown(socket.SHUT_WR)
        assert ended(plc) == b""
        if how != "silence":
            (reset if how == "rst" else socket.socket.close)(plc)
        assert verdict(client, IN_TIME) == "goodbye"
        bench.closed(bench.gateway, client.sock, reason)
    bench.gateway_works()


@pytest.mark.parametrize("how, reason", [
    ("goodbye", "finished"), ("rst", "client-lost"), ("silence", "drain-timeout")])
def test_gateway_draining_client(bench, how, reason):
    """The PLC has closed; now the client ..."""
    with bench.relaying() as (client, plc):
        port = client.sock.getsockname()[1]
        plc.shutdown(socket.SHUT_WR)
        assert verdict(client) == "goodbye"
        if how == "goodbye":
            client.close_notify()
            client.sock.shutdown(socket.SHUT_WR)
        elif how == "rst":
            reset(client.sock)
        assert ended(plc, IN_TIME) == b""
        bench.closed(bench.gateway, port, reason)
    bench.gateway_works()


def test_gateway_draining_client_in_request_without_goodbye(bench):
    """The PLC closes over an open request; a client that is then cut off is not called finished."""
    with bench.relaying() as (client, plc):
        client.send(READ)
        assert lab.receive_frame(plc) == READ
        plc.shutdown(socket.SHUT_WR)
        assert verdict(client) == "goodbye"
        port = client.sock.getsockname()[1]
        client.sock.close()
        assert ended(plc) == b""
        bench.closed(bench.gateway, port, "client-truncated")
    bench.gateway_works()


def test_gateway_sends_no_request_twice(bench):
    with bench.relaying() as (client, plc):
        client.send(lab.write_words(0, [1]))
        lab.receive_frame(plc)
        reset(plc)
        assert verdict(client) == "goodbye"
        assert bench.plc.nobody_dials()

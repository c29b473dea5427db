#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Clients and edges that are known, and ask for what they may not reach.

For each of them: the alert or the close that the other side sees, the daemon's log line, and the
PLC's log, which must be empty: where the peer is refused, the PLC does not even see a connection.
"""
import contextlib
import socket
import time

import pytest

import lab
from tls_peer import MCSEAL, READ, TLS13, Peer, client_context, dial, proxy_header, versions


@versions
@pytest.mark.parametrize("listener, who, sni, reason", [
    ("press-1", "bob", None, "plc-not-allowed"),
    ("press-2", "ana", None, "plc-not-allowed"),
    ("opaque", "ana", None, "plc-not-allowed"),
    ("any", "ana", "press-2", "plc-not-allowed"),
    ("any", "ana", "nowhere.example", "plc-unknown"),
    ("any", "ana", None, "plc-unknown"),
    ("any", "edge", None, "plc-unknown"),
])
def test_client_without_right_to_the_plc(target, version, listener, who, sni, reason):
    context = client_context(getattr(target.papers, who), version)
    sock, seen = target.attack(listener, context, server_name=sni)
    with sock:
        assert seen == "goodbye"
        line = target.refused(sock, reason)
        assert "identity=" in line


@versions
def test_client_forges_a_proxy_header(target, version):
    """A known client that is no edge: neither with the edge's ALPN nor without."""
    header = proxy_header(("127.0.0.1", target.plc_port)) + READ
    context = client_context(target.papers.ana, version, MCSEAL)
    sock, seen = target.attack("press-1", context, header)
    with sock:
        assert seen == "goodbye"
        assert "identity=ana" in target.refused(sock, "alpn-refused")
    sock, seen = target.attack("any", client_context(target.papers.ana, version), header)
    with sock:
        assert seen == "goodbye"
        target.refused(sock, "plc-unknown")


def edge_attack(target, data, version=TLS13):
    return target.attack("any", client_context(target.papers.edge, version, MCSEAL), data)


HEADER_CASES = {
    "missing": lambda there: READ,
    "version-1": lambda there: b"PROXY TCP4 10.9.8.7 127.0.0.1 4711 %d\r\n" % there[1],
    "local": lambda there: proxy_header(there, command=0x20),
    "unknown-command": lambda there: proxy_header(there, command=0x22),
    "version-3": lambda there: proxy_header(there, command=0x31),
    "udp": lambda there: proxy_header(there, kind=0x12),
    "unspecified": lambda there: proxy_header(there, kind=0x00),
    "unix": lambda there: proxy_header(there, kind=0x31),
    "too-short": lambda there: proxy_header(there, length=4),
    "too-long": lambda there: proxy_header(there, length=65535),
    "bad-signature": lambda there: b"\r\n\r\n\0\r\nQUIT\r" + proxy_header(there)[12:],
    "empty": lambda there: b"\0",
}


@pytest.mark.parametrize("case", HEADER_CASES)
def test_edge_with_a_bad_proxy_header(target, case):
    header = HEADER_CASES[case](("127.0.0.1", target.plc_port))
    sock, seen = edge_attack(target, header + READ)
    with sock:
        assert seen == "goodbye"
        target.refused(sock, "proxy-header-bad")


@versions
def test_edge_without_a_proxy_header(target, hasty, version):
    """It says nothing; it ends in good order; it is cut off."""
    for end, reason, gateway in (("wait", "proxy-header-timeout", hasty),
                                 ("close_notify", "proxy-header-bad", target),
                                 ("fin", "client-truncated", target)):
        context = client_context(gateway.papers.edge, version, MCSEAL)
        with dial(gateway.ports["any"]) as sock:
            peer = Peer(sock, context).handshake()
            peer.send(proxy_header(("127.0.0.1", gateway.plc_port))[:20])
            if end == "close_notify":
                peer.close_notify()
            elif end == "fin":
                sock.shutdown(socket.SHUT_WR)
            assert peer.verdict() == "goodbye"
            gateway.refused(sock, reason)


def test_edge_with_a_slow_proxy_header(hasty):
    """Byte by byte, each in a record of its own: the deadline is for the whole header."""
    with dial(hasty.ports["any"]) as sock:
        peer = Peer(sock, client_context(hasty.papers.edge, TLS13, MCSEAL)).handshake()
        header = proxy_header(("127.0.0.1", hasty.plc_port)) + READ
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for at in range(len(header) - 1):
                peer.send(header[at:at + 1])
                if lab.readable(sock, 0.05 * lab.PATIENCE):
                    break
        assert peer.verdict() in ("goodbye", "cut")
        # A deadline for each byte would end after all of them, 2.4 s and more.
        assert time.monotonic() - started < hasty.proxy_header + 1.2 * lab.PATIENCE
        hasty.refused(sock, "proxy-header-timeout")


@pytest.mark.parametrize("where, kind, reason", [
    ("127.0.0.3:plc", 0x11, "plc-unknown"),
    ("127.0.0.1:1", 0x11, "plc-unknown"),
    ("127.0.0.1:0", 0x11, "plc-unknown"),
    ("0.0.0.0:plc", 0x11, "plc-unknown"),
    ("::1:plc", 0x21, "plc-unknown"),
    ("127.0.0.2:plc", 0x11, "plc-not-allowed"),
    ("::ffff:127.0.0.2:plc", 0x21, "plc-not-allowed"),
    ("127.0.0.1:opaque", 0x11, "plc-not-allowed"),
])
def test_edge_names_a_plc_it_may_not_reach(target, where, kind, reason):
    host, port = where.rsplit(":", 1)
    number = {"plc": target.plc_port, "opaque": target.opaque_port}.get(port) or int(port)
    source = ("fd10::2", 4711) if kind == 0x21 else ("10.9.8.7", 4711)
    sock, seen = edge_attack(target, proxy_header((host, number), source, kind) + READ)
    with sock:
        assert seen == "goodbye"
        line = target.refused(sock, reason)
        # The audit: the edge itself, and whom and where to it claims to carry.
        assert "identity=edge-office" in line and "edge=127.0.0.1:" in line
        assert f"client={'[fd10::2]' if kind == 0x21 else '10.9.8.7'}:4711" in line

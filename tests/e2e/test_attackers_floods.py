#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Floods of connections: who is inside goes on, who is new still gets in."""
import contextlib
import re
import resource
import select
import socket

import pytest

import lab
from tls_peer import READ, Peer, client_context, client_hello, dial

# A thousand sockets here, and as many in the daemons that this starts.
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


class Flood:
    """Many connections that go no further than `first`; open until the block ends."""

    def __init__(self, port, count, first=b""):
        self.port, self.count, self.first = port, count, first
        self.sockets = []

    def __enter__(self):
        for _ in range(self.count):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", self.port))
            self.sockets.append(sock)
        for sock in self.sockets:
            waiting = select.poll()  # select() ends at descriptor 1,023
            waiting.register(sock, select.POLLOUT)
            assert waiting.poll(5000 * lab.PATIENCE), "a connection that was not taken"
            with contextlib.suppress(ConnectionError):
                sock.sendall(self.first)
        return self

    def __exit__(self, *_):
        for sock in self.sockets:
            sock.close()


def figures(text):
    """Of a poll: (wrong, lost, p99 in ms)."""
    return (int(re.search(r"(\d+) wrong", text).group(1)),
            int(re.search(r"(\d+) lost", text).group(1)),
            int(re.search(r"p99 (\d+)", text).group(1)) / 1000)


POLL = ["poll", "D0", "100", "--interval", "5ms", "--verify", "--timeout", "10s"]


def flood_case(count, limit, first, name):
    return pytest.param(count, limit, first, id=name)


@pytest.mark.parametrize("count, limit, first", [
    flood_case(1000, 512, "nothing", "silent"),
    flood_case(1000, 64, "nothing", "silent-beyond-64"),
    flood_case(1000, 512, "part", "begun"),
    flood_case(1000, 512, "hello", "half-open"),
    flood_case(150, 64, "part", "begun-beyond-64"),
])
def test_flood_of_handshakes(tmp_path, papers, count, limit, first):
    """1,000 at once: polls go on as before, new sessions still get in, all are thrown out."""
    patience = lab.PATIENCE
    head = (f"limits {{ handshakes = {limit} }}\n"
            f"timeouts {{ handshake = {1.5 * patience:.3f} dial_gateway = {8 * patience:.3f} }}")
    hello = client_hello(papers.ana)
    beginning = {"nothing": b"", "part": hello[:30], "hello": hello}[first]
    with lab.Site(tmp_path, head=head) as site:
        quiet = figures(site.mcping(*POLL, "--count", "200").stdout)[2]
        poll = lab.Process([lab.BUILD / "mcping", f"127.0.0.1:{site.edge_port}", *POLL, "--count",
                            "400"], tmp_path / "poll.log")
        lab.wait_for(lambda: len(site.plc.requests()) > 220, "the poll's start")
        with Flood(site.gateway_port, count, beginning):
            # New sessions, through the edge and directly, while all of them are there.
            assert "D0: 0" in site.mcping("read", "D0", "--timeout", "30s").stdout
            with dial(site.gateway_port) as sock:
                sock.settimeout(10 * patience)
                peer = Peer(sock, client_context(site.client_credentials)).handshake()
                peer.send(READ)
                assert lab.words_of(peer.receive_frame()) == [0]
            assert poll.popen.wait(30 * patience) == 0, poll.text()
            lab.wait_for(lambda: sum(site.gateway.reasons().count(f"handshake-{why}")
                                     for why in ("timeout", "evicted", "failed")) >= count,
                         "the end of the flood", 10 + count / limit)
        wrong, lost, p99 = figures(poll.text())
        assert wrong == lost == 0
        print(f"p99 in ms: {quiet} before, {p99} in the flood")
        # The floor is for a machine that runs other tests meanwhile.
        assert p99 <= max(10 * quiet, 100 * patience), f"{quiet} ms before, {p99} ms in the flood"
        if limit < count and first == "nothing":
            assert site.gateway.reasons().count("handshake-evicted") > 0
        assert len(site.plc.events("event=open")) == 4  # two polls, two new sessions


@pytest.mark.parametrize("engine", lab.engines())
def test_limit_of_sessions(tmp_path, engine):
    with lab.Site(tmp_path, engine=engine, head="limits { sessions = 3 }") as site:
        flood = [dial(site.gateway_port) for _ in range(3)]
        lab.wait_for(lambda: len(site.gateway.lines("to=HANDSHAKING")) == 3, "three sessions")
        with dial(site.gateway_port) as sock:
            assert lab.receive_end(sock) == b""
            port = sock.getsockname()[1]
        site.gateway.wait_text(
            rf"connection-refused reason=session-limit client=127\.0\.0\.1:{port}")
        assert site.plc.events() == []
        for sock in flood:
            sock.close()
        lab.wait_for(lambda: len(site.gateway.reasons()) == 3, "their end")
        clients = [site.connect() for _ in range(3)]
        for sock in clients:
            sock.sendall(READ)
            lab.receive_frame(sock)
        with site.connect() as sock:  # the edge has a limit of its own
            assert lab.receive_end(sock) == b""
        site.edge.wait_text("connection-refused reason=session-limit")
        for sock in clients:
            sock.close()

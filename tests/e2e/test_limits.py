#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Limits: in all, at a listener, of a source. Who is inside goes on, who floods waits behind itself,
and what runs out has a name: a log line and a metric, and all is well when it is there again.
"""
import contextlib
import os
import re
import resource
import signal
import socket
import time

import pytest

import asked
import lab
from tls_peer import READ, Peer, client_context, client_hello

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

GOOD, BAD = "127.0.0.1", "127.0.0.66"


def dial(port, source=GOOD):
    sock = socket.socket()
    sock.settimeout(5 * lab.PATIENCE)
    sock.bind((source, 0))
    sock.connect(("127.0.0.1", port))
    return sock


def poll(sock):
    sock.sendall(READ)
    assert lab.words_of(lab.receive_frame(sock)) == [0]


@contextlib.contextmanager
def flood(port, count, first=b"", source=BAD):
    """Connections that go no further; a reset of one is no news."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket())
            sock.bind((source, 0))
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
            sockets.append(sock)
        time.sleep(0.1)
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.sendall(first)
        yield sockets


def not_accepted(site, reason, path=None):
    match = re.search(rf'(?m)^mcseal_sessions_not_accepted_total{{reason="{reason}"}} (\d+)$',
                      site.metrics(path))
    return int(match.group(1)) if match else 0


def closed(sock):
    with contextlib.suppress(ConnectionError):
        assert lab.receive_end(sock) == b""
    sock.close()


# --- each limit ----------------------------------------------------------------------------------


def refused_with(site, daemon, path, sock, reason):
    port = sock.getsockname()[1]
    closed(sock)
    daemon.wait_text(rf"connection-refused reason={reason} client=127\.0\.0\.\d+:{port}")
    assert not_accepted(site, reason, path) == 1


def test_sessions_per_source(tmp_path):
    with asked.Site(tmp_path, head="limits { sessions_per_source = 3 }") as site:
        inside = [dial(site.edge_port) for _ in range(3)]
        for sock in inside:
            poll(sock)
        refused_with(site, site.edge, site.edge_control, dial(site.edge_port), "source-limit")
        # Another source has places of its own - at the edge: to the gateway all are the edge.
        other = dial(site.edge_port, BAD)
        site.gateway.wait_text(r"connection-refused reason=source-limit client=127\.0\.0\.1:")
        closed(other)
        for sock in inside:
            poll(sock)
            sock.close()
        # And when they are gone, there is room again.
        lab.wait_for(lambda: site.edge.reasons().count("finished") == 3, "their end")
        lab.wait_for(lambda: site.gateway.reasons().count("finished") == 3, "their end")
        with dial(site.edge_port) as sock:
            poll(sock)


def test_sessions_of_a_listener(tmp_path):
    with asked.Site(tmp_path, edge_options="sessions = 2") as site:
        inside = [dial(site.edge_port, source) for source in (GOOD, BAD)]
        for sock in inside:
            poll(sock)
        refused_with(site, site.edge, site.edge_control, dial(site.edge_port), "listener-limit")
        for sock in inside:
            poll(sock)
            sock.close()
        lab.wait_for(lambda: len(site.edge.reasons()) == 2, "their end")
        with dial(site.edge_port) as sock:
            poll(sock)


def test_limits_change_with_a_reload(tmp_path):
    """Who is inside stays, even beyond the new limit."""
    with asked.Site(tmp_path, edge_options="sessions = 2") as site:
        inside = [dial(site.edge_port) for _ in range(2)]
        for sock in inside:
            poll(sock)
        site.edge.config.write_text(site.edge_config.replace("sessions = 2", "sessions = 1"))
        assert asked.mcseal("--socket", site.edge_control, "reload").returncode == 0
        for sock in inside:
            poll(sock)
        refused_with(site, site.edge, site.edge_control, dial(site.edge_port), "listener-limit")
        for sock in inside:
            sock.close()


@pytest.mark.parametrize("first", ["nothing", "hello"])
def test_flood_of_one_source_delays_nobody_else(tmp_path, papers, first):
    """Half-open handshakes that last: no place becomes free for three seconds, but of others."""
    head = (f"limits {{ handshakes = 32 handshakes_per_source = 200 }}\n"
            f"timeouts {{ handshake = {6 * lab.PATIENCE} dial_gateway = {1.5 * lab.PATIENCE} }}")
    beginning = client_hello(papers.ana) if first == "hello" else b""
    with asked.Site(tmp_path, head=head) as site, \
            dial(site.edge_port) as before:
        poll(before)
        with flood(site.gateway_port, 300, beginning):
            lab.wait_for(lambda: not_accepted(site, "source-handshakes") >= 50, "refusals")
            start = time.monotonic()
            for _ in range(5):
                with dial(site.edge_port) as sock:
                    poll(sock)
            with dial(site.gateway_port) as sock:
                peer = Peer(sock, client_context(site.client_credentials)).handshake()
                peer.send(READ)
                assert lab.words_of(peer.receive_frame()) == [0]
            assert time.monotonic() - start < 3 * lab.PATIENCE
            poll(before)
        # A flood does not fill the log, but is told.
        lines = site.gateway.lines("connection-refused reason=source-handshakes")
        assert 1 <= len(lines) <= 40, len(lines)


def test_refusals_are_counted_in_the_log(tmp_path):
    with asked.Site(tmp_path, head="limits { sessions_per_source = 1 }") as site, \
            dial(site.edge_port) as inside:
        poll(inside)
        with flood(site.edge_port, 100, source=GOOD):
            lab.wait_for(lambda: not_accepted(site, "source-limit", site.edge_control) == 100,
                         "a hundred refusals")
        time.sleep(1.1)
        closed(dial(site.edge_port))
        line = site.edge.wait_text(r"connection-refused .*untold=(\d+)")
        lines = len(site.edge.lines("connection-refused"))
        assert lines + int(line.group(1)) == 101 and lines <= 31
        poll(inside)


# --- what runs out -------------------------------------------------------------------------------


def limit_descriptors(daemon, more):
    """It has as many as it uses now, and some."""
    used = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (used + more, hard))
    return soft, hard


@pytest.mark.parametrize("engine", lab.engines())
@pytest.mark.parametrize("end", ["edge", "gateway"])
def test_descriptors_run_out(tmp_path, engine, end):
    with asked.Site(tmp_path, engine=engine) as site:
        daemon = getattr(site, end)
        path = site.edge_control if end == "edge" else site.control
        with dial(site.edge_port) as inside:
            poll(inside)
            site.metrics(path)
            before = limit_descriptors(daemon, 7)
            with flood(site.edge_port, 12, source=GOOD):
                daemon.wait_text("accept-paused|Too many open files")
                for _ in range(3):
                    poll(inside)
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, before)
            poll(inside)
        with dial(site.edge_port) as sock:
            lab.wait_for(lambda: sock.fileno() >= 0, "a socket")
            poll(sock)
        text = site.metrics(path)
        pauses = int(re.search(r"(?m)^mcseal_accept_pauses_total (\d+)$", text).group(1))
        named = daemon.lines(r"session-closed reason=\S+ detail=.*Too many open files")
        assert pauses > 0 or named, text


def resident(daemon):
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) * 1024


def test_memory_is_bounded(tmp_path):
    """As docs/mcseald.conf.md has it: sessions with the longest frame begun, and nothing behind."""
    count, frame = 100, 8200
    site = asked.Site(tmp_path, connections=count,
                      head=f"timeouts {{ frame_rest = {60 * lab.PATIENCE} }}")
    begun = bytes.fromhex("500000ffff0300") + (frame - 9).to_bytes(2, "little") + bytes(7000)
    with site, contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(dial(site.edge_port)) for _ in range(count)]
        for sock in sockets:
            poll(sock)
        time.sleep(0.5)
        before = resident(site.edge)
        for sock in sockets:
            sock.sendall(begun)
        time.sleep(1)
        grown = resident(site.edge) - before
        assert grown <= count * 4 * 2 * frame + (1 << 20), grown / count
        # They are not held up by that: the ends of the others' frames are their own affair.
        with dial(site.edge_port) as sock:
            sock.close()


@pytest.mark.skipif("asan" in str(lab.BUILD) or "tsan" in str(lab.BUILD),
                    reason="sanitizers reserve more addresses than any limit")
def test_memory_runs_out(tmp_path):
    """No address space is left: sessions are refused by name, and nobody inside notices."""
    with asked.Site(tmp_path, connections=64) as site, dial(site.edge_port) as inside:
        poll(inside)
        with open(f"/proc/{site.edge.pid}/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        soft, hard = resource.prlimit(site.edge.pid, resource.RLIMIT_AS)
        resource.prlimit(site.edge.pid, resource.RLIMIT_AS, (used, hard))
        with contextlib.ExitStack() as stack:
            for _ in range(400):
                stack.enter_context(dial(site.edge_port))
            poll(inside)
            named = site.edge.lines(r"no-memory|Cannot allocate memory")
            assert named, site.edge.text()[-3000:]
        resource.prlimit(site.edge.pid, resource.RLIMIT_AS, (soft, hard))
        poll(inside)
        lab.wait_for(lambda: again(site.edge_port), "a session after that", 10)


def again(port):
    with dial(port) as sock, contextlib.suppress(OSError, AssertionError, lab.LabError):
        poll(sock)
        return True
    return False


def test_stop_in_the_flood(tmp_path):
    """A flooded daemon ends in good order."""
    with asked.Site(tmp_path, head="limits { handshakes = 8 }") as site, \
            flood(site.gateway_port, 300, b"\x16"):
        lab.wait_for(lambda: site.gateway.lines("to=HANDSHAKING"), "the flood")
        lab.assert_clean(site.gateway, site.gateway.stop(signal.SIGTERM))

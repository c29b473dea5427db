#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The daemons themselves ended, with sessions in every state."""
import contextlib
import signal
import socket
import ssl
import threading
import time

import pytest

import lab
from session_bench import TIMEOUTS, Bench, P
from tls_peer import Peer, client_context, dial, server_context


class Everywhere:
    """Sessions of a fresh bench in every state at once, with nothing about to run out of time."""

    def __init__(self, bench):
        self.peers = []
        handshaking = Peer(dial(bench.gateway_ports["live"]), client_context(bench.ana))
        silent = dial(bench.gateway_ports["live"])
        with contextlib.suppress(ssl.SSLWantReadError):
            handshaking.tls.do_handshake()
        handshaking.sock.sendall(handshaking.outgoing.read()[:50])
        resolving = bench.client("any", bench.edge_credentials, ["mcseal/1"])
        relaying = bench.client("live")
        plc = bench.plc.take()
        waiting = bench.client("live")
        dialing = bench.client("deaf")
        edge_dialing = dial(bench.edge_ports["deaf"])
        edge_shaking = dial(bench.edge_ports["raw"])
        mute = bench.raw.take()
        edge_relaying = dial(bench.edge_ports["raw"])
        gateway = Peer(bench.raw.take(), server_context(bench.gateway_credentials),
                       True).handshake()
        gateway.receive(28)
        edge_draining = dial(bench.edge_ports["raw"])
        silent_gateway = Peer(bench.raw.take(), server_context(bench.gateway_credentials),
                              True).handshake()
        silent_gateway.receive(28)
        edge_draining.shutdown(socket.SHUT_WR)
        assert silent_gateway.verdict() == "goodbye"
        self.gateway_peers = [handshaking, resolving, relaying, waiting, dialing]
        self.sockets = [peer.sock for peer in self.gateway_peers] + [silent]
        self.edge_sockets = [edge_dialing, edge_shaking, edge_relaying, edge_draining]
        self.others = [plc, mute, gateway.sock, silent_gateway.sock]

    def close(self):
        for sock in self.sockets + self.edge_sockets + self.others:
            sock.close()


PATIENT = dict.fromkeys(TIMEOUTS, 60)


@pytest.mark.parametrize("engine", lab.engines())
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_daemon_ends_with_sessions_in_every_state(tmp_path, engine, number):
    """By SIGTERM soon, cleanly and with a word to everybody; by SIGKILL the system closes."""
    bench = Bench(tmp_path, engine, PATIENT)
    sessions = Everywhere(bench)
    started = time.monotonic()
    for daemon in (bench.gateway, bench.edge):
        status = daemon.stop(number)
        if number == signal.SIGTERM:
            lab.assert_clean(daemon, status)
    assert time.monotonic() - started < 3 * P
    if number == signal.SIGTERM:
        assert bench.gateway.reasons() == ["shutdown"] * 6
        assert bench.edge.reasons() == ["shutdown"] * 4
    for sock in sessions.sockets + sessions.edge_sockets + sessions.others:
        lab.receive_end(sock)
    sessions.close()
    bench.close()


def test_start_and_stop_under_fire(tmp_path):
    """SIGTERM at any moment of many handshakes: the daemon ends, each time."""
    bench = Bench(tmp_path, "auto")
    lab.assert_clean(bench.edge, bench.edge.stop())
    config = bench.gateway.config.read_text()
    stop = threading.Event()

    def knock():
        while not stop.is_set():
            try:
                address = ("127.0.0.1", bench.gateway_ports["dead"])
                with socket.create_connection(address, 5) as sock:
                    Peer(sock, client_context(bench.ana)).handshake().verdict()
            except ConnectionRefusedError:
                stop.wait(0.01)
            except (OSError, ssl.SSLError):
                pass

    knockers = [threading.Thread(target=knock) for _ in range(4)]
    for thread in knockers:
        thread.start()
    try:
        for _ in range(8):
            lab.wait_for(lambda: "plc-refused" in bench.gateway.reasons(), "work")
            lab.assert_clean(bench.gateway, bench.gateway.stop(seconds=5))
            bench.gateway.log_path.unlink()
            bench.gateway = lab.Daemon(tmp_path, config, name="gateway")
    finally:
        stop.set()
        for thread in knockers:
            thread.join()
    lab.assert_clean(bench.gateway, bench.gateway.stop())
    bench.close()


def test_started_again_right_after_a_kill(tmp_path):
    """The kernel closes a killed daemon's io_uring listeners a moment later than its other files."""
    with lab.Site(tmp_path) as site:
        for number in range(8):
            site.gateway.kill()
            site.gateway = lab.Daemon(tmp_path, site.gateway_config.replace(
                "GATEWAY_PORT", str(site.gateway_port)), name=f"gateway-{number}")
        assert "D0: 0" in site.mcping("read", "D0").stdout

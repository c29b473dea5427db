#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The relay, end to end on loopback: whole frames, back-pressure, half-close, many sessions."""
import random
import signal
import socket
import threading
import time

import pytest

import lab


@pytest.fixture(params=lab.contract_engines())
def site(request, tmp_path):
    with lab.Site(tmp_path, engine=request.param) as made:
        yield made


def test_read_and_write(site):
    site.mcping("write", "D100", "4660", "2")
    assert "4660 2" in site.mcping("read", "D100", "2").stdout


def test_engine_is_named(site):
    line = site.gateway.lines(r"\bengine loop=")[0]
    assert ("loop=epoll" in line) == ("engine = epoll" in site.gateway_config) and "why=" in line


def test_one_recv_client_with_splitting_plc(tmp_path):
    """A naive client takes one recv for one answer; the PLC sends each in eleven pieces."""
    with lab.Site(tmp_path, plc_options=["--split", "180", "--set", "D0=1,2,3"]) as site:
        count = 200 if lab.KERNEL else 1000
        result = site.mcping("poll", "D0", "960", "--count", count, "--interval", "0",
                             "--one-recv", "--verify", "--timeout", "10s")
        assert f"{count} answers" in result.stdout and " 0 wrong" in result.stdout, result.stdout
        # The same PLC without mcseal shows that the test can tell.
        plain = site.mcping("poll", "D0", "960", "--count", "20", "--interval", "0", "--one-recv",
                            port=site.plc.port, check=False)
        assert plain.returncode != 0, plain.stdout


def test_byte_exact_under_tiny_pieces_and_slow_reader(site):
    """Requests cut at random places, answers read slowly through a tiny receive buffer."""
    chance = random.Random(7)
    values = [chance.randrange(65536) for _ in range(960)]
    with site.connect(receive_buffer=2304) as sock:
        for _ in range(20):
            frame = lab.write_words(0, values)
            while frame:
                size = chance.randrange(1, 500)
                sock.sendall(frame[:size])
                frame = frame[size:]
            assert lab.receive_frame(sock) == lab.answer_3e(b"")
            sock.sendall(lab.read_words(0, 960))
            answer = b""
            while len(answer) < 11 + 1920:
                piece = sock.recv(chance.randrange(1, 200))
                assert piece
                answer += piece
                if chance.random() < 0.05:
                    time.sleep(0.005)
            assert lab.words_of(answer) == values
            values = values[1:] + values[:1]


def test_pipelined_requests_are_all_answered_in_order(site):
    """More requests at once than the relay holds: it must push back, lose and reorder nothing."""
    count = 1500
    with site.connect(receive_buffer=4096) as sock:
        sender = threading.Thread(target=lambda: [
            sock.sendall(lab.write_words(n % 900, [n & 0xffff]) + lab.read_words(n % 900, 1))
            for n in range(count)])
        sender.start()
        for n in range(count):
            assert lab.receive_frame(sock, 20) == lab.answer_3e(b"")
            assert lab.words_of(lab.receive_frame(sock, 20)) == [n & 0xffff]
        sender.join()


def test_client_half_close(site):
    """FIN after the request: the answer still comes, then the end."""
    with site.connect() as sock:
        sock.sendall(lab.read_words(0, 10))
        sock.shutdown(socket.SHUT_WR)
        assert len(lab.receive_end(sock)) == 11 + 20
    site.gateway.closed("finished")
    site.edge.closed("finished")


def test_plc_close_reaches_the_client(tmp_path):
    """A PLC that closes after its answer: the client gets the answer and the end, not a hang."""
    listener = socket.create_server(("127.0.0.1", 0))
    plc = type("FakePlc", (), {"host": "127.0.0.1", "port": listener.getsockname()[1]})
    seen = []

    def serve():
        connection, _ = listener.accept()
        seen.append(lab.receive_frame(connection))
        connection.sendall(lab.answer_3e(b"\x34\x12"))
        connection.shutdown(socket.SHUT_WR)
        seen.append(connection.recv(100))  # the client's end, forwarded
        connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    site = lab.Site(tmp_path, plc=plc)
    with lab.stopping(site.edge, site.gateway):
        with site.connect() as sock:
            sock.sendall(lab.read_words(100, 1))
            assert lab.words_of(lab.receive_frame(sock)) == [0x1234]
            assert sock.recv(1) == b""
        thread.join(10)
        assert seen == [lab.read_words(100, 1), b""]
        site.gateway.closed("finished")
    listener.close()


def test_frame_cut_by_the_end_is_not_forwarded(site):
    with site.connect() as sock:
        sock.sendall(lab.read_words(0, 10)[:12])
        sock.shutdown(socket.SHUT_WR)
        assert lab.receive_end(sock) == b""
    site.edge.closed("client-truncated")
    assert site.plc.requests() == []


def test_rest_of_a_request_must_follow(site):
    with site.connect() as sock:
        sock.sendall(lab.read_words(0, 10)[:12])
        started = time.monotonic()
        assert lab.receive_end(sock) == b""
        assert 0.8 < time.monotonic() - started < 3 * lab.PATIENCE
    site.edge.closed("request-incomplete")
    assert site.plc.requests() == []


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.0\r\n\r\n", b"\x57" * 40, b"\xff" * 40,
                                     bytes.fromhex("500000ffff03000100") + b"\0" * 20])
def test_garbage_is_not_forwarded(site, garbage):
    with site.connect() as sock:
        sock.sendall(garbage)
        assert lab.receive_end(sock) == b""
    site.edge.closed("bad-request")
    assert site.plc.requests() == []


def test_opaque_carries_any_bytes(tmp_path):
    listener = socket.create_server(("127.0.0.1", 0))
    plc = type("FakePlc", (), {"host": "127.0.0.1", "port": listener.getsockname()[1]})

    def echo():
        connection, _ = listener.accept()
        while True:
            piece = connection.recv(65536)
            if not piece:
                break
            connection.sendall(piece)
        connection.close()

    thread = threading.Thread(target=echo)
    thread.start()
    site = lab.Site(tmp_path, plc=plc, protocol="opaque")
    payload = random.Random(3).randbytes(3_000_000)
    with lab.stopping(site.edge, site.gateway):
        with site.connect() as sock:
            sender = threading.Thread(target=lambda: (sock.sendall(payload),
                                                      sock.shutdown(socket.SHUT_WR)))
            sender.start()
            assert lab.receive_end(sock, 30) == payload
            sender.join()
        thread.join(10)
    listener.close()


def test_many_sessions_at_once(tmp_path):
    # An emulated machine shakes hands ten times a second.
    count = 40 if lab.KERNEL else 500
    head = "timeouts { dial_gateway = 60 handshake = 60 proxy_header = 60 dial_plc = 60 }"
    with lab.Site(tmp_path, connections=600, plc_options=["--set", "D7=77"],
                  head=head if lab.KERNEL else "") as site:
        sockets = [site.connect() for _ in range(count)]
        for _ in range(3):
            for sock in sockets:
                sock.sendall(lab.read_words(7, 1))
            for sock in sockets:
                assert lab.words_of(lab.receive_frame(sock, 30)) == [77]
        for sock in sockets:
            sock.close()
        lab.wait_for(lambda: site.gateway.reasons().count("finished") == count, "all ends", 20)


def test_one_slot_plc_polled_anew(tmp_path):
    """A poller that dials for every read, towards a PLC port with one slot that must rest."""
    with lab.Site(tmp_path, connections=1, plc_options=["--connections", "1"]) as site:
        for _ in range(4):
            assert "D0: 0" in site.mcping("read", "D0").stdout
        assert site.gateway.reasons().count("finished") >= 3


def test_second_client_does_not_kill_the_first(tmp_path):
    with lab.Site(tmp_path, connections=1, plc_options=["--connections", "1"]) as site:
        with site.connect() as first:
            first.sendall(lab.read_words(0, 1))
            lab.receive_frame(first)
            with site.connect() as second:
                second.sendall(lab.read_words(0, 1))
                assert lab.receive_end(second) == b""
            site.gateway.closed("plc-busy")
            first.sendall(lab.read_words(0, 1))
            lab.receive_frame(first)


def test_plc_restart(tmp_path):
    with lab.Site(tmp_path) as site:
        with site.connect() as sock:
            sock.sendall(lab.read_words(0, 1))
            lab.receive_frame(sock)
            lab.assert_clean(site.plc, site.plc.stop())
            assert lab.receive_end(sock) == b""
        assert site.mcping("read", "D0", check=False).returncode == 3
        site.gateway.closed("plc-refused")
        site.plc = lab.Plc(tmp_path, listen=f"127.0.0.1:{site.plc.port}", name="plc-again")
        lab.wait_for(lambda: site.mcping("read", "D0", check=False).returncode == 0, "a read", 5)


def test_fail_over_of_gateways(tmp_path):
    """The first gateway of the list is not there; later it is, and is taken again."""
    with lab.Site(tmp_path, gateways=2) as site:
        site.gateway.stop()
        second = lab.Daemon(tmp_path, site.gateway_config.replace(
            "GATEWAY_PORT", str(site.gateway_ports[1])), name="gateway-2")
        with lab.stopping(second):
            assert "D0: 0" in site.mcping("read", "D0").stdout
            assert site.edge.lines("gateway-failed")
            site.gateway = lab.Daemon(tmp_path, site.gateway_config.replace(
                "GATEWAY_PORT", str(site.gateway_ports[0])), name="gateway-again")
            assert "D0: 0" in site.mcping("read", "D0").stdout
            assert site.gateway.lines("session-open")


def test_no_gateway_at_all(tmp_path):
    with lab.Site(tmp_path) as site:
        lab.assert_clean(site.gateway, site.gateway.stop())
        with site.connect() as sock:
            assert lab.receive_end(sock) == b""
        assert "Connection refused" in site.edge.closed("gateways-failed")
        site.gateway = lab.Daemon(tmp_path, site.gateway_config.replace(
            "GATEWAY_PORT", str(site.gateway_port)), name="gateway-again")


def test_stop_with_open_sessions(tmp_path):
    """SIGTERM while sessions are open: they end with a reason, nothing leaks (sanitizers)."""
    with lab.Site(tmp_path, connections=32) as site:
        sockets = [site.connect() for _ in range(20)]
        for sock in sockets:
            sock.sendall(lab.read_words(0, 1))
            lab.receive_frame(sock)
        lab.assert_clean(site.edge, site.edge.stop())
        for sock in sockets:
            assert lab.receive_end(sock) == b""
        assert site.edge.reasons().count("shutdown") == 20
        lab.wait_for(lambda: site.gateway.reasons().count("finished") == 20, "goodbyes")


def test_second_daemon_on_the_same_port_does_not_start(tmp_path):
    """SO_REUSEPORT would let it, and take half of the first one's connections."""
    with lab.Site(tmp_path) as site:
        second = lab.Daemon(tmp_path, site.edge_config, name="second", ready=False)
        assert second.popen.wait(10 * lab.PATIENCE) == 1
        assert "listen-failed" in second.text() and "Address already in use" in second.text()
        for _ in range(8):
            assert "D0: 0" in site.mcping("read", "D0").stdout


def test_hang_up_does_not_end_it(tmp_path):
    with lab.Site(tmp_path) as site:
        site.gateway.popen.send_signal(signal.SIGHUP)
        assert "D0: 0" in site.mcping("read", "D0").stdout

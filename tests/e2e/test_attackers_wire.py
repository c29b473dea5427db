#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Somebody on the wire between edge and gateway, or between a TLS client and the gateway."""
import contextlib
import re
import socket
import threading

import pytest

import lab
from tls_peer import READ, TLS12, TLS13, Peer, client_context, closed, dial, keep


class Middle:
    """Somebody on the wire: passes TLS records on, but for what it was told to do to the next one.

    Directions are "up" (to the gateway) and "down".
    """

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.target = None
        self.deeds = {"up": None, "down": None}
        self.done = threading.Event()
        self.passed = {"up": 0, "down": 0}
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                for sock in (near, far):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for direction, source, sink in (("up", near, far), ("down", far, near)):
                    threading.Thread(target=self.carry, args=(direction, source, sink),
                                     daemon=True).start()

    def carry(self, direction, source, sink):
        waiting = b""
        with contextlib.suppress(OSError):
            while True:
                piece = source.recv(65536)
                if not piece:
                    break
                waiting += piece
                while len(waiting) >= 5 and len(waiting) >= 5 + int.from_bytes(waiting[3:5], "big"):
                    size = 5 + int.from_bytes(waiting[3:5], "big")
                    record, waiting = waiting[:size], waiting[size:]
                    self.carry_record(direction, record, source, sink)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def carry_record(self, direction, record, source, sink):
        deed = self.deeds[direction]
        if deed:
            self.deeds[direction] = None
            record = deed(record, source, sink)
            self.done.set()
        self.passed[direction] += 1
        if record:
            sink.sendall(record)

    def arm(self, direction, deed):
        self.done.clear()
        self.deeds[direction] = deed

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def flip(at):
    def deed(record, source, sink):
        changed = bytearray(record)
        changed[at if at >= 0 else len(record) + at] ^= 0x80
        return bytes(changed)
    return deed


def drop(record, source, sink):
    return b""


def replay(record, source, sink):
    return record + record


def truncate(record, source, sink):
    """The end of the stream instead of the record, as if its sender had finished."""
    sink.shutdown(socket.SHUT_WR)
    return b""


def cut_inside(record, source, sink):
    sink.sendall(record[:len(record) // 2])
    sink.shutdown(socket.SHUT_WR)
    return b""


def inject(record, source, sink):
    """A plain alert: close_notify by somebody without keys."""
    return b"\x15\x03\x03\x00\x02\x01\x00" + record


class MiddleSite(lab.Site):
    """A site whose edge reaches its gateway through somebody else."""

    def __init__(self, folder, middle, **options):
        self.middle = middle
        super().__init__(folder, **options)
        middle.target = self.gateway_port

    def connect(self, port=None, receive_buffer=None):
        return dial(port or self.edge_port)

    def edge_text(self, options, protocol):
        return super().edge_text(options, protocol).replace(
            f'gateways = {{ "127.0.0.1:{self.gateway_port}" }}',
            f'gateways = {{ "127.0.0.1:{self.middle.port}" }}')


@pytest.fixture(scope="module", params=lab.engines())
def tapped(request, tmp_path_factory):
    """One site for all of these; a client's port tells its session in both daemons' logs."""
    with Middle() as middle, MiddleSite(
            tmp_path_factory.mktemp("tapped"), middle, engine=request.param,
            plc_options=["--set", "D0=4660"]) as site:
        keep(*site.processes())
        yield site


@contextlib.contextmanager
def polling(site):
    """A client in the middle of its work; the number of requests that the PLC has seen of it."""
    with site.connect() as sock:
        sock.sendall(READ)
        assert lab.words_of(lab.receive_frame(sock)) == [0x1234]
        yield sock, len(site.plc.requests())


ALTERED_WRITE = lab.write_words(0, [0xbeef])
FLIPS = {"type": 0, "version": 1, "length": 3, "first-byte": 5, "middle": 20, "tag": -1}
# In a kernel of the lab it is the kernel that opens them. It takes TLS 1.3's outer type for what it
# has to be (net/tls/tls.h, tls_make_aad): what comes out is the sender's, whatever stood there.
if lab.KERNEL:
    FLIPS_13 = {name: at for name, at in FLIPS.items() if name != "type"}
else:
    FLIPS_13 = FLIPS
FAILED_CLIENT = "reason=client-tls-failed .*identity=ana"
BROKEN_RECORD = ("bad record mac|decryption failed|wrong version|bad record type|length too long|"
                 "altered, forged or out of order|too long|no record")


def told(daemon, sock, side):
    """The other end learns it by an alert; a kernel that found a forged record lets none out."""
    if lab.KERNEL:
        lost = {"client": "client-truncated|client-lost", "gateway": "target-truncated|target-lost"}
        closed(daemon, sock, f"{side}-tls-failed|{lost[side]}")
    else:
        closed(daemon, sock, f"{side}-tls-failed", "peer sent alert")


@pytest.mark.forges
@pytest.mark.parametrize("at", FLIPS_13)
def test_flipped_byte_of_a_request(tapped, at):
    with polling(tapped) as (sock, before):
        tapped.middle.arm("up", flip(FLIPS[at]))
        sock.sendall(ALTERED_WRITE)
        assert lab.receive_end(sock) == b""
        closed(tapped.gateway, sock, "client-tls-failed", BROKEN_RECORD)
        told(tapped.edge, sock, "gateway")
    assert len(tapped.plc.requests()) == before
    assert "D0: 4660" in tapped.mcping("read", "D0").stdout  # and the next session is well


@pytest.mark.forges
@pytest.mark.parametrize("at", FLIPS_13)
def test_flipped_byte_of_an_answer(tapped, at):
    with polling(tapped) as (sock, _):
        tapped.middle.arm("down", flip(FLIPS[at]))
        sock.sendall(READ)
        assert lab.receive_end(sock) == b""
        closed(tapped.edge, sock, "gateway-tls-failed", BROKEN_RECORD)
        told(tapped.gateway, sock, "client")


@pytest.mark.skipif(not lab.KERNEL, reason="in user space it is a broken record like any other")
@pytest.mark.parametrize("direction", ["up", "down"])
def test_flipped_type_means_nothing(tapped, direction):
    with polling(tapped) as (sock, before):
        tapped.middle.arm(direction, flip(FLIPS["type"]))
        sock.sendall(READ)
        assert lab.words_of(lab.receive_frame(sock)) == [0x1234]
    assert len(tapped.plc.requests()) == before + 1


@pytest.mark.forges
@pytest.mark.parametrize("deed", [drop, replay, inject])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_record_dropped_replayed_or_put_in(tapped, direction, deed):
    """Every record is numbered: the first one out of turn ends the session."""
    with polling(tapped) as (sock, before):
        tapped.middle.arm(direction, deed)
        sock.sendall(lab.write_words(7, [1]))
        assert tapped.middle.done.wait(5 * lab.PATIENCE)
        if deed is drop:
            assert not lab.readable(sock, 0.1)  # withheld: nothing can tell that from slowness
            sock.sendall(lab.write_words(7, [1]))
        received = lab.receive_end(sock)
        up, down = ("client", tapped.gateway), ("gateway", tapped.edge)
        victim, other = (up, down) if direction == "up" else (down, up)
        closed(victim[1], sock, f"{victim[0]}-tls-failed", BROKEN_RECORD)
        told(other[1], sock, other[0])
    # The true answer, once, or nothing.
    assert received in ([b"", lab.answer_3e(b"")] if deed is replay else [b""])
    asked = len(tapped.plc.requests()) - before
    if direction == "up":
        assert asked <= (1 if deed is replay else 0)  # the true write, and never twice
    else:
        assert asked == (2 if deed is drop else 1)


@pytest.mark.parametrize("deed", [truncate, cut_inside])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_stream_cut_off(tapped, direction, deed):
    """FIN without close_notify is an attack, not an end."""
    with polling(tapped) as (sock, before):
        tapped.middle.arm(direction, deed)
        sock.sendall(lab.write_words(7, [1]))
        assert lab.receive_end(sock) == b""
        if direction == "up":
            closed(tapped.gateway, sock, "client-truncated", "without close_notify")
        else:
            closed(tapped.edge, sock, "target-truncated", "without close_notify")
    assert len(tapped.plc.requests()) - before == (0 if direction == "up" else 1)


@pytest.mark.forges
@pytest.mark.parametrize("version, at", [(TLS13, at) for at in FLIPS_13] +
                         [(TLS12, at) for at in FLIPS])
def test_flipped_byte_of_a_tls_client(tapped, version, at):
    """The same for a client with TLS of its own; both versions at the gateway."""
    with Middle() as middle:
        middle.target = tapped.gateway_port
        with dial(middle.port) as sock:
            peer = Peer(sock, client_context(tapped.client_credentials, version)).handshake()
            peer.send(READ)
            assert lab.words_of(peer.receive_frame()) == [0x1234]
            before = len(tapped.plc.requests())
            failures = tapped.gateway.lines(FAILED_CLIENT)
            middle.arm("up", flip(FLIPS[at]))
            peer.send(ALTERED_WRITE)
            seen = peer.verdict()
    assert re.match("alert: (bad record mac|protocol version|unexpected message|record overflow)",
                    seen) or (lab.KERNEL and seen == "cut"), seen
    # Its port is the middle's, so the session is told by being the next one.
    failed = lab.wait_for(lambda: tapped.gateway.lines(FAILED_CLIENT)[len(failures):], "its end")
    assert len(failed) == 1 and re.search(BROKEN_RECORD, failed[0]), failed
    assert len(tapped.plc.requests()) == before

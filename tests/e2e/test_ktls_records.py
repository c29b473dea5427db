#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Records between the data, from a crafted client of a gateway and from a crafted gateway of an
edge: what must not disturb a session, and what must end it. In every engine; where the keys are in
the kernel, the kernel and the daemon share this work.
"""
import socket
import time

import pytest

import lab
from crafted import (CLOSE_NOTIFY, INTERNAL_ERROR, TICKET, USER_CANCELED, cpu_seconds,
                     crafted_bench, link, roles)
from session_bench import ended
from tls_peer import versions
from tls_records import ALERT, HANDSHAKE

# Of waiting: what a thread that looks now and then would never keep to.
CPU_PER_SECOND = 0.005 * lab.PATIENCE


@pytest.fixture(scope="module", params=lab.engines())
def bench(request, tmp_path_factory):
    yield from crafted_bench(tmp_path_factory.mktemp("crafted"), request.param)


# --- what must not disturb --------------------------------------------------------------------


@roles
@versions
def test_frames_and_records_need_not_agree(bench, tmp_path, role, version):
    """Many records for a frame, many frames in a record, and pieces that overlap."""
    with link(bench, role, tmp_path, version) as it:
        it.begin()
        it.send(*[it.seal(it.small[at:at + 1]) for at in range(len(it.small))])
        it.arrives(it.small)
        it.finish()
        for _ in range(3):
            it.begin()
        joined = it.small + it.big + it.small
        it.send(it.seal(joined[:50]), it.seal(joined[50:-5]), it.seal(joined[-5:]))
        for frame in (it.small, it.big, it.small):
            it.arrives(frame)
            it.finish()
        for _ in range(5):
            it.begin()
        it.send(it.seal(it.small * 5))
        for _ in range(5):
            it.arrives(it.small)
            it.finish()
        it.goodbye()


@roles
@versions
def test_empty_records(bench, tmp_path, role, version):
    """RFC 8446 5.1, RFC 5246 6.2.1: data records may be empty. Before, between and in frames."""
    with link(bench, role, tmp_path, version) as it:
        empty = [it.seal(b"") for _ in range(3)]
        it.begin()
        it.send(*empty, it.seal(it.small))
        it.arrives(it.small)
        it.finish()
        it.begin()
        it.send(*it.pieces(*[lambda: it.seal(b"")] * 4), it.seal(b""))
        it.arrives(it.big)
        it.finish()
        it.round()
        it.goodbye()


def test_part_of_a_record_costs_nothing(bench, tmp_path):
    """Peers that send a part and wait. Both roles at a time: two daemons, one second a stage."""
    with link(bench, "gateway", tmp_path) as one, link(bench, "edge", tmp_path) as other:
        links = (one, other)
        records = []
        for it in links:
            it.begin()
            records.append(it.pieces(lambda: it.seal(b"")))  # pylint: disable=cell-var-from-loop
        sent, stages = [b"".join(record) for record in records], []
        first = len(records[0][0]), len(records[1][0])
        # Of a header, of a body, of the next header, of the one behind an empty record.
        for stage in (lambda n: 3, lambda n: 20, lambda n: first[n] + 3,
                      lambda n: first[n] + len(records[n][1]) + 3):
            stages.append([stage(0), stage(1)])
        at = [0, 0]
        for ends in stages:
            for n, it in enumerate(links):
                it.send(sent[n][at[n]:ends[n]])
            at = ends
            assert_idle(bench)
        for n, it in enumerate(links):
            it.send(sent[n][at[n]:])
            it.arrives(it.big)
            it.finish()
            it.goodbye()


def assert_idle(bench):
    """Both daemons do nothing, once they have looked at what came."""
    time.sleep(0.1 * lab.PATIENCE)
    daemons = (bench.gateway, bench.edge)
    before, started = [cpu_seconds(daemon) for daemon in daemons], time.monotonic()
    time.sleep(1)
    seconds = time.monotonic() - started
    spent = [cpu_seconds(daemon) - was for daemon, was in zip(daemons, before)]
    assert max(spent) < CPU_PER_SECOND * seconds, spent


@roles
def test_records_over_seconds(bench, tmp_path, role):
    """Every byte of a record a segment of its own; then pieces with pauses."""
    with link(bench, role, tmp_path) as it:
        it.begin()
        for byte in it.seal(it.small):
            it.send(bytes([byte]))
            time.sleep(0.002)
        it.arrives(it.small)
        it.finish()
        it.begin()
        record = it.seal(it.big)
        for at in range(0, len(record), 500):
            it.send(record[at:at + 500])
            time.sleep(0.1)
        it.arrives(it.big)
        it.finish()
        it.goodbye()


@roles
def test_always_a_request_under_way(bench, tmp_path, role):
    """The next frame comes while the one before is still being moved."""
    with link(bench, role, tmp_path) as it:
        it.send(it.seal(it.small)) if role == "gateway" else it.begin()
        for _ in range(100):
            it.round()


@roles
def test_harmless_alert(bench, tmp_path, role):
    """user_canceled is the one alert that ends nothing (RFC 8446 6.1)."""
    with link(bench, role, tmp_path) as it:
        it.send(it.seal(USER_CANCELED, ALERT))
        it.round()
        it.begin()
        it.send(*it.pieces(lambda: it.seal(USER_CANCELED, ALERT)))
        it.arrives(it.big)
        it.finish()
        it.goodbye()


def test_tickets(bench, tmp_path):
    """To an edge, whenever they come: after the handshake, between and in answers."""
    with link(bench, "edge", tmp_path, tickets=2) as it:
        for _ in range(3):
            it.send(it.seal(TICKET, HANDSHAKE), it.seal(TICKET + TICKET, HANDSHAKE))
            it.round()
        it.begin()
        it.send(*it.pieces(lambda: it.seal(TICKET, HANDSHAKE)))
        it.arrives(it.big)
        it.begin()  # a message in two records, RFC 8446 5.1
        it.send(it.seal(TICKET[:9], HANDSHAKE), it.seal(TICKET[9:], HANDSHAKE), it.seal(it.small))
        it.arrives(it.small)
        it.round()
        it.goodbye()


def test_too_many_tickets(bench, tmp_path):
    with link(bench, "edge", tmp_path) as it:
        it.send(*[it.seal(TICKET, HANDSHAKE) for _ in range(60)])
        it.closes("tls", "too many tickets")


# --- what must end it -------------------------------------------------------------------------


@roles
@versions
@pytest.mark.parametrize("inside", [False, True], ids=["between", "in-a-frame"])
def test_fatal_alert(bench, tmp_path, role, version, inside):
    with link(bench, role, tmp_path, version) as it:
        it.begin()
        if inside:
            it.send(it.seal(it.big[:1000]))
        it.send(it.seal(INTERNAL_ERROR, ALERT))
        it.closes("tls", "peer sent alert: internal error")


@pytest.mark.forges
@roles
@versions
@pytest.mark.parametrize("inside", [False, True], ids=["between", "in-a-frame"])
def test_forged_record(bench, tmp_path, role, version, inside):
    """One bit: the frame does not come out, nor anything behind it."""
    before = lab.tls_statistics()["TlsDecryptError"]
    with link(bench, role, tmp_path, version) as it:
        it.begin()
        if inside:
            it.send(it.seal(it.big[:1000]))
        record = bytearray(it.seal(it.big[1000:] if inside else it.small))
        record[-20] ^= 1
        it.send(bytes(record), it.seal(it.small))
        it.closes("tls", "record altered, forged or out of order|bad record mac")
    if lab.KERNEL:
        assert lab.tls_statistics()["TlsDecryptError"] > before


@pytest.mark.forges
@roles
@versions
@pytest.mark.parametrize("what", ["too-long", "too-short", "repeated", "left-out", "no-header"])
def test_broken_stream(bench, tmp_path, role, version, what):
    with link(bench, role, tmp_path, version) as it:
        it.begin()
        if what == "too-long":
            # RFC 5246 6.2.3 allows 2048 bytes more than a full record, RFC 8446 5.2 256.
            it.send(b"\x17\x03\x03" + (16384 + 2049).to_bytes(2, "big") + bytes(2000))
        elif what == "too-short":
            it.send(b"\x17\x03\x03\0\x05" + bytes(40))
        elif what == "repeated":
            record = it.seal(it.small)
            it.send(record)
            it.arrives(it.small)
            it.send(record)
        elif what == "left-out":
            it.seal(it.small)
            it.send(it.seal(it.small))
        else:
            it.send(b"\x17\x7f\x7f\0\x20" + bytes(40))
        it.closes("tls")


@roles
@pytest.mark.parametrize("where", ["between", "in-a-record", "in-a-frame"])
def test_truncation(bench, tmp_path, role, where):
    """FIN without close_notify, and nothing of what is not whole goes on."""
    with link(bench, role, tmp_path) as it:
        it.begin()
        if where == "in-a-record":
            it.send(it.seal(it.small)[:20])
        elif where == "in-a-frame":
            it.send(it.seal(it.big[:1000]))
        it.sock.shutdown(socket.SHUT_WR)
        it.closes("truncated")


@roles
def test_goodbye_in_a_frame(bench, tmp_path, role):
    with link(bench, role, tmp_path) as it:
        it.begin()
        it.send(it.seal(it.big[:1000]), it.seal(CLOSE_NOTIFY, ALERT))
        it.closes("truncated", "inside a frame")


@roles
def test_data_after_goodbye(bench, tmp_path, role):
    """RFC 8446 6.1: is not looked at."""
    with link(bench, role, tmp_path) as it:
        it.begin()
        it.send(it.seal(it.small), it.seal(CLOSE_NOTIFY, ALERT), it.seal(it.small))
        it.arrives(it.small)
        assert ended(it.plain, 3) == b""

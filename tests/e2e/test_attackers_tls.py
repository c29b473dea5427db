#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TLS as the gateway does not want it, garbage and silence instead of it.

For each of them: the alert or the close that the other side sees, the daemon's log line, and the
PLC's log, which must be empty: where the peer is refused, the PLC does not even see a connection.
"""
import contextlib
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest

import lab
from tls_peer import (MCSEAL, NO_EXTENDED_MASTER_SECRET, READ, TLS12, client_context, client_hello,
                      dial, proxy_header, reset, versions)


@versions
def test_foreign_alpn(target, version):
    context = client_context(target.papers.ana, version, ["h2", "http/1.1"])
    sock, seen = target.attack("press-1", context)
    with sock:
        assert seen == "alert: no application protocol"
        target.refused(sock, "handshake-failed", "no application protocol")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1],
                         ids=["tls10", "tls11"])
def test_old_tls(target, version):
    context = client_context(target.papers.ana)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    sock, seen = target.attack("press-1", context)
    with sock:
        assert seen == "alert: protocol version"
        target.refused(sock, "handshake-failed", "unsupported protocol")


@pytest.mark.parametrize("cipher", [
    "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES128-CCM",
    "AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256"])
def test_old_cipher(target, cipher):
    context = client_context(target.papers.ana, TLS12)
    context.set_ciphers(cipher)
    sock, seen = target.attack("press-1", context)
    with sock:
        assert seen == "alert: handshake failure"
        target.refused(sock, "handshake-failed", "no shared cipher")


def test_no_extended_master_secret(target):
    context = client_context(target.papers.ana, TLS12)
    context.options |= NO_EXTENDED_MASTER_SECRET
    sock, seen = target.attack("press-1", context)
    with sock:
        assert seen == "alert: handshake failure"
        target.refused(sock, "handshake-failed", "extended master secret")


def edge_options(target):
    """s_client as an edge: the gateway then waits for a PROXY header and dials no PLC."""
    edge = target.papers.edge
    return ["-connect", f"127.0.0.1:{target.ports['any']}", "-cert", edge.certificate, "-key",
            edge.key, "-alpn", MCSEAL[0]]


def openssl_client(*options, text=""):
    """s_client until the server ends it; what it said. Its standard input stays open."""
    command = ["openssl", "s_client", *map(str, options)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        timer = threading.Timer(20 * lab.PATIENCE, process.kill)
        timer.start()
        process.stdin.write(text.encode())
        process.stdin.flush()
        said = process.stdout.read().decode(errors="replace")
        timer.cancel()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        assert process.wait() >= 0, said
        return said


@contextlib.contextmanager
def one_session(target, reason):
    """The only session of the body ends for this reason; s_client does not tell its port."""
    before = target.gateway.lines("session-closed")
    yield
    after = lab.wait_for(lambda: target.gateway.lines("session-closed")[len(before):], "its end")
    assert len(after) == 1 and re.search(f"reason=({reason}) ", after[0]), after
    assert target.plc.events() == []


def test_renegotiation(target):
    with one_session(target, "client-tls-failed|client-truncated|proxy-header-bad|client-lost"):
        said = openssl_client(*edge_options(target), "-tls1_2", text="R\n")
        assert "RENEGOTIATING" in said, said
        assert "alert handshake failure" in said, said


@pytest.fixture
def generous_server(papers):
    """What our gateway is not: a server with tickets and early data; its address.

    It ends a connection as soon as its standard input ends: that stays open.
    """
    port = lab.free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert",
               papers.gateway.certificate, "-key", papers.gateway.key, "-early_data", "-alpn",
               MCSEAL[0], "-quiet"]
    with subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        def listening():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
        try:
            lab.wait_for(listening, "s_server")
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


TICKET = r"TLS session ticket:|Session-ID: \w"


def test_no_tickets(hasty, generous_server, tmp_path):
    """TLS 1.2 knows no resumption here; what an edge gets in TLS 1.3 is in test_resumption.py."""
    options = [*edge_options(hasty), "-tls1_2", "-sess_out", tmp_path / "session"]
    with one_session(hasty, "proxy-header-timeout"):
        said = openssl_client(*options)
        assert "Cipher is" in said and not re.search(TICKET, said), said
    # s_client would have told: the other server gives them.
    said = lab.run("openssl", "s_client", *options, "-connect", generous_server, input="Q\n",
                   check=False).stdout
    assert re.search(TICKET, said), said


def session_of(server, target, folder):
    """A TLS 1.3 session that allows early data, into folder/session; what s_client said of it."""
    session = folder / "session"
    session.unlink(missing_ok=True)
    command = ["openssl", "s_client", *edge_options(target), "-connect", server, "-tls1_3",
               "-sess_out", session]
    with subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        # The file is there before the words, which s_client holds back until it ends.
        lab.wait_for(lambda: session.exists() and session.stat().st_size, "a ticket")
        said, _ = process.communicate("Q\n", timeout=10 * lab.PATIENCE)
    assert "Max Early Data" in said, said
    return said


def test_early_data_is_not_taken(hasty, generous_server, tmp_path):
    """A client with somebody's early-data session sends header and request as 0-RTT.

    Had the gateway taken them, it would have dialled the PLC; it waits for a header in vain.
    """
    session_of(generous_server, hasty, tmp_path)
    early = tmp_path / "early"
    early.write_bytes(proxy_header(("127.0.0.1", hasty.plc_port)) + READ)
    with one_session(hasty, "proxy-header-timeout"):
        said = openssl_client(*edge_options(hasty), "-tls1_3", "-sess_in", tmp_path / "session",
                              "-early_data", early)
        assert "Early data was rejected" in said and "New, TLSv1.3" in said, said


def alert_record(number):
    return re.compile(rb"\x15\x03.\x00\x02\x02" + bytes([number]), re.DOTALL)


NO_ALERT = re.compile(rb"\A\Z")  # what is no TLS at all is not answered in TLS
# After the server's flight, whose last record it then is: an alert under the handshake's keys.
SEALED_ALERT = re.compile(rb"\A\x16.*\x17\x03\x03\x00\x13.{19}\Z", re.DOTALL)
GARBAGE = {
    "plain-mc": (lambda hello: READ, NO_ALERT, "wrong version number"),
    "http": (lambda hello: b"GET / HTTP/1.1\r\n\r\n", NO_ALERT, "http request"),
    "zeros": (lambda hello: bytes(64), NO_ALERT, "wrong version number"),
    "random": (lambda hello: bytes(range(7, 207)), NO_ALERT, "wrong version number"),
    "data-record": (lambda hello: b"\x17\x03\x03\x00\x20" + bytes(32), alert_record(10),
                    "unexpected message"),
    "alert-record": (lambda hello: b"\x15\x03\x03\x00\x02\x02\x28", alert_record(10),
                     "unexpected message"),
    "huge-record": (lambda hello: b"\x16\x03\x01\xff\xff" + bytes(100), alert_record(22),
                    "(packet|data) length too long|record"),
    "huge-hello": (lambda hello: b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(0x3ffc),
                   alert_record(47), "excessive message size"),
    "broken-hello": (lambda hello: hello[:60] + b"\xff" * (len(hello) - 60),
                     alert_record(50), "length mismatch|bad|decode"),
    "hello-then-garbage": (lambda hello: hello + b"\x16\x03\x03\x00\x20" + bytes(32),
                           SEALED_ALERT, "unexpected message|bad record"),
    "hello-then-data": (lambda hello: hello + b"\x17\x03\x03\x00\x40" + bytes(64),
                        SEALED_ALERT, "bad record mac"),
    "hello-then-plain-mc": (lambda hello: hello + READ, SEALED_ALERT, "wrong version number"),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_instead_of_a_handshake(target, case):
    make, answer, detail = GARBAGE[case]
    with dial(target.ports["press-1"]) as sock:
        sock.sendall(make(client_hello(target.papers.ana)))
        received = lab.receive_end(sock)
        assert answer.search(received), received
        target.refused(sock, "handshake-failed", detail)


def in_time(target, started):
    """A handshake that began then was ended by its deadline."""
    return 0.5 < time.monotonic() - started < target.handshake + 1.2 * lab.PATIENCE


def test_connection_that_says_nothing(hasty):
    with dial(hasty.ports["press-1"]) as sock:
        started = time.monotonic()
        assert lab.receive_end(sock) == b""
        assert in_time(hasty, started)
        hasty.refused(sock, "handshake-timeout", "peer sent nothing")


def test_slow_client_hello(hasty):
    """Byte by byte: the deadline is for the handshake, not for each byte."""
    hello = client_hello(hasty.papers.ana)
    with dial(hasty.ports["press-1"]) as sock:
        started = time.monotonic()
        for at in range(len(hello) - 1):
            if lab.readable(sock, 0.02 * lab.PATIENCE):
                break
            sock.sendall(hello[at:at + 1])
        assert lab.receive_end(sock) == b""
        assert in_time(hasty, started)
        hasty.refused(sock, "handshake-timeout", "did not finish in time")


def test_handshake_left_half_done(hasty):
    with dial(hasty.ports["press-1"]) as sock:
        sock.sendall(client_hello(hasty.papers.ana))
        assert lab.receive_end(sock)[:1] == b"\x16"
        hasty.refused(sock, "handshake-timeout", "did not finish in time")


@pytest.mark.parametrize("rst", [False, True], ids=["fin", "rst"])
def test_handshake_broken_off(target, rst):
    states = len(target.gateway.lines("to=HANDSHAKING"))
    with dial(target.ports["press-1"]) as sock:
        port = sock.getsockname()[1]
        sock.sendall(client_hello(target.papers.ana)[:40])
        lab.wait_for(lambda: len(target.gateway.lines("to=HANDSHAKING")) > states, "the session")
        if rst:
            reset(sock)
    line = target.gateway.wait_text(
        rf"^.*session-closed .*client=127\.0\.0\.1:{port}\b.*$").group(0)
    assert "reason=handshake-failed " in line
    assert ("onnection reset" if rst else "eof") in line, line
    assert target.plc.events() == []

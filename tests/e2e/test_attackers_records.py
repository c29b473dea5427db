#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Records that no TLS library would make and odd frames, from a client that is let in."""
import contextlib
import re
import socket

import pytest

import kernel_tls
import lab
from tls_peer import READ, Peer, client_context, closed, dial, keep, proxy_header
from tls_records import Forger, Records13, Suite, aead_seal


def test_our_own_records():
    """Published vectors: what the forger below stands on."""
    # NIST SP 800-38D's test case 2.
    assert aead_seal("aes_128_gcm", bytes(16), bytes(12), bytes(16), b"").hex() == \
        "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"
    # RFC 8448 3: client_application_traffic_secret_0 and the first record sent under it.
    records = Records13(Suite("TLS_AES_128_GCM_SHA256"), bytes.fromhex(
        "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"))
    assert records.key.hex() == "17422dda596ed5d9acd890e3c63f5051"
    assert records.seal(bytes(range(50))).hex().startswith("1703030043a23f7054b62c94d0affafe8228ba")


@pytest.fixture(scope="module")
def forged(tmp_path_factory):
    """A gateway whose client "ana" is let through to the PLC."""
    with lab.Site(tmp_path_factory.mktemp("forged"), plc_options=["--set", "D0=4660"],
                  connections=64) as site:
        keep(*site.processes())
        yield site


FORGERIES = {
    "padding-alone": (lambda f: f.seal(b"", 0, 20), "unexpected message", "."),
    "unknown-type": (lambda f: f.seal(READ, 99), "unexpected message", "."),
    "sealed-ccs": (lambda f: f.seal(b"\1", 20), "unexpected message", "."),
    "client-hello": (lambda f: f.seal(b"\1\0\0\x04\3\3\0\0", 22), "unexpected message", "."),
    "finished-again": (lambda f: f.seal(b"\x14\0\0\x20" + bytes(32), 22), "unexpected message",
                       "."),
    "session-ticket": (lambda f: f.seal(b"\4\0\0\x04" + bytes(4), 22), "unexpected message", "."),
    "certificate": (lambda f: f.seal(b"\x0b\0\0\4\0\0\0\0", 22), "unexpected message", "."),
    "odd-key-update": (lambda f: f.seal(b"\x18\0\0\1\2", 22), "illegal parameter", "."),
    "long-key-update": (lambda f: f.seal(b"\x18\0\0\2\0\0", 22),
                        "illegal parameter|decode error", "."),
    "handshake-cut": (lambda f: f.seal(b"\x18\0", 22) + f.seal(READ), "unexpected message", "."),
    "empty-handshake": (lambda f: f.seal(b"", 22), "unexpected message", "."),
    "overflow": (lambda f: f.seal(bytes(16385)), "record overflow", "."),
    "plain-request": (lambda f: READ, "protocol version|unexpected message|record overflow", "."),
    "plain-alert": (lambda f: b"\x15\3\3\0\2\1\0", "unexpected message|bad record mac", "."),
    "repeated": (lambda f: f.seal(READ[:5]) * 2, "bad record mac", "."),
}


SEALED_BADLY = ("padding-alone", "repeated")


@pytest.mark.forges
@pytest.mark.parametrize("case", FORGERIES)
def test_forged_record(forged, tmp_path, case):
    make, alert, detail = FORGERIES[case]
    with dial(forged.gateway_port) as sock:
        forger = Forger(sock, forged.client_credentials, tmp_path / "keys")
        sock.sendall(forger.seal(READ))
        assert lab.words_of(forger.peer.receive_frame()) == [0x1234]
        before = len(forged.plc.requests())
        sock.sendall(make(forger))
        seen = forger.peer.verdict()
        # A kernel that could not open a record lets no alert out behind it.
        assert re.fullmatch(f"alert: ({alert})", seen) or \
            (lab.KERNEL and case in SEALED_BADLY and seen == "cut"), seen
        closed(forged.gateway, sock, "client-tls-failed", detail)
    assert len(forged.plc.requests()) == before


def test_many_empty_records(forged, tmp_path):
    """Refused in user space, as OpenSSL does; passed over by a kernel."""
    with dial(forged.gateway_port) as sock:
        forger = Forger(sock, forged.client_credentials, tmp_path / "keys")
        sock.sendall(b"".join(forger.seal(b"") for _ in range(40)))
        if lab.KERNEL:
            sock.sendall(forger.seal(READ))
            assert lab.words_of(forger.peer.receive_frame()) == [0x1234]
        else:
            assert forger.peer.verdict() == "alert: unexpected message"
            closed(forged.gateway, sock, "client-tls-failed", ".")


@pytest.mark.skipif(not kernel_tls.can_rekey(), reason="this kernel cannot change keys: "
                    "test_ktls_keys.py has what comes of it")
def test_key_updates_are_answered(forged, tmp_path):
    """In reason; each pair of records has keys of its own."""
    with dial(forged.gateway_port) as sock:
        forger = Forger(sock, forged.client_credentials, tmp_path / "keys")
        for _ in range(30):
            sock.sendall(forger.key_update() + forger.seal(READ))
            assert lab.words_of(forger.peer.receive_frame()) == [0x1234]
        sock.sendall(forger.seal(b"\1\0", 21))  # close_notify
        sock.shutdown(socket.SHUT_WR)
        assert forger.peer.verdict() == "goodbye"
        closed(forged.gateway, sock, "finished")


def test_key_update_storm(forged, tmp_path):
    """Demanding answers without reading them costs the attacker its session, not us memory."""
    with dial(forged.gateway_port) as sock:
        forger = Forger(sock, forged.client_credentials, tmp_path / "keys")
        storm = b"".join(forger.key_update() for _ in range(400))
        with contextlib.suppress(ConnectionError):
            sock.sendall(storm)
        closed(forged.gateway, sock, "client-tls-failed",
               "too often|faster than it reads|cannot follow")
    assert "D0: 4660" in forged.mcping("read", "D0").stdout


# --- odd frames from a client that is let in -----------------------------------------------------

ODD_FRAMES = {
    "no-frame": b"GET / HTTP/1.0\r\n\r\n",
    "melsoft": b"\x57\x00" + bytes(60),
    "too-long": bytes.fromhex("500000ffff0300ffff") + bytes(9000),
    "too-short": bytes.fromhex("500000ffff03000500") + bytes(5),
    "zero": bytes.fromhex("500000ffff03000000"),
    "ones": b"\xff" * 16384,
    "answer": lab.answer_3e(b"\0\0"),
    "ascii-too-long": b"500000FF03FF00FFFF" + b"0" * 9000,
    "ascii-no-length": b"500000FF03FF00zz1400100401",
    "proxy-header": proxy_header(("127.0.0.1", 5007)) + READ,
}


@pytest.mark.parametrize("case", ODD_FRAMES)
def test_odd_frame(forged, case):
    before = len(forged.plc.requests())
    with dial(forged.gateway_port) as sock:
        peer = Peer(sock, client_context(forged.client_credentials)).handshake()
        with contextlib.suppress(ConnectionError):
            peer.send(ODD_FRAMES[case])
        assert peer.verdict() in ("goodbye", "cut")
        closed(forged.gateway, sock, "bad-request")
    assert len(forged.plc.requests()) == before

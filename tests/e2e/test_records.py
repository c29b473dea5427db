#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One frame is one TLS record, as tshark sees it on the TLS link: whatever pieces a client's request
or a PLC's answer came in. Many MC clients take one recv for one answer."""
import random
import socket
import ssl
import time

import pytest

import lab
import peers

POLLS = 60 if lab.KERNEL else 200
TAG_13 = 17      # inner content type and tag: RFC 8446 5.2
TAG_12 = 24      # explicit nonce and tag: RFC 5288 3
TAG_12_CHACHA = 16  # RFC 7905: no explicit nonce
PROXY_HEADER = 28   # version 2 over IPv4, no TLVs
CLOSE_NOTIFY = 2


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return peers.SharedPki(tmp_path_factory.mktemp("pki") / "pki")


def record_lengths(capture, port):
    """Of all TLS records on the link, in order: those to the port, those from it."""
    towards, back = [], []
    rows = capture.fields("tcp.dstport", "tls.record.length", only="tls.record.length",
                          tls_port=port)
    for destination, lengths in rows:
        (towards if destination == str(port) else back).extend(map(int, lengths.split(",")))
    return towards, back


def whole(sock, size):
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece
        data += piece
    return data


def dribble(sock, frame, pause):
    for position in range(len(frame)):
        sock.sendall(frame[position:position + 1])
        if pause:
            time.sleep(0.0005)


def polls(chance):
    """Requests with the lengths of their answers: reads and writes of all sizes."""
    for number in range(POLLS):
        points = chance.choice([1, 2, 7, 100, 480, 959, 960])
        if number % 4 == 3:
            yield lab.write_words(0, [number] * points), 11
        else:
            yield lab.read_words(0, points), 11 + 2 * points


def test_edge_to_gateway(tmp_path, pki):
    """A client that dribbles its requests byte by byte, a PLC that splits its answers."""
    with lab.Site(tmp_path, plc_options=["--split", "700,0.2"], pki=pki) as site:
        capture = peers.Capture(tmp_path, "lo", f"tcp port {site.gateway_port}")
        sent, received = [], []
        with site.connect() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for number, (request, answer) in enumerate(polls(random.Random(5))):
                if len(request) < 100:
                    dribble(sock, request, pause=number < 40)
                else:
                    sock.sendall(request[:50])
                    time.sleep(0.001)
                    sock.sendall(request[50:])
                whole(sock, answer)
                sent.append(len(request))
                received.append(answer)
        site.gateway.closed("finished")
        capture.stop()
    towards, back = record_lengths(capture, site.gateway_port)
    # The tail of each direction: the handshake is before it.
    expected = [PROXY_HEADER, *sent, CLOSE_NOTIFY]
    assert towards[-len(expected):] == [length + TAG_13 for length in expected]
    expected = [*received, CLOSE_NOTIFY]
    assert back[-len(expected):] == [length + TAG_13 for length in expected]
    assert len(towards) < len(sent) + 10 and len(back) < len(received) + 10
    # One record is one segment where it fits: nothing was held back or glued together.
    packets = capture.fields("tls.record.length", only="tls.record.content_type == 23 || "
                             "tls.record.opaque_type == 23", tls_port=site.gateway_port)
    assert len(packets) >= 2 * POLLS


def test_small_polls_are_one_packet_each(tmp_path, pki):
    """Request and answer: one segment each way, with nothing else in it."""
    with lab.Site(tmp_path, plc_options=["--split", "5,0.2"], pki=pki) as site:
        capture = peers.Capture(tmp_path, "lo", f"tcp port {site.gateway_port}")
        site.mcping("poll", "D0", "8", "--count", POLLS, "--interval", "0", "--one-recv")
        site.gateway.closed("finished")
        capture.stop()
    port = str(site.gateway_port)
    packets = capture.fields("tcp.dstport", "tcp.len", "tls.record.length",
                             only="tcp.len > 0", tls_port=site.gateway_port)
    header = 5
    for destination, length in ((True, 21 + TAG_13), (False, 11 + 16 + TAG_13)):
        alone = [row for row in packets if (row[0] == port) == destination and
                 row[1:] == (str(header + length), str(length))]
        assert len(alone) == POLLS, len(alone)


@pytest.mark.parametrize("version, cipher, tag", [
    ("TLSv1_3", None, TAG_13), ("TLSv1_2", "ECDHE-ECDSA-AES128-GCM-SHA256", TAG_12),
    ("TLSv1_2", "ECDHE-ECDSA-CHACHA20-POLY1305", TAG_12_CHACHA)])
def test_gateway_to_a_foreign_client(tmp_path, pki, version, cipher, tag):
    """The PLC's split answers leave as one record each, to a client that is not ours."""
    with lab.Site(tmp_path, plc_options=["--split", "700,0.2"], pki=pki) as site:
        capture = peers.Capture(tmp_path, "lo", f"tcp port {site.gateway_port}")
        context = ssl.create_default_context(cafile=str(pki.ca))
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        if cipher:
            context.set_ciphers(cipher)
        client = site.client_credentials
        context.load_cert_chain(str(client.certificate), str(client.key))
        received = []
        with socket.create_connection(("127.0.0.1", site.gateway_port)) as raw, \
                context.wrap_socket(raw, server_hostname="127.0.0.1") as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for request, answer in polls(random.Random(6)):
                dribbled = random.Random(len(received)).randrange(1, len(request))
                sock.sendall(request[:dribbled])  # two records for one request
                sock.sendall(request[dribbled:])
                assert len(sock.recv(16384)) == answer  # and one recv for one answer
                received.append(answer)
            sock.unwrap()
        site.gateway.closed("finished")
        requests = site.plc.requests()
        capture.stop()
    assert len(requests) == POLLS
    _, back = record_lengths(capture, site.gateway_port)
    expected = [*received, CLOSE_NOTIFY]
    assert back[-len(expected):] == [length + tag for length in expected]

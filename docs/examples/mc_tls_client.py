#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads words from a PLC through a mcseal gateway: an MC client that speaks TLS itself.

    mc_tls_client.py GATEWAY:PORT ca.pem client.pem client.key D100 3
"""
import socket
import ssl
import struct
import sys


def connect(gateway, ca, certificate, key):
    host, port = gateway.rsplit(":", 1)
    context = ssl.create_default_context(cafile=ca)  # checks chain, dates, and the name or IP SAN
    context.load_cert_chain(certificate, key)
    plain = socket.create_connection((host.strip("[]"), int(port)), timeout=3)
    return context.wrap_socket(plain, server_hostname=host.strip("[]"))


def receive(tls, size):
    data = b""
    while len(data) < size:
        piece = tls.recv(size - len(data))
        if not piece:
            raise ConnectionError("the gateway closed the connection; its log says why")
        data += piece
    return data


def read_words(tls, head, points):
    """3E binary frame, batch read (0401) of D devices."""
    body = struct.pack("<HHHI", 16, 0x0401, 0, head)[:9] + b"\xa8" + struct.pack("<H", points)
    tls.sendall(b"\x50\x00\x00\xff\xff\x03\x00" + struct.pack("<H", len(body)) + body)
    answer = receive(tls, struct.unpack("<H", receive(tls, 9)[7:])[0])
    end_code = struct.unpack("<H", answer[:2])[0]
    if end_code != 0:
        raise RuntimeError(f"the PLC refused: end code {end_code:04X}")
    return struct.unpack(f"<{points}H", answer[2:])


if __name__ == "__main__":
    with connect(*sys.argv[1:5]) as connection:
        print(*read_words(connection, int(sys.argv[5].lstrip("D")), int(sys.argv[6])))

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What kernel TLS this kernel has: one line per call, "NAME ok" or "NAME ERRNO".

A connected pair on loopback gets the ULP, then a key for sending with each cipher (TLS 1.3), and
the other end the same for receiving; a line of text must come through. struct and numbers:
linux/include/uapi/linux/tls.h.
"""
import errno
import os
import socket
import struct

SOL_TLS, TCP_ULP, TLS_TX, TLS_RX = 282, 31, 1, 2
TLS_1_3 = 0x0304
# name: (cipher type, bytes of iv, key, salt, rec_seq)
CIPHERS = {"aes-128-gcm": (51, 8, 16, 4, 8), "aes-256-gcm": (52, 8, 32, 4, 8),
           "chacha20-poly1305": (54, 12, 32, 0, 8)}


def pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return client, listener.accept()[0]


def crypto_info(cipher):
    number, *lengths = CIPHERS[cipher]
    return struct.pack("=HH", TLS_1_3, number) + b"".join(bytes(length) for length in lengths)


def attempt(name, call):
    try:
        call()
    except OSError as error:
        print(name, errno.errorcode[error.errno])
        return False
    print(name, "ok")
    return True


def carry(sender, receiver):
    sender.sendall(b"through the kernel")
    if receiver.recv(100) != b"through the kernel":
        raise OSError(errno.EBADMSG, "")


def main():
    for cipher in CIPHERS:
        sender, receiver = pair()
        with sender, receiver:
            receiver.settimeout(10)
            if not all(attempt(f"ulp {cipher}", lambda end=end: end.setsockopt(
                    socket.IPPROTO_TCP, TCP_ULP, b"tls")) for end in (sender, receiver)):
                continue
            if (attempt(f"tx {cipher}", lambda: sender.setsockopt(
                    SOL_TLS, TLS_TX, crypto_info(cipher))) and
                    attempt(f"rx {cipher}", lambda: receiver.setsockopt(
                        SOL_TLS, TLS_RX, crypto_info(cipher)))):
                attempt(f"data {cipher}", lambda: carry(sender, receiver))


if os.path.exists("/proc/net/tls_stat"):
    print("tls_stat ok")
main()

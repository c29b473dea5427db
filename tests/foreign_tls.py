# SPDX-License-Identifier: Apache-2.0
"""Ends of TLS that we did not write, held by a test: OpenSSL by Python's ssl, GnuTLS by ctypes; and
a server of either that stands before a PLC, as nginx would.

An end offers send(), receive() (one record's bytes; b"" after close_notify), buffered(),
say_closed() (close_notify for our direction) and close(); version and cipher are demanded.
"""
import contextlib
import ctypes
import functools
import select
import socket
import ssl
import threading

import lab
from tls_peer import TLS12, TLS13, Peer, client_context, server_context

# OpenSSL's names by version; GnuTLS has one for both.
CIPHERS = {
    "AES-128-GCM": {TLS13: "TLS_AES_128_GCM_SHA256", TLS12: "ECDHE-ECDSA-AES128-GCM-SHA256"},
    "AES-256-GCM": {TLS13: "TLS_AES_256_GCM_SHA384", TLS12: "ECDHE-ECDSA-AES256-GCM-SHA384"},
    "CHACHA20-POLY1305": {TLS13: "TLS_CHACHA20_POLY1305_SHA256",
                          TLS12: "ECDHE-ECDSA-CHACHA20-POLY1305"},
}


def restrict(context, version, cipher):
    """ssl.SSLContext has no word for the suites of TLS 1.3; its first member is the SSL_CTX."""
    name = CIPHERS[cipher][version]
    context.minimum_version = context.maximum_version = version
    if version == TLS12:
        context.set_ciphers(name)
        return context
    inside = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    library = ctypes.CDLL("libssl.so.3")
    assert library.SSL_CTX_set_ciphersuites(inside, name.encode()) == 1
    return context


class OpenSsl:
    def __init__(self, sock, credentials, version, cipher, server_side):
        make = server_context if server_side else client_context
        context = restrict(make(credentials, version, alpn=None), version, cipher)
        if server_side:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(credentials.pki.ca)
        self.sock = sock
        self.peer = Peer(sock, context, server_side).handshake()
        assert self.peer.tls.cipher()[0] == CIPHERS[cipher][version]
        self.send, self.say_closed, self.close = self.peer.send, self.peer.close_notify, sock.close

    def receive(self):
        try:
            return self.peer.receive()
        except ssl.SSLZeroReturnError:
            return b""

    def buffered(self):
        return self.peer.incoming.pending > 0


@functools.cache
def libgnutls():
    library = ctypes.CDLL("libgnutls.so.30")
    library.gnutls_strerror.restype = ctypes.c_char_p
    for name in ("gnutls_record_send", "gnutls_record_recv", "gnutls_record_check_pending"):
        getattr(library, name).restype = ctypes.c_ssize_t
    return library


class GnuTls:
    """The constants are those of gnutls/gnutls.h."""

    AGAIN, SERVER, CLIENT, PEM, CERTIFICATES, DEMAND, SHUT_WR = -28, 1, 2, 1, 1, 2, 1
    VERSIONS = {TLS12: ("VERS-TLS1.2", 4), TLS13: ("VERS-TLS1.3", 5)}

    def __init__(self, sock, credentials, version, cipher, server_side):
        self.sock, self.library = sock, libgnutls()
        self.store, self.session = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("certificate_allocate_credentials", ctypes.byref(self.store))
        self.call("certificate_set_x509_key_file", self.store, bytes(credentials.certificate),
                  bytes(credentials.key), self.PEM)
        self.call("certificate_set_x509_trust_file", self.store, bytes(credentials.pki.ca),
                  self.PEM)
        self.call("init", ctypes.byref(self.session), self.SERVER if server_side else self.CLIENT)
        self.call("priority_set_direct", self.session,
                  f"NORMAL:-VERS-ALL:+{self.VERSIONS[version][0]}:-CIPHER-ALL:+{cipher}".encode(),
                  None)
        self.call("credentials_set", self.session, self.CERTIFICATES, self.store)
        if server_side:
            self.library.gnutls_certificate_server_set_request(self.session, self.DEMAND)
        # GnuTLS waits by itself on a socket that blocks; Python's with a time-out does not.
        sock.setblocking(True)
        self.library.gnutls_transport_set_int2(self.session, sock.fileno(), sock.fileno())
        self.call("handshake", self.session)
        assert self.library.gnutls_protocol_get_version(self.session) == self.VERSIONS[version][1]

    def call(self, name, *words):
        """Result of gnutls_NAME(), again while it was interrupted."""
        result = self.AGAIN
        while result == self.AGAIN:
            result = getattr(self.library, f"gnutls_{name}")(*words)
        if result < 0:
            raise lab.LabError(f"gnutls_{name}: {self.library.gnutls_strerror(result).decode()}")
        return result

    def send(self, data):
        while data:
            data = data[self.call("record_send", self.session, data,
                                  ctypes.c_size_t(len(data))):]

    def receive(self):
        room = ctypes.create_string_buffer(16384)
        size = self.call("record_recv", self.session, room, ctypes.c_size_t(len(room)))
        return room.raw[:size]

    def buffered(self):
        return self.library.gnutls_record_check_pending(self.session) > 0

    def say_closed(self):
        self.call("bye", self.session, self.SHUT_WR)

    def close(self):
        self.library.gnutls_deinit(self.session)
        self.library.gnutls_certificate_free_credentials(self.store)
        self.sock.close()


class Plain:
    """The same without TLS."""

    def __init__(self, sock):
        self.sock, self.send, self.close = sock, sock.sendall, sock.close

    def receive(self):
        return self.sock.recv(65536)

    def say_closed(self):
        self.sock.shutdown(socket.SHUT_WR)


class Terminator:
    """A TLS server of that kind before `target`; piece by piece, as they come."""

    def __init__(self, kind, port, target, credentials, version, cipher):
        self.kind, self.target, self.words = kind, target, (credentials, version, cipher)
        self.listener = socket.create_server(("127.0.0.1", port))
        self.failed = []
        self.threads = [threading.Thread(target=self.serve, daemon=True)]
        self.threads[0].start()

    def serve(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                sock, _ = self.listener.accept()
                self.threads.append(threading.Thread(target=self.carry, args=[sock], daemon=True))
                self.threads[-1].start()

    def carry(self, sock):
        try:
            end = self.kind(sock, *self.words, server_side=True)
            with socket.create_connection(("127.0.0.1", self.target)) as plain:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.exchange(end, plain)
            end.close()
        except Exception as error:  # pylint: disable=broad-except  # told by __exit__
            self.failed.append(error)
            sock.close()

    @staticmethod
    def exchange(end, plain):
        """Until both directions have ended."""
        waiting = [end.sock, plain]
        while waiting:
            ready = [end.sock] if end.sock in waiting and end.buffered() else \
                select.select(waiting, [], [])[0]
            if end.sock in ready:
                data = end.receive()
                plain.sendall(data) if data else plain.shutdown(socket.SHUT_WR)
                waiting = waiting if data else [sock for sock in waiting if sock is plain]
            if plain in ready:
                data = plain.recv(65536)
                end.send(data) if data else end.say_closed()
                waiting = waiting if data else [sock for sock in waiting if sock is not plain]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(5 * lab.PATIENCE)
        if kind is None and self.failed:
            raise self.failed[0]

# SPDX-License-Identifier: Apache-2.0
"""The attacker's own TLS: ends whose records can be cut, held back and forged.

Both roles over sockets that were dialled from a port which no other attacker has, so that one
session's lines can be found in a log.
"""
import contextlib
import itertools
import os
import pathlib
import re
import signal
import socket
import ssl
import struct

import pytest

import lab

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
versions = pytest.mark.parametrize("version", [TLS13, TLS12], ids=["tls13", "tls12"])
MCSEAL = ["mcseal/1"]
NO_EXTENDED_MASTER_SECRET = 1  # SSL_OP_NO_EXTENDED_MASTER_SECRET, nameless in Python's ssl
READ = lab.read_words(0, 1)


def client_context(credentials=None, version=None, alpn=None):
    """An attacker believes any server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if version:
        context.minimum_version = context.maximum_version = version
    if credentials:
        context.load_cert_chain(credentials.certificate, credentials.key)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def server_context(credentials, version=None, alpn=MCSEAL):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.certificate, credentials.key)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if version:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def name_of(error):
    """'alert: unknown ca' for SSLError TLSV1_ALERT_UNKNOWN_CA; 'cut' for an end without goodbye."""
    if isinstance(error, (ssl.SSLEOFError, ConnectionError)) or "unexpected eof" in str(error):
        return "cut"
    # Python has no names for some reasons; then OpenSSL's words tell.
    alert = re.search(r"alert ([a-z ]+)", (error.reason or str(error)).lower().replace("_", " "))
    return f"alert: {alert.group(1).strip()}" if alert else f"error: {error}"


class Peer:
    """One end of TLS whose records stay in our hands: they can be cut, held back and forged."""

    def __init__(self, sock, context, server_side=False, server_name=None):
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side, server_name)
        self.first_sent = self.first_received = b""
        self.arriving, self.records = b"", []  # types of the records that came

    def flush(self):
        records = self.outgoing.read()
        if records:
            self.first_sent = self.first_sent or records
            self.sock.sendall(records)

    def arrived(self, piece):
        """Notes types and passes on; an encrypted record of TLS 1.3 always says 23."""
        self.first_received = self.first_received or piece
        self.arriving += piece
        while len(self.arriving) >= 5 and \
                len(self.arriving) >= (size := 5 + struct.unpack_from(">H", self.arriving, 3)[0]):
            self.records.append(self.arriving[0])
            self.arriving = self.arriving[size:]
        self.incoming.write(piece)

    def pump(self, step, *words):
        while True:
            try:
                result = step(*words)
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                piece = self.sock.recv(65536)
                self.arrived(piece) if piece else self.incoming.write_eof()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self.flush()  # the alert
                raise

    def handshake(self):
        self.pump(self.tls.do_handshake)
        return self

    def send(self, data):
        self.pump(self.tls.write, data)

    def record(self, data):
        """Sealed bytes that have not left yet."""
        self.tls.write(data)
        return self.outgoing.read()

    def receive(self, size=65536):
        return self.pump(self.tls.read, size)

    def close_notify(self):
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.flush()

    def receive_frame(self):
        frame = b""
        while len(frame) < 9 or len(frame) < 9 + struct.unpack_from("<H", frame, 7)[0]:
            piece = self.receive()
            assert piece, f"ended inside a frame: {frame.hex()}"
            frame += piece
        return frame

    def verdict(self):
        """How the other side ends this: 'alert: ...', 'goodbye' (close_notify), 'cut', 'data'."""
        try:
            return "data" if self.receive() else "goodbye"
        except ssl.SSLZeroReturnError:
            return "goodbye"
        except (ssl.SSLError, ConnectionError) as error:
            return name_of(error)


# A port of its own for every attacker: the logs are searched by it, and the system would give the
# same one again. Between the lab's ports and the system's.
OWN_PORTS = itertools.count(
    20500 + 4000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]))


def dial(port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound = False
    while not bound:
        with contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", next(OWN_PORTS)))
            bound = True
    sock.settimeout(5 * lab.PATIENCE)
    sock.connect(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def keep(*processes):
    """They outlive a test: its clean-up must not end them, our fixture does."""
    for process in processes:
        lab.Process.started.remove(process)


@contextlib.contextmanager
def frozen(process):
    """It stands still in the body. A signal is only sent by kill(); its threads stop later."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        tasks = pathlib.Path(f"/proc/{process.pid}/task")
        lab.wait_for(lambda: all(" T (stopped)" in path.read_text().replace("\t", " ")
                                 for path in tasks.glob("*/status")), "standstill")
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def proxy_header(destination, source=("10.9.8.7", 4711), kind=0x11, command=0x21, length=None):
    """PROXY v2; destination and source are (host, port)."""
    family = socket.AF_INET6 if kind >> 4 == 2 else socket.AF_INET
    body = b"".join(socket.inet_pton(family, host) for host, _ in (source, destination)) + \
        struct.pack(">HH", source[1], destination[1])
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(
        ">BBH", command, kind, len(body) if length is None else length) + body


def client_hello(credentials):
    """A real one, as records."""
    peer = Peer(None, client_context(credentials, TLS13))
    with contextlib.suppress(ssl.SSLWantReadError):
        peer.tls.do_handshake()
    return peer.outgoing.read()


def closed(daemon, sock, reason, detail=""):
    """The end of the session that carried this client."""
    port = sock if isinstance(sock, int) else sock.getsockname()[1]
    line = daemon.wait_text(rf"^.*session-closed .*client=127\.0\.0\.1:{port}\b.*$").group(0)
    assert re.search(f"reason=({reason}) ", line) and re.search(detail, line), line
    return line

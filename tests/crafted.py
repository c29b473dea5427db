# SPDX-License-Identifier: Apache-2.0
"""A session that relays, with one end of its TLS crafted record by record and its plain end in
the test's hands too: in the role of a gateway (the crafted end is a client) or of an edge (it is
the gateway that the edge dials).
"""
import contextlib
import pathlib
import re
import socket

import pytest

import lab
from session_bench import ANSWER, READ, TIMEOUTS, Bench, ended
from tls_peer import TLS13, Peer, client_context, dial, keep, server_context
from tls_records import ALERT, Forger, Records13

roles = pytest.mark.parametrize("role", ["gateway", "edge"])
# By role: a small and a big frame that comes out of TLS, and what the TLS end does about it.
FRAMES = {"gateway": (READ, lab.write_words(0, [n * 67 & 0xffff for n in range(960)])),
          "edge": (ANSWER, lab.answer_3e(bytes(n * 67 & 0xff for n in range(1920))))}
REASONS = {"tls": ("client-tls-failed", "gateway-tls-failed"),
           "truncated": ("client-truncated", "target-truncated"),
           "incomplete": ("request-incomplete", "answer-incomplete"),
           "finished": ("finished", "finished"), "key-limit": ("key-limit", "key-limit")}
# None of these tests waits for a deadline.
PATIENT = {**TIMEOUTS, "frame_rest": 30, "drain": 30, "handshake": 10, "dial_gateway": 10,
           "proxy_header": 10}
# RFC 8446 4.6.1; lifetime, age_add, nonce, ticket, no extensions.
TICKET_BODY = bytes.fromhex("00001c20 01020304 01 07 0010") + bytes(range(16)) + b"\0\0"
TICKET = b"\4" + len(TICKET_BODY).to_bytes(3, "big") + TICKET_BODY
CLOSE_NOTIFY, USER_CANCELED, INTERNAL_ERROR = b"\1\0", b"\1\x5a", b"\2\x50"


def cpu_seconds(process):
    """Of all its threads, those that io_uring made included."""
    return sum(int(path.read_text().split()[0])
               for path in pathlib.Path(f"/proc/{process.pid}/task").glob("*/schedstat")) / 1e9


class Honest:
    """An end that seals as its TLS library does, and follows KeyUpdates both ways."""

    def __init__(self, sock, context, server_side):
        self.sock = sock
        self.peer = Peer(sock, context, server_side).handshake()
        self.seal = self.peer.record


class Link:
    def __init__(self, bench, role, forger, plain):
        self.bench, self.role = bench, role
        self.daemon = bench.gateway if role == "gateway" else bench.edge
        self.forger, self.peer, self.sock, self.plain = forger, forger.peer, forger.sock, plain
        self.seal = forger.seal
        self.small, self.big = FRAMES[role]
        self.owed = []  # requests that have arrived and have no answer
        self.port = (self.sock if role == "gateway" else plain).getsockname()[1]

    def begin(self):
        """Up to the point at which a frame out of TLS is due."""
        if self.role == "edge":
            self.plain.sendall(READ)
            assert self.peer.receive_frame() == READ

    def send(self, *records):
        self.sock.sendall(b"".join(records))

    def arrives(self, frame):
        assert lab.receive_frame(self.plain) == frame
        self.owed.append(frame)

    def finish(self):
        """What follows such a frame."""
        if self.role == "gateway":
            written = self.owed.pop(0) == self.big
            answer = lab.answer_3e(b"") if written else ANSWER
            self.plain.sendall(answer)
            assert self.peer.receive_frame() == answer

    def round(self, frame=None):
        self.begin()
        self.send(self.seal(frame or self.small))
        self.arrives(frame or self.small)
        self.finish()

    def key_update(self, request):
        return self.forger.key_update(request)

    def pieces(self, *between):
        """The big frame in two records, with these records between them."""
        half = len(self.big) // 2
        return [self.seal(self.big[:half]), *[make() for make in between],
                self.seal(self.big[half:])]

    def closes(self, reason, detail="", verdict=None, forwarded=b""):
        """For that reason, with nothing but `forwarded` on the plain side."""
        line = self.daemon.wait_text(rf"^.*session-closed .*(client|edge)=127\.0\.0\.1:{self.port}"
                                     r"\b.*$").group(0)
        assert f"reason={REASONS[reason][self.role == 'edge']} " in line, line
        assert re.search(detail, line), line
        seen = self.peer.verdict()
        assert verdict is None or seen == verdict, f"{seen}: {line}"
        assert ended(self.plain, 3) == forwarded
        return line

    def goodbye(self):
        """In good order, from the TLS end."""
        if isinstance(self.forger, Honest):
            self.peer.close_notify()
        else:
            self.send(self.seal(CLOSE_NOTIFY, ALERT))
        self.sock.shutdown(socket.SHUT_WR)
        assert ended(self.plain, 3) == b""
        self.plain.close()
        assert self.peer.verdict() == "goodbye"
        self.bench.closed(self.daemon, self.port, "finished")


def context_of(bench, role, version, cipher, tickets):
    if role == "gateway":
        context = client_context(bench.ana, version)
    else:
        context = server_context(bench.gateway_credentials, version)
        context.num_tickets = tickets
    if cipher:
        context.set_ciphers(cipher)
    return context


def crafted_end(sock, context, keylog, tickets=None):
    """A Forger; `tickets`: it is a server, and has sent so many."""
    forger = Forger(sock, None, keylog, context=context, server_side=tickets is not None)
    if tickets and isinstance(forger.records, Records13):
        forger.records.number = tickets
    return forger


@contextlib.contextmanager
def link(bench, role, folder, version=TLS13, cipher=None, tickets=1, honest=False):
    """A Link that has carried a request and its answer; an edge waits for its gateway's ticket."""
    context = context_of(bench, role, version, cipher, tickets)
    if role == "gateway":
        sock = dial(bench.gateway_ports["live"])
        end = Honest(sock, context, False) if honest else \
            crafted_end(sock, context, folder / "keys")
        plain = bench.plc.take()
    else:
        plain = dial(bench.edge_ports["raw"])
        sock = bench.raw.take()
        end = Honest(sock, context, True) if honest else \
            crafted_end(sock, context, folder / "keys", tickets)
        assert len(end.peer.receive(28)) == 28  # PROXY header
    with sock, plain:
        made = Link(bench, role, end, plain)
        made.round()
        yield made


def crafted_bench(folder, engine, head=""):
    """The body of a module's fixture."""
    made = Bench(folder, engine, PATIENT, head)
    keep(made.gateway, made.edge)
    with lab.stopping(made.edge, made.gateway):
        yield made
    made.close()

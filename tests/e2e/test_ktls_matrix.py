#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The pairwise table of tests/ktls_matrix.py, end to end: engines, ciphers, versions and roles
against OpenSSL, GnuTLS and nginx, each row with everything that an MC client does.
"""
import contextlib
import itertools
import re

import pytest

import ktls_matrix
import lab
import peers
from foreign_tls import CIPHERS, GnuTls, OpenSsl, Plain, Terminator
from session_bench import Listener
from tls_peer import TLS12, TLS13, dial, keep

VERSION = {"1.2": TLS12, "1.3": TLS13}
RELAY = {"splice": "splice", "uring-splice": "uring-splice", "copy": "copy", "epoll": "splice"}
READ = lab.read_words(0, 1)
ANSWER = lab.answer_3e(b"\x34\x12")
# 1E, binary: read one and 255 words from D0 (MC protocol manual, A compatible 1E frame).
READ_1E = bytes.fromhex("01ff0a00 00000000 2044 0100")
READ_255_1E = bytes.fromhex("01ff0a00 00000000 2044 ff00")


def test_table():
    """Every pair is in it, and no row is there for nothing."""
    rows = ktls_matrix.rows()
    covered = set().union(*map(ktls_matrix.pairs_of, rows))
    sizes = [len(values) for values in ktls_matrix.FACTORS.values()]
    assert covered == ktls_matrix.all_pairs()
    assert len(covered) == sum(one * other for one, other in itertools.combinations(sizes, 2))
    assert len(rows) <= sum(sorted(sizes)[-2:]) * 2 + 1
    print(ktls_matrix.table())


class Place:
    """A daemon with both roles, each towards a PLC that polls are for and one in our hands."""

    def __init__(self, folder, engine, certificates):
        self.certificates = certificates
        self.plc = lab.Plc(folder, "--split", "700,0.3", name="plc")
        self.own = Listener()
        self.plcs = {"polled": self.plc.port, "own": self.own.port}
        self.gateways, self.edges, self.servers = (
            {name: lab.free_port() for name in self.plcs} for _ in range(3))
        text = f"log_level = debug\nmark = 0\nworkers = 1\nengine = {engine}\n" \
            f"timeouts {{ dial_gateway = {3 * lab.PATIENCE} handshake = {3 * lab.PATIENCE} }}\n" \
            'identity "ana" { match = "uri:urn:mcseal:client:ana" plcs = "*"\n' \
            '	policy = "everything" }\n' + lab.EVERYTHING
        for name in self.plcs:
            text += self.sections(name)
        self.daemon = lab.Daemon(folder, text)

    def sections(self, name):
        return f"""
plc "{name}" {{ address = 127.0.0.1 port "{self.plcs[name]}" {{ connections = 64 }} }}
gateway "{name}" {{
	listen = "127.0.0.1:{self.gateways[name]}"
	plc = "{name}"
	{self.certificates.gateway.config()}
}}
edge "{name}" {{
	listen = "127.0.0.1:{self.edges[name]}"
	destination = "192.0.2.10:5007"
	{self.certificates.edge.config()}
	source "here" {{ addresses = "127.0.0.0/8" }}
	route "{name}" {{
		destinations = "192.0.2.10:5007"
		gateways = "127.0.0.1:{self.servers[name]}"
		proxy_header = no
	}}
}}
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return peers.Certificates(tmp_path_factory.mktemp("certificates") / "pki")


@pytest.fixture(scope="module")
def places(tmp_path_factory, certificates):
    """By engine, made when it is first asked for; rows come in the order of engines."""
    made = {}

    def place(engine):
        if engine not in made:
            made[engine] = Place(tmp_path_factory.mktemp(engine), engine, certificates)
            keep(made[engine].daemon, made[engine].plc)
        return made[engine]
    yield place
    with lab.stopping(*[process for each in made.values()
                        for process in (each.daemon, each.plc)]):
        pass
    for each in made.values():
        each.own.close()


class Row:
    def __init__(self, row, place, folder):
        self.place, self.folder = place, folder
        self.peer, self.role = row["peer"], row["role"]
        self.version, self.cipher = VERSION[row["tls"]], row["cipher"]
        self.kind = {"openssl": OpenSsl, "gnutls": GnuTls}.get(self.peer)
        self.suite = CIPHERS[self.cipher][self.version]

    def nginx_options(self, prefix):
        credentials = self.place.certificates.client if prefix else self.place.certificates.gateway
        suites = f"{prefix}ssl_conf_command Ciphersuites {self.suite};" \
            if self.version == TLS13 else f"{prefix}ssl_ciphers {self.suite};"
        kernel = f"{prefix}ssl_conf_command Options KTLS;" if self.peer == "nginx-ktls" else ""
        return f"""{suites} {kernel}
		{prefix}ssl_protocols {self.version.name.replace("_", ".", 1).replace("_", ".")};
		{prefix}ssl_certificate {credentials.certificate};
		{prefix}ssl_certificate_key {credentials.key};"""

    def nginx(self):
        """Before the PLCs as a server, or before the gateways as a client."""
        place, ca = self.place, self.place.certificates.pki.ca
        if self.role == "edge":
            options = self.nginx_options("") + f"ssl_verify_client on; ssl_client_certificate {ca};"
            ports, targets, listen = place.servers, place.plcs, "ssl"
        else:
            options = self.nginx_options("proxy_") + "proxy_ssl on; proxy_ssl_verify on; " \
                f"proxy_ssl_trusted_certificate {ca}; proxy_ssl_name {peers.GATEWAY_NAME};"
            ports = self.fronts = {name: lab.free_port() for name in place.plcs}
            targets, listen = place.gateways, ""
        first, second = [(f"proxy_pass 127.0.0.1:{targets[name]};\n\t\t{options}", ports[name])
                         for name in place.plcs]
        return peers.ending(peers.nginx(self.folder, "nginx", *first, listen, [second]))

    @contextlib.contextmanager
    def running(self):
        """The foreign server or relay, where there is one."""
        with contextlib.ExitStack() as stack:
            if not self.kind:
                stack.enter_context(self.nginx())
            elif self.role == "edge":
                for name, target in self.place.plcs.items():
                    stack.enter_context(Terminator(
                        self.kind, self.place.servers[name], target,
                        self.place.certificates.gateway, self.version, self.cipher))
            yield

    @contextlib.contextmanager
    def client(self, name):
        """Of the whole path; the daemon's log line of its end is checked."""
        place = self.place
        before = len(place.daemon.lines("session-closed"))
        port = place.edges[name] if self.role == "edge" else \
            place.gateways[name] if self.kind else self.fronts[name]
        sock = dial(port)
        made = Plain(sock) if self.role == "edge" or not self.kind else \
            self.kind(sock, place.certificates.client, self.version, self.cipher, False)
        try:
            yield made
        finally:
            made.close()
        closed = lab.wait_for(lambda: place.daemon.lines("session-closed")[before:],
                              "the session's end")
        self.judge(*closed)

    def judge(self, line):
        """Which path it was, and a good end."""
        for part in ("reason=finished", f"role={self.role}", f"cipher={self.suite}",
                     f"tls={self.version.name.replace('_', '.', 1).replace('_', '.')}"):
            assert re.search(rf"\b{re.escape(part)}\b", line), line


def poll(client, request, answer):
    """As naive clients do: one receive for one answer."""
    client.send(request)
    assert client.receive() == answer


def poll_all(client):
    values = [(n * 257 + 3) & 0xffff for n in range(960)]
    poll(client, lab.write_words(0, values), lab.answer_3e(b""))
    for head, points in ((0, 960), (5, 1), (100, 10), (0, 960), (959, 1), (1, 10)):
        wanted = b"".join(value.to_bytes(2, "little") for value in values[head:head + points])
        poll(client, lab.read_words(head, points), lab.answer_3e(wanted))
    poll(client, READ_1E, b"\x81\0" + values[0].to_bytes(2, "little"))
    poll(client, READ_255_1E, b"\x81\0" + b"".join(value.to_bytes(2, "little")
                                                   for value in values[:255]))
    poll(client, lab.read_words(0, 1), lab.answer_3e(values[0].to_bytes(2, "little")))


def half_close(row):
    """The client has finished; its answer still comes, then the end, by close_notify."""
    with row.client("polled") as client:
        client.send(lab.read_words(0, 960))
        if row.kind:
            client.say_closed()
        assert len(client.receive()) == 11 + 1920
        if not row.kind:  # nginx passes no half-close on
            client.say_closed()
        assert client.receive() == b""


def plc_closes(row):
    """The answer is the last thing it says."""
    with row.client("own") as client:
        client.send(READ)
        with row.place.own.take() as plc:
            assert lab.receive_frame(plc) == READ
            plc.sendall(ANSWER)
            plc.close()
        assert client.receive() == ANSWER
        assert client.receive() == b""


@pytest.mark.parametrize("row", ktls_matrix.rows(), ids=ktls_matrix.name_of)
def test_row(tmp_path, places, row):
    place = places(row["engine"])
    before, opened = lab.tls_statistics(), len(place.daemon.lines("session-open"))
    made = Row(row, place, tmp_path)
    with made.running():
        with made.client("polled") as client:
            poll_all(client)
            client.say_closed()
            assert client.receive() == b""
        half_close(made)
        plc_closes(made)
    lines = place.daemon.lines("session-open")[opened:]
    assert len(lines) == 3, lines
    if not lab.KERNEL:
        return
    assert all(f"records=kernel relay={RELAY[row['engine']]}" in line for line in lines), lines
    now = lab.tls_statistics()
    ends = 2 if row["peer"] == "nginx-ktls" else 1
    assert now["TlsTxSw"] - before["TlsTxSw"] == 3 * ends
    # OpenSSL 3.0 leaves the receiving direction of TLS 1.3 to itself.
    assert 3 <= now["TlsRxSw"] - before["TlsRxSw"] <= 3 * ends

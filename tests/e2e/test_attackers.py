#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Attackers against gateway and edge.

For each of them: the alert or the close that the other side sees, the daemon's log line, and the
PLC's log, which must be empty: where the peer is refused, the PLC does not even see a connection.
"""
import base64
import contextlib
import hmac
import itertools
import os
import pathlib
import re
import resource
import select
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

import lab

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
versions = pytest.mark.parametrize("version", [TLS13, TLS12], ids=["tls13", "tls12"])
MCSEAL = ["mcseal/1"]
NO_EXTENDED_MASTER_SECRET = 1  # SSL_OP_NO_EXTENDED_MASTER_SECRET, nameless in Python's ssl
LONG_AGO = ("--not-before", "2020-01-01", "--not-after", "2021-01-01")
FAR_AHEAD = ("--not-before", "2034-01-01", "--not-after", "2035-01-01")
READ = lab.read_words(0, 1)

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


# --- certificates that mcseal-pki would not make -------------------------------------------------


def self_signed(folder, name, *extensions):
    """A certificate that vouches for itself, with the names of a real one."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    words = [word for extension in extensions for word in ("-addext", extension)]
    lab.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", certificate,
            *words)
    return lab.Credentials(None, certificate, key)


def stale_crl(pki, folder):
    """A revocation list of the real CA that ended long ago; -gendb keeps mcseal-pki's own."""
    config = folder / "crl.conf"
    (folder / "index").write_text("")
    config.write_text(f"[ca]\ndefault_ca = it\n[it]\ndatabase = {folder}/index\n"
                      f"default_md = sha256\ncertificate = {pki.ca}\n"
                      f"private_key = {pki.folder}/private/ca.key\n")
    crl = folder / "stale.pem"
    lab.run("openssl", "ca", "-config", config, "-gencrl", "-out", crl,
            "-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", "20200201000000Z")
    return crl


def der(tag, content):
    length = bytes([len(content)]) if len(content) < 128 else bytes([0x81, len(content)])
    return bytes([tag]) + length + content


def key_pair(path):
    """Private number and public point of a P-256 key file."""
    text = lab.run("openssl", "ec", "-in", path, "-noout", "-text").stdout
    private, public = (bytes.fromhex(re.sub(r"[\s:]", "", re.search(pattern, text).group(1)))
                       for pattern in (r"priv:([\s0-9a-f:]+)", r"pub:([\s0-9a-f:]+)"))
    return private[-32:], public


def stolen(folder, victim, thief):
    """The victim's certificate with the thief's key, made to look as if they belonged together.

    TLS libraries compare public keys only, and a SEC1 key file carries the public one beside the
    private: so this end can claim the certificate and must fail in CertificateVerify.
    """
    private, _ = key_pair(thief.key)
    _, public = key_pair(victim.key)
    curve = bytes.fromhex("06082a8648ce3d030107")
    body = der(0x02, b"\x01") + der(0x04, private) + der(0xa0, curve) + \
        der(0xa1, der(0x03, b"\0" + public))
    key = folder / "stolen.key"
    key.write_text("-----BEGIN EC PRIVATE KEY-----\n" +
                   base64.encodebytes(der(0x30, body)).decode() +
                   "-----END EC PRIVATE KEY-----\n")
    return lab.Credentials(None, victim.certificate, key)


class Papers:
    """Every certificate that the tests below show, good and bad."""

    def __init__(self, folder):
        self.pki = lab.Pki(folder / "pki", "--name", "Plant CA")
        self.foreign = lab.Pki(folder / "foreign", "--name", "Plant CA")
        pki = self.pki
        self.gateway = pki.gateway("gw", ("127.0.0.1",), ("gw.plant.example",))
        self.edge = pki.edge("office")
        self.ana, self.bob, self.engineer = map(pki.client, ("ana", "bob", "engineer"))
        uri = "urn:mcseal:client:ana"
        self.clients = {
            "foreign-ca": self.foreign.client("ana"),
            "self-signed": self_signed(folder, "self-ana", f"subjectAltName=URI:{uri}",
                                       "extendedKeyUsage=clientAuth"),
            "expired": pki.client("expired", "--uri", uri, *LONG_AGO),
            "not-yet-valid": pki.client("early", "--uri", uri, *FAR_AHEAD),
            "revoked": pki.client("revoked", "--uri", uri),
            "server-certificate": self.gateway,
            "no-identity": pki.client("nobody"),
            "stolen-certificate": stolen(folder, self.ana, self.bob),
        }
        self.gateways = {
            "other-address": pki.gateway("gw-address", ("127.0.0.9",), ("gw.plant.example",)),
            "other-name": pki.gateway("gw-name", ("127.0.0.1",), ("other.plant.example",)),
            "foreign-ca": self.foreign.gateway("gw", ("127.0.0.1",)),
            "self-signed": self_signed(folder, "self-gw", "subjectAltName=IP:127.0.0.1",
                                       "extendedKeyUsage=serverAuth"),
            "expired": pki.gateway("gw-expired", ("127.0.0.1",), (), *LONG_AGO),
            "not-yet-valid": pki.gateway("gw-early", ("127.0.0.1",), (), *FAR_AHEAD),
            "revoked": pki.gateway("gw-revoked", ("127.0.0.1",)),
            "client-certificate": pki.client("gw-client", "--dns", "gw.plant.example"),
        }
        pki.revoke("revoked")
        pki.revoke("gw-revoked")
        self.stale_crl = stale_crl(pki, folder)


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    return Papers(tmp_path_factory.mktemp("papers"))


# --- the attacker's own TLS ----------------------------------------------------------------------


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

    def flush(self):
        records = self.outgoing.read()
        if records:
            self.sock.sendall(records)

    def pump(self, step, *words):
        while True:
            try:
                result = step(*words)
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                piece = self.sock.recv(65536)
                self.incoming.write(piece) if piece else self.incoming.write_eof()
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


def keep(*processes):
    """They outlive a test: its clean-up must not end them, our fixture does."""
    for process in processes:
        lab.Process.started.remove(process)


# --- a gateway that refuses everybody ------------------------------------------------------------


class Target:
    """A gateway whose PLC must not be touched by any test that uses it."""

    def __init__(self, folder, papers):
        self.papers = papers
        self.opaque_port = lab.free_port()
        self.plc_port = lab.free_port()
        self.plc = lab.Plc(folder, "--listen", f"127.0.0.1:{self.opaque_port}", "--listen",
                           f"127.0.0.2:{self.plc_port}", listen=f"127.0.0.1:{self.plc_port}")
        self.ports = {name: lab.free_port() for name in
                      ("any", "press-1", "opaque", "press-2", "stale")}
        self.gateway = lab.Daemon(folder, self.text(), name="gateway")

    def listener(self, name, options="", credentials=None):
        return (f'gateway "{name}" {{\n\tlisten = "127.0.0.1:{self.ports[name]}"\n\t'
                f'{credentials or self.papers.gateway.config()}\n\t{options}\n}}\n')

    def text(self):
        def identity(name, match, plcs, role="client"):
            return (f'identity "{name}" {{ match = "uri:urn:mcseal:{match}" role = {role} '
                    f'plcs = {{ "{plcs}" }} }}\n')
        stale = self.papers.gateway.config(crl=False) + f'\n\tcrl = "{self.papers.stale_crl}"'
        return f"""
log_level = debug
mark = 0
workers = 2
timeouts {{ handshake = {0.7 * lab.PATIENCE:.3f} proxy_header = {0.4 * lab.PATIENCE:.3f} }}
plc "press-1" {{
	address = 127.0.0.1
	port "{self.plc_port}" {{ connections = 16 }}
	port "{self.opaque_port}" {{ protocol = opaque identities = {{ "engineer" }} }}
}}
plc "press-2" {{ address = 127.0.0.2 port "{self.plc_port}" {{ }} }}
""" + identity("edge-office", "edge:office", "press-1", "edge") + \
            identity("ana", "client:ana", "press-1") + identity("bob", "client:bob", "press-2") + \
            identity("engineer", "client:engineer", "press-1") + self.listener("any") + \
            self.listener("press-1", 'plc = "press-1"') + \
            self.listener("press-2", 'plc = "press-2"') + \
            self.listener("opaque", f'plc = "press-1" plc_port = {self.opaque_port}') + \
            self.listener("stale", 'plc = "press-1"', stale)

    def refused(self, sock, reason, detail=""):
        """The line of the session that `sock` had; the PLC has seen nothing at all."""
        port = sock.getsockname()[1]
        sock.close()  # a refused peer is given time to read its alert
        line = self.gateway.wait_text(rf"^.*session-closed .*(client|edge)=127\.0\.0\.1:{port}\b.*$"
                                      ).group(0)
        assert f"reason={reason} " in line, line
        assert re.search(detail, line), line
        assert self.plc.events() == []
        return line

    def attack(self, listener, context, data=READ, server_name=None):
        """Handshake, a request right behind it; the socket and what came back."""
        sock = dial(self.ports[listener])
        peer = Peer(sock, context, server_name=server_name)
        try:
            peer.handshake()
            with contextlib.suppress(ConnectionError):
                peer.send(data)
        except (ssl.SSLError, ConnectionError) as error:
            return sock, name_of(error)
        return sock, peer.verdict()


@pytest.fixture(scope="module")
def target(tmp_path_factory, papers):
    made = Target(tmp_path_factory.mktemp("target"), papers)
    keep(made.gateway, made.plc)
    with lab.stopping(made.gateway, made.plc):
        yield made
    assert made.plc.events() == []


# --- certificates, at the gateway ----------------------------------------------------------------

CLIENT_CASES = {
    "foreign-ca": ("alert: unknown ca", "unable to get local issuer certificate"),
    "self-signed": ("alert: unknown ca", "self-signed certificate"),
    "expired": ("alert: certificate expired", "certificate has expired"),
    "not-yet-valid": ("alert: bad certificate", "certificate is not yet valid"),
    "revoked": ("alert: certificate revoked", "certificate revoked"),
    "server-certificate": ("alert: unsupported certificate", "uns.* certificate purpose"),
    "no-identity": ("alert: certificate unknown", "matches no identity"),
    "stolen-certificate": ("alert: decrypt error", "bad signature"),
}


@versions
@pytest.mark.parametrize("case", CLIENT_CASES)
def test_refused_client_certificate(target, version, case):
    alert, detail = CLIENT_CASES[case]
    sock, seen = target.attack("press-1", client_context(target.papers.clients[case], version))
    with sock:
        assert seen == alert
        target.refused(sock, "handshake-failed", detail)
    assert target.gateway.lines(r"peer-refused .*subject=")


@versions
def test_no_certificate(target, version):
    sock, seen = target.attack("press-1", client_context(None, version))
    with sock:
        assert seen == ("alert: certificate required" if version == TLS13
                        else "alert: handshake failure")
        target.refused(sock, "handshake-failed", "peer did not return a certificate")


@versions
def test_stale_revocation_list_vouches_for_nobody(target, version):
    sock, seen = target.attack("stale", client_context(target.papers.ana, version))
    with sock:
        assert seen == "alert: certificate expired"
        target.refused(sock, "handshake-failed", "CRL has expired")


# --- who may reach what --------------------------------------------------------------------------


@versions
@pytest.mark.parametrize("listener, who, sni, reason", [
    ("press-1", "bob", None, "plc-not-allowed"),
    ("press-2", "ana", None, "plc-not-allowed"),
    ("opaque", "ana", None, "plc-not-allowed"),
    ("any", "ana", "press-2", "plc-not-allowed"),
    ("any", "ana", "nowhere.example", "plc-unknown"),
    ("any", "ana", None, "plc-unknown"),
    ("any", "edge", None, "plc-unknown"),
])
def test_client_without_right_to_the_plc(target, version, listener, who, sni, reason):
    context = client_context(getattr(target.papers, who), version)
    sock, seen = target.attack(listener, context, server_name=sni)
    with sock:
        assert seen == "goodbye"
        line = target.refused(sock, reason)
        assert "identity=" in line


def proxy_header(destination, source=("10.9.8.7", 4711), kind=0x11, command=0x21, length=None):
    """PROXY v2; destination and source are (host, port)."""
    family = socket.AF_INET6 if kind >> 4 == 2 else socket.AF_INET
    body = b"".join(socket.inet_pton(family, host) for host, _ in (source, destination)) + \
        struct.pack(">HH", source[1], destination[1])
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(
        ">BBH", command, kind, len(body) if length is None else length) + body


@versions
def test_client_forges_a_proxy_header(target, version):
    """A known client that is no edge: neither with the edge's ALPN nor without."""
    header = proxy_header(("127.0.0.1", target.plc_port)) + READ
    context = client_context(target.papers.ana, version, MCSEAL)
    sock, seen = target.attack("press-1", context, header)
    with sock:
        assert seen == "goodbye"
        assert "identity=ana" in target.refused(sock, "alpn-refused")
    sock, seen = target.attack("any", client_context(target.papers.ana, version), header)
    with sock:
        assert seen == "goodbye"
        target.refused(sock, "plc-unknown")


def edge_attack(target, data, version=TLS13):
    return target.attack("any", client_context(target.papers.edge, version, MCSEAL), data)


HEADER_CASES = {
    "missing": lambda there: READ,
    "version-1": lambda there: b"PROXY TCP4 10.9.8.7 127.0.0.1 4711 %d\r\n" % there[1],
    "local": lambda there: proxy_header(there, command=0x20),
    "unknown-command": lambda there: proxy_header(there, command=0x22),
    "version-3": lambda there: proxy_header(there, command=0x31),
    "udp": lambda there: proxy_header(there, kind=0x12),
    "unspecified": lambda there: proxy_header(there, kind=0x00),
    "unix": lambda there: proxy_header(there, kind=0x31),
    "too-short": lambda there: proxy_header(there, length=4),
    "too-long": lambda there: proxy_header(there, length=65535),
    "bad-signature": lambda there: b"\r\n\r\n\0\r\nQUIT\r" + proxy_header(there)[12:],
    "empty": lambda there: b"\0",
}


@pytest.mark.parametrize("case", HEADER_CASES)
def test_edge_with_a_bad_proxy_header(target, case):
    header = HEADER_CASES[case](("127.0.0.1", target.plc_port))
    sock, seen = edge_attack(target, header + READ)
    with sock:
        assert seen == "goodbye"
        target.refused(sock, "proxy-header-bad")


@versions
def test_edge_without_a_proxy_header(target, version):
    """It says nothing; it ends in good order; it is cut off."""
    for end, reason in (("wait", "proxy-header-timeout"), ("close_notify", "proxy-header-bad"),
                        ("fin", "client-truncated")):
        context = client_context(target.papers.edge, version, MCSEAL)
        with dial(target.ports["any"]) as sock:
            peer = Peer(sock, context).handshake()
            peer.send(proxy_header(("127.0.0.1", target.plc_port))[:20])
            if end == "close_notify":
                peer.close_notify()
            elif end == "fin":
                sock.shutdown(socket.SHUT_WR)
            assert peer.verdict() == "goodbye"
            target.refused(sock, reason)


def test_edge_with_a_slow_proxy_header(target):
    """Byte by byte, each in a record of its own: the deadline is for the whole header."""
    with dial(target.ports["any"]) as sock:
        peer = Peer(sock, client_context(target.papers.edge, TLS13, MCSEAL)).handshake()
        header = proxy_header(("127.0.0.1", target.plc_port)) + READ
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for at in range(len(header) - 1):
                peer.send(header[at:at + 1])
                if lab.readable(sock, 0.05 * lab.PATIENCE):
                    break
        assert peer.verdict() in ("goodbye", "cut")
        assert time.monotonic() - started < 1.5 * lab.PATIENCE
        target.refused(sock, "proxy-header-timeout")


@pytest.mark.parametrize("where, kind, reason", [
    ("127.0.0.3:plc", 0x11, "plc-unknown"),
    ("127.0.0.1:1", 0x11, "plc-unknown"),
    ("127.0.0.1:0", 0x11, "plc-unknown"),
    ("0.0.0.0:plc", 0x11, "plc-unknown"),
    ("::1:plc", 0x21, "plc-unknown"),
    ("127.0.0.2:plc", 0x11, "plc-not-allowed"),
    ("::ffff:127.0.0.2:plc", 0x21, "plc-not-allowed"),
    ("127.0.0.1:opaque", 0x11, "plc-not-allowed"),
])
def test_edge_names_a_plc_it_may_not_reach(target, where, kind, reason):
    host, port = where.rsplit(":", 1)
    number = {"plc": target.plc_port, "opaque": target.opaque_port}.get(port) or int(port)
    source = ("fd10::2", 4711) if kind == 0x21 else ("10.9.8.7", 4711)
    sock, seen = edge_attack(target, proxy_header((host, number), source, kind) + READ)
    with sock:
        assert seen == "goodbye"
        line = target.refused(sock, reason)
        # The audit: the edge itself, and whom and where to it claims to carry.
        assert "identity=edge-office" in line and "edge=127.0.0.1:" in line
        assert f"client={'[fd10::2]' if kind == 0x21 else '10.9.8.7'}:4711" in line


# --- TLS itself ----------------------------------------------------------------------------------


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


def last_line(target):
    """The last session's; s_client does not tell its port."""
    return lab.wait_for(lambda: target.gateway.lines("session-closed")[-1:], "a session's end")[0]


def test_renegotiation(target):
    before = len(target.gateway.lines("session-closed"))
    said = openssl_client(*edge_options(target), "-tls1_2", text="R\n")
    assert "RENEGOTIATING" in said and "no renegotiation" in said, said
    lab.wait_for(lambda: len(target.gateway.lines("session-closed")) > before, "its end")
    assert re.search("reason=(client-tls-failed|client-truncated|proxy-header-bad|client-lost) ",
                     last_line(target))
    assert target.plc.events() == []


@pytest.fixture
def generous_server(papers):
    """What our gateway is not: a server with tickets and early data; its address."""
    port = lab.free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert",
               papers.gateway.certificate, "-key", papers.gateway.key, "-early_data", "-alpn",
               MCSEAL[0], "-quiet"]
    with subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        def listening():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
        lab.wait_for(listening, "s_server")
        yield f"127.0.0.1:{port}"
        process.kill()


TICKET = r"New Session Ticket arrived|TLS session ticket:|Session-ID: \w"


@pytest.mark.parametrize("version", ["-tls1_3", "-tls1_2"])
def test_no_tickets(target, generous_server, version, tmp_path):
    options = [*edge_options(target), version, "-sess_out", tmp_path / "session"]
    said = openssl_client(*options)
    assert "Cipher is" in said and not re.search(TICKET, said), said
    assert target.plc.events() == []
    # s_client would have told: the other server gives them.
    said = lab.run("openssl", "s_client", *options, "-connect", generous_server, input="Q\n",
                   check=False).stdout if version == "-tls1_2" else session_of(
                       generous_server, target, tmp_path)
    assert re.search(TICKET, said), said


def session_of(server, target, folder):
    """A TLS 1.3 session that allows early data, into folder/session."""
    command = ["openssl", "s_client", *edge_options(target), "-connect", server, "-tls1_3",
               "-sess_out", folder / "session"]
    with subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        said = b""
        while b"Max Early Data" not in said:
            piece = os.read(process.stdout.fileno(), 65536)
            assert piece, said
            said += piece
        process.stdin.write(b"Q\n")
        process.stdin.flush()
        said += process.stdout.read()
    return said.decode(errors="replace")


def test_early_data_is_not_taken(target, generous_server, tmp_path):
    """A client with somebody's early-data session sends header and request as 0-RTT.

    Had the gateway taken them, it would have dialled the PLC; it waits for a header in vain.
    """
    session_of(generous_server, target, tmp_path)
    early = tmp_path / "early"
    early.write_bytes(proxy_header(("127.0.0.1", target.plc_port)) + READ)
    said = openssl_client(*edge_options(target), "-tls1_3", "-sess_in", tmp_path / "session",
                          "-early_data", early)
    assert "Early data was rejected" in said and "New, TLSv1.3" in said, said
    lab.wait_for(lambda: "reason=proxy-header-timeout " in last_line(target), "a time-out")
    assert target.plc.events() == []


def client_hello(target):
    """A real one, as records."""
    peer = Peer(None, client_context(target.papers.ana, TLS13))
    with contextlib.suppress(ssl.SSLWantReadError):
        peer.tls.do_handshake()
    return peer.outgoing.read()


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
        sock.sendall(make(client_hello(target)))
        received = lab.receive_end(sock)
        assert answer.search(received), received
        target.refused(sock, "handshake-failed", detail)


def test_connection_that_says_nothing(target):
    with dial(target.ports["press-1"]) as sock:
        started = time.monotonic()
        assert lab.receive_end(sock) == b""
        assert 0.5 < time.monotonic() - started < 1.5 * lab.PATIENCE
        target.refused(sock, "handshake-timeout", "peer sent nothing")


def test_slow_client_hello(target):
    """Byte by byte: the deadline is for the handshake, not for each byte."""
    hello = client_hello(target)
    with dial(target.ports["press-1"]) as sock:
        started = time.monotonic()
        for at in range(len(hello) - 1):
            if lab.readable(sock, 0.02 * lab.PATIENCE):
                break
            sock.sendall(hello[at:at + 1])
        assert lab.receive_end(sock) == b""
        assert 0.5 < time.monotonic() - started < 1.5 * lab.PATIENCE
        target.refused(sock, "handshake-timeout", "did not finish in time")


def test_handshake_left_half_done(target):
    with dial(target.ports["press-1"]) as sock:
        sock.sendall(client_hello(target))
        assert lab.receive_end(sock)[:1] == b"\x16"
        target.refused(sock, "handshake-timeout", "did not finish in time")


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
def test_handshake_broken_off(target, reset):
    states = len(target.gateway.lines("to=HANDSHAKING"))
    with dial(target.ports["press-1"]) as sock:
        port = sock.getsockname()[1]
        sock.sendall(client_hello(target)[:40])
        lab.wait_for(lambda: len(target.gateway.lines("to=HANDSHAKING")) > states, "the session")
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line = target.gateway.wait_text(
        rf"^.*session-closed .*client=127\.0\.0\.1:{port}\b.*$").group(0)
    assert "reason=handshake-failed " in line
    assert ("onnection reset" if reset else "eof") in line, line
    assert target.plc.events() == []


# --- a false gateway, at the edge ----------------------------------------------------------------


class FalseGateway:
    """Takes connections of an edge with a certificate that it should not believe."""

    def __init__(self, context):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.context = context
        self.seen = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                sock.settimeout(5 * lab.PATIENCE)
                with sock:
                    self.seen.append(self.meet(sock))

    def meet(self, sock):
        try:
            return Peer(sock, self.context, server_side=True).handshake().verdict()
        except (ssl.SSLError, OSError) as error:
            return name_of(error)


def with_options(context, **options):
    for name, value in options.items():
        setattr(context, name, value)
    return context


def old_server(papers):
    context = server_context(papers.gateway)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def cbc_server(papers):
    context = server_context(papers.gateway, TLS12)
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
    return context


def forgetful_server(papers):
    context = server_context(papers.gateway, TLS12)
    context.options |= NO_EXTENDED_MASTER_SECRET
    return context


def bad_server(case, version=None):
    return lambda papers: server_context(papers.gateways[case], version)


NAMED = 'server_name = "gw.plant.example"'
# What the false gateway shows, options of the route, what it sees, what the edge says.
GATEWAY_CASES = {
    "other-address": (bad_server("other-address"), "", "alert: bad certificate",
                      "IP address mismatch"),
    "other-name": (bad_server("other-name"), NAMED, "alert: bad certificate", "ostname mismatch"),
    "address-is-no-name": (bad_server("self-signed"), 'server_name = "localhost"',
                           "alert: unknown ca", "self-signed certificate"),
    "foreign-ca": (bad_server("foreign-ca"), "", "alert: unknown ca",
                   "unable to get local issuer certificate"),
    "self-signed": (bad_server("self-signed"), "", "alert: unknown ca", "self-signed certificate"),
    "expired": (bad_server("expired"), "", "alert: certificate expired",
                "certificate has expired"),
    "expired-tls12": (bad_server("expired", TLS12), "", "alert: certificate expired",
                      "certificate has expired"),
    "not-yet-valid": (bad_server("not-yet-valid"), "", "alert: bad certificate", "not yet valid"),
    "revoked": (bad_server("revoked"), "", "alert: certificate revoked", "certificate revoked"),
    "revoked-tls12": (bad_server("revoked", TLS12), "", "alert: certificate revoked",
                      "certificate revoked"),
    "client-certificate": (bad_server("client-certificate"), NAMED,
                           "alert: unsupported certificate", "certificate purpose"),
    "stale-crl": (lambda papers: server_context(papers.gateway), "", "alert: certificate expired",
                  "CRL has expired"),
    "no-alpn": (lambda papers: server_context(papers.gateway, alpn=None), "", "goodbye",
                "does not speak mcseal/1"),
    "other-alpn": (lambda papers: server_context(papers.gateway, alpn=["h2"]), "", "goodbye",
                   "does not speak mcseal/1"),
    "no-extended-master-secret": (forgetful_server, "", "goodbye", "extended master secret"),
    "tls11": (old_server, "", "error: .*unsupported protocol.*", "alert: protocol version"),
    "cbc": (cbc_server, "", "error: .*no shared cipher.*", "alert: handshake failure"),
}


class Betrayed:
    """One edge for each false gateway, all in one daemon."""

    def __init__(self, folder, papers):
        with pytest.warns(DeprecationWarning):  # TLS 1.1
            self.gateways = {case: FalseGateway(row[0](papers))
                             for case, row in GATEWAY_CASES.items()}
        self.ports = {case: lab.free_port() for case in GATEWAY_CASES}
        text = ("log_level = debug\nmark = 0\n"
                f"timeouts {{ dial_gateway = {1.5 * lab.PATIENCE:.3f} }}\n")
        for number, (case, row) in enumerate(GATEWAY_CASES.items(), 1):
            credentials = papers.edge.config()
            if case == "stale-crl":
                credentials = papers.edge.config(crl=False) + f'\n\tcrl = "{papers.stale_crl}"'
            text += f"""
edge "{case}" {{
	listen = "127.0.0.1:{self.ports[case]}"
	destination = "10.99.0.{number}:5007"
	{credentials}
	source "here" {{ addresses = "127.0.0.0/8" }}
	route "{case}" {{
		destinations = "10.99.0.{number}:5007"
		gateways = "127.0.0.1:{self.gateways[case].port}"
		{row[1]}
	}}
}}
"""
        self.edge = lab.Daemon(folder, text, name="edge")


@pytest.fixture(scope="module")
def betrayed(tmp_path_factory, papers):
    made = Betrayed(tmp_path_factory.mktemp("betrayed"), papers)
    keep(made.edge)
    with lab.stopping(made.edge):
        yield made
    for gateway in made.gateways.values():
        gateway.listener.close()


@pytest.mark.parametrize("case", GATEWAY_CASES)
def test_false_gateway(betrayed, case):
    _, _, seen, detail = GATEWAY_CASES[case]
    gateway = betrayed.gateways[case]
    with dial(betrayed.ports[case]) as sock:
        sock.sendall(READ)
        assert lab.receive_end(sock) == b""
    line = betrayed.edge.wait_text(rf"^.*session-closed .*route={case} .*$").group(0)
    assert "reason=gateways-failed " in line and re.search(detail, line), line
    assert betrayed.edge.lines(rf"gateway-failed .*127\.0\.0\.1:{gateway.port} .*{detail}")
    lab.wait_for(lambda: gateway.seen, "the false gateway's verdict")
    # Neither header nor request was told to it.
    assert [bool(re.fullmatch(seen, one, re.DOTALL)) or one for one in gateway.seen] == [True]


# --- on the wire between edge and gateway --------------------------------------------------------


class Middle:
    """Somebody on the wire: passes TLS records on, but for what it was told to do to the next one.

    Directions are "up" (to the gateway) and "down".
    """

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.target = None
        self.deeds = {"up": None, "down": None}
        self.done = threading.Event()
        self.passed = {"up": 0, "down": 0}
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                for sock in (near, far):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for direction, source, sink in (("up", near, far), ("down", far, near)):
                    threading.Thread(target=self.carry, args=(direction, source, sink),
                                     daemon=True).start()

    def carry(self, direction, source, sink):
        waiting = b""
        with contextlib.suppress(OSError):
            while True:
                piece = source.recv(65536)
                if not piece:
                    break
                waiting += piece
                while len(waiting) >= 5 and len(waiting) >= 5 + int.from_bytes(waiting[3:5], "big"):
                    size = 5 + int.from_bytes(waiting[3:5], "big")
                    record, waiting = waiting[:size], waiting[size:]
                    self.carry_record(direction, record, source, sink)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def carry_record(self, direction, record, source, sink):
        deed = self.deeds[direction]
        if deed:
            self.deeds[direction] = None
            record = deed(record, source, sink)
            self.done.set()
        self.passed[direction] += 1
        if record:
            sink.sendall(record)

    def arm(self, direction, deed):
        self.done.clear()
        self.deeds[direction] = deed

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def flip(at):
    def deed(record, source, sink):
        changed = bytearray(record)
        changed[at if at >= 0 else len(record) + at] ^= 0x80
        return bytes(changed)
    return deed


def drop(record, source, sink):
    return b""


def replay(record, source, sink):
    return record + record


def truncate(record, source, sink):
    """The end of the stream instead of the record, as if its sender had finished."""
    sink.shutdown(socket.SHUT_WR)
    return b""


def cut_inside(record, source, sink):
    sink.sendall(record[:len(record) // 2])
    sink.shutdown(socket.SHUT_WR)
    return b""


def inject(record, source, sink):
    """A plain alert: close_notify by somebody without keys."""
    return b"\x15\x03\x03\x00\x02\x01\x00" + record


class MiddleSite(lab.Site):
    """A site whose edge reaches its gateway through somebody else."""

    def __init__(self, folder, middle, **options):
        self.middle = middle
        super().__init__(folder, **options)
        middle.target = self.gateway_port

    def connect(self, port=None, receive_buffer=None):
        return dial(port or self.edge_port)

    def edge_text(self, options, protocol):
        return super().edge_text(options, protocol).replace(
            f'gateways = {{ "127.0.0.1:{self.gateway_port}" }}',
            f'gateways = {{ "127.0.0.1:{self.middle.port}" }}')


@pytest.fixture(scope="module", params=["auto", "epoll"])
def tapped(request, tmp_path_factory):
    """One site for all of these; a client's port tells its session in both daemons' logs."""
    with Middle() as middle, MiddleSite(
            tmp_path_factory.mktemp("tapped"), middle, engine=request.param,
            plc_options=["--set", "D0=4660"]) as site:
        keep(*site.processes())
        yield site


def closed(daemon, sock, reason, detail=""):
    """The end of the session that carried this client."""
    port = sock if isinstance(sock, int) else sock.getsockname()[1]
    line = daemon.wait_text(rf"^.*session-closed .*client=127\.0\.0\.1:{port}\b.*$").group(0)
    assert f"reason={reason} " in line and re.search(detail, line), line
    return line


@contextlib.contextmanager
def polling(site):
    """A client in the middle of its work; the number of requests that the PLC has seen of it."""
    with site.connect() as sock:
        sock.sendall(READ)
        assert lab.words_of(lab.receive_frame(sock)) == [0x1234]
        yield sock, len(site.plc.requests())


ALTERED_WRITE = lab.write_words(0, [0xbeef])
FLIPS = {"type": 0, "version": 1, "length": 3, "first-byte": 5, "middle": 20, "tag": -1}
BROKEN_RECORD = "bad record mac|decryption failed|wrong version|bad record type|length too long"


@pytest.mark.parametrize("at", FLIPS)
def test_flipped_byte_of_a_request(tapped, at):
    with polling(tapped) as (sock, before):
        tapped.middle.arm("up", flip(FLIPS[at]))
        sock.sendall(ALTERED_WRITE)
        assert lab.receive_end(sock) == b""
        closed(tapped.gateway, sock, "client-tls-failed", BROKEN_RECORD)
        closed(tapped.edge, sock, "gateway-tls-failed", "peer sent alert")
    assert len(tapped.plc.requests()) == before
    assert "D0: 4660" in tapped.mcping("read", "D0").stdout  # and the next session is well


@pytest.mark.parametrize("at", FLIPS)
def test_flipped_byte_of_an_answer(tapped, at):
    with polling(tapped) as (sock, _):
        tapped.middle.arm("down", flip(FLIPS[at]))
        sock.sendall(READ)
        assert lab.receive_end(sock) == b""
        closed(tapped.edge, sock, "gateway-tls-failed", BROKEN_RECORD)
        closed(tapped.gateway, sock, "client-tls-failed", "peer sent alert")


@pytest.mark.parametrize("deed", [drop, replay, inject])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_record_dropped_replayed_or_put_in(tapped, direction, deed):
    """Every record is numbered: the first one out of turn ends the session."""
    with polling(tapped) as (sock, before):
        tapped.middle.arm(direction, deed)
        sock.sendall(lab.write_words(7, [1]))
        assert tapped.middle.done.wait(5 * lab.PATIENCE)
        if deed is drop:
            assert not lab.readable(sock, 0.1)  # withheld: nothing can tell that from slowness
            sock.sendall(lab.write_words(7, [1]))
        received = lab.receive_end(sock)
        up, down = ("client-tls-failed", tapped.gateway), ("gateway-tls-failed", tapped.edge)
        victim, other = (up, down) if direction == "up" else (down, up)
        closed(victim[1], sock, victim[0], BROKEN_RECORD)
        closed(other[1], sock, other[0], "peer sent alert")
    # The true answer, once, or nothing.
    assert received in ([b"", lab.answer_3e(b"")] if deed is replay else [b""])
    asked = len(tapped.plc.requests()) - before
    if direction == "up":
        assert asked <= (1 if deed is replay else 0)  # the true write, and never twice
    else:
        assert asked == (2 if deed is drop else 1)


@pytest.mark.parametrize("deed", [truncate, cut_inside])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_stream_cut_off(tapped, direction, deed):
    """FIN without close_notify is an attack, not an end."""
    with polling(tapped) as (sock, before):
        tapped.middle.arm(direction, deed)
        sock.sendall(lab.write_words(7, [1]))
        assert lab.receive_end(sock) == b""
        if direction == "up":
            closed(tapped.gateway, sock, "client-truncated", "without close_notify")
        else:
            closed(tapped.edge, sock, "target-truncated", "without close_notify")
    assert len(tapped.plc.requests()) - before == (0 if direction == "up" else 1)


@versions
@pytest.mark.parametrize("at", FLIPS)
def test_flipped_byte_of_a_tls_client(tapped, version, at):
    """The same for a client with TLS of its own; both versions at the gateway."""
    with Middle() as middle:
        middle.target = tapped.gateway_port
        with dial(middle.port) as sock:
            peer = Peer(sock, client_context(tapped.client_credentials, version)).handshake()
            peer.send(READ)
            assert lab.words_of(peer.receive_frame()) == [0x1234]
            before = len(tapped.plc.requests())
            middle.arm("up", flip(FLIPS[at]))
            peer.send(ALTERED_WRITE)
            seen = peer.verdict()
    assert re.match("alert: (bad record mac|protocol version|unexpected message|record overflow)",
                    seen), seen
    assert re.search(BROKEN_RECORD, tapped.gateway.lines(r"reason=client-tls-failed .*identity=ana"
                                                         )[-1])
    assert len(tapped.plc.requests()) == before


# --- records that no TLS library would make ------------------------------------------------------


def aes128(key):
    """FIPS 197, written down as it stands there; slow, and secret from nobody here."""
    def double(x):
        return (x << 1) ^ (0x11b if x & 0x80 else 0)
    box, p, q = [0x63] + [0] * 255, 1, 1
    while True:
        p ^= double(p) & 0xff
        for shift in (1, 2, 4):
            q ^= q << shift & 0xff
        q ^= 0x09 if q & 0x80 else 0
        turned = [q << n & 0xff | q >> 8 - n for n in (1, 2, 3, 4)]
        box[p] = q ^ turned[0] ^ turned[1] ^ turned[2] ^ turned[3] ^ 0x63
        if p == 1:
            break
    words, rcon = [list(key[i:i + 4]) for i in range(0, 16, 4)], 1
    for i in range(4, 44):
        word = list(words[i - 1])
        if i % 4 == 0:
            word = [box[b] for b in word[1:] + word[:1]]
            word[0] ^= rcon
            rcon = double(rcon)
        words.append([a ^ b for a, b in zip(words[i - 4], word)])
    keys = [sum(words[i:i + 4], []) for i in range(0, 44, 4)]

    def encrypt(block):
        state = [a ^ b for a, b in zip(block, keys[0])]
        for number in range(1, 11):
            state = [box[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
            if number < 10:
                mixed = []
                for c in range(0, 16, 4):
                    a = state[c:c + 4]
                    mixed += [double(a[i]) ^ double(a[(i + 1) % 4]) ^ a[(i + 1) % 4] ^
                              a[(i + 2) % 4] ^ a[(i + 3) % 4] for i in range(4)]
                state = mixed
            state = [(a ^ b) & 0xff for a, b in zip(state, keys[number])]
        return bytes(state)
    return encrypt


def gcm_seal(encrypt, nonce, plain, associated):
    """NIST SP 800-38D; `plain` sealed, with its tag."""
    def times(x, y):
        z = 0
        for bit in range(127, -1, -1):
            z ^= y if x >> bit & 1 else 0
            y = y >> 1 ^ (0xe1 << 120 if y & 1 else 0)
        return z

    def padded(data):
        return data + bytes(-len(data) % 16)
    stream = b"".join(encrypt(nonce + struct.pack(">I", 2 + n))
                      for n in range((len(plain) + 15) // 16))
    cipher = bytes(a ^ b for a, b in zip(plain, stream))
    key, tag = int.from_bytes(encrypt(bytes(16)), "big"), 0
    hashed = padded(associated) + padded(cipher) + struct.pack(">QQ", 8 * len(associated),
                                                                8 * len(cipher))
    for at in range(0, len(hashed), 16):
        tag = times(tag ^ int.from_bytes(hashed[at:at + 16], "big"), key)
    mask = int.from_bytes(encrypt(nonce + b"\0\0\0\1"), "big")
    return cipher + (tag ^ mask).to_bytes(16, "big")


def test_our_own_cipher():
    """NIST's AES-128 and GCM vectors: what the forger below stands on."""
    key = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
    assert aes128(key)(bytes.fromhex("00112233445566778899aabbccddeeff")).hex() == \
        "69c4e0d86a7b0430d8cdb78070b4c55a"
    assert gcm_seal(aes128(bytes(16)), bytes(12), bytes(16), b"").hex() == \
        "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"


class Forger:
    """A TLS 1.3 client that after its handshake seals whatever it likes (RFC 8446 5.2, 7.3)."""

    def __init__(self, sock, credentials, keylog, alpn=None):
        context = client_context(credentials, TLS13, alpn)
        keylog.unlink(missing_ok=True)
        context.keylog_filename = str(keylog)
        self.sock = sock
        self.peer = Peer(sock, context).handshake()
        assert self.peer.tls.cipher()[0] == "TLS_AES_128_GCM_SHA256"
        self.use(bytes.fromhex(re.search(r"CLIENT_TRAFFIC_SECRET_0 \w+ (\w+)",
                                         keylog.read_text()).group(1)))

    def expand(self, label, size):
        label = b"tls13 " + label
        info = struct.pack(">HB", size, len(label)) + label + b"\0\1"
        return hmac.digest(self.secret, info, "sha256")[:size]

    def use(self, secret):
        self.secret, self.number = secret, 0
        self.encrypt, self.iv = aes128(self.expand(b"key", 16)), self.expand(b"iv", 12)

    def seal(self, content, kind=23, padding=0):
        inner = content + bytes([kind]) + bytes(padding)
        header = b"\x17\x03\x03" + struct.pack(">H", len(inner) + 16)
        nonce = (int.from_bytes(self.iv, "big") ^ self.number).to_bytes(12, "big")
        self.number += 1
        return header + gcm_seal(self.encrypt, nonce, inner, header)

    def key_update(self, request=1):
        record = self.seal(b"\x18\0\0\1" + bytes([request]), 22)
        self.use(self.expand(b"traffic upd", 32))
        return record


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
    "empty-records": (lambda f: b"".join(f.seal(b"") for _ in range(40)), "unexpected message",
                      "."),
    "plain-request": (lambda f: READ, "protocol version|unexpected message", "."),
    "plain-alert": (lambda f: b"\x15\3\3\0\2\1\0", "unexpected message|bad record mac", "."),
    "repeated": (lambda f: f.seal(READ[:5]) * 2, "bad record mac", "."),
}


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
        assert re.fullmatch(f"alert: ({alert})", seen), seen
        closed(forged.gateway, sock, "client-tls-failed", detail)
    assert len(forged.plc.requests()) == before


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
        closed(forged.gateway, sock, "client-tls-failed", "faster than it reads")
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


# --- floods --------------------------------------------------------------------------------------


class Flood:
    """Many connections that go no further than `first`; open until the block ends."""

    def __init__(self, port, count, first=b""):
        self.port, self.count, self.first = port, count, first
        self.sockets = []

    def __enter__(self):
        for _ in range(self.count):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", self.port))
            self.sockets.append(sock)
        for sock in self.sockets:
            waiting = select.poll()  # select() ends at descriptor 1,023
            waiting.register(sock, select.POLLOUT)
            assert waiting.poll(5000 * lab.PATIENCE), "a connection that was not taken"
            with contextlib.suppress(ConnectionError):
                sock.sendall(self.first)
        return self

    def __exit__(self, *_):
        for sock in self.sockets:
            sock.close()


def figures(text):
    """Of a poll: (wrong, lost, p99 in ms)."""
    return (int(re.search(r"(\d+) wrong", text).group(1)),
            int(re.search(r"(\d+) lost", text).group(1)),
            int(re.search(r"p99 (\d+)", text).group(1)) / 1000)


POLL = ["poll", "D0", "100", "--interval", "5ms", "--verify", "--timeout", "10s"]


def flood_case(count, limit, first, name):
    return pytest.param(count, limit, first, id=name)


@pytest.mark.parametrize("count, limit, first", [
    flood_case(1000, 512, "nothing", "silent"),
    flood_case(1000, 64, "nothing", "silent-beyond-64"),
    flood_case(1000, 512, "part", "begun"),
    flood_case(1000, 512, "hello", "half-open"),
    flood_case(150, 64, "part", "begun-beyond-64"),
])
def test_flood_of_handshakes(tmp_path, target, count, limit, first):
    """1,000 at once: polls go on as before, new sessions still get in, all are thrown out."""
    patience = lab.PATIENCE
    head = (f"limits {{ handshakes = {limit} }}\n"
            f"timeouts {{ handshake = {0.7 * patience:.3f} dial_gateway = {8 * patience:.3f} }}")
    hello = client_hello(target)
    beginning = {"nothing": b"", "part": hello[:30], "hello": hello}[first]
    with lab.Site(tmp_path, head=head) as site:
        quiet = figures(site.mcping(*POLL, "--count", "200").stdout)[2]
        poll = lab.Process([lab.BUILD / "mcping", f"127.0.0.1:{site.edge_port}", *POLL, "--count",
                            "400"], tmp_path / "poll.log")
        lab.wait_for(lambda: len(site.plc.requests()) > 220, "the poll's start")
        with Flood(site.gateway_port, count, beginning):
            # New sessions, through the edge and directly, while all of them are there.
            assert "D0: 0" in site.mcping("read", "D0", "--timeout", "30s").stdout
            with dial(site.gateway_port) as sock:
                sock.settimeout(10 * patience)
                peer = Peer(sock, client_context(site.client_credentials)).handshake()
                peer.send(READ)
                assert lab.words_of(peer.receive_frame()) == [0]
            assert poll.popen.wait(30 * patience) == 0, poll.text()
            lab.wait_for(lambda: sum(site.gateway.reasons().count(f"handshake-{why}")
                                     for why in ("timeout", "evicted", "failed")) >= count,
                         "the end of the flood", 10 + count / limit)
        wrong, lost, p99 = figures(poll.text())
        assert wrong == lost == 0
        print(f"p99 in ms: {quiet} before, {p99} in the flood")
        # The floor is for a machine that runs other tests meanwhile.
        assert p99 <= max(10 * quiet, 100 * patience), f"{quiet} ms before, {p99} ms in the flood"
        if limit < count and first == "nothing":
            assert site.gateway.reasons().count("handshake-evicted") > 0
        assert len(site.plc.events("event=open")) == 4  # two polls, two new sessions


@pytest.mark.parametrize("engine", ["auto", "epoll"])
def test_limit_of_sessions(tmp_path, engine):
    with lab.Site(tmp_path, engine=engine, head="limits { sessions = 3 }") as site:
        flood = [dial(site.gateway_port) for _ in range(3)]
        lab.wait_for(lambda: len(site.gateway.lines("to=HANDSHAKING")) == 3, "three sessions")
        with dial(site.gateway_port) as sock:
            assert lab.receive_end(sock) == b""
            port = sock.getsockname()[1]
        site.gateway.wait_text(
            rf"connection-refused reason=session-limit client=127\.0\.0\.1:{port}")
        assert site.plc.events() == []
        for sock in flood:
            sock.close()
        lab.wait_for(lambda: len(site.gateway.reasons()) == 3, "their end")
        clients = [site.connect() for _ in range(3)]
        for sock in clients:
            sock.sendall(READ)
            lab.receive_frame(sock)
        with site.connect() as sock:  # the edge has a limit of its own
            assert lab.receive_end(sock) == b""
        assert len(site.edge.lines("connection-refused reason=session-limit")) == 1
        for sock in clients:
            sock.close()


# --- at the edge ---------------------------------------------------------------------------------

LISTED_USER, OTHER_USER = 64001, 64002
TOUCHED = "event=(open|request|refused)"  # but for the ends of what was there before


class PickySite(lab.Site):
    """An edge with a source rule of its own; the client dials it directly."""

    def __init__(self, folder, rule, **options):
        self.rule = rule
        super().__init__(folder, **options)

    def edge_text(self, options, protocol):
        return super().edge_text(options, protocol).replace('addresses = { "127.0.0.0/8" }',
                                                            self.rule)

    def refuses(self, *prefix):
        """A program that is not carried: it is cut off, nothing reaches gateway or PLC."""
        sessions, events = len(self.gateway.lines("from=NEW")), self.plc.events(TOUCHED)
        refusals = self.edge.reasons().count("source-refused")
        result = lab.run(*prefix, lab.BUILD / "mcping", f"127.0.0.1:{self.edge_port}", "read", "D0",
                         check=False)
        assert result.returncode == 3, result.stdout
        lab.wait_for(lambda: self.edge.reasons().count("source-refused") == refusals + 1,
                     "the refusal's line")
        assert len(self.gateway.lines("from=NEW")) == sessions
        assert self.plc.events(TOUCHED) == events

    def carries(self, *prefix):
        result = lab.run(*prefix, lab.BUILD / "mcping", f"127.0.0.1:{self.edge_port}", "read", "D0")
        assert "D0: 0" in result.stdout


def as_user(number):
    return ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"]


def test_unlisted_local_user(tmp_path):
    rule = f'users = {{ "{LISTED_USER}" }}'
    with PickySite(tmp_path, rule) as site:
        site.refuses(*as_user(OTHER_USER))
        site.refuses()  # not even root
        site.carries(*as_user(LISTED_USER))


def test_unlisted_address(tmp_path):
    with PickySite(tmp_path, 'addresses = "127.0.0.5"') as site:
        site.refuses()
        assert site.plc.events() == []
        with socket.create_connection(("127.0.0.1", site.edge_port), 5, ("127.0.0.5", 0)) as sock:
            sock.sendall(READ)
            assert lab.words_of(lab.receive_frame(sock)) == [0]


def test_user_and_address_must_both_match(tmp_path):
    rule = f'addresses = "127.0.0.5" users = {{ "{LISTED_USER}" }}'
    with PickySite(tmp_path, rule) as site:
        site.refuses(*as_user(LISTED_USER))
        assert site.plc.events() == []


class MixedSite(PickySite):
    """An edge that is dialled over IPv6 and leads to a PLC with an IPv4 address."""

    def edge_text(self, options, protocol):
        return super().edge_text(options, protocol).replace(f'"127.0.0.1:{self.edge_port}"',
                                                            f'"[::1]:{self.edge_port}"')


def test_client_of_the_other_family(tmp_path):
    """It is carried to that PLC and to no other, and told as what it is."""
    with MixedSite(tmp_path, 'addresses = "::1"') as site:
        lab.run(lab.BUILD / "mcping", f"[::1]:{site.edge_port}", "read", "D0")
        line = site.gateway.closed("finished")
        assert "client=[::1]:" in line and "plc=press-1" in line


class RevokedEdgeSite(lab.Site):
    def gateway_text(self, *words):
        self.pki.revoke("office")
        return super().gateway_text(*words)


def test_edge_whose_certificate_is_revoked(tmp_path):
    """Both daemons' own words: the edge learns why, and so does its log's reader."""
    with RevokedEdgeSite(tmp_path) as site:
        assert site.mcping("read", "D0", check=False).returncode == 3
        assert "certificate revoked" in site.gateway.closed("handshake-failed")
        assert "alert: certificate revoked" in site.edge.wait_text(
            "^.*session-closed reason=(gateway-tls-failed|gateways-failed) .*$").group(0)
        assert site.gateway.lines('peer-refused .*subject="?CN=office')
        assert site.plc.events() == []


WRITE_AND_GO = """
import socket, sys
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
sock.sendall(bytes.fromhex(sys.argv[2]))
print(sock.getsockname()[1])
sock.close()
"""


def has_no_owner(port):
    """The kernel keeps this connection in FIN_WAIT2, without its socket."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "05" and
               line.split()[9] == "0" for line in lines)


def test_socket_that_nobody_owns_any_more(tmp_path):
    """Send a write and close at once: a closed socket is told as root's, and is nobody's."""
    with PickySite(tmp_path, 'users = { "root" }') as site:
        site.carries()
        before = site.plc.events(TOUCHED)
        os.kill(site.edge.pid, signal.SIGSTOP)
        try:
            port = int(lab.run(*as_user(OTHER_USER), "/usr/bin/python3", "-c", WRITE_AND_GO,
                               site.edge_port, lab.write_words(0, [0xbeef]).hex()).stdout)
            lab.wait_for(lambda: has_no_owner(port), "the end of the socket")
        finally:
            os.kill(site.edge.pid, signal.SIGCONT)
        closed(site.edge, port, "source-refused")
        assert site.plc.events(TOUCHED) == before


def cgroup_root():
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, options = line.split()[:4]
        if kind == "cgroup2" and mount.startswith("/sys/fs/cgroup") and "rw" in options.split(","):
            return pathlib.Path(mount)
    return None


def test_unlisted_cgroup(tmp_path):
    root = cgroup_root()
    assert root, "no writable cgroup v2 hierarchy below /sys/fs/cgroup"
    listed, other = (root / f"mcseal-test-{os.getpid()}-{name}" for name in ("listed", "other"))
    into = 'echo $$ > "$0"/cgroup.procs && exec "$@"'
    try:
        listed.mkdir()
        other.mkdir()
        rule = f'cgroups = {{ "/{listed.relative_to("/sys/fs/cgroup")}" }}'
        with PickySite(tmp_path, rule) as site:
            site.refuses("sh", "-c", into, other)
            site.refuses()
            assert site.plc.events() == []
            site.carries("sh", "-c", into, listed)
    finally:
        for path in (listed, other):
            if path.exists():
                lab.wait_for(lambda path=path: not (path / "cgroup.procs").read_text(), "its end")
                path.rmdir()


class Plant:
    """Transparent edge on a router that also runs clients of its own, gateway and PLC."""

    EDGE_PORT, PLC_PORT = 15007, 5007
    UNROUTED = "10.30.0.99"  # redirected, but no route of the edge leads there
    STRANGER = "10.10.0.3"

    def __init__(self, folder, net):
        self.net = net
        pki = lab.Pki(folder / "pki")
        gateway = pki.gateway("gw", (net.GATEWAY4, net.GATEWAY6))
        edge = pki.edge("office")
        net.exec("client", "ip", "addr", "add", f"{self.STRANGER}/24", "dev", "to-edge")
        for name in ("edge-router.nft", "edge-host.nft"):
            defines = {"CLIENT_INTERFACES": '{ "to-client" }'} if "router" in name else {}
            net.nft("edge", lab.ROOT / "nft-rules" / name,
                    PLC4=f"{{ {net.PLC4} . 5007, {self.UNROUTED} . 5007 }}",
                    PLC6=f"{{ {net.PLC6} . 5007 }}", **defines)
        self.plc = lab.Plc(folder, "--listen", f"[{net.PLC6}]:5007", listen=f"{net.PLC4}:5007",
                           netns=net.ns("plc"))
        self.gateway = lab.Daemon(folder, f"""
log_level = debug
plc "four" {{ address = {net.PLC4} port "5007" {{ connections = 8 }} }}
plc "six" {{ address = {net.PLC6} port "5007" {{ connections = 8 }} }}
identity "office" {{ match = "uri:urn:mcseal:edge:office" role = edge plcs = "*" }}
gateway "plant" {{
	listen = {{ "{net.GATEWAY4}:8443" }}
	{gateway.config()}
}}
""", netns=net.ns("gateway"), name="gateway")
        self.edge = lab.Daemon(folder, f"""
log_level = debug
edge "site" {{
	listen = {{ "0.0.0.0:{self.EDGE_PORT}", "[::]:{self.EDGE_PORT}" }}
	{edge.config()}
	source "neighbours" {{ addresses = {{ "{net.CLIENT4}", "{net.CLIENT6}" }} }}
	source "local" {{ users = {{ "{LISTED_USER}" }} }}
	route "plant" {{
		destinations = {{ "{net.PLC4}:5007", "[{net.PLC6}]:5007" }}
		gateways = "{net.GATEWAY4}:8443"
	}}
}}
""", netns=net.ns("edge"), name="edge")

    def processes(self):
        return [self.edge, self.gateway, self.plc]

    def mcping(self, name, host, prefix=(), check=True):
        host = f"[{host}]" if ":" in host else host
        return self.net.exec(name, *prefix, lab.BUILD / "mcping", f"{host}:5007", "read", "D0",
                             check=check)

    @contextlib.contextmanager
    def untouched(self):
        """Neither gateway nor PLC hears of what happens in here."""
        sessions, events = len(self.gateway.lines("from=NEW")), self.plc.events(TOUCHED)
        yield
        assert len(self.gateway.lines("from=NEW")) == sessions
        assert self.plc.events(TOUCHED) == events

    @contextlib.contextmanager
    def refused(self, reason):
        before = self.edge.reasons().count(reason)
        with self.untouched():
            yield
            lab.wait_for(lambda: self.edge.reasons().count(reason) == before + 1, reason)

    def socket(self, name, source=None):
        with self.net.inside(name):
            sock = socket.socket()
        sock.settimeout(5 * lab.PATIENCE)
        if source:
            sock.bind((source, 0))
        return sock


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    with lab.Net(prefix=f"att{os.getpid()}-") as net:
        made = Plant(tmp_path_factory.mktemp("plant"), net)
        keep(*made.processes())
        with lab.stopping(*made.processes()):
            yield made


@pytest.mark.parametrize("host", [lab.Net.PLC4, lab.Net.PLC6])
def test_listed_clients_are_carried(plant, host):
    """What the refusals below are measured against."""
    assert "D0: 0" in plant.mcping("client", host).stdout
    assert "D0: 0" in plant.mcping("edge", host, as_user(LISTED_USER)).stdout


def test_unlisted_neighbour(plant):
    with plant.refused("source-refused"), plant.socket("client", plant.STRANGER) as sock:
        sock.connect((plant.net.PLC4, 5007))  # the redirect answers, not the PLC
        with contextlib.suppress(ConnectionError):
            sock.sendall(READ)
        assert lab.receive_end(sock) == b""
    line = plant.edge.lines("reason=source-refused")[-1]
    assert f"client={plant.STRANGER}:" in line and f"destination={plant.net.PLC4}:5007" in line


@pytest.mark.parametrize("host", [lab.Net.PLC4, lab.Net.PLC6])
@pytest.mark.parametrize("user", [OTHER_USER, 0])
def test_unlisted_user_of_a_transparent_edge(plant, host, user):
    with plant.refused("source-refused"):
        assert plant.mcping("edge", host, as_user(user), check=False).returncode == 3


def test_destination_without_route(plant):
    with plant.refused("no-route"), plant.socket("client") as sock:
        sock.connect((plant.UNROUTED, 5007))
        with contextlib.suppress(ConnectionError):
            sock.sendall(READ)
        assert lab.receive_end(sock) == b""
    assert f"destination={plant.UNROUTED}:5007" in plant.edge.lines("reason=no-route")[-1]


def test_listener_dialled_directly(plant):
    """The rules reject it; where they do not, mcseald does."""
    with plant.untouched(), plant.socket("client") as sock, \
            pytest.raises(ConnectionRefusedError):
        sock.connect(("10.10.0.1", plant.EDGE_PORT))
    for table in ("mcseal_router", "mcseal_host"):
        plant.net.exec("edge", "nft", "flush", "chain", "inet", table, "listener_input")
    for name, host in (("client", "10.10.0.1"), ("edge", "127.0.0.1")):
        with plant.refused("not-redirected"), plant.socket(name) as sock:
            sock.connect((host, plant.EDGE_PORT))
            with contextlib.suppress(ConnectionError):
                sock.sendall(READ)
            assert lab.receive_end(sock) == b""


# --- logs ----------------------------------------------------------------------------------------


def test_no_secret_in_any_log(tmp_path, monkeypatch):
    """At level debug, and with SSLKEYLOGFILE in everybody's environment."""
    password, keys = "s3cretPW9", tmp_path / "sslkeylog"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    (tmp_path / "password").write_text(password + "\n")
    with lab.Site(tmp_path, plc_options=["--password", password]) as site:
        for code in ("binary", "ascii"):
            site.mcping("read", "D0", "--code", code, "--unlock", "--password-file",
                        tmp_path / "password")
        own = tmp_path / "own"
        context = client_context(site.client_credentials)
        context.keylog_filename = str(own)
        with dial(site.gateway_port) as sock:
            peer = Peer(sock, context).handshake()
            peer.send(READ)
            peer.receive_frame()  # C201: locked
        site.mcping("read", "D0", "--unlock", "--password-file", own, check=False)  # a wrong one
        lab.wait_for(lambda: len(site.gateway.reasons()) == 4, "four ends")
        logs = "".join(process.text() for process in site.processes()) + "".join(
            site.plc.events())
    assert not keys.exists()
    secrets = [password, password.encode().hex(), base64.b64encode(password.encode()).decode(),
               password[:6], password.encode().hex(" ")]
    secrets += re.findall(r"^[A-Z0-9_]+ \w+ (\w{64,})$", own.read_text(), re.MULTILINE)
    for key in [*(site.pki.folder / "issued").glob("*.key"), *site.pki.folder.rglob("ca.key")]:
        secrets += [line for line in key.read_text().splitlines() if "-----" not in line]
        secrets.append(key_pair(key)[0].hex())
    assert len(secrets) > 20 and "session-open" in logs
    for secret in secrets:
        assert secret.lower() not in logs.lower(), f"{secret} is in a log"


def test_names_cannot_forge_log_lines(target, tmp_path):
    """A subject with quotes, line ends and fields of its own; refused, and told harmlessly."""
    config = tmp_path / "evil.conf"
    config.write_text("[req]\nprompt = no\ndistinguished_name = dn\nstring_mask = utf8only\n"
                      "[dn]\nCN = \"x\\\" reason=finished\\nforged session-closed\\r \\e[31m\"\n")
    lab.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-config", config, "-keyout", tmp_path / "evil.key", "-out",
            tmp_path / "evil.pem")
    evil = lab.Credentials(None, tmp_path / "evil.pem", tmp_path / "evil.key")
    sock, seen = target.attack("press-1", client_context(evil), server_name="x\" y=z\\")
    assert seen == "alert: unknown ca"
    target.refused(sock, "handshake-failed")
    line = target.gateway.lines("peer-refused")[-1]
    assert "forged" in line and "\x1b" not in target.gateway.text()
    assert not target.gateway.lines("^(forged|reason)") and \
        not re.search(r'[^\\]" reason=finished', line)

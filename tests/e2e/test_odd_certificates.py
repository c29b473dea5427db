#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Certificates as other people's CAs make them: RSA-4096 chains of three, RSA-PSS, the names that a
Windows CA gives, a revocation list of ten thousand; and client hellos that fill two segments.
"""
import contextlib
import re
import socket
import ssl
import subprocess
import time

import pytest

import lab
from tls_peer import MCSEAL, READ, TLS13, Peer, client_context, dial, proxy_header

RSA = ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096")
USUAL = ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
PSS = ("-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt",
       "rsa_pss_keygen_md:sha256", "-pkeyopt", "rsa_pss_keygen_mgf1_md:sha256", "-pkeyopt",
       "rsa_pss_keygen_saltlen:32")
CA = "basicConstraints = critical, CA:true\nkeyUsage = critical, keyCertSign, cRLSign"
UPN = "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:"


class Authority:
    """A CA made by openssl alone, as somebody else's; issues what lab.Site asks a lab.Pki for."""

    def __init__(self, folder, algorithm, depth=1, subject="/CN=Plant CA", windows=False):
        self.folder, self.algorithm, self.subject = folder, algorithm, subject
        self.windows = windows
        folder.mkdir()
        self.serial = 0x1000
        issuer = None
        for level in range(depth):
            issuer = self.certificate(f"ca{level}", f"{subject} {level}", CA, issuer)
            self.ca = self.ca if level else issuer.certificate
        self.issuer, self.crl = issuer, self.ca  # no list: config(crl=False)

    def certificate(self, name, subject, extensions, issuer):
        """Its file holds the chain up to, but without, the root."""
        key, request, one = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "one"))
        lab.run("openssl", "genpkey", *self.algorithm, "-out", key)
        key.chmod(0o600)
        lab.run("openssl", "req", "-new", "-key", key, "-subj", subject, "-out", request)
        (self.folder / "extensions").write_text(extensions)
        self.serial += 1
        signer = ["-signkey", key] if issuer is None else \
            ["-CA", issuer.certificate, "-CAkey", issuer.key]
        lab.run("openssl", "x509", "-req", "-in", request, "-days", "90", "-sha256", "-out", one,
                "-set_serial", self.serial, "-extfile", self.folder / "extensions", *signer)
        chain = one.read_text()
        if issuer is not None and issuer.certificate != self.ca:
            chain += issuer.certificate.read_text()
        path = self.folder / f"{name}.pem"
        path.write_text(chain)
        return Without(self, path, key)

    def gateway(self):
        return self.certificate("gw", "/CN=gw", "extendedKeyUsage = serverAuth\n"
                                "subjectAltName = IP:127.0.0.1", self.issuer)

    def _client(self, kind, name):
        if self.windows:
            return self.certificate(name, f"/DC=example/DC=plant/OU=Scada PCs/CN={name}",
                                    "extendedKeyUsage = clientAuth, 1.3.6.1.4.1.311.20.2.2\n"
                                    "keyUsage = digitalSignature, keyEncipherment\n"
                                    f"subjectAltName = {UPN}{name}@plant.example", self.issuer)
        return self.certificate(name, f"/CN={name}", "extendedKeyUsage = clientAuth\n"
                                f"subjectAltName = URI:urn:mcseal:{kind}:{name}", self.issuer)

    def edge(self, name):
        return self._client("edge", name)

    def client(self, name):
        return self._client("client", name)


class Without(lab.Credentials):
    """These CAs have no revocation list."""

    def config(self, crl=False, ca=None):
        return super().config(crl, ca)


class Windows(lab.Site):
    """Identities by what such a certificate has: CN, and the key itself."""

    def gateway_text(self, *words):
        text = super().gateway_text(*words)
        key = subprocess.run(f"openssl x509 -in {self.client_credentials.certificate} -pubkey "
                             "-noout | openssl pkey -pubin -outform DER | openssl sha256 -r",
                             shell=True, check=True, capture_output=True, text=True).stdout
        return text.replace("uri:urn:mcseal:edge:office", "cn:office") \
                   .replace("uri:urn:mcseal:client:ana", f"spki-sha256:{key.split()[0]}")


KINDS = {"rsa-4096-chain": (RSA, 3, False), "rsa-pss": (PSS, 2, False), "windows": (USUAL, 2, True)}


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    return {name: Authority(tmp_path_factory.mktemp(name) / "ca", algorithm, depth, "/CN=Plant CA",
                            windows)
            for name, (algorithm, depth, windows) in KINDS.items()}


def direct(site, version=None):
    """A client of its own, that checks the gateway; the version that was agreed."""
    context = ssl.create_default_context(cafile=site.pki.ca)
    context.load_cert_chain(site.client_credentials.certificate, site.client_credentials.key)
    if version:
        context.maximum_version = version
    with socket.create_connection(("127.0.0.1", site.gateway_port), 5 * lab.PATIENCE) as plain, \
            context.wrap_socket(plain, server_hostname="127.0.0.1") as sock:
        sock.sendall(READ)
        assert lab.words_of(lab.receive_frame(sock)) == [0]
        return sock.version()


class Bundled(Authority):
    """The gateway's file holds its certificate alone; the CA file holds root and intermediate."""

    def __init__(self, folder):
        super().__init__(folder, USUAL, 2)
        self.root = self.ca
        self.ca = folder / "bundle.pem"
        self.ca.write_text(self.issuer.certificate.read_text() + self.root.read_text())

    def gateway(self):
        mine = super().gateway()
        mine.certificate.write_text((self.folder / "gw.one").read_text())
        return mine


def sent_by(site, root, version):
    """Subjects of the certificates that the gateway sends, and whether the root is enough."""
    client = site.client_credentials
    said = lab.run("openssl", "s_client", "-connect", f"127.0.0.1:{site.gateway_port}", version,
                   "-CAfile", root, "-no-CApath", "-no-CAstore", "-cert", client.certificate,
                   "-cert_chain", client.certificate, "-key", client.key, "-showcerts",
                   stdin=subprocess.DEVNULL).stdout
    return (re.findall(r"^ *\d s:.*CN = (.*)$", said, re.MULTILINE),
            "Verify return code: 0 (ok)" in said)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_chain_that_is_sent(tmp_path, version):
    """What is between certificate and root, from whichever file; never the root."""
    bundled = Bundled(tmp_path / "bundled")
    with lab.Site(tmp_path / "1", pki=bundled) as site:
        assert sent_by(site, bundled.root, version) == (["gw", "Plant CA 1"], True)
    whole = Authority(tmp_path / "whole", USUAL, 2)
    with lab.Site(tmp_path / "2", pki=whole) as site:
        assert sent_by(site, whole.ca, version) == (["gw", "Plant CA 1"], True)
    with lab.Site(tmp_path / "3") as site:
        assert sent_by(site, site.pki.ca, version)[0] == ["gw"]


@pytest.mark.parametrize("kind", KINDS)
def test_chain(tmp_path, authorities, kind):
    """Through the edge, and directly with TLS 1.3 and 1.2; the chain is longer than a record."""
    site = (Windows if kind == "windows" else lab.Site)(tmp_path, pki=authorities[kind])
    with site:
        for _ in range(2):  # the second is resumed
            with site.connect() as sock:
                sock.sendall(READ)
                assert lab.words_of(lab.receive_frame(sock)) == [0]
        assert direct(site) == "TLSv1.3"
        assert direct(site, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
        lines = site.gateway.lines("session-open")
        assert [re.search(r"identity=(\S+)", line).group(1) for line in lines] == \
            ["edge-office"] * 2 + ["ana"] * 2
        assert [re.search(r"resumed=(\S+)", line).group(1) for line in lines] == \
            ["no", "yes", "no", "no"]
        if kind == "windows":
            # In the log as people know it, and in one piece.
            assert not site.gateway.lines("peer-refused")


def test_windows_name_that_nobody_lists(tmp_path, authorities):
    """A UPN is no name to match: the same CA's other PCs stay outside, and the log has the name."""
    stranger = authorities["windows"].client("stranger")
    with Windows(tmp_path, pki=authorities["windows"]) as site:
        sock = dial(site.gateway_port)
        peer = Peer(sock, client_context(stranger, TLS13))
        with contextlib.suppress(ssl.SSLError):
            peer.handshake()
            peer.send(READ)
            peer.receive()
        sock.close()
        line = site.gateway.wait_text(r"^.*peer-refused .*$").group(0)
        assert "CN=stranger,OU=Scada PCs,DC=plant,DC=example" in line, line
        assert site.plc.events() == []


# --- a long revocation list ----------------------------------------------------------------------


ENTRIES = 10000


def long_list(pki, folder, serials):
    """The real CA's list with ten thousand strangers, and those."""
    config = folder / "crl.conf"
    numbers = [f"{0x100000000000 + number:012X}" for number in range(ENTRIES)] + serials
    (folder / "index").write_text("".join(
        f"R\t351231235959Z\t251231235959Z\t{number}\tunknown\t/CN=x{number}\n"
        for number in numbers))
    config.write_text(f"[ca]\ndefault_ca = it\n[it]\ndatabase = {folder}/index\n"
                      f"default_md = sha256\ncertificate = {pki.ca}\n"
                      f"private_key = {pki.folder}/private/ca.key\ndefault_crl_days = 30\n")
    lab.run("openssl", "ca", "-config", config, "-gencrl", "-out", pki.crl)


def test_revocation_list_of_ten_thousand(tmp_path):
    """It costs a start some time, and handshakes next to none; and its last entry counts."""
    pki = lab.Pki(tmp_path / "pki")
    revoked = pki.client("bob", "--uri", "urn:mcseal:client:ana")
    serial = lab.run("openssl", "x509", "-in", revoked.certificate, "-noout",
                     "-serial").stdout.strip().split("=")[1]
    long_list(pki, tmp_path, [serial])
    assert pki.crl.stat().st_size > 300_000
    start = time.monotonic()
    with lab.Site(tmp_path, pki=pki) as site:
        assert time.monotonic() - start < 8 * lab.PATIENCE
        direct(site)
        start = time.monotonic()
        for _ in range(10):
            direct(site)
        assert time.monotonic() - start < 2 * lab.PATIENCE
        sock = dial(site.gateway_port)
        peer = Peer(sock, client_context(revoked))
        with pytest.raises(ssl.SSLError, match="(?i)revoked"):
            peer.handshake()
            peer.send(READ)
            peer.receive()
        sock.close()
        # And a reload of it does not hold up who is inside.
        with site.connect() as inside:
            inside.sendall(READ)
            lab.receive_frame(inside)
            site.gateway.popen.send_signal(1)
            worst = 0
            for _ in range(100):
                before = time.monotonic()
                inside.sendall(READ)
                lab.receive_frame(inside)
                worst = max(worst, time.monotonic() - before)
            assert worst < 0.5 * lab.PATIENCE, worst
            site.gateway.wait_text("reloaded|reload-")


# --- a large hello -------------------------------------------------------------------------------


def names(size):
    """So many bytes of ALPN, as large as the key shares of the post-quantum groups, and ours."""
    count = size // 32
    return [f"x-of-another-protocol-{number:07}/1" for number in range(count)] + MCSEAL


class Cut(Peer):
    """Its first flight goes out in pieces of `size` bytes, a moment apart."""

    def __init__(self, *words, size):
        super().__init__(*words)
        self.size = size

    def flush(self):
        records = self.outgoing.read()
        if not records:
            return
        if self.first_sent:
            self.sock.sendall(records)
            return
        self.first_sent = records
        for at in range(0, len(records), self.size):
            self.sock.sendall(records[at:at + self.size])
            time.sleep(0.05)


@pytest.mark.parametrize("engine", lab.engines())
@pytest.mark.parametrize("hello, segment", [(1400, 1440), (2600, 1440), (15000, 4000)],
                         ids=["kyber768", "kyber1024", "largest"])
def test_large_client_hello(tmp_path, engine, hello, segment):
    with lab.Site(tmp_path, engine=engine) as site:
        context = client_context(site.edge_credentials, TLS13, names(hello))
        with dial(site.gateway_port) as sock:
            peer = Cut(sock, context, size=segment).handshake()
            assert len(peer.first_sent) > max(hello, segment)
            peer.send(proxy_header(("127.0.0.1", site.plc.port)))
            peer.send(READ)
            assert lab.words_of(peer.receive_frame()) == [0]


def test_hello_that_never_ends(tmp_path):
    """Half of it, in its first segment: no place for longer than a handshake may take."""
    with lab.Site(tmp_path, head=f"timeouts {{ handshake = {lab.PATIENCE} }}") as site:
        context = client_context(site.edge_credentials, TLS13, names(2600))
        peer = Peer(None, context)
        with contextlib.suppress(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        with dial(site.gateway_port) as sock:
            sock.sendall(peer.outgoing.read()[:1440])
            site.gateway.closed("handshake-timeout")
            assert site.plc.events() == []
